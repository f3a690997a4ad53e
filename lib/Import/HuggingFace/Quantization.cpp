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
                      .Default(Quantization::None);
  if (result.method == Quantization::None) {
    config.problem("key '" + Twine(kKey) +
                   ".quant_method' expects fp8 or mxfp4, '" + method +
                   "' is not supported");
    return result;
  }
  if (result.method == Quantization::FP8)
    readFP8(keys, weights);
  // Which matrices are floats is seen from the tensors.
  keys.ignore({"dequantize", "modules_to_not_convert"});
  if (problems.empty())
    keys.refuseUnknown();
  return result;
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

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
