//===- Barrier.cpp - bar, barrier, fences ---------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "Decoder.h"
#include "Sync.h"

#include <algorithm>

using namespace mlir::moe::sim;
using Kind = Finding::Kind;

//===----------------------------------------------------------------------===//
// Fences and strong accesses
//===----------------------------------------------------------------------===//

/// What is told to other blocks: times of warps under their block's number.
static Knowledge getForeign(const Warp &warp) {
  Knowledge result;
  result.others = warp.knowledge.others;
  auto &own = result.others[warp.block.id];
  for (int i = 0; i < 32; ++i)
    own[i] = std::max(own[i], warp.knowledge.own[i]);
  own[warp.index] = warp.grid.now;
  return result;
}

static void joinForeign(Warp &warp, const Knowledge &told) {
  for (auto &[block, times] : told.others) {
    auto &mine = block == warp.block.id ? warp.knowledge.own
                                        : warp.knowledge.others[block];
    for (int i = 0; i < 32; ++i)
      mine[i] = std::max(mine[i], times[i]);
  }
}

static uint64_t getKey(const Warp &warp, Space space, uint64_t address) {
  if (space != Space::Shared)
    return address;
  return uint64_t(1) << 63 | static_cast<uint64_t>(warp.block.id) << 24 |
         address;
}

void mlir::moe::sim::strongRead(Warp &warp, Space space, uint64_t address,
                                Order order) {
  auto found = warp.grid.released.find(getKey(warp, space, address));
  if (found == warp.grid.released.end())
    return;
  if (order == Order::Acquire || order == Order::AcquireRelease) {
    joinForeign(warp, found->second);
  } else {
    warp.acquired.join(found->second);
    warp.hasAcquired = true;
  }
}

void mlir::moe::sim::strongWrite(Warp &warp, Space space, uint64_t address,
                                 Order order) {
  bool releases = order == Order::Release || order == Order::AcquireRelease;
  if (!releases && warp.fenced.others.empty())
    return;
  warp.grid.released[getKey(warp, space, address)].join(
      releases ? getForeign(warp) : warp.fenced);
}

void mlir::moe::sim::fence(Warp &warp) {
  if (warp.hasAcquired) {
    joinForeign(warp, warp.acquired);
    warp.acquired = Knowledge();
    warp.hasAcquired = false;
  }
  warp.fenced = getForeign(warp);
}

Knowledge mlir::moe::sim::getKnowledge(const Warp &warp) {
  Knowledge result = warp.knowledge;
  result.own[warp.index] = warp.grid.now;
  return result;
}

static void runFence(Warp &warp, const Inst &, Mask) { fence(warp); }

static void runProxyFence(Warp &warp, const Inst &, Mask) {
  Knowledge &mine = warp.knowledge;
  for (int i = 0; i < 32; ++i)
    mine.proxy[i] = std::max(mine.proxy[i], mine.own[i]);
  mine.proxy[warp.index] = warp.grid.now;
}

static void decodeFence(Decoder &d) {
  if (d.take("proxy")) {
    // Other proxies, and the tensormap one, are not modelled.
    if (!d.take("async") && !d.take("async::generic") &&
        !d.take("async.shared::cta"))
      d.unmodelled();
    d.takeAny({"shared::cta", "shared::cluster", "global"});
    if (d.finish(0))
      d.inst.run = runProxyFence;
    return;
  }
  if (d.take("mbarrier_init")) {
    d.take("release");
    d.take("cluster");
    if (d.finish(0))
      d.inst.run = runProxyFence;
    return;
  }
  d.takeAny({"sc", "acq_rel", "acquire", "release"});
  d.takeAny({"cta", "cluster", "gpu", "sys"});
  if (d.finish(0))
    d.inst.run = runFence;
}

//===----------------------------------------------------------------------===//
// Named barriers
//===----------------------------------------------------------------------===//

namespace {
enum BarrierOp : uint8_t { SyncOp, ArriveOp, RedPopc, RedAnd, RedOr };
} // namespace

static void release(NamedBarrier &barrier, Block &block) {
  for (size_t i = 0; i < barrier.waiting.size(); ++i) {
    auto [warp, mask] = barrier.waiting[i];
    warp->knowledge.join(barrier.knowledge);
    warp->synchronizeLanes(mask);
    for (Group &group : warp->groups)
      if (group.state == Group::State::Barrier && (group.mask & mask))
        group.state = Group::State::Ready;
    const Inst &inst = *barrier.reductions[i].first;
    if (inst.op < RedPopc)
      continue;
    uint64_t value = barrier.reduction;
    if (inst.op == RedAnd)
      value = barrier.reduction == barrier.arrived;
    else if (inst.op == RedOr)
      value = barrier.reduction != 0;
    uint64_t *d = warp->write(inst.dst[0], mask);
    forLanes(mask, [&](int lane) { d[lane] = value; });
  }
  barrier = NamedBarrier();
  (void)block;
}

void Block::checkBarrier(NamedBarrier &barrier) {
  uint32_t expected = barrier.expected ? barrier.expected : alive;
  if (barrier.arrived >= expected)
    release(barrier, *this);
}

static void runBarrier(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[3][32];
  int first = __builtin_ctz(mask);
  uint64_t number = warp.read(inst, 0, mask, buffers[0])[first];
  uint64_t count = 0;
  if (inst.count) // has a thread count
    count = warp.read(inst, 1, mask, buffers[1])[first];
  auto report = [&](const std::string &what) {
    warp.grid.find(Kind::Barrier, warp, inst, first, what);
  };
  if (number >= 16)
    return report("barrier " + std::to_string(number) +
                  " does not exist, expected 0 to 15");
  if (inst.count && (count == 0 || count % 32 || count > 1024))
    return report("the barrier is for " + std::to_string(count) +
                  " threads, expected a multiple of 32");
  NamedBarrier &barrier = warp.block.barriers[number];
  if (barrier.inUse && barrier.expected != count)
    report("barrier " + std::to_string(number) + " is for " +
           std::to_string(count) + " threads here and for " +
           std::to_string(barrier.expected) + " elsewhere (0: all)");
  barrier.inUse = true;
  barrier.expected = static_cast<uint32_t>(count);
  // With a count the last warp of a block counts as a full one.
  uint32_t arriving = static_cast<uint32_t>(__builtin_popcount(mask));
  if (count && inst.converge == Converge::Aligned)
    arriving = 32;
  barrier.arrived += arriving;
  if (count && barrier.arrived > count)
    report("more than the " + std::to_string(count) + " threads that barrier " +
           std::to_string(number) + " is for arrived");
  barrier.knowledge.join(getKnowledge(warp));
  if (inst.op >= RedPopc) {
    const uint64_t *p = warp.read(inst, inst.src.back(), mask, buffers[2]);
    forLanes(mask, [&](int lane) { barrier.reduction += p[lane] != 0; });
  }
  if (inst.op != ArriveOp) {
    barrier.waiting.push_back({&warp, mask});
    barrier.reductions.push_back({&inst, mask});
    warp.wait(Group::State::Barrier, static_cast<uint32_t>(number));
  }
  warp.block.checkBarrier(barrier);
}

static void runWarpBarrier(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  const uint64_t *members = warp.read(inst, 0, mask, buffer);
  warp.synchronizeLanes(mask & static_cast<Mask>(members[__builtin_ctz(mask)]));
}

static void decodeBarrier(Decoder &d, bool alwaysAligned) {
  Inst &inst = d.inst;
  if (d.take("warp")) {
    if (!d.take("sync"))
      d.unmodelled();
    if (!d.finish(1))
      return;
    d.src(0, Type::B32);
    inst.converge = Converge::Members;
    inst.run = runWarpBarrier;
    return;
  }
  d.take("cta");
  bool aligned = d.take("aligned") || alwaysAligned;
  inst.converge = aligned ? Converge::Aligned : Converge::No;
  size_t first = 0, extra = 0;
  switch (d.takeAny({"sync", "arrive", "red"})) {
  case 0:
    inst.op = SyncOp;
    break;
  case 1:
    inst.op = ArriveOp;
    break;
  case 2:
    inst.op = static_cast<uint8_t>(RedPopc + d.takeAny({"popc", "and", "or"}));
    d.takeAny({"u32", "pred"});
    d.dst(0, inst.op == RedPopc ? Type::U32 : Type::Pred);
    first = 1;
    extra = 1;
    break;
  default:
    d.unmodelled();
    return;
  }
  if (!d.finish(first + 1 + extra, first + 2 + extra))
    return;
  d.src(first, Type::U32);
  inst.count = d.size() == first + 2 + extra;
  if (inst.op == ArriveOp && !inst.count) {
    d.fail("found 'bar.arrive' without a number of threads, expected one");
    return;
  }
  if (inst.count)
    d.src(first + 1, Type::U32);
  if (extra)
    d.src(d.size() - 1, Type::Pred);
  inst.run = runBarrier;
}

//===----------------------------------------------------------------------===//
// Cluster barriers, of clusters of one block
//===----------------------------------------------------------------------===//

/// Barrier 16 of the block: arrivals of one phase, waits for it.
static void runClusterArrive(Warp &warp, const Inst &, Mask mask) {
  MBarrier &barrier = warp.block.clusterBarrier;
  if (barrier.pending == 0)
    barrier.pending = warp.block.alive;
  barrier.arrivals.join(getKnowledge(warp));
  forLanes(mask, [&](int lane) {
    warp.clusterPhase[lane] = static_cast<uint32_t>(barrier.phase);
  });
  barrier.pending -= std::min<uint32_t>(
      barrier.pending, static_cast<uint32_t>(__builtin_popcount(mask)));
  if (barrier.pending)
    return;
  barrier.completed = barrier.arrivals;
  ++barrier.phase;
  warp.block.wakeMBarriers();
}

static void runClusterWait(Warp &warp, const Inst &, Mask mask) {
  MBarrier &barrier = warp.block.clusterBarrier;
  if (warp.clusterPhase[__builtin_ctz(mask)] == barrier.phase) {
    warp.wait(Group::State::MBarrier, UINT32_MAX);
    warp.retry();
    return;
  }
  warp.knowledge.join(barrier.completed);
  warp.synchronizeLanes(mask);
}

void mlir::moe::sim::addBarrierOps(OpTable &ops) {
  ops["bar"] = [](Decoder &d) { decodeBarrier(d, true); };
  ops["barrier"] = [](Decoder &d) {
    if (!d.take("cluster"))
      return decodeBarrier(d, false);
    int what = d.takeAny({"arrive", "wait"});
    d.takeAny({"release", "relaxed", "acquire"});
    if (d.take("aligned"))
      d.inst.converge = Converge::Aligned;
    if (what < 0)
      d.unmodelled();
    if (d.finish(0))
      d.inst.run = what == 0 ? runClusterArrive : runClusterWait;
  };
  ops["fence"] = decodeFence;
  ops["membar"] = [](Decoder &d) {
    if (d.takeAny({"cta", "gl", "sys"}) < 0)
      d.unmodelled();
    if (d.finish(0))
      d.inst.run = runFence;
  };
}
