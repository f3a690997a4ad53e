//===- Warp.cpp - Lanes, groups and registers -----------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"

#include <algorithm>

using namespace mlir::moe::sim;
using Kind = Finding::Kind;

void Knowledge::join(const Knowledge &other) {
  for (int i = 0; i < 32; ++i) {
    own[i] = std::max(own[i], other.own[i]);
    proxy[i] = std::max(proxy[i], other.proxy[i]);
  }
  for (auto &[block, times] : other.others) {
    auto &mine = others[block];
    for (int i = 0; i < 32; ++i)
      mine[i] = std::max(mine[i], times[i]);
  }
}

Warp::Warp(Block &block, uint32_t index, uint32_t threads)
    : block(block), grid(block.grid), program(block.grid.program), index(index),
      id(block.id * block.grid.warpsPerBlock + index),
      existing(threads >= 32 ? allLanes : (Mask(1) << threads) - 1),
      alive(existing) {
  registers.resize(program.function.registers.size() * 32);
  defined.resize(program.function.registers.size());
  local.resize(program.function.localBytes * 32, 0xcd);
  localWritten.resize(program.function.localBytes * 32);
  if (program.usesWgmma) {
    registersInFlight.resize(program.function.registers.size());
    registerTimes.resize(program.function.registers.size());
  }
  Group all;
  all.mask = alive;
  groups.push_back(all);
}

Dim3 Warp::getThread(int lane) const {
  const Dim3 &size = grid.config.block;
  uint32_t linear = index * 32 + static_cast<uint32_t>(lane);
  return {linear % size.x, linear / size.x % size.y, linear / size.x / size.y};
}

//===----------------------------------------------------------------------===//
// Registers
//===----------------------------------------------------------------------===//

Mask Warp::definedLanes(const Src &src) const {
  return src.kind == Src::Kind::Register ? defined[src.id] : allLanes;
}

const uint64_t *Warp::read(const Inst &inst, const Src &src, Mask mask,
                           uint64_t *buffer, bool allowUndefined) {
  if (src.kind == Src::Kind::Constant)
    return program.constants[src.id].data();
  if (src.kind == Src::Kind::Special) {
    readSpecial(static_cast<SpecialRegister>(src.id), buffer);
    return buffer;
  }
  if (Mask undefined = mask & ~defined[src.id]; undefined && !allowUndefined)
    grid.find(Kind::Uninitialized, *this, inst, __builtin_ctz(undefined),
              "reads a register that nothing was written to");
  if (!registersInFlight.empty() && registersInFlight[src.id] && !inst.isWgmma)
    grid.find(Kind::UnwaitedCopy, *this, inst, __builtin_ctz(mask),
              "reads a register of a wgmma that was not waited for");
  const uint64_t *values = &registers[size_t(src.id) * 32];
  if (!src.negated)
    return values;
  for (int lane = 0; lane < 32; ++lane)
    buffer[lane] = !values[lane];
  return buffer;
}

uint64_t *Warp::write(const Dst &dst, Mask mask) {
  static thread_local uint64_t sink[32];
  if (dst.id == Dst::none)
    return sink;
  defined[dst.id] |= mask;
  if (!registerTimes.empty())
    registerTimes[dst.id] = grid.now;
  return &registers[size_t(dst.id) * 32];
}

void Warp::readSpecial(SpecialRegister which, uint64_t *buffer) {
  using S = SpecialRegister;
  const Dim3 &threads = grid.config.block, &blocks = grid.config.grid;
  auto each = [&](auto value) {
    for (int lane = 0; lane < 32; ++lane)
      buffer[lane] = static_cast<uint64_t>(value(lane));
  };
  auto all = [&](uint64_t value) { std::fill(buffer, buffer + 32, value); };
  switch (which) {
  case S::TidX:
    return each([&](int lane) { return getThread(lane).x; });
  case S::TidY:
    return each([&](int lane) { return getThread(lane).y; });
  case S::TidZ:
    return each([&](int lane) { return getThread(lane).z; });
  case S::NtidX:
    return all(threads.x);
  case S::NtidY:
    return all(threads.y);
  case S::NtidZ:
    return all(threads.z);
  case S::CtaidX:
    return all(block.position.x);
  case S::CtaidY:
    return all(block.position.y);
  case S::CtaidZ:
    return all(block.position.z);
  case S::NctaidX:
    return all(blocks.x);
  case S::NctaidY:
    return all(blocks.y);
  case S::NctaidZ:
    return all(blocks.z);
  case S::LaneId:
    return each([](int lane) { return lane; });
  case S::WarpId:
    return all(index);
  case S::NWarpId:
    return all(grid.warpsPerBlock);
  case S::SmId:
    return all(block.id % 132);
  case S::NSmId:
    return all(132);
  case S::GridId:
    return all(grid.launch);
  case S::LanemaskEq:
    return each([](int lane) { return 1u << lane; });
  case S::LanemaskLt:
    return each([](int lane) { return (1u << lane) - 1; });
  case S::LanemaskLe:
    return each([](int lane) { return (1u << lane) - 1 + (1u << lane); });
  case S::LanemaskGe:
    return each([](int lane) { return ~((1u << lane) - 1); });
  case S::LanemaskGt:
    return each([](int lane) { return ~((1u << lane) - 1 + (1u << lane)); });
  case S::Clock:
  case S::Clock64:
  case S::GlobalTimer:
  case S::GlobalTimerLo:
    return all(grid.now);
  case S::ClockHi:
  case S::GlobalTimerHi:
  case S::ClusterCtaRank:
  case S::ClusterZero:
  case S::IsExplicitCluster:
    return all(0);
  case S::DynamicSmemSize:
    return all(grid.config.dynamicShared);
  case S::TotalSmemSize:
  case S::AggrSmemSize:
    return all(grid.sharedBytes);
  case S::ClusterNctaRank:
  case S::ClusterOne:
    return all(1);
  case S::WarpSize:
    return all(32);
  }
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

/// Chooses the group to run; false if none can.
bool Warp::pick() {
  bool yielded = false;
  size_t best = groups.size(), oldest = groups.size();
  for (size_t i = 0; i < groups.size(); ++i) {
    const Group &group = groups[i];
    if (group.state != Group::State::Ready)
      continue;
    if (group.yielded) {
      yielded = true;
      continue;
    }
    if (best == groups.size() || group.pc < groups[best].pc)
      best = i;
    if (oldest == groups.size() || group.lastRun < groups[oldest].lastRun)
      oldest = i;
  }
  if (best == groups.size()) {
    if (!yielded)
      return false;
    for (Group &group : groups)
      group.yielded = false;
    return pick();
  }
  current = best;
  // Lanes may wait for lanes that stand further down.
  if (groups.size() > 1 && ++divergedSteps % 4096 == 0)
    current = oldest;
  groups[current].lastRun = ++steps;
  return true;
}

/// Groups at one instruction become one.
void Warp::mergeGroups() {
  groups.erase(std::remove_if(groups.begin(), groups.end(),
                              [](const Group &g) { return g.mask == 0; }),
               groups.end());
  auto mergeable = [](const Group &group) {
    return group.state == Group::State::Ready ||
           group.state == Group::State::Converging;
  };
  for (size_t i = 0; i + 1 < groups.size(); ++i) {
    for (size_t j = i + 1; j < groups.size();) {
      Group &a = groups[i], &b = groups[j];
      if (a.pc != b.pc || !mergeable(a) || !mergeable(b)) {
        ++j;
        continue;
      }
      a.mask |= b.mask;
      a.state = Group::State::Ready;
      a.yielded = a.yielded && b.yielded;
      groups.erase(groups.begin() + static_cast<ptrdiff_t>(j));
    }
  }
}

void Warp::branch(Mask lanes, uint32_t target) {
  Group &group = groups[current];
  if (lanes == group.mask) {
    group.pc = target;
    return;
  }
  group.mask &= ~lanes;
  Group taken = group;
  taken.mask = lanes;
  taken.pc = target;
  groups.push_back(taken);
}

void Warp::exitLanes(Mask lanes) {
  groups[current].mask &= ~lanes;
  alive &= ~lanes;
  // Groups that waited for these lanes look again.
  for (Group &group : groups)
    if (group.state == Group::State::Converging)
      group.state = Group::State::Ready;
  block.threadsExited(static_cast<uint32_t>(__builtin_popcount(lanes)));
}

/// Whether the lanes that an instruction needs are here; if not the group waits
/// for them, or the barrier is divergent.
bool Warp::converged(const Inst &inst, Mask mask, Mask exec) {
  Mask needed = alive;
  if (inst.converge == Converge::Members) {
    uint64_t buffer[32];
    const uint64_t *members = read(inst, inst.src.back(), exec, buffer);
    int first = __builtin_ctz(exec);
    needed = static_cast<Mask>(members[first]);
    bool ok = true;
    forLanes(exec, [&](int lane) {
      if (!(needed >> lane & 1) && members[lane] == members[first])
        ok = false;
    });
    if (!ok) {
      grid.find(Kind::Barrier, *this, inst, first,
                "the executing thread is not in the member mask");
      return true;
    }
    if (needed & ~existing & ~alive)
      needed &= existing;
    if (Mask gone = needed & ~alive) {
      grid.find(Kind::Barrier, *this, inst, first,
                "the member mask names lane " +
                    std::to_string(__builtin_ctz(gone)) +
                    ", which has exited or does not exist");
      needed &= alive;
    }
  }
  if ((needed & ~mask) == 0) {
    // All are here; but a guard may hold some back.
    if (Mask held = needed & ~exec; held && inst.guard >= 0)
      grid.find(Kind::Barrier, *this, inst, __builtin_ctz(held),
                "the guard keeps some threads of the warp from an instruction "
                "that all of them have to execute");
    return true;
  }
  groups[current].state = Group::State::Converging;
  return false;
}

Warp::Step Warp::step() {
  if (alive == 0)
    return Step::Done;
  if (!pick())
    return Step::Waits;
  uint32_t pc = groups[current].pc;
  Mask mask = groups[current].mask;
  if (pc >= program.insts.size()) {
    exitLanes(mask);
    mergeGroups();
    return alive ? Step::Ran : Step::Done;
  }
  const Inst &inst = program.insts[pc];
  Mask exec = mask;
  if (inst.guard >= 0) {
    uint32_t guard = static_cast<uint32_t>(inst.guard);
    const uint64_t *values = &registers[size_t(guard) * 32];
    if (Mask undefined = mask & ~defined[guard])
      grid.find(Kind::Uninitialized, *this, inst, __builtin_ctz(undefined),
                "is guarded by a predicate that nothing was written to");
    forLanes(mask, [&](int lane) {
      if ((values[lane] != 0) == inst.guardNegated)
        exec &= ~(Mask(1) << lane);
    });
  }
  if (exec == 0) {
    groups[current].pc = pc + 1;
    if (groups.size() > 1)
      mergeGroups();
    return Step::Ran;
  }
  if (inst.converge != Converge::No && !converged(inst, mask, exec))
    return Step::Ran;

  ++grid.now;
  Counters &counters = grid.count(inst);
  groups[current].pc = pc + 1;
  again = false;
  inst.run(*this, inst, exec);
  if (again) {
    groups[current].pc = pc;
    return Step::Ran;
  }
  ++counters.executions;
  counters.lanes += static_cast<uint64_t>(__builtin_popcount(exec));
  if (groups.size() > 1 || groups[0].mask == 0)
    mergeGroups();
  return alive ? Step::Ran : Step::Done;
}

void Warp::synchronizeLanes(Mask mask) {
  std::array<uint32_t, 32> joined{};
  forLanes(mask, [&](int lane) {
    for (int i = 0; i < 32; ++i)
      joined[i] = std::max(joined[i], laneKnown[lane][i]);
  });
  forLanes(mask, [&](int lane) { joined[lane] = grid.now; });
  forLanes(mask, [&](int lane) { laneKnown[lane] = joined; });
}
