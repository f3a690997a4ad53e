//===- GroupPipeline.cpp - moe to grouped ---------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Pipelines.h"

#include "mlir/Pass/PassManager.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/Pipelines/Options.h"

using namespace mlir;

void moe::buildGroupPipeline(OpPassManager &pm, const CPUOptions &options) {
  // For modules that enter here; nothing happens when `fuse` has recorded them.
  pm.addPass(createRecordSignature());
  pm.addPass(createRecordLayers());
}
