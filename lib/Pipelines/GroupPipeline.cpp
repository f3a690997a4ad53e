//===- GroupPipeline.cpp - moe to grouped ---------------------------------===//
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
#include "moe/Conversion/MoEToGrouped/Passes.h"
#include "moe/Dialect/Grouped/Transforms/Passes.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/Pipelines/Options.h"

using namespace mlir;

void moe::buildGroupPipeline(OpPassManager &pm, const CompileOptions &options) {
  // For modules that enter here; nothing happens when `fuse` has recorded them.
  pm.addPass(createRecordSignature());
  pm.addPass(createRecordLayers());
  ConvertMoEToGroupedPassOptions layout;
  // What a GPU moves at a time is 16 bytes of one column.
  if (!options.gpu.arch.empty())
    layout.interleaveBytes = 16;
  pm.addNestedPass<func::FuncOp>(createConvertMoEToGroupedPass(layout));
  // Weights meet their layout as soon as there is a grouped.pack.
  pm.addPass(grouped::createPackWeightsPass());
  // Drops the weight values that only a pack read, and shape code that only a
  // dispatch used.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  // Weight symbols that are no longer named by anything but themselves.
  pm.addPass(createSymbolDCEPass());
}
