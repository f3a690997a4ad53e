//===- Kernels.h - lowering of each grouped kernel --------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_GROUPEDTOLOOPS_KERNELS_H
#define MOE_LIB_CONVERSION_GROUPEDTOLOOPS_KERNELS_H

#include "moe/Dialect/Grouped/IR/Grouped.h"

#include "LoopBuilder.h"

namespace mlir::grouped {

// Each emits the loops of a kernel on memrefs in front of it; the pass erases
// the kernel. Failure means that an error was reported.
LogicalResult lowerGate(GateOp op, Value context);
LogicalResult lowerPlan(PlanOp op, Value context);
LogicalResult lowerMatmul(MatmulOp op, Value context);
LogicalResult lowerCombine(CombineOp op, Value context);

/// The type that kernels compute in: f64 for f64, f32 otherwise.
Type computeType(Type elementType);
/// `value` or the elements of that vector as `element`, f32 or f64 on one side.
Value convertTo(LoopBuilder &b, Value value, Type element);

} // namespace mlir::grouped

#endif // MOE_LIB_CONVERSION_GROUPEDTOLOOPS_KERNELS_H
