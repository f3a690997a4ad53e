//===- PlanToGPU.cpp - counting sort of the choices -----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One block: count, prefix sums, fill. Each warp owns a run of the choices and
// a row of counters, so that the sort is stable whatever the order in which
// warps run: lanes with the same expert find each other with one instruction,
// and their order in the warp is their order in the expert.
//
//   count[w][e]  choices of expert e in the run of warp w; then how many come
//                before that run; then where the next of them goes
//   first[e]     the first row of expert e; first[E] is the number of rows
//
// With a capacity, the row map first takes the experts without the choices that
// find no place, and what follows reads it instead.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "Kernels.h"

using namespace mlir;
using namespace mlir::grouped;

/// Shared memory that the counters may take, unless one row of them is more.
static constexpr int64_t kCounterBytes = 40 << 10;

namespace {
class PlanKernel {
public:
  PlanKernel(PlanOp op) : op(op) {
    choices = cast<MemRefType>(op.getExperts().getType()).getDimSize(1);
    experts = cast<MemRefType>(op.getOuts()[0].getType()).getDimSize(0) - 1;
    warps = 32;
    while (warps > 1 && warps * experts * 4 > kCounterBytes)
      warps /= 2;
  }

  int64_t threads() const { return warps * kWarpSize; }
  int64_t sharedBytes() const { return (warps * experts + experts + 1) * 4; }

  // Arguments.
  unsigned expertsArg, offsetsArg, rowMapArg, rowTokenArg, statusArg, tokensArg;
  std::optional<unsigned> capacityArg, segmentArg;

  void emit(KernelBuilder &b, ValueRange args);

private:
  Value i32At(KernelBuilder &b, Value pointer, Value index) {
    return b.element(pointer, index, b.getI32Type());
  }
  Value load(KernelBuilder &b, Value pointer, Value index) {
    return b.load(b.getI32Type(), i32At(b, pointer, index));
  }
  /// A counter, in shared memory.
  Value shared(KernelBuilder &b, Value index) {
    return b.at(counters, b.mul(index, 4));
  }
  Value counter(KernelBuilder &b, Value expert) {
    return shared(b, b.add(b.mul(warp, experts), expert));
  }
  Value firstOf(KernelBuilder &b, Value expert) {
    return shared(b, b.add(expert, warps * experts));
  }
  /// A bit for each lane below this one.
  Value lanesBelow(KernelBuilder &b) {
    Value bit = arith::ShLIOp::create(b, b.i32(1), lane);
    return b.add(bit, b.i32(-1));
  }
  Value readExpert(KernelBuilder &b, Value index);
  void clearCounters(KernelBuilder &b, Value begin, Value end, Value step);
  void dropOverflow(KernelBuilder &b);
  /// Calls `body` for the warp's run of choices, 32 at a time, with the number
  /// of a lane's choice, whether there is one, its expert (-1: none), the lanes
  /// that have the same, and how many of them come before it. With `isRead`
  /// the body reads counters.
  void forEachChoice(
      KernelBuilder &b, bool isRead,
      llvm::function_ref<void(KernelBuilder &, Value index, Value valid,
                              Value expert, Value same, Value rank)>
          body);
  void advanceCounter(KernelBuilder &b, Value expert, Value same, Value rank,
                      bool isRead);
  void scanExperts(KernelBuilder &b);

  PlanOp op;
  int64_t choices, experts, warps;
  ValueRange args;
  Value counters, thread, lane, warp, total;
  Value source; // of the experts: the operand or, with a capacity, the row map
};
} // namespace

/// An expert id, or -1. One outside of [-1, E) would be written past the
/// counters: it counts as none, and the host learns of it (C6).
Value PlanKernel::readExpert(KernelBuilder &b, Value index) {
  Value expert = load(b, source, index);
  // -1 becomes 0 and -2 the greatest value: one comparison.
  Value shifted = b.add(expert, b.i32(1));
  Value bad = b.less(b.i32(experts), shifted);
  b.when(bad, [&](KernelBuilder &b) {
    LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::umax, args[statusArg],
                              shifted, LLVM::AtomicOrdering::monotonic);
  });
  return b.select(bad, b.i32(-1), expert);
}

void PlanKernel::clearCounters(KernelBuilder &b, Value begin, Value end,
                               Value step) {
  b.loop(begin, end, step,
         [&](KernelBuilder &b, Value i) { b.store(b.i32(0), shared(b, i)); });
}

/// The first of the lanes with the same expert counts them all.
void PlanKernel::advanceCounter(KernelBuilder &b, Value expert, Value same,
                                Value rank, bool isRead) {
  // Before: other lanes have read what is written here. After: whoever is first
  // next time reads it.
  if (isRead)
    b.syncWarp();
  Value leads = b.bitAnd(b.negate(b.isNegative(expert)), b.eq(rank, b.i32(0)));
  b.when(leads, [&](KernelBuilder &b) {
    Value slot = counter(b, expert);
    b.store(b.add(b.load(b.getI32Type(), slot), b.countBits(same)), slot);
  });
  b.syncWarp();
}

/// rowMap[t, j] = experts[t, j], or -1 if the expert has no place left for it:
/// a warp per segment, the first choices of all its tokens, then the second.
void PlanKernel::dropOverflow(KernelBuilder &b) {
  Value tokens = args[tokensArg];
  // At least 1, for no tokens in segments of none.
  Value length = b.max(tokens, b.i32(1));
  if (segmentArg)
    length =
        b.narrow(b.min(b.max(args[*segmentArg], b.i64(1)), b.widen(length)));
  Value segments = arith::DivUIOp::create(
      b, b.add(tokens, b.add(length, b.i32(-1))), length);
  b.loop(warp, segments, b.i32(warps), [&](KernelBuilder &b, Value segment) {
    Value begin = b.mul(segment, length);
    Value end = b.add(begin, b.min(length, b.sub(tokens, begin)));
    Value row = b.mul(warp, experts);
    clearCounters(b, b.add(row, lane), b.add(row, b.i32(experts)),
                  b.i32(kWarpSize));
    b.syncWarp();
    b.loop(b.i32(0), b.i32(choices), b.i32(1), [&](KernelBuilder &b, Value j) {
      b.loop(begin, end, b.i32(kWarpSize), [&](KernelBuilder &b, Value first) {
        Value token = b.add(first, lane);
        Value valid = b.less(token, end);
        Value index = b.add(b.mul(token, choices), j);
        Value expert = b.ifElse(
            valid,
            [&](KernelBuilder &b) -> SmallVector<Value> {
              return {readExpert(b, index)};
            },
            [&](KernelBuilder &b) -> SmallVector<Value> {
              return {b.i32(-1)};
            })[0];
        Value same = b.matchingLanes(expert);
        Value rank = b.countBits(b.bitAnd(same, lanesBelow(b)));
        Value chosen = b.negate(b.isNegative(expert));
        Value place = b.ifElse(
            chosen,
            [&](KernelBuilder &b) -> SmallVector<Value> {
              return {b.add(b.load(b.getI32Type(), counter(b, expert)), rank)};
            },
            [&](KernelBuilder &b) -> SmallVector<Value> {
              return {b.i32(0)};
            })[0];
        Value fits = b.signedLess(b.widen(place), args[*capacityArg]);
        b.when(valid, [&](KernelBuilder &b) {
          b.store(b.select(fits, expert, b.i32(-1)),
                  i32At(b, args[rowMapArg], index));
        });
        advanceCounter(b, expert, same, rank, /*isRead=*/true);
      });
    });
  });
  b.barrier();
}

void PlanKernel::forEachChoice(
    KernelBuilder &b, bool isRead,
    llvm::function_ref<void(KernelBuilder &, Value, Value, Value, Value, Value)>
        body) {
  // Whole warps, so that all lanes take each step.
  Value run = b.mul(b.ceilDiv(total, threads()), kWarpSize);
  Value begin = b.min(b.mul(warp, run), total);
  Value end = b.add(begin, b.min(run, b.sub(total, begin)));
  b.loop(begin, end, b.i32(kWarpSize), [&](KernelBuilder &b, Value first) {
    Value index = b.add(first, lane);
    Value valid = b.less(index, end);
    Value expert = b.ifElse(
        valid,
        [&](KernelBuilder &b) -> SmallVector<Value> {
          return {readExpert(b, index)};
        },
        [&](KernelBuilder &b) -> SmallVector<Value> { return {b.i32(-1)}; })[0];
    Value same = b.matchingLanes(expert);
    Value rank = b.countBits(b.bitAnd(same, lanesBelow(b)));
    body(b, index, valid, expert, same, rank);
    advanceCounter(b, expert, same, rank, isRead);
  });
}

/// count[w][e] = choices of e before the run of warp w; first[e], by warp 0.
void PlanKernel::scanExperts(KernelBuilder &b) {
  b.loop(thread, b.i32(experts), b.i32(threads()),
         [&](KernelBuilder &b, Value e) {
           Value sum = b.loop(b.i32(0), b.i32(warps), b.i32(1), b.i32(0),
                              [&](KernelBuilder &b, Value w,
                                  ValueRange carried) -> SmallVector<Value> {
                                Value slot =
                                    shared(b, b.add(b.mul(w, experts), e));
                                Value count = b.load(b.getI32Type(), slot);
                                b.store(carried[0], slot);
                                return {b.add(carried[0], count)};
                              })[0];
           b.store(sum, firstOf(b, e));
         });
  b.barrier();
  b.when(b.eq(warp, b.i32(0)), [&](KernelBuilder &b) {
    auto put = [&](KernelBuilder &b, Value e, Value first) {
      b.store(first, firstOf(b, e));
      b.store(b.widen(first), b.element(args[offsetsArg], e, b.getI64Type()));
    };
    Value rows = b.loop(b.i32(0), b.i32(experts), b.i32(kWarpSize), b.i32(0),
                        [&](KernelBuilder &b, Value e0,
                            ValueRange carried) -> SmallVector<Value> {
                          Value e = b.add(e0, lane);
                          Value exists = b.less(e, experts);
                          Value count = b.ifElse(
                              exists,
                              [&](KernelBuilder &b) -> SmallVector<Value> {
                                return {b.load(b.getI32Type(), firstOf(b, e))};
                              },
                              [&](KernelBuilder &b) -> SmallVector<Value> {
                                return {b.i32(0)};
                              })[0];
                          Value end =
                              b.add(b.prefixSumOfLanes(count), carried[0]);
                          b.when(exists, [&](KernelBuilder &b) {
                            put(b, e, b.sub(end, count));
                          });
                          return {b.broadcast(end, b.i32(kWarpSize - 1))};
                        })[0];
    b.when(b.eq(lane, b.i32(0)),
           [&](KernelBuilder &b) { put(b, b.i32(experts), rows); });
  });
  b.barrier();
}

void PlanKernel::emit(KernelBuilder &b, ValueRange arguments) {
  args = arguments;
  counters = b.sharedMemory();
  thread = b.thread();
  lane = b.lane();
  warp = b.warp();
  total = b.mul(args[tokensArg], choices);
  source = args[expertsArg];
  if (capacityArg) {
    dropOverflow(b);
    source = args[rowMapArg];
  }
  clearCounters(b, thread, b.i32(warps * experts), b.i32(threads()));
  b.barrier();
  forEachChoice(b, /*isRead=*/false,
                [](KernelBuilder &, Value, Value, Value, Value, Value) {});
  b.barrier();
  scanExperts(b);
  forEachChoice(
      b, /*isRead=*/true,
      [&](KernelBuilder &b, Value index, Value valid, Value expert, Value,
          Value rank) {
        Value chosen = b.negate(b.isNegative(expert));
        Value row = b.ifElse(
            chosen,
            [&](KernelBuilder &b) -> SmallVector<Value> {
              Value before = b.load(b.getI32Type(), counter(b, expert));
              Value first = b.load(b.getI32Type(), firstOf(b, expert));
              Value row = b.add(b.add(first, before), rank);
              b.store(b.div(index, choices), i32At(b, args[rowTokenArg], row));
              return {row};
            },
            [&](KernelBuilder &b) -> SmallVector<Value> {
              return {b.i32(-1)};
            })[0];
        b.when(valid, [&](KernelBuilder &b) {
          b.store(row, i32At(b, args[rowMapArg], index));
        });
      });
  // Rows of no expert have a token nevertheless: no reader has to know of them.
  Value rows = b.load(b.getI32Type(), firstOf(b, b.i32(experts)));
  b.loop(b.add(rows, thread), total, b.i32(threads()),
         [&](KernelBuilder &b, Value row) {
           b.store(b.i32(0), i32At(b, args[rowTokenArg], row));
         });
}

LogicalResult grouped::lowerPlan(PlanOp op, DeviceModule &device,
                                 StringRef name, Value context) {
  PlanKernel plan(op);
  if (plan.sharedBytes() > device.target.sharedPerBlock)
    return op.emitOpError("expects fewer experts for a GPU, got ")
           << op.getOuts()[0].getType();
  LoopBuilder host(op.getLoc(), op.getContext());
  host.setInsertionPoint(op);
  Type i32 = host.getI32Type(), i64 = host.getI64Type();
  KernelArguments arguments;
  // How the kernel tells of an expert id that there is no expert for.
  auto statusType = MemRefType::get({1}, i32);
  Value hostStatus = memref::AllocOp::create(host, statusType);
  Value status = memref::AllocOp::create(
      host, MemRefType::get({1}, i32, MemRefLayoutAttrInterface(),
                            host.getI64IntegerAttr(kGlobalSpace)));
  Value zero = arith::ConstantIntOp::create(host, 0, 32);
  host.store(zero, hostStatus, host.index(0));
  memref::CopyOp::create(host, hostStatus, status);
  plan.expertsArg = arguments.addBuffer(host, op.getExperts());
  plan.offsetsArg = arguments.addBuffer(host, op.getOuts()[0]);
  plan.rowMapArg = arguments.addBuffer(host, op.getOuts()[1]);
  plan.rowTokenArg = arguments.addBuffer(host, op.getOuts()[2]);
  plan.statusArg = arguments.addBuffer(host, status);
  plan.tokensArg =
      arguments.addScalar(host.fromIndex(i32, host.dim(op.getExperts(), 0)));
  if (Value capacity = op.getCapacity())
    plan.capacityArg = arguments.addScalar(host.fromIndex(i64, capacity));
  if (Value segment = op.getSegment())
    plan.segmentArg = arguments.addScalar(host.fromIndex(i64, segment));
  gpu::GPUFuncOp kernel = device.addKernel(
      op.getLoc(), name, arguments.types(), plan.threads(),
      [&](KernelBuilder &b, ValueRange args) { plan.emit(b, args); });
  Value one = host.index(1);
  launch(host, kernel, one, one, plan.threads(), plan.sharedBytes(), arguments);

  memref::CopyOp::create(host, status, hostStatus);
  Value worst = host.load(hostStatus, host.index(0));
  Value valid = host.cmp(arith::CmpIPredicate::eq, worst, zero);
  Value found = arith::SubIOp::create(
      host, worst, arith::ConstantIntOp::create(host, 1, 32));
  int64_t experts =
      cast<MemRefType>(op.getOuts()[0].getType()).getDimSize(0) - 1;
  moe::CheckOp::create(
      host, valid, arith::ExtSIOp::create(host, i64, found),
      arith::ConstantIntOp::create(host, experts, 64), "moe.dispatch",
      "expects expert ids below {limit} and at least -1, got {found}");
  if (Value layer = op.getLayer()) {
    Value offsets =
        memref::AllocOp::create(host, MemRefType::get({experts + 1}, i64));
    memref::CopyOp::create(host, op.getOuts()[0], offsets);
    moe::callRuntime(
        host, "moe_rt_count_experts", {},
        ValueRange{context, layer, moe::pointerFromMemref(host, offsets),
                   arith::ConstantIntOp::create(host, experts, 64)});
    memref::DeallocOp::create(host, offsets);
  }
  memref::DeallocOp::create(host, status);
  memref::DeallocOp::create(host, hostStatus);
  return success();
}
