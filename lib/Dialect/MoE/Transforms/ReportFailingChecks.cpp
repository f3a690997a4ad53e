//===- ReportFailingChecks.cpp - Checks that no input can pass ------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A converter writes a check for what it does not know about sizes and indices.
// Once constants have been propagated some conditions are known to be false:
// every run would end there, so compilation does.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include <optional>

#define DEBUG_TYPE "moe-report-failing-checks"

namespace mlir::moe {
#define GEN_PASS_DEF_REPORTFAILINGCHECKS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static std::string numberText(Value value, bool saturates) {
  llvm::APInt number;
  if (!matchPattern(value, m_ConstantInt(&number)))
    return "what depends on the input";
  int64_t n = number.getSExtValue();
  return (saturates && n == INT64_MAX ? "at least " : "") + std::to_string(n);
}

/// The message as the runtime would write it.
static std::string messageOf(CheckOp check) {
  std::string text = check.getMessage().str();
  auto put = [&](StringRef key, Value value, bool saturates) {
    for (size_t at; (at = text.find(key)) != std::string::npos;)
      text.replace(at, key.size(), numberText(value, saturates));
  };
  put("{found+}", check.getFound(), /*saturates=*/true);
  put("{found}", check.getFound(), /*saturates=*/false);
  put("{limit}", check.getLimit(), /*saturates=*/false);
  return text;
}

namespace {
struct ReportFailingChecks
    : public moe::impl::ReportFailingChecksBase<ReportFailingChecks> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal() || !function.getBody().hasOneBlock())
      return;
    // Not those in a branch or a loop, which may not be run.
    for (auto check : function.getBody().getOps<CheckOp>()) {
      if (!matchPattern(check.getCondition(), m_Zero()))
        continue;
      check.emitError() << check.getNode() << ": " << messageOf(check);
      return signalPassFailure();
    }
  }
};
} // namespace
