//===- CountersTest.cpp - Counters of known accesses ----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SimulatorTest.h"

#include <gtest/gtest.h>

using namespace mlir::moe::sim;

/// The sums over all instructions.
static Counters count(const std::string &body, uint32_t threads = 32) {
  KernelRun run(makeKernel(body), threads);
  EXPECT_EQ(run.findings(), "");
  Counters total;
  for (const Counters &c : run.report.counters) {
    total.globalSectors += c.globalSectors;
    total.globalIdeal += c.globalIdeal;
    total.sharedCycles += c.sharedCycles;
    total.sharedIdeal += c.sharedIdeal;
  }
  return total;
}

static std::string atStride(unsigned bytes, const std::string &rest) {
  return "mul.wide.u32 %rd1, %r0, " + std::to_string(bytes) +
         "; add.s64 %rd2, %rd1, %rd0; cvt.u32.u64 %r1, %rd1;\n"
         "mov.u32 %r2, s; add.s32 %r2, %r2, %r1;\n" +
         rest;
}

TEST(Counters, Sectors) {
  Counters c = count(atStride(4, "ld.global.u32 %r3, [%rd2];"));
  EXPECT_EQ(c.globalSectors, 4u);
  EXPECT_EQ(c.globalIdeal, 4u);
  c = count(atStride(32, "ld.global.u32 %r3, [%rd2];"));
  EXPECT_EQ(c.globalSectors, 32u);
  EXPECT_EQ(c.globalIdeal, 4u);
  c = count("ld.global.u32 %r3, [%rd0+60];");
  EXPECT_EQ(c.globalSectors, 1u);
  EXPECT_EQ(c.globalIdeal, 1u);
  c = count(atStride(16, "ld.global.v4.u32 {%r3,%r4,%r5,%r6}, [%rd2];"));
  EXPECT_EQ(c.globalSectors, 16u);
}

TEST(Counters, Banks) {
  EXPECT_EQ(count(atStride(4, "st.shared.u32 [%r2], %r0;")).sharedCycles, 1u);
  EXPECT_EQ(count(atStride(8, "st.shared.u32 [%r2], %r0;")).sharedCycles, 2u);
  EXPECT_EQ(count(atStride(128, "st.shared.u32 [%r2], %r0;")).sharedCycles,
            32u);
  EXPECT_EQ(count(atStride(128, "st.shared.u32 [%r2], %r0;")).sharedIdeal, 1u);
  // 16 bytes of each lane are four phases of eight lanes.
  Counters c =
      count(atStride(16, "st.shared.v4.u32 [%r2], {%r0,%r0,%r0,%r0};"));
  EXPECT_EQ(c.sharedCycles, 4u);
  EXPECT_EQ(c.sharedIdeal, 4u);
  // One word for all is a broadcast.
  EXPECT_EQ(count("st.shared.u32 [s], 1; bar.warp.sync -1;\n"
                  "ld.shared.u32 %r1, [s];")
                .sharedCycles,
            2u);
}

TEST(Counters, Divergence) {
  KernelRun run(
      makeKernel("setp.lt.u32 %p1, %r0, 8; @%p1 bra A; mov.u32 %r1, 1;\n"
                 "bra B;\nA: mov.u32 %r1, 2;\nB: mov.u32 %r2, %r1;"));
  EXPECT_EQ(run.findings(), "");
  std::vector<uint64_t> lanes;
  for (const Counters &c : run.report.counters)
    lanes.push_back(c.lanes);
  // ld, mov, setp, bra, mov, bra, mov, mov, ret
  EXPECT_EQ(lanes, (std::vector<uint64_t>{32, 32, 32, 8, 24, 24, 8, 32, 32}));
}
