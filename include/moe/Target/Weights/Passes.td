//===- Passes.td - Passes that place weights ---------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_WEIGHTS_PASSES_TD
#define MOE_TARGET_WEIGHTS_PASSES_TD

include "mlir/Pass/PassBase.td"

def AssignWeightSections
    : Pass<"moe-assign-weight-sections", "::mlir::ModuleOp"> {
  let summary = "choose where each weight lies in the weight file";
  let description = [{
    Sets `section`, the byte offset relative to the weight file's data, of every
    weight symbol that a `moe.get_weight` names, in the order of first use, so
    that what is used together lies together. Symbols that name the same bytes
    in the same layout share a section: tied weights are stored once. Symbols
    that neither code nor another needed symbol names are erased.
  }];
}

#endif // MOE_TARGET_WEIGHTS_PASSES_TD
