//===- Passes.td - moe to grouped ---------------------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_MOETOGROUPED_PASSES
#define MOE_CONVERSION_MOETOGROUPED_PASSES

include "mlir/Pass/PassBase.td"

def ConvertMoEToGroupedPass
    : Pass<"convert-moe-to-grouped", "::mlir::func::FuncOp"> {
  let summary = "Convert moe operations to grouped kernels";
  let description = [{
    `moe.route` becomes `grouped.gate`, `moe.dispatch` becomes `grouped.plan`,
    `moe.grouped_matmul` becomes `grouped.pack` and `grouped.matmul`,
    `moe.combine` becomes `grouped.combine`. A matmul whose rows come from a
    dispatch gathers them by index in its prologue, so the permuted copy of the
    tokens is not made unless something else reads it.

    Group sizes become offsets (their prefix sums with a leading 0). What the
    types leave open is checked in front of the kernels with `moe.check`.
  }];
  let options = [
    Option<"interleaveBytes", "interleave-bytes", "int64_t", /*default=*/"0",
           "Consecutive bytes of one column in the panels of weights; 0: as "
           "the element type has it">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::grouped::GroupedDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"];
}

#endif // MOE_CONVERSION_MOETOGROUPED_PASSES
