//===- FusePipeline.cpp - Fusions on tensors ------------------------------===//
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
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/Pipelines/Options.h"

using namespace mlir;

void moe::buildFusePipeline(OpPassManager &pm,
                            const std::optional<QuantizeOptions> &quantize) {
  // While weights are still what the model calls them, one per product; and
  // layers are recorded with the bytes that they will have.
  if (quantize)
    pm.addPass(createQuantizeWeights({quantize->bits, quantize->blockSize,
                                      quantize->scaleType, quantize->asymmetric,
                                      quantize->dense}));

  // Both describe the model as the user knows it, so they come before anything
  // is fused or outlined: each layer still stands for itself here.
  pm.addPass(createRecordSignature());
  pm.addPass(createRecordLayers());

  // Raising leaves one operation per ONNX node, each with its own sizes. Only
  // when equal sizes are one value do products of one input show as such.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  // First among themselves, so that one operation is left per product; then
  // into the products.
  pm.addNestedPass<func::FuncOp>(createFuseElementwise());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createFuseEpilogue());
  pm.addPass(createCanonicalizerPass());
}
