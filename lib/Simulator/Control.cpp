//===- Control.cpp - Branches and exits -----------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "Machine.h"

using namespace mlir::moe::sim;

static void runBranch(Warp &warp, const Inst &inst, Mask mask) {
  warp.branch(mask, inst.target);
}

static void decodeBranch(Decoder &d) {
  d.take("uni");
  if (!d.finish(1))
    return;
  if (d.operand(0).kind != Operand::Kind::Label) {
    d.fail("found a branch without a label");
    return;
  }
  d.inst.target = d.operand(0).id;
  d.inst.run = runBranch;
}

static void runIndexedBranch(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  const uint64_t *index = warp.read(inst, 0, mask, buffer);
  const auto &table = warp.program.function.branchTables[inst.target];
  // A copy: branch splits the group that the mask is of.
  uint64_t chosen[32];
  std::copy(index, index + 32, chosen);
  for (uint32_t i = 0; i < table.size() && mask; ++i) {
    Mask lanes = 0;
    forLanes(mask, [&](int lane) {
      if (chosen[lane] == i)
        lanes |= Mask(1) << lane;
    });
    if (lanes)
      warp.branch(lanes, table[i]);
    mask &= ~lanes;
  }
  if (mask)
    warp.grid.find(Finding::Kind::Trap, warp, inst, __builtin_ctz(mask),
                   "the index " + std::to_string(chosen[__builtin_ctz(mask)]) +
                       " is outside of the branch table");
}

static void decodeIndexedBranch(Decoder &d) {
  d.take("idx");
  d.take("uni");
  if (!d.finish(2))
    return;
  d.src(0, Type::U32);
  uint64_t table;
  if (!d.immediate(1, table))
    return;
  d.inst.target = static_cast<uint32_t>(table);
  d.inst.run = runIndexedBranch;
}

static void runExit(Warp &warp, const Inst &, Mask mask) {
  warp.exitLanes(mask);
}

static void decodeExit(Decoder &d) {
  d.take("uni");
  if (d.finish(0))
    d.inst.run = runExit;
}

static void runTrap(Warp &warp, const Inst &inst, Mask mask) {
  warp.grid.find(Finding::Kind::Trap, warp, inst, __builtin_ctz(mask),
                 "the kernel trapped");
  warp.grid.stop = true;
}

static void decodeTrap(Decoder &d) {
  if (d.finish(0))
    d.inst.run = runTrap;
}

static void runNothing(Warp &, const Inst &, Mask) {}
static void runYield(Warp &warp, const Inst &, Mask) { warp.yield(); }

void mlir::moe::sim::addControlOps(OpTable &ops) {
  ops["bra"] = decodeBranch;
  ops["brx"] = decodeIndexedBranch;
  ops["ret"] = ops["exit"] = decodeExit;
  ops["trap"] = decodeTrap;
  ops["nanosleep"] = [](Decoder &d) {
    d.take("u32");
    if (d.finish(1))
      d.inst.run = runYield;
  };
  // Hints about registers, launches and caches.
  ops["setmaxnreg"] = [](Decoder &d) {
    d.takeAny({"inc", "dec"});
    if (!d.take("sync") || !d.take("aligned") || !d.take("u32"))
      d.unmodelled();
    d.inst.converge = Converge::Aligned;
    if (d.finish(1))
      d.inst.run = runNothing;
  };
  ops["griddepcontrol"] = [](Decoder &d) {
    // Launches run one after the other.
    if (d.takeAny({"launch_dependents", "wait"}) < 0)
      d.unmodelled();
    if (d.finish(0))
      d.inst.run = runNothing;
  };
  ops["prefetch"] = ops["prefetchu"] = [](Decoder &d) {
    if (d.take("tensormap")) {
      d.take("param");
      d.takeAny({"const", "global"});
    } else {
      d.takeAny({"global", "local"});
      d.takeAny({"L1", "L2", "L2::evict_last", "L2::evict_normal"});
    }
    if (d.finish(1))
      d.inst.run = runNothing;
  };
  ops["applypriority"] = ops["discard"] = [](Decoder &d) { d.unmodelled(); };
}
