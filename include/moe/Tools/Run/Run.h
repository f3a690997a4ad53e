//===- Run.h - Runs compiled models from files ------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_RUN_RUN_H
#define MOE_TOOLS_RUN_RUN_H

#include "moe/Runtime/moe.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mlir::moe {

/// What the command line asks for.
struct RunOptions {
  using NamedPath = std::pair<std::string, std::string>;

  std::string model;
  std::string weights; // "" for the file beside the model
  bool verifyWeights = false;
  int32_t threads = 0; // 0 for OMP_NUM_THREADS, or else all CPUs
  std::vector<NamedPath> inputs;
  std::vector<std::string> inputFiles;
  std::vector<NamedPath> outputs;
  std::string outputFile;
  std::vector<NamedPath> expected;
  std::vector<std::string> expectedFiles;
  double tolerance = 1e-4;
  bool benchmark = false;
  int32_t runs = 0; // 0 for as many as make the figures steady
  bool json = false;
  bool stats = false;
  bool profile = false;
  bool signature = false;
  bool simulate = false; // kernels for a GPU run in libmoe-sim.so

  bool generate = false;
  std::string tokenizer;
  std::string prompt;
  int64_t maxTokens = 128;
  double temperature = 0; // the likeliest token
  int64_t topK = 0;       // all
  double topP = 1;
  uint64_t seed = 0;
  std::vector<std::string> stops;
  std::string tokenize; // a text, or "@" and the file with texts
};

/// Exit codes, as those of diff: everything as expected; outputs differ from
/// the expected ones; the run could not be done.
enum RunStatus { RunSuccess = 0, RunDifferent = 1, RunTrouble = 2 };

extern const char runUsage[];

/// Fills `options`; false with one line in `error`. "--help" sets `help`.
bool parseRunOptions(int argc, const char *const *argv, RunOptions &options,
                     bool &help, std::string &error);

/// Runs a compiled model, reporting to standard output, errors to standard
/// error as one line.
RunStatus runModel(const RunOptions &options);

/// An opened library, model and session, released in the right order.
class LoadedModel {
public:
  LoadedModel() = default;
  ~LoadedModel();
  LoadedModel(const LoadedModel &) = delete;
  LoadedModel &operator=(const LoadedModel &) = delete;

  bool open(const RunOptions &options, std::string &error);

  moe_model *model = nullptr;
  moe_session *session = nullptr; // null when only the signature was asked for

private:
  void *library = nullptr;
};

} // namespace mlir::moe

#endif // MOE_TOOLS_RUN_RUN_H
