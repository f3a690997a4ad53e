//===- Unary.cpp - elementwise operators of one operand -------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

using ElementBuilder = ImplicitLocOpBuilder;

/// An operator that is defined on floats only.
template <Value (*fn)(ElementBuilder &, Value)>
LogicalResult onFloats(Lowering &l) {
  Tensor x = l.in(0);
  if (!x->isFloat())
    return l.error() << "expects floats, got " << x->elementType;
  return l.set(l.elementwise(
      x, x->dims, x->elementType,
      [](ElementBuilder &b, ValueRange args) { return fn(b, args[0]); }));
}

template <typename Op> Value floatOp(ElementBuilder &b, Value x) {
  return Op::create(b, x);
}

static Value constantLike(ElementBuilder &b, Value x, double value) {
  return floatConstant(b, x.getType(), value);
}

//===----------------------------------------------------------------------===//
// Functions of a float
//===----------------------------------------------------------------------===//

static Value reciprocal(ElementBuilder &b, Value x) {
  return arith::DivFOp::create(b, constantLike(b, x, 1.0), x);
}

/// As max(x, 0) + log1p(exp(-|x|)), which does not overflow.
Value raise::softplusElement(ElementBuilder &b, Value x) {
  Value magnitude = math::AbsFOp::create(b, x);
  Value e = math::ExpOp::create(b, arith::NegFOp::create(b, magnitude));
  Value tail = math::Log1pOp::create(b, e);
  Value positive = arith::MaximumFOp::create(b, x, constantLike(b, x, 0.0));
  return arith::AddFOp::create(b, positive, tail);
}

Value raise::softsignElement(ElementBuilder &b, Value x) {
  Value below = arith::AddFOp::create(b, constantLike(b, x, 1.0),
                                      math::AbsFOp::create(b, x));
  return arith::DivFOp::create(b, x, below);
}

static Value hardSwish(ElementBuilder &b, Value x) {
  Value v = arith::MulFOp::create(b, x, constantLike(b, x, 1.0 / 6.0));
  v = arith::AddFOp::create(b, v, constantLike(b, x, 0.5));
  v = arith::MaximumFOp::create(b, v, constantLike(b, x, 0.0));
  v = arith::MinimumFOp::create(b, v, constantLike(b, x, 1.0));
  return arith::MulFOp::create(b, x, v);
}

static Value mish(ElementBuilder &b, Value x) {
  return arith::MulFOp::create(b, x,
                               math::TanhOp::create(b, softplusElement(b, x)));
}

/// x * (1 + erf(x / sqrt(2))) / 2
static Value geluExact(ElementBuilder &b, Value x) {
  Value scaled = arith::MulFOp::create(b, x, constantLike(b, x, M_SQRT1_2));
  Value sum = arith::AddFOp::create(b, constantLike(b, x, 1.0),
                                    math::ErfOp::create(b, scaled));
  Value half = arith::MulFOp::create(b, x, constantLike(b, x, 0.5));
  return arith::MulFOp::create(b, half, sum);
}

/// x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2
static Value geluTanh(ElementBuilder &b, Value x) {
  Value square = arith::MulFOp::create(b, x, x);
  Value cube = arith::MulFOp::create(b, square, x);
  Value inner = arith::AddFOp::create(
      b, x, arith::MulFOp::create(b, cube, constantLike(b, x, 0.044715)));
  inner = arith::MulFOp::create(b, inner,
                                constantLike(b, x, std::sqrt(2.0 / M_PI)));
  Value sum = arith::AddFOp::create(b, constantLike(b, x, 1.0),
                                    math::TanhOp::create(b, inner));
  Value half = arith::MulFOp::create(b, x, constantLike(b, x, 0.5));
  return arith::MulFOp::create(b, half, sum);
}

/// `then` where x > threshold, `other` elsewhere, also for a NaN.
static Value above(ElementBuilder &b, Value x, double threshold, Value then,
                   Value other) {
  Value test = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x,
                                     constantLike(b, x, threshold));
  return arith::SelectOp::create(b, test, then, other);
}

//===----------------------------------------------------------------------===//
// Activations with attributes
//===----------------------------------------------------------------------===//

/// Where `fn` gets attributes `alpha` and `beta` (or `gamma`).
static LogicalResult
activation(Lowering &l, float alpha, StringRef second, float beta,
           function_ref<Value(ElementBuilder &, Value, double, double)> fn) {
  Tensor x = l.in(0);
  if (!x->isFloat())
    return l.error() << "expects floats, got " << x->elementType;
  double a = l.node.getF32("alpha", alpha);
  double c = second.empty() ? 0.0 : l.node.getF32(second, beta);
  return l.set(l.elementwise(x, x->dims, x->elementType,
                             [&](ElementBuilder &b, ValueRange args) {
                               return fn(b, args[0], a, c);
                             }));
}

static LogicalResult convertLeakyRelu(Lowering &l) {
  return activation(
      l, 0.01f, "", 0, [](ElementBuilder &b, Value x, double a, double) {
        Value scaled = arith::MulFOp::create(b, x, constantLike(b, x, a));
        Value negative = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x,
                                               constantLike(b, x, 0.0));
        return arith::SelectOp::create(b, negative, scaled, x).getResult();
      });
}

static Value scaledExpm1(ElementBuilder &b, Value x, double alpha) {
  return arith::MulFOp::create(b, constantLike(b, x, alpha),
                               math::ExpM1Op::create(b, x));
}

static LogicalResult convertElu(Lowering &l) {
  return activation(l, 1.0f, "", 0,
                    [](ElementBuilder &b, Value x, double a, double) {
                      return above(b, x, 0.0, x, scaledExpm1(b, x, a));
                    });
}

static LogicalResult convertSelu(Lowering &l) {
  return activation(
      l, 1.67326319217681884765625f, "gamma", 1.05070102214813232421875f,
      [](ElementBuilder &b, Value x, double a, double gamma) {
        Value v = above(b, x, 0.0, x, scaledExpm1(b, x, a));
        return arith::MulFOp::create(b, v, constantLike(b, x, gamma))
            .getResult();
      });
}

static LogicalResult convertCelu(Lowering &l) {
  return activation(
      l, 1.0f, "", 0, [](ElementBuilder &b, Value x, double a, double) {
        Value ratio = arith::DivFOp::create(b, x, constantLike(b, x, a));
        return above(b, x, 0.0, x, scaledExpm1(b, ratio, a));
      });
}

static LogicalResult convertHardSigmoid(Lowering &l) {
  return activation(
      l, 0.2f, "beta", 0.5f,
      [](ElementBuilder &b, Value x, double a, double beta) {
        Value v = arith::MulFOp::create(b, x, constantLike(b, x, a));
        v = arith::AddFOp::create(b, v, constantLike(b, x, beta));
        v = arith::MaximumFOp::create(b, v, constantLike(b, x, 0.0));
        return arith::MinimumFOp::create(b, v, constantLike(b, x, 1.0))
            .getResult();
      });
}

static LogicalResult convertThresholdedRelu(Lowering &l) {
  return activation(l, 1.0f, "", 0,
                    [](ElementBuilder &b, Value x, double a, double) {
                      return above(b, x, a, x, constantLike(b, x, 0.0));
                    });
}

/// x * sigmoid(alpha * x): Swish, and QuickGelu of com.microsoft.
static Value swishElement(ElementBuilder &b, Value x, double alpha) {
  Value inner = x;
  if (alpha != 1.0)
    inner = arith::MulFOp::create(b, x, constantLike(b, x, alpha));
  return arith::MulFOp::create(b, x, sigmoidElement(b, inner));
}

static LogicalResult convertSwish(Lowering &l) {
  return activation(l, l.node.is("Swish") ? 1.0f : 1.702f, "", 0,
                    [](ElementBuilder &b, Value x, double a, double) {
                      return swishElement(b, x, a);
                    });
}

static LogicalResult convertGelu(Lowering &l) {
  StringRef approximate = l.node.getString("approximate", "none");
  if (approximate == "none")
    return onFloats<geluExact>(l);
  if (approximate == "tanh")
    return onFloats<geluTanh>(l);
  return l.error() << "approximate = '" << approximate << "' is not supported";
}

/// BiasGelu and FastGelu of com.microsoft: `fn` of the input plus a bias along
/// its last dimension, which FastGelu may lack.
template <Value (*fn)(ElementBuilder &, Value)>
LogicalResult convertBiasGelu(Lowering &l) {
  Tensor x = l.in(0), bias = l.optional(1);
  if (!bias)
    return onFloats<fn>(l);
  if (!x->isFloat() || bias->elementType != x->elementType)
    return l.error() << "expects floats of one type, got " << x->elementType
                     << " and " << bias->elementType;
  if (bias->rank() != 1 || x->rank() < 1)
    return l.error() << "expects a bias of rank 1, got " << bias->rank();
  if (failed(l.checkAgree(bias->dims[0], x->dims.back(),
                          "sizes of bias and input")))
    return failure();
  return l.set(l.elementwise({x, bias}, x->dims, x->elementType,
                             [](ElementBuilder &b, ValueRange args) {
                               return fn(b, addElements(b, args[0], args[1]));
                             }));
}

//===----------------------------------------------------------------------===//
// Operators on integers too
//===----------------------------------------------------------------------===//

static LogicalResult
onNumbers(Lowering &l, function_ref<Value(ElementBuilder &, Value, bool)> fn) {
  Tensor x = l.in(0);
  if (x->isBool())
    return l.error() << "expects numbers, got booleans";
  return l.set(l.elementwise(x, x->dims, x->elementType,
                             [&](ElementBuilder &b, ValueRange args) {
                               return fn(b, args[0], x->isUnsigned());
                             }));
}

static LogicalResult convertNeg(Lowering &l) {
  Tensor x = l.in(0);
  if (x->elements && !x->isUnsigned()) {
    Dims negated;
    for (const Expr &e : *x->elements)
      negated.push_back(Expr() - e);
    return l.set(l.tensor(x->elementType, x->dims, negated));
  }
  return onNumbers(l, [](ElementBuilder &b, Value v, bool) -> Value {
    if (isa<FloatType>(v.getType()))
      return arith::NegFOp::create(b, v);
    return arith::SubIOp::create(b, intConstant(b, v.getType(), 0), v);
  });
}

static LogicalResult convertAbs(Lowering &l) {
  return onNumbers(l, [](ElementBuilder &b, Value v, bool isUnsigned) -> Value {
    if (isa<FloatType>(v.getType()))
      return math::AbsFOp::create(b, v);
    if (isUnsigned)
      return v;
    // math.absi makes the least integer poison; this wraps.
    Value zero = intConstant(b, v.getType(), 0);
    Value negative =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, v, zero);
    return arith::SelectOp::create(b, negative,
                                   arith::SubIOp::create(b, zero, v), v);
  });
}

static LogicalResult convertRelu(Lowering &l) {
  return onNumbers(l, [](ElementBuilder &b, Value v, bool isUnsigned) -> Value {
    Value zero = arith::ConstantOp::create(
        b, cast<TypedAttr>(b.getZeroAttr(v.getType())));
    return maxElement(b, v, zero, isUnsigned);
  });
}

static LogicalResult convertSign(Lowering &l) {
  return onNumbers(l, [](ElementBuilder &b, Value v, bool isUnsigned) -> Value {
    Type type = v.getType();
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
    Value one = arith::ConstantOp::create(b, b.getOneAttr(type));
    if (isa<FloatType>(type)) {
      Value positive =
          arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, v, zero);
      Value negative =
          arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, v, zero);
      Value minusOne = floatConstant(b, type, -1.0);
      // A zero or NaN stays what it is.
      Value rest = arith::SelectOp::create(b, negative, minusOne, v);
      return arith::SelectOp::create(b, positive, one, rest);
    }
    auto greater =
        isUnsigned ? arith::CmpIPredicate::ugt : arith::CmpIPredicate::sgt;
    Value positive = arith::CmpIOp::create(b, greater, v, zero);
    Value rest = zero;
    if (!isUnsigned) {
      Value negative =
          arith::CmpIOp::create(b, arith::CmpIPredicate::slt, v, zero);
      rest =
          arith::SelectOp::create(b, negative, intConstant(b, type, -1), zero);
    }
    return arith::SelectOp::create(b, positive, one, rest);
  });
}

/// Rounding operators; integers are whole already.
template <typename Op> static LogicalResult convertRounding(Lowering &l) {
  return onFloats<floatOp<Op>>(l);
}

static LogicalResult convertNot(Lowering &l) {
  Tensor x = l.in(0);
  if (!x->isBool() && l.node.is("Not"))
    return l.error() << "expects booleans, got " << x->elementType;
  if (!x->isInteger())
    return l.error() << "expects integers, got " << x->elementType;
  if (x->elements && x->isBool()) {
    Dims inverted;
    for (const Expr &e : *x->elements)
      inverted.push_back(Expr(1) - e);
    return l.set(l.tensor(x->elementType, x->dims, inverted));
  }
  return l.set(l.elementwise(
      x, x->dims, x->elementType, [](ElementBuilder &b, ValueRange args) {
        Value ones = intConstant(b, args[0].getType(), -1);
        return arith::XOrIOp::create(b, args[0], ones).getResult();
      }));
}

static LogicalResult convertIsNaN(Lowering &l) {
  Tensor x = l.in(0);
  if (!x->isFloat())
    return l.error() << "expects floats, got " << x->elementType;
  return l.set(l.elementwise(
      x, x->dims, l.b.getI1Type(), [](ElementBuilder &b, ValueRange args) {
        return arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, args[0],
                                     args[0])
            .getResult();
      }));
}

static LogicalResult convertIsInf(Lowering &l) {
  Tensor x = l.in(0);
  if (!x->isFloat())
    return l.error() << "expects floats, got " << x->elementType;
  bool positive = l.node.getI64("detect_positive", 1) != 0;
  bool negative = l.node.getI64("detect_negative", 1) != 0;
  return l.set(l.elementwise(
      x, x->dims, l.b.getI1Type(), [&](ElementBuilder &b, ValueRange args) {
        Value result = intConstant(b, b.getI1Type(), 0);
        for (auto [wanted, value] :
             {std::pair(positive, INFINITY), std::pair(negative, -INFINITY)}) {
          if (!wanted)
            continue;
          Value is =
              arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, args[0],
                                    constantLike(b, args[0], value));
          result = arith::OrIOp::create(b, result, is);
        }
        return result;
      }));
}

void raise::addUnary(Registry &r) {
  r.add({
      {"Abs", 6, kLatest, convertAbs, 1, 1, ""},
      {"Acos", 7, kLatest, onFloats<floatOp<math::AcosOp>>, 1, 1, ""},
      {"Acosh", 9, kLatest, onFloats<floatOp<math::AcoshOp>>, 1, 1, ""},
      {"Asin", 7, kLatest, onFloats<floatOp<math::AsinOp>>, 1, 1, ""},
      {"Asinh", 9, kLatest, onFloats<floatOp<math::AsinhOp>>, 1, 1, ""},
      {"Atan", 7, kLatest, onFloats<floatOp<math::AtanOp>>, 1, 1, ""},
      {"Atanh", 9, kLatest, onFloats<floatOp<math::AtanhOp>>, 1, 1, ""},
      {"BitwiseNot", 18, kLatest, convertNot, 1, 1, ""},
      {"BiasGelu", 1, 1, convertBiasGelu<geluExact>, 2, 2, "", "com.microsoft"},
      {"Ceil", 6, kLatest, convertRounding<math::CeilOp>, 1, 1, ""},
      {"Celu", 12, kLatest, convertCelu, 1, 1, "alpha"},
      {"Cos", 7, kLatest, onFloats<floatOp<math::CosOp>>, 1, 1, ""},
      {"Cosh", 9, kLatest, onFloats<floatOp<math::CoshOp>>, 1, 1, ""},
      {"Elu", 6, kLatest, convertElu, 1, 1, "alpha"},
      {"Erf", 9, kLatest, onFloats<floatOp<math::ErfOp>>, 1, 1, ""},
      {"Exp", 6, kLatest, onFloats<floatOp<math::ExpOp>>, 1, 1, ""},
      {"FastGelu", 1, 1, convertBiasGelu<geluTanh>, 1, 2, "", "com.microsoft"},
      {"Floor", 6, kLatest, convertRounding<math::FloorOp>, 1, 1, ""},
      {"Gelu", 20, kLatest, convertGelu, 1, 1, "approximate"},
      {"Gelu", 1, 1, onFloats<geluExact>, 1, 1, "", "com.microsoft"},
      {"HardSigmoid", 6, kLatest, convertHardSigmoid, 1, 1, "alpha beta"},
      {"HardSwish", 14, kLatest, onFloats<hardSwish>, 1, 1, ""},
      {"IsInf", 10, kLatest, convertIsInf, 1, 1,
       "detect_negative detect_positive"},
      {"IsNaN", 9, kLatest, convertIsNaN, 1, 1, ""},
      {"LeakyRelu", 6, kLatest, convertLeakyRelu, 1, 1, "alpha"},
      {"Log", 6, kLatest, onFloats<floatOp<math::LogOp>>, 1, 1, ""},
      {"Mish", 18, kLatest, onFloats<mish>, 1, 1, ""},
      {"Neg", 6, kLatest, convertNeg, 1, 1, ""},
      {"Not", 1, kLatest, convertNot, 1, 1, ""},
      {"QuickGelu", 1, 1, convertSwish, 1, 1, "alpha", "com.microsoft"},
      {"Reciprocal", 6, kLatest, onFloats<reciprocal>, 1, 1, ""},
      {"Relu", 6, kLatest, convertRelu, 1, 1, ""},
      {"Round", 11, kLatest, convertRounding<math::RoundEvenOp>, 1, 1, ""},
      {"Selu", 6, kLatest, convertSelu, 1, 1, "alpha gamma"},
      {"Sigmoid", 6, kLatest, onFloats<sigmoidElement>, 1, 1, ""},
      {"Sign", 9, kLatest, convertSign, 1, 1, ""},
      {"Sin", 7, kLatest, onFloats<floatOp<math::SinOp>>, 1, 1, ""},
      {"Sinh", 9, kLatest, onFloats<floatOp<math::SinhOp>>, 1, 1, ""},
      {"Softplus", 1, kLatest, onFloats<softplusElement>, 1, 1, ""},
      {"Softsign", 1, kLatest, onFloats<softsignElement>, 1, 1, ""},
      {"Sqrt", 6, kLatest, onFloats<floatOp<math::SqrtOp>>, 1, 1, ""},
      {"Swish", 24, kLatest, convertSwish, 1, 1, "alpha"},
      {"Tan", 7, kLatest, onFloats<floatOp<math::TanOp>>, 1, 1, ""},
      {"Tanh", 6, kLatest, onFloats<floatOp<math::TanhOp>>, 1, 1, ""},
      {"ThresholdedRelu", 10, kLatest, convertThresholdedRelu, 1, 1, "alpha"},
  });
}
