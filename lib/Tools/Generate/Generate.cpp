//===- Generate.cpp - Text from compiled language models ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Generate/Generate.h"

#include "Sampler.h"
#include "TokenizerParts.h"
#include "moe/Tools/Generate/Tokenizer.h"
#include "moe/Tools/Run/Compare.h"
#include "moe/Tools/Run/Files.h"
#include "moe/Tools/Run/Report.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <set>

using namespace mlir::moe;

namespace {
class Generator {
public:
  explicit Generator(const RunOptions &options)
      : options(options),
        sampler(options.temperature, options.topK, options.topP, options.seed) {
  }
  ~Generator() { moe_cache_destroy(cache); }
  bool run();
  std::string error;

private:
  bool open();
  bool findInputs();
  bool findPast(int32_t input);
  void findStops();
  bool step(const std::vector<int64_t> &ids, int64_t past, int64_t &token);
  bool chooseToken(const moe_tensor &logits, int64_t &token);
  bool write(bool last);

  const RunOptions &options;
  Sampler sampler;
  std::unique_ptr<Tokenizer> tokenizer;
  LoadedModel loaded;
  moe_cache *cache = nullptr;

  /// What an input of the model is filled with.
  enum class Role { Ids, Mask, Positions, Cached, Past };
  std::vector<Role> roles;
  /// Of models whose past the runtime does not keep: the outputs that come back
  /// as the inputs of role Past, with their contents.
  std::vector<int32_t> presents;
  std::vector<moe_tensor> pasts;
  std::vector<std::vector<int64_t>> emptyShapes;
  /// What a past of fixed size is at first; none for one that grows.
  std::vector<std::vector<char>> zeros;
  bool grows = false;
  int32_t logits = -1;

  std::set<int64_t> stopTokens;
  std::vector<std::string> stopTexts;
  std::vector<int64_t> prompt, made;
  size_t written = 0; // bytes of the text
  bool stopped = false;
};
} // namespace

//===----------------------------------------------------------------------===//
// Preparation
//===----------------------------------------------------------------------===//

/// The tokens that the files which come with a model end a text at.
static void readEndTokens(const std::string &tokenizerPath,
                          std::set<int64_t> &tokens) {
  size_t slash = tokenizerPath.rfind('/');
  std::string folder =
      slash == std::string::npos ? "" : tokenizerPath.substr(0, slash + 1);
  for (const char *name : {"generation_config.json", "config.json"}) {
    Buffer bytes;
    std::string ignored;
    if (!readFile(folder + name, bytes, ignored))
      continue;
    JSON file = JSON::parse(bytes.data(), bytes.data() + bytes.size(), nullptr,
                            /*allow_exceptions=*/false);
    if (!file.is_object() || !file.contains("eos_token_id"))
      continue;
    const JSON &ids = file["eos_token_id"];
    auto add = [&](const JSON &id) {
      if (id.is_number_unsigned())
        tokens.insert(id.get<int64_t>());
    };
    if (ids.is_array())
      for (const JSON &id : ids)
        add(id);
    else
      add(ids);
    return;
  }
}

void Generator::findStops() {
  readEndTokens(options.tokenizer, stopTokens);
  for (const std::string &stop : options.stops) {
    if (std::optional<int64_t> token = tokenizer->findAdded(stop))
      stopTokens.insert(*token);
    else
      stopTexts.push_back(stop);
  }
}

/// Pairs an input past_key_values.3.key with an output present.3.key. It is
/// empty at first, or, if all of its sizes are fixed, zeros: the state of a
/// convolution or of a scan.
bool Generator::findPast(int32_t input) {
  const moe_value_info *info = moe_input_info(loaded.model, input);
  std::string name = info->name;
  size_t dot = name.find('.');
  if (name.compare(0, 4, "past") != 0 || dot == std::string::npos)
    return false;
  int32_t output =
      moe_find_output(loaded.model, ("present" + name.substr(dot)).c_str());
  if (output < 0)
    return false;
  std::vector<int64_t> shape(info->dims, info->dims + info->rank);
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] < 0)
      shape[i] = i == 0 ? 1 : 0;
  int64_t open = std::count(shape.begin(), shape.end(), 0);
  int64_t bytes = moe_dtype_bytes(info->dtype);
  for (int64_t size : shape)
    if (__builtin_mul_overflow(bytes, size, &bytes))
      return false;
  constexpr int64_t kMostBytes = int64_t(1) << 32;
  if (open > 1 || bytes > kMostBytes)
    return false;
  grows |= open == 1;
  roles.push_back(Role::Past);
  presents.resize(roles.size());
  presents.back() = output;
  pasts.resize(roles.size());
  pasts.back() = {nullptr, info->dtype, info->rank, nullptr, nullptr, 0};
  emptyShapes.resize(roles.size());
  emptyShapes.back() = std::move(shape);
  zeros.resize(roles.size());
  zeros.back().resize(static_cast<size_t>(bytes));
  return true;
}

bool Generator::findInputs() {
  moe_model *model = loaded.model;
  std::set<int32_t> cached;
  for (int32_t i = 0; i < moe_num_cache_bindings(model); ++i)
    cached.insert(moe_get_cache_binding_info(model, i)->input);
  for (int32_t i = 0; i < moe_num_inputs(model); ++i) {
    const moe_value_info *info = moe_input_info(model, i);
    std::string name = info->name;
    if (cached.count(i)) {
      roles.push_back(Role::Cached);
      continue;
    }
    if (name == "input_ids")
      roles.push_back(Role::Ids);
    else if (name == "attention_mask")
      roles.push_back(Role::Mask);
    else if (name == "position_ids")
      roles.push_back(Role::Positions);
    else if (findPast(i))
      continue;
    if (roles.size() != static_cast<size_t>(i) + 1 || info->rank != 2 ||
        (info->dtype != MOE_I64 && info->dtype != MOE_I32)) {
      error = "cannot fill input '" + name +
              "', expects only input_ids, attention_mask and position_ids, "
              "i64 or i32 of rank 2, beside the past";
      return false;
    }
  }
  bool none = cached.empty() && emptyShapes.empty();
  if (none || (!cached.empty() && grows)) {
    error = none ? "the model has no cache (inputs past.. that come "
                   "back as outputs present..), which generating "
                   "text needs"
                 : "the model's cache is not all of one kind";
    return false;
  }
  logits = moe_find_output(model, "logits");
  if (logits < 0 || std::count(roles.begin(), roles.end(), Role::Ids) != 1 ||
      moe_output_info(model, logits)->rank != 3) {
    error = "expects a model with an input 'input_ids' and an output 'logits' "
            "of rank 3";
    return false;
  }
  return true;
}

bool Generator::open() {
  tokenizer = Tokenizer::load(options.tokenizer, error);
  if (!tokenizer)
    return false;
  if (!tokenizer->encode(options.prompt, prompt, error)) {
    error = "the prompt: " + error;
    return false;
  }
  if (prompt.empty()) {
    error = "expects a prompt of at least one token";
    return false;
  }
  if (!loaded.open(options, error) || !findInputs())
    return false;
  findStops();
  if (!moe_num_cache_bindings(loaded.model))
    return true;
  char message[1024];
  int64_t capacity = static_cast<int64_t>(prompt.size()) + options.maxTokens;
  if (moe_cache_create(loaded.model, capacity, &cache, message,
                       sizeof message) != MOE_OK) {
    error = message;
    return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

bool Generator::chooseToken(const moe_tensor &tensor, int64_t &token) {
  int64_t vocabulary = tensor.shape[2];
  std::vector<double> values(static_cast<size_t>(vocabulary));
  int64_t begin = (tensor.shape[1] - 1) * vocabulary;
  for (int64_t i = 0; i < vocabulary; ++i)
    values[static_cast<size_t>(i)] = elementAsDouble(tensor, begin + i);
  token = sampler.choose(values);
  if (token < 0)
    error = "the model's logits are no numbers";
  return token >= 0;
}

/// Runs the model on `ids`, which follow `past` others.
bool Generator::step(const std::vector<int64_t> &ids, int64_t past,
                     int64_t &token) {
  int64_t count = static_cast<int64_t>(ids.size());
  std::vector<std::vector<int64_t>> wide(roles.size());
  std::vector<std::vector<int32_t>> narrow(roles.size());
  std::vector<std::array<int64_t, 2>> shapes(roles.size());
  std::vector<moe_tensor> inputs(roles.size()),
      outputs(static_cast<size_t>(moe_num_outputs(loaded.model)));
  for (size_t i = 0; i < roles.size(); ++i) {
    if (roles[i] == Role::Cached)
      continue;
    if (roles[i] == Role::Past) {
      if (past == 0) {
        pasts[i].shape = emptyShapes[i].data();
        pasts[i].data = zeros[i].empty() ? nullptr : zeros[i].data();
      }
      inputs[i] = pasts[i];
      continue;
    }
    std::vector<int64_t> &values = wide[i];
    if (roles[i] == Role::Ids)
      values = ids;
    else if (roles[i] == Role::Mask)
      values.assign(static_cast<size_t>(past + count), 1);
    else
      for (int64_t position = past; position < past + count; ++position)
        values.push_back(position);
    shapes[i] = {1, static_cast<int64_t>(values.size())};
    moe_dtype type =
        moe_input_info(loaded.model, static_cast<int32_t>(i))->dtype;
    void *data = values.data();
    if (type == MOE_I32) {
      narrow[i].assign(values.begin(), values.end());
      data = narrow[i].data();
    }
    inputs[i] = {data, type, 2, shapes[i].data(), nullptr, 0};
  }
  int32_t given = static_cast<int32_t>(inputs.size());
  int32_t wanted = static_cast<int32_t>(outputs.size());
  moe_status status =
      cache ? moe_run_with_cache(loaded.session, cache, inputs.data(), given,
                                 outputs.data(), wanted)
            : moe_run(loaded.session, inputs.data(), given, outputs.data(),
                      wanted);
  if (status != MOE_OK) {
    error = moe_session_error(loaded.session);
    return false;
  }
  // Outputs may be the inputs of the session's next run.
  for (size_t i = 0; i < presents.size(); ++i)
    if (roles[i] == Role::Past)
      pasts[i] = outputs[static_cast<size_t>(presents[i])];
  return chooseToken(outputs[static_cast<size_t>(logits)], token);
}

/// Writes what is sure of the text: not what may become another character or a
/// text to stop at, unless this is the `last` time.
bool Generator::write(bool last) {
  // What tokens mean depends on a few before them.
  constexpr ptrdiff_t kContext = 16;
  std::vector<int64_t> all(
      prompt.end() -
          std::min<ptrdiff_t>(kContext, prompt.end() - prompt.begin()),
      prompt.end());
  std::string before = tokenizer->decode(all);
  all.insert(all.end(), made.begin(), made.end());
  static constexpr char kReplacement[] = "\xEF\xBF\xBD";
  std::string text = tokenizer->decode(all);
  size_t same = 0;
  while (same < before.size() && same < text.size() &&
         before[same] == text[same])
    ++same;
  // Not within a character.
  while (same > 0 && same < text.size() && (text[same] & 0xC0) == 0x80)
    --same;
  text.erase(0, same);

  size_t end = text.size();
  for (const std::string &stop : stopTexts)
    if (size_t at = text.find(stop); at != std::string::npos) {
      stopped = true;
      end = std::min(end, at);
    }
  if (!last && !stopped) {
    while (end >= 3 && text.compare(end - 3, 3, kReplacement) == 0)
      end -= 3;
    size_t hold = 0;
    for (const std::string &stop : stopTexts)
      for (size_t part = std::min(stop.size(), end); part > hold; --part)
        if (text.compare(end - part, part, stop, 0, part) == 0)
          hold = part;
    end -= hold;
  }
  if (end <= written)
    return true;
  if (std::fwrite(text.data() + written, 1, end - written, stdout) !=
          end - written ||
      std::fflush(stdout) != 0) {
    error = "cannot write to standard output";
    return false;
  }
  written = end;
  return true;
}

bool Generator::run() {
  using Clock = std::chrono::steady_clock;
  if (!open())
    return false;
  std::vector<int64_t> ids = prompt;
  int64_t past = 0;
  Clock::time_point begin = Clock::now(), first = begin;
  while (static_cast<int64_t>(made.size()) < options.maxTokens && !stopped) {
    int64_t token;
    if (!step(ids, past, token))
      return false;
    if (past == 0)
      first = Clock::now();
    past += static_cast<int64_t>(ids.size());
    if (stopTokens.count(token))
      break;
    made.push_back(token);
    ids = {token};
    if (!write(/*last=*/false))
      return false;
  }
  if (!write(/*last=*/true))
    return false;
  std::fputs("\n", stdout);
  if (!options.stats)
    return true;
  std::chrono::duration<double> prefill = first - begin,
                                rest = Clock::now() - first;
  double steps = static_cast<double>(made.size()) - 1;
  std::printf("%zu tokens of prompt in %.3f s, %zu more", prompt.size(),
              prefill.count(), made.size());
  if (steps > 0)
    std::printf(", %.1f per second", steps / rest.count());
  std::printf("\n");
  return printStats(loaded.model, loaded.session, error);
}

static RunStatus finish(bool success, std::string error) {
  if (success && std::fflush(stdout) != 0) {
    success = false;
    error = "cannot write to standard output";
  }
  if (success)
    return RunSuccess;
  std::fflush(stdout);
  std::fprintf(stderr, "moe-run: error: %s\n", error.c_str());
  return RunTrouble;
}

RunStatus mlir::moe::generateText(const RunOptions &options) {
  Generator generator(options);
  bool success = generator.run();
  return finish(success, generator.error);
}

//===----------------------------------------------------------------------===//
// Tokens
//===----------------------------------------------------------------------===//

/// Prints the tokens of a text, or the text of tokens, as JSON.
static bool printConverted(const Tokenizer &tokenizer, const JSON &item,
                           std::string &error) {
  std::vector<int64_t> ids;
  JSON result;
  if (item.is_string()) {
    if (!tokenizer.encode(item.get<std::string>(), ids, error))
      return false;
    result = ids;
  } else {
    for (const JSON &id : item) {
      if (!item.is_array() || !id.is_number_integer()) {
        error = "expects texts or arrays of tokens in --tokenize=@<file>";
        return false;
      }
      ids.push_back(id.get<int64_t>());
    }
    result = tokenizer.decode(ids);
  }
  std::printf("%s\n", result.dump().c_str());
  return true;
}

static bool tokenize(const RunOptions &options, std::string &error) {
  std::unique_ptr<Tokenizer> tokenizer =
      Tokenizer::load(options.tokenizer, error);
  if (!tokenizer)
    return false;
  if (options.tokenize.compare(0, 1, "@") != 0) {
    std::vector<int64_t> ids;
    if (!tokenizer->encode(options.tokenize, ids, error))
      return false;
    std::printf("%s\n", JSON(ids).dump().c_str());
    return true;
  }
  std::string path = options.tokenize.substr(1);
  Buffer bytes;
  if (!readFile(path, bytes, error))
    return false;
  JSON items = JSON::parse(bytes.data(), bytes.data() + bytes.size(), nullptr,
                           /*allow_exceptions=*/false);
  if (!items.is_array()) {
    error = "'" + path + "' is no JSON array";
    return false;
  }
  for (const JSON &item : items)
    if (!printConverted(*tokenizer, item, error))
      return false;
  return true;
}

RunStatus mlir::moe::tokenizeText(const RunOptions &options) {
  std::string error;
  bool success = tokenize(options, error);
  return finish(success, error);
}
