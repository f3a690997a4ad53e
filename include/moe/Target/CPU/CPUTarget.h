//===- CPUTarget.h - The CPU that code is made for --------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_CPU_CPUTARGET_H
#define MOE_TARGET_CPU_CPUTARGET_H

#include "mlir/Support/LLVM.h"
#include "moe/Pipelines/Options.h"

#include <memory>
#include <string>

namespace llvm {
class TargetMachine;
} // namespace llvm

namespace mlir {
class ModuleOp;

namespace moe {

/// Makes `options` independent of the machine they are read on: fills in the
/// triple, and replaces "native" by this CPU's name and features. False and
/// `error` for a triple without back end or an unknown CPU or feature name.
bool resolveCPUOptions(CPUOptions &options, std::string &error);

/// The target that an earlier phase has written into the module, if any.
std::optional<CPUOptions> readTarget(ModuleOp module);
/// Writes resolved options into the module: later phases, perhaps run on
/// another machine, must go on with the same target.
void recordTarget(ModuleOp module, const CPUOptions &options);

/// The back end for resolved options; null and `error` on failure.
std::unique_ptr<llvm::TargetMachine>
createTargetMachine(const CPUOptions &options, std::string &error);

/// The instruction set extensions that code of this target may use, as LLVM
/// names them, separated by commas.
std::string requiredFeatures(const llvm::TargetMachine &machine);

} // namespace moe
} // namespace mlir

#endif // MOE_TARGET_CPU_CPUTARGET_H
