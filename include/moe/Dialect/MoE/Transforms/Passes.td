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

def QuantizeWeights : Pass<"moe-quantize-weights", "::mlir::ModuleOp"> {
  let summary = "round float weights to integers in blocks";
  let description = [{
    Makes the float weights (f32, f16 or bf16) of `moe.grouped_matmul` operations
    `moe.quantized_weight` symbols, which are rounded to nearest when the weight
    file is written. Weights that are no symbols or are quantized already stay
    as they are.

    By default only the experts' weights: those of products whose groups come
    from `moe.dispatch`. With `dense` the other products follow, except those
    whose results reach the logits of a `moe.route` by way of no other product:
    small changes of a router's logits change which experts are chosen.

    Fails when `bits` is not 2, 4 or 8, or when `block-size` is no multiple of
    32 / `bits`; a block size of 0 spans all of K.
  }];
  let options = [
    Option<"bits", "bits", "int64_t", "4", "bits of an integer: 2, 4 or 8">,
    Option<"blockSize", "block-size", "int64_t", "32",
           "elements along K that share a scale, 0 for all">,
    Option<"scaleType", "scale-type", "std::string", "\"bf16\"",
           "element type of scales: bf16, f16 or f32">,
    Option<"asymmetric", "asymmetric", "bool", "false",
           "store a zero point per block">,
    Option<"dense", "dense", "bool", "false",
           "also products that are no experts'">];
}

def HoistChecks : Pass<"moe-hoist-checks", "::mlir::func::FuncOp"> {
  let summary = "move run-time checks to where their operands are known";
  let description = [{
    Moves each `moe.check`, with the arithmetic on sizes that it needs, behind the
    last operation it depends on. What a check makes certain about a size may then
    be used by all code that comes after that size, also where canonicalization
    spreads a static size backwards, from a node to those in front of it.
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

def ReportFailingChecks
    : Pass<"moe-report-failing-checks", "::mlir::func::FuncOp"> {
  let summary = "refuse what no run could pass";
  let description = [{
    Ends the compilation with the message of the first `moe.check` that every run
    executes and whose condition is known to be false.
  }];
}

#endif // MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD
