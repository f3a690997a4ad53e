//===- RecognizeSpreadChoices.cpp - weights of all experts, one by one ----===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// NLLB chooses two experts, and takes tokens away from those that are full:
//
//   mask1 = one-hot(ArgMax(probabilities)), mask2 = one-hot(ArgMax(the rest))
//   mask1 *= CumSum(mask1) - 1 < places, mask2 *= .., both *= not padding
//   gates = mask1 * share1 + mask2 * share2, by what is left of the choices
//
// How tokens get and lose places stays the plain operators that it is. What
// counts is that a token has at most as many gates as there are one-hots, and
// that none is negative: then the route is by the greatest gates, and the gates
// are the weights.
//
//===----------------------------------------------------------------------===//

#include "RecognizeForms.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

/// Routers have some dozens of nodes.
static constexpr unsigned kMaxNodes = 256;

static bool isCast(NodeOp node) {
  return node &&
         (node.is("Cast") || node.is("CastLike") || node.is("Identity"));
}

/// The ArgMax of whose results `value` [T, E] is the one-hot; null if it is
/// none.
static NodeOp oneHotOf(Value value, int64_t experts) {
  NodeOp node = definingNode(value);
  if (!node || rankOf(value) != 2)
    return {};
  auto chooser = [](Value ids) {
    for (NodeOp at = definingNode(ids); at; at = definingNode(at.input(0))) {
      if (at.is("ArgMax"))
        return at;
      if (!at.is("Unsqueeze"))
        break;
    }
    return NodeOp();
  };
  if (node.is("Equal"))
    for (unsigned i : {0u, 1u}) {
      auto column = dyn_cast<RankedTensorType>(node.input(i).getType());
      if (column && column.getRank() == 2 && column.getDimSize(1) == 1 &&
          isIotaRow(node.input(1 - i), experts))
        return chooser(node.input(i));
    }
  if (node.is("OneHot") && rankOf(node.input(0)) == 1 &&
      splatOf(node.input(1)) == experts && isZeroAndOne(node.input(2)) &&
      normalizeAxis(node.getI64("axis", -1), 2) == 1)
    return chooser(node.input(0));
  return {};
}

/// The ArgMax outside of whose one-hot `value` is 0; null if that is not known.
static NodeOp boundOf(Value value, int64_t experts) {
  SmallVector<Value> stack = {value};
  for (unsigned i = 0; !stack.empty() && i < kMaxNodes; ++i) {
    Value at = stack.pop_back_val();
    if (NodeOp chooser = oneHotOf(at, experts))
      return chooser;
    NodeOp node = definingNode(at);
    // A product has the elements of the mask only where it has its rank.
    if (isCast(node) || (node && (node.is("Mul") || node.is("And"))))
      for (Value operand : node.getInputs())
        if (rankOf(operand) == 2)
          stack.push_back(operand);
  }
  return {};
}

/// Whether no element of `value` can be negative.
static bool isNeverNegative(Value value) {
  static constexpr StringLiteral always[] = {
      "Softmax", "Sigmoid", "Abs",  "Equal",       "Not",     "And",
      "Or",      "Exp",     "Less", "LessOrEqual", "Greater", "GreaterOrEqual"};
  static constexpr StringLiteral alike[] = {
      "Cast",      "Identity", "Mul",       "Add",     "Div",
      "ReduceSum", "Max",      "ReduceMax", "Reshape", "Unsqueeze",
      "Squeeze",   "Expand",   "Clip",      "Min"};
  llvm::SmallPtrSet<Operation *, 16> seen;
  SmallVector<Value> stack = {value};
  while (!stack.empty()) {
    Value at = stack.pop_back_val();
    if (auto constant = splatOf(at)) {
      if (*constant < 0)
        return false;
      continue;
    }
    NodeOp node = definingNode(at);
    if (!node || !node.getDomain().empty() || seen.size() > kMaxNodes)
      return false;
    if (llvm::is_contained(always, node.getOpType()) ||
        (node.is("OneHot") && isZeroAndOne(node.input(2))) ||
        !seen.insert(node).second)
      continue;
    if (!llvm::is_contained(alike, node.getOpType()))
      return false;
    // The other operands of most of these are sizes and axes.
    bool all = node.is("Mul") || node.is("Add") || node.is("Div") ||
               node.is("Max") || node.is("Min");
    if (node.is("Clip")) { // its bounds may be attributes
      if (node.hasAttr("max") || !node.input(1))
        return false;
      if (node.input(2))
        stack.push_back(node.input(2));
    }
    for (Value operand : node.getInputs().take_front(all ? ~0u : 1))
      stack.push_back(operand);
  }
  return true;
}

/// The one-hots that the terms of the sum `value` are bounded by; none if one
/// of them is not.
static SmallVector<NodeOp> choosersOf(Value value, int64_t experts) {
  SmallVector<NodeOp> choosers;
  SmallVector<Value> terms = {value};
  while (!terms.empty()) {
    Value term = terms.pop_back_val();
    if (NodeOp chooser = boundOf(term, experts)) {
      choosers.push_back(chooser);
      continue;
    }
    NodeOp add = definingNode(term, "Add");
    if (!add || choosers.size() + terms.size() > kMaxNodes)
      return {};
    for (Value operand : add.getInputs()) {
      if (rankOf(operand) != 2)
        return {};
      terms.push_back(operand);
    }
  }
  return choosers;
}

void moe::findSpread(Selection &selection) {
  if (!selection.node.is("ArgMax") || rankOf(selection.scores) != 2)
    return;
  // Forwards along what the first choice bounds, to the sums of choices.
  SmallVector<Value> values = {selection.node.output(0)};
  llvm::SmallPtrSet<Operation *, 16> seen;
  while (!values.empty() && seen.size() < kMaxNodes) {
    for (Operation *user : values.pop_back_val().getUsers()) {
      auto node = dyn_cast<NodeOp>(user);
      if (!node || node.getOutputs().size() != 1 || !seen.insert(node).second)
        continue;
      Value result = node.output(0);
      auto type = dyn_cast<RankedTensorType>(result.getType());
      if (node.is("Add") && type && type.getRank() == 2 &&
          isa<FloatType>(type.getElementType()) &&
          type.getDimSize(1) == selection.experts) {
        SmallVector<NodeOp> choosers = choosersOf(result, selection.experts);
        int64_t count = choosers.size();
        if (count > 1 && count <= selection.experts &&
            llvm::is_contained(choosers, selection.node) &&
            isNeverNegative(result)) {
          selection.spread = result;
          selection.k = count;
        }
        values.push_back(result); // a longer sum may follow
        continue;
      }
      if (node.is("Unsqueeze") || boundOf(result, selection.experts))
        values.push_back(result);
    }
  }
}

bool moe::isLaterChoice(NodeOp node) {
  NodeOp rest = definingNode(node.input(0), "Where");
  if (!node.is("ArgMax") || !rest ||
      splatOf(rest.input(1)) != -std::numeric_limits<double>::infinity())
    return false;
  SymbolicDim experts = dimOf(node.input(0), rankOf(node.input(0)) - 1);
  return experts.constant && boundOf(rest.input(0), *experts.constant);
}

LogicalResult moe::matchSpread(Selection &selection, Value weights,
                               RouteRecipe &recipe, Rejection &rejection) {
  if (!selection.spread)
    return failure();
  if (weights != selection.spread)
    return rejection.at(weights.getDefiningOp(),
                        "expects the weights of all experts that the choices "
                        "add up to");
  recipe = RouteRecipe();
  recipe.k = selection.k;
  recipe.experts = selection.experts;
  recipe.logits = weights;
  return success();
}
