//===- GroupedOps.td - grouped dialect and operations ------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_GROUPED_IR_GROUPEDOPS_TD
#define MOE_DIALECT_GROUPED_IR_GROUPEDOPS_TD

include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe/Dialect/MoE/IR/MoEAttrs.td"
include "moe/Dialect/MoE/IR/MoEInterfaces.td"

def Grouped_Dialect : Dialect {
  let name = "grouped";
  let cppNamespace = "::mlir::grouped";
  let summary = "How rows are grouped: destination-style kernels of MoE layers";
  let description = [{
    The `grouped` dialect states *how* the operations of `moe` are computed:
    destination-style operations on tensors, then on memrefs, whose rows are
    grouped by expert. They consume weights in the panel layout that the
    kernels stream (`grouped.pack`), gather rows by index instead of reading a
    permuted copy, and carry their activation as an epilogue region.

    A dense layer is the one-group case of `grouped.matmul`.

    ### The panel layout

    The `W` weight matrices `[E, N, K]` of one `grouped.matmul` are stored as
    `[E, P, ceil(K / i), 16 * i]`, `P = W * ceil(N / 16)`. Panel `p` holds 16
    columns of weight `p mod W`, from column `16 * (p / W)` on; inside a panel
    `i` consecutive `k` of one column are neighbours, and columns beyond `N` and
    `k` beyond `K` are zero. The interleave `i` depends on the element type
    alone (1 for f32, f64 and f16, 2 for bf16), so every instruction set tiles
    over the same bytes. One row of a f32 panel is one cache line. For a GPU it
    is 16 bytes, the largest access of one thread, for every type: 8 columns
    are then 128 consecutive bytes, the operand of one tensor instruction.

    Quantized weights of `b` bits are stored as words of 32 bits, each of which
    holds `32 / b` consecutive `k` of one column, the first in the lowest bits:
    `[E, P, ceil(K * b / 32), 16]`. Their scales and zero points `[E, N, B]` are
    panels in turn, with blocks in the place of `k`; zero points and scales that
    are integers take a byte each.
  }];
  let dependentDialects = ["::mlir::moe::MoEDialect"];
}

class Grouped_Op<string mnemonic, list<Trait> traits = []>
    : Op<Grouped_Dialect, mnemonic, traits>;

/// A kernel: reads its inputs, overwrites its `outs`, returns the new values of
/// the `outs` while they are tensors and nothing once they are memrefs.
class Grouped_KernelOp<string mnemonic, list<Trait> traits = []>
    : Grouped_Op<mnemonic, !listconcat(traits, [
        DestinationStyleOpInterface,
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>])> {
  let hasVerifier = 1;
  code kernelDeclarations = [{
    MutableOperandRange getDpsInitsMutable() { return getOutsMutable(); }
  }];
  let extraClassDeclaration = kernelDeclarations;
}

class Shaped<list<Type> elements, list<int> ranks>
    : AnyTypeOf<[TensorRankOf<elements, ranks>, MemRefRankOf<elements, ranks>]>;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// Of integers as words or, for zero points, as bytes.
def Grouped_Panels : 4DTensorOf<[MoE_Float, I8, I32]>;

def Grouped_PackedWeightOp : Grouped_Op<"packed_weight", [
    Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<WeightSymbolOpInterface>]> {
  let summary = "weight symbols in panel layout";
  let description = [{
    Names the panels of the weight symbols `sources` (each `[E, N, K]`): the
    compile-time form of `grouped.pack`. The bytes are made while the weight
    file is written, one section per symbol. `section` is the byte offset in the
    weight file once it is known.

    Example:

    ```mlir
    grouped.packed_weight @gate_up [@gate, @up] : tensor<8x6x32x16xf32>
    ```

    Constraints: G1 (the panel shape).
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name,
    TypedArrayAttrBase<FlatSymbolRefAttr, "weight symbols">:$sources,
    OptionalAttr<I64Attr>:$section,
    TypeAttrOf<Grouped_Panels>:$type);
  let assemblyFormat = "$sym_name $sources attr-dict `:` $type";
  let hasVerifier = 1;
}

def Grouped_PackOp : Grouped_Op<"pack", [Pure]> {
  let summary = "bring weights into panel layout";
  let description = [{
    Each of `weights` is `[E, N, K]`; the result holds their panels (see the
    dialect's description): of integers as words (i32) or, for zero points, as
    bytes (i8). Folded into `grouped.packed_weight` when all operands are weight
    symbols; computed once per call otherwise.

    Example:

    ```mlir
    %p = grouped.pack %gate, %up
      : tensor<8x48x32xf32>, tensor<8x48x32xf32> -> tensor<8x6x32x16xf32>
    ```

    Constraints: G1 (the panel shape).
  }];
  let arguments = (ins
    Variadic<3DTensorOf<[MoE_Float, MoE_Quantized]>>:$weights);
  let results = (outs Grouped_Panels:$panels);
  let assemblyFormat = [{
    $weights attr-dict `:` type($weights) `->` type($panels)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

def Grouped_GateOp : Grouped_KernelOp<"gate", [AttrSizedOperandSegments]> {
  let summary = "score and select experts";
  let description = [{
    The recipe of `moe.route` (same attributes, same meaning) in destination
    style. `logits` is `[T, E]`, `bias` `[E]`; the `outs` are the weights
    `[T, k]` and the experts `[T, k]` (i32).

    Example:

    ```mlir
    %w, %e = grouped.gate %logits outs(%w0, %e0 : tensor<?x2xf32>, tensor<?x2xi32>)
      {k = 2 : i64, renormalize} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
    ```

    Constraints: C1, C2, C3, C4, C15, C16, C20 as for `moe.route`, G4
    (outs).
  }];
  let arguments = (ins
    Shaped<[MoE_Float], [2]>:$logits,
    Optional<Shaped<[MoE_Float], [1]>>:$bias,
    ConfinedAttr<I64Attr, [IntPositive]>:$k,
    DefaultValuedAttr<MoE_ScoreFunctionAttr, "::mlir::moe::ScoreFunction::Softmax">:$score,
    DefaultValuedAttr<MoE_ScorePositionAttr,
                      "::mlir::moe::ScorePosition::BeforeSelection">:$position,
    UnitAttr:$renormalize,
    DefaultValuedAttr<F32Attr, "0.0f">:$renormalize_epsilon,
    DefaultValuedAttr<F32Attr, "1.0f">:$scale,
    DefaultValuedAttr<MoE_TieBreakAttr, "::mlir::moe::TieBreak::LowestIndex">:$tie_break,
    DefaultValuedAttr<MoE_NaNRuleAttr, "::mlir::moe::NaNRule::Largest">:$nan,
    DefaultValuedAttr<ConfinedAttr<I64Attr, [IntPositive]>, "1">:$n_group,
    DefaultValuedAttr<ConfinedAttr<I64Attr, [IntPositive]>, "1">:$topk_group,
    DefaultValuedAttr<ConfinedAttr<I64Attr, [IntPositive]>, "1">:$group_top,
    OptionalAttr<F32Attr>:$group_fill,
    DefaultValuedAttr<MoE_WeighByAttr, "::mlir::moe::WeighBy::Score">:$weigh_by,
    OptionalAttr<F32Attr>:$mixer_threshold,
    OptionalAttr<F32Attr>:$renormalize_floor,
    Variadic<Shaped<[MoE_Float, I32], [2]>>:$outs);
  let results = (outs Variadic<2DTensorOf<[MoE_Float, I32]>>:$results);
  let assemblyFormat = [{
    $logits (`bias` `(` $bias^ `:` type($bias) `)`)? `outs` `(` $outs `:`
    type($outs) `)` attr-dict `:` type($logits) (`->` type($results)^)?
  }];
}

def Grouped_PlanOp : Grouped_KernelOp<"plan", [AttrSizedOperandSegments]> {
  let summary = "sort choices by expert";
  let description = [{
    `experts` is `[T, k]` (i32, -1 for "no expert"). The `outs` are: `offsets`
    `[E + 1]` (i64; the rows of expert `e` are `offsets[e] .. offsets[e + 1]`),
    `row_map` `[T, k]` (i32; the row of a choice, or -1) and `row_token`
    `[T * k]` (i32; the token of a row; 0 from `offsets[E]` on, where rows
    belong to no expert). Rows are sorted by expert, then by `(token, choice)`.
    `capacity` and `segment` have the meaning that they have for `moe.dispatch`.

    An expert id outside `[-1, E)` stops the run (C6). `layer` numbers the
    routed layers of a model for the load counters; absent: not counted. It is a
    value so that layers can share the kernel.

    Example:

    ```mlir
    %o, %m, %t = grouped.plan %experts outs(%o0, %m0, %t0 : ...)
      : tensor<?x2xi32> -> tensor<9xi64>, tensor<?x2xi32>, tensor<?xi32>
    ```

    Constraints: C5, C17 as for `moe.dispatch`, G4 (outs). When the program
    runs: C6.
  }];
  let arguments = (ins
    Shaped<[I32], [2]>:$experts,
    Optional<Index>:$capacity,
    Optional<Index>:$segment,
    Optional<I32>:$layer,
    Variadic<Shaped<[I32, I64], [1, 2]>>:$outs);
  let results = (outs Variadic<TensorRankOf<[I32, I64], [1, 2]>>:$results);
  let assemblyFormat = [{
    $experts (`capacity` `(` $capacity^ `)`)? (`segment` `(` $segment^ `)`)?
    (`layer` `(` $layer^ `)`)? `outs` `(` $outs `:` type($outs) `)` attr-dict
    `:` type($experts) (`->` type($results)^)?
  }];
}

def Grouped_MatmulOp : Grouped_KernelOp<"matmul", [
    AttrSizedOperandSegments, SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "grouped matrix product over packed weights";
  let description = [{
    For every group `e` and row `r` in `offsets[e] .. offsets[e + 1]`, with
    `src = row_token[r]` if `row_token` is given and `src = r` otherwise:

    `a_w[r, n] = sum over k, in ascending order, of rows[src, k] * w[e, n, k]`

    accumulated in f32 (f64 for f64), one fused multiply-add per `k`, starting
    from 0: the value of an element does not depend on tile sizes, threads or
    the other rows. `panels` holds the weights (see the dialect's description),
    `biases` (each `[E, N]`) are added to the sums. The epilogue region gets one
    accumulator per weight and one element per tensor of `extras` (`[R, N]`),
    and yields the element of `outs` (`[R, N]`). Text without an epilogue means
    the one that yields its only accumulator.

    With `scales`, and possibly `zero_points`, the panels hold weights of
    `bits` bits, quantized in blocks of `block_size` along K; `w` is what
    `moe.grouped_matmul` makes of them, with the same `encoding`.

    `schedule` holds the tile sizes, chosen by `grouped-schedule`.

    Example:

    ```mlir
    %h = grouped.matmul %x[%token] offsets(%o) panels(%p) outs(%h0) ...
    ```

    Constraints: G1 (the panel shape), G2 (shapes), G3 (epilogue), G4 (outs),
    G5 (schedule), G6 (quantized weights), C11 as for `moe.grouped_matmul`.
  }];
  let arguments = (ins
    Shaped<[MoE_Float], [2]>:$rows,
    Optional<Shaped<[I32], [1]>>:$row_token,
    Shaped<[I64], [1]>:$offsets,
    Shaped<[MoE_Float, I32], [4]>:$panels,
    Optional<Shaped<[MoE_Float, I8], [4]>>:$scales,
    Optional<Shaped<[MoE_Float, I8], [4]>>:$zero_points,
    Variadic<Shaped<[MoE_Float], [2]>>:$biases,
    Variadic<Shaped<[MoE_Float], [2]>>:$extras,
    Variadic<Shaped<[MoE_Float], [2]>>:$outs,
    OptionalAttr<I64Attr>:$bits,
    OptionalAttr<I64Attr>:$block_size,
    DefaultValuedAttr<MoE_EncodingAttr,
                      "::mlir::moe::Encoding::Unsigned">:$encoding,
    OptionalAttr<DictionaryAttr>:$schedule);
  let results = (outs Variadic<2DTensorOf<[MoE_Float]>>:$results);
  let regions = (region SizedRegion<1>:$epilogue);
  let hasRegionVerifier = 1;
  let assemblyFormat = [{
    $rows (`[` $row_token^ `:` type($row_token) `]`)? `offsets` `(` $offsets `:`
    type($offsets) `)` `panels` `(` $panels `:` type($panels) `)`
    (`scales` `(` $scales^ `:` type($scales) `)`)?
    (`zero_points` `(` $zero_points^ `:` type($zero_points) `)`)?
    (`biases` `(` $biases^ `:` type($biases) `)`)?
    (`extras` `(` $extras^ `:` type($extras) `)`)?
    `outs` `(` $outs `:` type($outs) `)` attr-dict `:` type($rows)
    (`->` type($results)^)? `` custom<Epilogue>($epilogue, ref(type($outs)))
  }];
  let extraClassDeclaration = kernelDeclarations # [{
    /// How many weight matrices the panels hold: as many as the epilogue has
    /// accumulators.
    int64_t getNumWeights();
  }];
}

def Grouped_YieldOp : Grouped_Op<"yield", [
    Pure, ReturnLike, Terminator, HasParent<"MatmulOp">]> {
  let summary = "the element that an epilogue computes";
  let description = [{
    Terminates the epilogue region of `grouped.matmul`.

    Example:

    ```mlir
    grouped.yield %0 : f32
    ```
  }];
  let arguments = (ins Variadic<MoE_Float>:$values);
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, ValueRange()); }]>];
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def Grouped_CombineOp : Grouped_KernelOp<"combine"> {
  let summary = "weighted sum of a token's rows";
  let description = [{
    `moe.combine` in destination style: `rows` is `[R, N]`, `weights` and
    `row_map` are `[T, k]`, the `outs` is `[T, N]`. The sum runs over `j` in
    ascending order in f32, so it does not depend on the number of threads.

    Example:

    ```mlir
    %y = grouped.combine %rows, %weights, %map outs(%y0 : tensor<?x32xf32>)
      : tensor<?x32xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x32xf32>
    ```

    Constraints: C10 as for `moe.combine`, G4 (outs).
  }];
  let arguments = (ins
    Shaped<[MoE_Float], [2]>:$rows,
    Shaped<[MoE_Float], [2]>:$weights,
    Shaped<[I32], [2]>:$row_map,
    Variadic<Shaped<[MoE_Float], [2]>>:$outs);
  let results = (outs Variadic<2DTensorOf<[MoE_Float]>>:$results);
  let assemblyFormat = [{
    $rows `,` $weights `,` $row_map `outs` `(` $outs `:` type($outs) `)`
    attr-dict `:` type($rows) `,` type($weights) `,` type($row_map)
    (`->` type($results)^)?
  }];
}

#endif // MOE_DIALECT_GROUPED_IR_GROUPEDOPS_TD
