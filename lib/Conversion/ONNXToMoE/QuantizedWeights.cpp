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

int64_t QuantizedWeights::blocks() const {
  return llvm::divideCeilSigned(depth, blockSize);
}

int64_t QuantizedWeights::rowBytes() const {
  return llvm::divideCeilSigned(
      (wholeBlocks ? blocks() * blockSize : depth) * bits, 8);
}

SmallVector<int64_t> QuantizedWeights::shapeOfBytes() const {
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
  if (!view || !(view = view->unpack(bits)))
    return std::nullopt;
  return inputMajor ? view->slice(2, 0, columns).transposeMatrix()
                    : view->slice(2, 0, depth);
}

std::optional<WeightView>
QuantizedWeights::viewScales(const WeightSymbols &symbols) const {
  std::optional<WeightView> view =
      viewAs(symbols, scales, {experts, columns, blocks()});
  if (view && isExponent(scales))
    view->elementType = IntegerType::get(scales.getContext(), 8);
  return view;
}

std::optional<WeightView>
QuantizedWeights::viewZeroPoints(const WeightSymbols &symbols) const {
  if (!isByte(zeroPoints))
    return viewAs(symbols, zeroPoints, {experts, columns, blocks()});
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

LogicalResult QuantizedWeights::check(const WeightSymbols &symbols,
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
    if (!symbols.view(value))
      return reject("expects constant " + what);
    std::string found;
    llvm::raw_string_ostream(found) << value.getType();
    return reject("expects " + what + " " + required + ", found " + found);
  };
  if (!isByte(values) || !viewValues(symbols))
    return mismatch(values, "weights",
                    "in bytes of shape " + describe(shapeOfBytes()));
  std::string perBlock = describe({experts, columns, blocks()});
  auto isFloat = [](Value value) {
    Type element = elementTypeOf(value);
    return isa_and_nonnull<Float32Type, Float16Type, BFloat16Type>(element);
  };
  if ((!isFloat(scales) && !isExponent(scales)) || !viewScales(symbols))
    return mismatch(scales, "scales",
                    "in f32, f16, bf16 or f8E8M0FNU of shape " + perBlock);
  if (zeroPoints && ((!isByte(zeroPoints) && !isFloat(zeroPoints)) ||
                     !viewZeroPoints(symbols)))
    return mismatch(zeroPoints, "zero points",
                    "in floats or in bytes that hold " + Twine(bits) +
                        " bits for each of " + perBlock);
  return success();
}

ExpertMatrix QuantizedWeights::read(OpBuilder &builder, Location loc,
                                    WeightSymbols &symbols,
                                    StridedRange range) const {
  auto take = [&](const std::optional<WeightView> &view) {
    return symbols.read(builder, loc,
                        view->slice(1, range.begin, range.size, range.step));
  };
  ExpertMatrix matrix;
  matrix.blockSize = blockSize;
  matrix.encoding = encoding;
  matrix.weight = take(viewValues(symbols));
  matrix.scales = take(viewScales(symbols));
  if (zeroPoints)
    matrix.zeroPoints = take(viewZeroPoints(symbols));
  return matrix;
}
