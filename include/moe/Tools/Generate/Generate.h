//===- Generate.h - Text from compiled language models ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_GENERATE_GENERATE_H
#define MOE_TOOLS_GENERATE_GENERATE_H

#include "moe/Tools/Run/Run.h"

namespace mlir::moe {

/// Writes text to standard output as the options ask, errors to standard error
/// as one line.
RunStatus generateText(const RunOptions &options);

/// Prints the tokens of texts, or the texts of tokens.
RunStatus tokenizeText(const RunOptions &options);

} // namespace mlir::moe

#endif // MOE_TOOLS_GENERATE_GENERATE_H
