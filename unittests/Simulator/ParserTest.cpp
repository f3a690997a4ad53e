//===- ParserTest.cpp - PTX text, right and wrong -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SimulatorTest.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

using namespace mlir::moe::sim;

static std::string load(const std::string &text) {
  Device device;
  std::string error;
  return device.load("k.ptx", text, error) ? "" : error;
}

static std::string loadBody(const std::string &body) {
  return load(makeKernel(body));
}

TEST(Parser, Errors) {
  EXPECT_EQ(load(""),
            "k.ptx:1: found the end of the file, expected '.version'");
  EXPECT_EQ(load(".version 8.0\n.target sm_80\n.address_size 32"),
            "k.ptx:3: found addresses of 32 bits, expected 64");
  EXPECT_EQ(loadBody("add.s32 %r1, %r0;"),
            "k.ptx:10: found 2 operands of 'add', expected 3");
  EXPECT_EQ(loadBody("add.s32 %r1, %x, 1;"),
            "k.ptx:10: found '%x', expected a declared register or a special "
            "register that is modelled");
  EXPECT_EQ(loadBody("bra NOWHERE;"),
            "k.ptx:10: found 'NOWHERE', expected a label of this function");
  EXPECT_EQ(loadBody("add.s32 %rd1, %r0, 1;"),
            "k.ptx:10: found a register of type b64 as a result of 'add', "
            "expected s32");
  EXPECT_EQ(loadBody("ld.global.u32 %r1, [s];"),
            "k.ptx:10: found 's' in shared memory, expected it in global "
            "memory");
  EXPECT_EQ(loadBody("mov.u32 %r1, 0f12;"),
            "k.ptx:10: found '0f12', expected 8 hexadecimal digits after 0f");
}

TEST(Parser, WhatIsNotModelled) {
  EXPECT_EQ(loadBody("tcgen05.alloc.b32 [s], 32;"),
            "k.ptx:10: found 'tcgen05.alloc.b32', which is not modelled");
  EXPECT_EQ(loadBody("add.foo.s32 %r1, %r0, 1;"),
            "k.ptx:10: found modifier '.foo' of 'add', which is not modelled "
            "here");
  EXPECT_EQ(loadBody("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%rd1}, "
                     "{%rd1}, {%rd1}, {%rd1};")
                .substr(0, 20),
            "k.ptx:10: found 'mma");
  EXPECT_EQ(loadBody("tex.2d.v4.f32.f32 %r1, [s];").substr(0, 17),
            "k.ptx:10: found '");
}

TEST(Parser, Calls) {
  std::string function =
      ".func (.param .b32 out) twice(.param .b32 in) {\n"
      ".reg .b32 %a<3>; .reg .pred %q;\n"
      "ld.param.b32 %a0, [in]; setp.gt.s32 %q, %a0, 100;\n"
      "@%q bra BIG; add.s32 %a1, %a0, %a0; st.param.b32 [out], %a1; ret;\n"
      "BIG: st.param.b32 [out], 0; ret;\n}\n";
  std::string call =
      "{ .param .b32 arg; st.param.b32 [arg], %r0; .param .b32 res;\n"
      "call.uni (res), twice, (arg); ld.param.b32 %r0, [res]; }\n";
  KernelRun run(
      makeKernel("mad.lo.s32 %r0, %r0, 4, 0;\n" + call + call +
                     "mov.u32 %r1, %tid.x; mul.wide.u32 %rd1, %r1, 4;\n"
                     "add.s64 %rd1, %rd1, %rd0;\n"
                     "st.global.u32 [%rd1], %r0;",
                 "sm_80", function));
  EXPECT_EQ(run.findings(), "");
  EXPECT_EQ(run.words[3], 48u);
  EXPECT_EQ(run.words[20], 4u * 20 * 2 > 100 ? 0u : 320u);
  EXPECT_EQ(load(makeKernel("call r, ();", "sm_80",
                            ".func r();\n.func r() { call r, (); ret; }\n"))
                    .find("recursion") == std::string::npos,
            false);
  EXPECT_EQ(loadBody("call nothing, ();"),
            "k.ptx:10: found 'nothing', expected a declared register or "
            "variable");
}

TEST(Parser, Variables) {
  std::string before = ".global .align 4 .u32 table[4] = {1, 2, 3, 4};\n"
                       ".const .align 8 .u64 where = table;\n"
                       ".global .align 4 .f32 half = 0f3F000000;\n"
                       ".extern .shared .align 16 .b8 dynamic[];\n";
  KernelRun run(
      makeKernel("ld.const.u64 %rd1, [where]; ld.global.u32 %r1, [%rd1+8];\n"
                 "ld.global.u32 %r2, [half];\n"
                 "mov.u32 %r3, dynamic;\n"
                 "setp.ne.u32 %p1, %r0, 0; @%p1 ret;\n"
                 "st.global.v4.u32 [%rd0], {%r1, %r2, %r3, 9};",
                 "sm_80", before));
  EXPECT_EQ(run.findings(), "");
  EXPECT_EQ(run.words[0], 3u);
  EXPECT_EQ(run.words[1], 0x3f000000u);
  EXPECT_EQ(run.words[2], 4096u);
  EXPECT_EQ(run.words[3], 9u);
}

// PTX is untrusted: whatever is cut out of it or put into it, no crash.
TEST(Parser, DamagedText) {
  std::mt19937 random(7);
  for (const char *name : {"basic.ptx", "gemm_mma.ptx", "gemm_tma.ptx"}) {
    std::ifstream file(std::string(MOE_SIM_INPUTS) + "/" + name);
    std::stringstream stream;
    stream << file.rdbuf();
    std::string text = stream.str();
    ASSERT_GT(text.size(), 1000u);
    EXPECT_EQ(load(text), "");
    for (int i = 0; i < 40; ++i) {
      std::string damaged = text;
      size_t at = random() % text.size();
      if (i % 3 == 0)
        damaged.resize(at);
      else if (i % 3 == 1)
        damaged.erase(at, random() % 20);
      else
        damaged[at] = "{}[](),;:.%@!|+-=09azAZ_$\"/*<>"[random() % 30];
      load(damaged);
    }
  }
  load(".version 8.0\n.target sm_80\n.func f() {" + std::string(50000, '{'));
  loadBody("mov.u32 %r1, " + std::string(50000, '!') + "%r0;");
  loadBody("mov.u32 %r1, " + std::string(50000, '[') + "%r0;");
  loadBody("mov.u32 %r1, {%r0, {%r0, {%r0, {%r0, {%r0, {%r0, {%r0;");
}
