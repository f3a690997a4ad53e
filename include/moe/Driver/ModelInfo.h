//===- ModelInfo.h - What a compiled model says about itself ----*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DRIVER_MODELINFO_H
#define MOE_DRIVER_MODELINFO_H

#include "mlir/Support/LLVM.h"
#include "moe/Target/CPU/ModelDescriptor.h"

#include <string>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace mlir {
class ModuleOp;

namespace moe {
struct CPUOptions;

/// "MoE-MLIR 0.1.0".
StringRef compilerVersion();

/// A C identifier for a model's name: the prefix of `<model>_get_api`.
std::string entryPrefix(StringRef name);

/// Fills in what the module's attributes say: signature, caches, layers, sites.
/// Fails after a diagnostic when they are missing or not as the passes that
/// write them leave them.
LogicalResult describeModel(ModuleOp module, ModelDescriptor &descriptor);

/// The C header of a compiled model: the ABI and the model's entry point, with
/// its signature in a comment.
void writeHeader(const ModelDescriptor &descriptor, llvm::raw_ostream &os);

/// model.json: signature, target, the routing of each layer, weight file.
void writeJSON(ModuleOp module, const ModelDescriptor &descriptor,
               const CPUOptions &target, llvm::raw_ostream &os);

} // namespace moe
} // namespace mlir

#endif // MOE_DRIVER_MODELINFO_H
