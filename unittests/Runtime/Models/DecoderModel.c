/*===- DecoderModel.c - A hand-written "compiled" decoder ------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Does what compiled code does, by hand: MakeModels.cpp has the signature.
 *
 *   y[b,s,:]     = x[b,s,:] * w[:] + ids[b,s]       (threads, arena)
 *   present      = past, then x[b,s,0:3] * (head+1)  along axis 2
 *   picked       = the ids whose mask is set         (size depends on data)
 *
 * An id that is not below 100 fails in serial code, one that is negative in
 * the threads; id 77 asks for more memory than there is.
 *===----------------------------------------------------------------------===*/
#include "moe/Runtime/Context.h"

#include <pthread.h>
#include <string.h>

enum { X, IDS, MASK, PAST };
enum { Y, PRESENT, PICKED };
enum { SITE_RANGE, SITE_NEGATIVE };
enum { WIDTH = 4, HEADS = 2, DEPTH = 3, EXPERTS = 4 };

struct moe_api;
__attribute__((visibility("default"))) const struct moe_api *
decoder_get_api(uint32_t version) {
  return moe_rt_get_api(version);
}

typedef struct task {
  moe_context *ctx;
  int64_t begin, end;
  float *y;
} task;

static void *compute(void *argument) {
  task *t = argument;
  const float *x = moe_rt_input_data(t->ctx, X);
  const int64_t *ids = moe_rt_input_data(t->ctx, IDS);
  const float *w = t->ctx->weights;
  for (int64_t row = t->begin; row < t->end; ++row) {
    if (ids[row] < 0)
      moe_rt_record(t->ctx, SITE_NEGATIVE, ids[row], 0);
    for (int j = 0; j < WIDTH; ++j)
      t->y[row * WIDTH + j] = x[row * WIDTH + j] * w[j] + (float)ids[row];
  }
  return NULL;
}

static float *compute_y(moe_context *ctx, int64_t rows) {
  enum { MAX = 8 };
  float *y = moe_rt_alloc(ctx, rows * WIDTH * (int64_t)sizeof(float));
  int threads = ctx->num_threads < MAX ? ctx->num_threads : MAX;
  pthread_t ids[MAX];
  task tasks[MAX];
  for (int t = 0; t < threads; ++t) {
    task one = {ctx, rows * t / threads, rows * (t + 1) / threads, y};
    tasks[t] = one;
    pthread_create(&ids[t], NULL, compute, &tasks[t]);
  }
  for (int t = 0; t < threads; ++t)
    pthread_join(ids[t], NULL);
  moe_rt_rethrow(ctx);
  return y;
}

static void append_present(moe_context *ctx, int64_t batch, int64_t seq) {
  int64_t past = moe_rt_input_dim(ctx, PAST, 2), total = past + seq;
  const float *old = moe_rt_input_data(ctx, PAST);
  const float *x = moe_rt_input_data(ctx, X);
  int64_t row = DEPTH * (int64_t)sizeof(float);
  float *present = moe_rt_alloc(ctx, batch * HEADS * total * row);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < HEADS; ++h) {
      float *to = present + (b * HEADS + h) * total * DEPTH;
      if (past)
        memcpy(to, old + (b * HEADS + h) * past * DEPTH, (size_t)(past * row));
      for (int64_t s = 0; s < seq; ++s)
        for (int64_t d = 0; d < DEPTH; ++d)
          to[(past + s) * DEPTH + d] =
              x[(b * seq + s) * WIDTH + d] * (float)(h + 1);
    }
  int64_t shape[4] = {batch, HEADS, total, DEPTH};
  moe_rt_set_output(ctx, PRESENT, present, 4, shape);
}

static void pick(moe_context *ctx, int64_t batch, int64_t seq) {
  const int64_t *ids = moe_rt_input_data(ctx, IDS);
  const uint8_t *mask = moe_rt_input_data(ctx, MASK);
  int64_t *picked = moe_rt_alloc(ctx, batch * seq * (int64_t)sizeof(int64_t));
  int64_t count = 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t s = 0; s < seq; ++s)
      if (mask[s] == 1)
        picked[count++] = ids[b * seq + s];
  moe_rt_set_output(ctx, PICKED, picked, 1, &count);
}

/* Two experts per token: id % 4 and its successor. */
static void count_experts(moe_context *ctx, int64_t rows) {
  const int64_t *ids = moe_rt_input_data(ctx, IDS);
  int64_t offsets[EXPERTS + 1] = {0};
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < 2; ++k)
      ++offsets[(ids[r] + k) % EXPERTS + 1];
  for (int e = 0; e < EXPERTS; ++e)
    offsets[e + 1] += offsets[e];
  moe_rt_count_experts(ctx, 0, offsets, EXPERTS);
}

void moe_compiled_main(moe_context *ctx) {
  int64_t batch = moe_rt_input_dim(ctx, X, 0);
  int64_t seq = moe_rt_input_dim(ctx, X, 1);
  int64_t rows = batch * seq;
  const int64_t *ids = moe_rt_input_data(ctx, IDS);
  moe_rt_profile(ctx, 0, 1);
  for (int64_t r = 0; r < rows; ++r) {
    moe_rt_check(ctx, ids[r] < 100, SITE_RANGE, ids[r], 100);
    if (ids[r] == 77)
      moe_rt_alloc(ctx, INT64_C(1) << 60);
  }
  /* Scratch that is freed and reused, as bufferized code does. */
  void *scratch = moe_rt_alloc(ctx, rows * 100 + 1);
  memset(scratch, 0xff, (size_t)(rows * 100 + 1));
  moe_rt_free(ctx, scratch);
  float *y = compute_y(ctx, rows);
  int64_t shape[3] = {batch, seq, WIDTH};
  moe_rt_set_output(ctx, Y, y, 3, shape);
  append_present(ctx, batch, seq);
  pick(ctx, batch, seq);
  count_experts(ctx, rows);
  moe_rt_profile(ctx, 0, 0);
}
