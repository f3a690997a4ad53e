//===- InitAllTest.cpp - Registration is complete and repeatable ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/InitAll.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "gtest/gtest.h"

using namespace mlir;

TEST(InitAllTest, LoadsEveryRegisteredDialect) {
  DialectRegistry registry;
  moe::registerAllMoEDialects(registry);
  // Twice: two libraries of one process may both ask for it.
  moe::registerAllMoEDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  for (StringRef name : {"func", "linalg", "vector", "omp", "llvm"})
    EXPECT_NE(context.getLoadedDialect(name), nullptr) << name.str();
}
