//===- moe-run.cpp - Runs a compiled model on files or text ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Generate/Generate.h"
#include "moe/Tools/Run/Run.h"

#include <cstdio>
#include <string>

int main(int argc, char **argv) {
  mlir::moe::RunOptions options;
  bool help;
  std::string error;
  if (!mlir::moe::parseRunOptions(argc, argv, options, help, error)) {
    std::fprintf(stderr, "moe-run: error: %s\n", error.c_str());
    return mlir::moe::RunTrouble;
  }
  if (help) {
    std::fputs(mlir::moe::runUsage, stdout);
    return mlir::moe::RunSuccess;
  }
  if (options.generate)
    return mlir::moe::generateText(options);
  if (!options.tokenize.empty())
    return mlir::moe::tokenizeText(options);
  return mlir::moe::runModel(options);
}
