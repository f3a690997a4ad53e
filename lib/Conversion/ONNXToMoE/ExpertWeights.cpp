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

Value ExpertWeights::take(OpBuilder &builder, Location loc, Value value,
                          int64_t dim, StridedRange range, bool transpose) {
  if (WeightOp weight = symbols.lookup(value)) {
    WeightView view =
        WeightView::of(weight).slice(dim, range.begin, range.size, range.step);
    if (transpose)
      view = view.transposeMatrix();
    if (symbols.getOrCreate(view))
      return symbols.read(builder, loc, view);
  }
  auto type = cast<RankedTensorType>(value.getType());
  DenseElementsAttr constant = constantOf(value);
  if (!constant || type.getElementTypeBitWidth() % 8 != 0)
    return takeValue(builder, loc, value, dim, range, transpose);

  SmallVector<int64_t> shape(type.getShape());
  SmallVector<int64_t> strides = rowMajorStrides(shape);
  int64_t offset = range.begin * strides[dim];
  shape[dim] = range.size;
  strides[dim] *= range.step;
  if (transpose) {
    std::swap(shape[1], shape[2]);
    std::swap(strides[1], strides[2]);
  }
  auto result = RankedTensorType::get(shape, type.getElementType());
  return arith::ConstantOp::create(
      builder, loc, takeConstant(constant, offset, result, strides));
}

Value ExpertWeights::matrix(OpBuilder &builder, Location loc, Value weight,
                            bool inputMajor, StridedRange range) {
  return take(builder, loc, weight, inputMajor ? 2 : 1, range, inputMajor);
}

Value ExpertWeights::bias(OpBuilder &builder, Location loc, Value bias,
                          StridedRange range) {
  return take(builder, loc, bias, 1, range, /*transpose=*/false);
}
