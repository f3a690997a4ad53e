//===- PTX.h - nvvm dialect to PTX text -------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_GPU_PTX_H
#define MOE_TARGET_GPU_PTX_H

#include "mlir/Support/LLVM.h"

#include <string>

namespace mlir {
class Operation;

namespace moe {
struct GPUDescription;

/// The PTX of a `gpu.module` of the llvm and nvvm dialects. On failure a
/// diagnostic is emitted; functions that the device has no code for (libdevice
/// is not linked) are one.
FailureOr<std::string> translateToPTX(Operation *module,
                                      const GPUDescription &target);

} // namespace moe
} // namespace mlir

#endif // MOE_TARGET_GPU_PTX_H
