//===- consumer.cpp - A program against an installed MoE-MLIR -------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/InitAll.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"

#include <cstdio>

int main() {
  mlir::DialectRegistry registry;
  mlir::moe::registerAllMoEDialects(registry);
  mlir::MLIRContext context(registry);
  for (const char *name : {"onnx", "moe", "grouped"}) {
    if (!context.getOrLoadDialect(name)) {
      std::printf("dialect %s is missing\n", name);
      return 1;
    }
    std::printf("dialect %s\n", name);
  }
  return 0;
}
