//===- Elements.cpp - arithmetic on one element ---------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

Type raise::onnxElementType(Builder &b, int64_t dataType) {
  auto integer = [&](unsigned width, bool isSigned) {
    return IntegerType::get(b.getContext(), width,
                            isSigned ? IntegerType::Signless
                                     : IntegerType::Unsigned);
  };
  switch (dataType) {
  case 1:
    return b.getF32Type();
  case 2:
    return integer(8, false);
  case 3:
    return integer(8, true);
  case 4:
    return integer(16, false);
  case 5:
    return integer(16, true);
  case 6:
    return integer(32, true);
  case 7:
    return integer(64, true);
  case 9:
    return b.getI1Type();
  case 10:
    return b.getF16Type();
  case 11:
    return b.getF64Type();
  case 12:
    return integer(32, false);
  case 13:
    return integer(64, false);
  case 16:
    return b.getBF16Type();
  default:
    return {};
  }
}

static Value floatToInteger(ImplicitLocOpBuilder &b, Value v, IntegerType to) {
  Type from = v.getType();
  Type storage = Lowering::storageType(to);
  bool isUnsigned = to.isUnsigned();
  unsigned width = to.getWidth();
  // Powers of two: exact in every float type that reaches them.
  double low = isUnsigned ? 0.0 : -std::ldexp(1.0, width - 1);
  double high = std::ldexp(1.0, isUnsigned ? width : width - 1);
  Value lowest = floatConstant(b, from, low),
        end = floatConstant(b, from, high);
  Value zero = floatConstant(b, from, 0.0);
  using P = arith::CmpFPredicate;
  Value tooLow = arith::CmpFOp::create(b, P::OLT, v, lowest);
  Value tooHigh = arith::CmpFOp::create(b, P::OGE, v, end);
  Value isNaN = arith::CmpFOp::create(b, P::UNO, v, v);
  Value outside =
      arith::OrIOp::create(b, isNaN, arith::OrIOp::create(b, tooLow, tooHigh));
  Value safe = arith::SelectOp::create(b, outside, zero, v);
  Value result = isUnsigned ? Value(arith::FPToUIOp::create(b, storage, safe))
                            : Value(arith::FPToSIOp::create(b, storage, safe));
  APInt greatest =
      isUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width);
  APInt least =
      isUnsigned ? APInt::getMinValue(width) : APInt::getSignedMinValue(width);
  Value most =
      arith::ConstantOp::create(b, b.getIntegerAttr(storage, greatest));
  Value fewest = arith::ConstantOp::create(b, b.getIntegerAttr(storage, least));
  result = arith::SelectOp::create(b, tooHigh, most, result);
  return arith::SelectOp::create(b, tooLow, fewest, result);
}

/// A f64 as the f32 from which it can be rounded to 16 bits: what f32 cannot
/// hold is kept as an odd last bit, so that the second rounding goes the way
/// that one rounding would. (A direct conversion is a call into a support
/// library that compiled models do not have.)
static Value roundToOdd(ImplicitLocOpBuilder &b, Value v) {
  Type f32 = b.getF32Type(), i32 = b.getI32Type();
  Value nearest = arith::TruncFOp::create(b, f32, v);
  Value back = arith::ExtFOp::create(b, v.getType(), nearest);
  using P = arith::CmpFPredicate;
  Value inexact = arith::CmpFOp::create(b, P::ONE, back, v);
  Value tooBig = arith::CmpFOp::create(b, P::OGT, math::AbsFOp::create(b, back),
                                       math::AbsFOp::create(b, v));
  Value bits = arith::BitcastOp::create(b, i32, nearest);
  Value down = arith::ExtUIOp::create(b, i32, tooBig);
  Value odd = arith::ExtUIOp::create(b, i32, inexact);
  Value truncated = arith::SubIOp::create(b, bits, down);
  bits = arith::OrIOp::create(b, truncated, odd);
  return arith::BitcastOp::create(b, f32, bits);
}

Value raise::castElement(ImplicitLocOpBuilder &b, Value v, Type from, Type to) {
  Type target = Lowering::computeType(to);
  bool toBool = to.isInteger(1);
  if (isa<FloatType>(from)) {
    if (isa<FloatType>(to)) {
      if (v.getType() == target)
        return v;
      if (to.getIntOrFloatBitWidth() < 32)
        return roundToOdd(b, v);
      return fromCompute(b, v, target);
    }
    if (toBool) {
      Value zero = floatConstant(b, v.getType(), 0.0);
      return arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, v, zero);
    }
    return floatToInteger(b, v, cast<IntegerType>(to));
  }
  bool isUnsigned = from.isUnsignedInteger() || from.isInteger(1);
  if (isa<FloatType>(to))
    return isUnsigned ? Value(arith::UIToFPOp::create(b, target, v))
                      : Value(arith::SIToFPOp::create(b, target, v));
  if (toBool) {
    Value zero = intConstant(b, v.getType(), 0);
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, v, zero);
  }
  unsigned have = v.getType().getIntOrFloatBitWidth();
  unsigned want = target.getIntOrFloatBitWidth();
  if (want < have)
    return arith::TruncIOp::create(b, target, v);
  if (want == have)
    return v;
  return isUnsigned ? Value(arith::ExtUIOp::create(b, target, v))
                    : Value(arith::ExtSIOp::create(b, target, v));
}

Value raise::maxElement(ImplicitLocOpBuilder &b, Value x, Value y,
                        bool isUnsigned) {
  if (isa<FloatType>(x.getType()))
    return arith::MaximumFOp::create(b, x, y);
  if (isUnsigned)
    return arith::MaxUIOp::create(b, x, y);
  return arith::MaxSIOp::create(b, x, y);
}

Value raise::minElement(ImplicitLocOpBuilder &b, Value x, Value y,
                        bool isUnsigned) {
  if (isa<FloatType>(x.getType()))
    return arith::MinimumFOp::create(b, x, y);
  if (isUnsigned)
    return arith::MinUIOp::create(b, x, y);
  return arith::MinSIOp::create(b, x, y);
}

Value raise::addElements(ImplicitLocOpBuilder &b, Value x, Value y) {
  if (isa<FloatType>(x.getType()))
    return arith::AddFOp::create(b, x, y);
  return arith::AddIOp::create(b, x, y);
}

Value raise::mulElements(ImplicitLocOpBuilder &b, Value x, Value y) {
  if (isa<FloatType>(x.getType()))
    return arith::MulFOp::create(b, x, y);
  return arith::MulIOp::create(b, x, y);
}

Value raise::sumOfElements(ImplicitLocOpBuilder &b, ValueRange values) {
  Value sum = values.front();
  for (Value value : values.drop_front())
    sum = addElements(b, sum, value);
  return sum;
}

Value raise::greatestOf(Lowering &l, Tensor x, ArrayRef<bool> reduced) {
  Type compute = Lowering::computeType(x->elementType);
  Value least = floatConstant(l.b, compute, -INFINITY);
  return l
      .reduce(
          x, reduced, {least},
          [](ImplicitLocOpBuilder &b, ValueRange args) -> SmallVector<Value> {
            return {arith::MaximumFOp::create(b, args[0], args[1])};
          })
      .front();
}

Value raise::sumOf(Lowering &l, Tensor x, ArrayRef<bool> reduced) {
  Type compute = Lowering::computeType(x->elementType);
  return l
      .reduce(
          x, reduced, {l.constant(l.b.getZeroAttr(compute))},
          [](ImplicitLocOpBuilder &b, ValueRange args) -> SmallVector<Value> {
            return {addElements(b, args[1], args[0])};
          })
      .front();
}

Value raise::sigmoidElement(ImplicitLocOpBuilder &b, Value x) {
  Value one = floatConstant(b, x.getType(), 1.0);
  Value e = math::ExpOp::create(b, arith::NegFOp::create(b, x));
  return arith::DivFOp::create(b, one, arith::AddFOp::create(b, one, e));
}

Value raise::guardOverflow(ImplicitLocOpBuilder &b, Value x, Value y,
                           function_ref<Value(Value, Value)> divide,
                           bool remainder) {
  Value minusOne = intConstant(b, y.getType(), -1);
  Value one = intConstant(b, y.getType(), 1);
  Value zero = intConstant(b, y.getType(), 0);
  Value flips = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, y, minusOne);
  Value safe = arith::SelectOp::create(b, flips, one, y);
  Value negated = remainder ? zero : Value(arith::SubIOp::create(b, zero, x));
  return arith::SelectOp::create(b, flips, negated, divide(x, safe));
}
