//===- Grouped.h - grouped dialect -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_GROUPED_IR_GROUPED_H
#define MOE_DIALECT_GROUPED_IR_GROUPED_H

#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "moe/Dialect/Grouped/IR/GroupedOpsDialect.h.inc"
#define GET_OP_CLASSES
#include "moe/Dialect/Grouped/IR/GroupedOps.h.inc"

namespace mlir::grouped {

/// Columns of one panel: one cache line of f32.
inline constexpr int64_t kPanelColumns = 16;

/// How many consecutive k of a column are neighbours in a panel of `type`.
int64_t panelInterleave(Type type);

/// The same of given panels, which may be a GPU's.
int64_t interleaveOf(ShapedType panels);

/// The shape of the panels of `numWeights` matrices `[E, N, K]`; without an
/// interleave with that of the element type.
SmallVector<int64_t> panelShape(ArrayRef<int64_t> weightShape, Type elementType,
                                int64_t numWeights, int64_t interleave = 0);

/// Bits of a word of quantized weights.
inline constexpr int64_t kWordBits = 32;

/// What one thread of a GPU moves at a time: the interleave of its panels, in
/// bytes.
inline constexpr int64_t kDeviceInterleaveBytes = 16;

/// The panels of `numWeights` matrices of type `weight`; integers as words, or
/// as bytes when they are scales or zero points. Without `interleaveBytes` the
/// interleave is that of the element type.
RankedTensorType panelType(RankedTensorType weight, int64_t numWeights,
                           bool isParameter = false,
                           int64_t interleaveBytes = 0);

/// Makes the epilogue that yields its only accumulator.
void buildIdentityEpilogue(OpBuilder &b, Location loc, Region &epilogue,
                           Type outElement);

} // namespace mlir::grouped

#endif // MOE_DIALECT_GROUPED_IR_GROUPED_H
