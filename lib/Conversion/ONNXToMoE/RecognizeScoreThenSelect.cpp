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
//===----------------------------------------------------------------------===//

#include "RecognizeForms.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

/// Whether `node` reduces the last axis of `value` and keeps it with size 1.
static bool sumsLastAxis(NodeOp node, Value value) {
  auto axes = intsOf(node, "axes", 1);
  return node.is("ReduceSum") && skipFloatCasts(node.input(0)) == value &&
         node.getI64("keepdims", 1) == 1 && axes && axes->size() == 1 &&
         normalizeAxis((*axes)[0], rankOf(value)) == rankOf(value) - 1;
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
  if (NodeOp add = definingNode(sum, "Add")) {
    for (unsigned i : {0u, 1u})
      if (auto constant = scalarConstantOf(add.input(i))) {
        epsilon = static_cast<float>(*constant);
        sum = skipFloatCasts(add.input(1 - i));
        break;
      }
  }
  NodeOp reduce = definingNode(sum, "ReduceSum");
  if (!reduce || !sumsLastAxis(reduce, values))
    return weights;
  recipe.renormalize = true;
  recipe.renormalizeEpsilon = epsilon;
  return values;
}

LogicalResult moe::matchScoreThenSelect(Selection &selection, Value weights,
                                        RouteRecipe &recipe,
                                        Rejection &rejection) {
  recipe = RouteRecipe();
  recipe.k = selection.k;
  recipe.experts = selection.experts;
  Value left = peelNormalization(weights, recipe);
  if (left != selection.values()) {
    NodeOp node = definingNode(left);
    return rejection.at(node ? node.getOperation() : nullptr,
                        "expects routing weights that are the chosen scores, "
                        "as they are or divided by their sum");
  }
  // A cast that rounds could make equal scores of different ones.
  Value scores = skipExactCasts(selection.topK.input(0));
  recipe.logits = scores;
  if (NodeOp node = definingNode(scores, "Softmax")) {
    auto axis = normalizeAxis(
        node.getI64("axis", node.getOpset() < 13 ? 1 : -1), rankOf(scores));
    if (axis == rankOf(scores) - 1) {
      recipe.score = ScoreFunction::Softmax;
      recipe.logits = node.input(0);
    }
  } else if (NodeOp node = definingNode(scores, "Sigmoid")) {
    recipe.score = ScoreFunction::Sigmoid;
    recipe.logits = node.input(0);
  }
  return success();
}
