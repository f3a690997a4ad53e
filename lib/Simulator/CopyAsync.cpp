//===- CopyAsync.cpp - cp.async and its groups ----------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The data moves when the instruction executes. That nothing may look before
// the copy was waited for is the business of the cells: they stay "copying"
// until a wait of the issuing thread makes them its writes.
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "CopyBulk.h"
#include "Decoder.h"

#include <algorithm>

using namespace mlir::moe::sim;

static void runCopy(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t to[32], from[32], buffer[32], fromUsed[32];
  getAddresses(warp, inst, inst.base, inst.offset, mask, to);
  getAddresses(warp, inst, inst.src[0], inst.sourceOffset, mask, from);
  const uint64_t *sizes =
      inst.src.size() > 1 ? warp.read(inst, 1, mask, buffer) : nullptr;
  bool ignores = inst.op; // the operand is a predicate: true ignores the source
  unsigned bytes = inst.count;
  Mask reading = 0, writing = 0;
  forLanes(mask, [&](int lane) {
    uint64_t size = bytes;
    if (sizes)
      size = ignores ? (sizes[lane] ? 0 : bytes)
                     : std::min<uint64_t>(sizes[lane] & 0xffffffff, bytes);
    // Generic addresses may be given for the target.
    uint64_t target = to[lane];
    if (target >> 32 << 32 == sharedWindow)
      target -= sharedWindow;
    to[lane] = target;
    uint8_t *place = getShared(warp, inst, lane, target, bytes, bytes);
    const uint8_t *source =
        size ? getGlobal(warp, inst, lane, from[lane], size, bytes) : nullptr;
    if (!place || (size && !source))
      return;
    uint32_t address = static_cast<uint32_t>(target);
    if (size) {
      readGlobal(warp, inst, lane, from[lane], size);
      reading |= Mask(1) << lane;
      std::memcpy(place, source, size);
    }
    std::memset(place + size, 0, bytes - size);
    writeSharedAsync(warp, inst, lane, address, bytes, AsyncWrite::CopyAsync,
                     0);
    warp.copies.push_back(
        {address, bytes, warp.committed[lane], static_cast<uint8_t>(lane)});
    writing |= Mask(1) << lane;
    fromUsed[lane] = from[lane];
  });
  Counters &counters = warp.grid.count(inst);
  if (reading)
    countSectors(counters, reading, fromUsed, bytes);
  if (writing)
    countBanks(counters, writing, to, bytes);
}

static void runCommit(Warp &warp, const Inst &, Mask mask) {
  forLanes(mask, [&](int lane) { ++warp.committed[lane]; });
}

static void runWait(Warp &warp, const Inst &inst, Mask mask) {
  auto &copies = warp.copies;
  auto done = [&](const Warp::Copy &copy) {
    if (!(mask >> copy.lane & 1))
      return false;
    // wait_all also waits for what was not committed.
    bool complete = inst.op || uint64_t(copy.group) + inst.count <
                                   warp.committed[copy.lane];
    if (complete)
      completeCopy(warp, copy);
    return complete;
  };
  copies.erase(std::remove_if(copies.begin(), copies.end(), done),
               copies.end());
  if (inst.op)
    runCommit(warp, inst, mask);
}

static void decodeCopy(Decoder &d) {
  Inst &inst = d.inst;
  if (!d.take("async")) {
    d.unmodelled();
    return;
  }
  for (std::string_view modifier : d.parsed.modifiers) {
    if (modifier == "bulk")
      return decodeBulkCopy(d);
    if (modifier == "mbarrier")
      return decodeCopyArrive(d);
  }
  if (d.take("commit_group")) {
    if (d.finish(0))
      inst.run = runCommit;
    return;
  }
  if (d.take("wait_all")) {
    inst.op = 1;
    if (d.finish(0))
      inst.run = runWait;
    return;
  }
  if (d.take("wait_group")) {
    uint64_t count;
    if (!d.finish(1) || !d.immediate(0, count))
      return;
    inst.count = static_cast<uint32_t>(count);
    inst.run = runWait;
    return;
  }
  int cache = d.takeAny({"ca", "cg"});
  if (cache < 0 || d.takeAny({"shared", "shared::cta"}) < 0 ||
      !d.take("global")) {
    d.unmodelled();
    return;
  }
  while (d.takeAny({"L2::64B", "L2::128B", "L2::256B"}) >= 0)
    ;
  bool policy = d.take("L2::cache_hint");
  if (!d.finish(policy ? 4 : 3, policy ? 5 : 4))
    return;
  uint64_t bytes;
  if (!d.immediate(2, bytes))
    return;
  if (bytes != 16 && (cache == 1 || (bytes != 4 && bytes != 8))) {
    d.fail("found a cp.async of " + std::to_string(bytes) +
           " bytes, expected " + (cache == 1 ? "16" : "4, 8 or 16"));
    return;
  }
  inst.count = static_cast<uint32_t>(bytes);
  d.address(1, Space::Global);
  inst.src.push_back(inst.base);
  inst.sourceOffset = inst.offset;
  d.address(0, Space::Shared);
  if (d.size() - policy == 4) {
    const Operand &size = d.operand(3);
    inst.op = size.kind == Operand::Kind::Register &&
              d.program.function.registers[size.id].type == Type::Pred;
    d.src(3, inst.op ? Type::Pred : Type::U32);
  }
  inst.run = runCopy;
}

void mlir::moe::sim::addCopyOps(OpTable &ops) { ops["cp"] = decodeCopy; }
