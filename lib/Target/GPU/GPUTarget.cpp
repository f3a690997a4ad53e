//===- GPUTarget.cpp - The GPU that kernels are made for ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/GPU/GPUTarget.h"

#include "mlir/IR/Operation.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace mlir::moe;

// CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability".
static constexpr GPUDescription kDescriptions[] = {
    {"sm_80", "+ptx80", 163 << 10, 164 << 10, 2048, 108},
    {"sm_86", "+ptx80", 99 << 10, 100 << 10, 1536, 84},
    {"sm_89", "+ptx80", 99 << 10, 100 << 10, 1536, 144},
    {"sm_90", "+ptx80", 227 << 10, 228 << 10, 2048, 132},
};

std::optional<GPUDescription> moe::describeGPU(StringRef arch) {
  const GPUDescription *found = llvm::find_if(
      kDescriptions, [&](const GPUDescription &d) { return d.arch == arch; });
  if (found == std::end(kDescriptions))
    return std::nullopt;
  return *found;
}

FailureOr<GPUDescription> moe::describeGPU(StringRef arch, Operation *op) {
  if (std::optional<GPUDescription> found = describeGPU(arch))
    return *found;
  return op->emitError("expects one of the architectures ")
         << listGPUs() << ", got '" << arch << "'";
}

std::string moe::listGPUs() {
  std::string names;
  for (const GPUDescription &description : kDescriptions)
    names += (names.empty() ? "" : ", ") + description.arch.str();
  return names;
}
