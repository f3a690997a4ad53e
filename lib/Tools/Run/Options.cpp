//===- Options.cpp - Command line of moe-run ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Run.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

using namespace mlir::moe;

const char mlir::moe::runUsage[] = R"(usage: moe-run <model.so> [options]

Runs a compiled model on NumPy files, and prints its shapes.

inputs
  --input <name>=@<x.npy>       one input; bfloat16 as ml_dtypes writes it
  --inputs <case.npz>           inputs by name; of an archive that has arrays
                                in:<name> (and out:<name>), those. Given
                                several times, each is run
outputs
  --output <name>=@<z.npy>      where to write one output
  --outputs <out.npz>           where to write all outputs, by name
checks
  --expected-output <name>=@<y.npy>
  --expected-outputs <case.npz> what the outputs should be: arrays <name> or
                                out:<name>. The i-th belongs to the i-th
                                --inputs
  --tolerance <t>               allow |difference| <= t * max(1, max |expected|)
                                (1e-4)
measuring
  --benchmark                   warm up, then time runs, rotating through all
                                --inputs
  --runs <n>                    time n runs (at least 10 and 2 seconds)
  --json                        end with the figures as one line of JSON
  --stats                       print how many rows each expert got
  --profile                     print the time spent in each region
the model
  --threads <n>                 threads (OMP_NUM_THREADS, or else all CPUs)
  --weights <file>              the weight file (<model>.weights)
  --verify-weights              check the hashes of all weights first
  --signature                   print inputs and outputs, run nothing
  --help                        print this

An option's value may follow an "=" too. Exit status: 0 success, 1 outputs differ
from the expected ones, 2 trouble.
)";

namespace {
class OptionParser {
public:
  OptionParser(int argc, const char *const *argv, RunOptions &options,
               std::string &error)
      : argc(argc), argv(argv), options(options), error(error) {}

  bool parse(bool &help) {
    for (at = 1; at < argc; ++at) {
      std::string argument = argv[at];
      if (argument == "--help" || argument == "-h") {
        help = true;
        return true;
      }
      if (argument.size() > 1 && argument[0] == '-' ? !option(argument)
                                                    : !positional(argument))
        return false;
    }
    return check();
  }

private:
  bool fail(const std::string &text) {
    error = text;
    return false;
  }

  bool positional(const std::string &argument) {
    if (!options.model.empty())
      return fail("expects one model, got '" + options.model + "' and '" +
                  argument + "'");
    options.model = argument;
    return true;
  }

  bool option(const std::string &argument) {
    size_t dashes = argument.compare(0, 2, "--") == 0 ? 2 : 1;
    size_t equal = argument.find('=');
    std::string name = argument.substr(
        dashes, equal == std::string::npos ? equal : equal - dashes);
    inlined = equal == std::string::npos ? nullptr : argv[at] + equal + 1;
    if (bool *flag = findFlag(name)) {
      if (inlined)
        return fail("option '--" + name + "' takes no value");
      *flag = true;
      return true;
    }
    std::string value;
    if (name == "input")
      return named(name, options.inputs);
    if (name == "output")
      return named(name, options.outputs);
    if (name == "expected-output")
      return named(name, options.expected);
    if (name == "inputs")
      return take(name, value) && add(options.inputFiles, value);
    if (name == "expected-outputs")
      return take(name, value) && add(options.expectedFiles, value);
    if (name == "outputs")
      return take(name, options.outputFile);
    if (name == "weights")
      return take(name, options.weights);
    if (name == "tolerance")
      return take(name, value) && tolerance(value);
    if (name == "threads")
      return take(name, value) && number(name, value, options.threads);
    if (name == "runs")
      return take(name, value) && number(name, value, options.runs);
    return fail("unknown option '" + argument + "' (see --help)");
  }

  bool *findFlag(const std::string &name) {
    const std::pair<const char *, bool *> flags[] = {
        {"verify-weights", &options.verifyWeights},
        {"benchmark", &options.benchmark},
        {"json", &options.json},
        {"stats", &options.stats},
        {"profile", &options.profile},
        {"signature", &options.signature}};
    for (auto &[candidate, flag] : flags)
      if (name == candidate)
        return flag;
    return nullptr;
  }

  static bool add(std::vector<std::string> &list, const std::string &value) {
    list.push_back(value);
    return true;
  }

  bool take(const std::string &name, std::string &value) {
    if (inlined)
      value = inlined;
    else if (at + 1 < argc)
      value = argv[++at];
    if (value.empty())
      return fail("option '--" + name + "' expects a value");
    return true;
  }

  bool named(const std::string &name,
             std::vector<RunOptions::NamedPath> &list) {
    std::string value;
    if (!take(name, value))
      return false;
    // The last "=@": names of values are free-form.
    size_t split = value.rfind("=@");
    if (split == std::string::npos || split == 0 || split + 2 == value.size())
      return fail("option '--" + name + "' expects <name>=@<file>, got '" +
                  value + "'");
    list.emplace_back(value.substr(0, split), value.substr(split + 2));
    return true;
  }

  bool tolerance(const std::string &value) {
    char *end;
    options.tolerance = std::strtod(value.c_str(), &end);
    if (*end || !(options.tolerance >= 0) || std::isinf(options.tolerance))
      return fail("option '--tolerance' expects a number of at least 0, got '" +
                  value + "'");
    return true;
  }

  bool number(const std::string &name, const std::string &value,
              int32_t &number) {
    char *end;
    errno = 0;
    long parsed = std::strtol(value.c_str(), &end, 10);
    if (*end || errno || parsed < 1 || parsed > 1000000000)
      return fail("option '--" + name +
                  "' expects a number of at least 1, "
                  "got '" +
                  value + "'");
    number = static_cast<int32_t>(parsed);
    return true;
  }

  bool check() {
    if (options.model.empty())
      return fail("expects a compiled model (see --help)");
    size_t sets = options.inputFiles.size(),
           expected = options.expectedFiles.size();
    if (expected > 1 && expected != sets)
      return fail("expects one --expected-outputs for each of the " +
                  std::to_string(sets) + " --inputs, got " +
                  std::to_string(expected));
    if (sets > 1 && (!options.outputs.empty() || !options.outputFile.empty()))
      return fail("cannot write the outputs of several --inputs");
    if (sets > 1 && (!options.expected.empty() || expected == 1))
      return fail("expects one --expected-outputs for each of the " +
                  std::to_string(sets) + " --inputs");
    if (options.json && !options.benchmark)
      return fail("option '--json' expects '--benchmark'");
    if (options.runs && !options.benchmark)
      return fail("option '--runs' expects '--benchmark'");
    return true;
  }

  int argc;
  const char *const *argv;
  RunOptions &options;
  std::string &error;
  int at = 1;
  const char *inlined = nullptr;
};
} // namespace

bool mlir::moe::parseRunOptions(int argc, const char *const *argv,
                                RunOptions &options, bool &help,
                                std::string &error) {
  help = false;
  return OptionParser(argc, argv, options, error).parse(help);
}
