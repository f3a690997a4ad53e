//===- HalfConversionsTest.cpp - 16-bit conversions against a table -------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "gtest/gtest.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

// Under these names the compiler's own support code would be as welcome to the
// linker; declared in C as in HalfConversions.c.
extern "C" {
float __extendhfsf2(float);
float __truncsfhf2(float);
float __truncdfhf2(double);
float __truncsfbf2(float);
float __truncdfbf2(double);
}

namespace {
uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// The value of a 16-bit pattern by the definition of IEEE 754.
double valueOf(uint32_t pattern, int exponentBits) {
  int mantissaBits = 15 - exponentBits, bias = (1 << (exponentBits - 1)) - 1;
  uint32_t mantissa = pattern & ((1u << mantissaBits) - 1);
  int exponent = pattern >> mantissaBits & ((1 << exponentBits) - 1);
  double value;
  if (exponent == (1 << exponentBits) - 1)
    value = mantissa ? NAN : INFINITY;
  else if (exponent == 0)
    value = std::ldexp(mantissa, 1 - bias - mantissaBits);
  else
    value = std::ldexp((1 << mantissaBits) + mantissa,
                       exponent - bias - mantissaBits);
  return pattern >> 15 ? -value : value;
}

/// The pattern nearest to `value`, ties to even, from the table of all.
uint32_t nearest(double value, int exponentBits) {
  uint32_t sign = std::signbit(value) ? 0x8000 : 0;
  double magnitude = std::fabs(value);
  uint32_t infinity = ((1u << exponentBits) - 1) << (15 - exponentBits);
  uint32_t low = 0, high = infinity; // valueOf(low) <= magnitude
  while (high - low > 1) {
    uint32_t middle = (low + high) / 2;
    (valueOf(middle, exponentBits) <= magnitude ? low : high) = middle;
  }
  double below = valueOf(low, exponentBits);
  // The value that would follow the largest one, for overflow.
  double above = high == infinity ? 2 * below - valueOf(low - 1, exponentBits)
                                  : valueOf(high, exponentBits);
  double down = magnitude - below, up = above - magnitude;
  if (std::isinf(magnitude) || up < down || (up == down && low % 2))
    return sign | high;
  return sign | low;
}

std::vector<float> interesting() {
  std::vector<float> values;
  for (uint32_t exponent = 0; exponent < 256; ++exponent)
    for (uint32_t mantissa :
         {0u, 1u, 0xfffu, 0x1000u, 0x1001u, 0x1fffu, 0x2000u, 0x3000u, 0x7fffu,
          0x8000u, 0x8001u, 0x18000u, 0x400000u, 0x7fe000u, 0x7ff000u,
          0x7fffffu})
      for (uint32_t sign : {0u, 1u})
        values.push_back(fromBits(sign << 31 | exponent << 23 | mantissa));
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i)
    values.push_back(fromBits(random()));
  for (int i = 0; i < 20000; ++i) // where f16 has its values
    values.push_back(std::ldexp(static_cast<float>(random()) - 0x1p31f,
                                static_cast<int>(random() % 48) - 58));
  return values;
}
} // namespace

TEST(HalfConversionsTest, ExtendsEveryHalf) {
  for (uint32_t pattern = 0; pattern < 0x10000; ++pattern) {
    // What lies above the 16 bits is undefined.
    float got = __extendhfsf2(fromBits(pattern | 0xabcd0000));
    double want = valueOf(pattern, 5);
    if (std::isnan(want))
      EXPECT_TRUE(std::isnan(got)) << pattern;
    else
      ASSERT_EQ(static_cast<double>(got), want) << pattern;
    EXPECT_EQ(std::signbit(got), pattern >> 15 != 0);
  }
}

TEST(HalfConversionsTest, TruncatesToTheNearest) {
  for (float value : interesting()) {
    uint32_t half = bitsOf(__truncsfhf2(value)) & 0xffff;
    uint32_t bfloat = bitsOf(__truncsfbf2(value)) & 0xffff;
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(valueOf(half, 5)));
      EXPECT_TRUE(std::isnan(valueOf(bfloat, 8)));
      continue;
    }
    ASSERT_EQ(half, nearest(value, 5)) << value;
    ASSERT_EQ(bfloat, nearest(value, 8)) << value;
  }
}

TEST(HalfConversionsTest, TruncatesDoublesInOneRounding) {
  std::vector<double> values;
  for (float value : interesting())
    for (double off : {0.0, 0x1p-40, -0x1p-40}) // near the ties of f32
      values.push_back(static_cast<double>(value) * (1 + off));
  values.push_back(1e300);
  values.push_back(-1e-300);
  for (double value : values) {
    if (std::isnan(value))
      continue;
    ASSERT_EQ(bitsOf(__truncdfhf2(value)) & 0xffff, nearest(value, 5)) << value;
    ASSERT_EQ(bitsOf(__truncdfbf2(value)) & 0xffff, nearest(value, 8)) << value;
  }
}
