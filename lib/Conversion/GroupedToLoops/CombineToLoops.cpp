//===- CombineToLoops.cpp - weighted sum of a token's rows ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One thread owns a token: 16 columns at a time, the choices in order. Bound by
// the bandwidth of reading k rows per token.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "Kernels.h"

using namespace mlir;
using namespace mlir::grouped;

/// Tokens per task, and elements below which one thread does it all.
static constexpr int64_t kTokenBlock = 8;
static constexpr int64_t kParallelThreshold = 1 << 15;

/// acc + weight * row for the choices of `token` that have a row, for one
/// element or vector of columns that `read` loads.
static Value
sumChoices(LoopBuilder &b, CombineOp op, Value token, Value zero,
           llvm::function_ref<Value(LoopBuilder &, Value row)> read) {
  int64_t choices = cast<MemRefType>(op.getRowMap().getType()).getDimSize(1);
  Type compute = getElementTypeOrSelf(zero.getType());
  Value sum = zero;
  for (int64_t j = 0; j < choices; ++j) {
    Value slot = b.index(j);
    Value row = b.load(op.getRowMap(), {token, slot});
    Value none = b.cmp(arith::CmpIPredicate::slt, row,
                       arith::ConstantIntOp::create(b, 0, 32));
    auto branch = scf::IfOp::create(b, TypeRange{zero.getType()}, none, true);
    {
      LoopBuilder then(b.getLoc(), branch.getThenBodyBuilder());
      scf::YieldOp::create(then, sum);
      LoopBuilder other(b.getLoc(), branch.getElseBodyBuilder());
      Value weight =
          convertTo(other, other.load(op.getWeights(), {token, slot}), compute);
      if (auto vector = dyn_cast<VectorType>(zero.getType()))
        weight = vector::BroadcastOp::create(other, vector, weight);
      Value next = math::FmaOp::create(other, weight,
                                       read(other, other.toIndex(row)), sum);
      scf::YieldOp::create(other, next);
    }
    sum = branch.getResult(0);
  }
  return sum;
}

LogicalResult grouped::lowerCombine(CombineOp op, Value context) {
  LoopBuilder b(op.getLoc(), op.getContext());
  b.setInsertionPoint(op);
  Value out = op.getOuts()[0];
  auto outType = cast<MemRefType>(out.getType());
  Type stored = outType.getElementType();
  Type compute = computeType(stored);
  Value tokens = b.dim(op.getRowMap(), 0), columns = b.dim(out, 1);
  Value vectorEnd = b.mul(b.div(columns, kPanelColumns), kPanelColumns);
  auto storedVector = VectorType::get({kPanelColumns}, stored);
  auto computeVector = VectorType::get({kPanelColumns}, compute);
  Value worthwhile = b.cmp(arith::CmpIPredicate::uge, b.mul(tokens, columns),
                           b.index(kParallelThreshold));

  auto emitToken = [&](LoopBuilder &b, Value token) {
    Value zeros = b.constant(cast<TypedAttr>(b.getZeroAttr(computeVector)));
    Value zero = b.constant(cast<TypedAttr>(b.getZeroAttr(compute)));
    b.loop(b.index(0), vectorEnd, kPanelColumns, [&](LoopBuilder &b, Value n) {
      Value sum = sumChoices(
          b, op, token, zeros, [&](LoopBuilder &b, Value row) -> Value {
            Value loaded = vector::LoadOp::create(b, storedVector, op.getRows(),
                                                  ValueRange{row, n});
            return convertTo(b, loaded, compute);
          });
      vector::StoreOp::create(b, convertTo(b, sum, stored), out,
                              ValueRange{token, n});
    });
    b.loop(vectorEnd, columns, 1, [&](LoopBuilder &b, Value n) {
      Value sum = sumChoices(
          b, op, token, zero, [&](LoopBuilder &b, Value row) -> Value {
            return convertTo(b, b.load(op.getRows(), {row, n}), compute);
          });
      b.store(convertTo(b, sum, stored), out, {token, n});
    });
  };
  b.parallelLoop(context, b.ceilDiv(tokens, kTokenBlock), worthwhile,
                 [&](LoopBuilder &b, Value block, Value) {
                   Value begin = b.mul(block, kTokenBlock);
                   Value end = b.min(b.add(begin, kTokenBlock), tokens);
                   b.loop(begin, end, 1, emitToken);
                 });
  return success();
}
