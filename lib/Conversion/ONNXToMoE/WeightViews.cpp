//===- WeightViews.cpp - strided views of weight symbols ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/ONNXToMoE/WeightViews.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "moe/Conversion/ONNXToMoE/Matchers.h"
#include "moe/Dialect/ONNX/IR/ONNXOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// WeightView
//===----------------------------------------------------------------------===//

WeightView WeightView::of(WeightOp weight) {
  RankedTensorType type = weight.getWeightType();
  return {weight,
          {},
          type.getElementType(),
          static_cast<int64_t>(weight.getOffset()),
          SmallVector<int64_t>(type.getShape()),
          weight.getElementStrides(),
          static_cast<int64_t>(weight.getBitOffset().value_or(0))};
}

WeightView WeightView::of(DenseElementsAttr constant) {
  ShapedType type = constant.getType();
  return {{},
          constant,
          type.getElementType(),
          0,
          SmallVector<int64_t>(type.getShape()),
          rowMajorStrides(type.getShape())};
}

int64_t WeightView::fileBits() const {
  // Scaled elements are 8-bit floats, and constants have no element in less
  // than a byte.
  if (weight ? WeightOp(weight).getScaled().has_value()
             : constant.getType().getElementTypeBitWidth() < 8)
    return 8;
  return storedBits(elementType);
}

WeightView WeightView::slice(int64_t dim, int64_t begin, int64_t size,
                             int64_t step) const {
  assert(begin >= 0 && size >= 0 && step > 0 &&
         (size == 0 || begin + (size - 1) * step < shape[dim]) &&
         "a slice lies inside its weight");
  WeightView view = *this;
  if (size != 0) {
    int64_t bit = bitOffset + begin * strides[dim] * fileBits();
    view.offset += bit / 8;
    view.bitOffset = bit % 8;
  }
  view.shape[dim] = size;
  view.strides[dim] *= step;
  return view;
}

WeightView WeightView::transpose(ArrayRef<int64_t> permutation) const {
  WeightView view = *this;
  for (auto [to, from] : llvm::enumerate(permutation)) {
    view.shape[to] = shape[from];
    view.strides[to] = strides[from];
  }
  return view;
}

WeightView WeightView::transposeMatrix() const {
  auto permutation = llvm::to_vector(llvm::seq<int64_t>(0, shape.size()));
  std::swap(permutation.end()[-1], permutation.end()[-2]);
  return transpose(permutation);
}

WeightView WeightView::insertUnitDim(int64_t dim) const {
  WeightView view = *this;
  // Any stride serves; this one keeps a row-major view row-major.
  int64_t stride =
      dim < static_cast<int64_t>(shape.size()) ? shape[dim] * strides[dim] : 1;
  view.shape.insert(view.shape.begin() + dim, 1);
  view.strides.insert(view.strides.begin() + dim, stride);
  return view;
}

WeightView WeightView::dropUnitDim(int64_t dim) const {
  assert(shape[dim] == 1 && "only a dimension of size 1 can be dropped");
  WeightView view = *this;
  view.shape.erase(view.shape.begin() + dim);
  view.strides.erase(view.strides.begin() + dim);
  return view;
}

WeightView WeightView::splitDim(int64_t dim, int64_t inner) const {
  assert(inner > 0 && shape[dim] % inner == 0 && "the split is even");
  WeightView view = *this;
  view.shape[dim] = shape[dim] / inner;
  view.strides[dim] = strides[dim] * inner;
  view.shape.insert(view.shape.begin() + dim + 1, inner);
  view.strides.insert(view.strides.begin() + dim + 1, strides[dim]);
  return view;
}

std::optional<WeightView> WeightView::reshape(ArrayRef<int64_t> target) const {
  // Merge what is contiguous, then split: each target dimension must divide
  // what is left of a merged one.
  SmallVector<int64_t> sizes, steps;
  for (auto [size, stride] : llvm::zip_equal(shape, strides)) {
    if (size == 1)
      continue;
    if (!sizes.empty() && steps.back() == size * stride) {
      sizes.back() *= size;
      steps.back() = stride;
    } else {
      sizes.push_back(size);
      steps.push_back(stride);
    }
  }
  WeightView view = *this;
  view.shape.assign(target.begin(), target.end());
  view.strides.assign(target.size(), 1);
  size_t source = sizes.size();
  int64_t rest = 1, step = 1;
  for (size_t i = target.size(); i-- > 0;) {
    if (target[i] == 0)
      return std::nullopt;
    if (target[i] != 1 && rest == 1 && source > 0) {
      rest = sizes[--source];
      step = steps[source];
    }
    if (rest % target[i] != 0)
      return std::nullopt;
    view.strides[i] = step;
    rest /= target[i];
    step *= target[i];
  }
  if (rest != 1 || source != 0)
    return std::nullopt;
  return view;
}

std::optional<WeightView> WeightView::unpack(int64_t bits) const {
  if (storedBits(elementType) != 8 || shape.empty() ||
      (shape.back() > 1 && strides.back() != 1))
    return std::nullopt;
  WeightView view = *this;
  view.elementType = IntegerType::get(elementType.getContext(), bits);
  int64_t perByte = 8 / bits;
  for (int64_t &stride : view.strides)
    stride *= perByte;
  view.strides.back() = 1;
  view.shape.back() *= perByte;
  return view;
}

RankedTensorType WeightView::getType() const {
  return RankedTensorType::get(shape, elementType);
}

/// The constant of a view of a constant.
static DenseElementsAttr constantOfView(const WeightView &view) {
  RankedTensorType type = view.getType();
  if (auto signless = dyn_cast<IntegerType>(view.elementType))
    type = type.clone(IntegerType::get(type.getContext(), signless.getWidth()));
  int64_t bits = view.fileBits();
  size_t bytes = std::max<int64_t>(bits / 8, 1);
  ArrayRef<char> from = view.constant.getRawData();
  // Of a splat there is but one element.
  size_t period = view.constant.isSplat()
                      ? llvm::divideCeil(
                            view.constant.getType().getElementTypeBitWidth(), 8)
                      : from.size();
  std::vector<char> to(type.getNumElements() * bytes);
  SmallVector<int64_t> index(type.getRank(), 0);
  for (int64_t i = 0; i < type.getNumElements(); ++i) {
    int64_t at = view.offset * 8 + view.bitOffset;
    for (auto [position, stride] : llvm::zip_equal(index, view.strides))
      at += position * stride * bits;
    for (size_t byte = 0; byte < bytes; ++byte)
      to[i * bytes + byte] = from[(at / 8 + byte) % period];
    if (bits < 8)
      to[i] = static_cast<char>(static_cast<uint8_t>(to[i]) >> at % 8 &
                                ((1 << bits) - 1));
    for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
      if (++index[dim] < type.getDimSize(dim))
        break;
      index[dim] = 0;
    }
  }
  return DenseElementsAttr::getFromRawBuffer(type, to);
}

//===----------------------------------------------------------------------===//
// WeightSymbols
//===----------------------------------------------------------------------===//

/// What tells two weights apart. Strides of unit dimensions do not count.
static std::string contentKey(WeightOp weight, const WeightView &view) {
  std::string key;
  llvm::raw_string_ostream os(key);
  os << weight.getCheckpoint() << weight.getFile() << '\0' << view.offset << ' '
     << view.bitOffset << ' ' << view.getType() << weight.getScaledAttr();
  for (auto [size, stride] : llvm::zip_equal(view.shape, view.strides))
    os << ' ' << (size <= 1 ? 0 : stride);
  return key;
}

WeightSymbols::WeightSymbols(ModuleOp module) : symbols(module) {
  for (auto weight : module.getOps<WeightOp>())
    if (weight.isStrided())
      byContent.try_emplace(contentKey(weight, WeightView::of(weight)), weight);
}

WeightOp WeightSymbols::lookup(Value value) const {
  WeightOp weight = lookupAny(value);
  return weight && weight.isStrided() ? weight : WeightOp();
}

WeightOp WeightSymbols::lookupAny(Value value) const {
  Operation *op = value ? value.getDefiningOp() : nullptr;
  if (auto read = dyn_cast_or_null<GetWeightOp>(op))
    return symbols.lookup<WeightOp>(read.getWeight());
  auto node = dyn_cast_or_null<onnx::NodeOp>(op);
  FlatSymbolRefAttr constant = node && node.is("Constant")
                                   ? node.getWeightAttr("value")
                                   : FlatSymbolRefAttr();
  return constant ? symbols.lookup<WeightOp>(constant.getValue()) : WeightOp();
}

WeightStackOp WeightSymbols::lookupStack(Value value) const {
  auto read = value ? value.getDefiningOp<GetWeightOp>() : GetWeightOp();
  return read ? symbols.lookup<WeightStackOp>(read.getWeight())
              : WeightStackOp();
}

SmallVector<WeightOp> WeightSymbols::slices(WeightStackOp stack) const {
  return llvm::map_to_vector(stack.getWeights(), [&](Attribute name) {
    return symbols.lookup<WeightOp>(cast<FlatSymbolRefAttr>(name).getValue());
  });
}

SmallVector<WeightOp> WeightSymbols::parts(Value value) const {
  SmallVector<WeightOp> parts;
  if (WeightStackOp stack = lookupStack(value))
    parts = slices(stack);
  else
    parts = {lookupAny(value)};
  return llvm::is_contained(parts, WeightOp()) ? SmallVector<WeightOp>()
                                               : parts;
}

std::optional<WeightView> WeightSymbols::view(Value value) const {
  if (WeightOp weight = lookup(value))
    return WeightView::of(weight);
  // Booleans are packed in other ways.
  DenseElementsAttr constant = constantOf(value);
  if (!constant || !constant.getElementType().isIntOrFloat() ||
      constant.getElementType().isInteger(1))
    return std::nullopt;
  return WeightView::of(constant);
}

WeightOp WeightSymbols::getOrCreate(const WeightView &view) {
  WeightOp base = view.weight;
  WeightOp &found = byContent[contentKey(base, view)];
  if (found)
    return found;

  OpBuilder builder(base->getContext());
  builder.setInsertionPointAfter(base);
  int64_t last = 0;
  bool empty = false;
  for (auto [size, stride] : llvm::zip_equal(view.shape, view.strides)) {
    last += std::max<int64_t>(size - 1, 0) * stride;
    empty |= size == 0;
  }
  int64_t bits = view.bitOffset + (last + 1) * view.fileBits();
  bool rowMajor = view.strides == rowMajorStrides(view.shape);
  StringRef stem = base.getSymName();
  stem = stem.take_front(stem.find("__view"));
  found = WeightOp::create(
      builder, base.getLoc(), builder.getStringAttr(stem + "__view"),
      base.getFileAttr(), base.getCheckpointAttr(),
      builder.getI64IntegerAttr(view.offset),
      builder.getI64IntegerAttr(empty ? 0 : llvm::divideCeil(bits, 8)),
      rowMajor ? DenseI64ArrayAttr()
               : builder.getDenseI64ArrayAttr(view.strides),
      /*sizes=*/DenseI64ArrayAttr(),
      view.bitOffset == 0 ? IntegerAttr()
                          : builder.getI64IntegerAttr(view.bitOffset),
      /*increment=*/IntegerAttr(), /*hash=*/IntegerAttr(),
      /*section=*/IntegerAttr(), base.getScaledAttr(),
      TypeAttr::get(view.getType()));
  symbols.insert(found); // renames when the name is taken
  return found;
}

WeightOp WeightSymbols::withElements(WeightOp weight, Type elementType) {
  RankedTensorType type = weight.getWeightType();
  if (type.getElementType() == elementType)
    return weight;
  WeightOp &found = retyped[{weight, elementType}];
  if (found)
    return found;
  OpBuilder builder(weight->getContext());
  builder.setInsertionPointAfter(weight);
  found = cast<WeightOp>(builder.clone(*weight));
  found.setSymName((weight.getSymName() + "__view").str());
  found.setType(type.clone(elementType));
  symbols.insert(found); // renames when the name is taken
  return found;
}

WeightStackOp WeightSymbols::getOrCreateStack(ArrayRef<WeightOp> slices) {
  WeightOp last = slices.back();
  OpBuilder builder(last->getContext());
  builder.setInsertionPointAfter(last);
  ArrayAttr names = builder.getArrayAttr(
      llvm::map_to_vector(slices, [](WeightOp slice) -> Attribute {
        return FlatSymbolRefAttr::get(slice.getSymNameAttr());
      }));
  WeightStackOp &found = stacks[names];
  if (found)
    return found;
  RankedTensorType slice = last.getWeightType();
  SmallVector<int64_t> shape(slice.getShape());
  shape.insert(shape.begin(), slices.size());
  found = WeightStackOp::create(
      builder, last.getLoc(),
      builder.getStringAttr(WeightOp(slices[0]).getSymName() + "__stack"),
      names, /*section=*/IntegerAttr(),
      TypeAttr::get(RankedTensorType::get(shape, slice.getElementType())));
  symbols.insert(found); // renames when the name is taken
  return found;
}

Value WeightSymbols::read(OpBuilder &builder, Location loc,
                          WeightSymbolOpInterface symbol) {
  return GetWeightOp::create(
      builder, loc, symbol.getWeightType(),
      FlatSymbolRefAttr::get(SymbolTable::getSymbolName(symbol)));
}

Value WeightSymbols::read(OpBuilder &builder, Location loc,
                          const WeightView &view) {
  if (view.constant)
    return arith::ConstantOp::create(builder, loc, constantOfView(view));
  WeightOp symbol = getOrCreate(view);
  assert(symbol && "expects a weight of whole-byte elements");
  return read(builder, loc, symbol);
}
