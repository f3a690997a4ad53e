//===- Compare.cpp - setp and set -----------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "Lanes.h"

#include <cmath>

using namespace mlir::moe::sim;

namespace {
enum Compare : uint8_t {
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  Lo,
  Ls,
  Hi,
  Hs,
  Equ,
  Neu,
  Ltu,
  Leu,
  Gtu,
  Geu,
  Num,
  IsNaN
};
enum Combine : uint8_t { Nothing, And, Or, Xor };
} // namespace

static bool compareFloat(uint8_t op, double a, double b) {
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (op) {
  case Eq:
    return a == b;
  case Ne:
    return !unordered && a != b;
  case Lt:
    return a < b;
  case Le:
    return a <= b;
  case Gt:
    return a > b;
  case Ge:
    return a >= b;
  case Equ:
    return unordered || a == b;
  case Neu:
    return unordered || a != b;
  case Ltu:
    return unordered || a < b;
  case Leu:
    return unordered || a <= b;
  case Gtu:
    return unordered || a > b;
  case Geu:
    return unordered || a >= b;
  case Num:
    return !unordered;
  default:
    return unordered;
  }
}

template <typename T> static bool compareInteger(uint8_t op, T a, T b) {
  switch (op) {
  case Eq:
    return a == b;
  case Ne:
    return a != b;
  case Lt:
  case Lo:
    return a < b;
  case Le:
  case Ls:
    return a <= b;
  case Gt:
  case Hi:
    return a > b;
  default:
    return a >= b;
  }
}

static bool compare(const Inst &inst, uint64_t a, uint64_t b) {
  Type type = getElementType(inst.type);
  unsigned up = 64 - getBits(type);
  if (isFloat(type)) {
    auto value = [&](uint64_t bits) {
      if (type == Type::F64)
        return asDouble(bits);
      double value = decodeFloat(static_cast<uint32_t>(bits), type);
      if (inst.ftz && type == Type::F32 && std::fabs(value) < 0x1p-126)
        value = 0;
      return value;
    };
    return compareFloat(inst.op, value(a), value(b));
  }
  // lo, ls, hi and hs are unsigned whatever the type.
  if (isSigned(type) && !(inst.op >= Lo && inst.op <= Hs))
    return compareInteger<int64_t>(inst.op, static_cast<int64_t>(a << up),
                                   static_cast<int64_t>(b << up));
  return compareInteger<uint64_t>(inst.op, a << up, b << up);
}

static bool combine(uint8_t op, bool a, bool b) {
  return op == And ? a && b : op == Or ? a || b : op == Xor ? a != b : a;
}

/// setp d|q, a, b, c: d = (a op b) with c; q = not (a op b) with c. Packed
/// halves give the lower to d and the upper to q.
static void runSetp(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[3][32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *b = warp.read(inst, 1, mask, buffers[1]);
  const uint64_t *c =
      inst.op2 != Nothing ? warp.read(inst, 2, mask, buffers[2]) : nullptr;
  uint64_t first[32], second[32];
  bool packed = isPacked(inst.type);
  forLanes(mask, [&](int lane) {
    bool with = c && c[lane];
    bool low = packed ? compare(inst, a[lane] & 0xffff, b[lane] & 0xffff)
                      : compare(inst, a[lane], b[lane]);
    bool high = packed ? compare(inst, a[lane] >> 16, b[lane] >> 16) : !low;
    first[lane] = combine(inst.op2, low, with);
    second[lane] = combine(inst.op2, high, with);
  });
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = first[lane]; });
  if (inst.dst.size() > 1) {
    uint64_t *q = warp.write(inst.dst[1], mask);
    forLanes(mask, [&](int lane) { q[lane] = second[lane]; });
  }
}

static void runSet(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[3][32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *b = warp.read(inst, 1, mask, buffers[1]);
  const uint64_t *c =
      inst.op2 != Nothing ? warp.read(inst, 2, mask, buffers[2]) : nullptr;
  uint64_t *d = warp.write(inst.dst[0], mask);
  Type to = inst.type2;
  uint64_t one = isFloat(to)
                     ? encodeFloat(1, getElementType(to))
                     : (uint64_t(1) << getBits(to) / 2 << getBits(to) / 2) - 1;
  bool packed = isPacked(inst.type);
  forLanes(mask, [&](int lane) {
    bool with = c && c[lane];
    if (!packed) {
      d[lane] =
          combine(inst.op2, compare(inst, a[lane], b[lane]), with) ? one : 0;
      return;
    }
    bool low = combine(inst.op2,
                       compare(inst, a[lane] & 0xffff, b[lane] & 0xffff), with);
    bool high =
        combine(inst.op2, compare(inst, a[lane] >> 16, b[lane] >> 16), with);
    uint64_t half = isFloat(to) ? one : 0xffff;
    d[lane] = (low ? half : 0) | (high ? half << 16 : 0);
  });
}

static void decodeCompare(Decoder &d, bool isSet) {
  Inst &inst = d.inst;
  int op =
      d.takeAny({"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs",
                 "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
  if (op < 0) {
    d.fail("found '" + std::string(d.parsed.opcode) +
           "' without a comparison, expected one");
    return;
  }
  inst.op = static_cast<uint8_t>(op);
  inst.op2 = static_cast<uint8_t>(1 + d.takeAny({"and", "or", "xor"}));
  inst.ftz = d.take("ftz");
  if (isSet)
    inst.type2 = d.requireType();
  Type type = inst.type = d.requireType();
  if (!d.finish(inst.op2 == Nothing ? 3 : 4))
    return;
  if ((!isFloat(type) && op > Hs) || type == Type::Pred || getBits(type) > 64) {
    d.unmodelled();
    return;
  }
  const Operand &result = d.operand(0);
  if (isSet) {
    d.dst(0, inst.type2);
  } else if (result.kind == Operand::Kind::Pair) {
    d.dst(result.parts[0], Type::Pred);
    d.dst(result.parts[1], Type::Pred);
  } else {
    d.dst(0, Type::Pred);
  }
  d.src(1, type);
  d.src(2, type);
  if (inst.op2 != Nothing)
    d.src(3, Type::Pred);
  inst.run = isSet ? runSet : runSetp;
}

void mlir::moe::sim::addCompareOps(OpTable &ops) {
  ops["setp"] = [](Decoder &d) { decodeCompare(d, false); };
  ops["set"] = [](Decoder &d) { decodeCompare(d, true); };
}
