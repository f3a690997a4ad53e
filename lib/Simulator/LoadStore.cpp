//===- LoadStore.cpp - ld and st ------------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "Decoder.h"
#include "Memory.h"
#include "Sync.h"

#include <algorithm>

using namespace mlir::moe::sim;

namespace {
enum : uint32_t { Strong = 1 };
} // namespace

/// Where strong accesses leave what they release: shared or global.
static Space getTarget(const Inst &inst, uint64_t &address) {
  if (inst.space == Space::Shared)
    return Space::Shared;
  if (inst.space == Space::Generic && address >> 32 << 32 == sharedWindow) {
    address -= sharedWindow;
    return Space::Shared;
  }
  return Space::Global;
}

static uint64_t extend(uint64_t value, Type type, unsigned held) {
  unsigned bits = getBits(type);
  if (isSigned(type) && held > bits) {
    value = static_cast<uint64_t>(static_cast<int64_t>(value << (64 - bits)) >>
                                  (64 - bits));
    return held == 64 ? value : value & ((uint64_t(1) << held) - 1);
  }
  return value;
}

static void runLoad(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32];
  uint8_t *places[32];
  getAddresses(warp, inst, mask, addresses);
  unsigned element = getBits(inst.type) / 8;
  Access how;
  how.bytes = element * inst.count;
  how.strong = inst.flags & Strong;
  if (how.strong) {
    forLanes(mask, [&](int lane) {
      uint64_t address = addresses[lane];
      Space space = getTarget(inst, address);
      strongRead(warp, space, address, static_cast<Order>(inst.op));
    });
    warp.yield(); // others may be the ones to write
  }
  access(warp, inst, mask, addresses, inst.space, how, places);
  for (uint32_t i = 0; i < inst.count; ++i) {
    const Dst &dst = inst.dst[i];
    uint64_t *d = warp.write(dst, mask);
    forLanes(mask, [&](int lane) {
      uint64_t value = 0;
      if (places[lane])
        std::memcpy(&value, places[lane] + i * element, element);
      d[lane] = extend(value, inst.type, dst.bits);
    });
  }
}

static void runStore(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32];
  uint8_t *places[32];
  getAddresses(warp, inst, mask, addresses);
  unsigned element = getBits(inst.type) / 8;
  uint8_t values[32 * 64];
  Access how;
  how.kind = Access::Write;
  how.bytes = element * inst.count;
  how.strong = inst.flags & Strong;
  how.values = values;
  for (uint32_t i = 0; i < inst.count; ++i) {
    uint64_t buffer[32];
    const uint64_t *a = warp.read(inst, i, mask, buffer);
    forLanes(mask, [&](int lane) {
      std::memcpy(values + lane * how.bytes + i * element, &a[lane], element);
    });
  }
  if (how.strong)
    forLanes(mask, [&](int lane) {
      uint64_t address = addresses[lane];
      Space space = getTarget(inst, address);
      strongWrite(warp, space, address, static_cast<Order>(inst.op));
    });
  access(warp, inst, mask, addresses, inst.space, how, places);
}

/// .relaxed .acquire .release .volatile and their scopes.
static void takeOrder(Decoder &d) {
  switch (d.takeAny(
      {"weak", "volatile", "relaxed", "acquire", "release", "mmio"})) {
  case 1:
  case 2:
  case 5:
    d.inst.op = static_cast<uint8_t>(Order::Relaxed);
    d.inst.flags |= Strong;
    break;
  case 3:
    d.inst.op = static_cast<uint8_t>(Order::Acquire);
    d.inst.flags |= Strong;
    break;
  case 4:
    d.inst.op = static_cast<uint8_t>(Order::Release);
    d.inst.flags |= Strong;
    break;
  default:
    break;
  }
  d.take("relaxed"); // mmio.relaxed
  d.takeAny({"cta", "cluster", "gpu", "sys"});
}

static Space takeSpace(Decoder &d) {
  switch (
      d.takeAny({"global", "shared", "shared::cta", "shared::cluster", "local",
                 "const", "param", "param::entry", "param::func"})) {
  case 0:
    return Space::Global;
  case 1:
  case 2:
  case 3:
    return Space::Shared;
  case 4:
    return Space::Local;
  case 5:
    return Space::Const;
  case 6:
  case 7:
  case 8:
    return Space::Param;
  default:
    return Space::Generic;
  }
}

/// Cache operators and hints change no value. True if a cache policy follows.
static bool takeHints(Decoder &d) {
  d.takeAny({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  d.take("nc");
  d.take("unified");
  while (d.takeAny({"L1::evict_normal", "L1::evict_unchanged",
                    "L1::evict_first", "L1::evict_last", "L1::no_allocate",
                    "L2::evict_normal", "L2::evict_first", "L2::evict_last",
                    "L2::64B", "L2::128B", "L2::256B"}) >= 0)
    ;
  return d.take("L2::cache_hint");
}

static bool takeVector(Decoder &d) {
  int vector = d.takeAny({"v2", "v4", "v8"});
  d.inst.count = vector < 0 ? 1 : 2u << vector;
  Type type = d.inst.type = d.requireType();
  if (type == Type::Pred || getBits(type) > 64 ||
      getBits(type) * d.inst.count > 256) {
    d.unmodelled();
    return false;
  }
  return true;
}

static void decodeLoad(Decoder &d) {
  takeOrder(d);
  Space space = takeSpace(d);
  bool policy = takeHints(d);
  if (!takeVector(d) || !d.finish(policy ? 3 : 2))
    return;
  d.dstVector(0, d.inst.type, d.inst.count, true);
  d.address(1, space);
  d.inst.run = runLoad;
}

static void decodeStore(Decoder &d) {
  takeOrder(d);
  Space space = takeSpace(d);
  bool policy = takeHints(d);
  if (!takeVector(d) || !d.finish(policy ? 3 : 2))
    return;
  d.address(0, space);
  d.srcVector(1, d.inst.type, d.inst.count, true);
  if (d.error.empty() &&
      (d.inst.space == Space::Const || d.inst.space == Space::Param)) {
    d.fail("found a store to " + std::string(getSpaceName(d.inst.space)) +
           " memory, expected memory that can be written");
    return;
  }
  d.inst.run = runStore;
}

void mlir::moe::sim::addLoadStoreOps(OpTable &ops) {
  ops["ld"] = ops["ldu"] = decodeLoad;
  ops["st"] = decodeStore;
  ops["createpolicy"] = [](Decoder &d) {
    // The policy is a hint: any value does.
    d.take("fractional");
    while (d.takeAny({"L2::evict_last", "L2::evict_first", "L2::evict_normal",
                      "L2::evict_unchanged", "b64"}) >= 0)
      ;
    if (!d.finish(1, 2))
      return;
    d.dst(0, Type::B64);
    d.inst.run = [](Warp &warp, const Inst &inst, Mask mask) {
      uint64_t *result = warp.write(inst.dst[0], mask);
      forLanes(mask, [&](int lane) { result[lane] = 0; });
    };
  };
}
