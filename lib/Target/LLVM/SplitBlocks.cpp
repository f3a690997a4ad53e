//===- SplitBlocks.cpp - Long straight code in pieces ---------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A model's main function is one block that calls its kernels, as many as the
// model has. Instruction selection and register allocation take more than
// linear time in the length of a block: what lives throughout is split around
// every call. In pieces of bounded length they take linear time; what passes
// from one piece to the next goes through the stack.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/LLVM/SplitBlocks.h"

#include "llvm/Analysis/LoopInfo.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Module.h"
#include "llvm/Transforms/Utils/CodeExtractor.h"

using namespace llvm;

namespace {
/// Instructions of a piece: some fifty calls of kernels.
constexpr unsigned kPiece = 512;
/// Blocks up to here stay whole.
constexpr unsigned kLong = 2 * kPiece;
} // namespace

/// Cuts `block` into a head, pieces and a tail, and returns the pieces.
static SmallVector<BasicBlock *> cut(BasicBlock *block) {
  SmallVector<BasicBlock *> pieces;
  auto begin = block->getFirstNonPHIOrDbgOrAlloca();
  while (isa<AllocaInst>(*begin))
    ++begin;
  BasicBlock *rest = block->splitBasicBlock(begin);
  while (rest->sizeWithoutDebug() > kLong) {
    BasicBlock *next = rest->splitBasicBlock(std::next(rest->begin(), kPiece));
    pieces.push_back(rest);
    rest = next;
  }
  return pieces;
}

void mlir::moe::splitLongBlocks(Module &module) {
  SmallVector<Function *> functions;
  for (Function &function : module)
    if (any_of(function, [](const BasicBlock &block) {
          return block.sizeWithoutDebug() > kLong;
        }))
      functions.push_back(&function);
  for (Function *function : functions) {
    DominatorTree dominators(*function);
    LoopInfo loops(dominators);
    SmallVector<BasicBlock *> blocks, pieces;
    for (BasicBlock &block : *function)
      if (block.sizeWithoutDebug() > kLong && !loops.getLoopFor(&block))
        blocks.push_back(&block);
    for (BasicBlock *block : blocks)
      append_range(pieces, cut(block));
    CodeExtractorAnalysisCache cache(*function);
    for (BasicBlock *piece : pieces)
      CodeExtractor(piece).extractCodeRegion(cache);
  }
}
