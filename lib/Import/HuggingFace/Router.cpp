//===- Router.cpp - Which experts a token gets ----------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every recipe ends in one moe.route. Scores are computed in f32.
//
//===----------------------------------------------------------------------===//

#include "DecoderBuilder.h"

#include <limits>

using namespace llvm;
using namespace mlir::moe;
using ::onnx::TensorProto;

//===----------------------------------------------------------------------===//
// Configuration
//===----------------------------------------------------------------------===//

void DecoderBuilder::readRouter() {
  renormalize = family.renormalize == Renormalize::Always;
  if (family.renormalize == Renormalize::AsConfigured)
    renormalize = config.flag("norm_topk_prob", false);
  if (family.router == RouterKind::SparseMixer) {
    mixerThreshold = 2 * config.real("router_jitter_noise", 0.01);
    if (mixerThreshold < 0)
      config.problem("key 'router_jitter_noise' expects a number from 0");
    if (chosen != 2)
      config.problem("key 'num_experts_per_tok' expects 2");
  }
  if (!family.groups)
    return;
  // Where it is true, implementations do not agree on what it means.
  if (family.renormalize == Renormalize::Never &&
      config.flag("norm_topk_prob", false))
    config.problem("key 'norm_topk_prob' expects false");
  routingFactor = config.real("routed_scaling_factor", 1);
  bool biased = family.router == RouterKind::BiasedSigmoid;
  std::string score = biased ? "sigmoid" : "softmax";
  if (std::string given = config.string("scoring_func", score); given != score)
    config.problem("key 'scoring_func' expects " + score + ", '" + given +
                   "' is not supported");
  std::string method =
      config.string("topk_method", biased ? "noaux_tc" : "greedy");
  config.ignore({"n_group", "topk_group"});
  if (method == "greedy" && !biased)
    return;
  if (method == (biased ? "noaux_tc" : "group_limited_greedy"))
    readGroups();
  else
    config.problem(
        "key 'topk_method' expects " +
        Twine(biased ? "noaux_tc" : "greedy or group_limited_greedy") + ", '" +
        method + "' is not supported");
}

void DecoderBuilder::readGroups() {
  groups = config.size("n_group", 1);
  bestGroups = config.size("topk_group", groups);
  if (experts % groups != 0)
    return config.problem("key 'n_group' expects a divisor of the " +
                          Twine(experts) + " experts");
  int64_t size = experts / groups;
  if (family.router == RouterKind::BiasedSigmoid && size < 2)
    config.problem("key 'n_group' expects groups of at least 2 experts");
  if (bestGroups > groups)
    config.problem("key 'topk_group' expects at most the " + Twine(groups) +
                   " groups");
  else if (bestGroups * size < chosen)
    config.problem("key 'topk_group' expects groups that hold the " +
                   Twine(chosen) + " experts of a token, got " +
                   Twine(bestGroups) + " of " + Twine(size));
}

//===----------------------------------------------------------------------===//
// The graph
//===----------------------------------------------------------------------===//

/// The scores without those of experts outside of the best groups. With a bias,
/// which may make any score negative, a group is worth its two best scores.
Name DecoderBuilder::keepBestGroups(Name scores) {
  if (bestGroups == groups)
    return scores;
  constexpr int32_t kFloat = TensorProto::FLOAT;
  bool biased = family.router == RouterKind::BiasedSigmoid;
  int64_t size = experts / groups;
  Name perGroup = reshape(scores, {-1, groups, size});
  auto best = [&](Name from, int64_t count, unsigned result) {
    return write.nodes("TopK", {from, write.integers({count})}, 2,
                       {{"axis", int64_t(-1)}})[result];
  };
  Name values = write.node(
      biased ? "ReduceSum" : "ReduceMax",
      {biased ? best(perGroup, 2, 0) : perGroup, write.integers({-1})},
      {{"keepdims", int64_t(0)}});
  Name ids = best(values, bestGroups, 1);
  auto like = [&](double value, Name shaped) {
    return write.node(
        "Expand", {write.real(value, kFloat), write.node("Shape", {shaped})});
  };
  Name marks =
      write.node("ScatterElements", {like(0, values), ids, like(1, ids)},
                 {{"axis", int64_t(1)}});
  Name kept =
      write.node("Expand", {unsqueeze(cast(marks, TensorProto::BOOL), {2}),
                            write.integers({1, groups, size})});
  double none = biased ? -std::numeric_limits<double>::infinity() : 0;
  return write.node("Where", {reshape(kept, {-1, experts}), scores,
                              write.real(none, kFloat)});
}

/// Weights and ids [tokens, chosen]. An expert is far from the best one of a
/// round where their distance exceeds the threshold in units of the greater
/// magnitude.
std::pair<Name, Name> DecoderBuilder::mixSparsely(Name logits) {
  constexpr int32_t kFloat = TensorProto::FLOAT;
  Name none = write.real(-std::numeric_limits<double>::infinity(), kFloat);
  Name magnitudes = write.node("Abs", {logits}), rest = logits;
  std::vector<Name> weights, ids;
  for (int64_t round = 0; round < chosen; ++round) {
    Name top = write.node("ReduceMax", {rest, write.integers({-1})});
    Name id = write.node("ArgMax", {rest}, {{"axis", int64_t(-1)}});
    Name distance = write.node("Div", {write.node("Sub", {top, logits}),
                                       write.node("Max", {magnitudes, top})});
    Name far =
        write.node("Greater", {distance, write.real(mixerThreshold, kFloat)});
    Name shares =
        write.node("Softmax", {write.node("Where", {far, none, rest})},
                   {{"axis", int64_t(-1)}});
    weights.push_back(
        write.node("GatherElements", {shares, id}, {{"axis", int64_t(-1)}}));
    ids.push_back(id);
    Name removed = write.node("Expand", {none, write.node("Shape", {id})});
    if (round + 1 < chosen)
      rest = write.node("ScatterElements", {rest, id, removed},
                        {{"axis", int64_t(-1)}});
  }
  return {concat(weights, -1), concat(ids, -1)};
}

/// Weights and ids [tokens, chosen].
std::pair<Name, Name> DecoderBuilder::buildRouter(Name rows,
                                                  const std::string &block) {
  auto softmax = [&](Name x) {
    return write.node("Softmax", {x}, {{"axis", int64_t(-1)}});
  };
  auto best = [&](Name x) {
    return write.nodes("TopK", {x, write.integers({chosen})}, 2,
                       {{"axis", int64_t(-1)}});
  };
  std::string gate = block + "." + family.gateName.str();
  std::string name = gate + ".weight";
  constexpr int32_t kFloat = TensorProto::FLOAT;
  bool widened = family.groups && type != kFloat;
  Name x = widened ? cast(rows, kFloat) : rows;
  Name matrix = family.groups ? weightInF32(name, {experts, hidden})
                              : weight(name, {experts, hidden});
  std::vector<Name> operands{x, matrix};
  if (family.biases)
    operands.push_back(weight(gate + ".bias", {experts}));
  Name logits = write.node("Gemm", operands, {{"transB", int64_t(1)}});
  if (!family.groups)
    logits = cast(logits, kFloat);

  Name routing, ids;
  switch (family.router) {
  case RouterKind::SoftmaxThenTopK: {
    std::vector<Name> results = best(keepBestGroups(softmax(logits)));
    routing = results[0];
    ids = results[1];
    break;
  }
  case RouterKind::TopKThenSoftmax: {
    std::vector<Name> results = best(logits);
    routing = softmax(results[0]);
    ids = results[1];
    break;
  }
  case RouterKind::SparseMixer:
    std::tie(routing, ids) = mixSparsely(logits);
    break;
  case RouterKind::BiasedSigmoid: {
    Name scores = write.node("Sigmoid", {logits});
    Name bias = weightInF32(block + ".gate.e_score_correction_bias", {experts});
    ids = best(keepBestGroups(write.node("Add", {scores, bias})))[1];
    routing =
        write.node("GatherElements", {scores, ids}, {{"axis", int64_t(1)}});
    break;
  }
  }
  if (renormalize) {
    Name sum = write.node("ReduceSum", {routing, write.integers({-1})},
                          {{"keepdims", int64_t(1)}});
    if (family.router == RouterKind::BiasedSigmoid)
      sum = write.node("Add", {sum, write.real(1e-20, kFloat)});
    routing = write.node("Div", {routing, sum});
  }
  if (routingFactor != 1)
    routing = write.node("Mul", {routing, write.real(routingFactor, kFloat)});
  return {cast(routing, type), ids};
}
