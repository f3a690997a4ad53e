//===- AsyncTest.cpp - mbarriers and wgmma's checks -----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SimulatorTest.h"

#include <gtest/gtest.h>

using namespace mlir::moe::sim;

static std::string check(const std::string &body, uint32_t threads = 32) {
  return KernelRun(makeKernel(body, "sm_90a"), threads).findings();
}

static const char *const init = "setp.ne.u32 %p1, %r0, 0; @%p1 bra INIT;\n"
                                "mbarrier.init.shared.b64 [s+512], 1;\nINIT:\n";

/// Thread 0 copies 256 bytes to s, with 256 expected.
static std::string makeCopy(const std::string &fence,
                            const std::string &expected = "256") {
  return init + fence +
         "bar.sync 0; @%p1 bra COPIED;\n"
         "mbarrier.arrive.expect_tx.shared.b64 _, [s+512], " +
         expected +
         ";\n"
         "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
         "[s], [%rd0], 256, [s+512];\nCOPIED:\n";
}

static const char *const fence = "fence.proxy.async.shared::cta;\n";
static const char *const waitFull =
    "WAIT: mbarrier.try_wait.parity.shared.b64 %p2, [s+512], 0;\n"
    "@!%p2 bra WAIT;\n";
static const char *const readCopy = "ld.shared.u32 %r1, [s];\n";

TEST(Async, BulkCopies) {
  EXPECT_EQ(check(makeCopy(fence) + waitFull + readCopy, 64), "");
  // Which of the defects shows depends on who comes first.
  EXPECT_NE(check(makeCopy(fence) + readCopy, 64), "");
  EXPECT_EQ(check(makeCopy("") + waitFull + readCopy, 64), "proxy-fence");
  // Bytes that never come.
  EXPECT_EQ(check(makeCopy(fence, "512") + waitFull + readCopy, 64),
            "deadlock");
  // One warp's wait and a barrier are enough for the other.
  EXPECT_EQ(check(makeCopy(fence) +
                      "setp.lt.u32 %p3, %r0, 32; @!%p3 bra OTHER;\n" +
                      waitFull + "OTHER: bar.sync 0;\n" + readCopy,
                  64),
            "");
  EXPECT_NE(check(makeCopy(fence) +
                      "setp.lt.u32 %p3, %r0, 32; @!%p3 bra OTHER;\n" +
                      waitFull + "OTHER:\n" + readCopy,
                  64),
            "");
}

TEST(Async, StoresNeedTheProxyFence) {
  auto store = [](const char *between, const char *after) {
    return std::string("shl.b32 %r1, %r0, 2; mov.u32 %r2, s;\n"
                       "add.s32 %r2, %r2, %r1; st.shared.u32 [%r2], %r0;\n") +
           between +
           "bar.sync 0; setp.ne.u32 %p1, %r0, 0; @%p1 bra END;\n"
           "cp.async.bulk.global.shared::cta.bulk_group [%rd0], [s], 128;\n"
           "cp.async.bulk.commit_group;\n" +
           after + "st.shared.u32 [s], 0;\nEND:";
  };
  const char *waits = "cp.async.bulk.wait_group.read 0;\n";
  EXPECT_EQ(check(store(fence, waits)), "");
  EXPECT_EQ(check(store("", waits)), "proxy-fence");
  EXPECT_EQ(check(store(fence, "")), "unwaited-copy");
}

TEST(Async, Barriers) {
  EXPECT_EQ(check("mbarrier.arrive.shared.b64 _, [s+512];"), "uninitialized");
  EXPECT_EQ(check(std::string(init) +
                  "bar.sync 0; mbarrier.arrive.shared.b64 _, [s+512];"),
            ""); // 32 phases of one arrival
  EXPECT_EQ(check(std::string(init) + "mbarrier.arrive.shared.b64 _, [s+512];"),
            "race");
  EXPECT_EQ(check(std::string(init) +
                  "bar.sync 0;\n"
                  "mbarrier.arrive.shared.b64 _, [s+512], 2;"),
            "barrier");
  EXPECT_EQ(check(std::string(init) + "bar.sync 0;\n" + waitFull), "deadlock");
  EXPECT_EQ(check(std::string(init) +
                  "bar.sync 0; mbarrier.arrive.shared.b64 %rd1, [s+512];\n"
                  "mbarrier.test_wait.shared.b64 %p2, [s+512], %rd1;"),
            "");
}

TEST(Async, CopiesThatArrive) {
  auto copy = [](const char *kind, const char *waits) {
    return "setp.ne.u32 %p1, %r0, 0; @%p1 bra INIT;\n"
           "mbarrier.init.shared.b64 [s+1024], 32;\nINIT: bar.sync 0;\n"
           "shl.b32 %r1, %r0, 4; mov.u32 %r2, s; add.s32 %r2, %r2, %r1;\n"
           "cvt.u64.u32 %rd1, %r1; add.s64 %rd1, %rd0, %rd1;\n"
           "cp.async.cg.shared.global [%r2], [%rd1], 16;\n" +
           std::string(kind) + " [s+1024];\n" + waits +
           "ld.shared.u32 %r3, [s];";
  };
  const char *waits =
      "WAIT: mbarrier.try_wait.parity.shared.b64 %p2, [s+1024], 0;\n"
      "@!%p2 bra WAIT;\n";
  const char *noinc = "cp.async.mbarrier.arrive.noinc.shared.b64";
  EXPECT_EQ(check(copy(noinc, waits)), "");
  EXPECT_EQ(check(copy(noinc, "")), "unwaited-copy");
  EXPECT_EQ(check(copy("cp.async.mbarrier.arrive.shared.b64", waits)),
            "deadlock");
}

TEST(Async, Wgmma) {
  std::string zero, list;
  for (int i = 10; i < 14; ++i) {
    zero += "mov.f32 %f" + std::to_string(i) + ", 0f00000000;\n";
    list += (i > 10 ? ", %f" : "%f") + std::to_string(i);
  }
  // A is 64 x 16 and B 8 x 16 f16 of zeros, without swizzle.
  auto multiply = [&](const char *proxy, const char *before,
                      const char *after) {
    return "shl.b32 %r1, %r0, 4; mov.u32 %r2, s; add.s32 %r2, %r2, %r1;\n"
           "mov.u32 %r9, 0; st.shared.v4.u32 [%r2], {%r9, %r9, %r9, %r9};\n"
           "st.shared.v4.u32 [%r2+2048], {%r9, %r9, %r9, %r9};\n" +
           std::string(proxy) + "bar.sync 0;\n" + zero +
           "mov.u64 %rd1, 0x0000001000080000;\n"
           "setp.eq.u32 %p1, %r9, 0;\n" +
           before + "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {" +
           list + "}, %rd1, %rd1, %p1, 1, 1, 0, 0;\n" + after +
           "add.f32 %f20, %f10, %f11;";
  };
  const char *fenced = "wgmma.fence.sync.aligned;\n";
  const char *waits = "wgmma.commit_group.sync.aligned;\n"
                      "wgmma.wait_group.sync.aligned 0;\n";
  EXPECT_EQ(check(multiply(fence, fenced, waits), 128), "");
  EXPECT_EQ(check(multiply("", fenced, waits), 128), "proxy-fence");
  EXPECT_EQ(check(multiply(fence, "", waits), 128), "proxy-fence");
  EXPECT_EQ(check(multiply(fence, fenced, ""), 128), "unwaited-copy");
  EXPECT_EQ(
      check(multiply(fence, fenced, "wgmma.wait_group.sync.aligned 0;\n"), 128),
      "unwaited-copy");
}
