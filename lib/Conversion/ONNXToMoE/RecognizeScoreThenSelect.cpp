//===- RecognizeScoreThenSelect.cpp - scores over all experts, then top-k -===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   logits -> Softmax (or Sigmoid, or nothing) -> TopK -> values
//   weights = values, values / sum(values), either times a constant
//
// or, with a bias that only the selection sees,
//
//   scores = Sigmoid(logits); ids = TopK(scores + bias)
//   values = GatherElements(scores, ids)
//
//===----------------------------------------------------------------------===//

#include "RecognizeForms.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

/// Whether `node` sums the last axis of `value`, or its absolute values, and
/// keeps it with size 1.
static bool sumsLastAxis(NodeOp node, Value value) {
  auto axes = intsOf(node, "axes", 1);
  return (node.is("ReduceSum") || node.is("ReduceL1")) &&
         skipFloatCasts(node.input(0)) == value &&
         node.getI64("keepdims", 1) == 1 && axes && axes->size() == 1 &&
         normalizeAxis((*axes)[0], rankOf(value)) == rankOf(value) - 1;
}

/// What `value` is the greater one of and a constant, and the constant; none if
/// it is something else.
static std::pair<Value, std::optional<double>> clippedBelow(Value value) {
  NodeOp node = definingNode(value);
  if (node && node.is("Clip") && node.input(1) && !node.input(2) &&
      !node.hasAttr("max"))
    return {node.input(0), scalarConstantOf(node.input(1))};
  if (node && node.is("Max") && node.getInputs().size() == 2)
    for (unsigned i : {0u, 1u})
      if (auto least = scalarConstantOf(node.input(i)))
        return {node.input(1 - i), least};
  return {};
}

Value moe::peelNormalization(Value weights, RouteRecipe &recipe) {
  weights = skipFloatCasts(weights);
  if (NodeOp mul = definingNode(weights, "Mul")) {
    for (unsigned i : {0u, 1u}) {
      auto factor = scalarConstantOf(mul.input(i));
      if (!factor || rankOf(mul.input(1 - i)) < 2)
        continue;
      recipe.scale *= static_cast<float>(*factor);
      weights = skipFloatCasts(mul.input(1 - i));
      break;
    }
  }
  NodeOp div = definingNode(weights, "Div");
  if (!div)
    return weights;
  Value values = skipFloatCasts(div.input(0));
  Value sum = skipFloatCasts(div.input(1));
  float epsilon = 0;
  std::optional<float> floor;
  if (auto [clipped, least] = clippedBelow(sum); least) {
    floor = static_cast<float>(*least);
    sum = skipFloatCasts(clipped);
  }
  if (NodeOp add = definingNode(sum, "Add")) {
    for (unsigned i : {0u, 1u})
      if (auto constant = scalarConstantOf(add.input(i))) {
        epsilon = static_cast<float>(*constant);
        sum = skipFloatCasts(add.input(1 - i));
        break;
      }
  }
  NodeOp reduce = definingNode(sum);
  if (!reduce || !sumsLastAxis(reduce, values))
    return weights;
  recipe.sumsAbsolutes = reduce.is("ReduceL1");
  recipe.renormalize = true;
  recipe.renormalizeEpsilon = epsilon;
  recipe.renormalizeFloor = floor;
  return values;
}

/// Whether `value` holds one number per expert.
static bool isPerExpert(Value value, int64_t experts) {
  auto type = dyn_cast_or_null<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() && type.getNumElements() == experts &&
         (type.getRank() == 1 ||
          (type.getRank() == 2 && type.getDimSize(0) == 1)) &&
         isa<FloatType>(type.getElementType());
}

/// Softmax over the experts, or Sigmoid.
static ScoreFunction scoreOf(Value scores) {
  NodeOp node = definingNode(scores);
  if (!node)
    return ScoreFunction::None;
  if (node.is("Sigmoid"))
    return ScoreFunction::Sigmoid;
  int64_t implied = node.getOpset() < 13 ? 1 : -1;
  bool softmax = node.is("Softmax") &&
                 normalizeAxis(node.getI64("axis", implied), rankOf(scores)) ==
                     rankOf(scores) - 1;
  return softmax ? ScoreFunction::Softmax : ScoreFunction::None;
}

LogicalResult moe::readScores(Selection &selection, Value compared,
                              Value weights, RouteRecipe &recipe,
                              Rejection &rejection) {
  recipe.k = selection.k;
  recipe.experts = selection.experts;
  Value left = peelNormalization(weights, recipe);
  // A cast that rounds could make equal scores of different ones.
  compared = skipNoOps(compared);
  // Whether the weights are what was compared, or gathered from other scores.
  Value gathered;
  if (left != selection.chosenScores) {
    NodeOp node = definingNode(left);
    bool byIds =
        node && node.is("GatherElements") && node.input(1) == selection.ids() &&
        normalizeAxis(node.getI64("axis", 0), rankOf(left)) == rankOf(left) - 1;
    if (!byIds)
      return rejection.at(node ? node.getOperation() : nullptr,
                          "expects routing weights that are the chosen scores, "
                          "as they are or divided by their sum");
    gathered = skipNoOps(node.input(0));
  }
  Value scores = compared;
  NodeOp add = definingNode(compared, "Add");
  for (unsigned i = 0; add && i < 2; ++i) {
    Value other = skipNoOps(add.input(i));
    bool known =
        gathered ? other == gathered : scoreOf(other) != ScoreFunction::None;
    if (!known || !isPerExpert(add.input(1 - i), selection.experts))
      continue;
    scores = other;
    recipe.bias = add.input(1 - i);
    break;
  }
  if (gathered && gathered != scores)
    return rejection.at(left.getDefiningOp(),
                        "expects routing weights out of the scores that "
                        "experts are chosen by, with or without a bias");
  if (!gathered && (recipe.bias || recipe.groupFill))
    recipe.weighBy = WeighBy::Compared;
  recipe.score = scoreOf(scores);
  recipe.logits = recipe.score == ScoreFunction::None
                      ? scores
                      : definingNode(scores).input(0);
  return success();
}

LogicalResult moe::matchScoreThenSelect(Selection &selection, Value weights,
                                        RouteRecipe &recipe,
                                        Rejection &rejection) {
  recipe = RouteRecipe();
  return readScores(selection, selection.scores, weights, recipe, rejection);
}
