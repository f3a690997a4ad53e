//===- Sim.h - Kernels from the command line --------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_SIM_SIM_H
#define MOE_TOOLS_SIM_SIM_H

#include "moe/Simulator/Device.h"

#include <string>
#include <vector>

namespace mlir::moe {

extern const char *const simUsage;

struct SimOptions {
  std::string file, kernel;
  sim::LaunchConfig config;
  bool list = false, counters = false;
  sim::Device::Options device;
  std::vector<std::string> arguments;
};

/// False with an error that names the argument.
bool parseSimOptions(int argc, char **argv, SimOptions &options, bool &help,
                     std::string &error);

/// Lists the kernels of a file, or runs one. The exit status: 0, or 1 after an
/// error or a finding, which go to stderr.
int runSim(const SimOptions &options);

} // namespace mlir::moe

#endif // MOE_TOOLS_SIM_SIM_H
