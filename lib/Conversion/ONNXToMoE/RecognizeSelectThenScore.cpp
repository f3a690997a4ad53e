//===- RecognizeSelectThenScore.cpp - top-k of logits, then a score -------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   logits -> TopK -> values -> Softmax over the k chosen
//
//===----------------------------------------------------------------------===//

#include "RecognizeForms.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

LogicalResult moe::matchSelectThenScore(Selection &selection, Value weights,
                                        RouteRecipe &recipe,
                                        Rejection &rejection) {
  recipe = RouteRecipe();
  recipe.k = selection.k;
  recipe.experts = selection.experts;
  recipe.position = ScorePosition::AfterSelection;
  Value left = peelNormalization(weights, recipe);
  NodeOp score = definingNode(left);
  if (!score || (!score.is("Softmax") && !score.is("Sigmoid")) ||
      skipFloatCasts(score.input(0)) != selection.chosenScores)
    return rejection.at(score ? score.getOperation() : nullptr,
                        "expects routing weights that are a Softmax or Sigmoid "
                        "of the chosen logits");
  if (score.is("Softmax")) {
    int64_t implied = score.getOpset() < 13 ? 1 : -1;
    if (normalizeAxis(score.getI64("axis", implied), rankOf(left)) !=
        rankOf(left) - 1)
      return rejection.at(score,
                          "expects a Softmax over the choices, found axis " +
                              Twine(score.getI64("axis", implied)));
  }
  recipe.score =
      score.is("Softmax") ? ScoreFunction::Softmax : ScoreFunction::Sigmoid;
  recipe.logits = skipExactCasts(selection.scores);
  return success();
}
