//===- FuseElementwise.cpp - merges elementwise operations ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Brings what surrounds matrix products into the form that epilogue fusion
// looks for: one elementwise operation per product, in the product's two
// dimensions.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#define DEBUG_TYPE "moe-fuse-elementwise"

namespace mlir::moe {
#define GEN_PASS_DEF_FUSEELEMENTWISE
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Whether all uses of `op`'s results are in one operation.
static bool hasOneUser(Operation *op) {
  Operation *user = nullptr;
  for (Operation *next : op->getUsers()) {
    if (user && user != next)
      return false;
    user = next;
  }
  return user;
}

/// Fuses what is read by one operation only, each element once: nothing is
/// computed twice.
static bool readsEachElementOnce(OpOperand *operand) {
  auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
  Operation *producer = operand->get().getDefiningOp();
  // In a loop it would be computed again in each iteration.
  return consumer && producer && hasOneUser(producer) &&
         producer->getBlock() == consumer->getBlock() &&
         consumer.getMatchingIndexingMap(operand).isPermutation();
}

/// Products are two-dimensional. An exporter keeps batch and sequence apart;
/// one dimension for both lets the elementwise operation meet the product.
static bool expandsProduct(OpOperand *operand) {
  auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
  auto expand = operand->get().getDefiningOp<tensor::ExpandShapeOp>();
  if (!consumer || !expand ||
      consumer.getNumParallelLoops() != consumer.getNumLoops())
    return false;
  Operation *source = expand.getSrc().getDefiningOp();
  // Or what has been made two-dimensional before, for the same reason.
  auto elementwise = dyn_cast_or_null<linalg::GenericOp>(source);
  return isa_and_nonnull<GroupedMatmulOp>(source) ||
         (elementwise && elementwise.getNumLoops() == 2 &&
          elementwise.getNumParallelLoops() == 2);
}

namespace {
struct FuseElementwisePass
    : moe::impl::FuseElementwiseBase<FuseElementwisePass> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    RewritePatternSet patterns(context);
    linalg::populateElementwiseOpsFusionPatterns(patterns,
                                                 readsEachElementOnce);
    linalg::populateFoldReshapeOpsByCollapsingPatterns(patterns,
                                                       expandsProduct);
    // Reshapes that cancel each other.
    tensor::CollapseShapeOp::getCanonicalizationPatterns(patterns, context);
    tensor::ExpandShapeOp::getCanonicalizationPatterns(patterns, context);
    linalg::GenericOp::getCanonicalizationPatterns(patterns, context);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
