//===- GPUTarget.h - The GPU that kernels are made for ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_GPU_GPUTARGET_H
#define MOE_TARGET_GPU_GPUTARGET_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>

namespace mlir {
class Operation;

namespace moe {

/// The properties of an architecture that tiles depend on.
struct GPUDescription {
  StringRef arch;     ///< "sm_80", as ptxas has it
  StringRef features; ///< the least PTX version, as LLVM has it
  /// Shared memory that one block may have, and that a multiprocessor has, in
  /// bytes; each block takes `kReservedSharedBytes` of the latter besides.
  int64_t sharedPerBlock, sharedPerMultiprocessor;
  int64_t threadsPerMultiprocessor;
  int64_t multiprocessors; ///< of the largest part
};

inline constexpr int64_t kRegistersPerMultiprocessor = 1 << 16;
inline constexpr int64_t kRegistersPerThread = 255;
inline constexpr int64_t kReservedSharedBytes = 1 << 10;

/// None for an architecture that there are no kernels for.
std::optional<GPUDescription> describeGPU(StringRef arch);
/// The same, or a diagnostic at `op` that lists those there are.
FailureOr<GPUDescription> describeGPU(StringRef arch, Operation *op);

/// The names that `describeGPU` knows, for messages.
std::string listGPUs();

} // namespace moe
} // namespace mlir

#endif // MOE_TARGET_GPU_GPUTARGET_H
