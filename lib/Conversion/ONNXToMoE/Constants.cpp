//===- Constants.cpp - constants, casts and generated tensors -------------===//
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

//===----------------------------------------------------------------------===//
// Constant, Identity
//===----------------------------------------------------------------------===//

static LogicalResult convertConstant(Lowering &l) {
  onnx::NodeOp node = l.node;
  OpBuilder &b = l.b;
  if (FlatSymbolRefAttr symbol = node.getWeightAttr("value")) {
    auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(node, symbol);
    if (!weight)
      return l.error() << "expects " << symbol << " to name a weight";
    Value value =
        GetWeightOp::create(b, node.getLoc(), weight.getWeightType(), symbol);
    return l.set(l.foreign(value));
  }
  DenseElementsAttr dense;
  if (auto value = dyn_cast_or_null<DenseElementsAttr>(
          Attribute(node.getTensorAttr("value"))))
    dense = value;
  else if (std::optional<int64_t> i = node.getI64("value_int"))
    dense =
        DenseElementsAttr::get(RankedTensorType::get({}, b.getI64Type()), *i);
  else if (std::optional<float> f = node.getF32("value_float"))
    dense =
        DenseElementsAttr::get(RankedTensorType::get({}, b.getF32Type()), *f);
  else if (auto ints = node.getI64s("value_ints"))
    dense = DenseElementsAttr::get(
        RankedTensorType::get(ints->size(), b.getI64Type()), *ints);
  else if (auto floats = node.getF32s("value_floats"))
    dense = DenseElementsAttr::get(
        RankedTensorType::get(floats->size(), b.getF32Type()), *floats);
  if (!dense || !isa<IntegerType, FloatType>(dense.getElementType()))
    return l.error() << "expects a value of integers or floats";
  return l.set(l.tensor(dense));
}

static LogicalResult convertIdentity(Lowering &l) {
  Value input = l.node.input(0);
  if (Tensor t = l.lookup(input))
    return l.set(t);
  if (Value output = l.node.output(0))
    l.sequences[output] = SmallVector<Tensor>(l.sequences.lookup(input));
  return success();
}

/// Inference: the input, and a mask of ones.
static LogicalResult convertDropout(Lowering &l) {
  if (Tensor training = l.optional(2)) {
    auto on = l.constants(training);
    if (!on || on->empty() || on->front() != 0)
      return l.error() << "expects training_mode to be false";
  }
  Tensor x = l.in(0);
  if (l.node.output(1)) {
    // Before version 10 the mask had the type of the input.
    Type type = l.node.getOpset() < 10 ? x->elementType : l.b.getI1Type();
    TypedAttr one = l.b.getOneAttr(Lowering::storageType(type));
    if (failed(l.set(1, l.tensor(l.filled(x->dims, one), type, x->dims))))
      return failure();
  }
  return l.set(x);
}

//===----------------------------------------------------------------------===//
// Cast
//===----------------------------------------------------------------------===//

Tensor raise::castTensor(Lowering &l, Tensor x, Type to) {
  Type from = x->elementType;
  if (from == to)
    return x;
  // Sizes stay sizes in the types that hold every size.
  if (x->elements && !x->isUnsigned() &&
      (to.isInteger(64) || to.isInteger(32) || to.isInteger(1))) {
    Dims elements;
    for (const Expr &e : *x->elements) {
      Expr c = e;
      if (to.isInteger(1))
        c = Expr(1) - l.sizes.equal(e, 0);
      else if (std::optional<int64_t> v = e.constant(); v && to.isInteger(32))
        c = static_cast<int32_t>(*v);
      elements.push_back(c);
    }
    return l.tensor(to, x->dims, elements);
  }
  return l.elementwise(x, x->dims, to,
                       [&](ImplicitLocOpBuilder &b, ValueRange args) {
                         return castElement(b, args[0], from, to);
                       });
}

static LogicalResult convertCast(Lowering &l) {
  Type to = onnxElementType(l.b, l.node.getI64("to", 0));
  if (!to)
    return l.error() << "conversion to data type " << l.node.getI64("to", 0)
                     << " is not supported";
  return l.set(castTensor(l, l.in(0), to));
}

static LogicalResult convertCastLike(Lowering &l) {
  return l.set(castTensor(l, l.in(0), l.in(1)->elementType));
}

//===----------------------------------------------------------------------===//
// Range, ConstantOfShape, EyeLike
//===----------------------------------------------------------------------===//

/// The number of elements in [start, limit) by steps of `delta`.
static Expr rangeLength(Lowering &l, const Expr &start, const Expr &limit,
                        const Expr &delta) {
  ImplicitLocOpBuilder &b = l.b;
  using P = arith::CmpIPredicate;
  std::optional<int64_t> step = delta.constant();
  // The span of two sizes, or from 0, is a size; of any two integers it may
  // need all 64 bits.
  bool fits = step > 0 && start.is(0);
  fits |= l.sizes.isNonNegative(start) && l.sizes.isNonNegative(limit);
  if (step && step != INT64_MIN && fits) {
    Expr span = *step > 0 ? limit - start : start - limit;
    return l.sizes.max(l.sizes.ceilDiv(span, std::abs(*step)), 0);
  }
  Value first = l.index(start), last = l.index(limit), by = l.index(delta);
  Value zero = l.index(0), one = l.index(1);
  l.check(arith::CmpIOp::create(b, P::ne, by, zero), by, zero,
          "expects a delta other than {limit}, got {found}");
  Value down = arith::CmpIOp::create(b, P::slt, by, zero);
  Value low = arith::SelectOp::create(b, down, last, first);
  Value high = arith::SelectOp::create(b, down, first, last);
  Value size =
      arith::SelectOp::create(b, down, arith::SubIOp::create(b, zero, by), by);
  // ceil(span / size) without the overflow of span + size.
  Value span =
      arith::SubIOp::create(b, arith::SubIOp::create(b, high, low), one);
  Value whole = arith::DivUIOp::create(b, span, size);
  Value count = arith::AddIOp::create(b, whole, one);
  // 2^63 and more counts as too many.
  Value most = l.index(INT64_MAX);
  count = arith::SelectOp::create(
      b, arith::CmpIOp::create(b, P::slt, count, zero), most, count);
  count = arith::SelectOp::create(
      b, arith::CmpIOp::create(b, P::slt, low, high), count, zero);
  return l.sizes.opaque(count, /*nonNegative=*/true);
}

static FailureOr<Tensor> integerRange(Lowering &l) {
  SmallVector<Expr, 3> bounds;
  for (unsigned i = 0; i < 3; ++i) {
    FailureOr<Dims> e = l.elements(l.in(i), "start, limit and delta");
    if (failed(e))
      return failure();
    if (e->size() != 1)
      return l.error() << "expects start, limit and delta to be scalars";
    bounds.push_back(e->front());
  }
  auto [start, limit, delta] = std::tuple(bounds[0], bounds[1], bounds[2]);
  if (delta.is(0))
    return l.error() << "expects delta not to be 0";
  Expr length = rangeLength(l, start, limit, delta);
  if (failed(l.checkElements(length)))
    return failure();
  Type type = l.in(0)->elementType;
  if (std::optional<int64_t> n = length.constant(); n && *n <= 32) {
    Dims elements;
    for (int64_t i = 0; i < *n; ++i)
      elements.push_back(start + delta * Expr(i));
    return l.tensor(type, Dims{length}, elements);
  }
  Value first = l.index(start), step = l.index(delta);
  return l.generate({length}, type,
                    [&](ImplicitLocOpBuilder &b, ValueRange at) {
                      Value offset = arith::MulIOp::create(b, at[0], step);
                      Value element = arith::AddIOp::create(b, first, offset);
                      return arith::IndexCastOp::create(
                                 b, Lowering::storageType(type), element)
                          .getResult();
                    });
}

static FailureOr<Tensor> floatRange(Lowering &l) {
  ImplicitLocOpBuilder &b = l.b;
  Type type = l.in(0)->elementType, compute = Lowering::computeType(type);
  SmallVector<Value, 3> bounds;
  for (unsigned i = 0; i < 3; ++i) {
    if (!l.in(i)->hasOneElement())
      return l.error() << "expects start, limit and delta to be scalars";
    SmallVector<Value> at(l.in(i)->rank(), l.index(0));
    bounds.push_back(
        toCompute(b, tensor::ExtractOp::create(b, l.value(l.in(i)), at)));
  }
  Value zero = floatConstant(b, compute, 0.0);
  l.check(arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, bounds[2], zero),
          l.index(0), l.index(0), "expects a delta other than {limit}");
  Value span = arith::SubFOp::create(b, bounds[1], bounds[0]);
  Value steps = arith::DivFOp::create(b, span, bounds[2]);
  Value whole = math::CeilOp::create(b, steps);
  // Saturates, and is 0 for a NaN.
  Value count = castElement(b, whole, compute, b.getI64Type());
  count = arith::MaxSIOp::create(b, count, intConstant(b, b.getI64Type(), 0));
  Expr length = l.sizes.opaque(count, /*nonNegative=*/true);
  if (failed(l.checkElements(length)))
    return failure();
  return l.generate(
      {length}, type, [&](ImplicitLocOpBuilder &b, ValueRange at) {
        Value i = arith::IndexCastOp::create(b, b.getI64Type(), at[0]);
        Value f = arith::SIToFPOp::create(b, compute, i);
        Value offset = arith::MulFOp::create(b, f, bounds[2]);
        Value element = arith::AddFOp::create(b, bounds[0], offset);
        return fromCompute(b, element, type);
      });
}

static LogicalResult convertRange(Lowering &l) {
  FailureOr<Tensor> range =
      l.in(0)->isInteger() ? integerRange(l) : floatRange(l);
  return failed(range) ? failure() : l.set(*range);
}

static LogicalResult convertConstantOfShape(Lowering &l) {
  FailureOr<Dims> dims = l.elements(l.in(0), "the shape");
  if (failed(dims))
    return failure();
  for (const Expr &d : *dims)
    if (failed(l.checkSize(d)))
      return failure();
  if (failed(l.checkElements(*dims)))
    return failure();
  Type type = l.b.getF32Type();
  TypedAttr element = l.b.getZeroAttr(type);
  if (auto value = dyn_cast_or_null<DenseElementsAttr>(
          Attribute(l.node.getTensorAttr("value")))) {
    type = value.getElementType();
    Tensor scalar = l.tensor(value);
    if (!scalar->hasOneElement())
      return l.error() << "expects a value of one element";
    element = *scalar->constant.getValues<TypedAttr>().begin();
  }
  RankedTensorType resultType = l.type(*dims, type);
  if (resultType.hasStaticShape() && resultType.getNumElements() <= 32)
    return l.set(l.tensor(DenseElementsAttr::get(resultType, element), type));
  return l.set(l.tensor(l.filled(*dims, element), type, *dims));
}

static LogicalResult convertEyeLike(Lowering &l) {
  Tensor x = l.in(0);
  if (x->rank() != 2)
    return l.error() << "expects rank 2, got " << x->rank();
  Type type = x->elementType;
  if (l.node.hasAttr("dtype"))
    type = onnxElementType(l.b, l.node.getI64("dtype", 0));
  if (!type)
    return l.error() << "data type " << l.node.getI64("dtype", 0)
                     << " is not supported";
  Type storage = Lowering::storageType(type);
  // A row plus k must not overflow.
  constexpr int64_t most = Lowering::kMaxElements;
  Value k = l.index(std::clamp(l.node.getI64("k", 0), -most, most));
  return l.set(
      l.generate(x->dims, type, [&](ImplicitLocOpBuilder &b, ValueRange at) {
        Value diagonal = arith::AddIOp::create(b, at[0], k);
        Value hit =
            arith::CmpIOp::create(b, arith::CmpIPredicate::eq, diagonal, at[1]);
        Value one = arith::ConstantOp::create(b, b.getOneAttr(storage));
        Value zero = arith::ConstantOp::create(b, b.getZeroAttr(storage));
        return arith::SelectOp::create(b, hit, one, zero).getResult();
      }));
}

void raise::addConstants(Registry &r) {
  r.add({
      {"Constant", 1, kLatest, convertConstant, 0, 0,
       "value value_int value_ints value_float value_floats"},
      {"Identity", 1, kLatest, convertIdentity, 1, 1, "", "", "",
       /*takesSequences=*/true},
      {"Dropout", 7, kLatest, convertDropout, 1, 3, "ratio seed", "",
       "inference only: training_mode is constant false"},
      {"Cast", 6, kLatest, convertCast, 1, 1, "to saturate round_mode"},
      {"CastLike", 15, kLatest, convertCastLike, 2, 2, "saturate round_mode"},
      {"Range", 11, kLatest, convertRange, 3, 3, "stash_type"},
      {"ConstantOfShape", 9, kLatest, convertConstantOfShape, 1, 1, "value", "",
       "a shape of at most 32 elements"},
      {"EyeLike", 9, kLatest, convertEyeLike, 1, 1, "dtype k"},
  });
}
