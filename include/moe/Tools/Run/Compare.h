//===- Compare.h - Results against expectations -----------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_RUN_COMPARE_H
#define MOE_TOOLS_RUN_COMPARE_H

#include "moe/Runtime/moe.h"

#include <string>

namespace mlir::moe {

struct Comparison {
  bool success = false;
  /// One line: the largest difference, where it is, and the limit.
  std::string text;
};

/// Compares element by element, in whatever types the two have:
///   |actual - expected| <= tolerance * max(1, max |expected|).
/// Equal infinities, and NaN where NaN is expected, count as no difference;
/// any other non-finite difference fails. Both tensors are contiguous.
Comparison compareTensors(const moe_tensor &actual, const moe_tensor &expected,
                          double tolerance);

/// Element `index`, in row-major order, of a contiguous tensor of any type.
double elementAsDouble(const moe_tensor &tensor, int64_t index);

} // namespace mlir::moe

#endif // MOE_TOOLS_RUN_COMPARE_H
