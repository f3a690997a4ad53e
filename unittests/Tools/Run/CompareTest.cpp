//===- CompareTest.cpp - Results against expectations ---------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Compare.h"
#include "gtest/gtest.h"

#include <cmath>
#include <limits>
#include <vector>

using namespace mlir::moe;

namespace {
const int64_t two[] = {2}, oneByTwo[] = {1, 2};

template <typename T>
moe_tensor tensor(std::vector<T> &data, moe_dtype dtype,
                  const int64_t *shape = two, int32_t rank = 1) {
  return {data.data(), dtype, rank, shape, nullptr, 0};
}
} // namespace

TEST(CompareTest, ToleranceScalesWithTheLargestExpected) {
  std::vector<float> expected = {1000.0f, 1.0f}, near = {1000.05f, 1.09f},
                     far = {1000.0f, 1.11f};
  EXPECT_TRUE(
      compareTensors(tensor(near, MOE_F32), tensor(expected, MOE_F32), 1e-4)
          .success);
  Comparison result =
      compareTensors(tensor(far, MOE_F32), tensor(expected, MOE_F32), 1e-4);
  EXPECT_FALSE(result.success);
  EXPECT_EQ(result.text, "largest difference 0.110000014 at [1] (1.11000001, "
                         "expected 1), limit 0.1");
  std::vector<float> small = {0.0f, 0.5f}, other = {0.0f, 0.50005f};
  EXPECT_TRUE(
      compareTensors(tensor(other, MOE_F32), tensor(small, MOE_F32), 1e-4)
          .success);
}

TEST(CompareTest, NonFinite) {
  float inf = std::numeric_limits<float>::infinity(), nan = NAN;
  auto same = [](float a, float b) {
    std::vector<float> x = {a, 0}, y = {b, 0};
    return compareTensors(tensor(x, MOE_F32), tensor(y, MOE_F32), 1e30).success;
  };
  EXPECT_TRUE(same(inf, inf));
  EXPECT_TRUE(same(nan, nan));
  EXPECT_FALSE(same(inf, -inf));
  EXPECT_FALSE(same(nan, 1));
  EXPECT_FALSE(same(1, nan));
  EXPECT_FALSE(same(inf, 1));
  EXPECT_FALSE(same(1, inf));
}

TEST(CompareTest, AcrossTypes) {
  std::vector<float> f32 = {-1.5f, 0.0009765625f};
  std::vector<uint16_t> bf16 = {0xbfc0, 0x3a80}, f16 = {0xbe00, 0x1400};
  EXPECT_TRUE(
      compareTensors(tensor(bf16, MOE_BF16), tensor(f32, MOE_F32), 0).success);
  EXPECT_TRUE(
      compareTensors(tensor(f16, MOE_F16), tensor(f32, MOE_F32), 0).success);
  std::vector<uint16_t> subnormal = {0x0001, 0x7c00};
  std::vector<double> f64 = {std::ldexp(1.0, -24), INFINITY};
  EXPECT_TRUE(
      compareTensors(tensor(subnormal, MOE_F16), tensor(f64, MOE_F64), 0)
          .success);
  std::vector<int64_t> big = {INT64_MAX, 0}, bigger = {INT64_MAX - 1, 0};
  EXPECT_FALSE(
      compareTensors(tensor(big, MOE_I64), tensor(bigger, MOE_I64), 0).success);
}

TEST(CompareTest, ShapesMustAgree) {
  std::vector<float> data = {1, 2};
  Comparison result = compareTensors(tensor(data, MOE_F32),
                                     tensor(data, MOE_F32, oneByTwo, 2), 1);
  EXPECT_FALSE(result.success);
  EXPECT_EQ(result.text, "has shape [2], expected [1, 2]");
}
