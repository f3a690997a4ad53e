//===- Options.h - What a compilation is asked for --------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Options of the pipelines as plain structs: tools translate their command
// lines into them, libraries never read a command line.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PIPELINES_OPTIONS_H
#define MOE_PIPELINES_OPTIONS_H

#include <string>

namespace mlir::moe {

/// The CPU that code is made for.
struct CPUOptions {
  /// LLVM target triple; empty for this machine's.
  std::string triple;
  /// CPU name as LLVM knows it ("x86-64-v3", "znver4"), or "native".
  std::string cpu = "native";
  /// Further LLVM features ("+avx512bf16,-amx-bf16").
  std::string features;
};

/// Everything that selects what the phases do.
struct CompileOptions {
  CPUOptions cpu;
};

} // namespace mlir::moe

#endif // MOE_PIPELINES_OPTIONS_H
