/*===- Session.c - Sessions: working memory, threads, counters -------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_THREADS 4096

/*---- Threads --------------------------------------------------------------*/

/* OMP_NUM_THREADS: a list, one number per nesting level; ours is the first. 0
 * without it, -1 if it is malformed or greater than libomp can do: libomp,
 * which reads it when it is first used, would end the process or hang. */
static int32_t threads_of_environment(void) {
  const char *text = getenv("OMP_NUM_THREADS");
  if (!text)
    return 0;
  long first = 0;
  for (;;) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || value < 1 || value > MAX_THREADS || errno == ERANGE)
      return -1;
    first = first ? first : value;
    text = end + strspn(end, " \t");
    if (!*text)
      return (int32_t)first;
    if (*text++ != ',')
      return -1;
  }
}

/* Every CPU the process may run on: taskset and containers count. */
static int32_t available_threads(void) {
  cpu_set_t set;
  long count = sched_getaffinity(0, sizeof set, &set) == 0
                   ? CPU_COUNT(&set)
                   : sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : count < MAX_THREADS ? (int32_t)count : MAX_THREADS;
}

/*---- Creation -------------------------------------------------------------*/

static void free_session(moe_session *session) {
  if (session->device)
    session->release_device(session->device);
  moe_arena_release(&session->arena);
  free(session->inputs);
  free(session->shapes);
  free(session->kept);
  free(session->order);
  free(session->tensors);
  free(session->cached);
  free(session->symbols);
  if (session->loads)
    free(session->loads[0]);
  free(session->loads);
  free(session);
}

/* Everything a run needs besides the arena, so that runs do not allocate. */
static bool allocate_tables(moe_session *session) {
  const moe_signature *s = &session->model->signature;
  size_t inputs = (size_t)s->num_inputs, outputs = (size_t)s->num_outputs;
  size_t values = inputs + outputs, ranks = 0, experts = 0;
  for (size_t i = 0; i < inputs; ++i)
    ranks += (size_t)s->inputs[i].rank;
  for (size_t i = 0; i < outputs; ++i)
    ranks += (size_t)s->outputs[i].rank;
  for (int32_t i = 0; i < s->num_layers; ++i)
    experts += (size_t)s->layers[i].num_experts;

  session->inputs = calloc(values + 1, sizeof *session->inputs);
  session->shapes = calloc(ranks + 1, sizeof *session->shapes);
  session->kept = calloc(inputs + 1, sizeof *session->kept);
  session->order = calloc(values + 1, sizeof *session->order);
  session->tensors = calloc(inputs + 1, sizeof *session->tensors);
  session->cached = calloc(inputs + 1, sizeof *session->cached);
  session->symbols =
      calloc((size_t)s->num_symbols + 1, sizeof *session->symbols);
  session->loads = calloc((size_t)s->num_layers + 1, sizeof *session->loads);
  if (!session->inputs || !session->shapes || !session->kept ||
      !session->order || !session->tensors || !session->cached ||
      !session->symbols || !session->loads)
    return false;
  int64_t *loads = calloc(experts + 1, sizeof *loads);
  session->loads[0] = loads;
  if (!loads)
    return false;
  for (int32_t i = 0; i < s->num_layers; ++i) {
    session->loads[i] = loads;
    loads += s->layers[i].num_experts;
  }
  session->num_loads = (int64_t)experts;

  session->outputs = session->inputs + inputs;
  int64_t *shape = session->shapes;
  for (size_t i = 0; i < values; ++i) {
    session->inputs[i].shape = shape;
    shape += i < inputs ? s->inputs[i].rank : s->outputs[i - inputs].rank;
  }
  return true;
}

moe_status moe_impl_session_create(moe_model *model, int32_t threads,
                                   moe_session **out, char *error,
                                   size_t error_size) {
  moe_message message = {error, error_size};
  if (error && error_size)
    error[0] = 0;
  if (!out)
    return moe_fail(message, MOE_ERROR_ARGUMENT,
                    "expects a place to store the session, got NULL");
  *out = NULL;
  if (threads < 0 || threads > MAX_THREADS)
    return moe_fail(message, MOE_ERROR_ARGUMENT,
                    "expects 0 to %d threads, got %" PRId32, MAX_THREADS,
                    threads);
  if (model->flags & MOE_OPEN_SIGNATURE)
    return moe_fail(message, MOE_ERROR_ARGUMENT,
                    "the model was opened for its signature only");
  int32_t wanted = threads_of_environment();
  if (wanted < 0)
    return moe_fail(message, MOE_ERROR_ARGUMENT,
                    "OMP_NUM_THREADS is '%s', expects a number from 1 to %d or "
                    "a list of them",
                    getenv("OMP_NUM_THREADS"), MAX_THREADS);
  moe_session *session = calloc(1, sizeof *session);
  if (!session)
    return moe_fail(message, MOE_ERROR_MEMORY, "out of memory");
  session->api = model->api;
  session->model = model;
  atomic_flag_clear(&session->busy);
  moe_arena_init(&session->arena);
  if (!allocate_tables(session)) {
    free_session(session);
    return moe_fail(message, MOE_ERROR_MEMORY, "out of memory");
  }
  moe_model_retain(model);
  session->context.weights = model->weights.data;
  session->context.num_threads = threads  ? threads
                                 : wanted ? wanted
                                          : available_threads();
  *out = session;
  return MOE_OK;
}

void moe_impl_session_destroy(moe_session *session) {
  moe_model *model = session->model;
  free_session(session);
  moe_model_release(model);
}

/*---- Use by one thread at a time ------------------------------------------*/

moe_message moe_session_message(moe_session *session) {
  moe_message message = {session->error, sizeof session->error};
  return message;
}

moe_status moe_session_enter(moe_session *session) {
  /* The text belongs to whoever is inside: only the status says "busy". */
  if (atomic_flag_test_and_set_explicit(&session->busy, memory_order_acquire))
    return MOE_ERROR_BUSY;
  session->error[0] = 0;
  return MOE_OK;
}

moe_status moe_session_leave(moe_session *session, moe_status status) {
  atomic_flag_clear_explicit(&session->busy, memory_order_release);
  return status;
}

moe_status moe_impl_trim(moe_session *session) {
  moe_status status = moe_session_enter(session);
  if (status != MOE_OK)
    return status;
  moe_arena_release(&session->arena);
  session->has_outputs = false;
  return moe_session_leave(session, MOE_OK);
}

/*---- Counters -------------------------------------------------------------*/

moe_status moe_impl_counters(moe_session *session, moe_counters *out) {
  moe_status status = moe_session_enter(session);
  if (status != MOE_OK)
    return status;
  moe_counters now = {
      .struct_size = sizeof now,
      .runs = session->runs,
      .failed_runs = session->failed_runs,
      .expert_rows = session->expert_rows,
      .active_experts = session->active_experts,
      .active_expert_bytes = session->active_expert_bytes,
      .arena_bytes = session->arena.reserved,
      .arena_peak_bytes = session->arena.peak,
      .arena_system_calls = session->arena.system_calls,
  };
  if (!out || out->struct_size < sizeof now.struct_size)
    return moe_session_leave(
        session, moe_fail(moe_session_message(session), MOE_ERROR_ARGUMENT,
                          "expects counters with struct_size set"));
  if (out->struct_size < sizeof now)
    now.struct_size = out->struct_size;
  memcpy(out, &now, now.struct_size);
  return moe_session_leave(session, MOE_OK);
}

moe_status moe_impl_expert_loads(moe_session *session, int32_t layer,
                                 int64_t *loads, int32_t num_experts) {
  moe_status status = moe_session_enter(session);
  if (status != MOE_OK)
    return status;
  const moe_signature *s = &session->model->signature;
  moe_message message = moe_session_message(session);
  if (layer < 0 || layer >= s->num_layers)
    status = moe_fail(message, MOE_ERROR_ARGUMENT,
                      "expects an expert layer below %" PRId32 ", got %" PRId32,
                      s->num_layers, layer);
  else if (num_experts != s->layers[layer].num_experts || !loads)
    status = moe_fail(
        message, MOE_ERROR_ARGUMENT,
        "expects room for the %" PRId32 " experts of layer '%s', got %" PRId32,
        s->layers[layer].num_experts, s->layers[layer].name, num_experts);
  else
    memcpy(loads, session->loads[layer], (size_t)num_experts * sizeof *loads);
  return moe_session_leave(session, status);
}

void moe_impl_counters_reset(moe_session *session) {
  session->runs = session->failed_runs = 0;
  session->expert_rows = session->active_experts = 0;
  session->active_expert_bytes = 0;
  session->arena.peak = session->arena.in_use;
  session->arena.system_calls = 0;
  memset(session->loads[0], 0,
         (size_t)session->num_loads * sizeof **session->loads);
}
