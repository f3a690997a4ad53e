//===- Phases.cpp - The phases of a compilation ---------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Phases.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"
#include "moe/Pipelines/Options.h"
#include "moe/Pipelines/Pipelines.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace mlir::moe;

static constexpr PhaseInfo kPhases[] = {
    {Phase::Import, "import", "read the ONNX file into the onnx dialect"},
    {Phase::Raise, "raise", "recover MoE layers: onnx to moe, linalg, tensor"},
    {Phase::Fuse, "fuse", "fuse operations on tensors, for any target"},
    {Phase::Group, "group", "moe to destination-style grouped kernels"},
    {Phase::Schedule, "schedule", "choose tiles and make loops for the target"},
    {Phase::Bufferize, "bufferize", "tensors to buffers"},
    {Phase::Lower, "lower", "loops, vectors and threads to the llvm dialect"},
    {Phase::Emit, "emit", "machine code, weight file and header"},
};

ArrayRef<PhaseInfo> moe::getPhases() { return kPhases; }

StringRef moe::stringifyPhase(Phase phase) {
  return kPhases[static_cast<unsigned>(phase)].name;
}

std::optional<Phase> moe::parsePhase(StringRef name) {
  const PhaseInfo *info = llvm::find_if(
      kPhases, [&](const PhaseInfo &info) { return info.name == name; });
  if (info == std::end(kPhases))
    return std::nullopt;
  return info->phase;
}

void moe::buildPhase(Phase phase, OpPassManager &pm,
                     const CompileOptions &options) {
  switch (phase) {
  case Phase::Import:
  case Phase::Emit:
    return;
  case Phase::Raise:
    return buildRaisePipeline(pm);
  case Phase::Fuse:
    return buildFusePipeline(pm, options.quantize);
  case Phase::Group:
    return buildGroupPipeline(pm, options);
  case Phase::Schedule:
    // A GPU's tiles are chosen with its kernels.
    if (options.gpu.arch.empty())
      buildSchedulePipeline(pm, options.cpu);
    return;
  case Phase::Bufferize:
    return buildBufferizePipeline(pm, options.cpu);
  case Phase::Lower:
    return buildLowerPipeline(pm, options);
  }
  llvm_unreachable("all phases are handled");
}

namespace {
struct LowerToCPUOptions : PassPipelineOptions<LowerToCPUOptions> {
  Option<std::string> cpu{*this, "cpu", llvm::cl::desc("CPU name, or native"),
                          llvm::cl::init("native")};
  Option<std::string> features{*this, "features",
                               llvm::cl::desc("further CPU features")};
};
struct LowerToGPUOptions : PassPipelineOptions<LowerToGPUOptions> {
  Option<std::string> arch{
      *this, "arch", llvm::cl::desc("Architecture of the GPU, as ptxas has it"),
      llvm::cl::init("sm_80")};
  Option<bool> host{*this, "host",
                    llvm::cl::desc("Go on to PTX and the program of the host"),
                    llvm::cl::init(true)};
};
} // namespace

/// `--lower-to-gpu`: all phases or, without the host's part, up to the nvvm
/// dialect.
static void buildLowerToGPU(OpPassManager &pm,
                            const LowerToGPUOptions &values) {
  CompileOptions options;
  options.gpu.arch = values.arch;
  for (const PhaseInfo &info : kPhases) {
    if (info.phase != Phase::Lower || values.host)
      buildPhase(info.phase, pm, options);
    else
      buildDeviceKernelsPipeline(pm, options.gpu);
  }
}

void moe::registerPipelines() {
  PassPipelineRegistration<LowerToGPUOptions>(
      "lower-to-gpu",
      "The phases raise to lower for an NVIDIA GPU: model text to PTX and the "
      "program that launches it",
      buildLowerToGPU);
  PassPipelineRegistration<LowerToCPUOptions>(
      "lower-to-cpu",
      "The phases raise to lower: model text to the llvm dialect",
      [](OpPassManager &pm, const LowerToCPUOptions &values) {
        CompileOptions options;
        options.cpu.cpu = values.cpu;
        options.cpu.features = values.features;
        for (const PhaseInfo &info : kPhases)
          buildPhase(info.phase, pm, options);
      });
}
