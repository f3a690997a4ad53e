//===- Passes.td - Passes on the moe dialect ---------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD
#define MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def RecordSignature : Pass<"moe-record-signature", "::mlir::ModuleOp"> {
  let summary = "write the model's signature into a module attribute";
  let description = [{
    Copies names, types and symbolic dimensions of the inputs and outputs of
    `@main` into the module attribute `moe.signature`, where they survive the
    function's conversion to other types. An output that is a `tensor.concat` of
    an input and something else along one dynamic axis is recorded as a cache
    binding: the pair of past and present that a session may keep.

    Does nothing when the module has the attribute already or has no `@main`.
  }];
}

def RecordLayers : Pass<"moe-record-layers", "::mlir::ModuleOp"> {
  let summary = "write each sparse layer's routing recipe into a module attribute";
  let description = [{
    Gives each `moe.dispatch` of `@main` its index in the order of execution as
    the attribute `moe.layer`, and describes the layers in the module attribute
    `moe.layers`: number of experts, the recipe of the `moe.route` that feeds it,
    bytes of weights per expert.

    Does nothing when the module has the attribute already.
  }];
}

def FuseElementwise : Pass<"moe-fuse-elementwise", "::mlir::func::FuncOp"> {
  let summary = "merge elementwise operations";
  let description = [{
    Merges an elementwise `linalg.generic` into the one operation that reads its
    result, if that reads each element once, and lets elementwise operations on a
    reshaped `moe.grouped_matmul` work in the product's two dimensions. No value
    is computed more often than before.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def FuseEpilogue : Pass<"moe-fuse-epilogue", "::mlir::func::FuncOp"> {
  let summary = "make elementwise operations epilogues of grouped matmuls";
  let description = [{
    Merges an elementwise `linalg.generic` on two dimensions with the
    `moe.grouped_matmul` operations whose results only it reads: up to two
    weights that share rows and group sizes become one operation with an
    epilogue. Other operands of the result's shape become extras, a vector added
    to a product with one group its bias, constants part of the region.

    For 16-bit elements, sums are no longer rounded before the epilogue; apart
    from that, the same is computed.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

#endif // MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD
