//===- Passes.td - grouped to loops -------------------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_GROUPEDTOLOOPS_PASSES
#define MOE_CONVERSION_GROUPEDTOLOOPS_PASSES

include "mlir/Pass/PassBase.td"

def ConvertGroupedToLoopsPass
    : Pass<"convert-grouped-to-loops", "::mlir::ModuleOp"> {
  let summary = "Convert grouped kernels on memrefs to loops and threads";
  let description = [{
    Every kernel becomes scf loops over vector operations; the loop over tasks
    is an `omp.parallel` whose threads draw task numbers from a shared counter.
    The register tiles of `grouped.matmul` are functions of their own
    (`@moe_tile_...`), shared by all matmuls with the same element type and
    leading dimensions.

    Kernels must lie in functions whose first argument is the session context
    (see `moe-bind-context`).
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::moe::MoEDialect",
    "::mlir::omp::OpenMPDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"];
}

def ExpandMathPass : Pass<"moe-expand-math"> {
  let summary = "Expand math functions to vectorisable arithmetic";
  let description = [{
    `math.exp`, `erf`, `tanh` and `log` of f32, scalar or vector, become
    polynomials (within 2 units in the last place, right at the edges), so that
    the loops around them vectorise and a loop's tail computes the same bits as
    its vectors. f64 is left to libm, 16-bit types to
    `math-extend-to-supported-types`, whose conversions lose their permission to
    be contracted.

    Without `fma`, every `math.fma` of f32 becomes a product and a sum: a fused
    one would be a call of libm per element.
  }];
  let options = [
    Option<"fma", "fma", "bool", /*default=*/"true",
           "Whether the target has a fused multiply-add">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::vector::VectorDialect"];
}

def ParallelToThreadsPass
    : Pass<"moe-parallel-to-threads", "::mlir::ModuleOp"> {
  let summary = "Distribute outermost scf.parallel loops over the threads";
  let description = [{
    The outer dimensions of an outermost `scf.parallel` are flattened and cut
    into blocks for the session's threads (`omp.parallel`); the
    innermost dimension, and every parallel loop inside another, becomes
    `scf.for`. Loops with little work stay on the calling thread.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::omp::OpenMPDialect",
    "::mlir::scf::SCFDialect"];
}

#endif // MOE_CONVERSION_GROUPEDTOLOOPS_PASSES
