//===- Quantization.cpp - How a checkpoint's matrices are stored ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Quantization.h"

#include "DecoderBuilder.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace mlir::moe;
using ::onnx::TensorProto;

//===----------------------------------------------------------------------===//
// Configuration
//===----------------------------------------------------------------------===//

static constexpr const char *kKey = "quantization_config";

/// Weights of 8-bit floats with scales for blocks; activations stay floats.
static void readFP8(Config &keys, DecoderWeights &weights) {
  if (std::string format = keys.string("fmt", "e4m3"); format != "e4m3")
    return keys.problem("key '" + Twine(kKey) + ".fmt' expects e4m3, '" +
                        format + "' is not supported");
  keys.ignore({"activation_scheme", "ignored_layers"});
  const json::Value *block = keys.get("weight_block_size");
  const json::Array *sides = block ? block->getAsArray() : nullptr;
  auto side = [&](size_t i) {
    std::optional<int64_t> size =
        sides && sides->size() == 2 ? (*sides)[i].getAsInteger() : std::nullopt;
    return size && *size <= INT32_MAX ? *size : 0;
  };
  weights.blockRows = side(0);
  weights.blockColumns = side(1);
  if (weights.blockRows < 1 || weights.blockColumns < 1)
    keys.problem("key '" + Twine(kKey) +
                 ".weight_block_size' expects two whole numbers from 1");
}

/// Keys about how the integers were found, and for certain kernels.
static constexpr StringLiteral kIrrelevant[] = {
    "act_group_aware", "backend", "batch_size", "block_name_to_quantize",
    "cache_block_outputs", "damp_auto_increment", "damp_percent", "dataset",
    "disable_exllama", "do_fuse", "exllama_config", "fuse_max_seq_len",
    "hyb_act", "max_input_length", "meta", "model_file_base_name",
    "model_name_or_path", "model_seqlen", "module_name_preceding_first_block",
    "modules_in_block_to_quantize", "mse", "pad_token_id", "static_groups",
    "sym", "tokenizer", "true_sequential", "use_cuda_fp16", "use_exllama",
    // Which matrices are floats is seen from the tensors.
    "dequantize", "lm_head", "modules_to_fuse", "modules_to_not_convert"};

/// Bits and groups.
static void readGroups(Config &keys, ArrayRef<int64_t> bits,
                       Quantization &result) {
  auto number = [&](StringRef key, auto isValid, const Twine &expected) {
    const json::Value *value = keys.get(key);
    std::optional<int64_t> found = value ? value->getAsInteger() : std::nullopt;
    if (found && isValid(*found))
      return *found;
    keys.problem("key '" + Twine(kKey) + "." + key + "' expects " + expected +
                 (found ? ", got " + Twine(*found) : Twine()));
    return int64_t(0);
  };
  std::string choices = join(
      map_range(bits, [](int64_t x) { return std::to_string(x); }), " or ");
  int64_t found =
      number("bits", [&](int64_t x) { return is_contained(bits, x); }, choices);
  result.bits = found ? found : bits.front();
  int64_t perWord = result.perWord();
  result.groupSize = number(
      "group_size",
      [&](int64_t x) {
        return x == -1 || (x > 0 && x <= INT32_MAX && x % perWord == 0);
      },
      "-1 or a multiple of " + Twine(perWord));
  result.isReordered = keys.flag("desc_act", false);
}

static void readGPTQ(Config &keys, Quantization &result) {
  readGroups(keys, {4, 8}, result);
  std::string format = keys.string("checkpoint_format", "gptq");
  if (keys.string("format", format) != format ||
      (format != "gptq" && format != "gptq_v2"))
    keys.problem("key 'quantization_config.checkpoint_format' expects gptq or "
                 "gptq_v2, got '" +
                 format + "'");
  result.increment = format == "gptq" ? 1 : 0;
  if (keys.string("pack_dtype", "int32") != "int32")
    keys.problem("key 'quantization_config.pack_dtype' expects int32");
  const json::Value *dynamic = keys.get("dynamic");
  const json::Object *each = dynamic ? dynamic->getAsObject() : nullptr;
  if (dynamic && (!each || !each->empty()))
    keys.problem("key 'quantization_config.dynamic' expects to be empty: "
                 "matrices that are quantized differently are not supported");
}

static void readAWQ(Config &keys, Quantization &result) {
  readGroups(keys, {4}, result);
  if (std::string version = keys.string("version", "gemm");
      StringRef(version).lower() != "gemm")
    keys.problem("key 'quantization_config.version' expects gemm, got '" +
                 version + "'");
  if (!keys.flag("zero_point", true))
    keys.problem("key 'quantization_config.zero_point' expects true");
}

Quantization mlir::moe::readQuantization(Config &config,
                                         DecoderWeights &weights,
                                         std::vector<std::string> &problems) {
  Quantization result;
  const json::Value *value = config.get(kKey);
  if (!value)
    return result;
  const json::Object *object = value->getAsObject();
  if (!object) {
    config.problem("key '" + Twine(kKey) + "' expects an object");
    return result;
  }
  Config keys(*object, problems, std::string(kKey) + ".");
  std::string method = keys.string("quant_method");
  result.method = StringSwitch<Quantization::Method>(method)
                      .Case("fp8", Quantization::FP8)
                      .Case("mxfp4", Quantization::MXFP4)
                      .Case("gptq", Quantization::GPTQ)
                      .Case("awq", Quantization::AWQ)
                      .Default(Quantization::None);
  if (result.method == Quantization::None) {
    config.problem("key '" + Twine(kKey) +
                   ".quant_method' expects fp8, mxfp4, gptq or awq, '" +
                   method + "' is not supported");
    return result;
  }
  if (result.method == Quantization::FP8)
    readFP8(keys, weights);
  else if (result.method == Quantization::GPTQ)
    readGPTQ(keys, result);
  else if (result.method == Quantization::AWQ)
    readAWQ(keys, result);
  keys.ignore(kIrrelevant);
  if (problems.empty())
    keys.refuseUnknown();
  return result;
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

TensorLayout Quantization::weights(int64_t outputs, int64_t inputs) const {
  int64_t p = perWord();
  if (method == GPTQ)
    return {{outputs, inputs / p, p}, {p, outputs * p, 1}, 0};
  // Bit 2a + b of a column's number in its word is at 4b + a.
  return {{outputs / p, p / 2, 2, inputs}, {p, 1, p / 2, outputs}, 0};
}

TensorLayout Quantization::zeroPoints(int64_t outputs, int64_t groups) const {
  int64_t p = perWord();
  if (method == GPTQ)
    return {{}, {1, outputs}, increment};
  return {{outputs / p, p / 2, 2, groups}, {p, 1, p / 2, outputs}, 0};
}

TensorLayout Quantization::scales(int64_t outputs) {
  return {{}, {1, outputs}, 0};
}

static const SafetensorsType *typeNamed(StringRef name) {
  return find_if(safetensorsTypes(), [&](const SafetensorsType &type) {
    return type.name == name;
  });
}

/// [experts, outputs, inputs] of blocks [experts, outputs, blocks, bytes], of
/// whose bytes the lower half comes first, and an exponent per block.
Name DecoderBuilder::mxfp4(const std::string &name, int64_t outputs,
                           int64_t inputs) {
  constexpr int64_t kBlock = 32;
  int64_t blocks = inputs / kBlock;
  std::string values = name + "_blocks", scales = name + "_scales";
  if (inputs % kBlock != 0) {
    config.problem("matrices '" + name + "' of " + Twine(inputs) +
                   " columns cannot consist of MXFP4 blocks of " +
                   Twine(kBlock));
    used.insert({values, scales});
    return name;
  }
  take(values, {experts, outputs, blocks, kBlock / 2}, typeNamed("U8"));
  take(scales, {experts, outputs, blocks}, typeNamed("U8"));
  initializer(values, values, {experts, outputs, inputs},
              TensorProto::FLOAT4E2M1);
  initializer(scales, scales, {experts, outputs, blocks},
              TensorProto::FLOAT8E8M0);
  return write.node("DequantizeLinear", {values, scales},
                    {{"axis", int64_t(2)},
                     {"block_size", kBlock},
                     {"output_dtype", int64_t(type)}});
}

/// What a tensor contains that the graph depends on; none after a problem.
std::optional<std::string>
DecoderBuilder::contents(const std::string &name, ArrayRef<int64_t> shape,
                         const SafetensorsType *expected) {
  size_t before = problems.size();
  const SafetensorsTensor *tensor = take(name, shape, expected);
  if (problems.size() != before)
    return std::nullopt;
  Expected<std::string> bytes = read(*tensor);
  if (bytes)
    return std::move(*bytes);
  config.problem("tensor '" + name + "' " + toString(bytes.takeError()));
  return std::nullopt;
}

/// The tensors of one matrix in groups, and that these are of consecutive
/// columns.
void DecoderBuilder::takeGroups(const std::string &prefix, int64_t outputs,
                                int64_t inputs,
                                const SafetensorsType *scaleType) {
  const Quantization &q = quantization;
  int64_t group = q.groupOf(inputs), groups = divideCeil(inputs, group);
  bool alongInputs = q.method == Quantization::GPTQ;
  int64_t words = (alongInputs ? inputs : outputs) / q.perWord();
  SmallVector<int64_t> shape{words, outputs};
  if (!alongInputs)
    shape = {inputs, words};
  take(prefix + ".qweight", shape, typeNamed("I32"));
  take(prefix + ".qzeros", {groups, outputs / q.perWord()}, typeNamed("I32"));
  take(prefix + ".scales", {groups, outputs}, scaleType);
  std::string order = prefix + ".g_idx";
  if (!alongInputs || (!has(order) && !q.isReordered))
    return;
  std::optional<std::string> bytes =
      contents(order, {inputs}, typeNamed("I32"));
  for (int64_t k = 0; bytes && k < inputs; ++k) {
    int32_t found = support::endian::read32le(bytes->data() + 4 * k);
    if (found == k / group)
      continue;
    return config.problem(
        "tensor '" + order + "' puts column " + Twine(k) + " into group " +
        Twine(found) +
        (found < 0 || found >= groups
             ? ", expects groups from 0 to " + Twine(groups - 1)
             : ": groups of columns that are not consecutive (desc_act) are "
               "not supported, expects group " +
                   Twine(k / group)));
  }
}

/// GPTQ's writers give each matrix a bias, zeros where the model has none.
void DecoderBuilder::takeZeroBias(const std::string &name, int64_t outputs) {
  if (!has(name))
    return;
  std::optional<std::string> bytes = contents(name, {outputs}, nullptr);
  if (bytes && StringRef(*bytes).find_first_not_of('\0') != StringRef::npos)
    config.problem("tensor '" + name +
                   "' expects zeros: experts of a model of type '" +
                   family.modelType + "' have no biases");
}

/// [outputs, inputs] of `prefixes`, or a stack of them, that GPTQ or AWQ wrote.
Name DecoderBuilder::grouped(const std::string &name,
                             ArrayRef<std::string> prefixes, int64_t outputs,
                             int64_t inputs) {
  const Quantization &q = quantization;
  int64_t perWord = q.perWord();
  int64_t group = q.groupOf(inputs), groups = divideCeil(inputs, group);
  if (outputs % perWord != 0 || inputs % perWord != 0) {
    config.problem("matrix '" + prefixes.front() + "' of shape " +
                   shapeText({outputs, inputs}) +
                   " cannot consist of words of " + Twine(perWord) +
                   " integers");
    return name;
  }
  // They need not be of the type that the model computes in.
  std::string firstScales = prefixes.front() + ".scales";
  auto found = tensors.find(firstScales);
  const SafetensorsType *scaleType =
      found == tensors.end() ? typeNamed("F16") : found->second->type;
  int32_t floats = floatType(scaleType->name);
  if (floats == 0)
    config.problem("tensor '" + firstScales + "' is of type " +
                   scaleType->name + ", expects F32, F16 or BF16");
  bool isStack = prefixes.size() != 1 || prefixes.front() != name;
  for (const std::string &prefix : prefixes) {
    if (hasManyProblems())
      break;
    takeGroups(prefix, outputs, inputs, scaleType);
    if (isStack)
      takeZeroBias(prefix + ".bias", outputs);
  }
  if (!problems.empty())
    return name;
  int32_t integers = q.bits == 4 ? TensorProto::UINT4 : TensorProto::UINT8;
  auto part = [&](const char *suffix, int64_t count, int32_t type,
                  TensorLayout layout) {
    std::vector<std::string> slices;
    for (const std::string &prefix : prefixes)
      slices.push_back(prefix + suffix);
    SmallVector<int64_t> shape{outputs, count};
    if (isStack)
      shape.insert(shape.begin(), static_cast<int64_t>(prefixes.size()));
    weights.layouts[name + suffix] = std::move(layout);
    return initializer(name + suffix, slices, shape, type);
  };
  Name values = part(".qweight", inputs, integers, q.weights(outputs, inputs));
  Name scales = part(".scales", groups, floats, q.scales(outputs));
  Name zeroPoints =
      part(".qzeros", groups, integers, q.zeroPoints(outputs, groups));
  return write.node("DequantizeLinear", {values, scales, zeroPoints},
                    {{"axis", int64_t(-1)},
                     {"block_size", group},
                     {"output_dtype", int64_t(type)}});
}

/// [outputs, inputs] of a linear map, or [n, outputs, inputs] of those of a
/// stack called `name`.
Name DecoderBuilder::matrices(const std::string &name,
                              ArrayRef<std::string> prefixes, int64_t outputs,
                              int64_t inputs) {
  bool inGroups = quantization.method == Quantization::GPTQ ||
                  quantization.method == Quantization::AWQ;
  if (inGroups && has(prefixes.front() + ".qweight"))
    return grouped(name, prefixes, outputs, inputs);
  if (prefixes.size() == 1 && prefixes.front() == name)
    return weight(name + ".weight", {outputs, inputs});
  std::vector<std::string> slices;
  for (const std::string &prefix : prefixes)
    slices.push_back(prefix + ".weight");
  return stack(name, slices,
               {static_cast<int64_t>(prefixes.size()), outputs, inputs});
}
