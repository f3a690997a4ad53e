//===- WarpOps.cpp - Exchanges between lanes ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "Machine.h"

#include <algorithm>

using namespace mlir::moe::sim;

namespace {
enum ShuffleOp : uint8_t { Up, Down, Butterfly, Index };
enum VoteOp : uint8_t { All, Any, Uniform, Ballot };
enum ReduceOp : uint8_t { Add, Min, Max, And, Or, Xor };
} // namespace

//===----------------------------------------------------------------------===//
// shfl
//===----------------------------------------------------------------------===//

static void runShuffle(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[4][32], values[32], results[32], valid[32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *b = warp.read(inst, 1, mask, buffers[1]);
  const uint64_t *c = warp.read(inst, 2, mask, buffers[2]);
  const uint64_t *members = warp.read(inst, 3, mask, buffers[3]);
  std::copy(a, a + 32, values);
  forLanes(mask, [&](int lane) {
    int amount = b[lane] & 31, clamp = c[lane] & 31,
        segment = c[lane] >> 8 & 31;
    int most = (lane & segment) | (clamp & ~segment), least = lane & segment;
    int from = lane;
    bool ok = false;
    switch (inst.op) {
    case Up:
      from = lane - amount;
      ok = from >= most;
      break;
    case Down:
      from = lane + amount;
      ok = from <= most;
      break;
    case Butterfly:
      from = lane ^ amount;
      ok = from <= most;
      break;
    case Index:
      from = least | (amount & ~segment);
      ok = from <= most;
      break;
    }
    if (!ok)
      from = lane;
    Mask taking = mask & static_cast<Mask>(members[lane]);
    if (!(taking >> from & 1))
      warp.grid.find(Finding::Kind::Barrier, warp, inst, lane,
                     "takes the value of lane " + std::to_string(from) +
                         ", which does not take part");
    results[lane] = values[from];
    valid[lane] = ok;
  });
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = results[lane]; });
  if (inst.dst.size() > 1) {
    uint64_t *p = warp.write(inst.dst[1], mask);
    forLanes(mask, [&](int lane) { p[lane] = valid[lane]; });
  }
}

/// d or d|p
static void takeResults(Decoder &d, Type type) {
  const Operand &result = d.operand(0);
  if (result.kind != Operand::Kind::Pair)
    return d.dst(0, type);
  d.dst(result.parts[0], type);
  d.dst(result.parts[1], Type::Pred);
}

static void requireSync(Decoder &d) {
  if (!d.take("sync"))
    d.fail("found '" + std::string(d.parsed.opcode) +
           "' without .sync, which targets since sm_70 do not have");
}

static void decodeShuffle(Decoder &d) {
  requireSync(d);
  int op = d.takeAny({"up", "down", "bfly", "idx"});
  if (op < 0 || !d.take("b32"))
    d.unmodelled();
  d.inst.op = static_cast<uint8_t>(op);
  if (!d.finish(5))
    return;
  takeResults(d, Type::B32);
  for (size_t i = 1; i < 5; ++i)
    d.src(i, Type::B32);
  d.inst.converge = Converge::Members;
  d.inst.run = runShuffle;
}

//===----------------------------------------------------------------------===//
// vote, match, redux, elect, activemask
//===----------------------------------------------------------------------===//

static void runVote(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[2][32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *members = warp.read(inst, 1, mask, buffers[1]);
  Mask votes = 0;
  forLanes(mask, [&](int lane) { votes |= Mask(a[lane] != 0) << lane; });
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) {
    Mask taking = mask & static_cast<Mask>(members[lane]);
    Mask yes = votes & taking;
    switch (inst.op) {
    case All:
      d[lane] = yes == taking;
      break;
    case Any:
      d[lane] = yes != 0;
      break;
    case Uniform:
      d[lane] = yes == taking || yes == 0;
      break;
    default:
      d[lane] = yes;
    }
  });
}

static void decodeVote(Decoder &d) {
  requireSync(d);
  int op = d.takeAny({"all", "any", "uni", "ballot"});
  d.inst.op = static_cast<uint8_t>(op);
  if (op < 0 || !d.take(op == Ballot ? "b32" : "pred"))
    d.unmodelled();
  if (!d.finish(3))
    return;
  d.dst(0, op == Ballot ? Type::B32 : Type::Pred);
  d.src(1, Type::Pred);
  d.src(2, Type::B32);
  d.inst.converge = Converge::Members;
  d.inst.run = runVote;
}

static void runMatch(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[2][32], results[32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *members = warp.read(inst, 1, mask, buffers[1]);
  bool all = true;
  forLanes(mask, [&](int lane) {
    Mask taking = mask & static_cast<Mask>(members[lane]), same = 0;
    forLanes(taking,
             [&](int other) { same |= Mask(a[other] == a[lane]) << other; });
    all &= same == taking;
    results[lane] = same;
  });
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask,
           [&](int lane) { d[lane] = inst.op && !all ? 0 : results[lane]; });
  if (inst.dst.size() > 1) {
    uint64_t *p = warp.write(inst.dst[1], mask);
    forLanes(mask, [&](int lane) { p[lane] = all; });
  }
}

static void runReduce(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[2][32], results[32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *members = warp.read(inst, 1, mask, buffers[1]);
  bool sign = isSigned(inst.type);
  forLanes(mask, [&](int lane) {
    bool first = true;
    uint32_t sum = 0;
    forLanes(mask & static_cast<Mask>(members[lane]), [&](int other) {
      uint32_t value = static_cast<uint32_t>(a[other]);
      bool less = sign ? static_cast<int32_t>(value) < static_cast<int32_t>(sum)
                       : value < sum;
      if (first)
        sum = value;
      else if (inst.op == Add)
        sum += value;
      else if (inst.op == Min)
        sum = less ? value : sum;
      else if (inst.op == Max)
        sum = less ? sum : value;
      else if (inst.op == And)
        sum &= value;
      else if (inst.op == Or)
        sum |= value;
      else
        sum ^= value;
      first = false;
    });
    results[lane] = sum;
  });
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = results[lane]; });
}

static void runElect(Warp &warp, const Inst &inst, Mask mask) {
  int leader = __builtin_ctz(mask);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = static_cast<uint64_t>(leader); });
  uint64_t *p = warp.write(inst.dst[1], mask);
  forLanes(mask, [&](int lane) { p[lane] = lane == leader; });
}

void mlir::moe::sim::addWarpOps(OpTable &ops) {
  ops["shfl"] = decodeShuffle;
  ops["vote"] = decodeVote;
  ops["match"] = [](Decoder &d) {
    int op = d.takeAny({"any", "all"});
    requireSync(d);
    d.inst.op = static_cast<uint8_t>(op);
    Type type = d.requireType();
    if (op < 0)
      d.unmodelled();
    if (!d.finish(3))
      return;
    takeResults(d, Type::B32);
    d.src(1, type);
    d.src(2, Type::B32);
    d.inst.converge = Converge::Members;
    d.inst.run = runMatch;
  };
  ops["redux"] = [](Decoder &d) {
    requireSync(d);
    int op = d.takeAny({"add", "min", "max", "and", "or", "xor"});
    Type type = d.inst.type = d.requireType();
    if (op < 0 || isFloat(type) || getBits(type) != 32)
      d.unmodelled();
    d.inst.op = static_cast<uint8_t>(op);
    if (!d.finish(3))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.src(2, Type::B32);
    d.inst.converge = Converge::Members;
    d.inst.run = runReduce;
  };
  ops["elect"] = [](Decoder &d) {
    requireSync(d);
    if (!d.finish(2))
      return;
    if (d.operand(0).kind != Operand::Kind::Pair) {
      d.fail("found 'elect.sync' with one result, expected d|p");
      return;
    }
    takeResults(d, Type::B32);
    d.src(1, Type::B32);
    d.inst.converge = Converge::Members;
    d.inst.run = runElect;
  };
  ops["activemask"] = [](Decoder &d) {
    d.take("b32");
    if (!d.finish(1))
      return;
    d.dst(0, Type::B32);
    d.inst.run = [](Warp &warp, const Inst &inst, Mask mask) {
      uint64_t *result = warp.write(inst.dst[0], mask);
      forLanes(mask, [&](int lane) { result[lane] = mask; });
    };
  };
}
