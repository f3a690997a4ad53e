//===- Normalization.h - normalizations as parts of others ------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_NORMALIZATION_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_NORMALIZATION_H

#include "Lowering.h"

namespace mlir::moe::raise {

/// x normalized over the axes from `axis` on: results y, mean (null for RMS)
/// and 1 / deviation, the latter without the normalized axes.
FailureOr<SmallVector<Tensor, 3>> normalize(Lowering &l, Tensor x, Tensor scale,
                                            Tensor bias, int64_t axis,
                                            double epsilon, bool centers,
                                            Type resultType);

} // namespace mlir::moe::raise

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_NORMALIZATION_H
