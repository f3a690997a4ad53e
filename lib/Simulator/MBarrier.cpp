//===- MBarrier.cpp - mbarrier objects ------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// An object is known by its shared address; its 64 bits there mean nothing. A
// phase completes when its arrivals and the bytes of its copies are all in. Who
// waits for it then knows what the arriving threads knew, and may look at what
// the copies wrote.
//
//===----------------------------------------------------------------------===//

#include "MBarrier.h"
#include "Checks.h"
#include "CopyBulk.h"
#include "Decoder.h"
#include "Sync.h"

#include <algorithm>

using namespace mlir::moe::sim;
using Kind = Finding::Kind;

namespace {
enum Op : uint8_t { TestWait, TryWait };
} // namespace

static uint64_t toShared(uint64_t address) {
  return address >> 32 << 32 == sharedWindow ? address - sharedWindow : address;
}

MBarrier *mlir::moe::sim::getMBarrier(Warp &warp, const Inst &inst, int lane,
                                      uint64_t address, bool byAsyncProxy) {
  address = toShared(address);
  if (!getShared(warp, inst, lane, address, 8, 8))
    return nullptr;
  auto found = warp.block.mbarriers.find(static_cast<uint32_t>(address));
  if (found == warp.block.mbarriers.end()) {
    warp.grid.find(Kind::Uninitialized, warp, inst, lane,
                   "there is no initialized mbarrier here", true, Space::Shared,
                   address);
    return nullptr;
  }
  // The initialization is a write that users have to know of.
  readShared(warp, inst, lane, found->first, 8, byAsyncProxy);
  return &found->second;
}

uint32_t mlir::moe::sim::getEvent(Warp &warp, MBarrier &barrier) {
  if (!barrier.event) {
    warp.block.events.emplace_back();
    barrier.event = static_cast<uint32_t>(warp.block.events.size());
  }
  return barrier.event - 1;
}

/// Ends the phase if nothing is missing.
static void checkPhase(Warp &warp, MBarrier &barrier) {
  if (barrier.pending || barrier.transactions)
    return;
  ++barrier.phase;
  barrier.pending = barrier.expected;
  barrier.completed = barrier.arrivals;
  if (barrier.event)
    warp.block.events[barrier.event - 1].complete = true;
  barrier.lastEvent = barrier.event;
  barrier.event = 0;
  warp.block.wakeMBarriers();
}

void mlir::moe::sim::arrive(Warp &warp, const Inst &inst, int lane,
                            MBarrier &barrier, uint32_t count) {
  if (count > barrier.pending) {
    warp.grid.find(Kind::Barrier, warp, inst, lane,
                   "more arrivals than the " +
                       std::to_string(barrier.expected) +
                       " that the mbarrier expects");
    return;
  }
  barrier.pending -= count;
  checkPhase(warp, barrier);
}

void mlir::moe::sim::expectBytes(Warp &warp, MBarrier &barrier, int64_t bytes) {
  barrier.transactions += bytes;
  if (bytes < 0)
    checkPhase(warp, barrier);
}

//===----------------------------------------------------------------------===//
// Instructions
//===----------------------------------------------------------------------===//

static void runInit(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32], buffer[32];
  uint8_t *places[32];
  getAddresses(warp, inst, mask, addresses);
  const uint64_t *counts = warp.read(inst, 0, mask, buffer);
  Access how;
  how.kind = Access::Write;
  how.bytes = 8;
  how.counted = false;
  access(warp, inst, mask, addresses, inst.space, how, places);
  forLanes(mask, [&](int lane) {
    if (!places[lane])
      return;
    MBarrier barrier;
    barrier.expected = barrier.pending = static_cast<uint32_t>(counts[lane]);
    if (barrier.expected == 0 || barrier.expected >= 1u << 20)
      warp.grid.find(Kind::Barrier, warp, inst, lane,
                     "the mbarrier is for " + std::to_string(barrier.expected) +
                         " arrivals, expected 1 to 2^20 - 1");
    warp.block.mbarriers[static_cast<uint32_t>(toShared(addresses[lane]))] =
        barrier;
  });
}

static void runInvalidate(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32];
  getAddresses(warp, inst, mask, addresses);
  forLanes(mask, [&](int lane) {
    if (getMBarrier(warp, inst, lane, addresses[lane], false))
      warp.block.mbarriers.erase(
          static_cast<uint32_t>(toShared(addresses[lane])));
  });
}

/// op: 1 adds to the expected bytes; op2: 1 does not arrive. The operand is the
/// number of bytes or of arrivals.
static void runArrive(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32], buffer[32], states[32] = {};
  getAddresses(warp, inst, mask, addresses);
  const uint64_t *values =
      inst.src.empty() ? nullptr : warp.read(inst, 0, mask, buffer);
  forLanes(mask, [&](int lane) {
    MBarrier *barrier = getMBarrier(warp, inst, lane, addresses[lane], false);
    if (!barrier)
      return;
    states[lane] = barrier->phase;
    uint32_t value = values ? static_cast<uint32_t>(values[lane]) : 1;
    if (inst.op)
      expectBytes(warp, *barrier, value);
    if (inst.op2)
      return;
    barrier->arrivals.join(getKnowledge(warp));
    arrive(warp, inst, lane, *barrier, inst.op ? 1 : value);
  });
  if (inst.dst.empty())
    return;
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = states[lane]; });
}

/// op: TestWait or TryWait; op2: 1 if the operand is a parity.
static void runWait(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32], buffer[32], results[32] = {};
  getAddresses(warp, inst, mask, addresses);
  const uint64_t *states = warp.read(inst, 0, mask, buffer);
  bool any = false;
  forLanes(mask, [&](int lane) {
    MBarrier *barrier = getMBarrier(warp, inst, lane, addresses[lane], false);
    if (!barrier) {
      results[lane] = any = true; // reported; do not hang
      return;
    }
    results[lane] = inst.op2 ? (barrier->phase & 1) != (states[lane] & 1)
                             : barrier->phase > states[lane];
    if (!results[lane])
      return;
    any = true;
    warp.knowledge.join(barrier->completed);
    if (barrier->lastEvent) {
      uint32_t &seen =
          warp.block.events[barrier->lastEvent - 1].observed[warp.index];
      seen = seen ? seen : warp.grid.now;
    }
  });
  if (!any && inst.op == TryWait) {
    // It may suspend: until the phase ends.
    warp.wait(Group::State::MBarrier,
              static_cast<uint32_t>(toShared(addresses[__builtin_ctz(mask)])));
    warp.retry();
    return;
  }
  if (!any)
    warp.yield();
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = results[lane]; });
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

static Space takeShared(Decoder &d) {
  return d.takeAny({"shared", "shared::cta", "shared::cluster"}) >= 0
             ? Space::Shared
             : Space::Generic;
}

static void decodeMBarrier(Decoder &d) {
  Inst &inst = d.inst;
  int what = d.takeAny(
      {"init", "inval", "arrive", "test_wait", "try_wait", "expect_tx"});
  bool expects = what == 2 && d.take("expect_tx");
  bool parity = d.take("parity");
  if (what == 5)
    d.take("relaxed");
  d.takeAny({"release", "acquire"});
  d.takeAny({"cta", "cluster"});
  Space space = takeShared(d);
  if (!d.take("b64") || what < 0) {
    d.unmodelled();
    return;
  }
  switch (what) {
  case 0:
    if (!d.finish(2))
      return;
    d.address(0, space);
    d.src(1, Type::U32);
    inst.run = runInit;
    return;
  case 1:
    if (!d.finish(1))
      return;
    d.address(0, space);
    inst.run = runInvalidate;
    return;
  case 5:
    if (!d.finish(2))
      return;
    d.address(0, space);
    d.src(1, Type::U32);
    inst.op = inst.op2 = 1;
    inst.run = runArrive;
    return;
  case 2: {
    // The state may be left out: mbarrier.arrive [a];
    bool state = d.operand(0).kind != Operand::Kind::Address;
    if (!d.finish(1 + state + expects, 2 + state))
      return;
    if (state)
      d.dst(0, Type::B64);
    d.address(state, space);
    if (d.size() == 2u + state)
      d.src(1 + state, Type::U32);
    inst.op = expects;
    inst.run = runArrive;
    return;
  }
  default:
    if (!d.finish(3, 4)) // the fourth is a hint about time
      return;
    d.dst(0, Type::Pred);
    d.address(1, space);
    d.src(2, parity ? Type::U32 : Type::B64);
    inst.op = what == 4 ? TryWait : TestWait;
    inst.op2 = parity;
    inst.run = runWait;
  }
}

/// The thread's copies so far complete the current phase; they arrive, once.
static void runCopyArrive(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32];
  getAddresses(warp, inst, mask, addresses);
  forLanes(mask, [&](int lane) {
    MBarrier *barrier = getMBarrier(warp, inst, lane, addresses[lane], false);
    if (!barrier)
      return;
    uint32_t event = getEvent(warp, *barrier);
    uint32_t thread = warp.id << 5 | static_cast<uint32_t>(lane);
    auto mine = [&](const Warp::Copy &copy) {
      if (copy.lane != lane)
        return false;
      for (uint32_t i = 0; i < copy.bytes; ++i) {
        Cell &cell = warp.block.cells[copy.address + i];
        if (cell.state != Cell::Copying || cell.writer != thread)
          continue;
        cell.state = Cell::Event;
        cell.writer = event;
      }
      return true;
    };
    warp.copies.erase(
        std::remove_if(warp.copies.begin(), warp.copies.end(), mine),
        warp.copies.end());
    if (inst.op) // noinc
      arrive(warp, inst, lane, *barrier, 1);
  });
}

void mlir::moe::sim::decodeCopyArrive(Decoder &d) {
  bool ok = d.take("mbarrier") && d.take("arrive");
  d.inst.op = d.take("noinc");
  Space space = takeShared(d);
  if (!ok || !d.take("b64"))
    d.unmodelled();
  if (!d.finish(1))
    return;
  d.address(0, space);
  d.inst.run = runCopyArrive;
}

void mlir::moe::sim::addMBarrierOps(OpTable &ops) {
  ops["mbarrier"] = decodeMBarrier;
}
