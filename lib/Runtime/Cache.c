/*===- Cache.c - KV caches -------------------------------------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A cache holds, per past/present pair of the descriptor, memory for its whole
 * capacity, taken once. Compiled code takes past tensors that are contiguous at
 * their present length, so that is how positions are stored, and a run's
 * present outputs are copied in. Nothing of this shows in the ABI: storage with
 * a stride of the capacity, written in place by compiled code, can replace it.
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct cache_entry {
  char *data;
  int64_t allocated; /* bytes */
  int64_t shape[MOE_MAX_RANK];
  int64_t strides[MOE_MAX_RANK];
} cache_entry;

struct moe_cache {
  const moe_api *api; /* first: see moe_api_of */
  moe_model *model;
  atomic_flag busy;
  int64_t capacity;
  int64_t length;
  cache_entry *entries;
};

/*---- Creation -------------------------------------------------------------*/

moe_status moe_impl_cache_create(moe_model *model, int64_t capacity,
                                 moe_cache **out, char *error,
                                 size_t error_size) {
  moe_message message = {error, error_size};
  if (error && error_size)
    error[0] = 0;
  if (!out)
    return moe_fail(message, MOE_ERROR_ARGUMENT,
                    "expects a place to store the cache, got NULL");
  *out = NULL;
  const moe_signature *s = &model->signature;
  if (capacity < 1)
    return moe_fail(message, MOE_ERROR_ARGUMENT,
                    "expects a capacity of at least 1, got %" PRId64, capacity);
  if (!s->num_caches)
    return moe_fail(message, MOE_ERROR_UNSUPPORTED,
                    "the model has no past/present pairs to cache");
  for (int32_t i = 0; i < s->num_caches; ++i) {
    const moe_value_info *past = &s->inputs[s->caches[i].input];
    if (past->dims[s->caches[i].axis] >= 0)
      return moe_fail(message, MOE_ERROR_UNSUPPORTED,
                      "input '%s' has a fixed number of positions (%" PRId64
                      ") and cannot be cached",
                      past->name, past->dims[s->caches[i].axis]);
  }
  moe_cache *cache = calloc(1, sizeof *cache);
  cache_entry *entries = calloc((size_t)s->num_caches, sizeof *entries);
  if (!cache || !entries) {
    free(cache);
    free(entries);
    return moe_fail(message, MOE_ERROR_MEMORY, "out of memory");
  }
  cache->api = model->api;
  cache->model = model;
  cache->capacity = capacity;
  cache->entries = entries;
  atomic_flag_clear(&cache->busy);
  moe_model_retain(model);
  *out = cache;
  return MOE_OK;
}

void moe_impl_cache_destroy(moe_cache *cache) {
  moe_model *model = cache->model;
  for (int32_t i = 0; i < model->signature.num_caches; ++i)
    free(cache->entries[i].data);
  free(cache->entries);
  free(cache);
  moe_model_release(model);
}

int64_t moe_impl_cache_capacity(const moe_cache *cache) {
  return cache->capacity;
}

int64_t moe_impl_cache_length(const moe_cache *cache) { return cache->length; }

/*---- Positions ------------------------------------------------------------*/

/* Bytes of one position of one outer index: what lies below the axis. */
static int64_t position_bytes(const moe_value_info *info, int32_t axis,
                              const int64_t *shape) {
  int64_t bytes = moe_dtype_bytes(info->dtype);
  for (int32_t d = axis + 1; d < info->rank; ++d)
    bytes *= shape[d];
  return bytes;
}

moe_status moe_impl_cache_truncate(moe_cache *cache, int64_t length) {
  if (atomic_flag_test_and_set_explicit(&cache->busy, memory_order_acquire))
    return MOE_ERROR_BUSY;
  moe_status status = MOE_ERROR_ARGUMENT;
  if (length >= 0 && length <= cache->length) {
    const moe_signature *s = &cache->model->signature;
    for (int32_t i = 0; i < s->num_caches; ++i) {
      cache_entry *entry = &cache->entries[i];
      int32_t axis = s->caches[i].axis;
      int64_t below =
          position_bytes(&s->inputs[s->caches[i].input], axis, entry->shape);
      int64_t outer = 1;
      for (int32_t d = 0; d < axis; ++d)
        outer *= entry->shape[d];
      /* Rows only move towards the front. */
      for (int64_t o = 1; o < outer && length && below; ++o)
        memmove(entry->data + o * length * below,
                entry->data + o * cache->length * below,
                (size_t)(length * below));
      entry->shape[axis] = length;
    }
    cache->length = length;
    status = MOE_OK;
  }
  atomic_flag_clear_explicit(&cache->busy, memory_order_release);
  return status;
}

moe_status moe_impl_cache_tensor(moe_cache *cache, int32_t binding,
                                 moe_tensor *tensor) {
  const moe_signature *s = &cache->model->signature;
  if (binding < 0 || binding >= s->num_caches || !tensor || !cache->length)
    return MOE_ERROR_ARGUMENT;
  const moe_value_info *info = &s->inputs[s->caches[binding].input];
  cache_entry *entry = &cache->entries[binding];
  int64_t step = 1;
  for (int32_t d = info->rank - 1; d >= 0; --d) {
    entry->strides[d] = step;
    step *= entry->shape[d];
  }
  tensor->data = entry->data;
  tensor->dtype = info->dtype;
  tensor->rank = info->rank;
  tensor->shape = entry->shape;
  tensor->strides = entry->strides;
  tensor->capacity = 0;
  return MOE_OK;
}

/*---- Runs -----------------------------------------------------------------*/

/* The size that some input of the caller's gives to a symbolic dimension, -1
 * when none does. */
static int64_t find_symbol(const moe_session *session, const bool *cached,
                           int32_t symbol) {
  const moe_signature *s = &session->model->signature;
  for (int32_t i = 0; i < s->num_inputs; ++i) {
    const moe_value_info *info = &s->inputs[i];
    const moe_tensor *tensor = &session->tensors[i];
    if (cached[i])
      continue;
    for (int32_t d = 0; d < info->rank; ++d)
      if (s->dim_symbols[info->dims - s->dims + d] == symbol)
        return tensor->shape[d];
  }
  return -1;
}

/* The shape of an empty past input: no positions, the rest from the signature
 * and from the run's other inputs. */
static moe_status shape_empty(moe_session *session, const bool *cached,
                              const moe_cache_binding_info *binding,
                              int64_t *shape) {
  const moe_signature *s = &session->model->signature;
  const moe_value_info *info = &s->inputs[binding->input];
  for (int32_t d = 0; d < info->rank; ++d) {
    shape[d] = d == binding->axis ? 0 : info->dims[d];
    if (shape[d] >= 0)
      continue;
    int32_t symbol = s->dim_symbols[info->dims - s->dims + d];
    shape[d] = symbol < 0 ? -1 : find_symbol(session, cached, symbol);
    if (shape[d] < 0)
      return moe_fail(moe_session_message(session), MOE_ERROR_UNSUPPORTED,
                      "dimension %" PRId32 " ('%s') of input '%s' follows "
                      "from no other input: the first run needs the input "
                      "itself, without a cache",
                      d, info->dim_names[d], info->name);
  }
  return MOE_OK;
}

/* Checks that all presents have one new length, and have what the cache holds
 * otherwise; returns that length. */
static moe_status check_presents(moe_session *session, const moe_cache *cache,
                                 int64_t *length) {
  const moe_signature *s = &session->model->signature;
  moe_message message = moe_session_message(session);
  *length = -1;
  for (int32_t i = 0; i < s->num_caches; ++i) {
    const moe_cache_binding_info *binding = &s->caches[i];
    const moe_value_info *info = &s->outputs[binding->output];
    const int64_t *present = session->outputs[binding->output].shape;
    int64_t positions = present[binding->axis];
    if (*length >= 0 && positions != *length)
      return moe_fail(
          message, MOE_ERROR_MODEL,
          "output '%s' has %" PRId64
          " positions, but other outputs of the cache have %" PRId64,
          info->name, positions, *length);
    *length = positions;
    if (positions > cache->capacity)
      return moe_fail(message, MOE_ERROR_CACHE_CAPACITY,
                      "the run needs %" PRId64
                      " positions, the cache has room for %" PRId64,
                      positions, cache->capacity);
    for (int32_t d = 0; d < info->rank; ++d)
      if (d != binding->axis && present[d] != cache->entries[i].shape[d])
        return moe_fail(message, MOE_ERROR_MODEL,
                        "output '%s' has size %" PRId64 " in dimension %" PRId32
                        ", but its past has %" PRId64,
                        info->name, present[d], d, cache->entries[i].shape[d]);
  }
  return MOE_OK;
}

/* Memory for the full capacity of one entry. */
static bool reserve(cache_entry *entry, const moe_value_info *info,
                    int32_t axis, int64_t capacity) {
  int64_t shape[MOE_MAX_RANK], elements, bytes;
  memcpy(shape, entry->shape, sizeof shape);
  shape[axis] = capacity;
  if (!moe_shape_bytes(info->rank, shape, moe_dtype_bytes(info->dtype),
                       &elements, &bytes) ||
      bytes > INT64_MAX - MOE_RT_ALIGNMENT)
    return false;
  bytes = (bytes + MOE_RT_ALIGNMENT - 1) & -MOE_RT_ALIGNMENT;
  if (bytes <= entry->allocated)
    return true;
  char *data = aligned_alloc(MOE_RT_ALIGNMENT, (size_t)bytes);
  if (!data)
    return false;
  /* A larger size follows a reset only: there is nothing to keep. */
  free(entry->data);
  entry->data = data;
  entry->allocated = bytes;
  return true;
}

/* Makes the presents of a successful run the cache's contents. */
static moe_status adopt_presents(moe_session *session, void *user) {
  moe_cache *cache = user;
  const moe_signature *s = &session->model->signature;
  int64_t length;
  moe_status status = check_presents(session, cache, &length);
  if (status != MOE_OK)
    return status;
  for (int32_t i = 0; i < s->num_caches; ++i)
    if (!reserve(&cache->entries[i], &s->inputs[s->caches[i].input],
                 s->caches[i].axis, cache->capacity))
      return moe_fail(moe_session_message(session), MOE_ERROR_MEMORY,
                      "out of memory for a cache of %" PRId64 " positions",
                      cache->capacity);
  for (int32_t i = 0; i < s->num_caches; ++i) {
    const moe_slot *present = &session->outputs[s->caches[i].output];
    cache_entry *entry = &cache->entries[i];
    /* A present may be the past itself, when a run adds nothing. */
    if (present->bytes)
      memmove(entry->data, present->data, (size_t)present->bytes);
    entry->shape[s->caches[i].axis] = length;
  }
  cache->length = length;
  return MOE_OK;
}

static moe_status run_cached(moe_session *session, moe_cache *cache,
                             const moe_tensor *inputs, moe_tensor *outputs,
                             int32_t num_outputs) {
  const moe_signature *s = &session->model->signature;
  bool *cached = session->cached;
  memcpy(session->tensors, inputs, (size_t)s->num_inputs * sizeof *inputs);
  memset(cached, 0, (size_t)s->num_inputs * sizeof *cached);
  for (int32_t i = 0; i < s->num_caches; ++i)
    cached[s->caches[i].input] = true;
  /* Before the empty pasts take their sizes from the others. */
  for (int32_t i = 0; i < s->num_inputs; ++i) {
    moe_status status = cached[i]
                            ? MOE_OK
                            : moe_check_input(session->model, i, &inputs[i],
                                              moe_session_message(session));
    if (status != MOE_OK)
      return status;
  }
  for (int32_t i = 0; i < s->num_caches; ++i) {
    const moe_cache_binding_info *binding = &s->caches[i];
    const moe_value_info *info = &s->inputs[binding->input];
    cache_entry *entry = &cache->entries[i];
    if (!cache->length) {
      moe_status status = shape_empty(session, cached, binding, entry->shape);
      if (status != MOE_OK)
        return status;
    }
    moe_tensor past = {entry->data,  info->dtype, info->rank,
                       entry->shape, NULL,        0};
    session->tensors[binding->input] = past;
  }
  return moe_session_execute(session, session->tensors, outputs, num_outputs,
                             NULL, adopt_presents, cache);
}

moe_status moe_impl_run_with_cache(moe_session *session, moe_cache *cache,
                                   const moe_tensor *inputs, int32_t num_inputs,
                                   moe_tensor *outputs, int32_t num_outputs) {
  moe_status status = moe_session_enter(session);
  if (status != MOE_OK)
    return status;
  if (!cache || cache->model != session->model)
    return moe_session_leave(
        session, moe_fail(moe_session_message(session), MOE_ERROR_ARGUMENT,
                          "expects a cache of the session's own model"));
  if (atomic_flag_test_and_set_explicit(&cache->busy, memory_order_acquire))
    return moe_session_leave(session,
                             moe_fail(moe_session_message(session),
                                      MOE_ERROR_BUSY, "the cache is in use"));
  status = moe_check_counts(session, inputs, num_inputs, outputs, num_outputs);
  if (status == MOE_OK)
    status = run_cached(session, cache, inputs, outputs, num_outputs);
  atomic_flag_clear_explicit(&cache->busy, memory_order_release);
  return moe_session_leave(session, status);
}
