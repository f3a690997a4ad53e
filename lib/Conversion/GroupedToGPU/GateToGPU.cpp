//===- GateToGPU.cpp - score and select experts ---------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A warp per token, an expert per lane and register: expert e is number e / 32
// of lane e % 32. The best expert is found by two reductions over the warp: of
// keys whose order as integers is the order of selection, then of the numbers
// of those that have the greatest. Nothing is shared between warps.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Math/IR/Math.h"

#include "Kernels.h"

using namespace mlir;
using namespace mlir::grouped;
using mlir::moe::NaNRule;
using mlir::moe::ScoreFunction;
using mlir::moe::ScorePosition;
using mlir::moe::TieBreak;
using mlir::moe::WeighBy;

/// Tokens per block, and experts per lane that registers hold.
static constexpr int64_t kWarps = 4;
static constexpr int64_t kMaxSlots = 32;

/// Keys of what is taken, and of a NaN that comes last.
static constexpr int64_t kTaken = 0, kLeastKey = 1, kGreatestKey = -1;

namespace {
/// A value per lane and register: element i is number i / 32 of lane i % 32.
using Spread = SmallVector<Value>;

class GateKernel {
public:
  GateKernel(GateOp op) : op(op) {
    experts = cast<MemRefType>(op.getLogits().getType()).getDimSize(1);
    k = op.getK();
    slots = llvm::divideCeil(experts, kWarpSize);
  }

  unsigned logitsArg, weightsArg, expertsArg, tokensArg;
  std::optional<unsigned> biasArg;
  int64_t slots;

  void emit(KernelBuilder &b, ValueRange args);

private:
  struct Best {
    Value index, key;
  };
  /// Lanes that hold none of `count` elements in the last register.
  Value holds(KernelBuilder &b, int64_t slot, int64_t count) {
    return (slot + 1) * kWarpSize <= count
               ? b.i1(true)
               : b.less(lane, count - slot * kWarpSize);
  }
  Value indexOf(KernelBuilder &b, int64_t slot) {
    return b.add(lane, slot * kWarpSize);
  }
  Spread fill(Value value, int64_t count) {
    return Spread(llvm::divideCeil(count, kWarpSize), value);
  }
  Value key(KernelBuilder &b, Value value);
  Best findBest(KernelBuilder &b, ArrayRef<Value> keys);
  Spread without(KernelBuilder &b, ArrayRef<Value> keys, Value index);
  Value valueAt(KernelBuilder &b, ArrayRef<Value> values, Value index);
  Value sum(KernelBuilder &b, ArrayRef<Value> values, int64_t count);
  void applyScore(KernelBuilder &b, Spread &values, int64_t count);
  void dropGroups(KernelBuilder &b, Spread &values, Spread &keys);
  Value mixerShare(KernelBuilder &b, ArrayRef<Value> logits,
                   ArrayRef<Value> keys, Value best);
  void emitToken(KernelBuilder &b, Value token);
  void emitWeights(KernelBuilder &b, Value token, Spread weights,
                   ArrayRef<Value> chosen);

  GateOp op;
  int64_t experts, k;
  ValueRange args;
  Value lane;
};
} // namespace

/// The integer whose unsigned order is the order of selection.
Value GateKernel::key(KernelBuilder &b, Value value) {
  // -0 and 0 are equal.
  Value bits = b.bitcast(b.getI32Type(), b.addF(value, b.f32(0)));
  Value sign = arith::ShRSIOp::create(b, bits, b.i32(31));
  Value flip = b.bitOr(sign, b.i32(INT32_MIN));
  Value isNaN =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, value, value);
  int64_t ofNaN = op.getNan() == NaNRule::Largest ? kGreatestKey : kLeastKey;
  return b.select(isNaN, b.i32(ofNaN), b.bitXor(bits, flip));
}

/// The element with the greatest key; of equal ones, as the tie-break has it.
GateKernel::Best GateKernel::findBest(KernelBuilder &b, ArrayRef<Value> keys) {
  bool lastWins = op.getTieBreak() == TieBreak::HighestIndex;
  Value greatest = keys[0];
  for (Value next : keys.drop_front())
    greatest = b.max(greatest, next);
  greatest = b.reduce(NVVM::ReduxKind::UMAX, greatest);
  Value none = b.i32(lastWins ? 0 : INT32_MAX), index = none;
  for (auto [slot, next] : llvm::enumerate(keys)) {
    Value here = b.select(b.eq(next, greatest), indexOf(b, slot), none);
    index = lastWins ? b.max(index, here) : b.min(index, here);
  }
  index =
      b.reduce(lastWins ? NVVM::ReduxKind::UMAX : NVVM::ReduxKind::UMIN, index);
  return {index, greatest};
}

Spread GateKernel::without(KernelBuilder &b, ArrayRef<Value> keys,
                           Value index) {
  Spread left;
  for (auto [slot, key] : llvm::enumerate(keys))
    left.push_back(b.select(b.eq(indexOf(b, slot), index), b.i32(kTaken), key));
  return left;
}

/// Element `index`, which is the same in all lanes.
Value GateKernel::valueAt(KernelBuilder &b, ArrayRef<Value> values,
                          Value index) {
  Value slot = b.div(index, kWarpSize), value = values[0];
  for (auto [i, next] : llvm::enumerate(values.drop_front()))
    value = b.select(b.eq(slot, b.i32(i + 1)), next, value);
  return b.broadcast(value, b.bitAnd(index, kWarpSize - 1));
}

Value GateKernel::sum(KernelBuilder &b, ArrayRef<Value> values, int64_t count) {
  Value total = b.f32(0);
  for (auto [slot, value] : llvm::enumerate(values))
    total = b.addF(total, b.select(holds(b, slot, count), value, b.f32(0)));
  return b.sumOfLanes(total);
}

/// values = score(values), of `count` elements.
void GateKernel::applyScore(KernelBuilder &b, Spread &values, int64_t count) {
  switch (op.getScore()) {
  case ScoreFunction::None:
  case ScoreFunction::SparseMixer: // weighs while it selects
    return;
  case ScoreFunction::Sigmoid:
    for (Value &x : values) {
      Value e = math::ExpOp::create(b, arith::NegFOp::create(b, x));
      x = arith::DivFOp::create(b, b.f32(1), b.addF(b.f32(1), e));
    }
    return;
  case ScoreFunction::Softmax:
    break;
  }
  // maximumf propagates a NaN: one NaN logit makes all scores NaN, as the
  // definition of softmax does.
  Value lowest = b.f32(-std::numeric_limits<float>::infinity());
  Value most = lowest;
  for (auto [slot, x] : llvm::enumerate(values))
    most = arith::MaximumFOp::create(
        b, most, b.select(holds(b, slot, count), x, lowest));
  most = b.maxOfLanes(most);
  for (Value &x : values)
    x = math::ExpOp::create(b, arith::SubFOp::create(b, x, most));
  Value total = sum(b, values, count);
  for (Value &x : values)
    x = arith::DivFOp::create(b, x, total);
}

/// Takes the experts of all but the `topk_group` best groups, or gives them the
/// value `group_fill`.
void GateKernel::dropGroups(KernelBuilder &b, Spread &values, Spread &keys) {
  int64_t groups = op.getNGroup(), size = experts / groups;
  SmallVector<Value> groupOf;
  for (int64_t slot = 0; slot < slots; ++slot)
    groupOf.push_back(b.div(indexOf(b, slot), size));
  // The value of group g goes to where element g of a spread lies.
  Spread groupKeys = fill(b.i32(kTaken), groups);
  groupKeys = b.loop(
      b.i32(0), b.i32(groups), b.i32(1), groupKeys,
      [&](KernelBuilder &b, Value g, ValueRange carried) {
        Spread own;
        for (auto [slot, key] : llvm::enumerate(keys))
          own.push_back(b.select(b.eq(groupOf[slot], g), key, b.i32(kTaken)));
        Value total = b.f32(0);
        for (uint64_t i = 0; i < op.getGroupTop(); ++i) {
          Best best = findBest(b, own);
          total = b.addF(total, valueAt(b, values, best.index));
          own = without(b, own, best.index);
        }
        SmallVector<Value> next(carried);
        for (auto [slot, value] : llvm::enumerate(next))
          value = b.select(b.eq(indexOf(b, slot), g), key(b, total), value);
        return next;
      });
  Spread kept = fill(b.i1(false), experts);
  for (uint64_t i = 0; i < op.getTopkGroup(); ++i) {
    Best best = findBest(b, groupKeys);
    groupKeys = without(b, groupKeys, best.index);
    for (auto [slot, keep] : llvm::enumerate(kept))
      keep = b.bitOr(keep, b.eq(groupOf[slot], best.index));
  }
  for (int64_t slot = 0; slot < slots; ++slot) {
    Value instead = b.i32(kTaken);
    if (op.getGroupFill()) {
      Value filled = b.f32(op.getGroupFill()->convertToFloat());
      values[slot] = b.select(kept[slot], values[slot], filled);
      instead = b.select(holds(b, slot, experts), key(b, filled), instead);
    }
    keys[slot] = b.select(kept[slot], keys[slot], instead);
  }
}

/// The weight of `best`: its share of the softmax over the experts that are
/// near it and were not taken before it.
Value GateKernel::mixerShare(KernelBuilder &b, ArrayRef<Value> logits,
                             ArrayRef<Value> keys, Value best) {
  Value top = valueAt(b, logits, best);
  Spread terms;
  for (auto [logit, key] : llvm::zip_equal(logits, keys)) {
    Value size =
        arith::MaximumFOp::create(b, math::AbsFOp::create(b, logit), top);
    Value distance =
        arith::DivFOp::create(b, arith::SubFOp::create(b, top, logit), size);
    // 0 / 0 is near: only what is known to be far is left out.
    Value near =
        arith::CmpFOp::create(b, arith::CmpFPredicate::ULE, distance,
                              b.f32(op.getMixerThreshold()->convertToFloat()));
    Value term = math::ExpOp::create(b, arith::SubFOp::create(b, logit, top));
    Value counted = b.bitAnd(b.ne(key, b.i32(kTaken)), near);
    terms.push_back(b.select(counted, term, b.f32(0)));
  }
  return arith::DivFOp::create(b, b.f32(1), sum(b, terms, experts));
}

void GateKernel::emitToken(KernelBuilder &b, Value token) {
  Type logitType = getElementTypeOrSelf(op.getLogits().getType());
  Value row = b.mul(b.widen(token), experts);
  // Lanes without an expert hold that of the last one, and no key.
  Spread scores, logits, values, keys;
  for (int64_t slot = 0; slot < slots; ++slot) {
    Value e = b.min(indexOf(b, slot), b.i32(experts - 1));
    Value at = b.element(args[logitsArg], b.add(row, b.widen(e)), logitType);
    scores.push_back(b.convertFloat(b.load(logitType, at), b.getF32Type()));
  }
  logits = scores;
  if (op.getPosition() == ScorePosition::BeforeSelection)
    applyScore(b, scores, experts);
  values = scores;
  if (biasArg) {
    Type type = getElementTypeOrSelf(op.getBias().getType());
    for (auto [slot, value] : llvm::enumerate(values)) {
      Value e = b.min(indexOf(b, slot), b.i32(experts - 1));
      Value bias = b.load(type, b.element(args[*biasArg], e, type));
      value = b.addF(value, b.convertFloat(bias, b.getF32Type()));
    }
  }
  for (auto [slot, value] : llvm::enumerate(values))
    keys.push_back(
        b.select(holds(b, slot, experts), key(b, value), b.i32(kTaken)));
  if (op.getNGroup() > 1)
    dropGroups(b, values, keys);

  // k times the best expert that is left. The j-th choice is element j of the
  // results.
  ArrayRef<Value> weighed =
      op.getWeighBy() == WeighBy::Compared ? values : scores;
  Spread state = keys;
  Spread none = fill(b.f32(0), k), noExpert = fill(b.i32(0), k);
  state.append(none);
  state.append(noExpert);
  state = b.loop(b.i32(0), b.i32(k), b.i32(1), state,
                 [&](KernelBuilder &b, Value j, ValueRange carried) {
                   SmallVector<Value> now(carried);
                   ArrayRef<Value> keys = ArrayRef(now).take_front(slots);
                   Best best = findBest(b, keys);
                   Value weight = op.getScore() == ScoreFunction::SparseMixer
                                      ? mixerShare(b, logits, keys, best.index)
                                      : valueAt(b, weighed, best.index);
                   Spread next = without(b, keys, best.index);
                   for (size_t i = 0; i < none.size(); ++i)
                     next.push_back(b.select(b.eq(indexOf(b, i), j), weight,
                                             now[slots + i]));
                   for (size_t i = 0; i < none.size(); ++i)
                     next.push_back(b.select(b.eq(indexOf(b, i), j), best.index,
                                             now[slots + none.size() + i]));
                   return next;
                 });
  ArrayRef<Value> results = ArrayRef(state).drop_front(slots);
  emitWeights(b, token, Spread(results.take_front(none.size())),
              results.drop_front(none.size()));
}

/// The k chosen scores -> weights.
void GateKernel::emitWeights(KernelBuilder &b, Value token, Spread weights,
                             ArrayRef<Value> chosen) {
  if (op.getPosition() == ScorePosition::AfterSelection)
    applyScore(b, weights, k);
  if (op.getRenormalize()) {
    Value divisor = b.addF(sum(b, weights, k),
                           b.f32(op.getRenormalizeEpsilon().convertToFloat()));
    if (auto floor = op.getRenormalizeFloor())
      divisor =
          arith::MaximumFOp::create(b, divisor, b.f32(floor->convertToFloat()));
    for (Value &w : weights)
      w = arith::DivFOp::create(b, w, divisor);
  }
  Type stored = getElementTypeOrSelf(op.getOuts()[0].getType());
  Value row = b.mul(b.widen(token), k);
  for (auto [slot, w] : llvm::enumerate(weights)) {
    if (!op.getScale().isExactlyValue(1.0))
      w = arith::MulFOp::create(b, w, b.f32(op.getScale().convertToFloat()));
    Value weight = w, expert = chosen[slot];
    b.when(holds(b, slot, k), [&, slot = slot](KernelBuilder &b) {
      Value at = b.add(row, b.widen(indexOf(b, slot)));
      b.store(b.convertFloat(weight, stored),
              b.element(args[weightsArg], at, stored));
      b.store(expert, b.element(args[expertsArg], at, b.getI32Type()));
    });
  }
}

void GateKernel::emit(KernelBuilder &b, ValueRange arguments) {
  args = arguments;
  lane = b.lane();
  Value token = b.add(b.mul(b.block(gpu::Dimension::x), kWarps), b.warp());
  b.when(b.less(token, args[tokensArg]),
         [&](KernelBuilder &b) { emitToken(b, token); });
}

LogicalResult grouped::lowerGate(GateOp op, DeviceModule &device,
                                 StringRef name) {
  GateKernel gate(op);
  if (gate.slots > kMaxSlots)
    return op.emitOpError("expects at most ")
           << kMaxSlots * kWarpSize << " experts for a GPU, got "
           << op.getLogits().getType();
  LoopBuilder host(op.getLoc(), op.getContext());
  host.setInsertionPoint(op);
  KernelArguments arguments;
  gate.logitsArg = arguments.addBuffer(host, op.getLogits());
  if (Value bias = op.getBias())
    gate.biasArg = arguments.addBuffer(host, bias);
  gate.weightsArg = arguments.addBuffer(host, op.getOuts()[0]);
  gate.expertsArg = arguments.addBuffer(host, op.getOuts()[1]);
  Value tokens = host.dim(op.getLogits(), 0);
  gate.tokensArg =
      arguments.addScalar(host.fromIndex(host.getI32Type(), tokens));
  int64_t threads = kWarps * kWarpSize;
  gpu::GPUFuncOp kernel = device.addKernel(
      op.getLoc(), name, arguments.types(), threads,
      [&](KernelBuilder &b, ValueRange args) { gate.emit(b, args); });
  launch(host, kernel, host.ceilDiv(tokens, kWarps), host.index(1), threads, 0,
         arguments);
  return success();
}
