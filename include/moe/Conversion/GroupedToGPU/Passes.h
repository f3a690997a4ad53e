//===- Passes.h - grouped to kernels of a GPU -------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_GROUPEDTOGPU_PASSES_H
#define MOE_CONVERSION_GROUPEDTOGPU_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir {
class ModuleOp;
namespace func {
class FuncOp;
} // namespace func
namespace gpu {
class GPUModuleOp;
} // namespace gpu

namespace grouped {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "moe/Conversion/GroupedToGPU/Passes.h.inc"
} // namespace grouped
} // namespace mlir

#endif // MOE_CONVERSION_GROUPEDTOGPU_PASSES_H
