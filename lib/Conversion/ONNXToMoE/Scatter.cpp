//===- Scatter.cpp - ScatterElements, ScatterND ---------------------------===//
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
    Dims offsets(q, Expr(0)), one = indices->dims;
    offsets.back() = j;
    one.back() = 1;
    if (failed(l.checkIndices(l.slice(indices, offsets, one), data->dims[j])))
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

void raise::addScatter(Registry &r) {
  r.add({
      {"ScatterElements", 11, kLatest, convertScatterElements, 3, 3,
       "axis reduction"},
      {"ScatterND", 11, kLatest, convertScatterND, 3, 3, "reduction"},
  });
}
