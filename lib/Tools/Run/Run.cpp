//===- Run.cpp - Runs compiled models from files --------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Run.h"
#include "moe/Tools/Run/Compare.h"
#include "moe/Tools/Run/Files.h"
#include "moe/Tools/Run/Report.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <sys/stat.h>

using namespace mlir::moe;

namespace {
/// One set of inputs, and what is expected of it.
struct Case {
  std::vector<Array> inputs; // in signature order
  std::vector<moe_tensor> tensors;
  std::map<int32_t, Array> expected; // by output
};

class Runner {
public:
  explicit Runner(const RunOptions &options) : options(options) {}
  RunStatus run();
  std::string error;

private:
  bool readCases();
  bool readInputs(size_t index, Case &out);
  bool readExpected(size_t index, Case &out);
  bool findOutputs();
  bool checkPaths();
  bool runCase(const Case &one, std::vector<moe_tensor> &outputs);
  bool writeOutputs(const std::vector<moe_tensor> &outputs);
  bool benchmark();
  bool compare(const Case &one, const std::vector<moe_tensor> &outputs);

  const RunOptions &options;
  LoadedModel loaded;
  std::vector<Case> cases;
  std::vector<int32_t> outputIndices; // of options.outputs
};
} // namespace

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// "unknown input 'x', expects one of: a, b"
static std::string unknownName(const char *kind, const std::string &name,
                               const moe_model *model) {
  bool input = std::string(kind) == "input";
  int32_t count = input ? moe_num_inputs(model) : moe_num_outputs(model);
  std::string text =
      std::string("unknown ") + kind + " '" + name + "', expects one of: ";
  for (int32_t i = 0; i < count; ++i)
    text += (i ? ", " : "") + std::string((input ? moe_input_info(model, i)
                                                 : moe_output_info(model, i))
                                              ->name);
  return text;
}

/// Reads an archive; when any of its names starts with `prefix`, only those
/// that do count, without it. A name that the model has with the prefix (`find`
/// gives its number, or -1) keeps it.
static bool readPrefixed(const std::string &path, const std::string &prefix,
                         const moe_model *model,
                         int32_t (*find)(const moe_model *, const char *),
                         std::vector<NamedArray> &arrays, std::string &error) {
  std::vector<NamedArray> all;
  if (!readNpz(path, all, error))
    return false;
  auto begins = [&](const NamedArray &array) {
    return array.name.compare(0, prefix.size(), prefix) == 0;
  };
  bool any = std::any_of(all.begin(), all.end(), begins);
  for (NamedArray &array : all) {
    if (any && !begins(array))
      continue;
    if (any && find(model, array.name.c_str()) < 0)
      array.name.erase(0, prefix.size());
    arrays.push_back(std::move(array));
  }
  return true;
}

bool Runner::readInputs(size_t index, Case &out) {
  moe_model *model = loaded.model;
  std::vector<NamedArray> given;
  if (index < options.inputFiles.size() &&
      !readPrefixed(options.inputFiles[index], "in:", model, moe_find_input,
                    given, error))
    return false;
  for (const auto &[name, path] : options.inputs) {
    NamedArray array{name, {}};
    if (!readNpy(path, array.array, error))
      return false;
    given.push_back(std::move(array));
  }
  size_t count = static_cast<size_t>(moe_num_inputs(model));
  out.inputs.resize(count);
  std::vector<bool> seen(count);
  for (NamedArray &array : given) { // a single --input comes last, and wins
    int32_t input = moe_find_input(model, array.name.c_str());
    if (input < 0) {
      error = unknownName("input", array.name, model);
      return false;
    }
    out.inputs[static_cast<size_t>(input)] = std::move(array.array);
    seen[static_cast<size_t>(input)] = true;
  }
  for (size_t i = 0; i < count; ++i) {
    if (!seen[i]) {
      error = std::string("input '") +
              moe_input_info(model, static_cast<int32_t>(i))->name +
              "' is missing";
      return false;
    }
    out.tensors.push_back(out.inputs[i].tensor());
  }
  return true;
}

bool Runner::readExpected(size_t index, Case &out) {
  moe_model *model = loaded.model;
  std::vector<NamedArray> given;
  if (index < options.expectedFiles.size() &&
      !readPrefixed(options.expectedFiles[index], "out:", model,
                    moe_find_output, given, error))
    return false;
  for (const auto &[name, path] : options.expected) {
    NamedArray array{name, {}};
    if (!readNpy(path, array.array, error))
      return false;
    given.push_back(std::move(array));
  }
  for (NamedArray &array : given) {
    int32_t output = moe_find_output(model, array.name.c_str());
    if (output < 0) {
      error = unknownName("output", array.name, model);
      return false;
    }
    out.expected[output] = std::move(array.array);
  }
  return true;
}

bool Runner::readCases() {
  size_t count = std::max<size_t>(options.inputFiles.size(), 1);
  cases.resize(count);
  for (size_t i = 0; i < count; ++i)
    if (!readInputs(i, cases[i]) || !readExpected(i, cases[i]))
      return false;
  return true;
}

bool Runner::findOutputs() {
  for (const auto &[name, path] : options.outputs) {
    int32_t index = moe_find_output(loaded.model, name.c_str());
    if (index < 0) {
      error = unknownName("output", name, loaded.model);
      return false;
    }
    outputIndices.push_back(index);
  }
  return true;
}

static bool isSameFile(const std::string &a, const std::string &b) {
  if (a == b)
    return true;
  struct stat x, y;
  return ::stat(a.c_str(), &x) == 0 && ::stat(b.c_str(), &y) == 0 &&
         x.st_dev == y.st_dev && x.st_ino == y.st_ino && S_ISREG(x.st_mode);
}

/// No output takes the place of what is read, or of another output.
bool Runner::checkPaths() {
  std::vector<std::pair<std::string, std::string>> read = {
      {options.model, "the model"}};
  if (std::string weights = moe_weights_path(loaded.model); !weights.empty())
    read.emplace_back(weights, "the weights");
  for (const std::string &path : options.inputFiles)
    read.emplace_back(path, "inputs");
  for (const auto &[name, path] : options.inputs)
    read.emplace_back(path, "an input");
  for (const std::string &path : options.expectedFiles)
    read.emplace_back(path, "expected outputs");
  for (const auto &[name, path] : options.expected)
    read.emplace_back(path, "an expected output");
  std::vector<std::string> written;
  for (const auto &[name, path] : options.outputs)
    written.push_back(path);
  if (!options.outputFile.empty())
    written.push_back(options.outputFile);
  for (size_t i = 0; i < written.size(); ++i) {
    std::string cannot = "cannot write '" + written[i] + "': ";
    for (const auto &[path, what] : read)
      if (isSameFile(written[i], path)) {
        error = cannot + what + (what.back() == 's' ? " are" : " is") +
                " read from it";
        return false;
      }
    for (size_t j = 0; j < i; ++j)
      if (isSameFile(written[i], written[j])) {
        error = cannot + "another output is written to it";
        return false;
      }
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

bool Runner::runCase(const Case &one, std::vector<moe_tensor> &outputs) {
  outputs.assign(static_cast<size_t>(moe_num_outputs(loaded.model)), {});
  if (moe_run(loaded.session, one.tensors.data(),
              static_cast<int32_t>(one.tensors.size()), outputs.data(),
              static_cast<int32_t>(outputs.size())) == MOE_OK)
    return true;
  error = moe_session_error(loaded.session);
  return false;
}

bool Runner::writeOutputs(const std::vector<moe_tensor> &outputs) {
  OutputFiles files;
  for (size_t i = 0; i < outputIndices.size(); ++i)
    if (!files.addNpy(options.outputs[i].second,
                      outputs[static_cast<size_t>(outputIndices[i])], error))
      return false;
  if (!options.outputFile.empty()) {
    std::vector<std::string> names;
    for (size_t i = 0; i < outputs.size(); ++i)
      names.push_back(
          moe_output_info(loaded.model, static_cast<int32_t>(i))->name);
    if (!files.addNpz(options.outputFile, names, outputs, error))
      return false;
  }
  return files.commit(error);
}

bool Runner::compare(const Case &one, const std::vector<moe_tensor> &outputs) {
  bool success = true;
  for (const auto &[index, array] : one.expected) {
    moe_tensor expected = const_cast<Array &>(array).tensor();
    Comparison result = compareTensors(outputs[static_cast<size_t>(index)],
                                       expected, options.tolerance);
    std::printf("%s %s: %s\n", result.success ? "[SUCCESS]" : "[FAILED]",
                moe_output_info(loaded.model, index)->name,
                result.text.c_str());
    success &= result.success;
  }
  return success;
}

/// Two rounds of warming up, then at least ten runs and two seconds, or as many
/// runs as asked for.
bool Runner::benchmark() {
  using Clock = std::chrono::steady_clock;
  constexpr size_t warmUp = 2, leastRuns = 10, mostRuns = 100000;
  constexpr double leastTime = 2000;
  std::vector<moe_tensor> outputs;
  for (size_t round = 0; round < warmUp; ++round)
    for (const Case &one : cases)
      if (!runCase(one, outputs))
        return false;
  moe_counters_reset(loaded.session);
  Profile profile(loaded.model);
  if (options.profile)
    profile.attach(loaded.session);

  std::vector<double> times;
  double total = 0;
  size_t wanted = static_cast<size_t>(options.runs);
  auto enough = [&] {
    if (wanted)
      return times.size() >= wanted;
    return times.size() >= mostRuns ||
           (times.size() >= leastRuns && total >= leastTime);
  };
  while (!enough()) {
    const Case &one = cases[times.size() % cases.size()];
    Clock::time_point begin = Clock::now();
    if (!runCase(one, outputs))
      return false;
    times.push_back(
        std::chrono::duration<double, std::milli>(Clock::now() - begin)
            .count());
    total += times.back();
  }
  if (options.profile)
    profile.print();
  if (options.stats && !printStats(loaded.model, loaded.session, error))
    return false;

  std::sort(times.begin(), times.end());
  size_t half = times.size() / 2;
  double median =
      times.size() % 2 ? times[half] : (times[half - 1] + times[half]) / 2;
  int32_t threads = moe_session_threads(loaded.session);
  std::printf("median %.4f ms, min %.4f ms, %zu runs, %d threads\n", median,
              times[0], times.size(), threads);
  if (options.json)
    std::printf("{\"median_ms\": %.6f, \"min_ms\": %.6f, \"runs\": %zu, "
                "\"threads\": %d}\n",
                median, times[0], times.size(), threads);
  return true;
}

RunStatus Runner::run() {
  if (!loaded.open(options, error))
    return RunTrouble;
  if (options.signature) {
    printSignature(loaded.model);
    return RunSuccess;
  }
  if (!findOutputs() || !checkPaths() || !readCases())
    return RunTrouble;

  Profile profile(loaded.model);
  if (options.profile && !options.benchmark)
    profile.attach(loaded.session);
  bool success = true;
  std::vector<moe_tensor> outputs;
  for (const Case &one : cases) {
    if (!runCase(one, outputs))
      return RunTrouble;
    if (!writeOutputs(outputs))
      return RunTrouble;
    printShapes(loaded.model, one.tensors, outputs);
    success &= compare(one, outputs);
  }
  if (options.benchmark) {
    // A wrong result is not worth timing.
    if (success && !benchmark())
      return RunTrouble;
  } else {
    if (options.profile)
      profile.print();
    if (options.stats && !printStats(loaded.model, loaded.session, error))
      return RunTrouble;
  }
  return success ? RunSuccess : RunDifferent;
}

RunStatus mlir::moe::runModel(const RunOptions &options) {
  Runner runner(options);
  RunStatus status = runner.run();
  if (status == RunSuccess || status == RunDifferent) {
    // A result that did not reach the reader is not a success.
    if (std::fflush(stdout) == 0)
      return status;
    runner.error = "cannot write to standard output";
  }
  std::fflush(stdout);
  std::fprintf(stderr, "moe-run: error: %s\n", runner.error.c_str());
  return RunTrouble;
}
