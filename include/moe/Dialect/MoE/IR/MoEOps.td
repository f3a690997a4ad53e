//===- MoEOps.td - moe dialect operations ------------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEOPS_TD
#define MOE_DIALECT_MOE_IR_MOEOPS_TD

include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe/Dialect/MoE/IR/MoEAttrs.td"
include "moe/Dialect/MoE/IR/MoEInterfaces.td"

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def MoE_WeightOp : MoE_Op<"weight", [
    Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<WeightSymbolOpInterface>]> {
  let summary = "a weight tensor that lies in a file";
  let description = [{
    Declares `sym_name` as a constant tensor whose elements lie, little endian,
    in `file` (relative to the module's `moe.source_dir`, or with `checkpoint` to
    its `moe.checkpoint_dir`), in the `length` bytes that start at byte `offset`.

    Without `strides` the tensor is contiguous and row major. With `strides`
    (in elements, one per dimension) element `[i, j, ...]` lies at byte
    `offset + (i * strides[0] + j * strides[1] + ...) * sizeof(element)`; this
    is how a transposed, sliced or interleaved weight is named without being
    copied. `length` then spans the bytes between the first and one past the
    last element that is reachable. Elements of less than 8 bits share bytes,
    the first one in the lowest bits; `bit_offset` is where in byte `offset` the
    tensor begins.

    With `scaled` the file holds 8-bit floats (E4M3FN), for which offset, length
    and strides count. An element is one of them, with its place in the matrix
    that `scaled` describes, times the scale of that place's block: the product
    in f32, rounded to the element type. So a view of the matrix, whatever its
    shape and strides are, keeps `scaled` as it is.

    `sizes` splits dimensions into several each, row major, which then have the
    `strides`: how words of several elements are named that do not lie in the
    order of the tensor. `increment` is added to each element of an integer
    tensor of at most 8 bits, modulo 2^bits. Weights with one of these, but for
    `sizes` of elements of whole bytes, serve as sources of panels only
    (`grouped.packed_weight`).

    The bytes are read when the weight file of the compiled model is written,
    never before. `hash` is the 64-bit xxh3 of the `length` bytes, if known.
    `section` is the byte offset of the tensor's contiguous, row-major copy in
    the weight file (relative to its data) once `moe-assign-weight-sections` has
    chosen it; symbols whose tensor only serves as a source have none.

    Example:

    ```mlir
    moe.weight @embed {file = "model.onnx", offset = 512 : i64, length = 12288 : i64}
      : tensor<96x32xf32>
    // The up half of fused gate and up projections [E, 2 * I, H].
    moe.weight @up {file = "m.data", offset = 6144 : i64, length = 18432 : i64,
                    strides = array<i64: 3072, 32, 1>} : tensor<8x48x32xf32>
    // Columns 0 to 15 of a matrix of 8-bit floats, in blocks of 16 x 16.
    moe.weight @s {file = "m.data", offset = 3072 : i64, length = 24 : i64}
      : tensor<3x2xf32>
    moe.weight @w {file = "m.data", offset = 0 : i64, length = 1520 : i64,
                   strides = array<i64: 32, 1>,
                   scaled = #moe.block_scales<scales = @s, offset = 0,
                     columns = 32, block_rows = 16, block_columns = 16>}
      : tensor<48x16xbf16>
    // Words [k, n] that hold the elements [n, 8 * k] to [n, 8 * k + 7].
    moe.weight @q {file = "m.data", offset = 24576 : i64, length = 768 : i64,
                   sizes = array<i64: 48, 4, 8>, strides = array<i64: 8, 384, 1>}
      : tensor<48x32xi4>
    ```

    Constraints: W1 (static shape), W2 (offset, length), W3 (strides, sizes), W6
    (bit offset), W8 (scales), W9 (increment).
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name,
    StrAttr:$file,
    UnitAttr:$checkpoint,
    I64Attr:$offset,
    I64Attr:$length,
    OptionalAttr<DenseI64ArrayAttr>:$strides,
    OptionalAttr<DenseI64ArrayAttr>:$sizes,
    OptionalAttr<I64Attr>:$bit_offset,
    OptionalAttr<I64Attr>:$increment,
    OptionalAttr<I64Attr>:$hash,
    OptionalAttr<I64Attr>:$section,
    OptionalAttr<MoE_BlockScalesAttr>:$scaled,
    TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = "$sym_name attr-dict `:` $type";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The bits that an element takes in the file.
    int64_t getFileBits();
    /// What `strides` belong to: `sizes`, or the tensor's dimensions.
    ArrayRef<int64_t> getExtents() {
      return getSizes() ? *getSizes() : getWeightType().getShape();
    }
    /// The element strides: `strides`, or the row-major ones.
    SmallVector<int64_t> getElementStrides();
    /// Whether the elements are those of the file, at one stride for each
    /// dimension.
    bool isStrided() { return !getSizes() && !getIncrement(); }
  }];
}

def MoE_WeightStackOp : MoE_Op<"weight_stack", [
    Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<WeightSymbolOpInterface>]> {
  let summary = "weights of equal shape stacked along a new first dimension";
  let description = [{
    Names the tensor `[N, ...]` whose n-th slice is the n-th of `weights`: how
    experts that an exporter wrote as separate matrices become one operand of
    `moe.grouped_matmul` without being copied. `section` as for `moe.weight`.

    Example:

    ```mlir
    moe.weight_stack @up [@up0, @up1] : tensor<2x48x32xf32>
    ```

    Constraints: W4 (the slices' types).
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name,
    TypedArrayAttrBase<FlatSymbolRefAttr, "weight symbols">:$weights,
    OptionalAttr<I64Attr>:$section,
    TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = "$sym_name $weights attr-dict `:` $type";
  let hasVerifier = 1;
}

def MoE_QuantizedWeightOp : MoE_Op<"quantized_weight", [
    Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<WeightSymbolOpInterface>]> {
  let summary = "one tensor of a weight that is rounded to integers";
  let description = [{
    Names the integers `q`, the scales `s` or the zero points `z` to which the
    weight symbol `source` (`[E, N, K]`, f32, f16 or bf16) is rounded when the
    weight file is written, so that `(q - z) * s` is near it. Blocks of
    `block_size` along K share a scale of `scale_type` (f32, f16 or bf16), and
    `b = bits` is 2, 4 or 8. In f32, with ties to even, and clamped to the range
    of `b` bits:

    - symmetric: `s = m / -2^(b-1)`, where `m` is the block's first element of
      the greatest magnitude, and `z = 2^(b-1)` is not stored;
    - `asymmetric`: `s = (hi - lo) / (2^b - 1)`, `z = round(-lo / s)`, where
      `lo` and `hi` are the block's least and greatest element, or 0.

    `s` is rounded to `scale_type` first, then `q = round(w / s) + z` (`q = z`
    where `s` is 0). Parts become sections of the weight file in panels
    (`grouped.packed_weight`) only. An element that is not finite, or a scale
    beyond `scale_type`, is an error then.

    Example:

    ```mlir
    moe.quantized_weight @up__q integers of @up
      {bits = 4 : i64, block_size = 32 : i64, scale_type = bf16}
      : tensor<8x48x32xi4>
    moe.quantized_weight @up__s scales of @up
      {bits = 4 : i64, block_size = 32 : i64, scale_type = bf16}
      : tensor<8x48x1xbf16>
    ```

    Constraints: W7 (attributes and types).
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name,
    MoE_QuantizedPartAttr:$part,
    FlatSymbolRefAttr:$source,
    I64Attr:$bits,
    ConfinedAttr<I64Attr, [IntPositive]>:$block_size,
    TypeAttrOf<AnyTypeOf<[F16, BF16, F32]>>:$scale_type,
    UnitAttr:$asymmetric,
    OptionalAttr<I64Attr>:$section,
    TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat =
    "$sym_name `` $part `of` $source attr-dict `:` $type";
  let hasVerifier = 1;
}

def MoE_GetWeightOp : MoE_Op<"get_weight", [
    Pure, ConstantLike,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the value of a weight symbol";
  let description = [{
    Yields the tensor that `weight` names. After bufferization the result is a
    read-only memref into the mapped weight file.

    Example:

    ```mlir
    %w = moe.get_weight @embed : tensor<96x32xf32>
    ```

    Constraints: W5 (the symbol exists and has the result's shape and type).
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs AnyTypeOf<[AnyRankedTensor, AnyStaticShapeMemRef]>:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Routing
//===----------------------------------------------------------------------===//

def MoE_RouteOp : MoE_Op<"route", [
    Pure, DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "choose `k` experts per token";
  let description = [{
    Token-choice routing. `logits` is `[T, E]`; the results are the routing
    `weights` `[T, k]` (the element type of `logits`) and the chosen `experts`
    `[T, k]` (i32, best first). The recipe, computed in f32:

    1. With `position = before_selection`, `s = score(logits)` over all `E`
       experts; otherwise `s = logits`.
    2. The `k` experts with the greatest `v = s + bias` (`bias` is `[E]`, absent
       means 0) are chosen, best first; equal values in the order of
       `tie_break`; a NaN counts as the greatest or the smallest value according
       to `nan`. With `n_group = G`, only the experts of the `topk_group` best
       groups stand for choice: the experts form `G` consecutive groups of
       `E / G`, and a group's value is the sum of its `group_top` greatest `v`.
       With `group_fill`, the experts of the other groups do stand for choice,
       but with `v = group_fill`.
    3. `w[j] = s[experts[j]]` (without `bias` and `group_fill`) or, with
       `weigh_by = compared`, `w[j] = v[experts[j]]`; with `position =
       after_selection`, `w = score(w)` over the `k` chosen values.
    4. With `renormalize`, `w = w / (sum(w) + renormalize_epsilon)`; with
       `renormalize_floor`, a smaller divisor counts as that.
    5. `w = w * scale`.

    With `score = sparse_mixer` the weights are those of SparseMixer instead of
    steps 1 and 3: `s = logits`, and the weight of the `j`-th choice `c` is its
    share of the softmax over the experts that were not chosen before it and are
    near it, `1 / sum of exp(s[i] - s[c])`, where `i` is near unless
    `(s[c] - s[i]) / max(|s[i]|, s[c]) > mixer_threshold`.

    A row depends on no other row: what an expert can hold is for
    `moe.dispatch` to say.

    Sources: Shazeer et al. 2017 (arXiv:1701.06538), Jiang et al. 2024 (Mixtral,
    arXiv:2401.04088), DeepSeek-AI 2024 (arXiv:2405.04434, arXiv:2412.19437),
    Liu et al. 2024 (GRIN, arXiv:2409.12136).

    Example:

    ```mlir
    %weights, %experts = moe.route %logits {k = 2 : i64, renormalize}
      : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
    ```

    Constraints: C1 (k), C2 (result shapes), C3 (bias), C4 (groups), C11
    (element types), C15 (fill of groups), C16 (sparse mixer), C20 (floor).
  }];
  let arguments = (ins
    2DTensorOf<[MoE_Float]>:$logits,
    Optional<1DTensorOf<[MoE_Float]>>:$bias,
    ConfinedAttr<I64Attr, [IntPositive]>:$k,
    DefaultValuedAttr<MoE_ScoreFunctionAttr, "ScoreFunction::Softmax">:$score,
    DefaultValuedAttr<MoE_ScorePositionAttr,
                      "ScorePosition::BeforeSelection">:$position,
    UnitAttr:$renormalize,
    DefaultValuedAttr<F32Attr, "0.0f">:$renormalize_epsilon,
    DefaultValuedAttr<F32Attr, "1.0f">:$scale,
    DefaultValuedAttr<MoE_TieBreakAttr, "TieBreak::LowestIndex">:$tie_break,
    DefaultValuedAttr<MoE_NaNRuleAttr, "NaNRule::Largest">:$nan,
    DefaultValuedAttr<ConfinedAttr<I64Attr, [IntPositive]>, "1">:$n_group,
    DefaultValuedAttr<ConfinedAttr<I64Attr, [IntPositive]>, "1">:$topk_group,
    DefaultValuedAttr<ConfinedAttr<I64Attr, [IntPositive]>, "1">:$group_top,
    OptionalAttr<F32Attr>:$group_fill,
    DefaultValuedAttr<MoE_WeighByAttr, "WeighBy::Score">:$weigh_by,
    OptionalAttr<F32Attr>:$mixer_threshold,
    OptionalAttr<F32Attr>:$renormalize_floor);
  let results = (outs
    2DTensorOf<[MoE_Float]>:$weights,
    2DTensorOf<[I32]>:$experts);
  let assemblyFormat = [{
    $logits (`bias` `(` $bias^ `:` type($bias) `)`)? attr-dict `:` type($logits)
    `->` type($weights) `,` type($experts)
  }];
  let hasVerifier = 1;
}

// Not speculatable, like everything below that checks values at run time.
def MoE_DispatchOp : MoE_Op<"dispatch", [
    NoMemoryEffect, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "bring tokens into expert order";
  let description = [{
    `tokens` is `[T, H]` and `experts` `[T, k]` (i32; -1 for "no expert"). The
    result `rows` `[R, H]`, `R = T * k`, holds one copy of a token per chosen
    expert, sorted by expert and, within an expert, by `(token, choice)`;
    `group_sizes[e]` is the number of rows of expert `e`; `row_map[t, j]` is the
    row of the j-th choice of token `t`, or -1. Choices of -1 have no row: as
    many rows at the end belong to no group and hold unspecified values.

    With `capacity`, an expert takes at most that many choices of every
    `segment` consecutive tokens (without `segment`: of all tokens). Places are
    given to all first choices in the order of the tokens, then to all second
    choices, and so on; who comes too late is dropped and has no row. The last
    segment may be shorter.

    Example:

    ```mlir
    %rows, %sizes, %map = moe.dispatch %x, %experts
      : tensor<?x32xf32>, tensor<?x2xi32>
      -> tensor<?x32xf32>, tensor<8xi64>, tensor<?x2xi32>
    ```

    Sources: Lepikhin et al. 2020 (GShard, arXiv:2006.16668), Fedus et al. 2021
    (Switch, arXiv:2101.03961).

    Constraints: C5 (shapes), C11 (element types), C17 (segment). When the
    program runs: C6 (an expert id lies in [-1, E)), C12 (sizes that must be
    equal), C14 (at most 2^31 - 1 rows), C18 (a segment holds tokens).
  }];
  let arguments = (ins
    2DTensorOf<[MoE_Float]>:$tokens,
    2DTensorOf<[I32]>:$experts,
    Optional<Index>:$capacity,
    Optional<Index>:$segment);
  let results = (outs
    2DTensorOf<[MoE_Float]>:$rows,
    1DTensorOf<[I64]>:$group_sizes,
    2DTensorOf<[I32]>:$row_map);
  let assemblyFormat = [{
    $tokens `,` $experts (`capacity` `(` $capacity^ `)`)?
    (`segment` `(` $segment^ `)`)? attr-dict
    `:` type($tokens) `,` type($experts)
    `->` type($rows) `,` type($group_sizes) `,` type($row_map)
  }];
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "Type":$rows, "Type":$groupSizes,
      "Type":$rowMap, "Value":$tokens, "Value":$experts), [{
    build($_builder, $_state, rows, groupSizes, rowMap, tokens, experts,
          /*capacity=*/Value(), /*segment=*/Value());
  }]>];
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

def MoE_GroupedMatmulOp : MoE_Op<"grouped_matmul", [
    NoMemoryEffect, AttrSizedOperandSegments,
    SingleBlockImplicitTerminator<"YieldOp">,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "one linear map per group of rows, with a fused epilogue";
  let description = [{
    `rows` is `[R, K]`, sorted by group; `group_sizes` `[E]` says how many
    consecutive rows belong to each group. They sum to `R`, except that those of
    a `moe.dispatch` may leave rows at the end, whose results are unspecified.
    Each of `weights` is
    `[E, N, K]` (output major), each of `biases`, if there are any, `[E, N]`.
    For a row `r` of group `e` and every weight `w`:

    `a_w[r, n] = sum over k, in ascending order, of rows[r, k] * w[e, n, k]`
    `            (+ bias_w[e, n])`

    accumulated in f32 (f64 for f64 operands). Without an epilogue there is one
    weight, and `a` rounded to the result's element type is the result `[R, N]`.
    The epilogue region combines the accumulators, one block argument per weight
    and then one per element of `extras` (tensors `[R, N]`), into the result
    element: activation, gating, residual. Its operations are elementwise; they
    may use scalars from outside.

    Weights of integer elements are quantized. Each has an element of `scales`
    and may have one of `zero_points`, both `[E, N, ceil(K / block_size)]`, and
    stands for the weight

    `w[e, n, k] = (q[e, n, k] - z[e, n, k / block_size])`
    `             * s[e, n, k / block_size]`

    computed in f32. What `q`, and a `z` of integers, are read as is up to
    `encoding`; with `b` bits:

    | `encoding` | `q` | `z`, if it is not given |
    |---|---|---|
    | `unsigned` | an integer from 0 | half of the range: `2^(b-1)` |
    | `signed` | an integer in two's complement | 0 |
    | `e2m1` | a 4-bit float: sign, 2 bits of exponent, 1 of mantissa | 0, always |

    Scales of type i8 are exponents: `s = 2^(x - 127)` for `x` in [0, 254], read
    as unsigned, and NaN for 255 (E8M0; MXFP4 is `e2m1` with these, in blocks of
    32). The product is that of the f32 weight `w`, to the bit.

    A dense layer is the case of one group.

    Example:

    ```mlir
    %h = moe.grouped_matmul %rows, %sizes weights(%gate, %up)
      : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x48x32xf32>, tensor<8x48x32xf32>)
      -> tensor<?x48xf32> epilogue {
    ^bb0(%g: f32, %u: f32):
      %0 = arith.mulf %g, %u : f32
      moe.yield %0 : f32
    }
    ```

    Quantized in blocks of 16 along K:

    ```mlir
    %h = moe.grouped_matmul %rows, %sizes weights(%q)
      scales(%s : tensor<8x48x2xf32>) {block_size = 16 : i64}
      : tensor<?x32xf32>, tensor<8xi64>, (tensor<8x48x32xi4>) -> tensor<?x48xf32>
    ```

    Constraints: C7 (shapes), C8 (epilogue), C11 (element types), C19
    (quantized weights). When the program runs: C9 (group sizes), C12 (sizes
    that must be equal).
  }];
  let arguments = (ins
    2DTensorOf<[MoE_Float]>:$rows,
    1DTensorOf<[I64]>:$group_sizes,
    Variadic<3DTensorOf<[MoE_Float, MoE_Quantized]>>:$weights,
    Variadic<3DTensorOf<[MoE_Float, I8]>>:$scales,
    Variadic<3DTensorOf<[MoE_Float, MoE_Quantized]>>:$zero_points,
    Variadic<2DTensorOf<[MoE_Float]>>:$biases,
    Variadic<2DTensorOf<[MoE_Float]>>:$extras,
    OptionalAttr<I64Attr>:$block_size,
    DefaultValuedAttr<MoE_EncodingAttr, "Encoding::Unsigned">:$encoding);
  let results = (outs 2DTensorOf<[MoE_Float]>:$result);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let hasRegionVerifier = 1;
  let hasCanonicalizer = 1;
  let assemblyFormat = [{
    $rows `,` $group_sizes `weights` `(` $weights `)`
    (`scales` `(` $scales^ `:` type($scales) `)`)?
    (`zero_points` `(` $zero_points^ `:` type($zero_points) `)`)?
    (`biases` `(` $biases^ `:` type($biases) `)`)?
    (`extras` `(` $extras^ `:` type($extras) `)`)?
    attr-dict `:` type($rows) `,` type($group_sizes) `,` `(` type($weights) `)`
    `->` type($result) (`epilogue` $epilogue^)?
  }];
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "Type":$result, "Value":$rows,
    "Value":$group_sizes, "ArrayRef<ExpertMatrix>":$matrices,
    CArg<"ValueRange", "ValueRange()">:$extras)>];
  let extraClassDeclaration = [{
    /// The weights, each with what belongs to it.
    SmallVector<ExpertMatrix> getMatrices();
    void setMatrices(ArrayRef<ExpertMatrix> matrices);
  }];
}

def MoE_YieldOp : MoE_Op<"yield", [
    Pure, ReturnLike, Terminator, HasParent<"GroupedMatmulOp">]> {
  let summary = "the element that an epilogue computes";
  let description = [{
    Terminates the epilogue region of `moe.grouped_matmul`.

    Example:

    ```mlir
    moe.yield %0 : f32
    ```
  }];
  let arguments = (ins Variadic<MoE_Float>:$values);
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, ValueRange()); }]>];
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def MoE_CombineOp : MoE_Op<"combine", [
    NoMemoryEffect, DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "weighted sum of a token's rows";
  let description = [{
    `rows` is `[R, N]`, `weights` `[T, k]`, `row_map` `[T, k]` (-1: no row).

    `result[t, n] = sum over j, in ascending order, with row_map[t, j] >= 0, of`
    `               weights[t, j] * rows[row_map[t, j], n]`

    accumulated in f32 (f64 for f64 rows), one fused multiply-add per `j`,
    starting from 0. The order is fixed, so the result does not depend on the
    number of threads. The result has the element type of `rows`.

    Example:

    ```mlir
    %y = moe.combine %rows, %weights, %map
      : tensor<?x32xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x32xf32>
    ```

    Constraints: C10 (shapes), C11 (element types). When the program runs: C12
    (sizes that must be equal), C13 (a row lies in [-1, R)).
  }];
  let arguments = (ins
    2DTensorOf<[MoE_Float]>:$rows,
    2DTensorOf<[MoE_Float]>:$weights,
    2DTensorOf<[I32]>:$row_map);
  let results = (outs 2DTensorOf<[MoE_Float]>:$result);
  let assemblyFormat = [{
    $rows `,` $weights `,` $row_map attr-dict
    `:` type($rows) `,` type($weights) `,` type($row_map) `->` type($result)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Run-time checks
//===----------------------------------------------------------------------===//

def MoE_CheckOp : MoE_Op<"check"> {
  let summary = "stop the run with an error unless a condition holds";
  let description = [{
    When `condition` is false the run of the compiled model ends with an error
    status and the text `node: message`; the message may contain `{found}` and
    `{limit}`, which stand for the operands' values; `{found+}` also tells that
    the greatest value stands for all that do not fit. Nothing after the check is
    executed, so a check in front of an access makes the access safe. That also
    means that a check cannot stand in a loop that threads share.

    Example:

    ```mlir
    moe.check %ok, %index, %size {
      node = "node 'n3' (Gather)",
      message = "expects indices below {limit}, got {found}"}
    ```
  }];
  let arguments = (ins
    I1:$condition,
    I64:$found,
    I64:$limit,
    StrAttr:$node,
    StrAttr:$message);
  let assemblyFormat = "$condition `,` $found `,` $limit attr-dict";
  let hasCanonicalizeMethod = 1;
}

#endif // MOE_DIALECT_MOE_IR_MOEOPS_TD
