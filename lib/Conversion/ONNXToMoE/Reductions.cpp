//===- Reductions.cpp - Reduce*, ArgMax, ArgMin ---------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

using ElementBuilder = ImplicitLocOpBuilder;

namespace {
enum class Reduction {
  Sum,
  Mean,
  Prod,
  Max,
  Min,
  L1,
  L2,
  SumSquare,
  LogSum,
  LogSumExp
};
} // namespace

/// Which axes are reduced. Axes are an attribute first and an input later; none
/// at all means every axis, unless the node says otherwise.
static FailureOr<SmallVector<bool>> reducedAxes(Lowering &l, int64_t rank) {
  SmallVector<int64_t> given;
  if (auto attr = l.node.getI64s("axes"))
    given.assign(attr->begin(), attr->end());
  if (Tensor t = l.optional(1)) {
    std::optional<SmallVector<int64_t>> values = l.constants(t);
    if (!values)
      return l.error() << "expects constant axes";
    given = *values;
  }
  FailureOr<SmallVector<int64_t>> axes = l.axes(given, rank);
  if (failed(axes))
    return failure();
  bool all = given.empty() && l.node.getI64("noop_with_empty_axes", 0) == 0;
  SmallVector<bool> reduced(rank, all);
  for (int64_t axis : *axes)
    reduced[axis] = true;
  return reduced;
}

/// What a reduction starts from: its value for an empty set.
static Value initialValue(ElementBuilder &b, Reduction kind, Type type,
                          bool isUnsigned) {
  auto floatType = dyn_cast<FloatType>(type);
  bool isMin = kind == Reduction::Min;
  switch (kind) {
  case Reduction::Prod:
    return arith::ConstantOp::create(b, b.getOneAttr(type));
  case Reduction::Max:
  case Reduction::Min: {
    if (floatType)
      return floatConstant(b, type, isMin ? INFINITY : -INFINITY);
    unsigned width = type.getIntOrFloatBitWidth();
    APInt v = isUnsigned ? (isMin ? APInt::getMaxValue(width)
                                  : APInt::getMinValue(width))
                         : (isMin ? APInt::getSignedMaxValue(width)
                                  : APInt::getSignedMinValue(width));
    return arith::ConstantOp::create(b, b.getIntegerAttr(type, v));
  }
  default:
    return arith::ConstantOp::create(b, b.getZeroAttr(type));
  }
}

static Value absolute(ElementBuilder &b, Value v, bool isUnsigned) {
  if (isa<FloatType>(v.getType()))
    return math::AbsFOp::create(b, v);
  if (isUnsigned)
    return v;
  Value zero = intConstant(b, v.getType(), 0);
  Value negated = arith::SubIOp::create(b, zero, v);
  return arith::MaxSIOp::create(b, v, negated);
}

/// The accumulator after `v`.
static Value accumulate(ElementBuilder &b, Reduction kind, Value v, Value acc,
                        bool isUnsigned) {
  switch (kind) {
  case Reduction::Prod:
    return mulElements(b, acc, v);
  case Reduction::Max:
    return maxElement(b, acc, v, isUnsigned);
  case Reduction::Min:
    return minElement(b, acc, v, isUnsigned);
  case Reduction::L1:
    return addElements(b, acc, absolute(b, v, isUnsigned));
  case Reduction::L2:
  case Reduction::SumSquare:
    return addElements(b, acc, mulElements(b, v, v));
  default:
    return addElements(b, acc, v);
  }
}

/// The dims of the result without and with the reduced axes.
static std::pair<Dims, Dims> resultDims(Tensor x, ArrayRef<bool> reduced) {
  Dims kept, withOnes;
  for (auto [d, gone] : llvm::zip_equal(x->dims, reduced)) {
    if (!gone)
      kept.push_back(d);
    withOnes.push_back(gone ? Expr(1) : d);
  }
  return {kept, withOnes};
}

/// Sums, products and extremes of sizes; null for others.
static Tensor reduceSizes(Lowering &l, Tensor x, Reduction kind,
                          ArrayRef<bool> reduced, bool keepDims) {
  if (!x->elements || x->isUnsigned() || x->rank() != 1 || !reduced[0] ||
      x->elements->empty())
    return nullptr;
  Expr result = x->elements->front();
  for (const Expr &e : ArrayRef(*x->elements).drop_front()) {
    if (kind == Reduction::Sum)
      result = result + e;
    else if (kind == Reduction::Prod)
      result = result * e;
    else if (kind == Reduction::Max)
      result = l.sizes.max(result, e);
    else if (kind == Reduction::Min)
      result = l.sizes.min(result, e);
    else
      return nullptr;
  }
  return l.tensor(x->elementType, keepDims ? Dims{1} : Dims(), Dims{result});
}

/// The value of one result after the loop.
static Value finish(ElementBuilder &b, Reduction kind, Value v, Value count) {
  switch (kind) {
  case Reduction::Mean:
    if (isa<FloatType>(v.getType()))
      return arith::DivFOp::create(b, v, count);
    return arith::DivSIOp::create(b, v, count);
  case Reduction::L2:
    return math::SqrtOp::create(b, v);
  case Reduction::LogSum:
    return math::LogOp::create(b, v);
  default:
    return v;
  }
}

/// log(sum(exp(x))), shifted by the greatest element so that it does not
/// overflow.
static Tensor logSumExp(Lowering &l, Tensor x, ArrayRef<bool> reduced,
                        const Dims &kept) {
  Type compute = Lowering::computeType(x->elementType);
  Value greatest = greatestOf(l, x, reduced);
  // An infinite shift would turn the difference into a NaN.
  Tensor shift =
      l.elementwise(l.tensor(greatest, compute, kept), kept, compute,
                    [](ElementBuilder &b, ValueRange args) -> Value {
                      Value size = math::AbsFOp::create(b, args[0]);
                      Value inf = floatConstant(b, size.getType(), INFINITY);
                      Value isInf = arith::CmpFOp::create(
                          b, arith::CmpFPredicate::OEQ, size, inf);
                      Value zero = floatConstant(b, size.getType(), 0.0);
                      return arith::SelectOp::create(b, isInf, zero, args[0]);
                    });
  SmallVector<Operand> operands{l.operand(x, x->dims, false),
                                l.reducedOperand(shift->value, reduced)};
  Tensor exps = l.elementwise(
      operands, x->dims, compute, [](ElementBuilder &b, ValueRange args) {
        Value d = arith::SubFOp::create(b, args[0], args[1]);
        return math::ExpOp::create(b, d).getResult();
      });
  Value sum = sumOf(l, exps, reduced);
  return l.elementwise(
      {l.tensor(sum, compute, kept), shift}, kept, x->elementType,
      [](ElementBuilder &b, ValueRange args) {
        Value log = math::LogOp::create(b, args[0]);
        return arith::AddFOp::create(b, log, args[1]).getResult();
      });
}

template <Reduction kind> static LogicalResult convertReduce(Lowering &l) {
  Tensor x = l.in(0);
  FailureOr<SmallVector<bool>> axes = reducedAxes(l, x->rank());
  if (failed(axes))
    return failure();
  ArrayRef<bool> reduced = *axes;
  bool keepDims = l.node.getI64("keepdims", 1) != 0;
  if (Tensor sizes = reduceSizes(l, x, kind, reduced, keepDims))
    return l.set(sizes);
  // A root or logarithm of integers is that of a float, rounded towards 0.
  constexpr bool inFloats = kind == Reduction::L2 ||
                            kind == Reduction::LogSum ||
                            kind == Reduction::LogSumExp;
  Type type = x->elementType;
  if (inFloats && !x->isFloat())
    x = castTensor(l, x, l.b.getF64Type());
  constexpr bool same = kind == Reduction::Sum || kind == Reduction::Prod ||
                        kind == Reduction::Max || kind == Reduction::Min ||
                        kind == Reduction::Mean;
  if (same && !llvm::is_contained(reduced, true))
    return l.set(x);
  auto [kept, withOnes] = resultDims(x, reduced);
  Type compute = Lowering::computeType(x->elementType);
  Tensor result = nullptr;
  if constexpr (kind == Reduction::LogSumExp) {
    result = logSumExp(l, x, reduced, kept);
  } else {
    // Booleans are ordered like unsigned numbers.
    bool isUnsigned = x->isUnsigned() || x->isBool();
    Value init = initialValue(l.b, kind, compute, isUnsigned);
    Value sum =
        l.reduce(x, reduced, {init},
                 [&](ElementBuilder &b, ValueRange args) -> SmallVector<Value> {
                   return {accumulate(b, kind, args[0], args[1], isUnsigned)};
                 })
            .front();
    result =
        l.tensor(sum, isa<FloatType>(compute) ? compute : x->elementType, kept);
    bool finishes = kind == Reduction::Mean || kind == Reduction::L2 ||
                    kind == Reduction::LogSum;
    if (finishes || compute != Lowering::storageType(x->elementType)) {
      Value count;
      if (kind == Reduction::Mean) {
        Expr n = 1;
        for (auto [d, gone] : llvm::zip_equal(x->dims, reduced))
          if (gone)
            n = n * d;
        if (x->isInteger()) // a mean of nothing is left at 0
          count = l.sizes.integer(l.b, l.sizes.max(n, 1), compute);
        else if (auto constant = n.constant())
          count = floatConstant(l.b, compute, *constant);
        else
          count = arith::SIToFPOp::create(
              l.b, compute, l.sizes.integer(l.b, n, l.b.getI64Type()));
      }
      result = l.elementwise(result, kept, x->elementType,
                             [&](ElementBuilder &b, ValueRange args) {
                               return finish(b, kind, args[0], count);
                             });
    }
  }
  result = castTensor(l, result, type);
  return l.set(keepDims ? l.reshape(result, withOnes) : result);
}

//===----------------------------------------------------------------------===//
// ArgMax, ArgMin
//===----------------------------------------------------------------------===//

/// As in onnxruntime a NaN is never better than another element, but nothing is
/// better than a NaN that comes first.
template <bool isMax> static LogicalResult convertArg(Lowering &l) {
  Tensor x = l.in(0);
  FailureOr<int64_t> axis = l.axis(l.node.getI64("axis", 0), x->rank());
  if (failed(axis))
    return failure();
  bool last = l.node.getI64("select_last_index", 0) != 0;
  bool isUnsigned = x->isUnsigned();
  l.checkLessOrEqual(
      1, x->dims[*axis],
      "expects at least {found} element along the axis, got {limit}");
  SmallVector<bool> reduced(x->rank(), false);
  reduced[*axis] = true;
  Type compute = Lowering::computeType(x->elementType);
  Type i64 = l.b.getI64Type();
  Value init = arith::ConstantOp::create(l.b, l.b.getZeroAttr(compute));
  SmallVector<Value> best = l.reduce(
      x, reduced, {init, intConstant(l.b, i64, 0)},
      [&](ElementBuilder &b, ValueRange args) -> SmallVector<Value> {
        Value v = args[0], top = args[1];
        Value at = linalg::IndexOp::create(b, *axis);
        Value better;
        if (isa<FloatType>(compute)) {
          using P = arith::CmpFPredicate;
          auto predicate =
              isMax ? (last ? P::OGE : P::OGT) : (last ? P::OLE : P::OLT);
          better = arith::CmpFOp::create(b, predicate, v, top);
        } else {
          using P = arith::CmpIPredicate;
          auto predicate = isUnsigned ? (isMax ? (last ? P::uge : P::ugt)
                                               : (last ? P::ule : P::ult))
                                      : (isMax ? (last ? P::sge : P::sgt)
                                               : (last ? P::sle : P::slt));
          better = arith::CmpIOp::create(b, predicate, v, top);
        }
        Value zero = arith::ConstantIndexOp::create(b, 0);
        Value first =
            arith::CmpIOp::create(b, arith::CmpIPredicate::eq, at, zero);
        Value take = arith::OrIOp::create(b, first, better);
        Value index = arith::IndexCastOp::create(b, i64, at);
        return {arith::SelectOp::create(b, take, v, top),
                arith::SelectOp::create(b, take, index, args[2])};
      });
  auto [kept, withOnes] = resultDims(x, reduced);
  Tensor result = l.tensor(best[1], i64, kept);
  return l.set(l.node.getI64("keepdims", 1) ? l.reshape(result, withOnes)
                                            : result);
}

void raise::addReductions(Registry &r) {
  StringRef attributes = "axes keepdims noop_with_empty_axes";
  using R = Reduction;
  r.add({
      {"ReduceSum", 1, kLatest, convertReduce<R::Sum>, 1, 2, attributes, "",
       "constant axes"},
      {"ReduceMean", 1, kLatest, convertReduce<R::Mean>, 1, 2, attributes, "",
       "constant axes"},
      {"ReduceProd", 1, kLatest, convertReduce<R::Prod>, 1, 2, attributes, "",
       "constant axes"},
      {"ReduceMax", 1, kLatest, convertReduce<R::Max>, 1, 2, attributes, "",
       "constant axes"},
      {"ReduceMin", 1, kLatest, convertReduce<R::Min>, 1, 2, attributes, "",
       "constant axes"},
      {"ReduceL1", 1, kLatest, convertReduce<R::L1>, 1, 2, attributes, "",
       "constant axes"},
      {"ReduceL2", 1, kLatest, convertReduce<R::L2>, 1, 2, attributes, "",
       "constant axes"},
      {"ReduceSumSquare", 1, kLatest, convertReduce<R::SumSquare>, 1, 2,
       attributes, "", "constant axes"},
      {"ReduceLogSum", 1, kLatest, convertReduce<R::LogSum>, 1, 2, attributes,
       "", "constant axes"},
      {"ReduceLogSumExp", 1, kLatest, convertReduce<R::LogSumExp>, 1, 2,
       attributes, "", "constant axes"},
      {"ArgMax", 1, kLatest, convertArg<true>, 1, 1,
       "axis keepdims select_last_index"},
      {"ArgMin", 1, kLatest, convertArg<false>, 1, 1,
       "axis keepdims select_last_index"},
  });
}
