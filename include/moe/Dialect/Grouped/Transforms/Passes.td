//===- Passes.td - grouped transformations ------------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_GROUPED_TRANSFORMS_PASSES
#define MOE_DIALECT_GROUPED_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

def PackWeightsPass : Pass<"grouped-pack-weights", "::mlir::ModuleOp"> {
  let summary = "Fold grouped.pack of weight symbols into packed weights";
  let description = [{
    `grouped.pack` whose operands are all weight symbols becomes a
    `grouped.packed_weight` symbol, whose bytes are made while the weight file
    is written: no packing is left at run time. Equal packs share one symbol.
    Weights that are only known at run time are packed by a loop nest.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::grouped::GroupedDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def SchedulePass : Pass<"grouped-schedule", "::mlir::func::FuncOp"> {
  let summary = "Choose the tile sizes of grouped.matmul";
  let description = [{
    Sets `schedule` of every `grouped.matmul` that has none, from the target
    description: the register tile (`tile_rows` rows by `accumulators` vector
    registers), the depth `k_block` that keeps a panel block in the first-level
    cache, the rows `row_block` and panels `panel_block` of one task.
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", /*default=*/"256",
           "Width of a vector register">,
    Option<"vectorRegisters", "vector-registers", "int64_t", /*default=*/"16",
           "Number of vector registers">,
    Option<"l1Bytes", "l1-bytes", "int64_t", /*default=*/"32768",
           "Size of the first-level data cache">,
    Option<"l2Bytes", "l2-bytes", "int64_t", /*default=*/"524288",
           "Size of the second-level cache of one core">
  ];
}

def BufferizePass : Pass<"grouped-bufferize", "::mlir::ModuleOp"> {
  let summary = "Assign buffers to tensors";
  let description = [{
    One-shot bufferization of the whole module. Inputs and weights are read-only
    memory; outputs are contiguous. Copies become `linalg.copy`, which takes the
    same road to vector code as everything else.
  }];
  let dependentDialects = [
    "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::memref::MemRefDialect"];
}

def OutlineKernelsPass
    : Pass<"grouped-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "Move every kernel into a function, equal ones into the same";
  let description = [{
    Each `grouped` or `linalg` operation on memrefs in a function, or in the
    `scf` loops and branches there, becomes a call of a private function `@moe_kernel_...` that holds
    it; kernels with the same text share one. Compile time and code size then
    follow the number of different kernels, not of layers.
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

#endif // MOE_DIALECT_GROUPED_TRANSFORMS_PASSES
