//===- Scatter.cpp - ScatterElements, ScatterND, TensorScatter ------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Updates are applied one after the other, in their order: with equal indices
// the last one wins, and a sum always runs in the same order.
//
//===----------------------------------------------------------------------===//

#include "Attention.h"
#include "Elements.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

/// The attribute `reduction`, checked.
static FailureOr<StringRef> reductionOf(Lowering &l) {
  StringRef reduction = l.node.getString("reduction", "none");
  if (!llvm::is_contained({"none", "add", "mul", "max", "min"}, reduction))
    return l.error() << "reduction '" << reduction << "' is not supported";
  return reduction;
}

static Value combine(ImplicitLocOpBuilder &b, StringRef reduction, Value old,
                     Value update, bool isUnsigned) {
  if (reduction == "none")
    return update;
  Type storage = old.getType();
  old = toCompute(b, old);
  update = toCompute(b, update);
  Value result = reduction == "add"   ? addElements(b, old, update)
                 : reduction == "mul" ? mulElements(b, old, update)
                 : reduction == "max" ? maxElement(b, old, update, isUnsigned)
                                      : minElement(b, old, update, isUnsigned);
  return fromCompute(b, result, storage);
}

/// `data` with the elements of `updates` applied where `target` says.
static Tensor
scatter(Lowering &l, Tensor data, Tensor updates, StringRef reduction,
        function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, ValueRange)>
            target) {
  bool isUnsigned = data->isUnsigned() || data->isBool();
  Value source = l.value(updates), init = l.value(data);
  SmallVector<Value> lows(updates->rank(), l.index(0)),
      steps(updates->rank(), l.index(1)), sizes;
  for (const Expr &d : updates->dims)
    sizes.push_back(l.index(d));
  scf::LoopNest nest = scf::buildLoopNest(
      l.b, l.b.getLoc(), lows, sizes, steps, init,
      [&](OpBuilder &nested, Location loc, ValueRange at,
          ValueRange carried) -> scf::ValueVector {
        ImplicitLocOpBuilder b(loc, nested);
        SmallVector<Value> to = target(b, at);
        Value update = tensor::ExtractOp::create(b, source, at);
        Value old = tensor::ExtractOp::create(b, carried[0], to);
        Value v = combine(b, reduction, old, update, isUnsigned);
        return {tensor::InsertOp::create(b, v, carried[0], to)};
      });
  return l.tensor(nest.results[0], data->elementType, data->dims);
}

static LogicalResult convertScatterElements(Lowering &l) {
  Tensor data = l.in(0), indices = l.in(1), updates = l.in(2);
  int64_t rank = data->rank();
  if (rank == 0 || indices->rank() != rank || updates->rank() != rank)
    return l.error() << "expects data, indices and updates of one rank, got "
                     << rank << ", " << indices->rank() << " and "
                     << updates->rank();
  if (data->elementType != updates->elementType)
    return l.error() << "expects data and updates of one type, got "
                     << data->elementType << " and " << updates->elementType;
  FailureOr<int64_t> axis = l.axis(l.node.getI64("axis", 0), rank);
  FailureOr<StringRef> reduction = reductionOf(l);
  if (failed(axis) || failed(reduction))
    return failure();
  for (int64_t i = 0; i < rank; ++i) {
    l.checkEqual(updates->dims[i], indices->dims[i],
                 "expects updates of the shape of the indices, got size "
                 "{found} for {limit}");
    if (i != *axis)
      l.checkLessOrEqual(
          indices->dims[i], data->dims[i],
          "expects at most {limit} indices beside the axis, got {found}");
  }
  if (failed(l.checkIndices(indices, data->dims[*axis])))
    return failure();
  Value where = l.value(indices), n = l.index(data->dims[*axis]);
  return l.set(scatter(l, data, updates, *reduction,
                       [&](ImplicitLocOpBuilder &b, ValueRange at) {
                         SmallVector<Value> to(at);
                         Value index = tensor::ExtractOp::create(b, where, at);
                         to[*axis] = Lowering::wrapIndex(b, index, n);
                         return to;
                       }));
}

static LogicalResult convertScatterND(Lowering &l) {
  Tensor data = l.in(0), indices = l.in(1), updates = l.in(2);
  int64_t q = indices->rank();
  if (q == 0 || !indices->dims.back().constant())
    return l.error() << "expects a static size of the last axis of indices";
  int64_t k = *indices->dims.back().constant();
  if (k > data->rank() || updates->rank() != q - 1 + data->rank() - k)
    return l.error() << "expects updates of rank " << q - 1 + data->rank() - k
                     << ", got " << updates->rank();
  if (data->elementType != updates->elementType)
    return l.error() << "expects data and updates of one type, got "
                     << data->elementType << " and " << updates->elementType;
  FailureOr<StringRef> reduction = reductionOf(l);
  if (failed(reduction))
    return failure();
  Dims expected(indices->dims.begin(), indices->dims.end() - 1);
  expected.append(data->dims.begin() + k, data->dims.end());
  for (auto [have, want] : llvm::zip_equal(updates->dims, expected))
    l.checkEqual(have, want,
                 "expects updates of the shape of the slices, got size {found} "
                 "for {limit}");
  SmallVector<Value> sizes;
  for (int64_t j = 0; j < k; ++j) {
    if (failed(l.checkIndices(indices, data->dims[j], j)))
      return failure();
    sizes.push_back(l.index(data->dims[j]));
  }
  Value where = l.value(indices);
  return l.set(
      scatter(l, data, updates, *reduction,
              [&](ImplicitLocOpBuilder &b, ValueRange at) {
                SmallVector<Value> to;
                for (int64_t j = 0; j < k; ++j) {
                  SmallVector<Value> from(at.take_front(q - 1));
                  from.push_back(arith::ConstantIndexOp::create(b, j));
                  Value index = tensor::ExtractOp::create(b, where, from);
                  to.push_back(Lowering::wrapIndex(b, index, sizes[j]));
                }
                llvm::append_range(to, at.drop_front(q - 1));
                return to;
              }));
}

//===----------------------------------------------------------------------===//
// TensorScatter
//===----------------------------------------------------------------------===//

Tensor raise::writeRows(Lowering &l, Tensor cache, Tensor rows, Tensor at,
                        int64_t axis, bool circular) {
  ImplicitLocOpBuilder &b = l.b;
  Expr capacity = cache->dims[axis], count = rows->dims[axis];
  l.checkLessOrEqual(count, capacity,
                     "expects at most {limit} rows to write, got {found}");
  l.checkRange(at, 0, circular ? Expr(INT64_MAX) : capacity - count, capacity,
               "expects rows inside of a cache of size {limit}, got index "
               "{found}");
  if (count.is(0))
    return cache;
  int64_t rank = cache->rank();
  SmallVector<OpFoldResult> ones(rank, b.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes = l.mixed(rows->dims);
  sizes[0] = b.getIndexAttr(1);
  Value source = l.value(rows), starts = l.value(at), n = l.index(count),
        end = l.index(capacity);
  auto loop = scf::ForOp::create(
      b, l.index(0), l.index(rows->dims[0]), l.index(1),
      ValueRange{l.value(cache)},
      [&](OpBuilder &nested, Location loc, Value entry, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        auto write = [&](Value into, OpFoldResult from, OpFoldResult to,
                         OpFoldResult length) -> Value {
          SmallVector<OpFoldResult> sourceAt(rank, b.getIndexAttr(0)),
              targetAt(rank, b.getIndexAttr(0)), part = sizes;
          sourceAt[0] = targetAt[0] = entry;
          sourceAt[axis] = from;
          targetAt[axis] = to;
          part[axis] = length;
          Value slice =
              tensor::ExtractSliceOp::create(b, source, sourceAt, part, ones);
          return tensor::InsertSliceOp::create(b, slice, into, targetAt, part,
                                               ones);
        };
        Value start = arith::IndexCastOp::create(
            b, b.getIndexType(),
            tensor::ExtractOp::create(b, starts, ValueRange{entry}));
        Value result = carried[0];
        if (circular) {
          start = arith::RemSIOp::create(b, start, end);
          Value room = arith::SubIOp::create(b, end, start);
          Value first = arith::MinSIOp::create(b, n, room);
          Value second = arith::SubIOp::create(b, n, first);
          result = write(result, b.getIndexAttr(0), start, first);
          result = write(result, first, b.getIndexAttr(0), second);
        } else {
          result = write(result, b.getIndexAttr(0), start, sizes[axis]);
        }
        scf::YieldOp::create(b, result);
      });
  return l.tensor(loop.getResult(0), cache->elementType, cache->dims);
}

static LogicalResult convertTensorScatter(Lowering &l) {
  Tensor cache = l.in(0), update = l.in(1), at = l.optional(2);
  int64_t rank = cache->rank();
  if (rank < 2 || update->rank() != rank)
    return l.error() << "expects a cache and an update of one rank of at least "
                        "2, got "
                     << rank << " and " << update->rank();
  if (cache->elementType != update->elementType)
    return l.error() << "expects a cache and an update of one type, got "
                     << cache->elementType << " and " << update->elementType;
  FailureOr<int64_t> axis = l.axis(l.node.getI64("axis", -2), rank);
  if (failed(axis))
    return failure();
  if (*axis == 0)
    return l.error() << "expects an axis other than the batch";
  StringRef mode = l.node.getString("mode", "linear");
  if (mode != "linear" && mode != "circular")
    return l.error() << "mode '" << mode << "' is not supported";
  for (int64_t i = 0; i < rank; ++i)
    if (i != *axis && failed(l.checkAgree(update->dims[i], cache->dims[i],
                                          "sizes beside the axis")))
      return failure();
  Type i64 = l.b.getI64Type();
  Expr batch = cache->dims[0];
  if (!at)
    at = l.generate({batch}, i64, [&](ImplicitLocOpBuilder &b, ValueRange) {
      return intConstant(b, i64, 0);
    });
  if (at->rank() != 1 || !at->isInteger())
    return l.error() << "expects one write index per entry of the batch";
  if (failed(l.checkAgree(at->dims[0], batch, "batch sizes")))
    return failure();
  return l.set(
      writeRows(l, cache, update, at, *axis, /*circular=*/mode == "circular"));
}

void raise::addScatter(Registry &r) {
  r.add({
      {"ScatterElements", 11, kLatest, convertScatterElements, 3, 3,
       "axis reduction"},
      {"ScatterND", 11, kLatest, convertScatterND, 3, 3, "reduction", "",
       "a static size of the last axis of indices"},
      {"TensorScatter", 24, kLatest, convertTensorScatter, 2, 3, "axis mode"},
  });
}
