//===- ControlFlow.h - branches and loops over tensors ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_CONTROLFLOW_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_CONTROLFLOW_H

#include "Lowering.h"

namespace mlir::moe::raise {

/// What one iteration makes.
struct Iteration {
  /// The carried values of the next one.
  SmallVector<Tensor> next;
  /// One slice of each scanned output.
  SmallVector<Tensor> slices;
  /// Whether there is a next one, as 0 or 1.
  Expr goesOn = 1;
};

/// An output that consists of one slice per iteration.
struct ScannedOutput {
  int64_t axis = 0; // in the range of the output's rank, or negative
  bool backward = false;
};

struct LoopSpec {
  /// The most iterations there are; not negative.
  Expr trips;
  /// The carried values of the first iteration. They keep their rank.
  SmallVector<Tensor> first;
  SmallVector<ScannedOutput> scanned;
  /// Called at the insertion point, perhaps more than once.
  function_ref<FailureOr<Iteration>(const Expr &number, ArrayRef<Tensor>)> body;
};

struct LoopResults {
  SmallVector<Tensor> last, scanned;
};

FailureOr<LoopResults> emitLoop(Lowering &l, const LoopSpec &spec);

/// `value` in a new buffer of its own.
Value freshCopy(Lowering &l, Value value);
/// A new buffer. An empty tensor would not do: equal ones are one.
Value freshBuffer(Lowering &l, RankedTensorType type,
                  ArrayRef<OpFoldResult> sizes);
/// `value`, written to the buffer of `destination`.
Value writeTo(Lowering &l, Value value, Value destination);

/// The type of a value with the sizes `dims`, but for those that are `inside` a
/// region, which are open.
RankedTensorType typeOf(Lowering &l, const Dims &dims, ArrayRef<bool> inside,
                        Type elementType);
/// `value` of that type as a tensor.
Tensor resultOf(Lowering &l, Value value, Type elementType, Dims dims,
                ArrayRef<bool> inside);

/// The slice of `t` at `index`, without the axis.
Tensor sliceAt(Lowering &l, Tensor t, int64_t axis, const Expr &index);

} // namespace mlir::moe::raise

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_CONTROLFLOW_H
