//===- HoistChecks.cpp - run-time checks in front of what they protect ----===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A node that needs a size to be 16 says so in front of its own code, but its
// operand may be the result of elementwise code in front of that. A static size
// spreads backwards through such code, as far as where the dynamic size comes
// from, and all of it would run on a wrong size before the check stops the run.
// Hence a check moves to where the values it compares are known.
//
// Each operation of a block gets a level: 0 if it depends on arguments only,
// else the number of the last operation that it depends on and that stays where
// it is. Checks, and the arithmetic they need, go behind that one, in their
// order.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#define DEBUG_TYPE "moe-hoist-checks"

namespace mlir::moe {
#define GEN_PASS_DEF_HOISTCHECKS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Whether `op` is a check, or arithmetic on sizes that traps for none: whether
/// it may run earlier, in front of other checks too.
static bool canMove(Operation *op) {
  auto isInteger = [](Type type) { return type.isIntOrIndex(); };
  return isa<CheckOp>(op) ||
         (isPure(op) && llvm::all_of(op->getResultTypes(), isInteger) &&
          (isa<tensor::DimOp>(op) ||
           llvm::all_of(op->getOperandTypes(), isInteger)));
}

static void hoistChecks(Block &block) {
  DenseMap<Operation *, size_t> levels;
  SmallVector<Operation *> staying = {nullptr};
  SmallVector<Operation *> movable;
  for (Operation &op : block) {
    if (!canMove(&op)) {
      levels[&op] = staying.size();
      staying.push_back(&op);
      continue;
    }
    size_t level = 0;
    for (Value operand : op.getOperands())
      if (Operation *producer = operand.getDefiningOp())
        level = std::max(level, levels.lookup(producer));
    levels[&op] = level;
    movable.push_back(&op);
  }

  llvm::SmallPtrSet<Operation *, 16> needed;
  for (Operation *op : llvm::reverse(movable))
    if (isa<CheckOp>(op) || needed.contains(op)) {
      needed.insert(op);
      for (Value operand : op->getOperands())
        if (Operation *producer = operand.getDefiningOp())
          needed.insert(producer);
    }
  // The last to go behind an operation is the first to be moved there.
  for (Operation *op : llvm::reverse(movable)) {
    if (!needed.contains(op))
      continue;
    if (Operation *anchor = staying[levels.lookup(op)])
      op->moveAfter(anchor);
    else
      op->moveBefore(&block, block.begin());
  }
}

namespace {
struct HoistChecks : moe::impl::HoistChecksBase<HoistChecks> {
  void runOnOperation() override {
    for (Block &block : getOperation().getBody())
      hoistChecks(block);
  }
};
} // namespace
