//===- ModuleFuzzer.cpp - MLIR text with our dialects ---------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What parses is verified, printed, read again, and goes through raise and
// fuse. Bytecode is not an input of the compiler: MLIR's reader of it trusts
// the counts that it reads.
//
//===----------------------------------------------------------------------===//

#include "Phases.h"

#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MemoryBufferRef.h"

using namespace mlir;
using namespace mlir::moe;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Contexts contexts(fuzz::registerPhaseDialects);
  MLIRContext &context = contexts.get();
  std::string source(reinterpret_cast<const char *>(data), size);
  if (isBytecode(llvm::MemoryBufferRef(source, "")))
    return 0;
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(source, ParserConfig(&context));
  if (!module)
    return 0;
  std::string text;
  llvm::raw_string_ostream(text) << *module;
  if (!parseSourceString<ModuleOp>(text, ParserConfig(&context)))
    std::abort(); // what was written must be readable
  (void)contexts.getPasses(fuzz::buildPhases).run(*module);
  return 0;
}
