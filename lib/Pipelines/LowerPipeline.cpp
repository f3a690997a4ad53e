//===- LowerPipeline.cpp - Loops and vectors to the llvm dialect ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Pipelines.h"

#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "moe/Conversion/GroupedToLoops/Passes.h"
#include "moe/Conversion/MoEToRuntime/Passes.h"
#include "moe/Dialect/Grouped/Transforms/Passes.h"
#include "moe/Pipelines/Options.h"
#include "moe/Target/CPU/TargetDescription.h"
#include "moe/Target/Weights/Passes.h"

using namespace mlir;

void moe::buildOutlinePipeline(OpPassManager &pm) {
  // Bufferization has left those weights that code reads; from here on their
  // addresses are needed.
  pm.addPass(createAssignWeightSections());
  // Equal kernels become one function, while they are one operation each; then
  // the session's context, which loops use.
  pm.addPass(grouped::createOutlineKernelsPass());
  pm.addPass(createBindContextPass());
  pm.addPass(createProfileKernelsPass());
}

void moe::buildLowerPipeline(OpPassManager &pm, const CompileOptions &options) {
  // Kernels of a GPU leave nothing behind that the host's loops would see.
  if (!options.gpu.arch.empty()) {
    buildDeviceKernelsPipeline(pm, options.gpu);
    buildDeviceRuntimePipeline(pm, options.gpu);
  } else {
    buildOutlinePipeline(pm);
    // Regions of the profile have their numbers by now, and equal numbers are
    // one value.
    pm.addPass(createCSEPass());
    pm.addPass(createOutlineLayersPass());
  }
  pm.addPass(grouped::createConvertGroupedToLoopsPass());
  pm.addNestedPass<func::FuncOp>(createConvertLinalgToParallelLoopsPass());
  pm.addPass(grouped::createParallelToThreadsPass());
  // 16-bit arithmetic in f32, each result rounded. LLVM would do the same for
  // bf16 with a function call per element, and libm has no 16-bit functions.
  pm.addPass(math::createMathExtendToSupportedTypes());
  arith::ArithEmulateUnsupportedFloatsOptions emulated;
  emulated.sourceTypeStrs = {"bf16"};
  pm.addPass(arith::createArithEmulateUnsupportedFloats(emulated));
  // While the operations still say what they compute on vectors.
  grouped::ExpandMathPassOptions math;
  math.fma = describeTarget(options.cpu).hasFMA;
  pm.addPass(grouped::createExpandMathPass(math));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());

  // --- Memory to addresses.
  // What the next pass cannot do.
  pm.addNestedPass<func::FuncOp>(createExpandDynamicShapesPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  // Brought in by the strided metadata.
  pm.addPass(createLowerAffinePass());
  pm.addPass(createConvertMoEToRuntimePass());

  // --- To the llvm dialect.
  pm.addPass(createSCFToControlFlowPass());
  // ceildiv, minimumf and the like, which have no LLVM instruction; bf16
  // conversions as shifts of integer vectors on every CPU, for the same bits.
  arith::ArithExpandOpsPassOptions arithOptions;
  arithOptions.includeBf16 = true;
  pm.addPass(arith::createArithExpandOpsPass(arithOptions));
  ConvertVectorToLLVMPassOptions vectorOptions;
  pm.addPass(createConvertVectorToLLVMPass(vectorOptions));
  // What LLVM has an intrinsic for stays vector code (fma above all); libm gets
  // the rest.
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass());
  pm.addPass(createConvertToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}
