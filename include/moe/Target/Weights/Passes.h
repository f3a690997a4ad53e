//===- Passes.h - Passes that place weights ---------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_WEIGHTS_PASSES_H
#define MOE_TARGET_WEIGHTS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::moe {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "moe/Target/Weights/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_TARGET_WEIGHTS_PASSES_H
