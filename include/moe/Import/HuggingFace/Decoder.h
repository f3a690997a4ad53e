//===- Decoder.h - A language model from its configuration ------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Builds the graph of a Hugging Face checkpoint (config.json and the names and
// shapes of its tensors) as exporters would write it, so that everything behind
// the import is shared: tokens in, logits out, past and present keys and
// values.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_HUGGINGFACE_DECODER_H
#define MOE_IMPORT_HUGGINGFACE_DECODER_H

#include "moe/Import/Safetensors/Safetensors.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <functional>
#include <map>

namespace onnx {
class ModelProto;
} // namespace onnx

namespace mlir::moe {

/// The tensors of a checkpoint by name.
using CheckpointTensors = std::map<std::string, const SafetensorsTensor *>;

/// The bytes of a tensor of the checkpoint.
using ReadTensor =
    std::function<llvm::Expected<std::string>(const SafetensorsTensor &tensor)>;

/// Where the elements of a matrix lie, if not side by side: `sizes`, `strides`
/// and `increment` of `moe.weight`.
struct TensorLayout {
  std::vector<int64_t> sizes, strides;
  int64_t increment = 0;
};

struct DecoderWeights {
  /// The tensors of the checkpoint that an initializer of the graph consists
  /// of: one, or its slices along dimension 0.
  std::map<std::string, std::vector<std::string>> slices;
  /// That of each of the slices, where there is one.
  std::map<std::string, TensorLayout> layouts;
  /// A matrix of 8-bit floats has scales, one for a block of so many rows and
  /// columns, which are the tensor with its name and this suffix.
  int64_t blockRows = 0, blockColumns = 0;
  static constexpr llvm::StringLiteral kScales = "_scale_inv";
};

/// Builds `model`, whose initializers have no values but those in `weights`.
/// Returns a line for each thing that is missing, contradictory or unknown:
/// what could change the result is honoured or refused.
std::vector<std::string> buildDecoder(const llvm::json::Object &config,
                                      const CheckpointTensors &tensors,
                                      const ReadTensor &read,
                                      ::onnx::ModelProto &model,
                                      DecoderWeights &weights);

/// The values of `model_type` that `buildDecoder` knows.
std::vector<std::string> supportedDecoders();

} // namespace mlir::moe

#endif // MOE_IMPORT_HUGGINGFACE_DECODER_H
