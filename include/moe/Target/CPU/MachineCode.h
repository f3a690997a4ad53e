//===- MachineCode.h - LLVM dialect to LLVM IR and machine code -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_CPU_MACHINECODE_H
#define MOE_TARGET_CPU_MACHINECODE_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"

#include <memory>

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
} // namespace llvm

namespace mlir {
class ModuleOp;

namespace moe {

/// What a model's object defines besides the code.
struct ModelSymbols {
  /// The name in front of `_get_api`: a C identifier.
  StringRef entryPrefix;
  /// The serialized descriptor.
  ArrayRef<uint8_t> descriptor;
};

/// Translates a module of the llvm (and omp) dialect whose entry is
/// `moe_compiled_main`, and adds the descriptor and the entry point. Everything
/// but the boundary with the runtime becomes internal. Weight symbols and other
/// operations of the project must be gone. Null after a diagnostic.
std::unique_ptr<llvm::Module> translateModel(ModuleOp module,
                                             const ModelSymbols &symbols,
                                             llvm::TargetMachine &machine,
                                             llvm::LLVMContext &context);

/// LLVM's -O3 pipeline for the target; then cuts code that is too long for the
/// rest of the way.
void optimizeModel(llvm::Module &module, llvm::TargetMachine &machine);

} // namespace moe
} // namespace mlir

#endif // MOE_TARGET_CPU_MACHINECODE_H
