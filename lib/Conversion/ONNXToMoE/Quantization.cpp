//===- Quantization.cpp - QuantizeLinear, DequantizeLinear ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   y = (x - zero_point) * scale
//   y = saturate(round(x / scale) + zero_point), ties to even
//
// Scale and zero point are of all elements, of an index of one axis, or of a
// block of consecutive indices of that axis, of which the last may be shorter.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Products.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

namespace {
/// Which scale belongs to an element.
class Parameters {
public:
  explicit Parameters(Lowering &l) : l(l) {}

  /// Reads the operands and attributes of the node; fails after an error.
  LogicalResult read();
  /// The element of `value`, one of the two tensors, in a loop over `x`.
  Value at(ImplicitLocOpBuilder &b, Value value) const;

  Tensor x = nullptr, scale = nullptr, zeroPoint = nullptr;

private:
  Lowering &l;
  /// The axis, unless there is one scale for all.
  std::optional<int64_t> axis;
  int64_t blockSize = 0;
};
} // namespace

LogicalResult Parameters::read() {
  x = l.in(0), scale = l.in(1), zeroPoint = l.optional(2);
  if (!scale->isFloat())
    return l.error() << "expects scales of floats, got " << scale->elementType;
  if (scale->rank() == 0 && zeroPoint && zeroPoint->rank() != 0 &&
      zeroPoint->hasOneElement())
    zeroPoint = l.reshape(zeroPoint, {});
  if (zeroPoint && zeroPoint->rank() != scale->rank())
    return l.error() << "expects zero points of the scales' shape, got ranks "
                     << zeroPoint->rank() << " and " << scale->rank();
  for (int64_t i = 0; zeroPoint && i < scale->rank(); ++i)
    if (failed(l.checkAgree(zeroPoint->dims[i], scale->dims[i],
                            "dimensions of zero points and scales")))
      return failure();
  blockSize = l.node.getI64("block_size", 0);
  if (blockSize < 0)
    return l.error() << "expects a block_size of at least 0, got " << blockSize;
  if (blockSize == 0 && scale->hasOneElement())
    return success(); // older exporters write a vector of one element
  FailureOr<int64_t> along = l.axis(l.node.getI64("axis", 1), x->rank());
  if (failed(along))
    return failure();
  axis = *along;
  if (blockSize == 0) {
    if (scale->rank() != 1)
      return l.error() << "expects one scale, or one per index of axis "
                       << *axis << ", got rank " << scale->rank();
    return l.checkAgree(scale->dims[0], x->dims[*axis],
                        "numbers of scales and of indices of the axis");
  }
  if (scale->rank() != x->rank())
    return l.error() << "expects scales of the input's rank " << x->rank()
                     << " with a block_size, got " << scale->rank();
  for (int64_t i = 0; i < x->rank(); ++i) {
    Expr blocks =
        i == *axis ? l.sizes.ceilDiv(x->dims[i], blockSize) : x->dims[i];
    if (failed(l.checkAgree(scale->dims[i], blocks,
                            "numbers of scales and of blocks")))
      return failure();
  }
  return success();
}

Value Parameters::at(ImplicitLocOpBuilder &b, Value value) const {
  int64_t rank = cast<RankedTensorType>(value.getType()).getRank();
  SmallVector<Value> at;
  for (int64_t i = 0; i < rank; ++i) {
    if (!axis) {
      at.push_back(arith::ConstantIndexOp::create(b, 0));
      continue;
    }
    Value index = linalg::IndexOp::create(b, blockSize == 0 ? *axis : i);
    if (blockSize != 0 && i == *axis)
      index = arith::DivUIOp::create(
          b, index, arith::ConstantIndexOp::create(b, blockSize));
    at.push_back(index);
  }
  return tensor::ExtractOp::create(b, value, at);
}

/// Integers of whole bytes: what can be computed with.
static bool isComputable(Type type) {
  auto integer = dyn_cast<IntegerType>(type);
  return integer && integer.getWidth() >= 8 && integer.getWidth() <= 32;
}

static LogicalResult convertDequantizeLinear(Lowering &l) {
  Parameters p(l);
  if (failed(p.read()))
    return failure();
  Type from = p.x->elementType, wide = l.b.getI64Type();
  // Which floats these would be nobody asks then.
  if (isReadPacked(l, l.node)) {
    auto type = cast<RankedTensorType>(l.node.getResult(0).getType());
    return l.set(l.tensor(l.empty(p.x->dims, type.getElementType()),
                          type.getElementType(), p.x->dims));
  }
  if (!isComputable(from))
    return l.error() << "expects integers of 8, 16 or 32 bits, or constants "
                        "that products take as they are, got "
                     << from;
  if (p.zeroPoint && p.zeroPoint->elementType != from)
    return l.error() << "expects zero points of type " << from << ", got "
                     << p.zeroPoint->elementType;
  Type to = p.scale->elementType;
  if (int64_t type = l.node.getI64("output_dtype", 0))
    to = onnxElementType(l.b, type);
  if (!to || !isa<FloatType>(to))
    return l.error() << "expects output_dtype to be a type of floats, got "
                     << l.node.getI64("output_dtype", 0);
  Value scale = l.value(p.scale);
  Value zeroPoint = p.zeroPoint ? l.value(p.zeroPoint) : Value();
  Tensor result = l.elementwise(
      p.x, p.x->dims, to, [&](ImplicitLocOpBuilder &b, ValueRange args) {
        Type compute = Lowering::computeType(to);
        Value difference = castElement(b, args[0], from, wide);
        if (zeroPoint)
          difference = arith::SubIOp::create(
              b, difference, castElement(b, p.at(b, zeroPoint), from, wide));
        Value factor = castElement(b, toCompute(b, p.at(b, scale)),
                                   p.scale->elementType, compute);
        return arith::MulFOp::create(
                   b, castElement(b, difference, wide, compute), factor)
            .getResult();
      });
  return l.set(result);
}

static LogicalResult convertQuantizeLinear(Lowering &l) {
  Parameters p(l);
  if (failed(p.read()))
    return failure();
  Type from = p.x->elementType, wide = l.b.getI64Type();
  Type to =
      p.zeroPoint
          ? p.zeroPoint->elementType
          : Type(IntegerType::get(l.b.getContext(), 8, IntegerType::Unsigned));
  if (int64_t type = l.node.getI64("output_dtype", 0)) {
    Type given = onnxElementType(l.b, type);
    if (!given || (p.zeroPoint && given != to))
      return l.error() << "expects output_dtype to be the zero points' type, "
                          "got "
                       << type;
    to = given;
  }
  if (!isComputable(to))
    return l.error() << "expects results of integers of 8, 16 or 32 bits, got "
                     << to;
  if (!p.x->isFloat() && !isComputable(from))
    return l.error() << "expects floats or integers of 32 bits, got " << from;
  unsigned bits = to.getIntOrFloatBitWidth();
  bool isUnsigned = to.isUnsignedInteger();
  int64_t low = isUnsigned ? 0 : -(int64_t(1) << (bits - 1));
  int64_t high = (int64_t(1) << (isUnsigned ? bits : bits - 1)) - 1;
  Value scale = l.value(p.scale);
  Value zeroPoint = p.zeroPoint ? l.value(p.zeroPoint) : Value();
  // Of the two, the wider type.
  Type compute = l.b.getF32Type();
  if (from.isF64() || p.scale->elementType.isF64())
    compute = l.b.getF64Type();
  Tensor result = l.elementwise(
      p.x, p.x->dims, to, [&](ImplicitLocOpBuilder &b, ValueRange args) {
        Value divisor = castElement(b, toCompute(b, p.at(b, scale)),
                                    p.scale->elementType, compute);
        Value quotient = arith::DivFOp::create(
            b, castElement(b, args[0], from, compute), divisor);
        // Saturates, so that adding the zero point does not overflow 64 bits.
        Value rounded = castElement(b, math::RoundEvenOp::create(b, quotient),
                                    compute, b.getI32Type());
        Value sum = castElement(b, rounded, b.getI32Type(), wide);
        if (zeroPoint)
          sum = arith::AddIOp::create(
              b, sum, castElement(b, p.at(b, zeroPoint), to, wide));
        sum = arith::MaxSIOp::create(b, sum, intConstant(b, wide, low));
        sum = arith::MinSIOp::create(b, sum, intConstant(b, wide, high));
        return castElement(b, sum, wide, to);
      });
  return l.set(result);
}

void raise::addQuantization(Registry &r) {
  r.add({
      {"DequantizeLinear", 10, kLatest, convertDequantizeLinear, 2, 3,
       "axis block_size output_dtype"},
      {"QuantizeLinear", 10, kLatest, convertQuantizeLinear, 2, 3,
       "axis block_size output_dtype saturate precision"},
  });
}
