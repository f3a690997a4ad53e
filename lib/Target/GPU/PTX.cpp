//===- PTX.cpp - nvvm dialect to PTX text ---------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// LLVM's own NVPTX back end: nothing of CUDA is needed, and nothing of
// libdevice is linked. Kernels have their math functions expanded before.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/GPU/PTX.h"

#include "mlir/IR/Operation.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "moe/Target/GPU/GPUTarget.h"
#include "moe/Target/LLVM/CodeGen.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace mlir::moe;

static std::unique_ptr<llvm::TargetMachine>
createMachine(const GPUDescription &target, std::string &error) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  llvm::Triple triple("nvptx64-nvidia-cuda");
  const llvm::Target *found = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return nullptr;
  return std::unique_ptr<llvm::TargetMachine>(found->createTargetMachine(
      triple, target.arch, target.features, llvm::TargetOptions(), std::nullopt,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

/// MLIR calls libdevice for what is an instruction, too.
static void useInstructions(llvm::Module &module) {
  namespace Intrinsic = llvm::Intrinsic;
  struct Instruction {
    const char *name;
    Intrinsic::ID id;
  };
  static constexpr Instruction kInstructions[] = {
      {"__nv_ceilf", Intrinsic::ceil},
      {"__nv_copysignf", Intrinsic::copysign},
      {"__nv_fabsf", Intrinsic::fabs},
      {"__nv_floorf", Intrinsic::floor},
      {"__nv_fmaf", Intrinsic::fma},
      {"__nv_rintf", Intrinsic::roundeven},
      {"__nv_roundf", Intrinsic::round},
      {"__nv_sqrtf", Intrinsic::sqrt},
      {"__nv_truncf", Intrinsic::trunc}};
  for (const Instruction &instruction : kInstructions)
    if (llvm::Function *function = module.getFunction(instruction.name)) {
      function->replaceAllUsesWith(Intrinsic::getOrInsertDeclaration(
          &module, instruction.id, function->getReturnType()));
      function->eraseFromParent();
    }
}

static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::PipelineTuningOptions tuning;
  // Kernels are written unrolled as far as it pays; a main loop that is
  // unrolled further only leaves the instruction cache.
  tuning.LoopUnrolling = false;
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  optimizeModule(module, machine, llvm::OptimizationLevel::O2, tuning);
}

FailureOr<std::string> moe::translateToPTX(Operation *module,
                                           const GPUDescription &target) {
  DialectRegistry registry;
  registerAllToLLVMIRTranslations(registry);
  module->getContext()->appendDialectRegistry(registry);
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(target, error);
  if (!machine)
    return module->emitError("LLVM has no back end for PTX: ") << error;

  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(module, context, "moe_kernels");
  if (!code)
    return failure();
  code->setDataLayout(machine->createDataLayout());
  code->setTargetTriple(machine->getTargetTriple());
  useInstructions(*code);
  for (llvm::Function &function : *code)
    if (function.isDeclaration() && !function.isIntrinsic() &&
        !function.use_empty())
      return module->emitError("kernels use '")
             << function.getName() << "', which has no code for GPUs";
  optimize(*code, *machine);

  llvm::SmallString<0> text;
  llvm::raw_svector_ostream os(text);
  if (!emitMachineCode(*code, *machine, /*assembly=*/true, os))
    return module->emitError("LLVM cannot write PTX");
  return text.str().str();
}
