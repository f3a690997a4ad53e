//===- Bufferize.cpp - buffers for tensors --------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Grouped/Transforms/Passes.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

#define DEBUG_TYPE "grouped-bufferize"

namespace mlir::grouped {
#define GEN_PASS_DEF_BUFFERIZEPASS
#include "moe/Dialect/Grouped/Transforms/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;
using namespace mlir::bufferization;

static OneShotBufferizationOptions makeOptions() {
  OneShotBufferizationOptions options;
  options.bufferizeFunctionBoundaries = true;
  options.setFunctionBoundaryTypeConversion(LayoutMapOption::IdentityLayoutMap);
  options.allowReturnAllocsFromLoops = true;
  options.memCpyFn = [](OpBuilder &b, Location loc, Value from, Value to) {
    linalg::CopyOp::create(b, loc, from, to);
    return success();
  };
  return options;
}

/// A function returns contiguous buffers, but bufferization lets a slice pass
/// for one when its type has a dynamic size: the strides that it writes as
/// dynamic then would do for any layout. Copies such results.
static void copyStridedResults(func::FuncOp function) {
  function.walk([](func::ReturnOp op) {
    OpBuilder b(op);
    for (OpOperand &operand : op->getOpOperands()) {
      auto cast = operand.get().getDefiningOp<memref::CastOp>();
      if (!cast)
        continue;
      auto source = dyn_cast<MemRefType>(cast.getSource().getType());
      auto result = dyn_cast<MemRefType>(cast.getType());
      if (!source || !result || source.getLayout().isIdentity() ||
          !result.getLayout().isIdentity())
        continue;
      SmallVector<Value> sizes;
      for (int64_t i = 0; i < result.getRank(); ++i)
        if (result.isDynamicDim(i))
          sizes.push_back(
              memref::DimOp::create(b, op.getLoc(), cast.getSource(), i));
      Value copy = memref::AllocOp::create(b, op.getLoc(), result, sizes);
      linalg::CopyOp::create(b, op.getLoc(), cast.getSource(), copy);
      operand.set(copy);
    }
  });
}

namespace {
struct Bufferize : grouped::impl::BufferizePassBase<Bufferize> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    Builder b(&getContext());
    // The caller's memory is not ours to write.
    for (auto function : module.getOps<func::FuncOp>())
      if (function.isPublic())
        for (unsigned i = 0; i < function.getNumArguments(); ++i)
          function.setArgAttr(i, BufferizationDialect::kWritableAttrName,
                              b.getBoolAttr(false));
    // A result that is inserted into another tensor is computed in place.
    IRRewriter rewriter(&getContext());
    if (failed(eliminateEmptyTensors(rewriter, module)))
      return signalPassFailure();
    BufferizationState state;
    if (failed(runOneShotModuleBufferize(module, makeOptions(), state)))
      return signalPassFailure();
    for (auto function : module.getOps<func::FuncOp>())
      copyStridedResults(function);
    for (auto function : module.getOps<func::FuncOp>())
      for (unsigned i = 0; i < function.getNumArguments(); ++i)
        function.removeArgAttr(i, BufferizationDialect::kWritableAttrName);
  }
};
} // namespace
