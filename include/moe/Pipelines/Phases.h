//===- Phases.h - The phases of a compilation -------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The compiler as a list: every phase takes what the phase before it leaves,
// also when that was printed and parsed in between. The driver, the dumps, the
// documentation and the tests all go by this enum.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PIPELINES_PHASES_H
#define MOE_PIPELINES_PHASES_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <optional>

namespace mlir {
class OpPassManager;

namespace moe {
struct CompileOptions;

enum class Phase {
  /// ONNX file to `onnx.node` operations; no passes.
  Import,
  /// `onnx` to `moe`, `linalg`, `tensor` and `arith`.
  Raise,
  /// Fusions on tensors; nothing is tied to a target yet.
  Fuse,
  /// `moe` to `grouped`: destination style, weights packed.
  Group,
  /// Tile sizes and loops for the target.
  Schedule,
  /// Tensors to buffers.
  Bufferize,
  /// Loops, vectors and threads to the `llvm` dialect.
  Lower,
  /// `llvm` to LLVM IR, machine code and the model's files; no passes.
  Emit,
};

struct PhaseInfo {
  Phase phase;
  StringRef name;
  StringRef description;
};

/// All phases in order.
ArrayRef<PhaseInfo> getPhases();

StringRef stringifyPhase(Phase phase);
std::optional<Phase> parsePhase(StringRef name);

/// Appends the passes of one phase to `pm`, which is anchored on the module.
void buildPhase(Phase phase, OpPassManager &pm, const CompileOptions &options);

/// Registers `--lower-to-cpu`: the phases raise to lower in one pipeline.
void registerPipelines();

} // namespace moe
} // namespace mlir

#endif // MOE_PIPELINES_PHASES_H
