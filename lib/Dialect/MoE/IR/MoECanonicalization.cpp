//===- MoECanonicalization.cpp - simpler forms of moe operations ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

#include "moe/Dialect/MoE/IR/MoE.h"

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// GroupedMatmulOp
//===----------------------------------------------------------------------===//

namespace {
/// Fusion leaves epilogues that use an operand twice, or no longer. Every
/// weight that goes saves its matrix product.
struct DropEpilogueOperands : OpRewritePattern<GroupedMatmulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(GroupedMatmulOp op,
                                PatternRewriter &rewriter) const override {
    if (op.getEpilogue().empty())
      return rewriter.notifyMatchFailure(op, "no epilogue");
    Block &body = op.getEpilogue().front();
    SmallVector<ExpertMatrix> matrices = op.getMatrices();
    SmallVector<Value> extras(op.getExtras());
    llvm::BitVector dropped(body.getNumArguments());
    // The accumulators of equal weights and biases are equal, as are equal
    // extras: later ones give way to the first.
    auto same = [&](unsigned a, unsigned b) {
      unsigned count = matrices.size();
      if ((a < count) != (b < count))
        return false;
      if (a >= count)
        return extras[a - count] == extras[b - count];
      return matrices[a] == matrices[b];
    };
    unsigned weightsLeft = matrices.size();
    for (unsigned i = body.getNumArguments(); i-- > 0;) {
      bool isWeight = i < matrices.size();
      if (isWeight && weightsLeft == 1)
        break; // the one that stays
      unsigned first = 0;
      while (!same(first, i))
        ++first;
      if (first == i && !body.getArgument(i).use_empty())
        continue;
      if (first != i)
        rewriter.replaceAllUsesWith(body.getArgument(i),
                                    body.getArgument(first));
      dropped.set(i);
      weightsLeft -= isWeight;
    }
    if (dropped.none())
      return rewriter.notifyMatchFailure(op, "every operand is used");

    auto keep = [&](auto &values, unsigned firstArgument) {
      std::decay_t<decltype(values)> kept;
      for (auto [i, value] : llvm::enumerate(values))
        if (!dropped[firstArgument + i])
          kept.push_back(value);
      values = std::move(kept);
    };
    keep(extras, matrices.size());
    keep(matrices, 0);
    rewriter.modifyOpInPlace(op, [&] {
      body.eraseArguments(dropped);
      op.setMatrices(matrices);
      op.getExtrasMutable().assign(extras);
    });
    return success();
  }
};

/// An epilogue that yields the only accumulator says nothing.
struct DropTrivialEpilogue : OpRewritePattern<GroupedMatmulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(GroupedMatmulOp op,
                                PatternRewriter &rewriter) const override {
    if (op.getEpilogue().empty() ||
        op.getEpilogue().front().getNumArguments() != 1)
      return rewriter.notifyMatchFailure(op,
                                         "the epilogue has several operands");
    Block &body = op.getEpilogue().front();
    if (body.getTerminator()->getOperand(0) != body.getArgument(0))
      return rewriter.notifyMatchFailure(op, "the epilogue computes something");
    rewriter.modifyOpInPlace(op, [&] { rewriter.eraseBlock(&body); });
    return success();
  }
};
} // namespace

void GroupedMatmulOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                                  MLIRContext *context) {
  patterns.add<DropEpilogueOperands, DropTrivialEpilogue>(context);
}

//===----------------------------------------------------------------------===//
// CheckOp
//===----------------------------------------------------------------------===//

LogicalResult CheckOp::canonicalize(CheckOp op, PatternRewriter &rewriter) {
  if (!matchPattern(op.getCondition(), m_One()))
    return rewriter.notifyMatchFailure(op,
                                       "the condition is not known to hold");
  rewriter.eraseOp(op);
  return success();
}
