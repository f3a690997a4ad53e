/*===- generate.c - Text generation with a KV cache, in C ------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Continues a sequence of token ids greedily, printing each as it comes. Works
 * with any compiled language model that has an input "input_ids", an output
 * "logits", and otherwise only past inputs and present outputs, which a cache
 * handle carries:
 *
 *   cc generate.c -I <prefix>/include -ldl -o generate
 *   ./generate model.so <number of tokens> <id> <id>...
 *===----------------------------------------------------------------------===*/
#include "moe/Runtime/moe.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void fail(const char *text) {
  fflush(stdout);
  fprintf(stderr, "error: %s\n", text);
  exit(1);
}

/* The token with the largest logit at the last position; batch 1, float. */
static int64_t choose(const moe_tensor *logits) {
  int64_t vocabulary = logits->shape[2];
  const float *last =
      (const float *)logits->data + (logits->shape[1] - 1) * vocabulary;
  int64_t best = 0;
  for (int64_t i = 1; i < vocabulary; ++i)
    if (last[i] > last[best])
      best = i;
  return best;
}

int main(int argc, char **argv) {
  if (argc < 4)
    fail("expects a model, a number of tokens and a prompt of token ids");
  int64_t wanted = atoll(argv[2]), length = argc - 3;
  int64_t *ids = malloc((size_t)length * sizeof *ids);
  if (!ids)
    fail("out of memory");
  for (int64_t i = 0; i < length; ++i)
    ids[i] = atoll(argv[3 + i]);

  char error[512];
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library)
    fail(dlerror());
  moe_get_api_fn get = (moe_get_api_fn)dlsym(library, "moe_get_api");
  const moe_api *api = get ? get(MOE_ABI_VERSION) : NULL;
  if (!api)
    fail("not a compiled model of this version");

  moe_model *model;
  moe_session *session;
  moe_cache *cache;
  if (moe_open(api, NULL, 0, &model, error, sizeof error) != MOE_OK ||
      moe_session_create(model, 0, &session, error, sizeof error) != MOE_OK ||
      moe_cache_create(model, length + wanted, &cache, error, sizeof error) !=
          MOE_OK)
    fail(error);

  int32_t num_inputs = moe_num_inputs(model);
  int32_t num_outputs = moe_num_outputs(model);
  int32_t input_ids = moe_find_input(model, "input_ids");
  int32_t logits = moe_find_output(model, "logits");
  if (input_ids < 0 || logits < 0 ||
      num_inputs != 1 + moe_num_cache_bindings(model) ||
      moe_output_info(model, logits)->dtype != MOE_F32 ||
      moe_output_info(model, logits)->rank != 3)
    fail("the model is not of the form that this program runs");
  moe_tensor *inputs = calloc((size_t)num_inputs, sizeof *inputs);
  moe_tensor *outputs = calloc((size_t)num_outputs, sizeof *outputs);
  if (!inputs || !outputs)
    fail("out of memory");

  /* The first run takes the whole prompt, every later one the newest token:
   * the cache remembers what came before. */
  int64_t shape[2] = {1, length};
  int64_t token;
  for (int64_t i = 0; i < wanted; ++i) {
    inputs[input_ids].data = i ? &token : ids;
    inputs[input_ids].dtype = MOE_I64;
    inputs[input_ids].rank = 2;
    inputs[input_ids].shape = shape;
    if (moe_run_with_cache(session, cache, inputs, num_inputs, outputs,
                           num_outputs) != MOE_OK)
      fail(moe_session_error(session));
    token = choose(&outputs[logits]);
    shape[1] = 1;
    printf("%s%" PRId64, i ? " " : "", token);
    fflush(stdout);
  }
  printf("\n");

  free(outputs);
  free(inputs);
  free(ids);
  moe_cache_destroy(cache);
  moe_session_destroy(session);
  moe_close(model);
  return 0;
}
