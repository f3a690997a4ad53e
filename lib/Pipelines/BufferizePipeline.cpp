//===- BufferizePipeline.cpp - Tensors to buffers -------------------------===//
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

void moe::buildBufferizePipeline(OpPassManager &pm, const CPUOptions &options) {
  // The last point at which the function has the model's own signature.
  pm.addPass(createRecordSignature());
}
