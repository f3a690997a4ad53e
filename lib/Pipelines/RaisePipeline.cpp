//===- RaisePipeline.cpp - onnx to moe and linalg -------------------------===//
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
#include "moe/Conversion/ONNXToMoE/Passes.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

using namespace mlir;

void moe::buildRaisePipeline(OpPassManager &pm) {
  // Branches that are not taken hide nothing from then on.
  pm.addPass(createONNXInlineBranches());
  // Before any node is converted: sparse layers are found by the ONNX nodes
  // that exporters take them apart into, which no longer exist once each node
  // has its own meaning.
  pm.addPass(createONNXRecognizeMoE());
  pm.addPass(createConvertONNXToMoE());
  // Before anything spreads what the checks are about.
  pm.addNestedPass<func::FuncOp>(createHoistChecks());
  // Each node was converted on its own: sizes that several need, and the casts
  // between what is known about one, meet here.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  // Behind the propagation of constants, which decides checks.
  pm.addNestedPass<func::FuncOp>(createReportFailingChecks());
}
