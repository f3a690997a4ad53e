//===- Options.cpp - Command line of moe-run ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Run.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <set>

using namespace mlir::moe;

const char mlir::moe::runUsage[] = R"(usage: moe-run <model.so> [options]

Runs a compiled model on NumPy files, and prints its shapes; or writes text with
it.

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
text
  --generate                    continue a text, with a model that has a past
                                and no inputs beside it but input_ids,
                                attention_mask and position_ids
  --prompt <text>               the text to continue
  --tokenizer <tokenizer.json>  the model's tokenizer
  --max-tokens <n>              write at most n tokens (128)
  --temperature <t>             draw from the softmax of logits / t; 0 takes the
                                likeliest token (0)
  --top-k <n>                   draw from the n likeliest tokens (0: all)
  --top-p <p>                   draw from the fewest tokens that have this
                                probability together (1)
  --seed <n>                    of the draws (0)
  --stop <text>                 stop in front of this text, or at this added
                                token; may be repeated. (The eos_token_id of a
                                generation_config.json or config.json beside
                                the tokenizer stops, too.)
  --tokenize <text>             print the text's tokens and run nothing; of
                                @<file.json>, an array of texts and arrays of
                                tokens, those of each text and the text of each
the model
  --device=sim                  run kernels for a GPU in the simulator
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
    static constexpr const char *lists[] = {
        "input",  "output",           "expected-output",
        "inputs", "expected-outputs", "stop"};
    bool repeats =
        std::find(std::begin(lists), std::end(lists), name) != std::end(lists);
    if (!repeats && !given.insert(name).second)
      return fail("option '--" + name + "' is given twice");
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
    if (name == "device")
      return take(name, value) && device(value);
    if (name == "weights")
      return take(name, options.weights);
    if (name == "tolerance")
      return take(name, value) && tolerance(value);
    if (name == "tokenizer")
      return take(name, options.tokenizer);
    if (name == "tokenize")
      return take(name, options.tokenize);
    if (name == "prompt")
      return take(name, options.prompt);
    if (name == "stop")
      return take(name, value) && add(options.stops, value);
    if (name == "max-tokens")
      return take(name, value) && whole(name, value, 1, options.maxTokens);
    if (name == "top-k")
      return take(name, value) && whole(name, value, 0, options.topK);
    if (name == "seed")
      return take(name, value) && whole(name, value, 0, options.seed);
    if (name == "temperature")
      return take(name, value) && real(name, value, 1e6, options.temperature);
    if (name == "top-p")
      return take(name, value) && real(name, value, 1, options.topP);
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
        {"signature", &options.signature},
        {"generate", &options.generate}};
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
    std::string subject = value.substr(0, split);
    if (!given.insert(name + " " + subject).second)
      return fail("option '--" + name + "' names '" + subject + "' twice");
    list.emplace_back(std::move(subject), value.substr(split + 2));
    return true;
  }

  bool device(const std::string &value) {
    if (value != "sim")
      return fail("option '--device' expects sim, got '" + value + "'");
    options.simulate = true;
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

  template <typename Integer>
  bool whole(const std::string &name, const std::string &value, int64_t least,
             Integer &number) {
    char *end;
    errno = 0;
    long long parsed = std::strtoll(value.c_str(), &end, 10);
    if (*end || errno || parsed < least || parsed > 1000000000000000)
      return fail("option '--" + name + "' expects a number of at least " +
                  std::to_string(least) + ", got '" + value + "'");
    number = static_cast<Integer>(parsed);
    return true;
  }

  bool real(const std::string &name, const std::string &value, double most,
            double &number) {
    char *end;
    number = std::strtod(value.c_str(), &end);
    if (*end || !(number >= 0) || number > most) {
      char limit[32];
      std::snprintf(limit, sizeof limit, "%g", most);
      return fail("option '--" + name + "' expects a number from 0 to " +
                  limit + ", got '" + value + "'");
    }
    return true;
  }

  /// Text is written by a run of its own kind.
  bool checkText() {
    if (options.tokenizer.empty())
      return fail("expects --tokenizer=<tokenizer.json>");
    if (!options.inputs.empty() || !options.inputFiles.empty() ||
        !options.outputs.empty() || !options.outputFile.empty() ||
        !options.expected.empty() || !options.expectedFiles.empty() ||
        options.benchmark || options.profile || options.signature)
      return fail("cannot write text and run on files at once");
    if (options.generate && !options.tokenize.empty())
      return fail("expects '--generate' or '--tokenize', got both");
    if (options.generate && options.prompt.empty())
      return fail("option '--generate' expects '--prompt'");
    if (!options.generate && !options.model.empty())
      return fail("option '--tokenize' expects no model, got '" +
                  options.model + "'");
    return true;
  }

  bool check() {
    bool writesText = options.generate || !options.tokenize.empty();
    if (!writesText && (!options.tokenizer.empty() || !options.prompt.empty()))
      return fail("options '--tokenizer' and '--prompt' expect '--generate'");
    if (writesText && !checkText())
      return false;
    if (options.model.empty() && options.tokenize.empty())
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
  /// Options that came, and "<option> <value's name>".
  std::set<std::string> given;
};
} // namespace

bool mlir::moe::parseRunOptions(int argc, const char *const *argv,
                                RunOptions &options, bool &help,
                                std::string &error) {
  help = false;
  return OptionParser(argc, argv, options, error).parse(help);
}
