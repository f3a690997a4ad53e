//===- InitAll.cpp - Registration of all dialects and passes --------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/InitAll.h"

#include "moe/Dialect/ONNX/IR/ONNXOps.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "moe/Conversion/GroupedToGPU/Passes.h"
#include "moe/Conversion/GroupedToLoops/Passes.h"
#include "moe/Conversion/MoEToGrouped/Passes.h"
#include "moe/Conversion/MoEToRuntime/Passes.h"
#include "moe/Conversion/ONNXToMoE/Passes.h"
#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Dialect/Grouped/Transforms/Passes.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/Pipelines/Phases.h"
#include "moe/Target/Weights/Passes.h"

using namespace mlir;

void moe::registerAllMoEDialects(DialectRegistry &registry) {
  // All of upstream: libMLIR is linked as a whole anyway, and a tool that
  // refuses a dialect only because nobody listed it helps no one.
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registry.insert<MoEDialect, grouped::GroupedDialect, onnx::ONNXDialect>();
  grouped::registerBufferizableOpInterfaceModels(registry);
}

void moe::registerAllMoEPasses() {
  registerAllPasses();
  registerMoEPasses();
  registerONNXToMoEPasses();
  registerMoEWeightsPasses();
  registerMoEToGroupedPasses();
  registerMoEToRuntimePasses();
  grouped::registerGroupedPasses();
  grouped::registerGroupedToGPUPasses();
  grouped::registerGroupedToLoopsPasses();
  registerPipelines();
}
