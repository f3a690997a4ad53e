//===- Pipelines.h - The passes of each phase -------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One function per phase that has passes, each in a file of lib/Pipelines. A
// comment at each position there says why the pass runs at that point.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PIPELINES_PIPELINES_H
#define MOE_PIPELINES_PIPELINES_H

#include <optional>

namespace mlir {
class OpPassManager;

namespace moe {
struct CompileOptions;
struct CPUOptions;
struct GPUOptions;
struct QuantizeOptions;

void buildRaisePipeline(OpPassManager &pm);
/// With `quantize`, float weights become integers first.
void buildFusePipeline(OpPassManager &pm,
                       const std::optional<QuantizeOptions> &quantize);
void buildGroupPipeline(OpPassManager &pm, const CompileOptions &options);
void buildSchedulePipeline(OpPassManager &pm, const CPUOptions &options);
void buildBufferizePipeline(OpPassManager &pm, const CPUOptions &options);
void buildLowerPipeline(OpPassManager &pm, const CompileOptions &options);

/// What `lower` begins with: a function per different kernel, each with the
/// session's context.
void buildOutlinePipeline(OpPassManager &pm);
/// The kernels' part of `lower`: grouped operations on device buffers to
/// launches, and to the device module as the nvvm dialect.
void buildDeviceKernelsPipeline(OpPassManager &pm, const GPUOptions &options);
/// The device module to PTX, launches and device buffers to the runtime.
void buildDeviceRuntimePipeline(OpPassManager &pm, const GPUOptions &options);

} // namespace moe
} // namespace mlir

#endif // MOE_PIPELINES_PIPELINES_H
