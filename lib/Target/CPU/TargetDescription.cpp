//===- TargetDescription.cpp - What schedules ask about a CPU -------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/CPU/TargetDescription.h"

#include "moe/Target/CPU/CPUTarget.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"

using namespace mlir;
using namespace mlir::moe;

TargetDescription moe::describeTarget(const CPUOptions &given) {
  TargetDescription description;
  CPUOptions options = given;
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine;
  if (resolveCPUOptions(options, error))
    machine = createTargetMachine(options, error);
  if (!machine)
    return description;
  const llvm::MCSubtargetInfo &info = *machine->getMCSubtargetInfo();
  if (machine->getTargetTriple().isAArch64()) {
    // Every AArch64 core has them; code for SVE's unknown width is no tile.
    description.vectorRegisters = 32;
    description.hasFMA = true;
    return description;
  }
  if (!machine->getTargetTriple().isX86())
    return description;
  description.hasFMA = info.checkFeatures("+fma") ||
                       info.checkFeatures("+fma4") ||
                       info.checkFeatures("+avx512f");
  // "prefer-256-bit" is about code in which a few 512-bit instructions would
  // slow down the rest; a matrix product is wide throughout. LLVM splits
  // explicit vectors by instruction set, not by preference.
  if (info.checkFeatures("+avx512f")) {
    description.vectorBits = 512;
    description.vectorRegisters = 32;
  } else if (info.checkFeatures("+avx")) {
    description.vectorBits = 256;
  }
  return description;
}
