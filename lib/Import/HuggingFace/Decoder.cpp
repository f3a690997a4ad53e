//===- Decoder.cpp - A language model from its configuration --------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The forms of routers and experts are those that docs/Recognition.md lists for
// torch: what recognises them is shared, and so is what happens if it does not.
//
//===----------------------------------------------------------------------===//

#include "DecoderBuilder.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace llvm;
using namespace mlir::moe;
using ::onnx::TensorProto;

/// The first operator set with windows in Attention.
static constexpr int64_t kOpset = 25;

//===----------------------------------------------------------------------===//
// Configuration
//===----------------------------------------------------------------------===//

/// Keys about training, generation, or how the checkpoint was made.
static constexpr StringLiteral kIrrelevant[] = {
    "_name_or_path", "architectures", "attention_dropout", "auto_map",
    "bos_token_id", "chunk_size_feed_forward", "classifier_dropout", "dtype",
    "embd_pdrop", "eos_token_id", "hidden_dropout", "hidden_dropout_prob",
    "id2label", "initializer_range", "input_jitter_noise", "is_decoder",
    "label2id", "max_position_embeddings", "model_type", "output_router_logits",
    "pad_token_id", "return_dict", "resid_pdrop", "router_aux_loss_coef",
    "router_jitter_noise", "tokenizer_class", "torch_dtype",
    "transformers_version", "use_cache", "pretraining_tp", "head_dim",
    // Which biases there are is seen from the tensors.
    "attention_bias", "qkv_bias", "lm_head_bias",
    // About training, and sizes that follow from others, of DeepSeek.
    "aux_loss_alpha", "ep_size", "qk_head_dim", "seq_aux",
    // Of gpt-oss: stands with the rotary embeddings, too.
    "initial_context_length"};

void DecoderBuilder::readSizes() {
  hidden = config.size("hidden_size");
  vocabulary = config.size("vocab_size");
  layers = config.count("num_hidden_layers");
  heads = config.size("num_attention_heads");
  keyHeads = config.size("num_key_value_heads", heads);
  experts = readExperts();
  chosen = config.size("num_experts_per_tok");
  expertSize = config.size(family.expertSize);
  epsilon = config.positive("rms_norm_eps");
  if (chosen > experts)
    config.problem("key 'num_experts_per_tok' expects at most the " +
                   Twine(experts) + " experts");
  if (std::string act = config.string("hidden_act", "silu"); act != "silu")
    config.problem("key 'hidden_act' expects silu, '" + act +
                   "' is not supported");
  if (family.headNorm == HeadNorm::AllHeads && config.has("clip_qkv"))
    clip = config.positive("clip_qkv");
  if (family.gatedSharedExpert)
    sharedSize = config.size("shared_expert_intermediate_size");
  if (family.sharedExperts)
    sharedSize =
        config.size("n_shared_experts", 0, 0, Config::kMaxCount) * expertSize;
  if (family.clamps) {
    clampLimit = config.positive("swiglu_limit", 7);
    clampAlpha = config.real("swiglu_alpha", 1.702);
  }
  // Another name of the same.
  if (config.size("experts_per_token", chosen) != chosen)
    config.problem("key 'experts_per_token' expects the " + Twine(chosen) +
                   " of 'num_experts_per_tok'");
  readRouter();
  if (family.latentAttention)
    readLatentAttention();
  else
    readHeads();
  if (family.multipliers) {
    embeddingFactor = config.real("embedding_multiplier", 1);
    residualFactor = config.real("residual_multiplier", 1);
    logitsFactor = 1 / config.positive("logits_scaling", 1);
    attentionScale = config.real("attention_multiplier", 1);
  }
}

void DecoderBuilder::readHeads() {
  headSize = config.count("head_dim", std::max<int64_t>(hidden / heads, 1));
  attentionScale = 1.0 / std::sqrt(static_cast<double>(headSize));
  if (heads % keyHeads != 0)
    config.problem("key 'num_key_value_heads' expects a divisor of the " +
                   Twine(heads) + " heads");
  if (family.biases)
    attentionBiases = config.flag("attention_bias", true);
  if (family.describesRotary && !config.has("rope_parameters") &&
      !config.has("rope_scaling"))
    config.problem("key 'rope_parameters' is missing");
  rotary = readRotary(config, headSize, problems);
  keyCache = valueCache = {keyHeads, headSize};
}

/// The key's name depends on the version of transformers that wrote it.
int64_t DecoderBuilder::readExperts() {
  std::optional<int64_t> count;
  for (const char *key :
       {"num_experts", "num_local_experts", "n_routed_experts"}) {
    if (!config.has(key))
      continue;
    int64_t found = config.count(key);
    if (count && *count != found)
      config.problem("key '" + Twine(key) + "' expects the " + Twine(*count) +
                     " experts that there are elsewhere, got " + Twine(found));
    count = found;
  }
  return count ? *count : config.count("num_experts");
}

void DecoderBuilder::readWindow() {
  slides.assign(layers, false);
  if (family.window == Window::None)
    return;
  bool byLayer = family.window == Window::ByLayer;
  bool enabled = family.window == Window::Sized || byLayer ||
                 config.flag("use_sliding_window", false);
  if (enabled && config.has("sliding_window"))
    window = config.size("sliding_window");
  int64_t first = 0;
  if (family.window == Window::EnabledFromLayer && window > 0)
    first = config.size("max_window_layers", 0, 0);
  config.ignore({"sliding_window", "use_sliding_window", "max_window_layers"});
  for (int64_t i = 0; i < layers; ++i)
    slides[i] = window > 0 && (byLayer ? i % 2 == 0 : i >= first);
  // Newer files spell it out; where that is not the only place, they have to
  // say the same.
  const json::Value *types = config.get("layer_types");
  if (!types)
    return;
  const json::Array *array = types->getAsArray();
  bool agrees = array && array->size() == static_cast<size_t>(layers);
  for (int64_t i = 0; agrees && i < layers; ++i) {
    std::optional<StringRef> type = (*array)[i].getAsString();
    if (byLayer && window > 0)
      slides[i] = type == StringRef("sliding_attention");
    agrees =
        type == StringRef(slides[i] ? "sliding_attention" : "full_attention");
  }
  if (!agrees)
    config.problem("key 'layer_types' expects a type for each layer, in "
                   "agreement with the sliding window");
}

/// Layers without experts: the first ones, or those that are named; and all but
/// every n-th.
void DecoderBuilder::readSparseLayers() {
  int64_t first = 0, step = 1, phase = 0;
  if (family.denseInFront) {
    first = config.size("first_k_dense_replace", 0, 0);
    step = config.size("moe_layer_freq", 1);
  } else {
    step = config.size("decoder_sparse_step", 1);
    phase = 1;
  }
  for (int64_t i = 0; i < layers; ++i)
    if (i < first || (i + phase) % step != 0)
      denseLayers.insert(i);
  if (const json::Value *value = config.get("mlp_only_layers")) {
    const json::Array *array = value->getAsArray();
    for (const json::Value &layer : array ? *array : json::Array())
      if (std::optional<int64_t> index = layer.getAsInteger())
        denseLayers.insert(*index);
      else
        array = nullptr;
    if (!array)
      config.problem("key 'mlp_only_layers' expects numbers of layers");
  }
  config.ignore({"intermediate_size"});
  if (!denseLayers.empty())
    denseSize = config.size("intermediate_size");
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

int32_t mlir::moe::floatType(StringRef name) {
  return StringSwitch<int32_t>(name)
      .Case("F32", TensorProto::FLOAT)
      .Case("F16", TensorProto::FLOAT16)
      .Case("BF16", TensorProto::BFLOAT16)
      .Default(0);
}

/// The type that the model computes in is that of its embeddings.
void DecoderBuilder::chooseType() {
  auto found = tensors.find("model.embed_tokens.weight");
  if (found == tensors.end())
    return; // is reported when it is used
  storedType = found->second->type;
  type = floatType(storedType->name);
  if (type == 0) {
    config.problem("tensor 'model.embed_tokens.weight' is of type " +
                   storedType->name + ", expects F32, F16 or BF16");
    type = TensorProto::FLOAT;
  }
}

std::string mlir::moe::shapeText(ArrayRef<int64_t> shape) {
  std::string text = "[";
  for (int64_t dim : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  return text + "]";
}

const SafetensorsTensor *DecoderBuilder::take(const std::string &name,
                                              ArrayRef<int64_t> shape,
                                              const SafetensorsType *expected) {
  used.insert(name);
  auto found = tensors.find(name);
  if (found == tensors.end()) {
    config.problem("tensor '" + name + "' is missing");
    return nullptr;
  }
  const SafetensorsTensor *tensor = found->second;
  if (weights.blockRows > 0 && tensor->type->name == "F8_E4M3" &&
      shape.size() == 2) {
    takeScales(name, shape);
    expected = nullptr;
  }
  if (ArrayRef<int64_t>(tensor->shape) != shape)
    config.problem("tensor '" + name + "' has shape " +
                   shapeText(tensor->shape) + ", expects " + shapeText(shape));
  if (expected && tensor->type != expected)
    config.problem("tensor '" + name + "' is of type " + tensor->type->name +
                   ", expects " + expected->name +
                   (expected == storedType ? " like the embeddings" : ""));
  return tensor;
}

/// What a matrix of 8-bit floats is multiplied by.
void DecoderBuilder::takeScales(const std::string &matrix,
                                ArrayRef<int64_t> shape) {
  std::string name = matrix + DecoderWeights::kScales.str();
  const SafetensorsTensor *scales =
      take(name,
           {divideCeilSigned(shape[0], weights.blockRows),
            divideCeilSigned(shape[1], weights.blockColumns)},
           nullptr);
  if (scales && !is_contained({"F32", "F16", "BF16"}, scales->type->name))
    config.problem("tensor '" + name + "' is of type " + scales->type->name +
                   ", expects F32, F16 or BF16");
}

Name DecoderBuilder::stack(const std::string &name,
                           ArrayRef<std::string> slices,
                           ArrayRef<int64_t> shape) {
  if (weights.slices.count(name))
    return name;
  bool stacked = slices.size() != 1 || slices.front() != name;
  for (const std::string &slice : slices)
    if (!hasManyProblems())
      take(slice, stacked ? shape.drop_front() : shape, storedType);
  return initializer(name, slices, shape, type);
}

Name DecoderBuilder::initializer(const std::string &name,
                                 ArrayRef<std::string> slices,
                                 ArrayRef<int64_t> shape, int32_t elements) {
  TensorProto &tensor = *graph.add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(elements);
  for (int64_t dim : shape)
    tensor.add_dims(dim);
  weights.slices[name].assign(slices.begin(), slices.end());
  return name;
}

Name DecoderBuilder::weight(const std::string &name, ArrayRef<int64_t> shape) {
  return stack(name, {name}, shape);
}

Name DecoderBuilder::weightInF32(const std::string &name,
                                 ArrayRef<int64_t> shape) {
  auto found = tensors.find(name);
  bool isF32 = found != tensors.end() && found->second->type->name == "F32";
  if (!isF32)
    return type == TensorProto::FLOAT
               ? weight(name, shape)
               : cast(weight(name, shape), TensorProto::FLOAT);
  take(name, shape, nullptr);
  return initializer(name, {name}, shape, TensorProto::FLOAT);
}

/// Whether a tensor belongs to the layers behind the last one that predict the
/// tokens after the next, for speculation.
bool DecoderBuilder::isOfExtraLayer(StringRef name) const {
  int64_t layer;
  return name.consume_front("model.layers.") &&
         !name.consumeInteger(10, layer) && name.starts_with(".") &&
         layer >= layers && layer < layers + extraLayers;
}

void DecoderBuilder::refuseUnusedTensors() {
  std::string named;
  unsigned count = 0;
  for (const auto &[name, tensor] : tensors) {
    // A table that checkpoints of old have.
    if (used.count(name) || StringRef(name).ends_with("rotary_emb.inv_freq") ||
        isOfExtraLayer(name))
      continue;
    if (++count <= 10)
      named += (named.empty() ? "'" : ", '") + name + "'";
  }
  if (count)
    config.problem(
        "tensors that a model of type '" + family.modelType +
        "' does not have: " + named +
        (count > 10 ? " and " + std::to_string(count - 10) + " more" : ""));
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

/// x [.., inputs] times the transpose of [outputs, inputs], plus a bias where
/// the checkpoint has one or `needsBias`.
Name DecoderBuilder::linear(Name x, const std::string &prefix, int64_t outputs,
                            int64_t inputs, bool needsBias) {
  Name matrix = matrices(prefix, prefix, outputs, inputs);
  Name y = write.node("FusedMatMul", {x, matrix}, {{"transB", int64_t(1)}},
                      kMicrosoft);
  if (!needsBias && !has(prefix + ".bias"))
    return y;
  return write.node("Add", {y, weight(prefix + ".bias", {outputs})});
}

Name DecoderBuilder::norm(Name x, const std::string &name, int64_t size,
                          double epsilon) {
  if (family.layerNorm)
    return write.node(
        "LayerNormalization",
        {x, weight(name + ".weight", {size}), weight(name + ".bias", {size})},
        {{"axis", int64_t(-1)}, {"epsilon", static_cast<float>(epsilon)}});
  return write.node(
      "RMSNormalization", {x, weight(name + ".weight", {size})},
      {{"axis", int64_t(-1)}, {"epsilon", static_cast<float>(epsilon)}});
}

/// What the matrix behind it multiplies.
Name DecoderBuilder::activate(Name gate, Name up) {
  if (!family.clamps) {
    Name sigmoid = write.node("Sigmoid", {gate});
    return write.node("Mul", {write.node("Mul", {gate, sigmoid}), up});
  }
  // In f32: 16 bits round the constants.
  auto real = [&](double x) { return write.real(x, TensorProto::FLOAT); };
  auto clip = [&](Name x, Name low) {
    x = type == TensorProto::FLOAT ? x : cast(x, TensorProto::FLOAT);
    return write.node("Clip", {x, low, real(clampLimit)});
  };
  gate = clip(gate, "");
  up = clip(up, real(-clampLimit));
  Name sigmoid =
      write.node("Sigmoid", {write.node("Mul", {gate, real(clampAlpha)})});
  up = write.node("Add", {up, real(1)});
  Name y = write.node("Mul", {up, write.node("Mul", {gate, sigmoid})});
  return type == TensorProto::FLOAT ? y : cast(y, type);
}

/// Of x [batch, sequence, heads * size].
Name DecoderBuilder::headNorm(Name x, const std::string &name, int64_t count) {
  if (family.headNorm == HeadNorm::None)
    return x;
  if (family.headNorm == HeadNorm::AllHeads)
    return norm(x, name, count * headSize);
  Name split = reshape(x, {0, 0, count, headSize});
  return reshape(norm(split, name, headSize), {0, 0, count * headSize});
}

void DecoderBuilder::buildInputs() {
  write.input("input_ids", TensorProto::INT64, {"batch", "sequence"});
  Name flags =
      write.input("attention_mask", TensorProto::INT64, {"batch", "total"});
  for (int64_t i = 0; i < layers; ++i)
    for (auto [part, shape] :
         {std::pair("key", keyCache), {"value", valueCache}})
      write.input("past_key_values." + std::to_string(i) + "." + part, type,
                  {"batch", shape.first, "past", shape.second});
  mask = unsqueeze(cast(flags, TensorProto::BOOL), {1, 2});
}

/// Cosines and sines [batch, sequence, size / 2] of the new positions, which
/// follow those of the cache.
void DecoderBuilder::buildPositions() {
  auto sizeOf = [&](Name value, int64_t axis) {
    return write.node("Gather",
                      {write.node("Shape", {value}), write.integer(axis)});
  };
  Name past = sizeOf("past_key_values.0.key", 2);
  Name end = write.node("Add", {past, sizeOf("input_ids", 1)});
  Name positions = write.node("Range", {past, end, write.integer(1)});
  Name column = unsqueeze(cast(positions, TensorProto::FLOAT), {0, 2});
  int64_t half = static_cast<int64_t>(rotary.frequencies.size());
  // Constants of short texts or, if there are others, of long ones.
  Name isLong;
  if (rotary.length > 0)
    isLong = write.node("Greater", {end, write.integer(rotary.length)});
  auto constants = [&](ArrayRef<double> usual, ArrayRef<double> atLength,
                       ArrayRef<int64_t> dims) {
    Name value = write.reals(usual, dims, TensorProto::FLOAT);
    if (isLong.empty())
      return value;
    Name other = write.reals(atLength, dims, TensorProto::FLOAT);
    return write.node("Where", {isLong, other, value});
  };
  Name angles = write.node(
      "Mul", {column, constants(rotary.frequencies, rotary.longFrequencies,
                                {1, 1, half})});
  Name batch = unsqueeze(sizeOf("input_ids", 0), {0});
  Name shape = concat({batch, write.integers({1, 1})}, 0);
  if (family.latentAttention)
    lengths = write.node("Expand", {end, batch});
  auto table = [&](const char *function) {
    Name values = write.node(function, {angles});
    if (rotary.factor != 1 || rotary.longFactor != 1)
      values = write.node(
          "Mul", {values, constants(rotary.factor, rotary.longFactor, {})});
    return write.node("Expand", {cast(values, type), shape});
  };
  cosines = table("Cos");
  sines = table("Sin");
}

Name DecoderBuilder::buildAttention(Name x, int64_t layer) {
  if (family.latentAttention)
    return buildLatentAttention(x, layer);
  std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn";
  write.scope = prefix;
  Name q =
      linear(x, prefix + ".q_proj", heads * headSize, hidden, attentionBiases);
  Name k = linear(x, prefix + ".k_proj", keyHeads * headSize, hidden,
                  attentionBiases);
  Name v = linear(x, prefix + ".v_proj", keyHeads * headSize, hidden,
                  attentionBiases);
  q = headNorm(q, prefix + ".q_norm", heads);
  k = headNorm(k, prefix + ".k_norm", keyHeads);
  if (clip)
    for (Name *value : {&q, &k, &v})
      *value = write.node(
          "Clip", {*value, write.real(-*clip, type), write.real(*clip, type)});
  int64_t dim = 2 * static_cast<int64_t>(rotary.frequencies.size());
  auto rotate = [&](Name value, int64_t count) {
    return write.node("RotaryEmbedding", {value, cosines, sines},
                      {{"num_heads", count},
                       {"rotary_embedding_dim", dim == headSize ? 0 : dim}});
  };
  std::string index = std::to_string(layer);
  Name past = "past_key_values." + index;
  std::vector<Name> operands{rotate(q, heads), rotate(k, keyHeads), v, mask,
                             past + ".key",    past + ".value"};
  if (family.sinks)
    operands.insert(operands.end(), {"", weight(prefix + ".sinks", {heads})});
  std::vector<Name> results =
      write.nodes(family.sinks ? "SinkAttention" : "Attention", operands, 3,
                  {{"q_num_heads", heads},
                   {"kv_num_heads", keyHeads},
                   {"is_causal", int64_t(1)},
                   {"scale", static_cast<float>(attentionScale)},
                   {"left_window_size", slides[layer] ? window - 1 : -1}},
                  family.sinks ? kOwnDomain : "");
  write.rename(results[1], "present." + index + ".key");
  write.rename(results[2], "present." + index + ".value");
  return linear(results[0], prefix + ".o_proj", hidden, heads * headSize,
                attentionBiases);
}

Name DecoderBuilder::buildMLP(Name x, const std::string &prefix,
                              int64_t inner) {
  Name gate = linear(x, prefix + ".gate_proj", inner, hidden);
  Name up = linear(x, prefix + ".up_proj", inner, hidden);
  return linear(activate(gate, up), prefix + ".down_proj", hidden, inner);
}

/// The matrices of the chosen experts, gathered for each row.
Name DecoderBuilder::buildExperts(Name rows, Name routing, Name ids,
                                  const std::string &block) {
  std::string prefix = block + ".experts.";
  auto stacked = [&](StringRef part, int64_t outputs, int64_t inputs) {
    if (quantization.method == Quantization::MXFP4 &&
        !has(block + "." + part.str()))
      return mxfp4(block + "." + part.str(), outputs, inputs);
    if (family.interleaved)
      return weight(block + "." + part.str(), {experts, inputs, outputs});
    if (family.stacked)
      return weight(block + "." + part.str(), {experts, outputs, inputs});
    std::vector<std::string> prefixes;
    for (int64_t e = 0; e < experts; ++e)
      prefixes.push_back(prefix + std::to_string(e) + "." + part.str());
    return matrices(prefix + part.str(), prefixes, outputs, inputs);
  };
  Name flat = unsqueeze(reshape(ids, {-1}), {1});
  auto product = [&](Name columns, StringRef part, int64_t outputs,
                     int64_t inputs) {
    Name matrix = stacked(part, outputs, inputs);
    Name chosenMatrix = write.node("GatherND", {matrix, flat});
    bool isRow = family.interleaved && weights.slices.count(matrix);
    Name x = unsqueeze(columns, {isRow ? 1 : 2});
    Name y = isRow ? write.node("MatMul", {x, chosenMatrix})
                   : write.node("MatMul", {chosenMatrix, x});
    y = write.node("Squeeze", {y, write.integers({isRow ? 1 : 2})});
    if (!family.biases)
      return y;
    Name values =
        weight(block + "." + part.str() + "_bias", {experts, outputs});
    return write.node("Add", {y, write.node("GatherND", {values, flat})});
  };
  Name repeated = write.node(
      "Expand", {unsqueeze(rows, {1}), write.integers({1, chosen, 1})});
  Name x = reshape(repeated, {-1, hidden});
  Name inner;
  if (family.stacked) {
    Name both = product(x, family.gate, 2 * expertSize, hidden);
    std::vector<Name> parts;
    if (family.interleaved)
      parts = {slice(both, 0, 2), slice(both, 1, 2)};
    else
      parts = write.nodes("Split", {both}, 2,
                          {{"axis", int64_t(1)}, {"num_outputs", int64_t(2)}});
    inner = activate(parts[0], parts[1]);
  } else {
    Name gate = product(x, family.gate, expertSize, hidden);
    inner = activate(gate, product(x, family.up, expertSize, hidden));
  }
  Name y = product(inner, family.down, hidden, expertSize);
  y = write.node("Mul", {y, unsqueeze(reshape(routing, {-1}), {1})});
  return write.node("ReduceSum",
                    {reshape(y, {-1, chosen, hidden}), write.integers({1})},
                    {{"keepdims", int64_t(0)}});
}

Name DecoderBuilder::buildSparseBlock(Name x, int64_t layer) {
  std::string block =
      "model.layers." + std::to_string(layer) + "." + family.block.str();
  write.scope = block;
  if (denseLayers.count(layer))
    return buildMLP(x, block, denseSize);
  Name rows = reshape(x, {-1, hidden});
  auto [routing, ids] = buildRouter(rows, block);
  write.scope = block + ".experts";
  Name y = buildExperts(rows, routing, ids, block);
  write.scope = block;
  if (family.gatedSharedExpert) {
    Name shared = buildMLP(rows, block + ".shared_expert", sharedSize);
    Name gate = linear(rows, block + ".shared_expert_gate", 1, hidden);
    shared = write.node("Mul", {write.node("Sigmoid", {gate}), shared});
    y = write.node("Add", {y, shared});
  }
  if (family.sharedExperts && sharedSize > 0)
    y = write.node("Add",
                   {y, buildMLP(rows, block + ".shared_experts", sharedSize)});
  return write.node("Reshape", {y, write.node("Shape", {x})});
}

void DecoderBuilder::build() {
  if (quantization.method == Quantization::MXFP4 && !family.interleaved)
    config.problem("key 'quantization_config.quant_method' is mxfp4, which a "
                   "model of type '" +
                   family.modelType + "' is not expected to have");
  readSizes();
  readWindow();
  readSparseLayers();
  bool tied = config.flag("tie_word_embeddings", !has("lm_head.weight"));
  extraLayers =
      config.size("num_nextn_predict_layers", 0, 0, Config::kMaxCount);
  config.ignore(kIrrelevant);
  config.refuseUnknown();
  chooseType();
  // Loops that follow must not depend on sizes that are wrong.
  if (!problems.empty())
    return;
  constexpr int64_t kMaxSlices = 1 << 22;
  if (layers > kMaxSlices / experts)
    return config.problem("has " + Twine(layers) + " layers of " +
                          Twine(experts) + " experts, expects at most " +
                          Twine(kMaxSlices) + " in all");

  graph.set_name("main");
  buildInputs();
  buildPositions();
  write.scope = "model";
  std::string embedding = "model.embed_tokens.weight";
  Name x = write.node("Gather",
                      {weight(embedding, {vocabulary, hidden}), "input_ids"});
  x = scaled(x, embeddingFactor);
  for (int64_t i = 0; i < layers; ++i) {
    std::string layer = "model.layers." + std::to_string(i);
    auto residual = [&](Name branch) {
      write.scope = layer;
      x = write.node("Add", {x, scaled(branch, residualFactor)});
    };
    write.scope = layer;
    residual(buildAttention(norm(x, layer + ".input_layernorm", hidden), i));
    residual(buildSparseBlock(
        norm(x, layer + ".post_attention_layernorm", hidden), i));
    if (hasManyProblems())
      return;
  }
  write.scope = "model";
  x = norm(x, "model.norm", hidden);
  Name matrix =
      tied ? embedding : weight("lm_head.weight", {vocabulary, hidden});
  used.insert("lm_head.weight");
  write.scope = "lm_head";
  Name logits = write.node("FusedMatMul", {x, matrix}, {{"transB", int64_t(1)}},
                           kMicrosoft);
  if (has("lm_head.bias"))
    logits = write.node("Add", {logits, weight("lm_head.bias", {vocabulary})});
  write.rename(scaled(logits, logitsFactor), "logits");
  write.output("logits", type, {"batch", "sequence", vocabulary});
  for (int64_t i = 0; i < layers; ++i)
    for (auto [part, shape] :
         {std::pair("key", keyCache), {"value", valueCache}})
      write.output("present." + std::to_string(i) + "." + part, type,
                   {"batch", shape.first, "total", shape.second});
  refuseUnusedTensors();
}

//===----------------------------------------------------------------------===//
// Entry
//===----------------------------------------------------------------------===//

std::vector<std::string> mlir::moe::supportedDecoders() {
  std::vector<std::string> names;
  for (const Architecture &family : kArchitectures)
    names.push_back(family.modelType.str());
  return names;
}

std::vector<std::string>
mlir::moe::buildDecoder(const json::Object &object,
                        const CheckpointTensors &tensors,
                        const ReadTensor &read, ::onnx::ModelProto &model,
                        DecoderWeights &weights) {
  std::vector<std::string> problems;
  Config config(object, problems);
  std::string modelType = config.string("model_type");
  Quantization quantization = readQuantization(config, weights, problems);
  if (!problems.empty())
    return problems;
  const Architecture *family =
      llvm::find_if(kArchitectures, [&](const Architecture &candidate) {
        return candidate.modelType == modelType;
      });
  if (family == std::end(kArchitectures)) {
    config.problem("key 'model_type' expects one of " +
                   join(supportedDecoders(), ", ") + ", got '" + modelType +
                   "'");
    return problems;
  }
  model.set_ir_version(13);
  for (auto [domain, version] :
       {std::pair("", kOpset), std::pair(kMicrosoft, int64_t(1)),
        std::pair(kOwnDomain, int64_t(1))}) {
    auto &import = *model.add_opset_import();
    import.set_domain(domain);
    import.set_version(version);
  }
  DecoderBuilder(*family, config, quantization, tensors, read, model, weights,
                 problems)
      .build();
  return problems;
}
