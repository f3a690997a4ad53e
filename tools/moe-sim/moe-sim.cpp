//===- moe-sim.cpp - Executes PTX on the CPU ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Sim/Sim.h"

#include <cstdio>
#include <string>

int main(int argc, char **argv) {
  mlir::moe::SimOptions options;
  bool help;
  std::string error;
  if (!mlir::moe::parseSimOptions(argc, argv, options, help, error)) {
    std::fprintf(stderr, "moe-sim: error: %s\n", error.c_str());
    return 1;
  }
  if (help) {
    std::fputs(mlir::moe::simUsage, stdout);
    return 0;
  }
  return mlir::moe::runSim(options);
}
