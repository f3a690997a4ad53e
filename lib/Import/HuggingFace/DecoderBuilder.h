//===- DecoderBuilder.h - A graph from a configuration ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the parts of a decoder share: its sizes, the checkpoint's tensors, and
// the graph that is written.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_HUGGINGFACE_DECODERBUILDER_H
#define MOE_LIB_IMPORT_HUGGINGFACE_DECODERBUILDER_H

#include "Architectures.h"
#include "Config.h"
#include "GraphWriter.h"
#include "Quantization.h"
#include "Rotary.h"
#include "moe/Import/HuggingFace/Decoder.h"

#include <optional>
#include <set>

namespace mlir::moe {

inline constexpr const char *kMicrosoft = "com.microsoft";
/// Of operators that neither has (docs/Import.md).
inline constexpr const char *kOwnDomain = "moe_mlir";

/// Attention whose keys and values are projections of one vector per token,
/// and of one more that rotates.
struct LatentSizes {
  /// Of the vectors that queries, and keys and values, are projected from;
  /// queryRank is 0 where they are projected from the hidden state.
  int64_t queryRank, rank;
  /// Of a head: elements that do not rotate, that do, and of the value.
  int64_t plain, rotated, value;
  bool interleaved;
};

/// "[2, 3]"
std::string shapeText(llvm::ArrayRef<int64_t> shape);

/// The TensorProto.DataType of a type that can be computed in; 0 for others.
int32_t floatType(llvm::StringRef name);

class DecoderBuilder {
public:
  DecoderBuilder(const Architecture &family, Config &config,
                 const Quantization &quantization,
                 const CheckpointTensors &tensors, const ReadTensor &read,
                 ::onnx::ModelProto &model, DecoderWeights &weights,
                 std::vector<std::string> &problems)
      : family(family), config(config), quantization(quantization),
        tensors(tensors), read(read), weights(weights), problems(problems),
        graph(*model.mutable_graph()), write(*model.mutable_graph()) {}

  void build();

private:
  void readSizes();
  void readHeads();
  void readLatentAttention();
  int64_t readExperts();
  void readRouter();
  void readGroups();
  void readWindow();
  void readSparseLayers();
  void chooseType();
  void buildInputs();
  void buildPositions();
  Name buildAttention(Name x, int64_t layer);
  Name buildLatentAttention(Name x, int64_t layer);
  Name buildSparseBlock(Name x, int64_t layer);
  std::pair<Name, Name> buildRouter(Name rows, const std::string &block);
  Name keepBestGroups(Name scores);
  std::pair<Name, Name> mixSparsely(Name logits);
  Name buildExperts(Name rows, Name weights, Name ids,
                    const std::string &block);
  Name buildMLP(Name x, const std::string &prefix, int64_t inner);

  // Tensors of the checkpoint.
  bool has(const std::string &name) const { return tensors.count(name) != 0; }
  const SafetensorsTensor *take(const std::string &name,
                                llvm::ArrayRef<int64_t> shape,
                                const SafetensorsType *expected);
  void takeScales(const std::string &matrix, llvm::ArrayRef<int64_t> shape);
  Name weight(const std::string &name, llvm::ArrayRef<int64_t> shape);
  /// The same in f32, as checkpoints may keep it whatever the others are.
  Name weightInF32(const std::string &name, llvm::ArrayRef<int64_t> shape);
  Name stack(const std::string &name, llvm::ArrayRef<std::string> slices,
             llvm::ArrayRef<int64_t> shape);
  Name initializer(const std::string &name, llvm::ArrayRef<std::string> slices,
                   llvm::ArrayRef<int64_t> shape, int32_t elements);
  Name mxfp4(const std::string &name, int64_t outputs, int64_t inputs);
  Name matrices(const std::string &name, llvm::ArrayRef<std::string> prefixes,
                int64_t outputs, int64_t inputs);
  Name grouped(const std::string &name, llvm::ArrayRef<std::string> prefixes,
               int64_t outputs, int64_t inputs);
  void takeGroups(const std::string &prefix, int64_t outputs, int64_t inputs,
                  const SafetensorsType *scaleType);
  void takeZeroBias(const std::string &name, int64_t outputs);
  std::optional<std::string> contents(const std::string &name,
                                      llvm::ArrayRef<int64_t> shape,
                                      const SafetensorsType *expected);
  bool isOfExtraLayer(llvm::StringRef name) const;
  /// A checkpoint that lacks everything is not to be listed in full.
  bool hasManyProblems() const { return problems.size() > 20; }
  void refuseUnusedTensors();

  // Pieces of graphs.
  Name linear(Name x, const std::string &prefix, int64_t outputs,
              int64_t inputs, bool needsBias = false);
  Name norm(Name x, const std::string &name, int64_t size) {
    return norm(x, name, size, epsilon);
  }
  Name norm(Name x, const std::string &name, int64_t size, double epsilon);
  Name headNorm(Name x, const std::string &name, int64_t heads);
  Name activate(Name gate, Name up);
  Name slice(Name x, int64_t begin, int64_t step) {
    return write.node("Slice",
                      {x, write.integers({begin}), write.integers({INT64_MAX}),
                       write.integers({-1}), write.integers({step})});
  }
  Name scaled(Name x, double factor) {
    return factor == 1 ? x : write.node("Mul", {x, write.real(factor, type)});
  }
  Name reshape(Name x, llvm::ArrayRef<int64_t> shape) {
    return write.node("Reshape", {x, write.integers(shape)});
  }
  Name unsqueeze(Name x, llvm::ArrayRef<int64_t> axes) {
    return write.node("Unsqueeze", {x, write.integers(axes)});
  }
  Name transpose(Name x, std::vector<int64_t> permutation) {
    return write.node("Transpose", {x}, {{"perm", std::move(permutation)}});
  }
  Name concat(llvm::ArrayRef<Name> parts, int64_t axis) {
    return write.node("Concat", parts, {{"axis", axis}});
  }
  std::vector<Name> split(Name x, llvm::ArrayRef<int64_t> sizes, int64_t axis) {
    return write.nodes("Split", {x, write.integers(sizes)},
                       static_cast<unsigned>(sizes.size()), {{"axis", axis}});
  }
  Name cast(Name x, int64_t to) {
    return write.node("Cast", {x}, {{"to", to}});
  }

  const Architecture &family;
  Config &config;
  const Quantization &quantization;
  const CheckpointTensors &tensors;
  const ReadTensor &read;
  DecoderWeights &weights;
  std::vector<std::string> &problems;
  ::onnx::GraphProto &graph;
  GraphWriter write;

  int64_t hidden, vocabulary, layers, heads, keyHeads, headSize;
  int64_t extraLayers = 0;
  int64_t experts, chosen, expertSize, sharedSize = 0, denseSize = 0;
  double epsilon, attentionScale, residualFactor = 1, embeddingFactor = 1,
                                  logitsFactor = 1;
  /// Of the cache's keys and values: heads, elements of one.
  std::pair<int64_t, int64_t> keyCache, valueCache;
  LatentSizes latent = {};
  bool renormalize = false, attentionBiases = false;
  double routingFactor = 1, mixerThreshold = 0;
  /// Only the experts of the best groups are chosen from, if not 1.
  int64_t groups = 1, bestGroups = 1;
  int64_t window = -1;
  std::vector<bool> slides; // of each layer
  double clampLimit = 0, clampAlpha = 1;
  std::set<int64_t> denseLayers;
  Rotary rotary;
  std::optional<double> clip;

  int32_t type = ::onnx::TensorProto::FLOAT;
  const SafetensorsType *storedType = nullptr;
  std::set<std::string> used;
  Name mask, cosines, sines;
  /// The numbers of positions, old and new, one for each sequence.
  Name lengths;
};

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_HUGGINGFACE_DECODERBUILDER_H
