//===- RecognizeSparseMixer.cpp - shares among the near experts -----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// In each round, with `rest` the logits of what is not chosen yet:
//
//   top     = ReduceMax(rest)
//   far     = (top - logits) / Max(Abs(logits), top) > threshold
//   weights = GatherElements(Softmax(Where(far, -inf, rest)), ArgMax(rest))
//
//===----------------------------------------------------------------------===//

#include "RecognizeForms.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

namespace {
/// One round.
struct Round {
  Value logits, rest;
  Rejection &rejection;

  bool isTop(Value value) const;
  FailureOr<double> thresholdOf(Value far) const;
  FailureOr<double> thresholdOfShare(Value shares) const;
};
} // namespace

/// Whether `node` works along the experts and keeps a dimension of size 1.
static bool alongExperts(NodeOp node) {
  auto axes = intsOf(node, "axes", 1);
  int64_t rank = rankOf(node.input(0));
  return axes && axes->size() == 1 &&
         normalizeAxis((*axes)[0], rank) == rank - 1 &&
         node.getI64("keepdims", 1) != 0;
}

static bool isLastAxis(NodeOp node, int64_t axis) {
  int64_t rank = rankOf(node.input(0));
  return normalizeAxis(axis, rank) == rank - 1;
}

bool Round::isTop(Value value) const {
  NodeOp node = definingNode(skipExactCasts(value), "ReduceMax");
  return node && node.input(0) == rest && alongExperts(node);
}

FailureOr<double> Round::thresholdOf(Value far) const {
  NodeOp compare = definingNode(far);
  bool greater = compare && compare.is("Greater");
  if (!greater && !(compare && compare.is("Less")))
    return rejection.at(compare, "expects distances above a threshold");
  auto threshold = scalarConstantOf(compare.input(greater ? 1 : 0));
  NodeOp div =
      definingNode(skipExactCasts(compare.input(greater ? 0 : 1)), "Div");
  if (!threshold || !div)
    return rejection.at(compare, "expects relative distances above a constant");
  NodeOp sub = definingNode(div.input(0), "Sub");
  if (!sub || !isTop(sub.input(0)) || sub.input(1) != logits)
    return rejection.at(div, "expects the distances of the logits from the "
                             "greatest one of the round");
  NodeOp max = definingNode(div.input(1), "Max");
  for (unsigned i = 0; max && max.getInputs().size() == 2 && i < 2; ++i) {
    NodeOp abs = definingNode(max.input(i), "Abs");
    if (abs && abs.input(0) == logits && isTop(max.input(1 - i)))
      return *threshold;
  }
  return rejection.at(div, "expects distances relative to the absolute logits, "
                           "or the greatest one of the round if that is "
                           "greater");
}

FailureOr<double> Round::thresholdOfShare(Value shares) const {
  NodeOp softmax = definingNode(shares, "Softmax");
  int64_t implied = softmax && softmax.getOpset() < 13 ? 1 : -1;
  if (!softmax || !isLastAxis(softmax, softmax.getI64("axis", implied)))
    return rejection.at(definingNode(shares),
                        "expects shares by a Softmax over the experts");
  NodeOp where = definingNode(skipExactCasts(softmax.input(0)), "Where");
  auto fill = where ? scalarConstantOf(where.input(1)) : std::nullopt;
  if (fill != -std::numeric_limits<double>::infinity() ||
      where.input(2) != rest)
    return rejection.at(softmax,
                        "expects -inf for the experts that are far, "
                        "and what the round chose from for the others");
  return thresholdOf(skipExactCasts(where.input(0)));
}

LogicalResult moe::matchSparseMixer(Selection &selection, Value weights,
                                    RouteRecipe &recipe, Rejection &rejection) {
  if (!selection.gathered)
    return failure();
  recipe = RouteRecipe();
  recipe.k = selection.k;
  recipe.experts = selection.experts;
  recipe.logits = skipExactCasts(selection.scores);
  recipe.score = ScoreFunction::SparseMixer;
  Value left = peelNormalization(weights, recipe);
  if (left != selection.gathered)
    return rejection.at(left.getDefiningOp(),
                        "expects routing weights that are gathered round by "
                        "round");
  SmallVector<Value> columns = {left};
  if (NodeOp concat = definingNode(left, "Concat")) {
    if (!isLastAxis(concat, concat.getI64("axis", 0)))
      return rejection.at(concat, "expects one column per round");
    columns = llvm::to_vector(concat.getInputs());
  }
  for (Value column : columns) {
    NodeOp gather = definingNode(column, "GatherElements");
    if (!isLastAxis(gather, gather.getI64("axis", 0)))
      return rejection.at(gather, "expects shares gathered along the experts");
    NodeOp choice = definingNode(gather.input(1), "ArgMax");
    Value rest = choice ? choice.input(0) : selection.scores; // only round
    Round round{selection.scores, rest, rejection};
    FailureOr<double> found = round.thresholdOfShare(gather.input(0));
    if (failed(found))
      return failure();
    auto threshold = static_cast<float>(*found);
    if (recipe.mixerThreshold && *recipe.mixerThreshold != threshold)
      return rejection.at(gather, "expects one threshold for all rounds");
    recipe.mixerThreshold = threshold;
  }
  return success();
}
