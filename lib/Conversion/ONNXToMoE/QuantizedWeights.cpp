//===- QuantizedWeights.cpp - packed integers as weights ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizedWeights.h"

#include "moe/Conversion/ONNXToMoE/Matchers.h"
#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;

bool QuantizedWeights::isLike(const QuantizedWeights &other) const {
  auto typeOf = [](Value value) {
    return value ? elementTypeOf(value) : Type();
  };
  return bits == other.bits && blockSize == other.blockSize &&
         encoding == other.encoding && typeOf(scales) == typeOf(other.scales) &&
         typeOf(zeroPoints) == typeOf(other.zeroPoints);
}

int64_t QuantizedWeights::blocks() const {
  return llvm::divideCeilSigned(depth, blockSize);
}

int64_t QuantizedWeights::rowBytes() const {
  return llvm::divideCeilSigned(
      (wholeBlocks ? blocks() * blockSize : depth) * bits, 8);
}

SmallVector<int64_t> QuantizedWeights::shapeOfBytes() const {
  if (typed)
    return inputMajor ? SmallVector<int64_t>{experts, depth, columns}
                      : SmallVector<int64_t>{experts, columns, depth};
  if (inputMajor)
    return {experts, depth, llvm::divideCeilSigned(columns * bits, 8)};
  return {experts, columns, rowBytes()};
}

static bool isByte(Value value) {
  Type element = elementTypeOf(value);
  return element && element.isInteger() && element.getIntOrFloatBitWidth() == 8;
}

static bool isExponent(Value value) {
  return isa_and_nonnull<Float8E8M0FNUType>(elementTypeOf(value));
}

/// All of `value` in another shape.
static std::optional<WeightView> viewAs(const WeightSymbols &symbols,
                                        Value value, ArrayRef<int64_t> shape) {
  std::optional<WeightView> view = symbols.view(value);
  return view ? view->reshape(shape) : std::nullopt;
}

std::optional<WeightView>
QuantizedWeights::viewValues(const WeightSymbols &symbols) const {
  std::optional<WeightView> view = viewAs(symbols, values, shapeOfBytes());
  if (typed && view) {
    view->elementType = IntegerType::get(values.getContext(), bits);
    return inputMajor ? view->transposeMatrix() : view;
  }
  if (!view || !(view = view->unpack(bits)))
    return std::nullopt;
  return inputMajor ? view->slice(2, 0, columns).transposeMatrix()
                    : view->slice(2, 0, depth);
}

std::optional<WeightView>
QuantizedWeights::viewPerBlock(const WeightSymbols &symbols,
                               Value value) const {
  if (!typed || !inputMajor)
    return viewAs(symbols, value, {experts, columns, blocks()});
  std::optional<WeightView> view =
      viewAs(symbols, value, {experts, blocks(), columns});
  return view ? std::optional(view->transposeMatrix()) : std::nullopt;
}

std::optional<WeightView>
QuantizedWeights::viewScales(const WeightSymbols &symbols) const {
  std::optional<WeightView> view = viewPerBlock(symbols, scales);
  if (view && isExponent(scales))
    view->elementType = IntegerType::get(scales.getContext(), 8);
  return view;
}

std::optional<WeightView>
QuantizedWeights::viewZeroPoints(const WeightSymbols &symbols) const {
  if (typed || !isByte(zeroPoints)) {
    std::optional<WeightView> view = viewPerBlock(symbols, zeroPoints);
    if (view && typed)
      view->elementType = IntegerType::get(values.getContext(), bits);
    return view;
  }
  int64_t perRow = zeroPointsShareBytes ? columns : blocks();
  int64_t bytes = llvm::divideCeilSigned(perRow * bits, 8);
  SmallVector<int64_t> shape{experts, columns, bytes};
  if (zeroPointsShareBytes)
    shape.erase(shape.begin() + 1);
  std::optional<WeightView> view = viewAs(symbols, zeroPoints, shape);
  if (!view || !(view = view->unpack(bits)))
    return std::nullopt;
  view = view->slice(shape.size() - 1, 0, perRow);
  return zeroPointsShareBytes ? view->insertUnitDim(2) : view;
}

bool QuantizedWeights::isReadable(const WeightSymbols &symbols, Value value,
                                  int64_t size, StridedRange range,
                                  const std::optional<WeightView> &view) const {
  if (view)
    return true;
  SmallVector<WeightOp> slices = symbols.parts(value);
  bool whole = range.size == columns && range.step == 1;
  return typed && !inputMajor &&
         slices.size() == static_cast<size_t>(experts) &&
         llvm::all_of(slices, [&](WeightOp slice) {
           return (whole || slice.isStrided()) &&
                  slice.getWeightType().getShape() ==
                      ArrayRef<int64_t>({columns, size});
         });
}

Value QuantizedWeights::readRows(OpBuilder &builder, Location loc,
                                 WeightSymbols &symbols, Value value,
                                 Type elementType, StridedRange range,
                                 const std::optional<WeightView> &view) const {
  if (view)
    return symbols.read(builder, loc,
                        view->slice(1, range.begin, range.size, range.step));
  SmallVector<WeightOp> slices = symbols.parts(value);
  for (WeightOp &slice : slices) {
    if (!slice.isStrided()) {
      slice = symbols.withElements(slice, elementType);
      continue;
    }
    WeightView part =
        WeightView::of(slice).slice(0, range.begin, range.size, range.step);
    part.elementType = elementType;
    slice = symbols.getOrCreate(part);
  }
  return symbols.read(builder, loc, symbols.getOrCreateStack(slices));
}

LogicalResult QuantizedWeights::check(const WeightSymbols &symbols,
                                      StridedRange range,
                                      std::string &why) const {
  auto reject = [&](const Twine &reason) {
    why = reason.str();
    return failure();
  };
  if (!llvm::is_contained({2, 4, 8}, bits))
    return reject("expects weights of 2, 4 or 8 bits, found " + Twine(bits));
  int64_t perWord = grouped::kWordBits / bits;
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  for (auto [what, size] : {std::pair("rows of weights", columns),
                            std::pair("weights per row", depth),
                            std::pair("weights per block", blockSize)})
    if (size < 1 || size > most)
      return reject("expects from 1 to " + Twine(most) + " " + what +
                    ", found " + Twine(size));
  if (blocks() > 1 && blockSize % perWord != 0)
    return reject("expects a block size that is a multiple of " +
                  Twine(perWord) + ", found " + Twine(blockSize));
  auto describe = [](ArrayRef<int64_t> shape) {
    std::string text;
    llvm::raw_string_ostream os(text);
    llvm::interleaveComma(shape, os << '[');
    return text + "]";
  };
  auto mismatch = [&](Value value, StringRef what, const Twine &required) {
    if (!symbols.view(value) && symbols.parts(value).empty())
      return reject("expects constant " + what);
    std::string found;
    llvm::raw_string_ostream(found) << value.getType();
    return reject("expects " + what + " " + required + ", found " + found);
  };
  auto readable = [&](Value value, int64_t size,
                      const std::optional<WeightView> &view) {
    return isReadable(symbols, value, size, range, view);
  };
  if ((!typed && !isByte(values)) ||
      !readable(values, depth, viewValues(symbols)))
    return mismatch(values, "weights",
                    Twine(typed ? "" : "in bytes ") + "of shape " +
                        describe(shapeOfBytes()));
  std::string perBlock = describe({experts, columns, blocks()});
  auto isFloat = [](Value value) {
    Type element = elementTypeOf(value);
    return isa_and_nonnull<Float32Type, Float16Type, BFloat16Type>(element);
  };
  if ((!isFloat(scales) && !isExponent(scales)) ||
      !readable(scales, blocks(), viewScales(symbols)))
    return mismatch(scales, "scales",
                    "in f32, f16, bf16 or f8E8M0FNU of shape " + perBlock);
  if (zeroPoints && ((!typed && !isByte(zeroPoints) && !isFloat(zeroPoints)) ||
                     !readable(zeroPoints, blocks(), viewZeroPoints(symbols))))
    return mismatch(zeroPoints, "zero points",
                    "in floats or in bytes that hold " + Twine(bits) +
                        " bits for each of " + perBlock);
  return success();
}

/// What the elements of a quantized tensor stand for; none for other types.
static std::optional<Encoding> encodingOf(Type type) {
  if (isa<Float4E2M1FNType>(type))
    return Encoding::E2M1;
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer || !llvm::is_contained({2, 4, 8}, integer.getWidth()))
    return std::nullopt;
  return integer.isUnsigned() ? Encoding::Unsigned : Encoding::Signed;
}

std::optional<QuantizedWeights> QuantizedWeights::of(onnx::NodeOp node,
                                                     bool inputMajor) {
  if (!node || !node.is("DequantizeLinear") || !node.input(0) || !node.input(1))
    return std::nullopt;
  auto type = dyn_cast<RankedTensorType>(node.input(0).getType());
  auto scales = dyn_cast<RankedTensorType>(node.input(1).getType());
  if (!type || !scales || !type.hasStaticShape())
    return std::nullopt;
  int64_t rank = type.getRank();
  std::optional<Encoding> encoding = encodingOf(type.getElementType());
  if (!encoding || rank < 2 || rank > 3)
    return std::nullopt;
  QuantizedWeights weights;
  weights.typed = true;
  weights.inputMajor = inputMajor;
  weights.values = node.input(0);
  weights.scales = node.input(1);
  weights.zeroPoints = node.input(2);
  weights.encoding = *encoding;
  weights.bits = type.getElementTypeBitWidth();
  weights.experts = rank == 3 ? type.getDimSize(0) : 1;
  weights.columns = type.getDimSize(rank - (inputMajor ? 1 : 2));
  weights.depth = type.getDimSize(rank - (inputMajor ? 2 : 1));
  weights.blockSize = node.getI64("block_size", 0);
  auto axis = normalizeAxis(node.getI64("axis", 1), rank);
  if (weights.blockSize == 0 || axis != rank - (inputMajor ? 2 : 1) ||
      scales.getRank() != rank)
    return std::nullopt;
  if (*encoding == Encoding::E2M1)
    return weights.zeroPoints ? std::nullopt : std::optional(weights);
  if (weights.zeroPoints &&
      elementTypeOf(weights.zeroPoints) != type.getElementType())
    return std::nullopt;
  // Zero points that are not given are 0, which is what signed ones are then.
  if (!weights.zeroPoints && *encoding == Encoding::Unsigned)
    return std::nullopt;
  return weights;
}

ExpertMatrix QuantizedWeights::read(OpBuilder &builder, Location loc,
                                    WeightSymbols &symbols,
                                    StridedRange range) const {
  Type integers = builder.getIntegerType(bits);
  Type exponents = builder.getIntegerType(8);
  auto take = [&](Value value, Type elementType,
                  const std::optional<WeightView> &view) {
    return readRows(builder, loc, symbols, value, elementType, range, view);
  };
  ExpertMatrix matrix;
  matrix.blockSize = blockSize;
  matrix.encoding = encoding;
  matrix.weight = take(values, integers, viewValues(symbols));
  matrix.scales =
      take(scales, isExponent(scales) ? exponents : elementTypeOf(scales),
           viewScales(symbols));
  if (zeroPoints)
    matrix.zeroPoints = take(zeroPoints, integers, viewZeroPoints(symbols));
  return matrix;
}
