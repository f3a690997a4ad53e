//===- ContribSchemas.cpp - Operators the ONNX library lacks --------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Arity and type inference of the contrib operators that exporters of MoE
// models write. They live in a table of their own: the library's registry is
// global to the process, and its version converter walks it.
//
//===----------------------------------------------------------------------===//

#include "ContribSchemas.h"

#include "onnx/defs/schema.h"
#include "onnx/defs/shape_inference.h"

#include <map>
#include <sstream>

using namespace ::onnx;

namespace {

using Dim = TensorShapeProto::Dimension;

const TensorShapeProto *shapeOf(InferenceContext &ctx, size_t input, int rank) {
  if (input >= ctx.getNumInputs() || !hasInputShape(ctx, input))
    return nullptr;
  const TensorShapeProto &shape = getInputShape(ctx, input);
  return shape.dim_size() == rank ? &shape : nullptr;
}

bool hasInput(InferenceContext &ctx, size_t input) {
  return input < ctx.getNumInputs() && ctx.getInputType(input);
}

bool hasOutput(InferenceContext &ctx, size_t output) {
  return output < ctx.getNumOutputs();
}

/// dim * numerator / denominator where all are known.
Dim scaled(const Dim &dim, int64_t numerator, int64_t denominator) {
  Dim result;
  if (dim.has_dim_value() && numerator > 0 && denominator > 0 &&
      numerator < INT32_MAX && dim.dim_value() < INT32_MAX)
    result.set_dim_value(dim.dim_value() * numerator / denominator);
  return result;
}

void setShape(InferenceContext &ctx, size_t output,
              std::initializer_list<Dim> dims) {
  TensorShapeProto shape;
  for (const Dim &dim : dims)
    *shape.add_dim() = dim;
  updateOutputShape(ctx, output, shape);
}

void likeInput(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (hasInputShape(ctx, 0))
    propagateShapeFromInputToOutput(ctx, 0, 0);
}

/// Y, then statistics (f32, one per row), then the sum of input and skip.
void inferSkipNormalization(InferenceContext &ctx) {
  likeInput(ctx);
  for (size_t output : {1, 2})
    if (hasOutput(ctx, output))
      updateOutputElemType(ctx, output, TensorProto::FLOAT);
  if (hasOutput(ctx, 3)) {
    propagateElemTypeFromInputToOutput(ctx, 0, 3);
    if (hasInputShape(ctx, 0))
      propagateShapeFromInputToOutput(ctx, 0, 3);
  }
}

/// ids [B, S] and embeddings [words, hidden]: [B, S, hidden], [B] of i32, and
/// the former again.
void inferEmbedNormalization(InferenceContext &ctx) {
  const TensorShapeProto *ids = shapeOf(ctx, 0, 2), *words = shapeOf(ctx, 2, 2);
  for (size_t output : {0, 2})
    if (hasOutput(ctx, output)) {
      propagateElemTypeFromInputToOutput(ctx, 2, output);
      if (ids && words)
        setShape(ctx, output, {ids->dim(0), ids->dim(1), words->dim(1)});
    }
  if (hasOutput(ctx, 1)) {
    updateOutputElemType(ctx, 1, TensorProto::INT32);
    if (ids)
      setShape(ctx, 1, {ids->dim(0)});
  }
}

void inferNormalization(InferenceContext &ctx) {
  // Y has the type of the scale: exporters keep the input in f32.
  propagateElemTypeFromInputToOutput(ctx, 1, 0);
  if (hasInputShape(ctx, 0))
    propagateShapeFromInputToOutput(ctx, 0, 0);
  if (hasOutput(ctx, 1))
    updateOutputElemType(ctx, 1, TensorProto::FLOAT);
}

/// Keys and values, [batch, heads, total, size]: like the past ones where there
/// are any, else from `key` [B, L, heads * size] and `value`.
void inferPresent(InferenceContext &ctx, size_t key, size_t past,
                  int64_t heads) {
  for (size_t i : {0, 1}) {
    if (!hasOutput(ctx, 1 + i))
      continue;
    propagateElemTypeFromInputToOutput(ctx, 0, 1 + i);
    if (const TensorShapeProto *shape = shapeOf(ctx, past + i, 4)) {
      setShape(ctx, 1 + i,
               {shape->dim(0), shape->dim(1), Dim(), shape->dim(3)});
    } else if (const TensorShapeProto *query = shapeOf(ctx, 0, 3)) {
      Dim count, size;
      if (heads > 0)
        count.set_dim_value(heads);
      if (const TensorShapeProto *source = shapeOf(ctx, key + i, 3))
        size = scaled(source->dim(2), 1, heads);
      setShape(ctx, 1 + i, {query->dim(0), count, Dim(), size});
    }
  }
}

/// The scores, [batch, heads, queries, keys].
void inferScores(InferenceContext &ctx, int64_t heads) {
  if (!hasOutput(ctx, 3))
    return;
  propagateElemTypeFromInputToOutput(ctx, 0, 3);
  if (!hasInputShape(ctx, 0) || getInputShape(ctx, 0).dim_size() < 2)
    return;
  const TensorShapeProto &query = getInputShape(ctx, 0);
  Dim count;
  if (heads > 0)
    count.set_dim_value(heads);
  setShape(ctx, 3, {query.dim(0), count, query.dim(1), Dim()});
}

/// query [B, S, heads * size], or with keys and values behind it in one tensor.
void inferGroupQueryAttention(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  int64_t heads = getAttribute(ctx, "num_heads", 0);
  int64_t keyHeads = getAttribute(ctx, "kv_num_heads", 0);
  if (const TensorShapeProto *query = shapeOf(ctx, 0, 3)) {
    Dim hidden = query->dim(2);
    if (!hasInput(ctx, 1))
      hidden =
          heads > 0 && heads < INT32_MAX && keyHeads > 0 && keyHeads < INT32_MAX
              ? scaled(hidden, heads, heads + 2 * keyHeads)
              : Dim();
    setShape(ctx, 0, {query->dim(0), query->dim(1), hidden});
  }
  inferPresent(ctx, 1, 3, keyHeads);
  inferScores(ctx, heads);
}

/// query [B, S, D] with value [B, L, D'] or [B, heads, L, size'], or packed
/// [B, S, heads, 3, size].
void inferMultiHeadAttention(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (const TensorShapeProto *query = shapeOf(ctx, 0, 3)) {
    Dim hidden = query->dim(2);
    if (const TensorShapeProto *value = shapeOf(ctx, 2, 3))
      hidden = value->dim(2);
    else if (const TensorShapeProto *value = shapeOf(ctx, 2, 4))
      hidden = value->dim(1).has_dim_value()
                   ? scaled(value->dim(3), value->dim(1).dim_value(), 1)
                   : Dim();
    setShape(ctx, 0, {query->dim(0), query->dim(1), hidden});
  } else if (const TensorShapeProto *packed = shapeOf(ctx, 0, 5)) {
    Dim hidden = packed->dim(2).has_dim_value()
                     ? scaled(packed->dim(4), packed->dim(2).dim_value(), 1)
                     : Dim();
    setShape(ctx, 0, {packed->dim(0), packed->dim(1), hidden});
  }
  inferPresent(ctx, 1, 6, getAttribute(ctx, "num_heads", 0));
  inferScores(ctx, getAttribute(ctx, "num_heads", 0));
}

/// As of the standard's Attention.
void inferSinkAttention(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  int64_t heads = getAttribute(ctx, "q_num_heads", 0);
  int64_t keyHeads = getAttribute(ctx, "kv_num_heads", 0);
  const TensorShapeProto *query = shapeOf(ctx, 0, 3);
  const TensorShapeProto *value = shapeOf(ctx, 2, 3);
  if (query && value)
    setShape(
        ctx, 0,
        {query->dim(0), query->dim(1), scaled(value->dim(2), heads, keyHeads)});
  inferPresent(ctx, 1, 4, keyHeads);
  inferScores(ctx, heads);
}

/// A [.., K] times a quantized [N, K].
void inferMatMulNBits(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (!hasInputShape(ctx, 0) || getInputShape(ctx, 0).dim_size() == 0)
    return;
  TensorShapeProto shape = getInputShape(ctx, 0);
  Dim columns;
  if (int64_t n = getAttribute(ctx, "N", 0); n > 0)
    columns.set_dim_value(n);
  *shape.mutable_dim(shape.dim_size() - 1) = columns;
  updateOutputShape(ctx, 0, shape);
}

/// MatMul with either operand transposed in its last two dimensions.
void inferFusedMatMul(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (!hasNInputShapes(ctx, 2) || getAttribute(ctx, "transBatchA", 0) ||
      getAttribute(ctx, "transBatchB", 0))
    return;
  TensorShapeProto a = getInputShape(ctx, 0), b = getInputShape(ctx, 1);
  if (a.dim_size() < 2 || b.dim_size() < 2)
    return;
  bool transA = getAttribute(ctx, "transA", 0);
  bool transB = getAttribute(ctx, "transB", 0);
  Dim rows = a.dim(a.dim_size() - (transA ? 1 : 2));
  Dim columns = b.dim(b.dim_size() - (transB ? 2 : 1));
  TensorShapeProto batchA, batchB, shape;
  for (int i = 0; i < a.dim_size() - 2; ++i)
    *batchA.add_dim() = a.dim(i);
  for (int i = 0; i < b.dim_size() - 2; ++i)
    *batchB.add_dim() = b.dim(i);
  bidirectionalBroadcastShapeInference(batchA, batchB, shape);
  *shape.add_dim() = rows;
  *shape.add_dim() = columns;
  updateOutputShape(ctx, 0, shape);
}

using Infer = void (*)(InferenceContext &);

struct Entry {
  const char *domain;
  const char *opType;
  /// Bit i: input i must be there.
  uint32_t required;
  int maxInputs;
  int maxOutputs;
  Infer infer;
  /// Attributes as "name:type name:type", with i for an integer, f for a float
  /// and s for a string. Of others the type is not checked here.
  const char *attributes = "";
  /// Whether there may be others: their converter knows which.
  bool hasOtherAttributes = true;
};

constexpr const char *kMicrosoft = "com.microsoft";

constexpr Entry kEntries[] = {
    {"", "SimplifiedLayerNormalization", 0b11, 2, 2, inferNormalization,
     "axis:i epsilon:f stash_type:i"},
    {kMicrosoft, "SimplifiedLayerNormalization", 0b11, 2, 2, inferNormalization,
     "axis:i epsilon:f stash_type:i"},
    {kMicrosoft, "SkipSimplifiedLayerNormalization", 0b111, 4, 4,
     inferSkipNormalization, "epsilon:f"},
    {kMicrosoft, "SkipLayerNormalization", 0b111, 5, 4, inferSkipNormalization,
     "epsilon:f"},
    {kMicrosoft, "EmbedLayerNormalization", 0b1101101, 9, 3,
     inferEmbedNormalization, "epsilon:f mask_index_type:i"},
    {kMicrosoft, "MoE", 0b10111, 8, 1, likeInput,
     "k:i activation_type:s normalize_routing_weights:i use_sparse_mixer:i "
     "swiglu_fusion:i swiglu_limit:f activation_alpha:f activation_beta:f",
     false},
    {kMicrosoft, "QMoE", 0b100111, 21, 1, likeInput,
     "k:i activation_type:s normalize_routing_weights:i use_sparse_mixer:i "
     "swiglu_fusion:i swiglu_limit:f activation_alpha:f activation_beta:f "
     "expert_weight_bits:i fc1_expert_weight_bits:i fc2_expert_weight_bits:i "
     "fc3_expert_weight_bits:i block_size:i quant_type:s weights_prepacked:i "
     "accuracy_level:i",
     false},
    {kMicrosoft, "RotaryEmbedding", 0b1111, 4, 1, likeInput,
     "interleaved:i is_packed_batching:i num_heads:i "
     "rotary_embedding_dim:i scale:f"},
    {kMicrosoft, "GroupQueryAttention", 0b1100001, 16, 4,
     inferGroupQueryAttention,
     "num_heads:i kv_num_heads:i do_rotary:i rotary_interleaved:i causal:i "
     "local_window_size:i scale:f softcap:f smooth_softmax:i qk_output:i "
     "qk_norm_epsilon:f sliding_window_cache:i kv_cache_bit_width:i "
     "k_quant_type:s v_quant_type:s"},
    {kMicrosoft, "MultiHeadAttention", 0b1, 10, 4, inferMultiHeadAttention,
     "num_heads:i scale:f mask_filter_value:f unidirectional:i"},
    {"moe_mlir", "SinkAttention", 0b111, 8, 4, inferSinkAttention,
     "is_causal:i kv_num_heads:i left_window_size:i q_num_heads:i "
     "qk_matmul_output_mode:i right_window_size:i scale:f softcap:f "
     "softmax_precision:i"},
    {kMicrosoft, "FusedMatMul", 0b11, 2, 1, inferFusedMatMul,
     "alpha:f transA:i transB:i transBatchA:i transBatchB:i"},
    {kMicrosoft, "MatMulNBits", 0b111, 7, 1, inferMatMulNBits,
     "K:i N:i bits:i block_size:i accuracy_level:i weight_prepacked:i"},
    {kMicrosoft, "QuickGelu", 0b1, 1, 1, likeInput, "alpha:f"},
    {kMicrosoft, "BiasGelu", 0b11, 2, 1, likeInput},
    {kMicrosoft, "FastGelu", 0b1, 2, 1, likeInput},
    {kMicrosoft, "Gelu", 0b1, 1, 1, likeInput},
};

OpSchema makeSchema(const Entry &entry) {
  OpSchema schema(entry.opType, __FILE__, __LINE__);
  schema.SetDomain(entry.domain).SinceVersion(1);
  if (entry.hasOtherAttributes)
    schema.AllowUncheckedAttributes();
  auto parameter = [](const char *kind, int index, bool isRequired) {
    return OpSchema::FormalParameter(kind + std::to_string(index), "", "T",
                                     isRequired ? OpSchema::Single
                                                : OpSchema::Optional,
                                     /*is_homogeneous=*/false);
  };
  for (int i = 0; i < entry.maxInputs; ++i)
    schema.Input(i, parameter("input", i, entry.required >> i & 1));
  for (int i = 0; i < entry.maxOutputs; ++i)
    schema.Output(i, parameter("output", i, i == 0));
  std::istringstream attributes(entry.attributes);
  for (std::string text; attributes >> text;) {
    AttributeProto::AttributeType type =
        text.back() == 'i'   ? AttributeProto::INT
        : text.back() == 'f' ? AttributeProto::FLOAT
                             : AttributeProto::STRING;
    schema.Attr(text.substr(0, text.find(':')), "", type, OPTIONAL_VALUE);
  }
  schema.TypeConstraint("T", OpSchema::all_tensor_types_ir13(), "");
  schema.TypeAndShapeInferenceFunction(entry.infer);
  schema.Finalize();
  return schema;
}

OpSchema makeAnySchema() {
  OpSchema schema("Any", __FILE__, __LINE__);
  schema.SinceVersion(1).AllowUncheckedAttributes();
  schema.Input(0, "inputs", "", "T", OpSchema::Variadic, false, 0);
  schema.Output(0, "outputs", "", "T", OpSchema::Variadic, false, 0);
  schema.TypeConstraint("T", OpSchema::all_tensor_types_ir13(), "");
  schema.Finalize();
  return schema;
}

} // namespace

const OpSchema *
mlir::moe::onnx_import::findContribSchema(const std::string &domain,
                                          const std::string &opType) {
  using Key = std::pair<std::string, std::string>;
  static const std::map<Key, OpSchema> schemas = [] {
    std::map<Key, OpSchema> map;
    for (const Entry &entry : kEntries)
      map.emplace(Key(entry.domain, entry.opType), makeSchema(entry));
    return map;
  }();
  auto found = schemas.find({domain, opType});
  return found == schemas.end() ? nullptr : &found->second;
}

const OpSchema &mlir::moe::onnx_import::anySchema() {
  static const OpSchema schema = makeAnySchema();
  return schema;
}
