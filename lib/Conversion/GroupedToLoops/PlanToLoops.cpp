//===- PlanToLoops.cpp - counting sort of the choices ---------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Count, prefix sum, fill: stable, so rows of one expert stay in the order of
// (token, choice). With a capacity, the row map first takes the experts without
// the choices that find no place, and what follows reads it instead. Serial: T
// * k steps of a few cycles against the matmuls' T * k rows of K * N
// multiply-adds.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "Kernels.h"

using namespace mlir;
using namespace mlir::grouped;

/// kept[t, j] = experts[t, j], or -1 if the expert has no place left for it.
static void dropOverflow(LoopBuilder &b, Value experts, int64_t choices,
                         int64_t numExperts, Value capacity, Value segment,
                         Value kept) {
  Value none = arith::ConstantIntOp::create(b, -1, 32);
  Value tokens = b.dim(experts, 0);
  // At least 1, for no tokens in segments of none.
  Value length =
      arith::MaxUIOp::create(b, segment ? segment : tokens, b.index(1));
  Value places = memref::AllocOp::create(
      b, MemRefType::get({numExperts}, b.getIndexType()));
  b.loop(b.ceilDiv(tokens, length), [&](LoopBuilder &b, Value s) {
    Value begin = b.mul(s, length);
    // Not begin + length, which might overflow.
    Value end = b.add(begin, b.min(length, b.sub(tokens, begin)));
    b.loop(b.index(numExperts),
           [&](LoopBuilder &b, Value e) { b.store(b.index(0), places, e); });
    b.loop(b.index(choices), [&](LoopBuilder &b, Value j) {
      b.loop(begin, end, 1, [&](LoopBuilder &b, Value t) {
        Value e = b.load(experts, {t, j});
        b.ifElse(
            b.cmp(arith::CmpIPredicate::sge, e,
                  arith::ConstantIntOp::create(b, 0, 32)),
            [&](LoopBuilder &b) {
              Value expert = b.toIndex(e);
              Value place = b.load(places, expert);
              Value fits = b.cmp(arith::CmpIPredicate::slt, place, capacity);
              b.store(b.add(place, 1), places, expert);
              b.store(b.select(fits, e, none), kept, {t, j});
            },
            [&](LoopBuilder &b) { b.store(none, kept, {t, j}); });
      });
    });
  });
  memref::DeallocOp::create(b, places);
}

LogicalResult grouped::lowerPlan(PlanOp op, Value context) {
  LoopBuilder b(op.getLoc(), op.getContext());
  b.setInsertionPoint(op);
  Value experts = op.getExperts();
  Value offsets = op.getOuts()[0], rowMap = op.getOuts()[1],
        rowToken = op.getOuts()[2];
  auto expertsType = cast<MemRefType>(experts.getType());
  int64_t choices = expertsType.getDimSize(1);
  int64_t numExperts = cast<MemRefType>(offsets.getType()).getDimSize(0) - 1;
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  Value tokens = b.dim(experts, 0);
  Value zero = arith::ConstantIntOp::create(b, 0, 64);
  Value one = arith::ConstantIntOp::create(b, 1, 64);
  Value noExpert = arith::ConstantIntOp::create(b, -1, 32);

  auto forEachChoice =
      [&](LoopBuilder &b,
          llvm::function_ref<void(LoopBuilder &, Value, Value, Value)> body) {
        b.loop(tokens, [&](LoopBuilder &b, Value t) {
          b.loop(b.index(choices), [&](LoopBuilder &b, Value j) {
            body(b, t, j, b.load(experts, {t, j}));
          });
        });
      };

  // C6: an id outside [-1, E) would write past the counters.
  Value limit = arith::ConstantIntOp::create(b, numExperts, 32);
  Value worst = b.loop(
      b.index(0), tokens, 1, noExpert,
      [&](LoopBuilder &b, Value t, ValueRange outer) -> SmallVector<Value> {
        return b.loop(b.index(0), b.index(choices), 1, outer,
                      [&](LoopBuilder &b, Value j,
                          ValueRange worst) -> SmallVector<Value> {
                        Value e = b.load(experts, {t, j});
                        // -1 becomes 0 and -2 the greatest value: one
                        // comparison.
                        Value shifted = arith::AddIOp::create(
                            b, e, arith::ConstantIntOp::create(b, 1, 32));
                        Value bad =
                            b.cmp(arith::CmpIPredicate::ugt, shifted, limit);
                        return {b.select(bad, e, worst[0])};
                      });
      })[0];
  Value valid = b.cmp(
      arith::CmpIPredicate::ule,
      arith::AddIOp::create(b, worst, arith::ConstantIntOp::create(b, 1, 32)),
      limit);
  moe::CheckOp::create(
      b, valid, arith::ExtSIOp::create(b, i64, worst),
      arith::ExtSIOp::create(b, i64, limit), "moe.dispatch",
      "expects expert ids below {limit} and at least -1, got {found}");

  if (op.getCapacity()) {
    dropOverflow(b, experts, choices, numExperts, op.getCapacity(),
                 op.getSegment(), rowMap);
    experts = rowMap;
  }
  b.loop(b.index(numExperts + 1),
         [&](LoopBuilder &b, Value e) { b.store(zero, offsets, e); });
  forEachChoice(b, [&](LoopBuilder &b, Value, Value, Value e) {
    Value counted = b.cmp(arith::CmpIPredicate::sge, e,
                          arith::ConstantIntOp::create(b, 0, 32));
    b.when(counted, [&](LoopBuilder &b) {
      Value slot = b.add(b.toIndex(e), 1);
      Value count = arith::AddIOp::create(b, b.load(offsets, slot), one);
      b.store(count, offsets, slot);
    });
  });
  Value cursor = memref::AllocOp::create(b, MemRefType::get({numExperts}, i64));
  b.loop(b.index(numExperts), [&](LoopBuilder &b, Value e) {
    Value begin = b.load(offsets, e);
    b.store(begin, cursor, e);
    Value next = b.add(e, 1);
    b.store(arith::AddIOp::create(b, begin, b.load(offsets, next)), offsets,
            next);
  });
  forEachChoice(b, [&](LoopBuilder &b, Value t, Value j, Value e) {
    Value counted = b.cmp(arith::CmpIPredicate::sge, e,
                          arith::ConstantIntOp::create(b, 0, 32));
    b.ifElse(
        counted,
        [&](LoopBuilder &b) {
          Value expert = b.toIndex(e);
          Value row = b.load(cursor, expert);
          b.store(arith::AddIOp::create(b, row, one), cursor, expert);
          b.store(arith::TruncIOp::create(b, i32, row), rowMap, {t, j});
          b.store(b.fromIndex(i32, t), rowToken, b.toIndex(row));
        },
        [&](LoopBuilder &b) { b.store(noExpert, rowMap, {t, j}); });
  });
  memref::DeallocOp::create(b, cursor);
  // Rows of no expert have a token nevertheless: no reader has to know of them.
  Value none = arith::ConstantIntOp::create(b, 0, 32);
  Value rows = b.toIndex(b.load(offsets, b.index(numExperts)));
  b.loop(rows, b.dim(rowToken, 0), 1,
         [&](LoopBuilder &b, Value row) { b.store(none, rowToken, row); });

  if (Value layer = op.getLayer()) {
    Value count = arith::ConstantIntOp::create(b, numExperts, 64);
    moe::callRuntime(
        b, "moe_rt_count_experts", {},
        ValueRange{context, layer, moe::pointerFromMemref(b, offsets), count});
  }
  return success();
}
