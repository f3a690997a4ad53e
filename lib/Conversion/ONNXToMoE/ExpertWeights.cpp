//===- ExpertWeights.cpp - weights of experts in canonical form -----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ExpertWeights.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moe/Conversion/ONNXToMoE/Matchers.h"

using namespace mlir;
using namespace mlir::moe;

/// The constant with the elements of `source` at `offset + index * strides`.
static DenseElementsAttr takeConstant(DenseElementsAttr source, int64_t offset,
                                      RankedTensorType type,
                                      ArrayRef<int64_t> strides) {
  if (source.isSplat())
    return source.resizeSplat(type);
  size_t bytes = type.getElementTypeBitWidth() / 8;
  ArrayRef<char> from = source.getRawData();
  std::vector<char> to(type.getNumElements() * bytes);
  SmallVector<int64_t> index(type.getRank(), 0);
  for (int64_t i = 0; i < type.getNumElements(); ++i) {
    int64_t at = offset;
    for (auto [position, stride] : llvm::zip_equal(index, strides))
      at += position * stride;
    std::copy_n(from.begin() + at * bytes, bytes, to.begin() + i * bytes);
    for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
      if (++index[dim] < type.getDimSize(dim))
        break;
      index[dim] = 0;
    }
  }
  return DenseElementsAttr::getFromRawBuffer(type, to);
}

/// The same on a value that is only known when the program runs.
static Value takeValue(OpBuilder &b, Location loc, Value value, int64_t dim,
                       StridedRange range, bool transpose) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  if (range.begin != 0 || range.step != 1 || range.size != shape[dim]) {
    SmallVector<OpFoldResult> offsets(shape.size(), b.getIndexAttr(0)),
        strides(shape.size(), b.getIndexAttr(1)), sizes;
    shape[dim] = range.size;
    for (int64_t size : shape)
      sizes.push_back(b.getIndexAttr(size));
    offsets[dim] = b.getIndexAttr(range.begin);
    strides[dim] = b.getIndexAttr(range.step);
    value =
        tensor::ExtractSliceOp::create(b, loc, value, offsets, sizes, strides);
  }
  if (!transpose)
    return value;
  std::swap(shape[1], shape[2]);
  Value init = tensor::EmptyOp::create(b, loc, shape, type.getElementType());
  return linalg::TransposeOp::create(b, loc, value, init,
                                     ArrayRef<int64_t>{0, 2, 1})
      ->getResult(0);
}

/// The elements of constant parts, one after the other; null when one is none.
static DenseElementsAttr stackConstants(const ExpertOperand &operand,
                                        RankedTensorType type) {
  if (type.getElementTypeBitWidth() % 8 != 0)
    return {};
  size_t bytes = type.getNumElements() / type.getDimSize(0) *
                 (type.getElementTypeBitWidth() / 8);
  std::vector<char> all;
  for (const ExpertOperand::Part &part : operand.parts) {
    DenseElementsAttr elements = constantOf(part.value);
    if (!elements)
      return {};
    if (elements.isSplat()) {
      ArrayRef<char> element = elements.getRawData();
      for (size_t i = 0; i < bytes; i += element.size())
        all.insert(all.end(), element.begin(), element.end());
      continue;
    }
    const char *from =
        elements.getRawData().data() + std::max<int64_t>(part.index, 0) * bytes;
    all.insert(all.end(), from, from + bytes);
  }
  return DenseElementsAttr::getFromRawBuffer(type, all);
}

/// A copy of parts that are only known when the program runs.
static Value stackValues(OpBuilder &b, Location loc,
                         const ExpertOperand &operand, RankedTensorType type) {
  Value result =
      tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
  int64_t rank = type.getRank();
  SmallVector<OpFoldResult> sizes, strides(rank, b.getIndexAttr(1));
  for (int64_t size : type.getShape())
    sizes.push_back(b.getIndexAttr(size));
  sizes[0] = b.getIndexAttr(1);
  for (auto [i, part] : llvm::enumerate(operand.parts)) {
    // Dimensions of size 1 in front make no difference to the copy.
    auto given = cast<RankedTensorType>(part.value.getType());
    SmallVector<OpFoldResult> from(given.getRank(), b.getIndexAttr(0)), extent,
        step(given.getRank(), b.getIndexAttr(1));
    for (int64_t size : given.getShape())
      extent.push_back(b.getIndexAttr(size));
    if (part.index >= 0) {
      from[0] = b.getIndexAttr(part.index);
      extent[0] = b.getIndexAttr(1);
    }
    Value slice = tensor::ExtractSliceOp::create(
        b, loc,
        RankedTensorType::get(type.getShape().drop_front(),
                              type.getElementType()),
        part.value, from, extent, step);
    SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0));
    offsets[0] = b.getIndexAttr(i);
    result = tensor::InsertSliceOp::create(b, loc, slice, result, offsets,
                                           sizes, strides);
  }
  return result;
}

/// A symbol for what is wanted of the operand's symbols; null when it is made
/// of something else.
Value ExpertWeights::takeViews(OpBuilder &builder, Location loc,
                               const ExpertOperand &operand, const Take &what) {
  auto symbolOf = [&](WeightView view, int64_t rank, int64_t dim) {
    if (view.shape.size() != static_cast<size_t>(rank)) {
      auto vector = view.reshape(ArrayRef(view.shape).take_back(rank));
      if (!vector)
        return WeightOp();
      view = *vector;
    }
    view = view.slice(dim, what.range.begin, what.range.size, what.range.step);
    return symbols.getOrCreate(what.transpose ? view.transposeMatrix() : view);
  };
  if (operand.stacked) {
    WeightOp weight = symbols.lookup(operand.stacked);
    if (WeightStackOp stack = symbols.lookupStack(operand.stacked)) {
      SmallVector<WeightOp> slices;
      for (WeightOp slice : symbols.slices(stack)) {
        slices.push_back(
            slice && slice.isStrided()
                ? symbolOf(WeightView::of(slice), what.rank, what.dim - 1)
                : WeightOp());
        if (!slices.back())
          return {};
      }
      return symbols.read(builder, loc, symbols.getOrCreateStack(slices));
    }
    if (!weight)
      return {};
    WeightView view = WeightView::of(weight);
    // [E, 1, N] is a stack of vectors.
    while (view.shape.size() > static_cast<size_t>(what.rank + 1))
      view = view.dropUnitDim(1);
    WeightOp symbol = symbolOf(view, what.rank + 1, what.dim);
    return symbol ? symbols.read(builder, loc, symbol) : Value();
  }
  SmallVector<WeightOp> slices;
  for (const ExpertOperand::Part &part : operand.parts) {
    WeightOp weight = symbols.lookup(part.value);
    if (!weight)
      return {};
    WeightView view = WeightView::of(weight);
    if (part.index >= 0)
      view = view.slice(0, part.index, 1).dropUnitDim(0);
    slices.push_back(symbolOf(view, what.rank, what.dim - 1));
    if (!slices.back())
      return {};
  }
  return symbols.read(builder, loc, symbols.getOrCreateStack(slices));
}

Value ExpertWeights::take(OpBuilder &builder, Location loc,
                          const ExpertOperand &operand, const Take &what) {
  if (Value view = takeViews(builder, loc, operand, what))
    return view;
  RankedTensorType type = operand.stackedType(what.rank);
  bool wholeBytes = type.getElementTypeBitWidth() % 8 == 0;
  DenseElementsAttr constant;
  if (wholeBytes)
    constant = operand.stacked ? constantOf(operand.stacked)
                               : stackConstants(operand, type);
  if (!constant) {
    Value value = operand.stacked ? operand.stacked
                                  : stackValues(builder, loc, operand, type);
    if (int64_t rank = rankOf(value); rank != type.getRank()) {
      SmallVector<ReassociationIndices> vector(2); // [E, 1, N]
      vector[0] = llvm::to_vector(llvm::seq<int64_t>(0, rank - 1));
      vector[1] = {rank - 1};
      value =
          tensor::CollapseShapeOp::create(builder, loc, type, value, vector);
    }
    return takeValue(builder, loc, value, what.dim, what.range, what.transpose);
  }

  SmallVector<int64_t> shape(type.getShape());
  SmallVector<int64_t> strides = rowMajorStrides(shape);
  int64_t offset = what.range.begin * strides[what.dim];
  shape[what.dim] = what.range.size;
  strides[what.dim] *= what.range.step;
  if (what.transpose) {
    std::swap(shape[1], shape[2]);
    std::swap(strides[1], strides[2]);
  }
  auto result = RankedTensorType::get(shape, type.getElementType());
  return arith::ConstantOp::create(
      builder, loc, takeConstant(constant, offset, result, strides));
}

Value ExpertWeights::matrix(OpBuilder &builder, Location loc,
                            const ExpertOperand &weight, bool inputMajor,
                            StridedRange range) {
  return take(builder, loc, weight,
              {/*rank=*/2, /*dim=*/inputMajor ? 2 : 1, range, inputMajor});
}

Value ExpertWeights::bias(OpBuilder &builder, Location loc,
                          const ExpertOperand &bias, StridedRange range) {
  return take(builder, loc, bias,
              {/*rank=*/1, /*dim=*/1, range, /*transpose=*/false});
}
