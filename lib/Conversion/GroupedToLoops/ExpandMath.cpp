//===- ExpandMath.cpp - math functions as vectorisable arithmetic ---------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A call to libm keeps a loop scalar. Polynomials in f32, the same for scalars
// and vectors, let LLVM vectorise the loop and give the same bits in its tail.
// sin and cos stay with libm: their argument (a position times a frequency) is
// large, and they run once per position, not per layer.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/GroupedToLoops/Passes.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::grouped {
#define GEN_PASS_DEF_EXPANDMATHPASS
#include "moe/Conversion/GroupedToLoops/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;

namespace {
struct ExpandMath : grouped::impl::ExpandMathPassBase<ExpandMath> {
  void runOnOperation() override {
    auto expanded = [](StringRef name) {
      return llvm::is_contained(
          {math::ExpOp::getOperationName(), math::ErfOp::getOperationName(),
           math::TanhOp::getOperationName(), math::LogOp::getOperationName()},
          name);
    };
    RewritePatternSet patterns(&getContext());
    populateMathF32ExpansionPatterns(patterns, expanded);
    populateMathPolynomialApproximationPatterns(patterns, expanded);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
  }
};
} // namespace
