//===- SimulatorTest.h - Small kernels for tests ----------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_UNITTESTS_SIMULATOR_SIMULATORTEST_H
#define MOE_UNITTESTS_SIMULATOR_SIMULATORTEST_H

#include "moe/Simulator/Device.h"

#include <cstring>
#include <string>
#include <vector>

namespace mlir::moe::sim {

/// A module with one kernel `k` of one pointer, which %rd0 holds.
inline std::string makeKernel(const std::string &body,
                              const std::string &target = "sm_80",
                              const std::string &before = "") {
  return ".version 8.0\n.target " + target + "\n.address_size 64\n" + before +
         ".visible .entry k(.param .u64 p) {\n"
         ".reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<99>;\n"
         ".reg .b64 %rd<20>; .reg .f32 %f<99>;\n"
         ".shared .align 128 .b8 s[4096];\n"
         "ld.param.u64 %rd0, [p];\nmov.u32 %r0, %tid.x;\n" +
         body + "\nret;\n}\n";
}

/// Runs `k` over a buffer of 32-bit words.
struct KernelRun {
  Device device;
  LaunchReport report;
  std::string error;
  std::vector<uint32_t> words;
  Kernel *kernel = nullptr;

  KernelRun(const std::string &text, uint32_t threads = 32, uint32_t blocks = 1,
            std::vector<uint32_t> input = std::vector<uint32_t>(256, 0))
      : words(std::move(input)) {
    LoadedModule *module = device.load("k.ptx", text, error);
    if (!module)
      return;
    kernel = module->find("k");
    uint64_t bytes = words.size() * 4, address = device.allocate(bytes);
    std::memcpy(device.access(address, bytes, true), words.data(), bytes);
    std::vector<uint8_t> params(8);
    std::memcpy(params.data(), &address, 8);
    LaunchConfig config;
    config.grid.x = blocks;
    config.block.x = threads;
    kernel->maxDynamicShared = 100 << 10;
    if (!device.launch(*kernel, config, params, report, error))
      return;
    std::memcpy(words.data(), device.access(address, bytes, false), bytes);
  }

  /// The error, or the findings' kinds: "race deadlock".
  std::string findings() const {
    std::string text = error;
    for (const Finding &finding : report.findings)
      text +=
          (text.empty() ? "" : " ") + std::string(getKindName(finding.kind));
    return text;
  }
};

} // namespace mlir::moe::sim

#endif // MOE_UNITTESTS_SIMULATOR_SIMULATORTEST_H
