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
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SetVector.h"

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

/// Gives each destination a buffer of its own to start from. CSE has made one
/// value of equal `tensor.empty` and of equal fills of them, which then many
/// operations write to: the analysis compares each reader of that value with
/// each writer, and all but one of the writers get a copy of what would have
/// been as cheap to make again.
static void separateDestinations(ModuleOp module) {
  auto separate = [&](auto isShared) {
    SmallVector<OpOperand *> uses;
    SetVector<Operation *> shared;
    module.walk([&](DestinationStyleOpInterface op) {
      for (OpOperand &init : op.getDpsInitsMutable()) {
        Operation *source = init.get().getDefiningOp();
        if (source && !source->hasOneUse() && isShared(source)) {
          uses.push_back(&init);
          shared.insert(source);
        }
      }
    });
    for (OpOperand *use : uses) {
      OpBuilder b(use->getOwner());
      use->set(b.clone(*use->get().getDefiningOp())->getResult(0));
    }
    for (Operation *source : shared)
      if (source->use_empty())
        source->erase();
  };
  // Fills first: their copies then share one tensor.empty.
  separate([](Operation *op) {
    auto fill = dyn_cast<linalg::FillOp>(op);
    return fill && fill.hasPureTensorSemantics() &&
           fill.getOutputs()[0].getDefiningOp<tensor::EmptyOp>();
  });
  separate([](Operation *op) { return isa<tensor::EmptyOp>(op); });
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
    separateDestinations(module);
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
