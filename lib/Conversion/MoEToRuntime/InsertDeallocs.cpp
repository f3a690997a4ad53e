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
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "moe-insert-deallocs"

namespace mlir::moe {
#define GEN_PASS_DEF_INSERTDEALLOCSPASS
#include "moe/Conversion/MoEToRuntime/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// The last operation in the block of `buffer` that uses it or anything that
/// may alias it; null when the buffer leaves the block.
static Operation *lastUse(Value buffer, const BufferViewFlowAnalysis &aliases) {
  Operation *last = buffer.getDefiningOp();
  Block *block = last->getBlock();
  for (Value alias : aliases.resolve(buffer)) {
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

//===----------------------------------------------------------------------===//
// Buffers that move
//===----------------------------------------------------------------------===//

namespace {
/// Results of control flow that are buffers of their own: each branch or
/// iteration has allocated what it hands on, and nothing else names it. Such a
/// buffer is freed where it ends up, not where it was allocated.
class MovedBuffers {
public:
  explicit MovedBuffers(func::FuncOp function);

  /// Own buffers that do not move on.
  SmallVector<Value> buffers;
  /// Carried values that are dead at the end of the loop's body.
  SmallVector<std::pair<Value, Operation *>> carried;

private:
  void visit(scf::IfOp op);
  void visit(scf::ForOp op);
  void visit(scf::WhileOp op);
  /// Carried value `result`: from `init` to `argument`, then from `yield`.
  void visitCarried(OpResult result, OpOperand &init, BlockArgument argument,
                    OpOperand &yield);
  /// The own buffer of `operand`'s block that moves to where `operand` leads;
  /// null if there is none.
  Value moved(OpOperand &operand) const;

  DenseSet<Value> own, gone;
};
} // namespace

/// Whether nothing but `consumer` hands on `buffer`, or a view of it, and
/// nothing uses it after that.
static bool isLocal(Value buffer, Block *block, OpOperand *consumer) {
  SmallVector<Value> views{buffer};
  while (!views.empty()) {
    for (OpOperand &use : views.pop_back_val().getUses()) {
      if (&use == consumer)
        continue;
      Operation *user = use.getOwner();
      if (isa<RegionBranchOpInterface>(user) ||
          user->hasTrait<OpTrait::IsTerminator>())
        return false;
      Operation *inBlock = block->findAncestorOpInBlock(*user);
      if (!inBlock ||
          (consumer && !inBlock->isBeforeInBlock(consumer->getOwner())))
        return false;
      bool isView = isa<ViewLikeOpInterface>(user);
      for (Value result : user->getResults()) {
        if (!isa<BaseMemRefType>(result.getType()))
          continue;
        if (!isView)
          return false;
        views.push_back(result);
      }
    }
  }
  return true;
}

Value MovedBuffers::moved(OpOperand &operand) const {
  Value buffer = operand.get();
  while (auto cast = buffer.getDefiningOp<memref::CastOp>())
    buffer = cast.getSource();
  Block *block = operand.getOwner()->getBlock();
  if (!own.contains(buffer) || gone.contains(buffer) ||
      buffer.getParentBlock() != block || !isLocal(buffer, block, &operand))
    return {};
  return buffer;
}

void MovedBuffers::visitCarried(OpResult result, OpOperand &init,
                                BlockArgument argument, OpOperand &yield) {
  if (!isa<MemRefType>(result.getType()))
    return;
  Value first = moved(init), next = moved(yield);
  Block *body = argument.getOwner();
  if (!first || !next || !isLocal(argument, body, /*consumer=*/nullptr))
    return;
  gone.insert_range(ArrayRef<Value>{first, next});
  own.insert(result);
  carried.push_back({argument, body->getTerminator()});
}

void MovedBuffers::visit(scf::ForOp op) {
  auto yield = cast<scf::YieldOp>(op.getBody()->getTerminator());
  for (auto [i, result] : llvm::enumerate(op->getOpResults()))
    visitCarried(result, op.getInitsMutable()[i], op.getRegionIterArg(i),
                 yield->getOpOperand(i));
}

void MovedBuffers::visit(scf::WhileOp op) {
  scf::ConditionOp condition = op.getConditionOp();
  scf::YieldOp yield = op.getYieldOp();
  for (auto [i, result] : llvm::enumerate(op->getOpResults())) {
    OpOperand &passed = condition.getArgsMutable()[i];
    auto before = dyn_cast<BlockArgument>(passed.get());
    if (!before || before.getOwner() != op.getBeforeBody() ||
        !isLocal(before, before.getOwner(), &passed))
      continue;
    unsigned from = before.getArgNumber();
    visitCarried(result, op.getInitsMutable()[from], op.getAfterArguments()[i],
                 yield->getOpOperand(from));
  }
}

void MovedBuffers::visit(scf::IfOp op) {
  if (op.getNumResults() == 0)
    return;
  scf::YieldOp yields[2] = {op.thenYield(), op.elseYield()};
  for (auto [i, result] : llvm::enumerate(op->getOpResults())) {
    if (!isa<MemRefType>(result.getType()))
      continue;
    Value made[2] = {moved(yields[0]->getOpOperand(i)),
                     moved(yields[1]->getOpOperand(i))};
    if (!made[0] || !made[1])
      continue;
    gone.insert_range(ArrayRef<Value>(made));
    own.insert(result);
  }
}

MovedBuffers::MovedBuffers(func::FuncOp function) {
  SmallVector<Value> all;
  // What is inside comes first.
  function.walk([&](Operation *op) {
    if (isa<memref::AllocOp>(op)) {
      own.insert(op->getResult(0));
    } else if (auto branch = dyn_cast<scf::IfOp>(op)) {
      visit(branch);
    } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
      visit(loop);
    } else if (auto loop = dyn_cast<scf::WhileOp>(op)) {
      visit(loop);
    }
    llvm::append_range(all, op->getResults());
  });
  for (Value value : all)
    if (own.contains(value) && !gone.contains(value))
      buffers.push_back(value);
}

namespace {
struct InsertDeallocs : moe::impl::InsertDeallocsPassBase<InsertDeallocs> {
  void runOnOperation() override {
    BufferViewFlowAnalysis aliases(getOperation());
    MovedBuffers moved(getOperation());
    SmallVector<std::pair<Value, Operation *>> frees;
    for (Value buffer : moved.buffers) {
      if (Operation *last = lastUse(buffer, aliases))
        frees.push_back({buffer, last});
      else
        LDBG() << "leaves its block: " << buffer;
    }
    OpBuilder b(&getContext());
    for (auto [buffer, last] : frees) {
      b.setInsertionPointAfter(last);
      memref::DeallocOp::create(b, buffer.getLoc(), buffer);
    }
    for (auto [buffer, terminator] : moved.carried) {
      b.setInsertionPoint(terminator);
      memref::DeallocOp::create(b, buffer.getLoc(), buffer);
    }
  }
};
} // namespace
