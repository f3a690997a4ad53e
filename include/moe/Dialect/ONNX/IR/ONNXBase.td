//===- ONNXBase.td - onnx dialect definition ---------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The dialect the importer writes: ONNX nodes as they stand in the file, in
// SSA form, with nothing interpreted.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_ONNX_IR_ONNXBASE
#define MOE_DIALECT_ONNX_IR_ONNXBASE

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::mlir::onnx";

  let summary = "ONNX graphs as imported";
  let description = [{
    One generic operation, `onnx.node`, stands for every ONNX operator. The
    dialect knows what a node *is* (operator, domain, operator set version,
    attributes, subgraphs), never what it *means*: that is the business of the
    raise phase, which finds a converter by operator name and reports all nodes
    without one together. An operator this compiler has never heard of
    therefore survives import.

    Constants of at most 1 KiB are `onnx.constant`; larger ones are
    `moe.weight` symbols read with `moe.get_weight`.
  }];

  let useDefaultTypePrinterParser = 1;
  let hasConstantMaterializer = 1;
}

class ONNX_Type<string name, string typeMnemonic> : TypeDef<ONNX_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def ONNX_StringType : ONNX_Type<"String", "string"> {
  let summary = "element type of ONNX string tensors";
  let description = [{
    Exists so that a model with string tensors can be described in diagnostics;
    nothing converts it.
  }];
}

def ONNX_OpaqueType : ONNX_Type<"Opaque", "opaque"> {
  let summary = "a value that is not a tensor";
  let description = [{
    An ONNX sequence, optional, map or sparse tensor, spelled as in the ONNX
    type notation.

    Example: `!onnx.opaque<"seq(tensor(float))">`
  }];
  let parameters = (ins StringRefParameter<"ONNX notation">:$notation);
  let assemblyFormat = "`<` $notation `>`";
}

def ONNX_Value : AnyTypeOf<[AnyTensor, NoneType, ONNX_OpaqueType],
    "tensor, none for an omitted value, or opaque">;

class ONNX_Op<string mnemonic, list<Trait> traits = []>
    : Op<ONNX_Dialect, mnemonic, traits>;

#endif // MOE_DIALECT_ONNX_IR_ONNXBASE
