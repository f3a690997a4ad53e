//===- TargetDescription.h - What schedules ask about a CPU -----*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_CPU_TARGETDESCRIPTION_H
#define MOE_TARGET_CPU_TARGETDESCRIPTION_H

#include <cstdint>

namespace mlir::moe {
struct CPUOptions;

/// The properties of a CPU that tile sizes and expansions depend on.
struct TargetDescription {
  /// Width and number of the registers that hold accumulators.
  int64_t vectorBits = 128;
  int64_t vectorRegisters = 16;
  /// Whether a fused multiply-add is an instruction.
  bool hasFMA = false;
  /// Data caches of one core. The same for all CPUs: code for a named CPU must
  /// not depend on the machine that compiles it, and LLVM has no sizes.
  int64_t l1Bytes = 32 << 10;
  int64_t l2Bytes = 512 << 10;
};

/// Describes the CPU of `options`, as LLVM's subtarget features have it.
/// Options that name no CPU are described as the least of their kind; it is
/// resolveCPUOptions that reports them.
TargetDescription describeTarget(const CPUOptions &options);

} // namespace mlir::moe

#endif // MOE_TARGET_CPU_TARGETDESCRIPTION_H
