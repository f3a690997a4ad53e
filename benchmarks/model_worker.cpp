//===- model_worker.cpp - Times a compiled layer --------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   model_worker <model.so> <threads> <hidden>
//
// Commands, one per line, answered by one line of JSON each:
//   check <inputs.bin> <tokens> <output.bin>    writes the result of input 0
//   time <inputs.bin> <tokens> <runs> <seconds> times runs, inputs in turn
//
// The file of inputs holds any number of f32 inputs [tokens, hidden].
//
//===----------------------------------------------------------------------===//

#include "moe/Runtime/moe.h"

#include <dlfcn.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

static std::map<std::string, std::vector<float>> cache;
static std::map<std::string, size_t> positions;

static const std::vector<float> &load(const char *path) {
  std::vector<float> &data = cache[path];
  if (!data.empty())
    return data;
  if (FILE *file = std::fopen(path, "rb")) {
    std::fseek(file, 0, SEEK_END);
    data.resize(static_cast<size_t>(std::ftell(file)) / sizeof(float));
    std::rewind(file);
    if (std::fread(data.data(), sizeof(float), data.size(), file) !=
        data.size())
      data.clear();
    std::fclose(file);
  }
  return data;
}

static void answer(const std::string &text) {
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

static std::string failure(const char *text) {
  std::string quoted;
  for (; *text; ++text)
    quoted += *text == '"' || *text == '\\' ? '\'' : *text;
  return "{\"error\": \"" + quoted + "\"}";
}

int main(int argc, char **argv) {
  if (argc != 4)
    return 2;
  int64_t hidden = std::atoll(argv[3]);
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  auto entry =
      library ? reinterpret_cast<moe_get_api_fn>(dlsym(library, "moe_get_api"))
              : nullptr;
  const moe_api *api = entry ? entry(MOE_ABI_VERSION) : nullptr;
  if (!api) {
    const char *text = dlerror();
    answer(failure(text ? text : "no entry point of this version"));
    return 1;
  }
  char error[512];
  moe_model *model = nullptr;
  moe_session *session = nullptr;
  if (moe_open(api, nullptr, 0, &model, error, sizeof error) != MOE_OK ||
      moe_session_create(model, std::atoi(argv[2]), &session, error,
                         sizeof error) != MOE_OK) {
    answer(failure(error));
    return 1;
  }
  answer("{\"ready\": true}");

  char what[16], input[1024], output[1024];
  long tokens, runs;
  double seconds;
  while (std::scanf("%15s %1023s %ld", what, input, &tokens) == 3) {
    const std::vector<float> &data = load(input);
    size_t size = static_cast<size_t>(tokens * hidden);
    size_t count = data.size() / size;
    int64_t shape[2] = {tokens, hidden};
    moe_tensor result = {};
    auto run = [&](size_t index) {
      moe_tensor in = {const_cast<float *>(data.data() + index * size),
                       MOE_F32,
                       2,
                       shape,
                       nullptr,
                       0};
      return moe_run(session, &in, 1, &result, 1) == MOE_OK;
    };
    std::string reply = "{}";
    bool ok = count > 0;
    if (std::strcmp(what, "check") == 0) {
      if (std::scanf("%1023s", output) != 1)
        return 2;
      if ((ok = ok && run(0))) {
        FILE *file = std::fopen(output, "wb");
        if (!file ||
            std::fwrite(result.data, sizeof(float), size, file) != size)
          reply = failure("cannot write the output");
        if (file)
          std::fclose(file);
      }
    } else {
      if (std::scanf("%ld %lf", &runs, &seconds) != 2)
        return 2;
      // Inputs go on where the last round ended: the first run of a round must
      // not find its experts in the cache.
      size_t &next = positions[input];
      for (int i = 0; i < 2 && ok; ++i)
        ok = run(next++ % count);
      reply = "{\"times\": [";
      double total = 0;
      for (long i = 0; ok && (i < runs || total < seconds); ++i) {
        using Clock = std::chrono::steady_clock;
        Clock::time_point begin = Clock::now();
        ok = run(next++ % count);
        double time =
            std::chrono::duration<double>(Clock::now() - begin).count();
        total += time;
        reply += (i ? ", " : "") + std::to_string(time * 1e3);
      }
      reply += "]}";
    }
    answer(ok ? reply
              : failure(count ? moe_session_error(session) : "no inputs"));
  }
  moe_session_destroy(session);
  moe_close(model);
}
