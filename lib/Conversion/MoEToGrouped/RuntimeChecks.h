//===- RuntimeChecks.h - constraints that only a run can check --*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels trust their operands: what the types of the moe operations leave open
// is checked here, in front of them. Numbers are those of docs/Spec.md. A check
// whose condition is known is not emitted or folds away.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_MOETOGROUPED_RUNTIMECHECKS_H
#define MOE_LIB_CONVERSION_MOETOGROUPED_RUNTIMECHECKS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::moe {

/// One dimension of a tensor.
struct Dim {
  Value tensor;
  int64_t index;
};

/// C12: two dimensions are equal. `op` is the operation that needs it.
void checkEqual(ImplicitLocOpBuilder &b, Operation *op, Dim found, Dim required,
                StringRef what);

/// C14: `rows` (index) rows can be numbered in i32.
void checkRowCount(ImplicitLocOpBuilder &b, Operation *op, Value rows);

/// `[0, s0, s0 + s1, ...]` for the group sizes `sizes`, C9 (first part): each
/// lies in [0, 2^31), so that the sums cannot overflow.
Value checkedPrefixSums(ImplicitLocOpBuilder &b, Operation *op, Value sizes);

/// C9 (second part): the groups end at row `rows`, or, with `atMost`, not
/// behind it.
void checkGroupsEnd(ImplicitLocOpBuilder &b, Operation *op, Value offsets,
                    Dim rows, bool atMost);

/// C18: a segment holds at least one of the tokens, if there are any.
void checkSegment(ImplicitLocOpBuilder &b, Operation *op, Value segment,
                  Dim tokens);

/// C13: each element of `rowMap` lies in [-1, rows).
void checkRowMap(ImplicitLocOpBuilder &b, Operation *op, Value rowMap,
                 Dim rows);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_MOETOGROUPED_RUNTIMECHECKS_H
