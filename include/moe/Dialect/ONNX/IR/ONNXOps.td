//===- ONNXOps.td - onnx dialect operations ----------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_ONNX_IR_ONNXOPS
#define MOE_DIALECT_ONNX_IR_ONNXOPS

include "moe/Dialect/ONNX/IR/ONNXBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def ONNX_NodeOp : ONNX_Op<"node", [
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a node of an ONNX graph";
  let description = [{
    Any ONNX operator, with the version of its operator set whose semantics the
    node follows. The operator is written with its domain in front, unless that
    is the default domain. ONNX attributes form the dictionary after the
    operands:

    | ONNX attribute | here |
    |---|---|
    | `FLOAT`, `FLOATS` | `f32`, `array<f32: ...>` |
    | `INT`, `INTS` | `i64`, `array<i64: ...>` |
    | `STRING`, `STRINGS` | string, array of strings |
    | `TENSOR` | `dense<...>` or, above 1 KiB, the symbol of a `moe.weight` |
    | `TYPE_PROTO` | type |
    | `GRAPH` | region, after `graph "attribute name"` |
    | `GRAPHS` | regions named `attribute[0]`, `attribute[1]`, ... |

    An omitted optional input is `onnx.none`, an omitted output has the type
    `none`; trailing ones may be left out. A subgraph may use values of the
    graphs around it, and ends with `onnx.yield`.

    Example:

    ```mlir
    %0 = onnx.node "Gather"(%w, %ids) {axis = 0 : i64} name "n12" opset 20
        : (tensor<96x32xf32>, tensor<?x?xi64>) -> tensor<?x?x32xf32>
    %1:2 = onnx.node "TopK"(%x, %k) {axis = -1 : i64} opset 11
        : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
    %2 = onnx.node "If"(%c) name "n14" opset 20
        : (tensor<i1>) -> tensor<4xf32> graph "then_branch" {
      onnx.yield %a : tensor<4xf32>
    } graph "else_branch" {
      onnx.yield %b : tensor<4xf32>
    }
    ```
  }];

  let arguments = (ins
    StrAttr:$op_type,
    DefaultValuedStrAttr<StrAttr, "">:$domain,
    I64Attr:$opset,
    OptionalAttr<StrAttr>:$node_name,
    DictionaryAttr:$onnx_attrs,
    StrArrayAttr:$region_names,
    Variadic<ONNX_Value>:$inputs);
  let results = (outs Variadic<ONNX_Value>:$outputs);
  let regions = (region VariadicRegion<SizedRegion<1>>:$graphs);

  let builders = [
    /// Regions are created empty, one per name in `regionNames`.
    OpBuilder<(ins "::mlir::TypeRange":$outputs, "::llvm::StringRef":$opType,
      "::llvm::StringRef":$domain, "int64_t":$opset,
      "::llvm::StringRef":$nodeName, "::mlir::ValueRange":$inputs,
      CArg<"::llvm::ArrayRef<::mlir::NamedAttribute>", "{}">:$attributes,
      CArg<"::llvm::ArrayRef<::llvm::StringRef>", "{}">:$regionNames)>];

  let extraClassDeclaration = [{
    /// Whether this is the operator `opType` of `domain` ("" is ai.onnx).
    bool is(::llvm::StringRef opType, ::llvm::StringRef domain = "") {
      return getOpType() == opType && getDomain() == domain;
    }

    /// "node 'n12' (Gather)", "node 'moe' (com.microsoft::MoE)": the subject
    /// of every message about this node.
    std::string describe();

    /// The operator with its domain, as printed.
    std::string getQualifiedOpType();

    /// An ONNX attribute, null when absent. The typed accessors below also
    /// answer "absent" when the attribute has another kind, so a caller that
    /// must tell the two apart asks `hasAttr`.
    ::mlir::Attribute attr(::llvm::StringRef name);
    bool hasAttr(::llvm::StringRef name) { return bool(attr(name)); }

    std::optional<int64_t> getI64(::llvm::StringRef name);
    int64_t getI64(::llvm::StringRef name, int64_t defaultValue) {
      return getI64(name).value_or(defaultValue);
    }
    std::optional<::llvm::ArrayRef<int64_t>> getI64s(::llvm::StringRef name);
    std::optional<float> getF32(::llvm::StringRef name);
    float getF32(::llvm::StringRef name, float defaultValue) {
      return getF32(name).value_or(defaultValue);
    }
    std::optional<::llvm::ArrayRef<float>> getF32s(::llvm::StringRef name);
    ::llvm::StringRef getString(::llvm::StringRef name,
                                ::llvm::StringRef defaultValue = "");
    std::optional<::llvm::SmallVector<::llvm::StringRef>>
    getStrings(::llvm::StringRef name);
    /// A dense tensor attribute; null when absent or kept as a weight.
    ::mlir::ElementsAttr getTensorAttr(::llvm::StringRef name);
    /// A tensor attribute that is kept as a `moe.weight`.
    ::mlir::FlatSymbolRefAttr getWeightAttr(::llvm::StringRef name);

    /// Operand `i`; null when the node has fewer or it is omitted (`none`).
    ::mlir::Value input(unsigned i);
    /// Result `i`; null when the node has fewer or it is omitted (`none`).
    ::mlir::Value output(unsigned i);
    /// The subgraph held by the graph attribute `name`, or null.
    ::mlir::Region *graph(::llvm::StringRef name);
  }];

  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizeMethod = 1;
}

def ONNX_ConstantOp : ONNX_Op<"constant", [
    ConstantLike, Pure, AllTypesMatch<["value", "output"]>]> {
  let summary = "a small constant tensor";
  let description = [{
    An initializer, `Constant` node or shape of at most 1 KiB. Unsigned element
    types keep their sign here (`ui8`); 8-bit floats, bf16 and 4-bit types have
    their MLIR type.

    Example:

    ```mlir
    %0 = onnx.constant dense<[-1, 32]> : tensor<2xi64>
    ```
  }];
  let arguments = (ins ElementsAttr:$value);
  let builders = [OpBuilder<(ins "::mlir::ElementsAttr":$value), [{
    build($_builder, $_state, value.getType(), value);
  }]>];
  let results = (outs AnyStaticShapeTensor:$output);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
}

def ONNX_NoneOp : ONNX_Op<"none", [ConstantLike, Pure]> {
  let summary = "an omitted optional input";
  let description = [{
    ONNX writes an empty name for it.

    Example:

    ```mlir
    %0 = onnx.none : none
    ```
  }];
  let results = (outs NoneType:$output);
  let builders = [OpBuilder<(ins), [{
    build($_builder, $_state, $_builder.getNoneType());
  }]>];
  let assemblyFormat = "attr-dict `:` type($output)";
  let hasFolder = 1;
}

def ONNX_YieldOp : ONNX_Op<"yield", [
    HasParent<"NodeOp">, Pure, ReturnLike, Terminator]> {
  let summary = "the outputs of a subgraph";
  let description = [{
    Example:

    ```mlir
    onnx.yield %0, %1 : tensor<i1>, tensor<?x4xf32>
    ```
  }];
  let arguments = (ins Variadic<ONNX_Value>:$operands);
  let builders = [OpBuilder<(ins), [{ /* no operands */ }]>];
  let assemblyFormat = "attr-dict ($operands^ `:` type($operands))?";
}

#endif // MOE_DIALECT_ONNX_IR_ONNXOPS
