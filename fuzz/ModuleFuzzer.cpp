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

#include "Fuzzing.h"

#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/ONNX/IR/ONNXOps.h"
#include "moe/Pipelines/Options.h"
#include "moe/Pipelines/Phases.h"
#include "llvm/Support/MemoryBufferRef.h"

using namespace mlir;
using namespace mlir::moe;

static void registerDialects(DialectRegistry &registry) {
  registry.insert<MoEDialect, grouped::GroupedDialect, onnx::ONNXDialect,
                  affine::AffineDialect, arith::ArithDialect,
                  bufferization::BufferizationDialect, func::FuncDialect,
                  linalg::LinalgDialect, math::MathDialect, scf::SCFDialect,
                  tensor::TensorDialect>();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Contexts contexts(registerDialects);
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
  PassManager passes(&context);
  for (Phase phase : {Phase::Raise, Phase::Fuse})
    buildPhase(phase, passes, CompileOptions());
  (void)passes.run(*module);
  return 0;
}
