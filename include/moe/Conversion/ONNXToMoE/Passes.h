//===- Passes.h - from onnx to moe and linalg -------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_ONNXTOMOE_PASSES_H
#define MOE_CONVERSION_ONNXTOMOE_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir {
class ModuleOp;

namespace moe {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "moe/Conversion/ONNXToMoE/Passes.h.inc"
} // namespace moe
} // namespace mlir

#endif // MOE_CONVERSION_ONNXTOMOE_PASSES_H
