//===- MoEAttrs.td - moe dialect attributes ----------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEATTRS_TD
#define MOE_DIALECT_MOE_IR_MOEATTRS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "moe/Dialect/MoE/IR/MoEDialect.td"

class MoE_Enum<string name, string summary, list<I32EnumCase> cases>
    : I32Enum<name, summary, cases> {
  let cppNamespace = "::mlir::moe";
}

def MoE_ScoreFunction : MoE_Enum<"ScoreFunction",
    "how logits become scores", [
      I32EnumCase<"None", 0, "none">,
      I32EnumCase<"Softmax", 1, "softmax">,
      I32EnumCase<"Sigmoid", 2, "sigmoid">,
      I32EnumCase<"SparseMixer", 3, "sparse_mixer">
    ]>;

def MoE_ScorePosition : MoE_Enum<"ScorePosition",
    "whether the score function runs over all experts or over the chosen ones",
    [
      I32EnumCase<"BeforeSelection", 0, "before_selection">,
      I32EnumCase<"AfterSelection", 1, "after_selection">
    ]>;

def MoE_WeighBy : MoE_Enum<"WeighBy",
    "which value of a chosen expert its weight is made of", [
      I32EnumCase<"Score", 0, "score">,
      I32EnumCase<"Compared", 1, "compared">
    ]>;

def MoE_NaNRule : MoE_Enum<"NaNRule",
    "where a NaN score stands in the order of selection", [
      I32EnumCase<"Largest", 0, "largest">,
      I32EnumCase<"Smallest", 1, "smallest">
    ]>;

def MoE_TieBreak : MoE_Enum<"TieBreak",
    "which of two equal scores is chosen first", [
      I32EnumCase<"LowestIndex", 0, "lowest_index">,
      I32EnumCase<"HighestIndex", 1, "highest_index">
    ]>;

def MoE_QuantizedPart : MoE_Enum<"QuantizedPart",
    "which tensor of a quantized weight", [
      I32EnumCase<"Integers", 0, "integers">,
      I32EnumCase<"Scales", 1, "scales">,
      I32EnumCase<"ZeroPoints", 2, "zero_points">
    ]>;

def MoE_Encoding : MoE_Enum<"Encoding",
    "what the bits of a quantized weight stand for", [
      I32EnumCase<"Unsigned", 0, "unsigned">,
      I32EnumCase<"Signed", 1, "signed">,
      I32EnumCase<"E2M1", 2, "e2m1">
    ]>;

class MoE_EnumAttr<EnumInfo info, string mnemonic>
    : EnumAttr<MoE_Dialect, info, mnemonic> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_ScoreFunctionAttr : MoE_EnumAttr<MoE_ScoreFunction, "score">;
def MoE_ScorePositionAttr : MoE_EnumAttr<MoE_ScorePosition, "position">;
def MoE_WeighByAttr : MoE_EnumAttr<MoE_WeighBy, "weigh_by">;
def MoE_EncodingAttr : MoE_EnumAttr<MoE_Encoding, "encoding">;
def MoE_NaNRuleAttr : MoE_EnumAttr<MoE_NaNRule, "nan">;
def MoE_TieBreakAttr : MoE_EnumAttr<MoE_TieBreak, "tie_break">;
def MoE_QuantizedPartAttr : EnumAttr<MoE_Dialect, MoE_QuantizedPart, "part">;

def MoE_BlockScalesAttr : AttrDef<MoE_Dialect, "BlockScales"> {
  let mnemonic = "block_scales";
  let summary = "the scales of a matrix of 8-bit floats in a file";
  let description = [{
    A row-major matrix with `columns` columns begins at byte `offset` of a file.
    Its blocks of `block_rows` rows and `block_columns` columns, the last ones of
    which may be smaller, share an element of the weight `scales` each.
  }];
  let parameters = (ins "FlatSymbolRefAttr":$scales, "int64_t":$offset,
    "int64_t":$columns, "int64_t":$block_rows, "int64_t":$block_columns);
  let assemblyFormat = "`<` struct(params) `>`";
}

#endif // MOE_DIALECT_MOE_IR_MOEATTRS_TD
