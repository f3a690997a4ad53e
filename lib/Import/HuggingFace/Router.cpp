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
  if (family.router != RouterKind::BiasedSigmoid)
    return;
  routingFactor = config.real("routed_scaling_factor", 1);
  for (auto [key, only] :
       {std::pair("scoring_func", "sigmoid"), {"topk_method", "noaux_tc"}})
    if (std::string found = config.string(key, only); found != only)
      config.problem("key '" + Twine(key) + "' expects " + only + ", '" +
                     found + "' is not supported");
  readGroups();
}

void DecoderBuilder::readGroups() {
  groups = config.size("n_group", 1);
  bestGroups = config.size("topk_group", groups);
  if (experts % groups != 0)
    return config.problem("key 'n_group' expects a divisor of the " +
                          Twine(experts) + " experts");
  int64_t size = experts / groups;
  // A group is worth its two best experts.
  if (size < 2)
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

/// The scores of experts outside of the best groups become -inf.
Name DecoderBuilder::keepBestGroups(Name scores) {
  if (bestGroups == groups)
    return scores;
  constexpr int32_t kFloat = TensorProto::FLOAT;
  int64_t size = experts / groups;
  Name perGroup = reshape(scores, {-1, groups, size});
  auto best = [&](Name from, int64_t count, unsigned result) {
    return write.nodes("TopK", {from, write.integers({count})}, 2,
                       {{"axis", int64_t(-1)}})[result];
  };
  Name values =
      write.node("ReduceSum", {best(perGroup, 2, 0), write.integers({-1})},
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
  double none = -std::numeric_limits<double>::infinity();
  return write.node("Where", {reshape(kept, {-1, experts}), scores,
                              write.real(none, kFloat)});
}

/// Weights and ids [tokens, chosen].
std::pair<Name, Name> DecoderBuilder::buildRouter(Name rows,
                                                  const std::string &block) {
  std::string matrix = block + "." + family.gateWeight.str();
  auto logitsOf = [&](Name x, Name weight) {
    return write.node("Gemm", {x, weight}, {{"transB", int64_t(1)}});
  };
  auto softmax = [&](Name x) {
    return write.node("Softmax", {x}, {{"axis", int64_t(-1)}});
  };
  auto best = [&](Name x) {
    return write.nodes("TopK", {x, write.integers({chosen})}, 2,
                       {{"axis", int64_t(-1)}});
  };
  Name routing, ids;
  if (family.router == RouterKind::BiasedSigmoid) {
    Name x = type == TensorProto::FLOAT ? rows : cast(rows, TensorProto::FLOAT);
    Name scores = write.node(
        "Sigmoid", {logitsOf(x, weightInF32(matrix, {experts, hidden}))});
    Name bias = weightInF32(block + ".gate.e_score_correction_bias", {experts});
    ids = best(keepBestGroups(write.node("Add", {scores, bias})))[1];
    routing =
        write.node("GatherElements", {scores, ids}, {{"axis", int64_t(1)}});
  } else {
    Name logits = cast(logitsOf(rows, weight(matrix, {experts, hidden})),
                       TensorProto::FLOAT);
    bool before = family.router == RouterKind::SoftmaxThenTopK;
    std::vector<Name> results = best(before ? softmax(logits) : logits);
    routing = before ? results[0] : softmax(results[0]);
    ids = results[1];
  }
  if (renormalize) {
    Name sum = write.node("ReduceSum", {routing, write.integers({-1})},
                          {{"keepdims", int64_t(1)}});
    if (family.router == RouterKind::BiasedSigmoid)
      sum = write.node("Add", {sum, write.real(1e-20, TensorProto::FLOAT)});
    routing = write.node("Div", {routing, sum});
  }
  if (routingFactor != 1)
    routing = write.node(
        "Mul", {routing, write.real(routingFactor, TensorProto::FLOAT)});
  return {cast(routing, type), ids};
}
