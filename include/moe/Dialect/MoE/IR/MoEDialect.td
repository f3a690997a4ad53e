//===- MoEDialect.td - moe dialect definition --------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEDIALECT_TD
#define MOE_DIALECT_MOE_IR_MOEDIALECT_TD

include "mlir/IR/OpBase.td"

def MoE_Dialect : Dialect {
  let name = "moe";
  let cppNamespace = "::mlir::moe";
  let summary = "What is routed: the graph-level view of a mixture of experts";
  let description = [{
    The `moe` dialect states *what* a sparse mixture-of-experts layer computes:
    which experts a token chooses and with which weight (`moe.route`), how the
    tokens are brought into expert order (`moe.dispatch`), the per-expert linear
    maps (`moe.grouped_matmul`) and the weighted sum per token (`moe.combine`).
    All operations have value semantics on tensors; layout, tiling and target
    are the business of the `grouped` dialect.

    Weights are symbols (`moe.weight`) that point into files, so the text of a
    module stays small and re-parses without losing data.

    The numbered constraints (C1, C2, ...) are listed in `docs/Spec.md`.
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasConstantMaterializer = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

/// Element types that kernels compute with (C11).
def MoE_Float : AnyTypeOf<[F16, BF16, F32, F64]>;

/// Quantized weights: what the bits mean is up to the operation (C19).
def MoE_Quantized : AnyTypeOf<[I<2>, I<4>, I<8>]>;

class MoE_Op<string mnemonic, list<Trait> traits = []>
    : Op<MoE_Dialect, mnemonic, traits>;

#endif // MOE_DIALECT_MOE_IR_MOEDIALECT_TD
