//===- MachineCode.cpp - LLVM dialect to LLVM IR and machine code ---------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/CPU/MachineCode.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "moe/Target/LLVM/CodeGen.h"
#include "moe/Target/LLVM/SplitBlocks.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace mlir::moe;

static constexpr StringLiteral kMain = "moe_compiled_main";
static constexpr StringLiteral kDescriptor = "moe_compiled_descriptor";
static constexpr StringLiteral kRuntimeGetAPI = "moe_rt_get_api";

/// Adds `const moe_api *<model>_get_api(uint32_t v)`, the only symbol that the
/// object exports. See moe/Runtime/Context.h for why it calls the hidden name.
static void addEntryPoint(llvm::Module &module, StringRef prefix) {
  llvm::IRBuilder<> b(module.getContext());
  auto *type = llvm::FunctionType::get(b.getPtrTy(), {b.getInt32Ty()}, false);
  auto *callee = llvm::Function::Create(
      type, llvm::GlobalValue::ExternalLinkage, kRuntimeGetAPI, module);
  callee->setVisibility(llvm::GlobalValue::HiddenVisibility);
  auto *entry = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage,
                                       prefix + "_get_api", module);
  b.SetInsertPoint(
      llvm::BasicBlock::Create(module.getContext(), "entry", entry));
  b.CreateRet(b.CreateCall(callee, {entry->getArg(0)}));
}

static void addDescriptor(llvm::Module &module, ArrayRef<uint8_t> bytes) {
  llvm::Constant *data =
      llvm::ConstantDataArray::get(module.getContext(), bytes);
  auto *global = new llvm::GlobalVariable(module, data->getType(), true,
                                          llvm::GlobalValue::ExternalLinkage,
                                          data, kDescriptor);
  global->setAlignment(llvm::Align(8));
  global->setVisibility(llvm::GlobalValue::HiddenVisibility);
}

/// Removes the project's own attributes, which the translation would warn of.
static void dropAttributes(ModuleOp module) {
  auto ours = [](DictionaryAttr attributes) {
    SmallVector<StringAttr> names;
    if (attributes)
      for (NamedAttribute attribute : attributes)
        if (attribute.getName().getValue().starts_with("moe."))
          names.push_back(attribute.getName());
    return names;
  };
  for (auto function : module.getOps<FunctionOpInterface>()) {
    for (unsigned i = 0, e = function.getNumArguments(); i != e; ++i)
      for (StringAttr name : ours(function.getArgAttrDict(i)))
        function.removeArgAttr(i, name);
    for (unsigned i = 0, e = function.getNumResults(); i != e; ++i)
      for (StringAttr name : ours(function.getResultAttrDict(i)))
        function.removeResultAttr(i, name);
  }
}

/// Code is called by the runtime through `moe_compiled_main` alone, so all
/// other definitions may be inlined away; nothing unwinds.
static void finishFunctions(llvm::Module &module) {
  for (llvm::Function &function : module) {
    if (function.isIntrinsic())
      continue;
    function.addFnAttr(llvm::Attribute::NoUnwind);
    if (function.isDeclaration()) {
      // The runtime is in the same library: no detour through the PLT.
      if (function.getName().starts_with("moe_rt_"))
        function.setVisibility(llvm::GlobalValue::HiddenVisibility);
      continue;
    }
    if (function.getName() == kMain)
      function.setVisibility(llvm::GlobalValue::HiddenVisibility);
    else
      function.setLinkage(llvm::GlobalValue::InternalLinkage);
  }
}

std::unique_ptr<llvm::Module> moe::translateModel(ModuleOp module,
                                                  const ModelSymbols &symbols,
                                                  llvm::TargetMachine &machine,
                                                  llvm::LLVMContext &context) {
  auto main = module.lookupSymbol<LLVM::LLVMFuncOp>(kMain);
  if (!main || main.isExternal() || main.getNumArguments() != 1) {
    module.emitError("expects the module to define the llvm function '")
        << kMain << "' of one argument; has the phase 'lower' been run?";
    return nullptr;
  }
  DialectRegistry registry;
  registerAllToLLVMIRTranslations(registry);
  module.getContext()->appendDialectRegistry(registry);

  dropAttributes(module);
  // Before the translation, because that of omp asks the target for sizes.
  llvm::DataLayout layout = machine.createDataLayout();
  Builder b(module.getContext());
  module->setAttr(LLVM::LLVMDialect::getDataLayoutAttrName(),
                  b.getStringAttr(layout.getStringRepresentation()));
  module->setAttr(LLVM::LLVMDialect::getTargetTripleAttrName(),
                  b.getStringAttr(machine.getTargetTriple().str()));
  std::unique_ptr<llvm::Module> result =
      translateModuleToLLVMIR(module, context, symbols.entryPrefix);
  if (!result)
    return nullptr;
  result->setDataLayout(layout);
  result->setTargetTriple(machine.getTargetTriple());
  result->setPICLevel(llvm::PICLevel::BigPIC);
  finishFunctions(*result);
  addDescriptor(*result, symbols.descriptor);
  addEntryPoint(*result, symbols.entryPrefix);
  return result;
}

void moe::optimizeModel(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = true;
  optimizeModule(module, machine, llvm::OptimizationLevel::O3, tuning);
  splitLongBlocks(module);
}
