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

#include <cstdint>
#include <optional>
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

/// How float weights are rounded to integers (`moe-quantize-weights`).
struct QuantizeOptions {
  /// 2, 4 or 8.
  int64_t bits = 4;
  /// Elements along K that share a scale; 0 for all of them.
  int64_t blockSize = 32;
  /// "bf16", "f16" or "f32".
  std::string scaleType = "bf16";
  /// A zero point per block.
  bool asymmetric = false;
  /// Also dense products, except routers.
  bool dense = false;
};

/// Parses "int4:block=32:scales=f16:asymmetric:dense": the integers' type, and
/// then what differs from the default. None, with `error` filled in, for
/// another text.
std::optional<QuantizeOptions> parseQuantizeOptions(const std::string &text,
                                                    std::string &error);

/// The GPU that kernels are made for.
struct GPUOptions {
  /// As ptxas names it ("sm_80"); empty: all code is the CPU's.
  std::string arch;
};

/// Everything that selects what the phases do.
struct CompileOptions {
  CPUOptions cpu;
  /// The host's code is for `cpu` whether there is a GPU or not.
  GPUOptions gpu;
  /// None: weights keep their types.
  std::optional<QuantizeOptions> quantize;
};

} // namespace mlir::moe

#endif // MOE_PIPELINES_OPTIONS_H
