//===- Passes.td - Passes on the llvm dialect --------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_CPU_PASSES_TD
#define MOE_TARGET_CPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def OutlineParallelRegions
    : Pass<"moe-outline-parallel-regions", "::mlir::ModuleOp"> {
  let summary = "give each different parallel region a function of its own";
  let description = [{
    Moves every `omp.parallel` out of its `llvm.func` into a function, whose
    arguments are the values that the region uses; constants move along. Regions
    that are then equal share one function.

    Layers of a model repeat, and differ in nothing but addresses. Code size and
    the time that LLVM takes thus follow the number of different layers, and the
    time to translate regions no longer grows with the size of the function
    around them.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
  let statistics = [
    Statistic<"numRegions", "regions", "parallel regions found">,
    Statistic<"numFunctions", "functions", "functions made for them">
  ];
}

#endif // MOE_TARGET_CPU_PASSES_TD
