//===- Types.cpp - Types of PTX and their numbers -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Simulator/Types.h"

#include <cmath>

using namespace mlir::moe::sim;

namespace {
struct TypeInfo {
  Type type;
  const char *name;
  unsigned bits;
};
} // namespace

static const TypeInfo types[] = {
    {Type::None, "none", 0},      {Type::Pred, "pred", 1},
    {Type::B8, "b8", 8},          {Type::B16, "b16", 16},
    {Type::B32, "b32", 32},       {Type::B64, "b64", 64},
    {Type::B128, "b128", 128},    {Type::U8, "u8", 8},
    {Type::U16, "u16", 16},       {Type::U32, "u32", 32},
    {Type::U64, "u64", 64},       {Type::S8, "s8", 8},
    {Type::S16, "s16", 16},       {Type::S32, "s32", 32},
    {Type::S64, "s64", 64},       {Type::U16x2, "u16x2", 32},
    {Type::S16x2, "s16x2", 32},   {Type::F16, "f16", 16},
    {Type::F16x2, "f16x2", 32},   {Type::BF16, "bf16", 16},
    {Type::BF16x2, "bf16x2", 32}, {Type::TF32, "tf32", 32},
    {Type::F32, "f32", 32},       {Type::F32x2, "f32x2", 64},
    {Type::F64, "f64", 64},       {Type::E4M3, "e4m3", 8},
    {Type::E5M2, "e5m2", 8},      {Type::E4M3x2, "e4m3x2", 16},
    {Type::E5M2x2, "e5m2x2", 16}};

const char *mlir::moe::sim::getTypeName(Type type) {
  return types[static_cast<unsigned>(type)].name;
}
unsigned mlir::moe::sim::getBits(Type type) {
  return types[static_cast<unsigned>(type)].bits;
}
Type mlir::moe::sim::parseType(std::string_view name) {
  for (const TypeInfo &info : types)
    if (info.type != Type::None && name == info.name)
      return info.type;
  return Type::None;
}
bool mlir::moe::sim::isSigned(Type type) {
  return (type >= Type::S8 && type <= Type::S64) || type == Type::S16x2;
}
bool mlir::moe::sim::isFloat(Type type) {
  return type >= Type::F16 && type <= Type::E5M2x2;
}
bool mlir::moe::sim::isInteger(Type type) {
  return type >= Type::U8 && type <= Type::S16x2;
}
bool mlir::moe::sim::isPacked(Type type) {
  return getElementType(type) != type;
}
Type mlir::moe::sim::getElementType(Type type) {
  switch (type) {
  case Type::U16x2:
    return Type::U16;
  case Type::S16x2:
    return Type::S16;
  case Type::F16x2:
    return Type::F16;
  case Type::BF16x2:
    return Type::BF16;
  case Type::F32x2:
    return Type::F32;
  case Type::E4M3x2:
    return Type::E4M3;
  case Type::E5M2x2:
    return Type::E5M2;
  default:
    return type;
  }
}

//===----------------------------------------------------------------------===//
// Floating-point formats
//===----------------------------------------------------------------------===//

FloatFormat mlir::moe::sim::getFormat(Type type) {
  switch (type) {
  case Type::F16:
    return {10, 5, false};
  case Type::BF16:
    return {7, 8, false};
  case Type::TF32:
    return {10, 8, false};
  case Type::E4M3:
    return {3, 4, true};
  case Type::E5M2:
    return {2, 5, false};
  default:
    return {23, 8, false};
  }
}

uint32_t mlir::moe::sim::encodeFloat(double value, Type type, Rounding rounding,
                                     bool saturate) {
  FloatFormat format = getFormat(type);
  int bits = format.mantissaBits, bias = (1 << (format.exponentBits - 1)) - 1;
  uint32_t sign = std::signbit(value) ? 1u : 0u;
  uint32_t infinity = ((1u << format.exponentBits) - 1) << bits;
  uint32_t largest =
      format.finiteOnly ? infinity + (1u << bits) - 2 : infinity - 1;
  uint32_t nan = format.finiteOnly ? largest + 1 : infinity + (1u << bits) - 1;
  unsigned width = 1 + format.exponentBits + bits;
  // tf32 occupies the upper bits of a 32-bit register.
  unsigned shift = type == Type::TF32 ? 13 : 0;
  auto make = [&](uint32_t magnitude) {
    return (sign << (width - 1) | magnitude) << shift;
  };
  // PTX's canonical NaNs have no sign.
  if (std::isnan(value))
    return nan << shift;
  double magnitude = std::fabs(value);
  if (std::isinf(magnitude))
    return make(saturate || format.finiteOnly ? (saturate ? largest : nan)
                                              : infinity);
  if (magnitude == 0)
    return make(0);

  int exponent;
  std::frexp(magnitude, &exponent); // magnitude = [0.5, 1) * 2^exponent
  int unit = exponent - 1;
  if (unit < 1 - bias)
    unit = 1 - bias;                                  // subnormal
  double scaled = std::ldexp(magnitude, bits - unit); // exact
  double whole = std::floor(scaled), rest = scaled - whole;
  bool up = false;
  switch (rounding) {
  case Rounding::Nearest:
    up = rest > 0.5 || (rest == 0.5 && std::fmod(whole, 2) != 0);
    break;
  case Rounding::Away:
    up = rest >= 0.5;
    break;
  case Rounding::Zero:
    break;
  case Rounding::Down:
    up = sign && rest > 0;
    break;
  case Rounding::Up:
    up = !sign && rest > 0;
    break;
  }
  uint64_t mantissa = static_cast<uint64_t>(whole) + up;
  // A carry out of the mantissa makes the exponent one larger by itself.
  uint64_t result = mantissa;
  if (mantissa >> bits)
    result = mantissa + (static_cast<uint64_t>(unit + bias - 1) << bits);
  if (result > largest) {
    bool toInfinity = rounding == Rounding::Nearest ||
                      rounding == Rounding::Away ||
                      (rounding == Rounding::Up && !sign) ||
                      (rounding == Rounding::Down && sign);
    if (saturate || !toInfinity)
      return make(largest);
    return format.finiteOnly ? make(nan) : make(infinity);
  }
  return make(static_cast<uint32_t>(result));
}

double mlir::moe::sim::decodeFloat(uint32_t bits, Type type) {
  if (type == Type::F32)
    return asFloat(bits);
  if (type == Type::BF16)
    return asFloat(static_cast<uint64_t>(bits & 0xffff) << 16);
  if (type == Type::TF32) // the tensor core ignores the lower bits
    return asFloat(bits & ~0x1fffu);
  FloatFormat format = getFormat(type);
  int mantissaBits = format.mantissaBits;
  int bias = (1 << (format.exponentBits - 1)) - 1;
  uint32_t mantissa = bits & ((1u << mantissaBits) - 1);
  uint32_t exponent = bits >> mantissaBits & ((1u << format.exponentBits) - 1);
  bool negative = bits >> (mantissaBits + format.exponentBits) & 1;
  double value;
  bool top = exponent == (1u << format.exponentBits) - 1;
  if (top && format.finiteOnly && mantissa == (1u << mantissaBits) - 1)
    value = NAN;
  else if (top && !format.finiteOnly)
    value = mantissa ? NAN : INFINITY;
  else if (exponent == 0)
    value = std::ldexp(mantissa, 1 - bias - mantissaBits);
  else
    value = std::ldexp(mantissa + (1u << mantissaBits),
                       static_cast<int>(exponent) - bias - mantissaBits);
  return negative ? -value : value;
}

/// Moves an inexact result to the neighbour with an odd last bit on the side of
/// the error, if its last bit is even.
static double toOdd(double value, double error) {
  if (error == 0 || !std::isfinite(value) || !std::isfinite(error))
    return value;
  uint64_t bits = asBits(value);
  if (bits & 1)
    return value;
  bool away = (error > 0) == (value > 0 || (value == 0 && error > 0));
  if (value == 0)
    return error > 0 ? asDouble(1) : -asDouble(1);
  return asDouble(away ? bits + 1 : bits - 1);
}

double mlir::moe::sim::addToOdd(double a, double b) {
  double sum = a + b;
  double virtualB = sum - a;
  double error = (a - (sum - virtualB)) + (b - virtualB); // Knuth's two-sum
  return toOdd(sum, error);
}
double mlir::moe::sim::fmaToOdd(double a, double b, double c) {
  return addToOdd(a * b, c);
}
double mlir::moe::sim::divToOdd(double a, double b) {
  double quotient = a / b;
  if (!std::isfinite(quotient) || b == 0 || std::isinf(b))
    return quotient;
  double remainder = std::fma(-quotient, b, a);
  return toOdd(quotient, b > 0 ? remainder : -remainder);
}
double mlir::moe::sim::sqrtToOdd(double a) {
  double root = std::sqrt(a);
  if (!std::isfinite(root) || root == 0)
    return root;
  return toOdd(root, std::fma(-root, root, a));
}
