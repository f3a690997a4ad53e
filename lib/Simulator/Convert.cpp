//===- Convert.cpp - cvt --------------------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "Lanes.h"

#include <algorithm>
#include <cmath>

using namespace mlir::moe::sim;

/// Flags: round to an integer; saturate to finite values.
namespace {
enum : uint32_t { ToInteger = 1, SatFinite = 2 };
} // namespace

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

static __int128 readInteger(uint64_t bits, Type type) {
  unsigned up = 64 - getBits(type);
  if (isSigned(type))
    return static_cast<int64_t>(bits << up) >> up;
  return bits << up >> up;
}

static double readFloat(const Inst &inst, uint64_t bits, Type type) {
  if (type == Type::F64)
    return asDouble(bits);
  double value = decodeFloat(static_cast<uint32_t>(bits), type);
  if (inst.ftz && type == Type::F32 && std::fabs(value) < 0x1p-126)
    return std::copysign(0.0, value);
  return value;
}

/// The nearest representable integer, sign-extended to 64 bits.
static uint64_t clampInteger(__int128 value, Type type) {
  unsigned bits = getBits(type);
  __int128 low = isSigned(type) ? -(static_cast<__int128>(1) << (bits - 1)) : 0;
  __int128 high =
      (static_cast<__int128>(1) << (isSigned(type) ? bits - 1 : bits)) - 1;
  return static_cast<uint64_t>(std::min(high, std::max(low, value)));
}

static double roundToInteger(double value, Rounding rounding) {
  switch (rounding) {
  case Rounding::Zero:
    return std::trunc(value);
  case Rounding::Down:
    return std::floor(value);
  case Rounding::Up:
    return std::ceil(value);
  default:
    return std::nearbyint(value);
  }
}

static uint64_t floatToInteger(const Inst &inst, double value, Type type) {
  if (std::isnan(value))
    return getBits(type) == 64 ? uint64_t(1) << 63 : 0;
  value = roundToInteger(value, inst.rounding);
  // Beyond 2^70 all is clamped.
  value = std::min(0x1p70, std::max(-0x1p70, value));
  return clampInteger(static_cast<__int128>(value), type);
}

static uint64_t writeFloat(const Inst &inst, double value, Type type) {
  if (inst.saturate)
    value = !(value > 0) ? 0 : value > 1 ? 1 : value;
  if (inst.relu && value < 0)
    value = 0;
  if (type == Type::F64)
    return asBits(value);
  uint64_t bits =
      encodeFloat(value, type, inst.rounding, inst.flags & SatFinite);
  if (inst.ftz && type == Type::F32 && !(bits & 0x7f800000))
    bits &= 0x80000000;
  return bits;
}

static double integerToDouble(__int128 value) {
  // Two exact halves, rounded to odd for the rounding that follows.
  __int128 high = (value >> 32) * (__int128(1) << 32);
  return addToOdd(static_cast<double>(high), static_cast<double>(value - high));
}

static uint64_t convert(const Inst &inst, uint64_t a) {
  Type to = inst.type, from = inst.type2;
  if (!isFloat(from)) {
    __int128 value = readInteger(a, from);
    if (!isFloat(to))
      return inst.saturate ? clampInteger(value, to)
                           : static_cast<uint64_t>(value);
    if (to == Type::F64)
      return asBits(static_cast<double>(value));
    return writeFloat(inst, integerToDouble(value), to);
  }
  double value = readFloat(inst, a, from);
  if (!isFloat(to))
    return floatToInteger(inst, value, to);
  if (inst.flags & ToInteger)
    value = roundToInteger(value, inst.rounding);
  return writeFloat(inst, value, to);
}

//===----------------------------------------------------------------------===//
// Handlers
//===----------------------------------------------------------------------===//

static void runConvert(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  const uint64_t *a = warp.read(inst, 0, mask, buffer);
  uint64_t *d = warp.write(inst.dst[0], mask);
  // The result fills its register, by sign if it has one.
  unsigned held = inst.dst[0].bits ? inst.dst[0].bits : 64;
  unsigned type = getBits(inst.type);
  forLanes(mask, [&](int lane) {
    uint64_t value = convert(inst, a[lane]) << (64 - type);
    value =
        isSigned(inst.type)
            ? static_cast<uint64_t>(static_cast<int64_t>(value) >> (64 - type))
            : value >> (64 - type);
    d[lane] = value << (64 - held) >> (64 - held);
  });
}

/// Two singles to a pair; the first operand becomes the upper half.
static void runPack(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[2][32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *b = warp.read(inst, 1, mask, buffers[1]);
  uint64_t *d = warp.write(inst.dst[0], mask);
  Type element = getElementType(inst.type);
  unsigned bits = getBits(element);
  forLanes(mask, [&](int lane) {
    d[lane] = writeFloat(inst, readFloat(inst, a[lane], Type::F32), element)
                  << bits |
              writeFloat(inst, readFloat(inst, b[lane], Type::F32), element);
  });
}

/// A pair to a pair of another format.
static void runPairs(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  const uint64_t *a = warp.read(inst, 0, mask, buffer);
  uint64_t *d = warp.write(inst.dst[0], mask);
  Type to = getElementType(inst.type), from = getElementType(inst.type2);
  unsigned bitsTo = getBits(to), bitsFrom = getBits(from);
  forLanes(mask, [&](int lane) {
    uint64_t low = a[lane] & ((1u << bitsFrom) - 1);
    uint64_t high = a[lane] >> bitsFrom & ((1u << bitsFrom) - 1);
    d[lane] = writeFloat(inst, readFloat(inst, low, from), to) |
              writeFloat(inst, readFloat(inst, high, from), to) << bitsTo;
  });
}

static void decodeConvert(Decoder &d) {
  Inst &inst = d.inst;
  switch (
      d.takeAny({"rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "rna"})) {
  case 4:
    inst.flags |= ToInteger;
    break;
  case 5:
    inst.flags |= ToInteger;
    [[fallthrough]];
  case 1:
    inst.rounding = Rounding::Zero;
    break;
  case 6:
    inst.flags |= ToInteger;
    [[fallthrough]];
  case 2:
    inst.rounding = Rounding::Down;
    break;
  case 7:
    inst.flags |= ToInteger;
    [[fallthrough]];
  case 3:
    inst.rounding = Rounding::Up;
    break;
  case 8:
    inst.rounding = Rounding::Away;
    break;
  default:
    break;
  }
  inst.ftz = d.take("ftz");
  inst.saturate = d.take("sat");
  inst.relu = d.take("relu");
  if (d.take("satfinite"))
    inst.flags |= SatFinite;
  Type to = inst.type = d.requireType();
  Type from = inst.type2 = d.requireType();
  if (!d.finish(2, 3))
    return;
  if (isPacked(to)) {
    bool fromSingles = from == Type::F32 && d.size() == 3;
    if (!isFloat(to) || (!fromSingles && (!isPacked(from) || d.size() != 2))) {
      d.unmodelled();
      return;
    }
    d.dst(0, to);
    d.src(1, from);
    if (fromSingles)
      d.src(2, from);
    inst.run = fromSingles ? runPack : runPairs;
    return;
  }
  bool single8 = getBits(to) == 8 && isFloat(to);
  if (d.size() != 2 || isPacked(from) || single8 || getBits(to) > 64 ||
      getBits(from) > 64 || to == Type::Pred || from == Type::Pred) {
    d.unmodelled();
    return;
  }
  // Rounding a 64-bit integer to f64 otherwise would need more than a double.
  if (to == Type::F64 && !isFloat(from) && getBits(from) == 64 &&
      inst.rounding != Rounding::Nearest) {
    d.unmodelled();
    return;
  }
  // Registers may be wider than the types of integers.
  d.dst(0, to, !isFloat(to));
  d.src(1, from, !isFloat(from));
  inst.run = runConvert;
}

void mlir::moe::sim::addConvertOps(OpTable &ops) { ops["cvt"] = decodeConvert; }
