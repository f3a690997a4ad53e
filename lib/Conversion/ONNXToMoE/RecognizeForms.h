//===- RecognizeForms.h - the forms in which exporters write a block - -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block is a router form and an expert form that meet at the expert ids and
// the routing weights. Each form is one function in a file of its own, listed
// in RecognizeMoE.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_RECOGNIZEFORMS_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_RECOGNIZEFORMS_H

#include "MoEBlock.h"

namespace mlir::moe {

class WeightValues;

/// A choice of experts: where recognition starts.
struct Selection {
  /// The node that chooses.
  onnx::NodeOp node;
  /// [.., E]: the k greatest of each row are chosen, best first, equal ones in
  /// the order of the experts.
  Value scores;
  /// [.., k]: the chosen experts; and either their scores, or what was gathered
  /// for them while they were chosen, if there is such a value.
  Value chosenIds, chosenScores, gathered;
  int64_t k;
  int64_t experts;
  /// Then not the ids, but its mask says which tokens get to an expert.
  std::optional<ExpertCapacity> capacity = std::nullopt;
  /// [T, E], if there is such a value: the weights of all experts, at most k of
  /// a token's not 0, none negative. They lead to the experts then.
  Value spread = {};

  Value ids() { return chosenIds; }
  Value values() { return gathered ? gathered : chosenScores; }
};

/// What an expert form finds for a selection.
struct ExpertsMatch {
  Value tokens;
  const RowExpr *output;
  /// [.., k]: by what the experts' rows are multiplied.
  Value routingWeights;
  /// The weighted sum [T, N] or [batch, sequence, N], to be replaced.
  Value root;
  /// The first dimension of a root of rank 3.
  SymbolicDim batch = {};
  /// Where the rows are multiplied by a function of the routing weights.
  std::optional<ScoreFunction> score = std::nullopt;
  /// Whether the experts read what the tokens become by that multiplication.
  bool scalesTokens = false;
  /// Whether the mask of the selection's capacity led here.
  bool limited = false;
};

/// A fault of the exported model: what was found, what it makes of the results,
/// and how to export properly.
struct ExportFault : Rejection {
  /// A name for tools, see docs/Recognition.md.
  StringRef kind;

  void at(Operation *where, StringRef name, const Twine &what) {
    if (!op)
      kind = name;
    (void)Rejection::at(where, what);
  }
};

struct ExpertsAttempt {
  SmallVector<ExpertsMatch, 1> matches;
  /// Whether the selection chooses among weights at all: only then is a
  /// rejection worth a remark.
  bool looksLikeExperts = false;
  Rejection rejection;
  /// To be told instead of the rejection.
  ExportFault fault;
};

/// Follows the ids of `selection`.
struct ExpertForm {
  StringLiteral name;
  void (*match)(Selection &selection, RowExprPool &pool,
                ExpertsAttempt &attempt);
};

/// Says by which recipe `weights` [.., k] and the ids of `selection` come from
/// logits.
struct RouterForm {
  StringLiteral name;
  LogicalResult (*match)(Selection &selection, Value weights,
                         RouteRecipe &recipe, Rejection &rejection);
};

/// The ids that `node` chooses, if it can be the selection of a router: TopK,
/// or one ArgMax per choice. Null otherwise.
Value chosenIdsOf(onnx::NodeOp node);
/// What `node` selects.
FailureOr<Selection> selectionOf(onnx::NodeOp node, Rejection &rejection);
/// The capacity of the experts, if the one choice of a token is limited by one
/// (Switch).
std::optional<ExpertCapacity> capacityOf(Selection &selection);

/// Finds the sum of this choice and others as weights of all experts (NLLB);
/// `k` then counts them.
void findSpread(Selection &selection);
/// Whether `node` is the ArgMax of what others left.
bool isLaterChoice(onnx::NodeOp node);

/// One weight matrix gathered per row, batched matmul (torch `batched_mm`).
void matchBatchedExperts(Selection &selection, RowExprPool &pool,
                         ExpertsAttempt &attempt);

/// One expert after the other, on all tokens or on those that chose it, or all
/// experts on all tokens (mobius, optimum, unrolled loops).
void matchLoopedExperts(Selection &selection, RowExprPool &pool,
                        ExpertsAttempt &attempt);

/// Rows sorted by expert, each expert on its part (torch `grouped_mm`).
void matchGroupedExperts(Selection &selection, RowExprPool &pool,
                         ExpertsAttempt &attempt);

// A router form fails without a reason where it plainly is not what it sees.

/// Scores over all experts, then selection: Mixtral, Qwen, OLMoE; with a bias
/// for the selection: MiniMax, ERNIE.
LogicalResult matchScoreThenSelect(Selection &selection, Value weights,
                                   RouteRecipe &recipe, Rejection &rejection);
/// The same among the experts of the best groups: DeepSeek.
LogicalResult matchGroupLimited(Selection &selection, Value weights,
                                RouteRecipe &recipe, Rejection &rejection);
/// Selection by logits, then a score over the chosen: Granite, gpt-oss.
LogicalResult matchSelectThenScore(Selection &selection, Value weights,
                                   RouteRecipe &recipe, Rejection &rejection);
/// The weights of all experts that the choices add up to: NLLB.
LogicalResult matchSpread(Selection &selection, Value weights,
                          RouteRecipe &recipe, Rejection &rejection);
/// One choice at a time, weighed by its share among the near ones: PhiMoE.
LogicalResult matchSparseMixer(Selection &selection, Value weights,
                               RouteRecipe &recipe, Rejection &rejection);

/// Peels a multiplication by a constant off `weights` into `recipe.scale`, and
/// the division by the sum over the last axis into `recipe.renormalize`, with
/// the epsilon added to that sum, or the value that it is at least. Returns
/// what is left.
Value peelNormalization(Value weights, RouteRecipe &recipe);

/// Reads logits, score function, bias and weights of a selection that goes by
/// `compared` [.., E], which is score(logits) or score(logits) + bias.
LogicalResult readScores(Selection &selection, Value compared, Value weights,
                         RouteRecipe &recipe, Rejection &rejection);

/// com.microsoft.MoE and QMoE, which are a whole block in one node. Reports
/// unsupported attributes and shapes as errors.
LogicalResult raiseContribMoE(onnx::NodeOp node, RowExprPool &pool,
                              ExpertWeights &weights, WeightValues &values);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_RECOGNIZEFORMS_H
