//===- Driver.h - From a model file to a compiled model ---------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What moe-compile does, as a library call: the command line, the tests and
// language bindings fill in the same structure.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DRIVER_DRIVER_H
#define MOE_DRIVER_DRIVER_H

#include "moe/Pipelines/Options.h"
#include "moe/Pipelines/Phases.h"

#include <optional>
#include <string>

namespace mlir::moe {

enum class EmitKind {
  MLIR,       ///< the llvm dialect, as the phase `lower` leaves it
  LLVM,       ///< optimized LLVM IR
  Assembly,   ///< assembly text
  PTX,        ///< the text of the GPU's kernels
  Cubin,      ///< the GPU's kernels, assembled by ptxas
  Object,     ///< an object file, to be linked with the runtime archive
  Library,    ///< a shared library
  Executable, ///< a program
};

struct DriverOptions {
  /// An ONNX model, a folder with a config.json, or MLIR text (.mlir).
  std::string input;
  /// Where results go: "dir/model" makes dir/model.so, dir/model.weights and so
  /// on; the suffix of the main result may be given too. Text goes to standard
  /// output for "-". Empty: the input's name, in the current folder.
  std::string output;
  EmitKind emit = EmitKind::Library;

  /// Stops after this phase and writes the module's text.
  std::optional<Phase> compileTo;
  /// The input is what this phase left; goes on with the phase after it.
  std::optional<Phase> compileFrom;
  /// Folder for the module's text after each phase, as 01-import.mlir and so
  /// on.
  std::string dumpPhases;
  /// Where the weights' files lie, when not where the module says.
  std::string sourceDir;

  /// A checkpoint whose tensors replace the model's: see ONNXImportOptions.
  std::string weights;
  bool partialWeights = false;

  CompileOptions compile;
  /// Whether `compile` names a target. If not, a target that the module
  /// names comes first.
  bool targetGiven = false;

  bool time = false;    ///< print the time of each phase
  bool remarks = false; ///< print remarks
  /// File that gets all messages and remarks, one JSON object per line, whether
  /// the compilation succeeds or not; "-" is standard output.
  std::string messagesFile;
};

/// Compiles. Messages go to standard error, each in one line. On failure
/// returns false, and none of the results exists.
bool compileModel(const DriverOptions &options);

} // namespace mlir::moe

#endif // MOE_DRIVER_DRIVER_H
