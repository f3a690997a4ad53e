//===- InlineBranches.cpp - branches that constants choose ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/ONNXToMoE/Matchers.h"
#include "moe/Conversion/ONNXToMoE/Passes.h"

#include "mlir/IR/PatternMatch.h"

#define DEBUG_TYPE "onnx-inline-branches"

namespace mlir::moe {
#define GEN_PASS_DEF_ONNXINLINEBRANCHES
#include "moe/Conversion/ONNXToMoE/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

/// Conditions are short; what is deeper is no condition on a shape.
static constexpr int kMaxDepth = 16;

/// The value of a bool of one element, as far as constants and static sizes
/// decide it.
static std::optional<bool> conditionOf(Value value, int depth = 0) {
  if (!value || depth == kMaxDepth)
    return std::nullopt;
  if (DenseElementsAttr constant = constantOf(value)) {
    if (!constant.getElementType().isInteger(1) ||
        constant.getNumElements() != 1)
      return std::nullopt;
    return constant.getValues<bool>()[0];
  }
  NodeOp node = definingNode(value);
  if (!node || !node.getDomain().empty())
    return std::nullopt;
  StringRef op = node.getOpType();
  auto bit = [&](unsigned i) { return conditionOf(node.input(i), depth + 1); };
  auto integer = [&](unsigned i) -> std::optional<int64_t> {
    auto values = evaluateInts(node.input(i));
    if (!values || values->size() != 1)
      return std::nullopt;
    return values->front();
  };
  if (op == "Identity" || op == "Squeeze" || op == "Unsqueeze" ||
      op == "Reshape")
    return bit(0);
  if (op == "Cast") {
    if (std::optional<int64_t> number = integer(0))
      return *number != 0;
    return bit(0);
  }
  if (op == "Not") {
    std::optional<bool> x = bit(0);
    return x ? std::optional(!*x) : std::nullopt;
  }
  if (op == "And" || op == "Or" || op == "Xor") {
    std::optional<bool> x = bit(0), y = bit(1);
    if (!x || !y)
      return std::nullopt;
    return op == "And" ? *x && *y : op == "Or" ? *x || *y : *x != *y;
  }
  if (node.getInputs().size() != 2)
    return std::nullopt;
  std::optional<int64_t> x = integer(0), y = integer(1);
  if (!x || !y)
    return std::nullopt;
  if (op == "Equal")
    return *x == *y;
  if (op == "Less")
    return *x < *y;
  if (op == "LessOrEqual")
    return *x <= *y;
  if (op == "Greater")
    return *x > *y;
  if (op == "GreaterOrEqual")
    return *x >= *y;
  return std::nullopt;
}

/// Puts the nodes of `branch` in the place of `node`.
static void inlineBranch(NodeOp node, Region &branch, IRRewriter &rewriter) {
  Operation *yield = branch.front().getTerminator();
  SmallVector<Value> results(yield->getOperands());
  rewriter.eraseOp(yield);
  rewriter.inlineBlockBefore(&branch.front(), node);
  rewriter.setInsertionPoint(node);
  for (auto [i, result] : llvm::enumerate(results)) {
    // The types are the importer's, and may say less inside.
    Type type = node.getResult(i).getType();
    if (result.getType() != type && !isa<NoneType>(type))
      result = NodeOp::create(rewriter, node.getLoc(), type, "Identity", "",
                              node.getOpset(), "", result)
                   .getResult(0);
    rewriter.replaceAllUsesWith(node.getResult(i), result);
  }
  rewriter.eraseOp(node);
}

namespace {
struct ONNXInlineBranchesPass
    : moe::impl::ONNXInlineBranchesBase<ONNXInlineBranchesPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](NodeOp node) {
      if (!node.is("If"))
        return;
      std::optional<bool> condition = conditionOf(node.input(0));
      if (!condition)
        return;
      Region *branch = node.graph(*condition ? "then_branch" : "else_branch");
      // Anything else is for the conversion to report.
      if (!branch || branch->getNumArguments() != 0 ||
          branch->front().getTerminator()->getNumOperands() !=
              node.getNumResults())
        return;
      inlineBranch(node, *branch, rewriter);
    });
  }
};
} // namespace
