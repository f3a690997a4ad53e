/*===- Internal.h - Shared by the runtime's own sources -----------*- C -*-===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The handles behind moe.h and the helpers their sources share. All of it is
 * plain C11 on libc: it is linked into every compiled model.
 *===----------------------------------------------------------------------===*/
#ifndef MOE_LIB_RUNTIME_INTERNAL_H
#define MOE_LIB_RUNTIME_INTERNAL_H

/* mmap's flags, dladdr, sched_getaffinity; therefore included first. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "Arena.h"
#include "Signature.h"

#include "moe/Runtime/Context.h"
#include "moe/Runtime/Descriptor.h"
#include "moe/Runtime/moe.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*---- Model ----------------------------------------------------------------*/

typedef struct moe_weights {
  void *map; /* the whole file, NULL when there is none */
  uint64_t size;
  const void *data;
  char *path;
} moe_weights;

moe_status moe_weights_open(const char *path, uint64_t size, uint64_t hash,
                            uint32_t flags, moe_weights *weights,
                            moe_message message);
void moe_weights_close(moe_weights *weights);

/* Fails when this CPU lacks one of the comma-separated features. */
moe_status moe_cpu_check(const char *features, moe_message message);

struct moe_model {
  const moe_api *api; /* first: see moe_api_of */
  atomic_int references;
  uint32_t flags;
  moe_signature signature;
  moe_weights weights;
  /* What Cuda.c keeps, which models without kernels do not link. */
  void *device;
  void (*release_device)(void *device);
};

void moe_model_retain(moe_model *model);
void moe_model_release(moe_model *model);

/*---- Session --------------------------------------------------------------*/

#define MOE_ERROR_TEXT_SIZE 1024

/* An input or output of the current run. */
typedef struct moe_slot {
  void *data;
  int64_t *shape; /* rank sizes, allocated with the session */
  int64_t bytes;
  bool set;
} moe_slot;

/* What the current run's inputs say about a symbolic dimension. */
typedef struct moe_symbol {
  int64_t size; /* -1: nothing so far */
  int32_t input, dim;
} moe_symbol;

struct moe_session {
  const moe_api *api; /* first: see moe_api_of */
  moe_model *model;
  atomic_flag busy;
  moe_context context;
  moe_arena arena;
  moe_slot *inputs;
  moe_slot *outputs; /* behind inputs, in the same allocation */
  int64_t *shapes;   /* backs the slots' shapes */
  moe_symbol *symbols;
  bool has_outputs;

  /* Scratch of one call. */
  const void **kept;   /* per input */
  moe_tensor *tensors; /* per input */
  bool *cached;        /* per input */
  int32_t *order;      /* per input or output */

  jmp_buf leave;            /* out of moe_compiled_main */
  atomic_int error_claimed; /* 1: a thread may write run_status and error */
  moe_status run_status;
  char error[MOE_ERROR_TEXT_SIZE];

  int64_t runs, failed_runs;
  int64_t expert_rows, active_experts, active_expert_bytes;
  int64_t **loads; /* per layer, per expert; one block from loads[0] */
  int64_t num_loads;

  moe_profile_fn profile;
  void *profile_user;

  void *device; /* see moe_model */
  void (*release_device)(void *device);
};

moe_session *moe_session_of(moe_context *ctx);
/* [serial] Records an error, unless there is one, and leaves main. */
_Noreturn void moe_session_abort(moe_context *ctx, moe_status status,
                                 const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Entering fails when the session is in use, and clears its error. */
moe_status moe_session_enter(moe_session *session);
moe_status moe_session_leave(moe_session *session, moe_status status);
moe_message moe_session_message(moe_session *session);

/* The parts of a run. Counts are what the caller passed; a tensor is checked
 * against the signature alone, symbols across inputs; binding copies what
 * compiled code cannot take in place. */
moe_status moe_check_counts(moe_session *session, const moe_tensor *inputs,
                            int32_t num_inputs, const moe_tensor *outputs,
                            int32_t num_outputs);
moe_status moe_check_input(const moe_model *model, int32_t index,
                           const moe_tensor *tensor, moe_message message);
moe_status moe_check_symbols(moe_session *session, const moe_tensor *inputs);
moe_status moe_bind_inputs(moe_session *session, const moe_tensor *inputs);

/* A whole run. `index` maps the i-th of `outputs` to an output of the model,
 * NULL for the identity. `adopt`, when not NULL, is called once the results
 * are there and the caller's buffers known to hold them, and may still fail
 * the run. */
typedef moe_status (*moe_adopt_fn)(moe_session *session, void *user);
moe_status moe_session_execute(moe_session *session, const moe_tensor *inputs,
                               moe_tensor *outputs, int32_t num_outputs,
                               const int32_t *index, moe_adopt_fn adopt,
                               void *user);

/*---- Entry points of the table, by file -----------------------------------*/

moe_status moe_impl_session_create(moe_model *, int32_t, moe_session **, char *,
                                   size_t);
void moe_impl_session_destroy(moe_session *);
moe_status moe_impl_run(moe_session *, const moe_tensor *, int32_t,
                        moe_tensor *, int32_t);
moe_status moe_impl_run_named(moe_session *, const char *const *,
                              const moe_tensor *, int32_t, const char *const *,
                              moe_tensor *, int32_t);
moe_status moe_impl_output(moe_session *, int32_t, moe_tensor *);
moe_status moe_impl_trim(moe_session *);
moe_status moe_impl_counters(moe_session *, moe_counters *);
moe_status moe_impl_expert_loads(moe_session *, int32_t, int64_t *, int32_t);
void moe_impl_counters_reset(moe_session *);

moe_status moe_impl_cache_create(moe_model *, int64_t, moe_cache **, char *,
                                 size_t);
void moe_impl_cache_destroy(moe_cache *);
int64_t moe_impl_cache_capacity(const moe_cache *);
int64_t moe_impl_cache_length(const moe_cache *);
moe_status moe_impl_cache_truncate(moe_cache *, int64_t);
moe_status moe_impl_cache_tensor(moe_cache *, int32_t, moe_tensor *);
moe_status moe_impl_run_with_cache(moe_session *, moe_cache *,
                                   const moe_tensor *, int32_t, moe_tensor *,
                                   int32_t);

#endif /* MOE_LIB_RUNTIME_INTERNAL_H */
