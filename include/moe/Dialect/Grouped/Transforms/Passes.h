//===- Passes.h - grouped transformations -----------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_GROUPED_TRANSFORMS_PASSES_H
#define MOE_DIALECT_GROUPED_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir {
class ModuleOp;
class DialectRegistry;
namespace func {
class FuncOp;
} // namespace func

namespace grouped {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "moe/Dialect/Grouped/Transforms/Passes.h.inc"

/// Bufferization of the grouped kernels and of the moe operations that live on
/// until memory is assigned (`moe.get_weight`).
void registerBufferizableOpInterfaceModels(DialectRegistry &registry);

} // namespace grouped
} // namespace mlir

#endif // MOE_DIALECT_GROUPED_TRANSFORMS_PASSES_H
