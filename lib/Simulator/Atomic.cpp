//===- Atomic.cpp - atom and red ------------------------------------------===//
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
#include <cmath>

using namespace mlir::moe::sim;

namespace {
enum Op : uint8_t { Add, Min, Max, Inc, Dec, And, Or, Xor, Exch, Cas };
} // namespace

static uint64_t updateFloat(uint8_t op, Type type, uint64_t old, uint64_t b) {
  if (type == Type::F64)
    return asBits(asDouble(old) + asDouble(b));
  if (type == Type::F32)
    return asBits(asFloat(old) + asFloat(b));
  double x = decodeFloat(static_cast<uint32_t>(old & 0xffff), type);
  double y = decodeFloat(static_cast<uint32_t>(b & 0xffff), type);
  double value = op == Add   ? addToOdd(x, y)
                 : op == Min ? std::fmin(x, y)
                             : std::fmax(x, y);
  return encodeFloat(value, type);
}

static uint64_t update(const Inst &inst, uint64_t old, uint64_t b, uint64_t c) {
  Type type = inst.type, element = getElementType(type);
  if (isFloat(type) && inst.op <= Max) {
    if (element == type)
      return updateFloat(inst.op, type, old, b);
    return updateFloat(inst.op, element, old, b) |
           updateFloat(inst.op, element, old >> 16, b >> 16) << 16;
  }
  unsigned up = 64 - getBits(type);
  bool less = isSigned(type) ? static_cast<int64_t>(b << up) <
                                   static_cast<int64_t>(old << up)
                             : b << up < old << up;
  switch (inst.op) {
  case Add:
    return old + b;
  case Min:
    return less ? b : old;
  case Max:
    return less ? old : b;
  case Inc:
    return old >= b ? 0 : old + 1;
  case Dec:
    return old == 0 || old > b ? b : old - 1;
  case And:
    return old & b;
  case Or:
    return old | b;
  case Xor:
    return old ^ b;
  case Exch:
    return b;
  default: // the value goes in if the old one is b
    return old << up >> up == b << up >> up ? c : old;
  }
}

static void runAtomic(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32], buffers[2][32];
  uint8_t *places[32];
  getAddresses(warp, inst, mask, addresses);
  const uint64_t *b = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *c =
      inst.op == Cas ? warp.read(inst, 1, mask, buffers[1]) : nullptr;
  uint64_t operands[2][32];
  std::copy(b, b + 32, operands[0]);
  if (c)
    std::copy(c, c + 32, operands[1]);
  unsigned bytes = getBits(inst.type) / 8;
  Access how;
  how.kind = Access::Atomic;
  how.bytes = bytes;
  how.strong = true;
  Order order = static_cast<Order>(inst.op2);
  auto each = [&](auto what) {
    forLanes(mask, [&](int lane) {
      uint64_t address = addresses[lane];
      Space space = Space::Global;
      if (inst.space == Space::Shared) {
        space = Space::Shared;
      } else if (address >> 32 << 32 == sharedWindow) {
        space = Space::Shared;
        address -= sharedWindow;
      }
      what(warp, space, address, order);
    });
  };
  each(strongRead);
  access(warp, inst, mask, addresses, inst.space, how, places);
  each(strongWrite);
  uint64_t *d = inst.dst.empty() ? nullptr : warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) {
    uint64_t old = 0;
    if (places[lane]) {
      std::memcpy(&old, places[lane], bytes);
      uint64_t next = update(inst, old, operands[0][lane], operands[1][lane]);
      std::memcpy(places[lane], &next, bytes);
    }
    if (d)
      d[lane] = old;
  });
  if (inst.op == Cas || inst.op == Exch)
    warp.yield(); // a lock: let its holder run
}

static void decodeAtomic(Decoder &d, bool returns) {
  Inst &inst = d.inst;
  inst.op2 = static_cast<uint8_t>(Order::Relaxed);
  switch (d.takeAny({"relaxed", "acquire", "release", "acq_rel"})) {
  case 1:
    inst.op2 = static_cast<uint8_t>(Order::Acquire);
    break;
  case 2:
    inst.op2 = static_cast<uint8_t>(Order::Release);
    break;
  case 3:
    inst.op2 = static_cast<uint8_t>(Order::AcquireRelease);
    break;
  default:
    break;
  }
  d.takeAny({"cta", "cluster", "gpu", "sys"});
  Space space = Space::Generic;
  switch (d.takeAny({"global", "shared", "shared::cta", "shared::cluster"})) {
  case 0:
    space = Space::Global;
    break;
  case 1:
  case 2:
  case 3:
    space = Space::Shared;
    break;
  default:
    break;
  }
  int op = d.takeAny(
      {"add", "min", "max", "inc", "dec", "and", "or", "xor", "exch", "cas"});
  d.take("noftz");
  bool policy = d.take("L2::cache_hint");
  Type type = inst.type = d.requireType();
  bool small = isFloat(type) && getBits(type) < 32;
  bool ok = op >= 0 && getBits(type) <= 64 && getBits(type) >= 16 &&
            type != Type::Pred && type != Type::F32x2;
  if (isFloat(type) && (op > Max || (op != Add && !small && !isPacked(type))))
    ok = false;
  if (!ok) {
    d.unmodelled();
    return;
  }
  inst.op = static_cast<uint8_t>(op);
  size_t first = returns ? 1 : 0;
  if (!d.finish(first + 2 + (op == Cas) + policy))
    return;
  if (returns)
    d.dst(0, type);
  d.address(first, space);
  d.src(first + 1, type);
  if (op == Cas)
    d.src(first + 2, type);
  inst.run = runAtomic;
}

void mlir::moe::sim::addAtomicOps(OpTable &ops) {
  ops["atom"] = [](Decoder &d) { decodeAtomic(d, true); };
  ops["red"] = [](Decoder &d) {
    if (d.take("async"))
      d.unmodelled();
    decodeAtomic(d, false);
  };
}
