//===- SplitBlocks.h - Long straight code in pieces -------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_LLVM_SPLITBLOCKS_H
#define MOE_TARGET_LLVM_SPLITBLOCKS_H

namespace llvm {
class Module;
} // namespace llvm

namespace mlir::moe {

/// Moves stretches of basic blocks that have very many instructions, and are
/// not in a loop, to functions of their own.
void splitLongBlocks(llvm::Module &module);

} // namespace mlir::moe

#endif // MOE_TARGET_LLVM_SPLITBLOCKS_H
