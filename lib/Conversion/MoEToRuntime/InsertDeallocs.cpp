//===- InsertDeallocs.cpp - free buffers after their last use -------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToRuntime/Passes.h"

#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "moe-insert-deallocs"

namespace mlir::moe {
#define GEN_PASS_DEF_INSERTDEALLOCSPASS
#include "moe/Conversion/MoEToRuntime/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// The last operation in the block of `alloc` that uses the buffer or anything
/// that may alias it; null when the buffer leaves the block.
static Operation *lastUse(memref::AllocOp alloc,
                          const BufferViewFlowAnalysis &aliases) {
  Block *block = alloc->getBlock();
  Operation *last = alloc;
  for (Value alias : aliases.resolve(alloc.getResult())) {
    for (Operation *user : alias.getUsers()) {
      Operation *inBlock = block->findAncestorOpInBlock(*user);
      if (!inBlock || inBlock == block->getTerminator())
        return nullptr;
      if (last->isBeforeInBlock(inBlock))
        last = inBlock;
    }
  }
  return last;
}

namespace {
struct InsertDeallocs : moe::impl::InsertDeallocsPassBase<InsertDeallocs> {
  void runOnOperation() override {
    BufferViewFlowAnalysis aliases(getOperation());
    SmallVector<std::pair<memref::AllocOp, Operation *>> frees;
    getOperation().walk([&](memref::AllocOp alloc) {
      if (Operation *last = lastUse(alloc, aliases))
        frees.push_back({alloc, last});
      else
        LDBG() << "leaves its block: " << *alloc.getOperation();
    });
    for (auto [alloc, last] : frees) {
      OpBuilder b(last->getContext());
      b.setInsertionPointAfter(last);
      memref::DeallocOp::create(b, alloc.getLoc(), alloc.getResult());
    }
  }
};
} // namespace
