//===- ForwardWalk.h - users before users of users ------------ -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_FORWARDWALK_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_FORWARDWALK_H

#include "moe/Dialect/ONNX/IR/ONNXOps.h"
#include "llvm/ADT/SmallPtrSet.h"
#include <queue>

namespace mlir::moe {

/// The nodes of one block that use the values to follow, each one once and in
/// the order of the block, so that all operands that are going to be known are
/// known when a node is visited.
class ForwardWalk {
public:
  explicit ForwardWalk(Block *block) : block(block) {}

  /// Returns a user in another block, if there is one.
  Operation *follow(Value value) {
    Operation *outside = nullptr;
    for (Operation *user : value.getUsers()) {
      if (user->getBlock() != block)
        outside = user;
      else if (isa<onnx::NodeOp>(user) && queued.insert(user).second)
        queue.push(user);
    }
    return outside;
  }

  /// The next node; null at the end.
  onnx::NodeOp next() {
    if (queue.empty())
      return {};
    auto node = cast<onnx::NodeOp>(queue.top());
    queue.pop();
    return node;
  }

private:
  struct Later {
    bool operator()(Operation *a, Operation *b) const {
      return b->isBeforeInBlock(a);
    }
  };

  Block *block;
  std::priority_queue<Operation *, std::vector<Operation *>, Later> queue;
  llvm::SmallPtrSet<Operation *, 32> queued;
};

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_FORWARDWALK_H
