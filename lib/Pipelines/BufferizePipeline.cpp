//===- BufferizePipeline.cpp - Tensors to buffers -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Pipelines.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "moe/Conversion/MoEToRuntime/Passes.h"
#include "moe/Dialect/Grouped/Transforms/Passes.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/Pipelines/Options.h"

using namespace mlir;

void moe::buildBufferizePipeline(OpPassManager &pm, const CPUOptions &options) {
  // The last point at which the function has the model's own signature.
  pm.addPass(createRecordSignature());
  pm.addPass(grouped::createBufferizePass());
  // Views of views, dims of allocations and casts become what they stand for
  // before buffers' lives are measured.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createInsertDeallocsPass());
}
