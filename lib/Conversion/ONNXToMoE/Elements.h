//===- Elements.h - arithmetic on one element -------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_ELEMENTS_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_ELEMENTS_H

#include "Lowering.h"

namespace mlir::moe::raise {

/// The type that the number `dataType` of ONNX's TensorProto stands for; null
/// for types that tensors cannot have after this pass.
Type onnxElementType(Builder &b, int64_t dataType);

/// `v`, an element of ONNX type `from` in its compute type, as ONNX type `to`.
/// Floats outside of an integer type's range saturate, NaN becomes 0: ONNX
/// leaves both open, LLVM makes them undefined.
Value castElement(ImplicitLocOpBuilder &b, Value v, Type from, Type to);

/// `x` with elements of another type; sizes stay sizes.
Tensor castTensor(Lowering &l, Tensor x, Type to);

/// The greater or lesser element; a NaN wins.
Value maxElement(ImplicitLocOpBuilder &b, Value x, Value y, bool isUnsigned);
Value minElement(ImplicitLocOpBuilder &b, Value x, Value y, bool isUnsigned);
Value addElements(ImplicitLocOpBuilder &b, Value x, Value y);
Value mulElements(ImplicitLocOpBuilder &b, Value x, Value y);

/// The sum of `values`, from the first to the last.
Value sumOfElements(ImplicitLocOpBuilder &b, ValueRange values);

/// The greatest element along the reduced axes, in the compute type of `x`; a
/// NaN wins, -inf where there is none.
Value greatestOf(Lowering &l, Tensor x, ArrayRef<bool> reduced);
/// The sum along the reduced axes, in the compute type of `x`.
Value sumOf(Lowering &l, Tensor x, ArrayRef<bool> reduced);

/// 1 / (1 + exp(-x))
Value sigmoidElement(ImplicitLocOpBuilder &b, Value x);
/// log(1 + exp(x))
Value softplusElement(ImplicitLocOpBuilder &b, Value x);
/// x / (1 + |x|)
Value softsignElement(ImplicitLocOpBuilder &b, Value x);

/// `divide` with the one overflow of two's complement made to wrap.
Value guardOverflow(ImplicitLocOpBuilder &b, Value x, Value y,
                    function_ref<Value(Value, Value)> divide, bool remainder);

} // namespace mlir::moe::raise

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_ELEMENTS_H
