//===- LowerToGPUPipeline.cpp - Kernels to PTX, launches to calls ---------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Pipelines.h"

#include "mlir/Conversion/GPUToNVVM/GPUToNVVMPass.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "moe/Conversion/GroupedToGPU/Passes.h"
#include "moe/Conversion/GroupedToLoops/Passes.h"
#include "moe/Pipelines/Options.h"

using namespace mlir;

void moe::buildDeviceKernelsPipeline(OpPassManager &pm,
                                     const GPUOptions &options) {
  // --- Host and device: buffers find their memory while kernels are still
  // operations that say what they read and write.
  pm.addNestedPass<func::FuncOp>(grouped::createPlaceBuffersPass());
  // Sizes of what was allocated are known where it was.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  buildOutlinePipeline(pm);
  grouped::ConvertGroupedToGPUPassOptions kernels;
  kernels.arch = options.arch;
  pm.addPass(grouped::createConvertGroupedToGPUPass(kernels));

  // --- Device: to the nvvm dialect.
  auto &device = pm.nest<gpu::GPUModuleOp>();
  // Before anything asks libdevice for them.
  device.addPass(math::createMathExtendToSupportedTypes());
  device.addPass(grouped::createExpandMathPass());
  device.addPass(createCanonicalizerPass());
  device.addPass(createCSEPass());
  device.addPass(createSCFToControlFlowPass());
  device.addPass(createConvertVectorToLLVMPass());
  ConvertGpuOpsToNVVMOpsOptions nvvm;
  nvvm.indexBitwidth = 64;
  device.addPass(createConvertGpuOpsToNVVMOps(nvvm));
  device.addPass(createReconcileUnrealizedCastsPass());
  device.addPass(createCanonicalizerPass());
  device.addPass(createCSEPass());
}

void moe::buildDeviceRuntimePipeline(OpPassManager &pm,
                                     const GPUOptions &options) {
  grouped::SerializePassOptions serialize;
  serialize.arch = options.arch;
  pm.addPass(grouped::createSerializePass(serialize));
  pm.addPass(grouped::createLaunchesToRuntimePass());
}
