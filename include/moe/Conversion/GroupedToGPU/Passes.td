//===- Passes.td - grouped to kernels of a GPU --------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_GROUPEDTOGPU_PASSES
#define MOE_CONVERSION_GROUPEDTOGPU_PASSES

include "mlir/Pass/PassBase.td"

def PlaceBuffersPass : Pass<"gpu-place-buffers", "::mlir::func::FuncOp"> {
  let summary = "Give the operands of grouped kernels buffers on the device";
  let description = [{
    After this pass every buffer that a grouped kernel reads or writes lies in
    memory space 1. A buffer that only kernels use moves there; one that the
    host uses too (an input, an output, the operand of a `linalg` operation)
    keeps its place, and a copy goes to or comes from the device around each
    kernel. Weights that a kernel reads are taken from the device's copy of the
    weight file.
  }];
  let dependentDialects = [
    "::mlir::linalg::LinalgDialect", "::mlir::memref::MemRefDialect",
    "::mlir::moe::MoEDialect"];
}

def ConvertGroupedToGPUPass
    : Pass<"convert-grouped-to-gpu", "::mlir::ModuleOp"> {
  let summary = "Convert grouped kernels on device buffers to gpu kernels";
  let description = [{
    Every kernel becomes functions of the module `@moe_kernels` and their
    launches. Products run on tensor cores (`nvvm.mma.sync`), over tiles that
    the target's cost model chooses.

    Kernels must lie in functions whose first argument is the session context
    (see `moe-bind-context`).
  }];
  let options = [
    Option<"arch", "arch", "std::string", /*default=*/"\"sm_80\"",
           "Architecture, as ptxas names it">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
    "::mlir::moe::MoEDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def LaunchesToRuntimePass
    : Pass<"gpu-launches-to-runtime", "::mlir::ModuleOp"> {
  let summary = "Convert launches and device buffers to calls of the runtime";
  let description = [{
    `gpu.launch_func`, allocations, copies and weights in memory space 1 become
    calls of `moe_rt_gpu_...`. The kernels' text, which `gpu-serialize` has left
    as a `gpu.binary`, becomes a constant of the program.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect"];
}

def SerializePass : Pass<"gpu-serialize", "::mlir::ModuleOp"> {
  let summary = "Replace the module of kernels by its PTX";
  let description = [{
    A `gpu.module` of the llvm and nvvm dialects becomes a `gpu.binary` that
    holds PTX text.
  }];
  let options = [
    Option<"arch", "arch", "std::string", /*default=*/"\"sm_80\"",
           "Architecture, as ptxas names it">
  ];
  let dependentDialects = [
    "::mlir::gpu::GPUDialect", "::mlir::NVVM::NVVMDialect"];
}

#endif // MOE_CONVERSION_GROUPEDTOGPU_PASSES
