//===- Normalization.cpp - Softmax and normalizations ---------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sums and everything derived from them stay in the compute type until the last
// operation, which rounds once.
//
//===----------------------------------------------------------------------===//

#include "Normalization.h"

#include "Attention.h"
#include "Elements.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

using ElementBuilder = ImplicitLocOpBuilder;

/// All elements, read in place.
static Operand whole(Lowering &l, Tensor x) {
  return l.operand(x, x->dims, /*allowScalar=*/false);
}

//===----------------------------------------------------------------------===//
// Softmax, LogSoftmax
//===----------------------------------------------------------------------===//

static LogicalResult convertSoftmax(Lowering &l) {
  Tensor x = l.in(0);
  bool isLog = l.node.is("LogSoftmax");
  if (!x->isFloat())
    return l.error() << "expects floats, got " << x->elementType;
  // Until version 13 everything from the axis on was one axis.
  bool coerced = l.node.getOpset() < 13;
  int64_t defaultAxis = coerced ? 1 : -1;
  if (coerced && l.node.getI64("axis", 1) == x->rank())
    return l.error() << "expects an axis less than the rank";
  FailureOr<int64_t> axis =
      l.axis(l.node.getI64("axis", defaultAxis), x->rank());
  if (failed(axis))
    return failure();
  SmallVector<bool> reduced(x->rank(), false);
  for (int64_t i = *axis; i < x->rank(); ++i)
    reduced[i] = coerced || i == *axis;

  Type compute = Lowering::computeType(x->elementType);
  Value greatest = greatestOf(l, x, reduced);
  Operand shift = l.reducedOperand(greatest, reduced);
  Tensor exps = l.elementwise({whole(l, x), shift}, x->dims, compute,
                              [&](ElementBuilder &b, ValueRange args) -> Value {
                                Value d =
                                    arith::SubFOp::create(b, args[0], args[1]);
                                return math::ExpOp::create(b, d);
                              });
  Value sum = sumOf(l, exps, reduced);
  Operand total = l.reducedOperand(sum, reduced);
  if (!isLog)
    return l.set(l.elementwise(
        {whole(l, exps), total}, x->dims, x->elementType,
        [](ElementBuilder &b, ValueRange args) {
          return arith::DivFOp::create(b, args[0], args[1]).getResult();
        }));
  return l.set(
      l.elementwise({whole(l, x), shift, total}, x->dims, x->elementType,
                    [](ElementBuilder &b, ValueRange args) {
                      Value d = arith::SubFOp::create(b, args[0], args[1]);
                      Value log = math::LogOp::create(b, args[2]);
                      return arith::SubFOp::create(b, d, log).getResult();
                    }));
}

//===----------------------------------------------------------------------===//
// Layer and RMS normalization
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<Tensor, 3>>
raise::normalize(Lowering &l, Tensor x, Tensor scale, Tensor bias, int64_t axis,
                 double epsilon, bool centers, Type resultType) {
  Type compute = Lowering::computeType(x->elementType);
  SmallVector<bool> reduced(x->rank(), false);
  Dims kept;
  Expr count = 1;
  for (int64_t i = 0; i < x->rank(); ++i) {
    reduced[i] = i >= axis;
    if (reduced[i])
      count = count * x->dims[i];
    else
      kept.push_back(x->dims[i]);
  }
  ImplicitLocOpBuilder &b = l.b;
  Value n = count.constant()
                ? floatConstant(b, compute, *count.constant())
                : Value(arith::SIToFPOp::create(
                      b, compute, l.sizes.integer(b, count, b.getI64Type())));
  Tensor mean = nullptr, centered = x;
  if (centers) {
    Value sum = sumOf(l, x, reduced);
    mean =
        l.elementwise(l.tensor(sum, compute, kept), kept, compute,
                      [&](ElementBuilder &b, ValueRange args) {
                        return arith::DivFOp::create(b, args[0], n).getResult();
                      });
    // Two passes: the difference of two large sums would lose the variance.
    centered = l.elementwise(
        {whole(l, x), l.reducedOperand(mean->value, reduced)}, x->dims, compute,
        [](ElementBuilder &b, ValueRange args) {
          return arith::SubFOp::create(b, args[0], args[1]).getResult();
        });
  }
  Value squares =
      l.reduce(centered, reduced, {floatConstant(b, compute, 0.0)},
               [](ElementBuilder &b, ValueRange args) -> SmallVector<Value> {
                 Value square = arith::MulFOp::create(b, args[0], args[0]);
                 return {arith::AddFOp::create(b, args[1], square)};
               })
          .front();
  Tensor inverse = l.elementwise(
      l.tensor(squares, compute, kept), kept, compute,
      [&](ElementBuilder &b, ValueRange args) {
        Value variance = arith::DivFOp::create(b, args[0], n);
        Value sum = arith::AddFOp::create(b, variance,
                                          floatConstant(b, compute, epsilon));
        Value root = math::SqrtOp::create(b, sum);
        return arith::DivFOp::create(b, floatConstant(b, compute, 1.0), root)
            .getResult();
      });
  SmallVector<Operand> operands{whole(l, centered),
                                l.reducedOperand(inverse->value, reduced)};
  for (Tensor t : {scale, bias}) {
    if (!t)
      continue;
    if (failed(l.checkBroadcast(t, x->dims, "scale and bias")))
      return failure();
    operands.push_back(l.operand(t, x->dims));
  }
  Tensor y = l.elementwise(
      operands, x->dims, resultType, [&](ElementBuilder &b, ValueRange args) {
        auto asCompute = [&](Value v) { return fromCompute(b, v, compute); };
        Value v = arith::MulFOp::create(b, args[0], args[1]);
        if (scale)
          v = arith::MulFOp::create(b, v, asCompute(args[2]));
        if (bias)
          v = arith::AddFOp::create(b, v, asCompute(args.back()));
        return v;
      });
  return SmallVector<Tensor, 3>{y, mean, inverse};
}

/// Sets output `i`, a reduced statistic, with its normalized axes as ones.
static LogicalResult setStatistic(Lowering &l, unsigned i, Tensor t,
                                  int64_t rank) {
  if (!l.node.output(i) || !t)
    return success();
  Dims dims = t->dims;
  dims.resize(rank, Expr(1));
  auto hint = dyn_cast<ShapedType>(l.node.output(i).getType());
  Tensor shaped = l.reshape(t, dims);
  return l.set(i, hint && isa<FloatType>(hint.getElementType())
                      ? l.convertFloat(shaped, hint.getElementType())
                      : shaped);
}

/// LayerNormalization (centers) and RMSNormalization, also under the names and
/// with the outputs that onnxruntime gave them.
template <bool centers> static LogicalResult convertNormalization(Lowering &l) {
  Tensor x = l.in(0), scale = l.in(1);
  if (!x->isFloat())
    return l.error() << "expects floats, got " << x->elementType;
  FailureOr<int64_t> axis = l.axis(l.node.getI64("axis", -1), x->rank());
  if (failed(axis))
    return failure();
  auto results =
      normalize(l, x, scale, centers ? l.optional(2) : nullptr, *axis,
                l.node.getF32("epsilon", 1e-5f), centers, scale->elementType);
  if (failed(results) || failed(l.set(0, (*results)[0])))
    return failure();
  if (centers)
    return failure(failed(setStatistic(l, 1, (*results)[1], x->rank())) ||
                   failed(setStatistic(l, 2, (*results)[2], x->rank())));
  return setStatistic(l, 1, (*results)[2], x->rank());
}

/// Inputs x, skip, gamma, (beta,) bias; the last output is x + skip + bias.
template <bool centers> static LogicalResult convertSkipNorm(Lowering &l) {
  Tensor x = l.in(0), skip = l.in(1), gamma = l.in(2);
  Tensor beta = centers ? l.optional(3) : nullptr;
  Tensor bias = l.optional(centers ? 4 : 3);
  if (!x->isFloat())
    return l.error() << "expects floats, got " << x->elementType;
  SmallVector<Tensor> terms{x, skip};
  if (bias)
    terms.push_back(bias);
  for (Tensor t : ArrayRef(terms).drop_front()) {
    if (t->elementType != x->elementType)
      return l.error() << "expects input, skip and bias of one type, got "
                       << x->elementType << " and " << t->elementType;
    if (failed(l.checkBroadcast(t, x->dims, "skip and bias")))
      return failure();
  }
  Tensor sum = l.elementwise(terms, x->dims, x->elementType, sumOfElements);
  auto results =
      normalize(l, sum, gamma, beta, x->rank() - 1,
                l.node.getF32("epsilon", 1e-12f), centers, x->elementType);
  if (failed(results) || failed(l.set(0, (*results)[0])) ||
      failed(setStatistic(l, 1, (*results)[1], x->rank())) ||
      failed(setStatistic(l, 2, (*results)[2], x->rank())))
    return failure();
  return l.set(3, sum);
}

/// Inputs ids, segment ids, embeddings of words, positions and segments, gamma,
/// beta, mask, position ids; outputs the normalized sum, how many elements of
/// each row of the mask are not 0, and the sum.
static LogicalResult convertEmbedNorm(Lowering &l) {
  ImplicitLocOpBuilder &b = l.b;
  Tensor ids = l.in(0), segments = l.optional(1), words = l.in(2);
  Tensor positions = l.optional(3), segmentTable = l.optional(4);
  Tensor gamma = l.optional(5), beta = l.optional(6), mask = l.optional(7);
  Tensor positionIds = l.optional(8);
  if (!positions || !gamma || !beta)
    return l.error() << "expects position_embedding, gamma and beta";
  if (!segments != !segmentTable)
    return l.error() << "expects segment_ids and segment_embedding together";
  FailureOr<Tensor> word = gatherRows(l, words, ids);
  if (failed(word))
    return failure();
  SmallVector<Tensor> terms{*word};
  const Dims dims = (*word)->dims;
  if (positionIds) {
    FailureOr<Tensor> rows = gatherRows(l, positions, positionIds);
    if (failed(rows))
      return failure();
    terms.push_back(*rows);
  } else {
    if (positions->rank() != 2)
      return l.error() << "expects position_embedding of rank 2, got "
                       << positions->rank();
    l.checkLessOrEqual(dims[1], positions->dims[0],
                       "expects embeddings of {found} positions, got {limit}");
    terms.push_back(l.slice(positions, {0, 0}, {dims[1], positions->dims[1]}));
  }
  if (segments) {
    FailureOr<Tensor> rows = gatherRows(l, segmentTable, segments);
    if (failed(rows))
      return failure();
    terms.push_back(*rows);
  }
  for (Tensor t : ArrayRef(terms).drop_front()) {
    if (t->elementType != words->elementType)
      return l.error() << "expects embeddings of one type, got "
                       << words->elementType << " and " << t->elementType;
    if (failed(l.checkBroadcast(t, dims, "embeddings")))
      return failure();
  }
  Tensor sum = l.elementwise(terms, dims, words->elementType, sumOfElements);
  auto results =
      normalize(l, sum, gamma, beta, 2, l.node.getF32("epsilon", 1e-12f),
                /*centers=*/true, words->elementType);
  if (failed(results) || failed(l.set(0, (*results)[0])) ||
      failed(l.set(2, sum)))
    return failure();
  if (!l.node.output(1))
    return success();
  Type i32 = b.getI32Type();
  if (!mask)
    return l.set(1, l.tensor(l.filled({dims[0]}, b.getI32IntegerAttr(0)), i32,
                             {dims[0]}));
  Value count =
      l.reduce(mask, {false, true}, {intConstant(b, i32, 0)},
               [&](ElementBuilder &b, ValueRange args) -> SmallVector<Value> {
                 Value zero = intConstant(b, args[0].getType(), 0);
                 Value set = arith::CmpIOp::create(b, arith::CmpIPredicate::ne,
                                                   args[0], zero);
                 Value one = arith::ExtUIOp::create(b, i32, set);
                 return {arith::AddIOp::create(b, args[1], one)};
               })
          .front();
  return l.set(1, l.tensor(count, i32, {mask->dims[0]}));
}

void raise::addNormalization(Registry &r) {
  r.add({
      {"Softmax", 1, kLatest, convertSoftmax, 1, 1, "axis"},
      {"LogSoftmax", 1, kLatest, convertSoftmax, 1, 1, "axis"},
      {"LayerNormalization", 1, kLatest, convertNormalization<true>, 2, 3,
       "axis epsilon stash_type"},
      {"RMSNormalization", 23, kLatest, convertNormalization<false>, 2, 2,
       "axis epsilon stash_type"},
      {"SimplifiedLayerNormalization", 1, kLatest, convertNormalization<false>,
       2, 2, "axis epsilon stash_type"},
      {"SimplifiedLayerNormalization", 1, 1, convertNormalization<false>, 2, 2,
       "axis epsilon stash_type", "com.microsoft"},
      {"SkipSimplifiedLayerNormalization", 1, 1, convertSkipNorm<false>, 3, 4,
       "epsilon", "com.microsoft"},
      {"EmbedLayerNormalization", 1, 1, convertEmbedNorm, 1, 9,
       "epsilon mask_index_type", "com.microsoft"},
      {"SkipLayerNormalization", 1, 1, convertSkipNorm<true>, 3, 5, "epsilon",
       "com.microsoft"},
  });
}
