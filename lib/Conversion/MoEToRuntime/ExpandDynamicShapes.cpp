//===- ExpandDynamicShapes.cpp - expand_shape with several dynamic sizes --===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// expand-strided-metadata of LLVM 22 knows at most one dynamic size per group
// of a memref.expand_shape (it takes the others for constants), although the
// operation carries all sizes. Here those become the reinterpret_cast that it
// would make.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/PatternMatch.h"
#include "moe/Conversion/MoEToRuntime/Passes.h"

#define DEBUG_TYPE "moe-expand-dynamic-shapes"

namespace mlir::moe {
#define GEN_PASS_DEF_EXPANDDYNAMICSHAPESPASS
#include "moe/Conversion/MoEToRuntime/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Whether some dimension is expanded into more than one dynamic size.
static bool hasDynamicGroup(memref::ExpandShapeOp op) {
  MemRefType type = op.getResultType();
  return llvm::any_of(op.getReassociationIndices(),
                      [&](ReassociationIndicesRef group) {
                        return llvm::count_if(group, [&](int64_t dim) {
                                 return type.isDynamicDim(dim);
                               }) > 1;
                      });
}

static OpFoldResult multiply(OpBuilder &b, Location loc, OpFoldResult x,
                             OpFoldResult y) {
  auto constantX = getConstantIntValue(x), constantY = getConstantIntValue(y);
  if (constantX && constantY)
    return b.getIndexAttr(*constantX * *constantY);
  return arith::MulIOp::create(b, loc,
                               getValueOrCreateConstantIndexOp(b, loc, x),
                               getValueOrCreateConstantIndexOp(b, loc, y))
      .getResult();
}

static void expand(memref::ExpandShapeOp op) {
  OpBuilder b(op);
  Location loc = op.getLoc();
  auto source = memref::ExtractStridedMetadataOp::create(b, loc, op.getSrc());
  SmallVector<OpFoldResult> sizes = op.getMixedOutputShape();
  SmallVector<OpFoldResult> strides(sizes.size());
  SmallVector<OpFoldResult> sourceStrides = source.getConstifiedMixedStrides();
  for (auto [group, stride] :
       llvm::zip_equal(op.getReassociationIndices(), sourceStrides)) {
    OpFoldResult running = stride;
    for (int64_t dim : llvm::reverse(group)) {
      strides[dim] = running;
      if (dim != group.front())
        running = multiply(b, loc, running, sizes[dim]);
    }
  }
  // The type may say more than the arithmetic could show.
  auto [typeStrides, typeOffset] = op.getResultType().getStridesAndOffset();
  for (auto [stride, known] : llvm::zip_equal(strides, typeStrides))
    if (!ShapedType::isDynamic(known))
      stride = b.getIndexAttr(known);
  OpFoldResult offset = source.getConstifiedMixedOffset();
  if (!ShapedType::isDynamic(typeOffset))
    offset = b.getIndexAttr(typeOffset);
  Value result = memref::ReinterpretCastOp::create(b, loc, op.getResultType(),
                                                   source.getBaseBuffer(),
                                                   offset, sizes, strides);
  op.replaceAllUsesWith(result);
  op.erase();
}

namespace {
struct ExpandDynamicShapesPass
    : moe::impl::ExpandDynamicShapesPassBase<ExpandDynamicShapesPass> {
  void runOnOperation() override {
    getOperation()->walk([](memref::ExpandShapeOp op) {
      if (hasDynamicGroup(op))
        expand(op);
    });
  }
};
} // namespace
