/*===- Run.c - Runs a model; what compiled code calls ----------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * An error inside compiled code is recorded once and leaves main by longjmp
 * from a serial point: nothing there needs unwinding, since all its memory is
 * the arena's. Inside a parallel region, where nothing may jump, the first
 * thread to claim the error slot fills it, and the region's end leaves.
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

moe_session *moe_session_of(moe_context *ctx) {
  return (moe_session *)((char *)ctx - offsetof(moe_session, context));
}

/*---- Errors of compiled code ----------------------------------------------*/

/* Claims the error slot; true for one thread per run. */
static bool claim(moe_session *session) {
  int expected = 0;
  return atomic_compare_exchange_strong(&session->error_claimed, &expected, 1);
}

static void publish(moe_session *session, moe_status status) {
  session->run_status = status;
  __atomic_store_n(&session->context.failed, 1, __ATOMIC_RELEASE);
}

static _Noreturn void leave(moe_session *session) {
  _longjmp(session->leave, 1);
}

/* Appends `message` with {found}, {found+} and {limit} replaced. */
static void expand(char *text, size_t size, const char *message, int64_t found,
                   int64_t limit) {
  size_t used = strlen(text);
  while (*message && used + 1 < size) {
    int64_t value = 0;
    size_t skip = 0;
    bool open = false;
    if (strncmp(message, "{found}", 7) == 0) {
      value = found;
      skip = 7;
    } else if (strncmp(message, "{found+}", 8) == 0) {
      value = found;
      skip = 8;
      open = value == INT64_MAX;
    } else if (strncmp(message, "{limit}", 7) == 0) {
      value = limit;
      skip = 7;
    }
    if (skip) {
      int written = snprintf(text + used, size - used, "%s%" PRId64,
                             open ? "at least " : "", value);
      used += written > 0 ? (size_t)written : 0;
      message += skip;
    } else {
      text[used++] = *message++;
      text[used] = 0;
    }
  }
}

static void describe_site(moe_session *session, int32_t index, int64_t found,
                          int64_t limit) {
  const moe_signature *s = &session->model->signature;
  moe_message message = moe_session_message(session);
  if (index < 0 || index >= s->num_sites) {
    moe_fail(message, MOE_ERROR_NODE,
             "check %" PRId32 " failed: found %" PRId64 ", limit %" PRId64,
             index, found, limit);
    return;
  }
  const moe_site *site = &s->sites[index];
  if (site->node[0] && site->op[0])
    moe_fail(message, MOE_ERROR_NODE, "node '%s' (%s): ", site->node, site->op);
  else if (site->node[0])
    moe_fail(message, MOE_ERROR_NODE, "node '%s': ", site->node);
  else if (site->op[0])
    moe_fail(message, MOE_ERROR_NODE, "%s: ", site->op);
  expand(message.text, message.size, site->message, found, limit);
}

void moe_rt_record(moe_context *ctx, int32_t site, int64_t found,
                   int64_t limit) {
  moe_session *session = moe_session_of(ctx);
  if (!claim(session))
    return;
  describe_site(session, site, found, limit);
  publish(session, MOE_ERROR_NODE);
}

void moe_session_abort(moe_context *ctx, moe_status status, const char *format,
                       ...) {
  moe_session *session = moe_session_of(ctx);
  if (claim(session)) {
    va_list args;
    va_start(args, format);
    vsnprintf(session->error, sizeof session->error, format, args);
    va_end(args);
    publish(session, status);
  }
  leave(session);
}

void moe_rt_rethrow(moe_context *ctx) {
  if (__atomic_load_n(&ctx->failed, __ATOMIC_ACQUIRE))
    leave(moe_session_of(ctx));
}

void moe_rt_check(moe_context *ctx, uint8_t ok, int32_t site, int64_t found,
                  int64_t limit) {
  if (ok & 1)
    return;
  moe_rt_record(ctx, site, found, limit);
  leave(moe_session_of(ctx));
}

/*---- Memory, inputs and outputs -------------------------------------------*/

void *moe_rt_alloc(moe_context *ctx, int64_t bytes) {
  moe_session *session = moe_session_of(ctx);
  void *data = moe_arena_alloc(&session->arena, bytes);
  if (data)
    return data;
  /* Sizes that wrapped before anything was multiplied can be negative. */
  if (bytes < 0)
    bytes = INT64_MAX;
  if (claim(session)) {
    moe_fail(moe_session_message(session), MOE_ERROR_MEMORY,
             "out of memory: the model needs %s %" PRId64
             " bytes besides %" PRId64,
             bytes == INT64_MAX ? "at least" : "another", bytes,
             session->arena.in_use);
    publish(session, MOE_ERROR_MEMORY);
  }
  leave(session);
}

void moe_rt_free(moe_context *ctx, void *data) {
  moe_arena_free(&moe_session_of(ctx)->arena, data);
}

void *moe_rt_input_data(moe_context *ctx, int32_t input) {
  return moe_session_of(ctx)->inputs[input].data;
}

int64_t moe_rt_input_dim(moe_context *ctx, int32_t input, int32_t dim) {
  return moe_session_of(ctx)->inputs[input].shape[dim];
}

void moe_rt_set_output(moe_context *ctx, int32_t output, void *data,
                       int32_t rank, const int64_t *shape) {
  moe_session *session = moe_session_of(ctx);
  const moe_signature *s = &session->model->signature;
  bool fits =
      output >= 0 && output < s->num_outputs && s->outputs[output].rank == rank;
  for (int32_t i = 0; fits && i < rank; ++i)
    fits = shape[i] >= 0 && (s->outputs[output].dims[i] < 0 ||
                             s->outputs[output].dims[i] == shape[i]);
  int64_t elements, bytes;
  fits = fits &&
         moe_shape_bytes(rank, shape, moe_dtype_bytes(s->outputs[output].dtype),
                         &elements, &bytes) &&
         (data || !elements);
  if (!fits) {
    if (claim(session)) {
      moe_fail(moe_session_message(session), MOE_ERROR_MODEL,
               "the compiled code gave output %" PRId32
               " a shape that contradicts the signature",
               output);
      publish(session, MOE_ERROR_MODEL);
    }
    leave(session);
  }
  moe_slot *slot = &session->outputs[output];
  slot->data = data;
  slot->bytes = bytes;
  slot->set = true;
  if (rank)
    memcpy(slot->shape, shape, (size_t)rank * sizeof *shape);
}

/*---- Counters and profiling -----------------------------------------------*/

void moe_rt_count_experts(moe_context *ctx, int32_t layer,
                          const int64_t *offsets, int64_t experts) {
  moe_session *session = moe_session_of(ctx);
  const moe_signature *s = &session->model->signature;
  if (layer < 0 || layer >= s->num_layers ||
      experts != s->layers[layer].num_experts)
    return;
  int64_t active = 0;
  for (int64_t e = 0; e < experts; ++e) {
    int64_t rows = offsets[e + 1] - offsets[e];
    session->loads[layer][e] += rows;
    active += rows > 0;
  }
  session->expert_rows += offsets[experts] - offsets[0];
  session->active_experts += active;
  session->active_expert_bytes += active * s->layers[layer].bytes_per_expert;
}

void moe_rt_profile(moe_context *ctx, int32_t region, int32_t begin) {
  moe_session *session = moe_session_of(ctx);
  if (session->profile)
    session->profile(session->profile_user, region, begin);
}

/*---- A run ----------------------------------------------------------------*/

/* Calls main and returns how it ended. Alone in a function: no local variable
 * of a function with setjmp survives a longjmp for certain. */
static moe_status call_main(moe_session *session) {
  atomic_store(&session->error_claimed, 0);
  session->context.failed = 0;
  session->run_status = MOE_OK;
  if (_setjmp(session->leave) == 0)
    moe_compiled_main(&session->context);
  return session->run_status;
}

static int32_t output_of(const int32_t *index, int32_t i) {
  return index ? index[i] : i;
}

static void describe_output(const moe_session *session, int32_t index,
                            moe_tensor *tensor) {
  const moe_value_info *info = &session->model->signature.outputs[index];
  tensor->dtype = info->dtype;
  tensor->rank = info->rank;
  tensor->shape = session->outputs[index].shape;
  tensor->strides = NULL;
}

/* Describes the results and checks whether the caller's buffers hold them. */
static moe_status describe_outputs(moe_session *session, moe_tensor *outputs,
                                   int32_t count, const int32_t *index) {
  const moe_signature *s = &session->model->signature;
  moe_status status = MOE_OK;
  for (int32_t i = 0; i < count; ++i) {
    int32_t o = output_of(index, i);
    int64_t need = session->outputs[o].bytes;
    describe_output(session, o, &outputs[i]);
    bool fits = outputs[i].capacity <= 0 ||
                (outputs[i].capacity >= need && (outputs[i].data || !need));
    if (!fits && status == MOE_OK)
      status = moe_fail(
          moe_session_message(session), MOE_ERROR_BUFFER_SIZE,
          "output '%s' needs a buffer of %" PRId64 " bytes, got %" PRId64,
          s->outputs[o].name, need, outputs[i].data ? outputs[i].capacity : 0);
  }
  return status;
}

/* Buffers may overlap inputs that outputs are views of, hence memmove. */
static void deliver(const moe_session *session, moe_tensor *outputs,
                    int32_t count, const int32_t *index) {
  for (int32_t i = 0; i < count; ++i) {
    const moe_slot *slot = &session->outputs[output_of(index, i)];
    if (outputs[i].capacity <= 0)
      outputs[i].data = slot->data;
    else if (slot->bytes)
      memmove(outputs[i].data, slot->data, (size_t)slot->bytes);
  }
}

static moe_status execute(moe_session *session, const moe_tensor *inputs,
                          moe_tensor *outputs, int32_t num_outputs,
                          const int32_t *index, moe_adopt_fn adopt,
                          void *user) {
  const moe_signature *s = &session->model->signature;
  for (int32_t i = 0; i < s->num_inputs; ++i) {
    moe_status status = moe_check_input(session->model, i, &inputs[i],
                                        moe_session_message(session));
    if (status != MOE_OK)
      return status;
  }
  moe_status status = moe_check_symbols(session, inputs);
  if (status != MOE_OK)
    return status;

  session->has_outputs = false;
  for (int32_t i = 0; i < s->num_outputs; ++i)
    session->outputs[i].set = false;
  status = moe_bind_inputs(session, inputs);
  if (status == MOE_OK)
    status = call_main(session);
  for (int32_t i = 0; status == MOE_OK && i < s->num_outputs; ++i)
    if (!session->outputs[i].set)
      status = moe_fail(moe_session_message(session), MOE_ERROR_MODEL,
                        "the compiled code did not set output '%s'",
                        s->outputs[i].name);
  if (status != MOE_OK)
    return status;
  session->has_outputs = true;
  status = describe_outputs(session, outputs, num_outputs, index);
  if (status == MOE_OK && adopt) {
    status = adopt(session, user);
    session->has_outputs = status == MOE_OK;
  }
  if (status == MOE_OK)
    deliver(session, outputs, num_outputs, index);
  return status;
}

moe_status moe_session_execute(moe_session *session, const moe_tensor *inputs,
                               moe_tensor *outputs, int32_t num_outputs,
                               const int32_t *index, moe_adopt_fn adopt,
                               void *user) {
  moe_status status =
      execute(session, inputs, outputs, num_outputs, index, adopt, user);
  ++*(status == MOE_OK ? &session->runs : &session->failed_runs);
  return status;
}

moe_status moe_check_counts(moe_session *session, const moe_tensor *inputs,
                            int32_t num_inputs, const moe_tensor *outputs,
                            int32_t num_outputs) {
  const moe_signature *s = &session->model->signature;
  moe_message message = moe_session_message(session);
  if (num_inputs != s->num_inputs || (num_inputs && !inputs))
    return moe_fail(message, MOE_ERROR_ARGUMENT,
                    "expects %" PRId32 " inputs, got %" PRId32, s->num_inputs,
                    inputs ? num_inputs : 0);
  if ((num_outputs != s->num_outputs && num_outputs != 0) ||
      (num_outputs && !outputs))
    return moe_fail(message, MOE_ERROR_ARGUMENT,
                    "expects %" PRId32 " outputs or none, got %" PRId32,
                    s->num_outputs, outputs ? num_outputs : 0);
  return MOE_OK;
}

moe_status moe_impl_run(moe_session *session, const moe_tensor *inputs,
                        int32_t num_inputs, moe_tensor *outputs,
                        int32_t num_outputs) {
  moe_status status = moe_session_enter(session);
  if (status != MOE_OK)
    return status;
  status = moe_check_counts(session, inputs, num_inputs, outputs, num_outputs);
  if (status == MOE_OK)
    status = moe_session_execute(session, inputs, outputs, num_outputs, NULL,
                                 NULL, NULL);
  return moe_session_leave(session, status);
}

/*---- Runs by name ---------------------------------------------------------*/

/* "unknown input 'x', expects one of: a, b, c" */
static moe_status unknown_name(moe_session *session, const char *kind,
                               const char *name, const moe_value_info *values,
                               int32_t count) {
  char list[512];
  size_t used = 0;
  list[0] = 0;
  for (int32_t i = 0; i < count && used < sizeof list; ++i) {
    int written = snprintf(list + used, sizeof list - used, "%s%s",
                           i ? ", " : "", values[i].name);
    used += written > 0 ? (size_t)written : 0;
  }
  return moe_fail(moe_session_message(session), MOE_ERROR_ARGUMENT,
                  "unknown %s '%s', expects one of: %s", kind, name ? name : "",
                  list);
}

/* Brings the tensors into signature order. */
static moe_status order_inputs(moe_session *session, const char *const *names,
                               const moe_tensor *inputs, int32_t count) {
  const moe_signature *s = &session->model->signature;
  moe_message message = moe_session_message(session);
  for (int32_t i = 0; i < s->num_inputs; ++i)
    session->order[i] = -1;
  for (int32_t i = 0; i < count; ++i) {
    int32_t found = session->api->find_input(session->model, names[i]);
    if (found < 0)
      return unknown_name(session, "input", names[i], s->inputs, s->num_inputs);
    if (session->order[found] >= 0)
      return moe_fail(message, MOE_ERROR_ARGUMENT, "input '%s' is given twice",
                      names[i]);
    session->order[found] = i;
    session->tensors[found] = inputs[i];
  }
  for (int32_t i = 0; i < s->num_inputs; ++i)
    if (session->order[i] < 0)
      return moe_fail(message, MOE_ERROR_ARGUMENT, "input '%s' is missing",
                      s->inputs[i].name);
  return MOE_OK;
}

static moe_status order_outputs(moe_session *session, const char *const *names,
                                int32_t count) {
  const moe_signature *s = &session->model->signature;
  if (count > s->num_outputs)
    return moe_fail(moe_session_message(session), MOE_ERROR_ARGUMENT,
                    "expects at most %" PRId32 " outputs, got %" PRId32,
                    s->num_outputs, count);
  for (int32_t i = 0; i < count; ++i) {
    session->order[i] = session->api->find_output(session->model, names[i]);
    if (session->order[i] < 0)
      return unknown_name(session, "output", names[i], s->outputs,
                          s->num_outputs);
  }
  return MOE_OK;
}

moe_status moe_impl_run_named(moe_session *session,
                              const char *const *input_names,
                              const moe_tensor *inputs, int32_t num_inputs,
                              const char *const *output_names,
                              moe_tensor *outputs, int32_t num_outputs) {
  moe_status status = moe_session_enter(session);
  if (status != MOE_OK)
    return status;
  if ((num_inputs && (!input_names || !inputs)) ||
      (num_outputs && (!output_names || !outputs)) || num_inputs < 0 ||
      num_outputs < 0)
    status = moe_fail(moe_session_message(session), MOE_ERROR_ARGUMENT,
                      "expects names and tensors, got NULL");
  if (status == MOE_OK)
    status = order_inputs(session, input_names, inputs, num_inputs);
  if (status == MOE_OK)
    status = order_outputs(session, output_names, num_outputs);
  if (status == MOE_OK)
    status = moe_session_execute(session, session->tensors, outputs,
                                 num_outputs, session->order, NULL, NULL);
  return moe_session_leave(session, status);
}

moe_status moe_impl_output(moe_session *session, int32_t index,
                           moe_tensor *tensor) {
  moe_status status = moe_session_enter(session);
  if (status != MOE_OK)
    return status;
  const moe_signature *s = &session->model->signature;
  moe_message message = moe_session_message(session);
  if (!session->has_outputs)
    status = moe_fail(message, MOE_ERROR_ARGUMENT,
                      "there is no output: the session's last run failed or "
                      "there was none");
  else if (index < 0 || index >= s->num_outputs || !tensor)
    status = moe_fail(message, MOE_ERROR_ARGUMENT,
                      "expects an output below %" PRId32 ", got %" PRId32,
                      s->num_outputs, index);
  else {
    describe_output(session, index, tensor);
    tensor->data = session->outputs[index].data;
    tensor->capacity = 0;
  }
  return moe_session_leave(session, status);
}
