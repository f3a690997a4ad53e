//===- FusePipeline.cpp - Fusions on tensors ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Pipelines.h"

#include "mlir/Pass/PassManager.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

using namespace mlir;

void moe::buildFusePipeline(OpPassManager &pm) {
  // Both describe the model as the user knows it, so they come before anything
  // is fused or outlined: each layer still stands for itself here.
  pm.addPass(createRecordSignature());
  pm.addPass(createRecordLayers());
}
