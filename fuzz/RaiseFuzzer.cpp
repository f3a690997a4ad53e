//===- RaiseFuzzer.cpp - ONNX models through raise and fuse ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Phases.h"

#include "mlir/IR/BuiltinOps.h"
#include "moe/Conversion/ONNXToMoE/Operators.h"
#include "moe/Import/ONNX/Import.h"

using namespace mlir;
using namespace mlir::moe;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::InputFile file("model.onnx");
  static fuzz::Contexts contexts(fuzz::registerPhaseDialects);
  file.write(data, size);
  MLIRContext &context = contexts.get();
  ONNXImportOptions options;
  options.supportsOperator = isSupportedOperator;
  OwningOpRef<ModuleOp> module = importONNX(file.path, context, options);
  if (!module)
    return 0;
  (void)contexts.getPasses(fuzz::buildPhases).run(*module);
  return 0;
}
