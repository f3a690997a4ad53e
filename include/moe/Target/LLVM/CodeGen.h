//===- CodeGen.h - LLVM IR to machine code ----------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What all targets ask of LLVM.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_LLVM_CODEGEN_H
#define MOE_TARGET_LLVM_CODEGEN_H

namespace llvm {
class Module;
class OptimizationLevel;
class PipelineTuningOptions;
class TargetMachine;
class raw_pwrite_stream;
} // namespace llvm

namespace mlir::moe {

/// Runs LLVM's pipeline of a level for the target.
void optimizeModule(llvm::Module &module, llvm::TargetMachine &machine,
                    llvm::OptimizationLevel level,
                    const llvm::PipelineTuningOptions &tuning);

/// Writes an object file or assembly text. False when the target has none.
bool emitMachineCode(llvm::Module &module, llvm::TargetMachine &machine,
                     bool assembly, llvm::raw_pwrite_stream &out);

} // namespace mlir::moe

#endif // MOE_TARGET_LLVM_CODEGEN_H
