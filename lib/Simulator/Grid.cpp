//===- Grid.cpp - Blocks and launches -------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include <algorithm>

using namespace mlir::moe::sim;
using Kind = Finding::Kind;

/// Blocks that may wait for each other at one time: what a large GPU holds.
static constexpr size_t maxResident = 2048;

Block::Block(Grid &grid, uint32_t id) : grid(grid), id(id) {
  const Dim3 &blocks = grid.config.grid;
  position = {id % blocks.x, id / blocks.x % blocks.y,
              id / blocks.x / blocks.y};
  shared.resize(grid.sharedBytes, 0xcd);
  cells.resize(grid.sharedBytes);
  uint32_t threads = static_cast<uint32_t>(grid.config.block.count());
  alive = threads;
  for (uint32_t i = 0; i < grid.warpsPerBlock; ++i)
    warps.push_back(
        std::make_unique<Warp>(*this, i, std::min(32u, threads - i * 32)));
}

bool Block::run() {
  bool progress = false;
  // A turn is long enough to be cheap, short enough for spinning warps.
  for (int turn = 0; turn < 64 && !done && !grid.stop; ++turn) {
    bool any = false;
    done = true;
    for (std::unique_ptr<Warp> &warp : warps) {
      Warp::Step step = Warp::Step::Ran;
      for (int i = 0; i < 512 && !grid.stop; ++i) {
        uint32_t before = grid.now;
        step = warp->step();
        if (step != Warp::Step::Ran)
          break;
        any = true;
        progress |= grid.now != before;
      }
      done &= step == Warp::Step::Done;
    }
    if (!any)
      break;
  }
  return progress;
}

void Block::threadsExited(uint32_t count) {
  alive -= std::min(alive, count);
  for (NamedBarrier &barrier : barriers)
    if (barrier.inUse)
      checkBarrier(barrier);
}

void Block::wakeMBarriers() {
  for (std::unique_ptr<Warp> &warp : warps)
    for (Group &group : warp->groups)
      if (group.state == Group::State::MBarrier)
        group.state = Group::State::Ready;
}

void Block::reportDeadlock() {
  for (std::unique_ptr<Warp> &warp : warps) {
    for (const Group &group : warp->groups) {
      if (!group.mask || group.pc > warp->program.insts.size())
        continue;
      // A group at a barrier has passed it already.
      bool passed = group.state == Group::State::Barrier;
      size_t at = group.pc - (passed ? 1 : 0);
      if (at >= warp->program.insts.size())
        continue;
      const Inst &inst = warp->program.insts[at];
      std::string what;
      if (group.state == Group::State::Barrier) {
        const NamedBarrier &barrier = barriers[group.barrier % 16];
        what = "waits at barrier " + std::to_string(group.barrier) +
               ", where " + std::to_string(barrier.arrived) + " of " +
               std::to_string(barrier.expected ? barrier.expected : alive) +
               " threads arrived";
      } else if (group.state == Group::State::MBarrier) {
        what = "waits at the mbarrier at shared address " +
               std::to_string(group.barrier);
        auto found = mbarriers.find(group.barrier);
        if (found != mbarriers.end())
          what += ", where " + std::to_string(found->second.pending) +
                  " arrivals and " +
                  std::to_string(found->second.transactions) +
                  " bytes are missing";
      } else {
        what = "waits for lanes of its warp that never come here";
      }
      grid.find(Kind::Deadlock, *warp, inst, __builtin_ctz(group.mask), what);
    }
  }
}

Grid::Grid(Device &device, Memory &memory, Kernel &kernel,
           const LaunchConfig &config, const std::vector<uint8_t> &params,
           LaunchReport &report, uint32_t launch)
    : device(device), memory(memory), kernel(kernel), program(*kernel.program),
      config(config), params(params), report(report), launch(launch) {
  warpsPerBlock = static_cast<uint32_t>((config.block.count() + 31) / 32);
  sharedBytes =
      static_cast<uint32_t>(kernel.staticShared + config.dynamicShared);
  report.counters.assign(program.insts.size(), Counters());
}

void Grid::run() {
  uint64_t total = config.grid.count(), next = 0, rounds = 0;
  std::vector<std::unique_ptr<Block>> resident;
  uint64_t limit =
      std::min<uint64_t>(device.options.maxInstructions, UINT32_MAX - 16);
  while (!stop && (next < total || !resident.empty())) {
    bool progress = false, finished = false;
    for (size_t i = 0; i < resident.size() && !stop; ++i) {
      progress |= resident[i]->run();
      finished |= resident[i]->done;
    }
    resident.erase(std::remove_if(resident.begin(), resident.end(),
                                  [](const std::unique_ptr<Block> &block) {
                                    return block->done;
                                  }),
                   resident.end());
    if (now >= limit && !resident.empty()) {
      Warp &warp = *resident[0]->warps[0];
      find(Kind::Limit, warp, program.insts[0], 0,
           "the launch executed " + std::to_string(now) +
               " warp instructions, more than allowed");
      break;
    }
    // Blocks that only wait, or spin, may do so for one that has not started.
    bool another = resident.empty() || !progress || ++rounds % 64 == 0;
    if (next < total && resident.size() < maxResident && another) {
      resident.push_back(
          std::make_unique<Block>(*this, static_cast<uint32_t>(next++)));
      continue;
    }
    if (!progress && !finished && !resident.empty()) {
      for (std::unique_ptr<Block> &block : resident)
        block->reportDeadlock();
      break;
    }
  }
  report.instructions = 0;
  for (const Counters &counters : report.counters)
    report.instructions += counters.executions;
}

void Grid::find(Finding::Kind kind, const Warp &warp, const Inst &inst,
                int lane, const std::string &message, bool hasAddress,
                Space space, uint64_t address) {
  if (device.options.ignoredKinds >> static_cast<unsigned>(kind) & 1)
    return;
  for (Finding &known : report.findings) {
    if (known.kind == kind && known.line == inst.line) {
      ++known.repeats;
      return;
    }
  }
  if (report.findings.size() >= device.options.maxFindings) {
    stop = true;
    return;
  }
  Finding finding;
  finding.kind = kind;
  finding.file = program.module->file;
  finding.kernel = program.name;
  finding.line = inst.line;
  finding.hasThread = true;
  finding.block = warp.block.position;
  finding.thread = warp.getThread(lane);
  finding.hasAddress = hasAddress;
  finding.space = space;
  finding.address = address;
  finding.message = message;
  report.findings.push_back(std::move(finding));
}
