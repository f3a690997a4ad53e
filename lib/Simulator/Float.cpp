//===- Float.cpp - Floating-point arithmetic ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Correctly rounded where PTX says so. The .approx functions give the correctly
// rounded result too: hardware is within the error that PTX states of it, but
// not equal to it.
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "Lanes.h"

#include <cfenv>
#include <cmath>

using namespace mlir::moe::sim;

namespace {
enum Op : uint8_t {
  Add,
  Sub,
  Mul,
  Fma,
  Div,
  Min,
  Max,
  Abs,
  Neg,
  Sqrt,
  Rcp,
  Rsqrt,
  Sin,
  Cos,
  Lg2,
  Ex2,
  Tanh
};
/// Flags of an instruction.
enum : uint32_t { NaN = 1, Approximate = 2, XorSign = 4 };
} // namespace

//===----------------------------------------------------------------------===//
// One result
//===----------------------------------------------------------------------===//

static int getRoundingMode(Rounding rounding) {
  switch (rounding) {
  case Rounding::Zero:
    return FE_TOWARDZERO;
  case Rounding::Down:
    return FE_DOWNWARD;
  case Rounding::Up:
    return FE_UPWARD;
  default:
    return FE_TONEAREST;
  }
}

static double minMax(const Inst &inst, double a, double b) {
  if (std::isnan(a) || std::isnan(b)) {
    if ((inst.flags & NaN) || (std::isnan(a) && std::isnan(b)))
      return NAN;
    return std::isnan(a) ? b : a;
  }
  if (inst.flags & XorSign) {
    bool sign = std::signbit(a) != std::signbit(b);
    double value = inst.op == Min ? std::fmin(std::fabs(a), std::fabs(b))
                                  : std::fmax(std::fabs(a), std::fabs(b));
    return sign ? -value : value;
  }
  if (a == b) // -0 is less than +0
    return (inst.op == Min) == std::signbit(a) ? a : b;
  return (a < b) == (inst.op == Min) ? a : b;
}

/// The exact result, or one rounded to odd, of operands of at most 32 bits.
static double compute(const Inst &inst, double a, double b, double c) {
  auto zero = [&](double sum, double x, double y) {
    if (sum == 0 && x == -y && x != 0 && inst.rounding == Rounding::Down)
      return -0.0;
    return sum;
  };
  switch (inst.op) {
  case Add:
    return zero(addToOdd(a, b), a, b);
  case Sub:
    return zero(addToOdd(a, -b), a, -b);
  case Mul:
    return a * b;
  case Fma:
    return zero(fmaToOdd(a, b, c), a * b, c);
  case Div:
    return divToOdd(a, b);
  case Min:
  case Max:
    return minMax(inst, a, b);
  case Abs:
    return std::fabs(a);
  case Neg:
    return -a;
  case Sqrt:
    return sqrtToOdd(a);
  case Rcp:
    return divToOdd(1, a);
  case Rsqrt:
    return 1 / std::sqrt(a);
  case Sin:
    return std::sin(a);
  case Cos:
    return std::cos(a);
  case Lg2:
    return std::log2(a);
  case Ex2:
    return std::exp2(a);
  default:
    return std::tanh(a);
  }
}

static double computeDouble(const Inst &inst, double first, double second,
                            double third) {
  // Volatile, so that the rounding mode applies where it is set.
  volatile double a = first, b = second, c = third, result = 0;
  int mode = getRoundingMode(inst.rounding);
  if (mode != FE_TONEAREST)
    std::fesetround(mode);
  switch (inst.op) {
  case Add:
    result = a + b;
    break;
  case Sub:
    result = a - b;
    break;
  case Mul:
    result = a * b;
    break;
  case Fma:
    result = std::fma(a, b, c);
    break;
  case Div:
    result = a / b;
    break;
  case Sqrt:
    result = std::sqrt(a);
    break;
  case Rcp:
    result = 1 / a;
    break;
  default:
    result = compute(inst, a, b, c);
  }
  if (mode != FE_TONEAREST)
    std::fesetround(FE_TONEAREST);
  double value = result;
  if ((inst.flags & Approximate) && std::isfinite(value))
    value = asDouble(asBits(value) >> 32 << 32);
  return value;
}

static float flush(float value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value)
                                                : value;
}

static float finish(const Inst &inst, float value) {
  if (inst.ftz)
    value = flush(value);
  if (inst.saturate)
    value = !(value > 0) ? 0 : value > 1 ? 1 : value;
  return value;
}

static uint64_t bitsOf(float value) {
  return std::isnan(value) ? 0x7fffffff : asBits(value);
}

static uint64_t computeSingle(const Inst &inst, float a, float b, float c) {
  if (inst.ftz) {
    a = flush(a);
    b = flush(b);
    c = flush(c);
  }
  if (inst.op == Abs)
    return asBits(a) & 0x7fffffff;
  if (inst.op == Neg)
    return asBits(a) ^ 0x80000000;
  float value;
  // The common cases are the host's own operations.
  if (inst.rounding == Rounding::Nearest && inst.op == Add)
    value = a + b;
  else if (inst.rounding == Rounding::Nearest && inst.op == Sub)
    value = a - b;
  else if (inst.rounding == Rounding::Nearest && inst.op == Mul)
    value = a * b;
  else if (inst.rounding == Rounding::Nearest && inst.op == Fma)
    value = std::fma(a, b, c);
  else
    value =
        asFloat(encodeFloat(compute(inst, a, b, c), Type::F32, inst.rounding));
  return bitsOf(finish(inst, value));
}

/// f16 and bf16.
static uint64_t computeHalf(const Inst &inst, Type type, uint64_t a, uint64_t b,
                            uint64_t c) {
  if (inst.op == Abs)
    return a & 0x7fff;
  if (inst.op == Neg)
    return (a & 0xffff) ^ 0x8000;
  auto decode = [&](uint64_t bits) {
    double value = decodeFloat(static_cast<uint32_t>(bits & 0xffff), type);
    bool subnormal = type == Type::F16 ? std::fabs(value) < 0x1p-14
                                       : std::fabs(value) < 0x1p-126;
    return inst.ftz && subnormal ? std::copysign(0.0, value) : value;
  };
  double value = compute(inst, decode(a), decode(b), decode(c));
  if (inst.relu && value < 0)
    value = 0;
  if (inst.saturate)
    value = !(value > 0) ? 0 : value > 1 ? 1 : value;
  uint64_t bits = encodeFloat(value, type, inst.rounding);
  if (inst.ftz && !(bits & (type == Type::F16 ? 0x7c00 : 0x7f80)))
    bits &= 0x8000;
  return bits;
}

namespace {
struct Single {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    return computeSingle(inst, asFloat(a), asFloat(b), asFloat(c));
  }
};
struct Double {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    if (inst.op == Abs)
      return a & ~(uint64_t(1) << 63);
    if (inst.op == Neg)
      return a ^ uint64_t(1) << 63;
    return asBits(computeDouble(inst, asDouble(a), asDouble(b), asDouble(c)));
  }
};
struct Half {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    return computeHalf(inst, inst.type, a, b, c);
  }
};
struct TwoHalves {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    Type type = getElementType(inst.type);
    return computeHalf(inst, type, a, b, c) |
           computeHalf(inst, type, a >> 16, b >> 16, c >> 16) << 16;
  }
};
} // namespace

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

static void decodeAs(Decoder &d, Type type, Op op, size_t sources) {
  d.inst.op = op;
  d.inst.type = type;
  if (!d.finish(sources + 1))
    return;
  d.dst(0, type);
  for (size_t i = 1; i <= sources; ++i)
    d.src(i, type);
  switch (type) {
  case Type::F32:
    d.inst.run = bitsLanes<Single>;
    break;
  case Type::F64:
    d.inst.run = bitsLanes<Double>;
    break;
  case Type::F16:
  case Type::BF16:
    d.inst.run = bitsLanes<Half>;
    break;
  case Type::F16x2:
  case Type::BF16x2:
    d.inst.run = bitsLanes<TwoHalves>;
    break;
  default:
    d.unmodelled();
  }
}

static void takeCommon(Decoder &d) {
  d.takeRounding();
  d.inst.ftz |= d.take("ftz");
  d.inst.saturate |= d.take("sat");
}

void mlir::moe::sim::decodeFloatAdd(Decoder &d, Type type, bool isSub) {
  takeCommon(d);
  decodeAs(d, type, isSub ? Sub : Add, 2);
}

void mlir::moe::sim::decodeFloatMul(Decoder &d, Type type, bool isMad) {
  takeCommon(d);
  decodeAs(d, type, isMad ? Fma : Mul, isMad ? 3 : 2);
}

void mlir::moe::sim::decodeFloatMinMax(Decoder &d, Type type, bool isMax) {
  takeCommon(d);
  if (d.take("NaN"))
    d.inst.flags |= NaN;
  if (d.take("xorsign") && d.take("abs"))
    d.inst.flags |= XorSign;
  if (d.size() == 4) { // three operands are of sm_100
    d.unmodelled();
    return;
  }
  decodeAs(d, type, isMax ? Max : Min, 2);
}

void mlir::moe::sim::decodeFloatUnary(Decoder &d, Type type, bool isAbs) {
  decodeAs(d, type, isAbs ? Abs : Neg, 1);
}

void mlir::moe::sim::decodeFloatDiv(Decoder &d, Type type) {
  d.takeAny({"approx", "full"});
  takeCommon(d);
  decodeAs(d, type, Div, 2);
}

template <Op op> static void decodeFunction(Decoder &d) {
  bool approximate = d.take("approx");
  takeCommon(d);
  Type type = d.requireType();
  if (approximate && type == Type::F64)
    d.inst.flags |= Approximate;
  decodeAs(d, type, op, 1);
}

static void runCopySign(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[2][32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *b = warp.read(inst, 1, mask, buffers[1]);
  uint64_t sign = uint64_t(1) << (getBits(inst.type) - 1);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask,
           [&](int lane) { d[lane] = (a[lane] & sign) | (b[lane] & ~sign); });
}

static void runTest(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  const uint64_t *a = warp.read(inst, 0, mask, buffer);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) {
    int what = inst.type == Type::F64 ? std::fpclassify(asDouble(a[lane]))
                                      : std::fpclassify(asFloat(a[lane]));
    bool result = false;
    switch (inst.op) {
    case 0:
      result = what != FP_NAN && what != FP_INFINITE;
      break;
    case 1:
      result = what == FP_INFINITE;
      break;
    case 2:
      result = what != FP_NAN;
      break;
    case 3:
      result = what == FP_NAN;
      break;
    case 4:
      result = what == FP_NORMAL || what == FP_ZERO;
      break;
    default:
      result = what == FP_SUBNORMAL;
    }
    d[lane] = result;
  });
}

void mlir::moe::sim::addFloatOps(OpTable &ops) {
  ops["fma"] = [](Decoder &d) {
    takeCommon(d);
    d.inst.relu = d.take("relu");
    decodeAs(d, d.requireType(), Fma, 3);
  };
  ops["sqrt"] = decodeFunction<Sqrt>;
  ops["rcp"] = decodeFunction<Rcp>;
  ops["rsqrt"] = decodeFunction<Rsqrt>;
  ops["sin"] = decodeFunction<Sin>;
  ops["cos"] = decodeFunction<Cos>;
  ops["lg2"] = decodeFunction<Lg2>;
  ops["ex2"] = decodeFunction<Ex2>;
  ops["tanh"] = decodeFunction<Tanh>;
  ops["copysign"] = [](Decoder &d) {
    Type type = d.inst.type = d.requireType();
    if (!d.finish(3))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.src(2, type);
    d.inst.run = runCopySign;
  };
  ops["testp"] = [](Decoder &d) {
    int which = d.takeAny(
        {"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
    Type type = d.inst.type = d.requireType();
    if (which < 0 || (type != Type::F32 && type != Type::F64))
      d.unmodelled();
    d.inst.op = static_cast<uint8_t>(which);
    if (!d.finish(2))
      return;
    d.dst(0, Type::Pred);
    d.src(1, type);
    d.inst.run = runTest;
  };
}
