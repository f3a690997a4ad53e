//===- Binary.cpp - elementwise operators of several operands -------------===//
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
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

using ElementBuilder = ImplicitLocOpBuilder;
using SizeFn = function_ref<Expr(ArrayRef<Expr>)>;

static SmallVector<Tensor> allInputs(Lowering &l) {
  SmallVector<Tensor> inputs;
  for (unsigned i = 0; i < l.node.getInputs().size(); ++i)
    inputs.push_back(l.in(i));
  return inputs;
}

/// The result when all operands are lists of sizes, null otherwise.
static Tensor onSizes(Lowering &l, ArrayRef<Tensor> operands, Type resultType,
                      SizeFn fn) {
  size_t length = 1;
  int64_t rank = 0;
  for (Tensor t : operands) {
    if (!t->elements || t->isUnsigned())
      return nullptr;
    rank = std::max(rank, t->rank());
    if (t->elements->size() != 1)
      length = t->elements->size();
  }
  for (Tensor t : operands)
    if (t->elements->size() != 1 && t->elements->size() != length)
      return nullptr; // the error is that of the general case
  Dims elements;
  for (size_t i = 0; i < length; ++i) {
    SmallVector<Expr, 3> at;
    for (Tensor t : operands)
      at.push_back((*t->elements)[t->elements->size() == 1 ? 0 : i]);
    Expr e = fn(at);
    if (std::optional<int64_t> c = e.constant(); c && resultType.isInteger(32))
      e = static_cast<int32_t>(*c);
    elements.push_back(e);
  }
  Dims dims;
  if (rank == 1)
    dims.push_back(static_cast<int64_t>(length));
  return l.tensor(resultType, dims, elements);
}

static LogicalResult expectSameTypes(Lowering &l, ArrayRef<Tensor> operands) {
  for (Tensor t : operands)
    if (t->elementType != operands.front()->elementType)
      return l.error() << "expects operands of one type, got "
                       << operands.front()->elementType << " and "
                       << t->elementType;
  return success();
}

static LogicalResult setElementwise(Lowering &l, ArrayRef<Tensor> operands,
                                    Type resultType, ElementFn fn) {
  FailureOr<Tensor> result = l.elementwise(operands, resultType, fn);
  return failed(result) ? failure() : l.set(*result);
}

/// An operator that folds its operands pairwise; `onExpr` may be null.
template <typename Fn>
static LogicalResult folding(Lowering &l, SizeFn onExpr, Fn fn) {
  SmallVector<Tensor> operands = allInputs(l);
  if (failed(expectSameTypes(l, operands)))
    return failure();
  if (operands.size() == 1)
    return l.set(operands.front());
  Type type = operands.front()->elementType;
  if (isa<IntegerType>(type))
    if (Tensor sizes = onSizes(l, operands, type, onExpr))
      return l.set(sizes);
  return setElementwise(l, operands, type,
                        [&](ElementBuilder &b, ValueRange args) {
                          Value result = args.front();
                          for (Value arg : args.drop_front())
                            result = fn(b, result, arg);
                          return result;
                        });
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

static LogicalResult convertAdd(Lowering &l) {
  return folding(
      l,
      [](ArrayRef<Expr> e) {
        Expr sum;
        for (const Expr &term : e)
          sum = sum + term;
        return sum;
      },
      addElements);
}

static LogicalResult convertSub(Lowering &l) {
  return folding(
      l, [](ArrayRef<Expr> e) { return e[0] - e[1]; },
      [](ElementBuilder &b, Value x, Value y) -> Value {
        if (isa<FloatType>(x.getType()))
          return arith::SubFOp::create(b, x, y);
        return arith::SubIOp::create(b, x, y);
      });
}

static LogicalResult convertMul(Lowering &l) {
  return folding(l, [](ArrayRef<Expr> e) { return e[0] * e[1]; }, mulElements);
}

static LogicalResult convertMean(Lowering &l) {
  SmallVector<Tensor> operands = allInputs(l);
  if (failed(expectSameTypes(l, operands)))
    return failure();
  return setElementwise(l, operands, operands.front()->elementType,
                        [](ElementBuilder &b, ValueRange args) {
                          Value sum = sumOfElements(b, args);
                          Value n =
                              floatConstant(b, sum.getType(), args.size());
                          return arith::DivFOp::create(b, sum, n).getResult();
                        });
}

template <bool isMax> static LogicalResult convertExtreme(Lowering &l) {
  bool isUnsigned = l.in(0)->isUnsigned();
  return folding(
      l,
      [&](ArrayRef<Expr> e) {
        Expr result = e.front();
        for (const Expr &other : e.drop_front())
          result =
              isMax ? l.sizes.max(result, other) : l.sizes.min(result, other);
        return result;
      },
      [&](ElementBuilder &b, Value x, Value y) {
        return isMax ? maxElement(b, x, y, isUnsigned)
                     : minElement(b, x, y, isUnsigned);
      });
}

//===----------------------------------------------------------------------===//
// Division
//===----------------------------------------------------------------------===//

/// An integer division by zero must not reach the processor, which traps.
static void checkDivisor(Lowering &l, Tensor divisor) {
  ImplicitLocOpBuilder &b = l.b;
  if (divisor->elements) {
    for (const Expr &e : *divisor->elements) {
      if (e.constant().value_or(0) != 0 || l.sizes.isPositive(e))
        continue;
      Value found = l.index(e), zero = l.index(0);
      l.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, found, zero),
              found, zero, "expects no integer division by {found}");
    }
    return;
  }
  if (divisor->constant &&
      llvm::none_of(divisor->constant.getValues<APInt>(),
                    [](const APInt &v) { return v.isZero(); }))
    return;
  Type i64 = b.getI64Type();
  Value zeros =
      l.reduce(divisor, SmallVector<bool>(divisor->rank(), true),
               {intConstant(b, i64, 0)},
               [&](ElementBuilder &b, ValueRange args) -> SmallVector<Value> {
                 Value zero = intConstant(b, args[0].getType(), 0);
                 Value is = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                                  args[0], zero);
                 Value one = arith::ExtUIOp::create(b, i64, is);
                 return {arith::AddIOp::create(b, args[1], one)};
               })
          .front();
  Value count = tensor::ExtractOp::create(b, zeros, ValueRange());
  Value none = intConstant(b, i64, 0);
  l.check(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, count, none),
          count, none,
          "expects no integer division by {limit}, got {found} of them");
}

static LogicalResult convertDiv(Lowering &l) {
  SmallVector<Tensor> operands = allInputs(l);
  if (failed(expectSameTypes(l, operands)))
    return failure();
  Tensor x = operands[0], y = operands[1];
  if (x->isInteger()) {
    checkDivisor(l, y);
    if (Tensor sizes =
            onSizes(l, operands, x->elementType, [&](ArrayRef<Expr> e) {
              return l.sizes.truncDiv(e[0], e[1]);
            }))
      return l.set(sizes);
  }
  bool isUnsigned = x->isUnsigned();
  return setElementwise(l, operands, x->elementType,
                        [&](ElementBuilder &b, ValueRange args) -> Value {
                          if (isa<FloatType>(args[0].getType()))
                            return arith::DivFOp::create(b, args[0], args[1]);
                          if (isUnsigned)
                            return arith::DivUIOp::create(b, args[0], args[1]);
                          return guardOverflow(
                              b, args[0], args[1],
                              [&](Value x, Value y) -> Value {
                                return arith::DivSIOp::create(b, x, y);
                              },
                              /*remainder=*/false);
                        });
}

/// The remainder with the sign of the divisor, as in Python: a zero too.
static Value floorModFloat(ElementBuilder &b, Value x, Value y) {
  using P = arith::CmpFPredicate;
  Value r = arith::RemFOp::create(b, x, y);
  Value zero = floatConstant(b, x.getType(), 0.0);
  Value isZero = arith::CmpFOp::create(b, P::OEQ, r, zero);
  Value signedZero = math::CopySignOp::create(b, zero, y);
  Value rNegative = arith::CmpFOp::create(b, P::OLT, r, zero);
  Value yNegative = arith::CmpFOp::create(b, P::OLT, y, zero);
  Value differ = arith::XOrIOp::create(b, rNegative, yNegative);
  Value shifted = arith::AddFOp::create(b, r, y);
  Value fixed = arith::SelectOp::create(b, differ, shifted, r);
  // A NaN compares as neither negative nor zero, and stays.
  return arith::SelectOp::create(b, isZero, signedZero, fixed);
}

static LogicalResult convertMod(Lowering &l) {
  SmallVector<Tensor> operands = allInputs(l);
  if (failed(expectSameTypes(l, operands)))
    return failure();
  bool fmod = l.node.getI64("fmod", 0) != 0;
  Tensor x = operands[0];
  if (x->isFloat() && !fmod && l.node.getOpset() < 28)
    return l.error() << "expects fmod = 1 for floats";
  if (x->isInteger()) {
    checkDivisor(l, operands[1]);
    if (Tensor sizes =
            onSizes(l, operands, x->elementType, [&](ArrayRef<Expr> e) {
              return fmod ? l.sizes.truncMod(e[0], e[1])
                          : l.sizes.floorMod(e[0], e[1]);
            }))
      return l.set(sizes);
  }
  bool isUnsigned = x->isUnsigned();
  return setElementwise(
      l, operands, x->elementType,
      [&](ElementBuilder &b, ValueRange args) -> Value {
        if (isa<FloatType>(args[0].getType()))
          return fmod ? Value(arith::RemFOp::create(b, args[0], args[1]))
                      : floorModFloat(b, args[0], args[1]);
        if (isUnsigned)
          return arith::RemUIOp::create(b, args[0], args[1]);
        Value r = guardOverflow(
            b, args[0], args[1],
            [&](Value x, Value y) -> Value {
              return arith::RemSIOp::create(b, x, y);
            },
            /*remainder=*/true);
        if (fmod)
          return r;
        // The remainder has the sign of the divisor.
        Value zero = intConstant(b, r.getType(), 0);
        using P = arith::CmpIPredicate;
        Value some = arith::CmpIOp::create(b, P::ne, r, zero);
        Value signs = arith::XOrIOp::create(b, r, args[1]);
        Value differ = arith::CmpIOp::create(b, P::slt, signs, zero);
        Value fix = arith::AndIOp::create(b, some, differ);
        Value fixed = arith::AddIOp::create(b, r, args[1]);
        return arith::SelectOp::create(b, fix, fixed, r);
      });
}

//===----------------------------------------------------------------------===//
// Pow
//===----------------------------------------------------------------------===//

/// x^p for the exponents for which multiplications and a root are at least as
/// exact as pow; null for others.
static Value powConstant(ElementBuilder &b, Value x, double p) {
  Type type = x.getType();
  if (p == 1.0)
    return x;
  if (p == 2.0)
    return arith::MulFOp::create(b, x, x);
  if (p == 3.0)
    return arith::MulFOp::create(b, arith::MulFOp::create(b, x, x), x);
  if (p == -1.0)
    return arith::DivFOp::create(b, floatConstant(b, type, 1.0), x);
  if (p == 0.5) {
    // pow(-0, 0.5) is +0 and pow(-inf, 0.5) is +inf.
    Value plusZero = arith::AddFOp::create(b, x, floatConstant(b, type, 0.0));
    Value root = math::SqrtOp::create(b, plusZero);
    Value isInf = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x,
                                        floatConstant(b, type, -INFINITY));
    return arith::SelectOp::create(b, isInf, floatConstant(b, type, INFINITY),
                                   root);
  }
  return {};
}

static LogicalResult convertPow(Lowering &l) {
  Tensor x = l.in(0), y = l.in(1);
  Type xType = x->elementType, yType = y->elementType;
  std::optional<double> exponent = l.constantFloat(y);
  if (auto whole = l.constants(y); whole && whole->size() == 1)
    exponent = static_cast<double>(whole->front());
  // The common type for the call of pow: integers go through f64, as in
  // onnxruntime.
  bool wide = !x->isFloat() || xType.isF64() || yType.isF64();
  Type common = wide ? Type(l.b.getF64Type()) : Type(l.b.getF32Type());
  return setElementwise(
      l, {x, y}, xType, [&](ElementBuilder &b, ValueRange args) -> Value {
        if (x->isFloat() && exponent)
          if (Value simple = powConstant(b, args[0], *exponent))
            return simple;
        if (!x->isFloat() && exponent && (*exponent == 1 || *exponent == 2))
          return *exponent == 1
                     ? args[0]
                     : Value(arith::MulIOp::create(b, args[0], args[0]));
        Value base = castElement(b, args[0], xType, common);
        Value power = castElement(b, args[1], yType, common);
        Value result = math::PowFOp::create(b, base, power);
        return castElement(b, result, common, xType);
      });
}

//===----------------------------------------------------------------------===//
// Comparison and selection
//===----------------------------------------------------------------------===//

static LogicalResult compare(Lowering &l, arith::CmpFPredicate onFloats,
                             arith::CmpIPredicate onIntegers,
                             arith::CmpIPredicate onUnsigned, SizeFn onExpr) {
  SmallVector<Tensor> operands = allInputs(l);
  if (failed(expectSameTypes(l, operands)))
    return failure();
  Type i1 = l.b.getI1Type();
  if (Tensor sizes = onSizes(l, operands, i1, onExpr))
    return l.set(sizes);
  auto predicate = operands[0]->isUnsigned() ? onUnsigned : onIntegers;
  return setElementwise(
      l, operands, i1, [&](ElementBuilder &b, ValueRange args) -> Value {
        if (isa<FloatType>(args[0].getType()))
          return arith::CmpFOp::create(b, onFloats, args[0], args[1]);
        return arith::CmpIOp::create(b, predicate, args[0], args[1]);
      });
}

using FP = arith::CmpFPredicate;
using IP = arith::CmpIPredicate;

static LogicalResult convertEqual(Lowering &l) {
  return compare(l, FP::OEQ, IP::eq, IP::eq,
                 [&](ArrayRef<Expr> e) { return l.sizes.equal(e[0], e[1]); });
}
static LogicalResult convertLess(Lowering &l) {
  return compare(l, FP::OLT, IP::slt, IP::ult,
                 [&](ArrayRef<Expr> e) { return l.sizes.less(e[0], e[1]); });
}
static LogicalResult convertLessOrEqual(Lowering &l) {
  return compare(l, FP::OLE, IP::sle, IP::ule, [&](ArrayRef<Expr> e) {
    return Expr(1) - l.sizes.less(e[1], e[0]);
  });
}
static LogicalResult convertGreater(Lowering &l) {
  return compare(l, FP::OGT, IP::sgt, IP::ugt,
                 [&](ArrayRef<Expr> e) { return l.sizes.less(e[1], e[0]); });
}
static LogicalResult convertGreaterOrEqual(Lowering &l) {
  return compare(l, FP::OGE, IP::sge, IP::uge, [&](ArrayRef<Expr> e) {
    return Expr(1) - l.sizes.less(e[0], e[1]);
  });
}

static LogicalResult convertWhere(Lowering &l) {
  Tensor condition = l.in(0), x = l.in(1), y = l.in(2);
  if (!condition->isBool())
    return l.error() << "expects a condition of booleans, got "
                     << condition->elementType;
  if (failed(expectSameTypes(l, {x, y})))
    return failure();
  if (Tensor sizes =
          onSizes(l, {condition, x, y}, x->elementType, [&](ArrayRef<Expr> e) {
            return l.sizes.select(e[0], e[1], e[2]);
          }))
    return l.set(sizes);
  return setElementwise(l, {condition, x, y}, x->elementType,
                        [](ElementBuilder &b, ValueRange args) {
                          return arith::SelectOp::create(b, args[0], args[1],
                                                         args[2])
                              .getResult();
                        });
}

/// min(max(x, lower), upper), in this order.
static LogicalResult convertClip(Lowering &l) {
  Tensor x = l.in(0);
  SmallVector<Tensor> operands{x};
  Tensor lower = l.optional(1), upper = l.optional(2);
  auto bound = [&](StringRef name) -> Tensor {
    if (l.node.getOpset() >= 11 || !l.node.hasAttr(name))
      return nullptr;
    auto type = RankedTensorType::get({}, x->elementType);
    return l.tensor(cast<DenseElementsAttr>(DenseElementsAttr::get(
        type, l.b.getFloatAttr(x->elementType, *l.node.getF32(name)))));
  };
  if (!x->isFloat() && l.node.getOpset() < 11)
    return l.error() << "expects floats, got " << x->elementType;
  lower = lower ? lower : bound("min");
  upper = upper ? upper : bound("max");
  for (Tensor t : {lower, upper}) {
    if (!t)
      continue;
    if (t->rank() != 0 && !t->hasOneElement())
      return l.error() << "expects bounds to be scalars";
    // A list of one element must not add a dimension to a scalar.
    operands.push_back(l.reshape(t, {}));
  }
  if (failed(expectSameTypes(l, operands)))
    return failure();
  bool isUnsigned = x->isUnsigned();
  return l.set(l.elementwise(operands, x->dims, x->elementType,
                             [&](ElementBuilder &b, ValueRange args) {
                               Value v = args[0];
                               if (lower)
                                 v = maxElement(b, v, args[1], isUnsigned);
                               if (upper)
                                 v = minElement(b, v, args.back(), isUnsigned);
                               return v;
                             }));
}

static LogicalResult convertPRelu(Lowering &l) {
  return setElementwise(
      l, allInputs(l), l.in(0)->elementType,
      [](ElementBuilder &b, ValueRange args) -> Value {
        Type type = args[0].getType();
        Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
        Value scaled = mulElements(b, args[0], args[1]);
        Value negative =
            isa<FloatType>(type)
                ? Value(arith::CmpFOp::create(b, FP::OLT, args[0], zero))
                : Value(arith::CmpIOp::create(b, IP::slt, args[0], zero));
        return arith::SelectOp::create(b, negative, scaled, args[0]);
      });
}

//===----------------------------------------------------------------------===//
// Bits
//===----------------------------------------------------------------------===//

template <typename Op> static LogicalResult bitwise(Lowering &l) {
  SmallVector<Tensor> operands = allInputs(l);
  if (failed(expectSameTypes(l, operands)))
    return failure();
  if (!operands.front()->isInteger())
    return l.error() << "expects integers, got "
                     << operands.front()->elementType;
  return setElementwise(l, operands, operands.front()->elementType,
                        [](ElementBuilder &b, ValueRange args) {
                          return Op::create(b, args[0], args[1]).getResult();
                        });
}

static LogicalResult convertBitShift(Lowering &l) {
  SmallVector<Tensor> operands = allInputs(l);
  StringRef direction = l.node.getString("direction");
  if (direction != "LEFT" && direction != "RIGHT")
    return l.error() << "expects direction LEFT or RIGHT, got '" << direction
                     << "'";
  bool isUnsigned = operands.front()->isUnsigned();
  return setElementwise(
      l, operands, operands.front()->elementType,
      [&](ElementBuilder &b, ValueRange args) -> Value {
        Type type = args[0].getType();
        // Shifting by the width or more is poison in LLVM. Here it leaves 0,
        // or the sign of a signed number that is shifted to the right.
        unsigned bits = type.getIntOrFloatBitWidth();
        Value width = intConstant(b, type, bits);
        Value fits = arith::CmpIOp::create(b, IP::ult, args[1], width);
        Value zero = intConstant(b, type, 0);
        if (direction == "RIGHT" && !isUnsigned) {
          Value most = intConstant(b, type, bits - 1);
          Value by = arith::SelectOp::create(b, fits, args[1], most);
          return arith::ShRSIOp::create(b, args[0], by);
        }
        Value by = arith::SelectOp::create(b, fits, args[1], zero);
        Value shifted = direction == "LEFT"
                            ? Value(arith::ShLIOp::create(b, args[0], by))
                            : Value(arith::ShRUIOp::create(b, args[0], by));
        return arith::SelectOp::create(b, fits, shifted, zero);
      });
}

void raise::addBinary(Registry &r) {
  r.add({
      {"Add", 7, kLatest, convertAdd, 2, 2, ""},
      {"And", 7, kLatest, bitwise<arith::AndIOp>, 2, 2, ""},
      {"BitShift", 11, kLatest, convertBitShift, 2, 2, "direction"},
      {"BitwiseAnd", 18, kLatest, bitwise<arith::AndIOp>, 2, 2, ""},
      {"BitwiseOr", 18, kLatest, bitwise<arith::OrIOp>, 2, 2, ""},
      {"BitwiseXor", 18, kLatest, bitwise<arith::XOrIOp>, 2, 2, ""},
      {"Clip", 6, kLatest, convertClip, 1, 3, "min max"},
      {"Div", 7, kLatest, convertDiv, 2, 2, ""},
      {"Equal", 7, kLatest, convertEqual, 2, 2, ""},
      {"Greater", 7, kLatest, convertGreater, 2, 2, ""},
      {"GreaterOrEqual", 12, kLatest, convertGreaterOrEqual, 2, 2, ""},
      {"Less", 7, kLatest, convertLess, 2, 2, ""},
      {"LessOrEqual", 12, kLatest, convertLessOrEqual, 2, 2, ""},
      {"Max", 8, kLatest, convertExtreme<true>, 1, kVariadic, ""},
      {"Mean", 8, kLatest, convertMean, 1, kVariadic, ""},
      {"Min", 8, kLatest, convertExtreme<false>, 1, kVariadic, ""},
      {"Mod", 10, kLatest, convertMod, 2, 2, "fmod"},
      {"Mul", 7, kLatest, convertMul, 2, 2, ""},
      {"Or", 7, kLatest, bitwise<arith::OrIOp>, 2, 2, ""},
      {"PRelu", 7, kLatest, convertPRelu, 2, 2, ""},
      {"Pow", 7, kLatest, convertPow, 2, 2, ""},
      {"Sub", 7, kLatest, convertSub, 2, 2, ""},
      {"Sum", 8, kLatest, convertAdd, 1, kVariadic, ""},
      {"Where", 9, kLatest, convertWhere, 3, 3, ""},
      {"Xor", 7, kLatest, bitwise<arith::XOrIOp>, 2, 2, ""},
  });
}
