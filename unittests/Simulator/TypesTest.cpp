//===- TypesTest.cpp - Roundings against definitions ----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Simulator/Types.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>
#include <random>

using namespace mlir::moe::sim;

TEST(Types, EveryHalfSurvives) {
  for (Type type : {Type::F16, Type::BF16, Type::E4M3, Type::E5M2}) {
    for (uint32_t bits = 0; bits < 1u << getBits(type); ++bits) {
      double value = decodeFloat(bits, type);
      if (!std::isnan(value))
        EXPECT_EQ(encodeFloat(value, type), bits) << getTypeName(type);
    }
  }
}

TEST(Types, RoundingOfSingles) {
  std::mt19937_64 random(3);
  const std::pair<Rounding, int> modes[] = {{Rounding::Nearest, FE_TONEAREST},
                                            {Rounding::Zero, FE_TOWARDZERO},
                                            {Rounding::Down, FE_DOWNWARD},
                                            {Rounding::Up, FE_UPWARD}};
  for (int i = 0; i < 20000; ++i) {
    float a = asFloat(random() & 0xffffffff), b = asFloat(random() >> 32);
    float c = asFloat(random() & 0xffffffff);
    if (!std::isfinite(a) || !std::isfinite(b) || !std::isfinite(c))
      continue;
    for (auto &[rounding, hostMode] : modes) {
      int mode = hostMode;
      Rounding how = rounding;
      volatile float x = a, y = b, z = c, sum, quotient, root, fused;
      std::fesetround(mode);
      sum = x + y;
      quotient = x / y;
      root = std::sqrt(std::fabs(x));
      fused = std::fma(x, y, z);
      std::fesetround(FE_TONEAREST);
      auto same = [&](double odd, float want) {
        if (std::isnan(want))
          return;
        EXPECT_EQ(encodeFloat(odd, Type::F32, how), asBits(want))
            << a << " " << b << " " << c << " mode " << mode;
      };
      same(addToOdd(a, b), sum);
      same(divToOdd(a, b), quotient);
      same(sqrtToOdd(std::fabs(a)), root);
      same(fmaToOdd(a, b, c), fused);
    }
  }
}

TEST(Types, Saturation) {
  EXPECT_EQ(encodeFloat(1e9, Type::E4M3, Rounding::Nearest, true), 0x7eu);
  EXPECT_EQ(encodeFloat(-1e9, Type::E5M2, Rounding::Nearest, true), 0xfbu);
  EXPECT_EQ(encodeFloat(65520, Type::F16), 0x7c00u);
  EXPECT_EQ(encodeFloat(65520, Type::F16, Rounding::Zero), 0x7bffu);
  EXPECT_EQ(encodeFloat(std::ldexp(1, -25), Type::F16), 0u);
  EXPECT_EQ(encodeFloat(std::ldexp(1.1, -25), Type::F16), 1u);
}
