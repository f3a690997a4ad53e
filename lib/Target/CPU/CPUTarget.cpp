//===- CPUTarget.cpp - The CPU that code is made for ----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/CPU/CPUTarget.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

#include <mutex>

using namespace mlir;
using namespace mlir::moe;

static const llvm::Target *findTarget(const CPUOptions &options,
                                      std::string &error) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    llvm::InitializeAllAsmParsers();
  });
  std::string reason;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(llvm::Triple(options.triple), reason);
  if (!target)
    error = "no back end for target '" + options.triple + "'";
  return target;
}

/// Checks names before the back end sees them: it only warns, and goes on with
/// a generic CPU.
static bool checkNames(const CPUOptions &options, const llvm::Target &target,
                       std::string &error) {
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      target.createMCSubtargetInfo(llvm::Triple(options.triple), "", ""));
  if (!info->isCPUStringValid(options.cpu)) {
    error = "unknown target CPU '" + options.cpu + "' for " + options.triple;
    return false;
  }
  SmallVector<StringRef> features;
  StringRef(options.features).split(features, ',', -1, /*KeepEmpty=*/false);
  for (StringRef given : features) {
    StringRef feature = given;
    bool known = feature.consume_front("+") || feature.consume_front("-");
    known &= llvm::any_of(info->getAllProcessorFeatures(),
                          [&](const llvm::SubtargetFeatureKV &entry) {
                            return feature == entry.Key;
                          });
    if (known)
      continue;
    error = "expects target features like '+avx2' that " + options.triple +
            " has, got '" + given.str() + "'";
    return false;
  }
  // The back end would end the process.
  info.reset(target.createMCSubtargetInfo(llvm::Triple(options.triple),
                                          options.cpu, options.features));
  if (llvm::Triple(options.triple).getArch() == llvm::Triple::x86_64 &&
      !info->checkFeatures("+64bit")) {
    error = "target CPU '" + options.cpu + "' has no 64-bit mode, which " +
            options.triple + " needs";
    return false;
  }
  return true;
}

/// This CPU's name and all features the operating system lets programs use:
/// the name alone would include what a virtual machine has masked.
static void resolveNative(CPUOptions &options) {
  options.cpu = llvm::sys::getHostCPUName().str();
  SmallVector<std::string> features;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    features.push_back((feature.second ? "+" : "-") + feature.first().str());
  llvm::sort(features);
  if (!options.features.empty())
    features.push_back(options.features);
  options.features = llvm::join(features, ",");
}

bool moe::resolveCPUOptions(CPUOptions &options, std::string &error) {
  llvm::Triple host(llvm::sys::getDefaultTargetTriple());
  options.triple = options.triple.empty()
                       ? host.str()
                       : llvm::Triple::normalize(options.triple);
  const llvm::Target *target = findTarget(options, error);
  if (!target)
    return false;
  llvm::Triple triple(options.triple);
  bool native = options.cpu.empty() || options.cpu == "native";
  if (native && triple.getArch() != host.getArch()) {
    error = "expects a CPU name for target '" + options.triple +
            "', which is not this machine's";
    return false;
  }
  // Before the expansion: "native" may bring features that this version of the
  // back end has no name for, and those do no harm.
  if (native) {
    CPUOptions given = options;
    given.cpu = "generic";
    if (!checkNames(given, *target, error))
      return false;
    resolveNative(options);
    return true;
  }
  return checkNames(options, *target, error);
}

std::optional<CPUOptions> moe::readTarget(ModuleOp module) {
  auto target = module->getAttrOfType<DictionaryAttr>(kTargetAttr);
  if (!target)
    return std::nullopt;
  auto get = [&](StringRef name) {
    auto value = target.getAs<StringAttr>(name);
    return value ? value.str() : std::string();
  };
  return CPUOptions{get("triple"), get("cpu"), get("features")};
}

void moe::recordTarget(ModuleOp module, const CPUOptions &options) {
  Builder b(module.getContext());
  module->setAttr(
      kTargetAttr,
      b.getDictionaryAttr(
          {b.getNamedAttr("triple", b.getStringAttr(options.triple)),
           b.getNamedAttr("cpu", b.getStringAttr(options.cpu)),
           b.getNamedAttr("features", b.getStringAttr(options.features))}));
}

std::unique_ptr<llvm::TargetMachine>
moe::createTargetMachine(const CPUOptions &options, std::string &error) {
  const llvm::Target *target = findTarget(options, error);
  if (!target)
    return nullptr;
  llvm::TargetOptions codegen;
  // One section per function and constant, for the linker to drop what is left
  // unused by inlining.
  codegen.FunctionSections = true;
  codegen.DataSections = true;
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      llvm::Triple(options.triple), options.cpu, options.features, codegen,
      llvm::Reloc::PIC_, llvm::CodeModel::Small,
      llvm::CodeGenOptLevel::Aggressive));
  if (!machine)
    error = "no code generator for target '" + options.triple + "'";
  return machine;
}

std::string moe::requiredFeatures(const llvm::TargetMachine &machine) {
  const llvm::MCSubtargetInfo &info = *machine.getMCSubtargetInfo();
  // LLVM keeps tuning hints among the features; what the host reports about
  // itself are instruction set extensions only.
  llvm::StringMap<bool> extensions = llvm::sys::getHostCPUFeatures();
  bool filter = machine.getTargetTriple().getArch() ==
                llvm::Triple(llvm::sys::getDefaultTargetTriple()).getArch();
  SmallVector<StringRef> names;
  for (const llvm::SubtargetFeatureKV &entry :
       info.getEnabledProcessorFeatures())
    if (!filter || extensions.contains(entry.Key))
      names.push_back(entry.Key);
  return llvm::join(names, ",");
}
