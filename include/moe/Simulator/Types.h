//===- Types.h - Types of PTX and their numbers -----------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// PTX's types, and the conversions between floating-point formats with every
// rounding mode: each goes through a double that was rounded to odd, so that
// the second rounding is exact for all formats of up to 32 bits.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_SIMULATOR_TYPES_H
#define MOE_SIMULATOR_TYPES_H

#include <cstdint>
#include <cstring>
#include <string_view>

namespace mlir::moe::sim {

enum class Type : uint8_t {
  None,
  Pred,
  B8,
  B16,
  B32,
  B64,
  B128,
  U8,
  U16,
  U32,
  U64,
  S8,
  S16,
  S32,
  S64,
  U16x2,
  S16x2,
  F16,
  F16x2,
  BF16,
  BF16x2,
  TF32,
  F32,
  F32x2,
  F64,
  E4M3,
  E5M2,
  E4M3x2,
  E5M2x2
};

const char *getTypeName(Type type);
/// Type::None if there is no such type.
Type parseType(std::string_view name);
unsigned getBits(Type type); ///< of a predicate: 1
bool isSigned(Type type);
bool isFloat(Type type);   ///< f16, bf16, tf32, f32, f64 and the 8-bit ones
bool isInteger(Type type); ///< u or s, not b
bool isPacked(Type type);
Type getElementType(Type packed);

enum class Rounding : uint8_t { Nearest, Zero, Down, Up, Away };

struct FloatFormat {
  int mantissaBits, exponentBits;
  bool finiteOnly; ///< e4m3: no infinity, one NaN
};
FloatFormat getFormat(Type type);

/// The bits of `value` in a format of at most 32 bits. `saturate` clamps to the
/// largest finite number (satfinite).
uint32_t encodeFloat(double value, Type type,
                     Rounding rounding = Rounding::Nearest,
                     bool saturate = false);
double decodeFloat(uint32_t bits, Type type);

/// Sum, product-sum, quotient and root rounded to odd: inexact results have
/// their last bit set, so a further rounding sees on which side they lie.
double addToOdd(double a, double b);
double fmaToOdd(double a, double b, double c); ///< a * b must be exact
double divToOdd(double a, double b);
double sqrtToOdd(double a);

inline float asFloat(uint64_t bits) {
  uint32_t low = static_cast<uint32_t>(bits);
  float value;
  std::memcpy(&value, &low, 4);
  return value;
}
inline uint64_t asBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
inline double asDouble(uint64_t bits) {
  double value;
  std::memcpy(&value, &bits, 8);
  return value;
}
inline uint64_t asBits(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, 8);
  return bits;
}

} // namespace mlir::moe::sim

#endif // MOE_SIMULATOR_TYPES_H
