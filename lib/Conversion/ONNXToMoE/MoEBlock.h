//===- MoEBlock.h - a recognised block of experts ------------- -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What every recogniser produces and one emitter consumes.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_MOEBLOCK_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_MOEBLOCK_H

#include "ExpertWeights.h"
#include "RowExpr.h"

namespace mlir::moe {

/// The recipe of a moe.route.
struct RouteRecipe {
  Value logits; // [.., E], one row per token
  Value bias;   // E elements, optional
  int64_t experts = 0;
  int64_t k = 0;
  ScoreFunction score = ScoreFunction::None;
  ScorePosition position = ScorePosition::BeforeSelection;
  bool renormalize = false;
  /// By the sum of absolute values, which is the sum where there is no negative
  /// one.
  bool sumsAbsolutes = false;
  float renormalizeEpsilon = 0;
  std::optional<float> renormalizeFloor;
  float scale = 1;
  int64_t groups = 1, topGroups = 1, groupTop = 1;
  std::optional<float> groupFill;
  WeighBy weighBy = WeighBy::Score;
  std::optional<float> mixerThreshold;
  /// [T, E], optional: the routing weights are those of the chosen experts
  /// here, divided by their sum with `renormalize`.
  Value mixture;
};

/// How many tokens an expert takes.
struct ExpertCapacity {
  /// [.., E]: 1 where a token chose an expert that has a place for it.
  Value mask;
  /// An integer of one element, and what to add to it.
  Value limit;
  int64_t offset = 0;
};

struct MoEBlock {
  Value tokens; // [.., H]
  RouteRecipe route;
  /// What an expert computes for a token's row.
  const RowExpr *output = nullptr;
  /// Element type of the result [T, N].
  Type resultType;
  /// Tokens are multiplied by their weights for an expert in front of it, not
  /// what it makes of them.
  bool scalesTokens = false;
  /// Of every sequence, if the logits are [batch, sequence, E].
  std::optional<ExpertCapacity> capacity = std::nullopt;
};

/// Whether moe.grouped_matmul can express the experts of `block`: one input per
/// layer, sizes and element types that agree, static weights.
LogicalResult checkBlock(const MoEBlock &block, Rejection &rejection);

/// Writes route, dispatch, grouped matmuls and combine of a block that
/// `checkBlock` accepts; returns the result [T, N].
Value emitBlock(OpBuilder &builder, Location loc, const MoEBlock &block,
                ExpertWeights &weights);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_MOEBLOCK_H
