/*===- CounterModel.c - A "compiled" language model that counts ------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Has the signature of an exported language model with a KV cache: input_ids
 * and past in, logits and present out. The cache holds the ids so far; the
 * logits favour the sum of all ids modulo the vocabulary, so that a wrong past
 * shows in the next token.
 *===----------------------------------------------------------------------===*/
#include "moe/Runtime/Context.h"

#include <string.h>

struct moe_api;
__attribute__((visibility("default"))) const struct moe_api *
counter_get_api(uint32_t version) {
  return moe_rt_get_api(version);
}

void moe_compiled_main(moe_context *ctx) {
  enum { VOCABULARY = 10 };
  int64_t batch = moe_rt_input_dim(ctx, 0, 0);
  int64_t seq = moe_rt_input_dim(ctx, 0, 1);
  int64_t past = moe_rt_input_dim(ctx, 1, 1), total = past + seq;
  const int64_t *ids = moe_rt_input_data(ctx, 0);
  const float *old = moe_rt_input_data(ctx, 1);
  float *present = moe_rt_alloc(ctx, batch * total * 4);
  float *logits = moe_rt_alloc(ctx, batch * seq * VOCABULARY * 4);
  memset(logits, 0, (size_t)(batch * seq * VOCABULARY * 4));
  for (int64_t b = 0; b < batch; ++b) {
    int64_t sum = 0;
    for (int64_t t = 0; t < total; ++t) {
      float id = t < past ? old[b * past + t] : (float)ids[b * seq + t - past];
      moe_rt_check(ctx, id >= 0 && id < VOCABULARY, 0, (int64_t)id, VOCABULARY);
      present[b * total + t] = id;
      sum += (int64_t)id;
      if (t >= past)
        logits[(b * seq + t - past) * VOCABULARY + sum % VOCABULARY] = 1;
    }
  }
  int64_t logitsShape[3] = {batch, seq, VOCABULARY};
  int64_t presentShape[2] = {batch, total};
  moe_rt_set_output(ctx, 0, logits, 3, logitsShape);
  moe_rt_set_output(ctx, 1, present, 2, presentShape);
}
