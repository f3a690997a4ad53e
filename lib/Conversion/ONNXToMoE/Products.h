//===- Products.h - matrix products -----------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_PRODUCTS_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_PRODUCTS_H

#include "Lowering.h"

namespace mlir::moe::raise {

/// The product over the last two axes, as MatMul defines it, each transposed
/// first if asked for. A weight takes the packed kernel.
FailureOr<Tensor> matmul(Lowering &l, Tensor x, Tensor y, bool transX,
                         bool transY);

/// Whether all that reads `node`, a DequantizeLinear, are products that take
/// its operands packed.
bool isReadPacked(Lowering &l, onnx::NodeOp node);

} // namespace mlir::moe::raise

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_PRODUCTS_H
