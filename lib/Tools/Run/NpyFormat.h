//===- NpyFormat.h - Pieces of the .npy format ------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TOOLS_RUN_NPYFORMAT_H
#define MOE_LIB_TOOLS_RUN_NPYFORMAT_H

#include "moe/Tools/Run/Array.h"

#include <string>
#include <vector>

namespace mlir::moe {

/// What the runtime takes at most.
constexpr size_t maxNpyRank = 32;

/// The product of the sizes and its bytes; false when they do not fit.
bool countElements(const std::vector<int64_t> &shape, int64_t elementSize,
                   int64_t &elements, int64_t &bytes);

/// Everything before the elements of a version 1 file.
std::string makeNpyHeader(const moe_tensor &tensor);

} // namespace mlir::moe

#endif // MOE_LIB_TOOLS_RUN_NPYFORMAT_H
