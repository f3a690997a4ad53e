//===- ImportFuzzer.cpp - The ONNX importer -------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Fuzzing.h"

#include "mlir/IR/BuiltinOps.h"
#include "moe/Conversion/ONNXToMoE/Operators.h"
#include "moe/Import/ONNX/Import.h"

using namespace mlir;
using namespace mlir::moe;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::InputFile file("model.onnx");
  static fuzz::Contexts contexts(registerONNXImportDialects);
  file.write(data, size);
  ONNXImportOptions options;
  options.supportsOperator = isSupportedOperator;
  (void)importONNX(file.path, contexts.get(), options);
  return 0;
}
