//===- Sorting.cpp - TopK, CumSum, NonZero --------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Operators whose next element depends on the ones before: scalar loops.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

using ElementBuilder = ImplicitLocOpBuilder;
using LoopBody =
    function_ref<SmallVector<Value>(ElementBuilder &, Value, ValueRange)>;

/// `for (i = 0; i < n; ++i) carried = body(i, carried)`
static ValueRange forLoop(ElementBuilder &b, Value n, ValueRange carried,
                          LoopBody body) {
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value one = arith::ConstantIndexOp::create(b, 1);
  auto loop = scf::ForOp::create(
      b, zero, n, one, carried,
      [&](OpBuilder &nested, Location loc, Value i, ValueRange values) {
        ElementBuilder inner(loc, nested);
        scf::YieldOp::create(inner, body(inner, i, values));
      });
  return loop.getResults();
}

static Value load(ElementBuilder &b, Value tensor, ValueRange at) {
  return tensor::ExtractOp::create(b, tensor, at);
}
static Value store(ElementBuilder &b, Value element, Value tensor,
                   ValueRange at) {
  return tensor::InsertOp::create(b, element, tensor, at);
}
static Value cmp(ElementBuilder &b, arith::CmpIPredicate p, Value x, Value y) {
  return arith::CmpIOp::create(b, p, x, y);
}
using IP = arith::CmpIPredicate;

//===----------------------------------------------------------------------===//
// TopK
//===----------------------------------------------------------------------===//

namespace {
/// The order of TopK: a NaN is greater than every number, equal elements stand
/// in the order of their indices.
struct Order {
  bool largest, isUnsigned;

  /// Whether `x` must stand before an equal-indexed `y`.
  Value before(ElementBuilder &b, Value x, Value y) const {
    if (!isa<FloatType>(x.getType()))
      return cmp(b,
                 isUnsigned ? (largest ? IP::ugt : IP::ult)
                            : (largest ? IP::sgt : IP::slt),
                 x, y);
    using FP = arith::CmpFPredicate;
    x = toCompute(b, x);
    y = toCompute(b, y);
    Value better = arith::CmpFOp::create(b, largest ? FP::OGT : FP::OLT, x, y);
    Value winner = largest ? x : y, loser = largest ? y : x;
    Value wins = arith::CmpFOp::create(b, FP::UNO, winner, winner);
    Value loses = arith::CmpFOp::create(b, FP::ORD, loser, loser);
    return arith::OrIOp::create(b, better,
                                arith::AndIOp::create(b, wins, loses));
  }
};
} // namespace

/// For few results: each is the best of those that stand after the last one.
static ValueRange selectRows(Lowering &l, Value x, Value rows, Value n, Value k,
                             Value values, Value indices, Order order) {
  Value first = arith::ConstantOp::create(
      l.b, cast<TypedAttr>(l.b.getZeroAttr(
               cast<RankedTensorType>(x.getType()).getElementType())));
  Value none = intConstant(l.b, l.b.getIndexType(), -1);
  return forLoop(
      l.b, rows, {values, indices},
      [&](ElementBuilder &b, Value r, ValueRange out) {
        ValueRange row = forLoop(
            b, k, {out[0], out[1], first, none},
            [&](ElementBuilder &b, Value j, ValueRange state) {
              Value lastValue = state[2], last = state[3];
              ValueRange best = forLoop(
                  b, n, {first, none},
                  [&](ElementBuilder &b, Value i,
                      ValueRange top) -> SmallVector<Value> {
                    Value v = load(b, x, {r, i});
                    Value after = order.before(b, lastValue, v);
                    Value notBefore =
                        arith::XOrIOp::create(b, order.before(b, v, lastValue),
                                              intConstant(b, b.getI1Type(), 1));
                    Value later = arith::AndIOp::create(
                        b, notBefore, cmp(b, IP::sgt, i, last));
                    Value stands = arith::OrIOp::create(b, after, later);
                    Value open = arith::OrIOp::create(
                        b, stands, cmp(b, IP::eq, last, none));
                    Value better =
                        arith::OrIOp::create(b, order.before(b, v, top[0]),
                                             cmp(b, IP::eq, top[1], none));
                    Value take = arith::AndIOp::create(b, open, better);
                    return {arith::SelectOp::create(b, take, v, top[0]),
                            arith::SelectOp::create(b, take, i, top[1])};
                  });
              Value index =
                  arith::IndexCastOp::create(b, b.getI64Type(), best[1]);
              return SmallVector<Value>{store(b, best[0], state[0], {r, j}),
                                        store(b, index, state[1], {r, j}),
                                        best[0], best[1]};
            });
        return SmallVector<Value>{row[0], row[1]};
      });
}

/// For many results: a bottom-up merge sort of the indices, which is stable.
static ValueRange sortRows(Lowering &l, Value x, Value rows, Value n, Value k,
                           Value values, Value indices, Order order) {
  Type i64 = l.b.getI64Type();
  // The passes alternate between the two rows of the buffer.
  Value buffer = tensor::EmptyOp::create(
      l.b, ArrayRef<OpFoldResult>{l.b.getIndexAttr(2), n}, i64);
  Value last = arith::SubIOp::create(l.b, n, l.index(1));
  // ceil(log2(n)) passes.
  Value bits = math::CountLeadingZerosOp::create(
      l.b, arith::IndexCastOp::create(l.b, i64, last));
  Value passes = arith::IndexCastOp::create(
      l.b, l.b.getIndexType(),
      arith::SubIOp::create(l.b, intConstant(l.b, i64, 64), bits));
  return forLoop(
      l.b, rows, {values, indices, buffer},
      [&](ElementBuilder &b, Value r, ValueRange out) {
        auto index = [](ElementBuilder &b, int64_t v) {
          return arith::ConstantIndexOp::create(b, v).getResult();
        };
        auto indexAt = [](ElementBuilder &b, Value buffer, Value row, Value i) {
          return arith::IndexCastOp::create(b, b.getIndexType(),
                                            load(b, buffer, {row, i}))
              .getResult();
        };
        ValueRange start = forLoop(
            b, n, {out[2]}, [&](ElementBuilder &b, Value i, ValueRange c) {
              Value v = arith::IndexCastOp::create(b, i64, i);
              return SmallVector<Value>{store(b, v, c[0], {index(b, 0), i})};
            });
        ValueRange sorted = forLoop(
            b, passes, {start[0]},
            [&](ElementBuilder &b, Value pass, ValueRange c) {
              Value one = index(b, 1), two = index(b, 2);
              Value from = arith::RemUIOp::create(b, pass, two);
              Value to = arith::SubIOp::create(b, one, from);
              Value width = arith::ShLIOp::create(b, one, pass);
              Value span = arith::ShLIOp::create(b, width, one);
              ValueRange merged = forLoop(
                  b, n, {c[0], index(b, 0), index(b, 0)},
                  [&](ElementBuilder &b, Value d,
                      ValueRange s) -> SmallVector<Value> {
                    Value offset = arith::RemUIOp::create(b, d, span);
                    Value base = arith::SubIOp::create(b, d, offset);
                    Value middle = arith::AddIOp::create(b, base, width);
                    Value end = arith::AddIOp::create(b, base, span);
                    middle = arith::MinUIOp::create(b, middle, n);
                    end = arith::MinUIOp::create(b, end, n);
                    Value begins = cmp(b, IP::eq, offset, index(b, 0));
                    Value i = arith::SelectOp::create(b, begins, base, s[1]);
                    Value j = arith::SelectOp::create(b, begins, middle, s[2]);
                    // Loads past the end of a run are not used.
                    Value a = indexAt(b, s[0], from,
                                      arith::MinUIOp::create(b, i, last));
                    Value e = indexAt(b, s[0], from,
                                      arith::MinUIOp::create(b, j, last));
                    Value right =
                        order.before(b, load(b, x, {r, e}), load(b, x, {r, a}));
                    Value hasRight = cmp(b, IP::ult, j, end);
                    right = arith::AndIOp::create(b, right, hasRight);
                    Value noLeft = cmp(b, IP::uge, i, middle);
                    Value takeRight = arith::OrIOp::create(b, right, noLeft);
                    Value taken = arith::SelectOp::create(b, takeRight, e, a);
                    Value next =
                        store(b, arith::IndexCastOp::create(b, i64, taken),
                              s[0], {to, d});
                    Value i1 = arith::AddIOp::create(b, i, index(b, 1));
                    Value j1 = arith::AddIOp::create(b, j, index(b, 1));
                    return {next, arith::SelectOp::create(b, takeRight, i, i1),
                            arith::SelectOp::create(b, takeRight, j1, j)};
                  });
              return SmallVector<Value>{merged[0]};
            });
        Value row = arith::RemUIOp::create(b, passes, index(b, 2));
        ValueRange written =
            forLoop(b, k, {out[0], out[1]},
                    [&](ElementBuilder &b, Value j, ValueRange c) {
                      Value at = load(b, sorted[0], {row, j});
                      Value i =
                          arith::IndexCastOp::create(b, b.getIndexType(), at);
                      return SmallVector<Value>{
                          store(b, load(b, x, {r, i}), c[0], {r, j}),
                          store(b, at, c[1], {r, j})};
                    });
        return SmallVector<Value>{written[0], written[1], sorted[0]};
      });
}

static LogicalResult convertTopK(Lowering &l) {
  Tensor x = l.in(0);
  FailureOr<int64_t> found = l.axis(l.node.getI64("axis", -1), x->rank());
  if (failed(found))
    return failure();
  int64_t axis = *found, rank = x->rank();
  Expr k = l.node.getI64("k", 1), n = x->dims[axis];
  if (l.node.getOpset() >= 10) {
    if (!l.optional(1))
      return l.error() << "expects k";
    FailureOr<Dims> given = l.elements(l.in(1), "k");
    if (failed(given))
      return failure();
    if (given->size() != 1)
      return l.error() << "expects one k, got " << given->size();
    k = given->front();
  }
  auto kConstant = k.constant(), nConstant = n.constant();
  if (kConstant && (*kConstant < 0 || (nConstant && *kConstant > *nConstant)))
    return l.error() << "expects k to lie in [0, size of the axis], got "
                     << *kConstant;
  l.checkLessOrEqual(0, k, "expects k to be at least {found}, got {limit}");
  l.checkLessOrEqual(
      k, n,
      "expects k to be at most {limit}, the size of the axis, got {found}");

  // Rows of elements: the axis last, all others merged.
  SmallVector<int64_t> last;
  for (int64_t i = 0; i < rank; ++i)
    if (i != axis)
      last.push_back(i);
  last.push_back(axis);
  Tensor moved = l.transpose(x, last);
  Expr rowCount = product(ArrayRef(moved->dims).drop_back());
  Tensor rows = l.reshape(moved, {rowCount, n});
  Dims outDims{rowCount, k};
  Type i64 = l.b.getI64Type();
  Value values = l.empty(outDims, x->elementType),
        indices = l.empty(outDims, i64);
  Order order{l.node.getI64("largest", 1) != 0, x->isUnsigned()};
  constexpr int64_t kFew = 16;
  auto sort = kConstant && *kConstant <= kFew ? selectRows : sortRows;
  ValueRange sorted = sort(l, l.value(rows), l.index(rowCount), l.index(n),
                           l.index(k), values, indices, order);
  Dims movedDims = moved->dims;
  movedDims.back() = k;
  SmallVector<int64_t> back(rank);
  for (int64_t i = 0; i < rank; ++i)
    back[last[i]] = i;
  auto finish = [&](Value v, Type type) {
    return l.transpose(l.reshape(l.tensor(v, type, outDims), movedDims), back);
  };
  if (failed(l.set(0, finish(sorted[0], x->elementType))))
    return failure();
  return l.set(1, finish(sorted[1], i64));
}

//===----------------------------------------------------------------------===//
// CumSum
//===----------------------------------------------------------------------===//

static LogicalResult convertCumSum(Lowering &l) {
  Tensor x = l.in(0);
  std::optional<SmallVector<int64_t>> given = l.constants(l.in(1));
  if (!given || given->size() != 1)
    return l.error() << "expects a constant axis";
  FailureOr<int64_t> axis = l.axis(given->front(), x->rank());
  if (failed(axis))
    return failure();
  bool exclusive = l.node.getI64("exclusive", 0) != 0;
  bool reverse = l.node.getI64("reverse", 0) != 0;
  ArrayRef<Expr> dims = x->dims;
  Expr outer = product(dims.take_front(*axis)), n = dims[*axis],
       inner = product(dims.drop_front(*axis + 1));
  Dims flatDims{outer, n, inner};
  Value source = l.value(l.reshape(x, flatDims));
  Type storage = Lowering::storageType(x->elementType);
  Type compute = Lowering::computeType(x->elementType);
  Value zero =
      arith::ConstantOp::create(l.b, cast<TypedAttr>(l.b.getZeroAttr(compute)));
  Value size = l.index(n), columns = l.index(inner);
  Value lastIndex = l.index(n - 1);
  Value result = forLoop(
      l.b, l.index(outer), {l.empty(flatDims, x->elementType)},
      [&](ElementBuilder &b, Value p, ValueRange c) {
        ValueRange column = forLoop(
            b, columns, {c[0]}, [&](ElementBuilder &b, Value q, ValueRange c) {
              ValueRange line =
                  forLoop(b, size, {c[0], zero},
                          [&](ElementBuilder &b, Value i,
                              ValueRange c) -> SmallVector<Value> {
                            if (reverse)
                              i = arith::SubIOp::create(b, lastIndex, i);
                            Value v = toCompute(b, load(b, source, {p, i, q}));
                            Value sum = addElements(b, c[1], v);
                            Value out =
                                fromCompute(b, exclusive ? c[1] : sum, storage);
                            return {store(b, out, c[0], {p, i, q}), sum};
                          });
              return SmallVector<Value>{line[0]};
            });
        return SmallVector<Value>{column[0]};
      })[0];
  return l.set(l.reshape(l.tensor(result, x->elementType, flatDims), x->dims));
}

//===----------------------------------------------------------------------===//
// NonZero
//===----------------------------------------------------------------------===//

/// Counts, then writes the coordinates.
Tensor raise::nonZero(Lowering &l, Tensor x) {
  int64_t rank = x->rank();
  Type i64 = l.b.getI64Type();
  Type bit = l.b.getI1Type();
  auto isSet = [&](ElementBuilder &b, Value v) {
    return castElement(b, v, x->elementType, bit);
  };
  Value counted =
      l.reduce(x, SmallVector<bool>(rank, true), {intConstant(l.b, i64, 0)},
               [&](ElementBuilder &b, ValueRange args) -> SmallVector<Value> {
                 Value one = arith::ExtUIOp::create(b, i64, isSet(b, args[0]));
                 return {arith::AddIOp::create(b, args[1], one)};
               })
          .front();
  Expr count = l.sizes.opaque(load(l.b, counted, ValueRange()),
                              /*nonNegative=*/true);
  Dims dims{rank, count};
  Value init = l.empty(dims, i64);
  SmallVector<Value> lows(rank, l.index(0)), steps(rank, l.index(1)), sizes;
  for (const Expr &d : x->dims)
    sizes.push_back(l.index(d));
  Value source = l.value(x), zero = l.index(0);
  scf::LoopNest nest = scf::buildLoopNest(
      l.b, l.b.getLoc(), lows, sizes, steps, {init, zero},
      [&](OpBuilder &nested, Location loc, ValueRange at,
          ValueRange c) -> scf::ValueVector {
        ElementBuilder b(loc, nested);
        Value set = isSet(b, toCompute(b, load(b, source, at)));
        auto branch = scf::IfOp::create(
            b, set,
            [&](OpBuilder &nested, Location loc) {
              ElementBuilder b(loc, nested);
              Value out = c[0];
              for (int64_t i = 0; i < rank; ++i) {
                Value v = arith::IndexCastOp::create(b, i64, at[i]);
                Value row = arith::ConstantIndexOp::create(b, i);
                out = store(b, v, out, {row, c[1]});
              }
              Value one = arith::ConstantIndexOp::create(b, 1);
              Value next = arith::AddIOp::create(b, c[1], one);
              scf::YieldOp::create(b, ValueRange{out, next});
            },
            [&](OpBuilder &nested, Location loc) {
              scf::YieldOp::create(nested, loc, c);
            });
        return {branch.getResult(0), branch.getResult(1)};
      });
  return l.tensor(nest.results[0], i64, dims);
}

static LogicalResult convertNonZero(Lowering &l) {
  if (l.in(0)->rank() == 0)
    return l.error() << "expects rank 1 or more";
  return l.set(nonZero(l, l.in(0)));
}

void raise::addSorting(Registry &r) {
  r.add({
      {"TopK", 1, kLatest, convertTopK, 1, 2, "axis k largest sorted"},
      {"CumSum", 11, kLatest, convertCumSum, 2, 2, "exclusive reverse", "",
       "a constant axis"},
      {"NonZero", 9, kLatest, convertNonZero, 1, 1, ""},
  });
}
