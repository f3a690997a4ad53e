//===- Passes.td - from onnx to moe and linalg -------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_ONNXTOMOE_PASSES_TD
#define MOE_CONVERSION_ONNXTOMOE_PASSES_TD

include "mlir/Pass/PassBase.td"

def ONNXInlineBranches : Pass<"onnx-inline-branches", "::mlir::ModuleOp"> {
  let summary = "Replace each If whose condition is known by its branch";
  let description = [{
    Exporters guard what depends on a shape by an `If`. Where constants and the
    static sizes of tensors decide its condition, the nodes of the branch that is
    taken go in its place, so that later passes see through it.
  }];
}

def ONNXRecognizeMoE : Pass<"onnx-recognize-moe", "::mlir::ModuleOp"> {
  let summary = "Find the sparse layers of an ONNX graph and write them as moe operations";
  let description = [{
    Replaces each block of experts by one `moe.route`, `moe.dispatch`, a
    `moe.grouped_matmul` per layer with its activation as epilogue, and
    `moe.combine`. All other nodes stay, the router's projection among them.

    | part | forms |
    |---|---|
    | router | softmax or sigmoid, then top-k, with or without a bias for the selection; the same among the experts of the best groups; top-k, then softmax; SparseMixer; any of them with renormalisation, epsilon and scale; the best expert alone, if it has a place |
    | experts | a gathered matrix per row and a batched product (torch `batched_mm`) |
    | | each expert on all tokens, its share masked by `ids == e` or by a gate out of a one-hot tensor (mobius, unrolled loops) |
    | | each expert on the tokens that `NonZero` finds for it, added where they belong by `ScatterND` or `ScatterElements` (optimum, torch with static loops) |
    | | all experts on all tokens in one product with stacked matrices, weighed by a dense `[tokens, experts]` tensor (gpt-oss by optimum) |
    | | rows sorted by expert, each expert on its part (torch `grouped_mm` by transformers) |
    | whole block | `com.microsoft.MoE` |

    Experts have stacked matrices or matrices of their own, `[E, N, K]` or `[E, K,
    N]`, gate and up fused as halves, interleaved or separate, biases, and any
    activation that works element by element; matrices of their own become one
    `moe.weight_stack` without a copy. Tokens are `[tokens, features]` or
    `[batch, sequence, features]`.

    Names and metadata play no part, and nothing but exactly these computations
    is replaced. A block whose selection of experts is found but that does not
    match keeps its plain operators, and a remark names the node at which
    recognition stopped and the reason. A warning tells of what exporters that
    trace a model are known to get wrong: experts left out because no token
    reached them, and a number of experts fixed to those that were reached. A
    `com.microsoft.MoE` has no plain operators: what is not supported there is an error.

    Results may differ from the exported graph in rounding only: sums and
    activations of 16-bit models are computed in f32 and rounded once.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::moe::MoEDialect",
    "::mlir::tensor::TensorDialect"];
}

def ConvertONNXToMoE : Pass<"convert-onnx-to-moe", "::mlir::ModuleOp"> {
  let summary = "Give every ONNX node its meaning in tensor, linalg, arith and moe";
  let description = [{
    Replaces all operations of the `onnx` dialect. Other operations, such as the
    `moe` ones that a recogniser has put into the graph, stay.

    - Shape arithmetic becomes scalar arithmetic on `index`; a tensor of sizes
      survives only where data decides it. Dimensions are polynomials over the
      symbolic names of the inputs' dimensions (`moe.dims`), so that sizes that
      are equal by construction are known to be equal. Where a broadcast or
      reshape cannot be decided, the code decides at run time, with `moe.check`.
    - Products with a weight become `moe.grouped_matmul` with one group over a
      view of the weight; all others are `linalg.generic` contractions.
    - 16-bit floats are computed in f32, operator by operator.
    - `If`, `Loop` and `Scan` become operations of `scf` that carry tensors. The
    sizes of what a loop carries are those of its first iteration as far as the
    body keeps them, and open otherwise.
    - Before anything is converted, all operators, operator set versions and
      attributes without a converter are reported together.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::moe::MoEDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"];
}

#endif // MOE_CONVERSION_ONNXTOMOE_PASSES_TD
