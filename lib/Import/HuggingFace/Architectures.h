//===- Architectures.h - What tells decoders apart --------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All of these are a stack of attention and (mostly sparse) feed-forward layers
// with norms in front. A family is a row of this table; the builder has no case
// for any of them.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_HUGGINGFACE_ARCHITECTURES_H
#define MOE_LIB_IMPORT_HUGGINGFACE_ARCHITECTURES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace mlir::moe {

/// How experts are chosen and weighed.
enum class RouterKind {
  SoftmaxThenTopK,
  TopKThenSoftmax,
  /// Sigmoids; a bias takes part in the selection only.
  BiasedSigmoid,
  /// Two rounds, each with a softmax over the experts near its best one.
  SparseMixer,
};

/// Whether the chosen weights are divided by their sum.
enum class Renormalize { Always, AsConfigured, Never };

/// What q_norm and k_norm are about.
enum class HeadNorm { None, EachHead, AllHeads };

/// Which layers have a sliding window: all if there is a size, or only where
/// use_sliding_window says so, from max_window_layers on; or those that
/// layer_types names, every other one unless it is there.
enum class Window { None, Sized, Enabled, EnabledFromLayer, ByLayer };

struct Architecture {
  llvm::StringLiteral modelType;
  RouterKind router = RouterKind::SoftmaxThenTopK;
  Renormalize renormalize = Renormalize::AsConfigured;
  /// Experts out of the best groups, by topk_method; logits in f32; weights
  /// times a factor.
  bool groups = false;
  HeadNorm headNorm = HeadNorm::None;
  /// Norms subtract the mean and add a bias.
  bool layerNorm = false;
  Window window = Window::Sized;
  /// The key of the experts' inner size.
  llvm::StringLiteral expertSize = "moe_intermediate_size";
  /// Names below a layer: the sparse block, its router, and the three matrices
  /// of an expert; of all experts at once where `stacked`, gate and up in one.
  llvm::StringLiteral block = "mlp";
  llvm::StringLiteral gateName = "gate";
  llvm::StringLiteral gate = "gate_proj", up = "up_proj", down = "down_proj";
  bool stacked = false;
  /// Stacked matrices are [E, K, N], their parts take turns in N.
  bool interleaved = false;
  /// min(g, limit) * sigmoid(alpha * min(g, limit)) * (clamp(u, limit) + 1) in
  /// the place of g * sigmoid(g) * u.
  bool clamps = false;
  /// All of a layer's linear maps have biases.
  bool biases = false;
  /// Without a description of rotary embeddings they are not the plain ones.
  bool describesRotary = false;
  /// A score of each head that takes part in softmax and stands for no key.
  bool sinks = false;
  /// An expert for all tokens, with a gate of its own; experts for all tokens,
  /// in one.
  bool gatedSharedExpert = false, sharedExperts = false;
  /// Keys and values are projections of one small vector per token.
  bool latentAttention = false;
  /// The layers in front have no experts, instead of those that are named.
  bool denseInFront = false;
  /// Multipliers of embeddings, scores, residuals and logits.
  bool multipliers = false;
};

inline constexpr Architecture makeMixtral() {
  Architecture a{"mixtral"};
  a.renormalize = Renormalize::Always;
  a.expertSize = "intermediate_size";
  a.block = "block_sparse_moe";
  a.gate = "w1";
  a.up = "w3";
  a.down = "w2";
  return a;
}

inline constexpr Architecture makeQwen2() {
  Architecture a{"qwen2_moe"};
  a.window = Window::EnabledFromLayer;
  a.gatedSharedExpert = true;
  return a;
}

inline constexpr Architecture makeQwen3() {
  Architecture a{"qwen3_moe"};
  a.headNorm = HeadNorm::EachHead;
  a.window = Window::Enabled;
  return a;
}

inline constexpr Architecture makeOLMoE() {
  Architecture a{"olmoe"};
  a.headNorm = HeadNorm::AllHeads;
  a.expertSize = "intermediate_size";
  return a;
}

inline constexpr Architecture makeGranite() {
  Architecture a{"granitemoe"};
  a.router = RouterKind::TopKThenSoftmax;
  a.renormalize = Renormalize::Never;
  a.expertSize = "intermediate_size";
  a.block = "block_sparse_moe";
  a.gateName = "router.layer";
  a.gate = "input_linear.weight";
  a.down = "output_linear.weight";
  a.stacked = true;
  a.multipliers = true;
  return a;
}

inline constexpr Architecture makePhiMoE() {
  Architecture a = makeMixtral();
  a.modelType = "phimoe";
  a.router = RouterKind::SparseMixer;
  a.renormalize = Renormalize::Never;
  a.layerNorm = true;
  return a;
}

inline constexpr Architecture makeDeepSeekV2() {
  Architecture a{"deepseek_v2"};
  a.groups = true;
  a.renormalize = Renormalize::Never;
  a.window = Window::None;
  a.sharedExperts = true;
  a.latentAttention = true;
  a.denseInFront = true;
  return a;
}

inline constexpr Architecture makeDeepSeekV3() {
  Architecture a = makeDeepSeekV2();
  a.modelType = "deepseek_v3";
  a.router = RouterKind::BiasedSigmoid;
  a.renormalize = Renormalize::AsConfigured;
  return a;
}

inline constexpr Architecture makeGptOss() {
  Architecture a{"gpt_oss"};
  a.router = RouterKind::TopKThenSoftmax;
  a.renormalize = Renormalize::Never;
  a.window = Window::ByLayer;
  a.expertSize = "intermediate_size";
  a.gateName = "router";
  a.gate = "experts.gate_up_proj";
  a.down = "experts.down_proj";
  a.stacked = true;
  a.interleaved = true;
  a.clamps = true;
  a.biases = true;
  a.describesRotary = true;
  a.sinks = true;
  return a;
}

inline constexpr Architecture kArchitectures[] = {
    makeMixtral(),    makeQwen2(),   makeQwen3(),
    makeOLMoE(),      makeGranite(), makeDeepSeekV2(),
    makeDeepSeekV3(), makePhiMoE(),  makeGptOss(),
};

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_HUGGINGFACE_ARCHITECTURES_H
