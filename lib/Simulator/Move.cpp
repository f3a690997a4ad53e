//===- Move.cpp - Moves, selections and addresses -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "Lanes.h"

using namespace mlir::moe::sim;

//===----------------------------------------------------------------------===//
// mov
//===----------------------------------------------------------------------===//

/// Moves carry what was never written along, without a finding: compilers copy
/// undefined values freely.
static void runMove(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  const uint64_t *a = warp.read(inst, inst.src[0], mask, buffer, true);
  Mask known = warp.definedLanes(inst.src[0]);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = a[lane]; });
  if (inst.dst[0].id != Dst::none)
    warp.defined[inst.dst[0].id] &= ~mask | known;
}

/// mov.b64 d, {a, b}: the first part is the lowest.
static void runJoin(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t result[32] = {}, buffer[32];
  unsigned width = getBits(inst.type) / inst.count;
  Mask known = allLanes;
  for (uint32_t i = 0; i < inst.count; ++i) {
    const uint64_t *part = warp.read(inst, inst.src[i], mask, buffer, true);
    known &= warp.definedLanes(inst.src[i]);
    forLanes(mask, [&](int lane) { result[lane] |= part[lane] << width * i; });
  }
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = result[lane]; });
  if (inst.dst[0].id != Dst::none)
    warp.defined[inst.dst[0].id] &= ~mask | known;
}

static void runSplit(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32], whole[32];
  const uint64_t *a = warp.read(inst, inst.src[0], mask, buffer, true);
  Mask known = warp.definedLanes(inst.src[0]);
  std::copy(a, a + 32, whole);
  unsigned width = getBits(inst.type) / inst.count;
  uint64_t low = (uint64_t(1) << width) - 1;
  for (uint32_t i = 0; i < inst.count; ++i) {
    uint64_t *d = warp.write(inst.dst[i], mask);
    forLanes(mask, [&](int lane) { d[lane] = whole[lane] >> width * i & low; });
    if (inst.dst[i].id != Dst::none)
      warp.defined[inst.dst[i].id] &= ~mask | known;
  }
}

static Type getPartType(unsigned bits) {
  return bits == 8 ? Type::B8 : bits == 16 ? Type::B16 : Type::B32;
}

static void decodeMove(Decoder &d) {
  Type type = d.inst.type = d.requireType();
  if (!d.finish(2))
    return;
  unsigned bits = getBits(type);
  if (bits > 64) {
    d.unmodelled();
    return;
  }
  for (size_t side = 0; side < 2; ++side) {
    const Operand &list = d.operand(side);
    if (list.kind != Operand::Kind::Vector)
      continue;
    size_t count = list.parts.size();
    if ((count != 2 && count != 4) || bits / count < 8) {
      d.fail("found a list of " + std::to_string(count) +
             " operands, expected 2 or 4");
      return;
    }
    d.inst.count = static_cast<uint32_t>(count);
    Type part = getPartType(bits / static_cast<unsigned>(count));
    if (side == 0) {
      d.dstVector(0, part, count, part == Type::B8);
      d.src(1, type);
      d.inst.run = runSplit;
    } else {
      d.srcVector(1, part, count);
      d.dst(0, type);
      d.inst.run = runJoin;
    }
    return;
  }
  d.dst(0, type);
  d.src(1, type);
  d.inst.run = runMove;
}

//===----------------------------------------------------------------------===//
// cvta, isspacep, mapa
//===----------------------------------------------------------------------===//

static uint64_t getWindow(Space space) {
  switch (space) {
  case Space::Shared:
    return sharedWindow;
  case Space::Local:
    return localWindow;
  case Space::Param:
    return paramWindow;
  default:
    return 0;
  }
}

static void runToGeneric(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32], window = getWindow(inst.space);
  const uint64_t *a = warp.read(inst, 0, mask, buffer);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = a[lane] + window; });
}

static void runFromGeneric(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32], window = getWindow(inst.space);
  const uint64_t *a = warp.read(inst, 0, mask, buffer);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = a[lane] - window; });
}

static bool takeSpace(Decoder &d, Space &space) {
  switch (d.takeAny({"global", "shared", "shared::cta", "shared::cluster",
                     "local", "const", "param", "param::entry"})) {
  case 0:
    space = Space::Global;
    return true;
  case 1:
  case 2:
  case 3: // a cluster is one block
    space = Space::Shared;
    return true;
  case 4:
    space = Space::Local;
    return true;
  case 5:
    space = Space::Const;
    return true;
  case 6:
  case 7:
    space = Space::Param;
    return true;
  default:
    return d.fail("found '" + std::string(d.parsed.opcode) +
                  "' without a state space, expected one");
  }
}

static void decodeCvta(Decoder &d) {
  bool from = d.take("to");
  if (!takeSpace(d, d.inst.space))
    return;
  Type type = d.requireType();
  if (!d.finish(2))
    return;
  if (getBits(type) != 64) {
    d.fail("found a 32-bit address conversion, expected .u64");
    return;
  }
  d.dst(0, type);
  d.src(1, type);
  d.inst.run = from ? runFromGeneric : runToGeneric;
}

static void runIsSpace(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  const uint64_t *a = warp.read(inst, 0, mask, buffer);
  uint64_t *d = warp.write(inst.dst[0], mask);
  uint64_t window = getWindow(inst.space);
  forLanes(mask, [&](int lane) {
    uint64_t of = a[lane] >> 32 << 32;
    bool isGlobal = a[lane] >= globalBase;
    d[lane] = window ? of == window : isGlobal;
  });
}

//===----------------------------------------------------------------------===//
// selp, slct, prmt
//===----------------------------------------------------------------------===//

static void runSelect(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[3][32];
  const uint64_t *a = warp.read(inst, inst.src[0], mask, buffers[0], true);
  const uint64_t *b = warp.read(inst, inst.src[1], mask, buffers[1], true);
  const uint64_t *p = warp.read(inst, 2, mask, buffers[2]);
  Mask knownA = warp.definedLanes(inst.src[0]);
  Mask knownB = warp.definedLanes(inst.src[1]), known = 0;
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) {
    known |= ((p[lane] ? knownA : knownB) >> lane & 1) << lane;
    d[lane] = p[lane] ? a[lane] : b[lane];
  });
  if (inst.dst[0].id != Dst::none)
    warp.defined[inst.dst[0].id] &= ~mask | known;
}

static void runSlct(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[3][32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *b = warp.read(inst, 1, mask, buffers[1]);
  const uint64_t *c = warp.read(inst, 2, mask, buffers[2]);
  uint64_t *d = warp.write(inst.dst[0], mask);
  bool real = inst.type2 == Type::F32;
  forLanes(mask, [&](int lane) {
    bool first =
        real ? asFloat(c[lane]) >= 0 : static_cast<int32_t>(c[lane]) >= 0;
    d[lane] = first ? a[lane] : b[lane];
  });
}

static uint64_t permute(unsigned mode, uint64_t a, uint64_t b, uint64_t c) {
  uint64_t bytes = (a & 0xffffffff) | b << 32;
  auto byte = [&](unsigned i) { return bytes >> (i & 7) * 8 & 0xff; };
  unsigned sel = c & 3;
  uint64_t result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    uint64_t value = 0;
    switch (mode) {
    case 0: { // default: a selector and a sign bit per byte
      unsigned selector = c >> i * 4 & 0xf;
      value = byte(selector & 7);
      if (selector & 8)
        value = value & 0x80 ? 0xff : 0;
      break;
    }
    case 1: // f4e
      value = byte(sel + i);
      break;
    case 2: // b4e
      value = byte((8 + sel - i) & 7);
      break;
    case 3: // rc8
      value = byte(sel);
      break;
    case 4: // ecl: clamped from the left
      value = byte(i < sel ? sel : i);
      break;
    case 5: // ecr
      value = byte(i > sel ? sel : i);
      break;
    case 6: // rc16
      value = byte((sel & 1) * 2 + (i & 1));
      break;
    }
    result |= value << i * 8;
  }
  return result;
}

namespace {
struct Permute {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    return permute(inst.op, a, b, c);
  }
};
} // namespace

void mlir::moe::sim::addMoveOps(OpTable &ops) {
  ops["mov"] = decodeMove;
  ops["cvta"] = decodeCvta;
  ops["isspacep"] = [](Decoder &d) {
    if (!takeSpace(d, d.inst.space) || !d.finish(2))
      return;
    d.dst(0, Type::Pred);
    d.src(1, Type::B64);
    d.inst.run = runIsSpace;
  };
  // Clusters have one block: its own address is the mapped one.
  ops["mapa"] = [](Decoder &d) {
    d.take("shared::cluster");
    Type type = d.requireType();
    if (!d.finish(3))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.inst.run = runMove;
  };
  ops["selp"] = [](Decoder &d) {
    Type type = d.requireType();
    if (!d.finish(4))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.src(2, type);
    d.src(3, Type::Pred);
    d.inst.run = runSelect;
  };
  ops["slct"] = [](Decoder &d) {
    d.take("ftz");
    Type type = d.requireType();
    d.inst.type2 = d.requireType();
    if (!d.finish(4))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.src(2, type);
    d.src(3, d.inst.type2);
    d.inst.run = runSlct;
  };
  ops["prmt"] = [](Decoder &d) {
    if (!d.take("b32"))
      d.unmodelled();
    d.inst.op = static_cast<uint8_t>(
        1 + d.takeAny({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"}));
    if (!d.finish(4))
      return;
    d.dst(0, Type::B32);
    for (size_t i = 1; i < 4; ++i)
      d.src(i, Type::B32);
    d.inst.run = bitsLanes<Permute>;
  };
}
