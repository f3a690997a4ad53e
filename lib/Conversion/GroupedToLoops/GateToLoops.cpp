//===- GateToLoops.cpp - score and select experts -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One token at a time: scores, groups, then k passes over the experts that take
// the best one left. With k <= 8 of at most a few hundred experts the passes
// are cheaper than any sorted structure, and their order is the tie-break rule.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Math/IR/Math.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Runtime/Context.h"

#include "Kernels.h"

using namespace mlir;
using namespace mlir::grouped;
using mlir::moe::NaNRule;
using mlir::moe::ScoreFunction;
using mlir::moe::ScorePosition;
using mlir::moe::TieBreak;
using mlir::moe::WeighBy;

namespace {

/// Tokens per task.
constexpr int64_t kTokenBlock = 16;
/// Scores below which one thread does it all.
constexpr int64_t kParallelThreshold = 1 << 13;

class GateLowering {
public:
  GateLowering(GateOp op, Value context)
      : op(op), context(context), b(op.getLoc(), op.getContext()) {
    b.setInsertionPoint(op);
    experts = cast<MemRefType>(op.getLogits().getType()).getDimSize(1);
    k = op.getK();
  }

  void run();

private:
  void emitToken(LoopBuilder &b, Value token);
  void applyScore(LoopBuilder &b, Value begin, int64_t count);
  void emitSelectionValues(LoopBuilder &b, Value token);
  void dropGroups(LoopBuilder &b);
  Value takeBest(LoopBuilder &b, Value values, Value taken, Value begin,
                 int64_t count);
  Value ranksBefore(LoopBuilder &b, Value value, Value best);
  Value mixerShare(LoopBuilder &b, Value best);
  void emitWeights(LoopBuilder &b, Value token);

  Value f32(LoopBuilder &b, double value) {
    return b.constant(b.getF32FloatAttr(value));
  }
  Value at(LoopBuilder &b, Value offset) { return b.add(base, offset); }

  GateOp op;
  Value context;
  LoopBuilder b;
  int64_t experts, k;

  // Scratch of one thread, from `base`: the scores [E], what selection compares
  // [E], the group values [G]; `taken` marks experts, then groups, that no
  // longer stand for choice.
  Value scratch, taken, base, takenBase;
};

} // namespace

void GateLowering::run() {
  int64_t groups = op.getNGroup();
  int64_t scratchSize = 2 * experts + groups + k;
  int64_t takenSize = experts + groups;
  Value threads = b.toIndex(moe::loadContextField(
      b, context, MOE_CONTEXT_NUM_THREADS_OFFSET, b.getI32Type()));
  auto flat = [&](Type type) {
    return MemRefType::get({ShapedType::kDynamic}, type);
  };
  scratch = memref::AllocOp::create(b, flat(b.getF32Type()),
                                    b.mul(threads, scratchSize));
  taken = memref::AllocOp::create(b, flat(b.getI8Type()),
                                  b.mul(threads, takenSize));
  Value tokens = b.dim(op.getLogits(), 0);
  Value worthwhile =
      b.cmp(arith::CmpIPredicate::uge, b.mul(tokens, experts * (k + 4)),
            b.index(kParallelThreshold));
  b.parallelLoop(context, b.ceilDiv(tokens, kTokenBlock), worthwhile,
                 [&](LoopBuilder &b, Value block, Value thread) {
                   base = b.mul(thread, scratchSize);
                   takenBase = b.mul(thread, takenSize);
                   Value begin = b.mul(block, kTokenBlock);
                   Value end = b.min(b.add(begin, kTokenBlock), tokens);
                   b.loop(begin, end, 1, [&](LoopBuilder &b, Value token) {
                     emitToken(b, token);
                   });
                 });
  memref::DeallocOp::create(b, scratch);
  memref::DeallocOp::create(b, taken);
}

void GateLowering::emitToken(LoopBuilder &b, Value token) {
  b.loop(b.index(experts), [&](LoopBuilder &b, Value e) {
    Value logit =
        convertTo(b, b.load(op.getLogits(), {token, e}), b.getF32Type());
    b.store(logit, scratch, at(b, e));
    Value no = arith::ConstantIntOp::create(b, 0, 8);
    b.store(no, taken, b.add(takenBase, e));
  });
  if (op.getPosition() == ScorePosition::BeforeSelection)
    applyScore(b, base, experts);
  emitSelectionValues(b, token);
  if (op.getNGroup() > 1)
    dropGroups(b);

  // k times the best expert that is left.
  Value values = b.add(base, experts);
  Value chosen = b.add(base, 2 * experts + op.getNGroup());
  Value weighed = op.getWeighBy() == WeighBy::Compared ? values : base;
  b.loop(b.index(k), [&](LoopBuilder &b, Value j) {
    Value best = takeBest(b, values, takenBase, b.index(0), experts);
    b.store(b.fromIndex(b.getI32Type(), best), op.getOuts()[1], {token, j});
    Value weight = op.getScore() == ScoreFunction::SparseMixer
                       ? mixerShare(b, best)
                       : b.load(scratch, b.add(weighed, best));
    b.store(weight, scratch, b.add(chosen, j));
  });
  emitWeights(b, token);
}

/// scratch[begin .. begin + count) = score(...), in place.
void GateLowering::applyScore(LoopBuilder &b, Value begin, int64_t count) {
  switch (op.getScore()) {
  case ScoreFunction::None:
  case ScoreFunction::SparseMixer: // weighs while it selects
    return;
  case ScoreFunction::Sigmoid:
    b.loop(b.index(count), [&](LoopBuilder &b, Value i) {
      Value x = b.load(scratch, b.add(begin, i));
      Value e = math::ExpOp::create(b, arith::NegFOp::create(b, x));
      Value one = f32(b, 1.0);
      b.store(arith::DivFOp::create(b, one, arith::AddFOp::create(b, one, e)),
              scratch, b.add(begin, i));
    });
    return;
  case ScoreFunction::Softmax:
    break;
  }
  Value lowest = b.constant(b.getFloatAttr(
      b.getF32Type(), APFloat::getInf(APFloat::IEEEsingle(), true)));
  // maximumf propagates a NaN: one NaN logit makes all scores NaN, as the
  // definition of softmax does.
  Value most = b.loop(
      b.index(0), b.index(count), 1, lowest,
      [&](LoopBuilder &b, Value i, ValueRange max) -> SmallVector<Value> {
        Value x = b.load(scratch, b.add(begin, i));
        return {arith::MaximumFOp::create(b, max[0], x)};
      })[0];
  Value total = b.loop(
      b.index(0), b.index(count), 1, f32(b, 0.0),
      [&](LoopBuilder &b, Value i, ValueRange sum) -> SmallVector<Value> {
        Value x = b.load(scratch, b.add(begin, i));
        Value e = math::ExpOp::create(b, arith::SubFOp::create(b, x, most));
        b.store(e, scratch, b.add(begin, i));
        return {arith::AddFOp::create(b, sum[0], e)};
      })[0];
  b.loop(b.index(count), [&](LoopBuilder &b, Value i) {
    Value e = b.load(scratch, b.add(begin, i));
    b.store(arith::DivFOp::create(b, e, total), scratch, b.add(begin, i));
  });
}

/// The values that are compared: scores plus bias.
void GateLowering::emitSelectionValues(LoopBuilder &b, Value token) {
  b.loop(b.index(experts), [&](LoopBuilder &b, Value e) {
    Value value = b.load(scratch, at(b, e));
    if (op.getBias())
      value = arith::AddFOp::create(
          b, value, convertTo(b, b.load(op.getBias(), e), b.getF32Type()));
    b.store(value, scratch, b.add(at(b, e), experts));
  });
}

/// Marks the experts of all but the `topk_group` best groups as taken, or gives
/// them the value `group_fill`.
void GateLowering::dropGroups(LoopBuilder &b) {
  int64_t groups = op.getNGroup(), size = experts / groups;
  Value values = b.add(base, experts);
  Value groupValues = b.add(base, 2 * experts);
  Value groupTaken = b.add(takenBase, experts);
  Value yes = arith::ConstantIntOp::create(b, 1, 8);
  Value no = arith::ConstantIntOp::create(b, 0, 8);
  b.loop(b.index(groups), [&](LoopBuilder &b, Value g) {
    Value first = b.mul(g, size);
    Value sum = b.loop(
        b.index(0), b.index(op.getGroupTop()), 1, f32(b, 0.0),
        [&](LoopBuilder &b, Value, ValueRange sum) -> SmallVector<Value> {
          Value best = takeBest(b, values, takenBase, first, size);
          Value value = b.load(scratch, b.add(values, best));
          return {arith::AddFOp::create(b, sum[0], value)};
        })[0];
    b.store(sum, scratch, b.add(groupValues, g));
    b.store(no, taken, b.add(groupTaken, g));
  });
  b.loop(b.index(experts), [&](LoopBuilder &b, Value e) {
    b.store(yes, taken, b.add(takenBase, e));
  });
  b.loop(b.index(op.getTopkGroup()), [&](LoopBuilder &b, Value) {
    Value best = takeBest(b, groupValues, groupTaken, b.index(0), groups);
    Value first = b.add(takenBase, b.mul(best, size));
    b.loop(b.index(size), [&](LoopBuilder &b, Value e) {
      b.store(no, taken, b.add(first, e));
    });
  });
  if (!op.getGroupFill())
    return;
  b.loop(b.index(experts), [&](LoopBuilder &b, Value e) {
    Value mark = b.add(takenBase, e), value = b.add(values, e);
    Value dropped = b.cmp(arith::CmpIPredicate::ne, b.load(taken, mark), no);
    b.store(b.select(dropped, b.constant(op.getGroupFillAttr()),
                     b.load(scratch, value)),
            scratch, value);
    b.store(no, taken, mark);
  });
}

/// Whether `value` comes before `best` in the order of selection.
Value GateLowering::ranksBefore(LoopBuilder &b, Value value, Value best) {
  bool lastWins = op.getTieBreak() == TieBreak::HighestIndex;
  Value greater = arith::CmpFOp::create(
      b, lastWins ? arith::CmpFPredicate::OGE : arith::CmpFPredicate::OGT,
      value, best);
  auto isNaN = [&](Value x) -> Value {
    return arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, x, x);
  };
  bool largest = op.getNan() == NaNRule::Largest;
  // A NaN beats every number (largest) or is beaten by it (smallest); two NaN
  // are equal.
  Value up = isNaN(largest ? value : best),
        down = isNaN(largest ? best : value);
  Value no = arith::ConstantIntOp::create(b, 0, 1);
  Value onlyUp = b.select(down, no, up);
  Value before = arith::OrIOp::create(b, greater, onlyUp);
  if (lastWins)
    before =
        arith::OrIOp::create(b, before, arith::AndIOp::create(b, up, down));
  return before;
}

/// The index, from `begin` on, of the best of scratch[values + i] that is not
/// taken; marks it as taken.
Value GateLowering::takeBest(LoopBuilder &b, Value values, Value takenAt,
                             Value begin, int64_t count) {
  Value none = b.index(-1);
  Value best = b.loop(
      begin, b.add(begin, count), 1, ValueRange{none, f32(b, 0.0)},
      [&](LoopBuilder &b, Value i, ValueRange carried) -> SmallVector<Value> {
        Value value = b.load(scratch, b.add(values, i));
        Value flag = b.load(taken, b.add(takenAt, i));
        Value free = b.cmp(arith::CmpIPredicate::eq, flag,
                           arith::ConstantIntOp::create(b, 0, 8));
        Value isFirst = b.cmp(arith::CmpIPredicate::eq, carried[0], none);
        Value wins = arith::AndIOp::create(
            b, free,
            arith::OrIOp::create(b, isFirst,
                                 ranksBefore(b, value, carried[1])));
        return {b.select(wins, i, carried[0]),
                b.select(wins, value, carried[1])};
      })[0];
  b.store(arith::ConstantIntOp::create(b, 1, 8), taken, b.add(takenAt, best));
  return best;
}

/// The weight of `best`, which has just been taken: its share of the softmax
/// over the experts that are near it and were not taken before it.
Value GateLowering::mixerShare(LoopBuilder &b, Value best) {
  Value top = b.load(scratch, at(b, best));
  Value total = b.loop(
      b.index(0), b.index(experts), 1, f32(b, 0.0),
      [&](LoopBuilder &b, Value e, ValueRange sum) -> SmallVector<Value> {
        Value logit = b.load(scratch, at(b, e));
        Value flag = b.load(taken, b.add(takenBase, e));
        Value stands =
            arith::OrIOp::create(b, b.cmp(arith::CmpIPredicate::eq, e, best),
                                 b.cmp(arith::CmpIPredicate::eq, flag,
                                       arith::ConstantIntOp::create(b, 0, 8)));
        Value size =
            arith::MaximumFOp::create(b, math::AbsFOp::create(b, logit), top);
        Value distance = arith::DivFOp::create(
            b, arith::SubFOp::create(b, top, logit), size);
        // 0 / 0 is near: only what is known to be far is left out.
        Value near =
            arith::CmpFOp::create(b, arith::CmpFPredicate::ULE, distance,
                                  b.constant(op.getMixerThresholdAttr()));
        Value term =
            math::ExpOp::create(b, arith::SubFOp::create(b, logit, top));
        Value counted = arith::AndIOp::create(b, stands, near);
        return {arith::AddFOp::create(b, sum[0],
                                      b.select(counted, term, f32(b, 0.0)))};
      })[0];
  return arith::DivFOp::create(b, f32(b, 1.0), total);
}

/// The k chosen scores -> weights.
void GateLowering::emitWeights(LoopBuilder &b, Value token) {
  Value chosen = b.add(base, 2 * experts + op.getNGroup());
  if (op.getPosition() == ScorePosition::AfterSelection)
    applyScore(b, chosen, k);
  Value divisor;
  if (op.getRenormalize()) {
    Value sum = b.loop(
        b.index(0), b.index(k), 1, f32(b, 0.0),
        [&](LoopBuilder &b, Value j, ValueRange sum) -> SmallVector<Value> {
          Value w = b.load(scratch, b.add(chosen, j));
          return {arith::AddFOp::create(b, sum[0], w)};
        })[0];
    divisor = arith::AddFOp::create(b, sum,
                                    b.constant(op.getRenormalizeEpsilonAttr()));
    if (FloatAttr floor = op.getRenormalizeFloorAttr())
      divisor = arith::MaximumFOp::create(b, divisor, b.constant(floor));
  }
  Value out = op.getOuts()[0];
  Type stored = cast<MemRefType>(out.getType()).getElementType();
  b.loop(b.index(k), [&](LoopBuilder &b, Value j) {
    Value w = b.load(scratch, b.add(chosen, j));
    if (divisor)
      w = arith::DivFOp::create(b, w, divisor);
    if (!op.getScale().isExactlyValue(1.0))
      w = arith::MulFOp::create(b, w, b.constant(op.getScaleAttr()));
    b.store(convertTo(b, w, stored), out, {token, j});
  });
}

LogicalResult grouped::lowerGate(GateOp op, Value context) {
  GateLowering(op, context).run();
  return success();
}
