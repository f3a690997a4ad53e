//===- ChecksTest.cpp - Each defect is found, and no other ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SimulatorTest.h"

#include <gtest/gtest.h>

using namespace mlir::moe::sim;

static std::string check(const std::string &body, uint32_t threads = 32,
                         uint32_t blocks = 1) {
  return KernelRun(makeKernel(body), threads, blocks).findings();
}

// Thread t writes word t, reads word t + 32 (modulo the block).
static std::string exchange(const std::string &between) {
  return "shl.b32 %r1, %r0, 2; mov.u32 %r2, s; add.s32 %r3, %r2, %r1;\n"
         "st.shared.u32 [%r3], %r0;\n" +
         between +
         "\nadd.s32 %r4, %r1, 128; and.b32 %r4, %r4, 255;\n"
         "add.s32 %r4, %r4, %r2; ld.shared.u32 %r5, [%r4];\n";
}

TEST(Checks, SharedRaces) {
  EXPECT_EQ(check(exchange("bar.sync 0;"), 64), "");
  EXPECT_EQ(check(exchange("barrier.sync 1;"), 64), "");
  // Without a barrier the other warp's word may not even be written yet.
  EXPECT_EQ(check(exchange(""), 64), "uninitialized race race");
  // A barrier of each warp alone orders nothing.
  EXPECT_EQ(check(exchange("bar.warp.sync -1;"), 64),
            "uninitialized race race");
}

TEST(Checks, WriteAfterRead) {
  std::string read = "shl.b32 %r1, %r0, 2; mov.u32 %r2, s;\n"
                     "add.s32 %r3, %r2, %r1; st.shared.u32 [%r3], %r0;\n"
                     "bar.sync 0; ld.shared.u32 %r5, [s];\n";
  EXPECT_EQ(check(read + "bar.sync 0; st.shared.u32 [%r3], %r5;", 64), "");
  EXPECT_EQ(check(read + "st.shared.u32 [%r3], %r5;", 64), "race");
}

TEST(Checks, LanesOfAWarp) {
  std::string neighbour =
      "shl.b32 %r1, %r0, 2; mov.u32 %r2, s; add.s32 %r3, %r2, %r1;\n"
      "st.shared.u32 [%r3], %r0;\n";
  std::string read = "xor.b32 %r4, %r1, 4; add.s32 %r4, %r4, %r2;\n"
                     "ld.shared.u32 %r5, [%r4];\n";
  EXPECT_EQ(check(neighbour + "bar.warp.sync 0xffffffff;\n" + read), "");
  EXPECT_EQ(check(neighbour + read), "race");
}

TEST(Checks, OneInstruction) {
  // The same value to the same word is no race within an instruction.
  EXPECT_EQ(check("st.shared.u32 [s], 7;"), "");
  EXPECT_EQ(check("st.shared.u32 [s], %r0;"), "race");
}

TEST(Checks, GlobalRaces) {
  // Two blocks write the same word.
  EXPECT_EQ(check("mov.u32 %r1, %ctaid.x; st.global.u32 [%rd0], %r1;", 1, 2),
            "race");
  EXPECT_EQ(check("red.global.add.u32 [%rd0], 1;", 32, 4), "");
  // A read in one block, a write in another.
  EXPECT_EQ(check("mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 0;\n"
                  "@%p1 ld.global.u32 %r2, [%rd0];\n"
                  "@!%p1 st.global.u32 [%rd0], %r1;",
                  1, 2),
            "race");
}

TEST(Checks, Flags) {
  // Block 0 writes data and a flag; block 1 spins on the flag.
  auto handOver = [](const char *fenceA, const char *fenceB) {
    return std::string("mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 1;\n"
                       "@%p1 bra WRITER;\n"
                       "SPIN: ld.volatile.global.u32 %r2, [%rd0+64];\n"
                       "setp.eq.u32 %p2, %r2, 0; @%p2 bra SPIN;\n") +
           fenceB +
           "ld.global.u32 %r3, [%rd0]; bra DONE;\n"
           "WRITER: st.global.u32 [%rd0], 5;\n" +
           fenceA +
           "st.volatile.global.u32 [%rd0+64], 1;\n"
           "DONE:";
  };
  EXPECT_EQ(check(handOver("membar.gl;\n", "membar.gl;\n"), 1, 2), "");
  EXPECT_EQ(check(handOver("", "membar.gl;\n"), 1, 2), "race");
  EXPECT_EQ(check(handOver("membar.gl;\n", ""), 1, 2), "race");
}

TEST(Checks, Addresses) {
  EXPECT_EQ(check("ld.global.u32 %r1, [%rd0+1024];"), "out-of-bounds");
  EXPECT_EQ(check("ld.global.u32 %r1, [%rd0-4];"), "out-of-bounds");
  EXPECT_EQ(check("ld.global.u32 %r1, [%rd0+2];"), "misaligned");
  EXPECT_EQ(check("ld.global.v4.u32 {%r1,%r2,%r3,%r4}, [%rd0+8];"),
            "misaligned");
  EXPECT_EQ(check("st.shared.u32 [s+4096], %r0;"), "out-of-bounds");
  EXPECT_EQ(check("mov.u32 %r1, -4; st.shared.u32 [%r1], %r0;"),
            "out-of-bounds");
  EXPECT_EQ(check("mov.u64 %rd1, 0; ld.u32 %r1, [%rd1];"), "out-of-bounds");
}

TEST(Checks, Uninitialized) {
  EXPECT_EQ(check("ld.shared.u32 %r1, [s];"), "uninitialized");
  EXPECT_EQ(check("add.s32 %r1, %r2, 1;"), "uninitialized");
  EXPECT_EQ(check("@%p1 add.s32 %r1, %r0, 1;"), "uninitialized");
  // Copies of what is undefined are not a use of it.
  EXPECT_EQ(check("mov.u32 %r1, %r2; mov.b64 %rd1, {%r0, %r1};"), "");
  EXPECT_EQ(check("mov.u32 %r1, %r2; add.s32 %r3, %r1, 1;"), "uninitialized");
}

TEST(Checks, Barriers) {
  std::string divergent = "setp.lt.u32 %p1, %r0, 16; @%p1 bra A;\n"
                          "bar.sync 0; bra B;\nA: bar.sync 0;\nB:\n";
  EXPECT_NE(check(divergent).find("deadlock"), std::string::npos);
  EXPECT_EQ(check("setp.lt.u32 %p1, %r0, 16; @%p1 bar.sync 0;"),
            "barrier deadlock");
  // Warp 1 never comes.
  EXPECT_EQ(
      check("setp.lt.u32 %p1, %r0, 32; @%p1 bra A; bar.sync 1, 64;\nA:", 64),
      "deadlock");
  EXPECT_EQ(check("bar.sync 0, 33;"), "barrier");
  EXPECT_EQ(check("bar.sync 16;"), "barrier");
  EXPECT_EQ(check("setp.lt.u32 %p1, %r0, 16; @%p1 bra A;\n"
                  "shfl.sync.idx.b32 %r1, %r0, 0, 31, -1;\nA:\n"),
            "barrier");
}

TEST(Checks, CopiesOfCpAsync) {
  std::string copy = "shl.b32 %r1, %r0, 4; mov.u32 %r2, s;\n"
                     "add.s32 %r2, %r2, %r1; cvt.u64.u32 %rd1, %r1;\n"
                     "add.s64 %rd1, %rd0, %rd1;\n"
                     "cp.async.cg.shared.global [%r2], [%rd1], 16;\n";
  std::string read = "ld.shared.u32 %r3, [%r2];\n";
  EXPECT_EQ(
      check(copy + "cp.async.commit_group; cp.async.wait_group 0;" + read), "");
  EXPECT_EQ(check(copy + "cp.async.wait_all;" + read), "");
  EXPECT_EQ(check(copy + read), "unwaited-copy");
  EXPECT_EQ(
      check(copy + "cp.async.commit_group; cp.async.wait_group 1;" + read),
      "unwaited-copy");
  EXPECT_EQ(check(copy + "cp.async.wait_group 0;" + read), "unwaited-copy");
  // The wait is the copying thread's: others need a barrier after it.
  std::string other = "ld.shared.u32 %r3, [s];\n";
  EXPECT_EQ(check(copy + "cp.async.wait_all; bar.sync 0;" + other, 64), "");
  EXPECT_EQ(check(copy + "bar.sync 0; cp.async.wait_all;" + other, 64),
            "unwaited-copy race");
}

TEST(Checks, Limits) {
  KernelRun endless(makeKernel("ret;"));
  endless.device.options.maxInstructions = 1000;
  std::string error;
  LoadedModule *module =
      endless.device.load("k.ptx", makeKernel("A: bra A;"), error);
  ASSERT_TRUE(module);
  LaunchReport report;
  ASSERT_TRUE(endless.device.launch(*module->kernels[0], LaunchConfig(),
                                    std::vector<uint8_t>(8), report, error));
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].kind, Finding::Kind::Limit);
}

TEST(Checks, TextOfAFinding) {
  KernelRun run(makeKernel("st.shared.u32 [s+4096], %r0;"));
  ASSERT_EQ(run.report.findings.size(), 1u);
  EXPECT_EQ(run.report.findings[0].format(),
            "k.ptx:10: out-of-bounds: kernel 'k', block (0,0,0), thread "
            "(0,0,0), shared 0x1000: accesses 4 bytes outside of the 4096 "
            "bytes of shared memory (and 31 times more)");
}
