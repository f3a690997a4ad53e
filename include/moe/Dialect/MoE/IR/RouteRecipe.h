//===- RouteRecipe.h - the recipe shared by moe.route and grouped.gate -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_ROUTERECIPE_H
#define MOE_DIALECT_MOE_IR_ROUTERECIPE_H

#include "moe/Dialect/MoE/IR/MoE.h"

namespace mlir::moe {

/// Verifies C1 (k), C3 (bias), C4 and C15 (groups), C16 (sparse mixer) and C20
/// (floor) of an op with the attributes of `moe.route`.
template <typename RecipeOp> LogicalResult verifyRecipe(RecipeOp op) {
  auto logits = cast<ShapedType>(op.getLogits().getType());
  int64_t experts = logits.getDimSize(1);
  if (ShapedType::isDynamic(experts)) // C1
    return op.emitOpError("expects a static number of experts");
  int64_t k = op.getK();
  if (k > experts) // C1
    return op.emitOpError("expects k to be at most the number of experts, got ")
           << k << " > " << experts;
  if (Value bias = op.getBias()) {
    auto type = cast<ShapedType>(bias.getType());
    if (type.getDimSize(0) != experts) // C3
      return op.emitOpError("expects a bias of ")
             << experts << " elements, got " << type;
  }
  int64_t groups = op.getNGroup(), kept = op.getTopkGroup();
  if (experts % groups != 0) // C4
    return op.emitOpError("expects n_group to divide the number of experts, "
                          "got ")
           << groups << " and " << experts;
  if (kept > groups) // C4
    return op.emitOpError("expects topk_group to be at most n_group, got ")
           << kept << " > " << groups;
  int64_t top = op.getGroupTop();
  if (groups > 1 && top > experts / groups) // C4
    return op.emitOpError("expects group_top to be at most the group's size, "
                          "got ")
           << top << " > " << experts / groups;
  if (groups == 1 && op.getGroupFill()) // C15
    return op.emitOpError("expects no group_fill without groups");
  if (!op.getGroupFill() && kept * (experts / groups) < k) // C4
    return op.emitOpError("expects at least k experts in the kept groups, got ")
           << kept * (experts / groups) << " < " << k;
  bool mixer = op.getScore() == ScoreFunction::SparseMixer;
  if (mixer != op.getMixerThreshold().has_value()) // C16
    return op.emitOpError("expects mixer_threshold for the score sparse_mixer "
                          "and for no other");
  if (mixer && (op.getBias() || groups > 1 ||
                op.getPosition() != ScorePosition::BeforeSelection ||
                op.getWeighBy() != WeighBy::Score)) // C16
    return op.emitOpError("expects the score sparse_mixer to stand before "
                          "selection, without bias, groups and weigh_by");
  if (op.getRenormalizeFloor() && !op.getRenormalize()) // C20
    return op.emitOpError("expects no renormalize_floor without renormalize");
  return success();
}

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_ROUTERECIPE_H
