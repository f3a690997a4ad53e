//===- LowerPipeline.cpp - Loops and vectors to the llvm dialect ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Pipelines.h"

#include "mlir/Pass/PassManager.h"
#include "moe/Pipelines/Options.h"
#include "moe/Target/Weights/Passes.h"

using namespace mlir;

void moe::buildLowerPipeline(OpPassManager &pm, const CPUOptions &options) {
  // Bufferization has left those weights that code reads; from here on their
  // addresses are needed.
  pm.addPass(createAssignWeightSections());
}
