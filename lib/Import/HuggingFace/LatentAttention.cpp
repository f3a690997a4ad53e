//===- LatentAttention.cpp - Keys and values out of one vector ------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, 2.1): of each
// position the cache keeps a vector c, which the keys and values of all heads
// are projections of, and a rotated part r of the keys that all heads share.
//
// The keys and values are never made. With k_h = U_h c and v_h = V_h c,
//
//   q_h . k_h = (U_h^T q_h) . c   and   sum of p v_h = V_h (sum of p c),
//
// so that queries go into the space of c, and results come back from it: all
// heads attend to one key [c, r] whose value is c. A step then reads rank +
// rotated elements of each position instead of heads * (key + value).
//
//===----------------------------------------------------------------------===//

#include "DecoderBuilder.h"

#include <cmath>

using namespace llvm;
using namespace mlir::moe;

/// Of the norms in front of the projections; what the layers' norms add is
/// configured, and these are not.
static constexpr double kEpsilon = 1e-6;

void DecoderBuilder::readLatentAttention() {
  if (keyHeads != heads)
    config.problem("key 'num_key_value_heads' expects the " + Twine(heads) +
                   " heads");
  latent.queryRank = config.has("q_lora_rank") ? config.size("q_lora_rank") : 0;
  latent.rank = config.size("kv_lora_rank");
  latent.plain = config.count("qk_nope_head_dim");
  latent.rotated = config.count("qk_rope_head_dim");
  latent.value = config.count("v_head_dim");
  latent.interleaved = config.flag("rope_interleave", true);
  headSize = latent.plain + latent.rotated;
  rotary = readRotary(config, latent.rotated, problems);
  attentionScale =
      rotary.scoreFactor / std::sqrt(static_cast<double>(headSize));
  keyCache = {1, latent.rank};
  valueCache = {1, latent.rotated};
}

Name DecoderBuilder::buildLatentAttention(Name x, int64_t layer) {
  std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn";
  write.scope = prefix;
  auto rotate = [&](Name value) {
    return write.node("RotaryEmbedding", {value, cosines, sines},
                      {{"interleaved", int64_t(latent.interleaved)}});
  };
  // Queries, heads first.
  Name q;
  if (latent.queryRank > 0) {
    q = linear(x, prefix + ".q_a_proj", latent.queryRank, hidden);
    q = norm(q, prefix + ".q_a_layernorm", latent.queryRank, kEpsilon);
    q = linear(q, prefix + ".q_b_proj", heads * headSize, latent.queryRank);
  } else {
    q = linear(x, prefix + ".q_proj", heads * headSize, hidden);
  }
  q = transpose(reshape(q, {0, 0, heads, headSize}), {0, 2, 1, 3});
  std::vector<Name> query = split(q, {latent.plain, latent.rotated}, -1);

  // What the cache keeps, as one head.
  std::vector<Name> fresh = split(linear(x, prefix + ".kv_a_proj_with_mqa",
                                         latent.rank + latent.rotated, hidden),
                                  {latent.rank, latent.rotated}, -1);
  Name c = norm(fresh[0], prefix + ".kv_a_layernorm", latent.rank, kEpsilon);
  std::string index = std::to_string(layer), past = "past_key_values." + index;
  c = concat({past + ".key", unsqueeze(c, {1})}, 2);
  Name r = concat({past + ".value", rotate(unsqueeze(fresh[1], {1}))}, 2);
  write.rename(c, "present." + index + ".key");
  write.rename(r, "present." + index + ".value");

  int64_t rows = latent.plain + latent.value;
  Name matrix =
      weight(prefix + ".kv_b_proj.weight", {heads * rows, latent.rank});
  std::vector<Name> matrices =
      split(reshape(matrix, {heads, rows, latent.rank}),
            {latent.plain, latent.value}, 1);
  Name queries = concat(
      {write.node("MatMul", {query[0], matrices[0]}), rotate(query[1])}, -1);
  Name y = write.node("Attention",
                      {queries, concat({c, r}, -1), c, mask, "", "", lengths},
                      {{"is_causal", int64_t(1)},
                       {"scale", static_cast<float>(attentionScale)}});
  y = write.node("FusedMatMul", {y, matrices[1]}, {{"transB", int64_t(1)}},
                 kMicrosoft);
  y = reshape(transpose(y, {0, 2, 1, 3}), {0, 0, heads * latent.value});
  return linear(y, prefix + ".o_proj", hidden, heads * latent.value);
}
