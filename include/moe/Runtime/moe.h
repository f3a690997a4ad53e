/*===- moe.h - C ABI of compiled MoE-MLIR models ------------------*- C -*-===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * This one header is all a program needs to use a compiled model; the
 * `model.h` that the compiler writes beside `model.so` contains it verbatim,
 * followed by the model's own entry point and shapes.
 *
 * Entry point
 *   A compiled model exports exactly two functions of the same type:
 *
 *     const moe_api *moe_get_api(uint32_t abi_version);      // to be dlsym'ed
 *     const moe_api *<model>_get_api(uint32_t abi_version);  // to be linked
 *
 *   Everything else is reached through the table of functions it returns.
 *   Two models can therefore live in one process however they got there:
 *   dlopen'ed libraries each answer dlsym(handle, "moe_get_api"), linked ones
 *   have distinct names, and nothing else is exported that could clash. The
 *   inline functions below are the convenient way to call: each handle starts
 *   with a pointer to its own model's table, so moe_run(session, ...) reaches
 *   the right model without the caller carrying the table along.
 *
 *     const moe_api *api = mixtral_get_api(MOE_ABI_VERSION);
 *     char error[512];
 *     moe_model *model;
 *     if (moe_open(api, NULL, 0, &model, error, sizeof error) != MOE_OK) ...
 *     moe_session *session;
 *     moe_session_create(model, 0, &session, error, sizeof error);
 *     int64_t shape[2] = {1, 5};
 *     moe_tensor in = {ids, MOE_I64, 2, shape, NULL, 0}, out = {0};
 *     if (moe_run(session, &in, 1, &out, 1) != MOE_OK)
 *       puts(moe_session_error(session));
 *
 * Versions
 *   moe_get_api(v) returns a table that serves callers written against version
 *   v, or NULL when the model is older than v. Later versions only append:
 *   functions to moe_api, fields to structures that are returned by pointer,
 *   status codes, dtypes. Structures that the caller allocates never grow.
 *
 * Ownership
 *   Models, sessions and caches are released by the caller with the matching
 *   close/destroy function, in any order (a model stays mapped until its last
 *   session and cache are gone). Strings and info structures belong to the
 *   model and live until it is closed. Output data and shapes belong to the
 *   session and live until its next run, trim or destroy.
 *
 * Threads
 *   There is no global state. A model may be used from any number of threads.
 *   A session, and a cache, may be used by one thread at a time (another
 *   thread's run of a busy session fails with MOE_ERROR_BUSY); different
 *   sessions of one model may run at the same time.
 *
 * Errors
 *   Functions that can fail return a moe_status. The text belonging to a
 *   failure lies in the caller's error buffer (open and the create functions;
 *   always terminated, may be NULL) or in moe_session_error(). Nothing
 *   aborts, exits or throws. After a failed run a session is usable again.
 *
 * This header is C99/C11 and C++ and includes only standard C headers.
 *===----------------------------------------------------------------------===*/
#ifndef MOE_RUNTIME_MOE_H
#define MOE_RUNTIME_MOE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header; what a caller passes to moe_get_api. */
#define MOE_ABI_VERSION 1u

/* Status codes. Each failure comes with a text, except for MOE_ERROR_BUSY (the
 * text belongs to the thread inside) and for functions on caches. */
typedef int32_t moe_status;
enum {
  MOE_OK = 0,
  MOE_ERROR_ARGUMENT = 1,    /* the call itself: NULL handle, bad index, bad
                                count, unknown name */
  MOE_ERROR_INPUT = 2,       /* an input's dtype, rank or shape */
  MOE_ERROR_MEMORY = 3,      /* out of memory */
  MOE_ERROR_IO = 4,          /* the weight file cannot be opened or mapped */
  MOE_ERROR_WEIGHTS = 5,     /* the weight file is not this model's */
  MOE_ERROR_MODEL = 6,       /* the model itself is damaged */
  MOE_ERROR_NODE = 7,        /* a node of the model failed on these inputs */
  MOE_ERROR_BUFFER_SIZE = 8, /* a caller-provided output buffer is too small */
  MOE_ERROR_CACHE_CAPACITY =
      9,                     /* a run needs more positions than a cache has */
  MOE_ERROR_BUSY = 10,       /* the session or cache is in use */
  MOE_ERROR_UNSUPPORTED = 11 /* the CPU lacks what the code was compiled for,
                                or the model lacks what was asked for */
};

/* Element types. Values are stored little-endian; a bool is one byte, 0 or 1
 * (any other non-zero byte in an input is read as 1). */
typedef int32_t moe_dtype;
enum {
  MOE_F32 = 1,
  MOE_F16 = 2,
  MOE_BF16 = 3,
  MOE_F64 = 4,
  MOE_I8 = 5,
  MOE_I16 = 6,
  MOE_I32 = 7,
  MOE_I64 = 8,
  MOE_U8 = 9,
  MOE_U16 = 10,
  MOE_U32 = 11,
  MOE_U64 = 12,
  MOE_BOOL = 13
};

/* A tensor in the caller's or the session's memory, in the style of DLPack.
 *
 * As an input: `data` holds the elements (may be NULL only when there are
 * none), `shape` has `rank` sizes >= 0, `strides` has `rank` steps counted in
 * elements (any sign, 0 to broadcast) or is NULL for contiguous row-major.
 * Contiguous, element-aligned inputs are used in place and must not change
 * during the run; others are copied. `capacity` is ignored.
 *
 * As an output, before the run: `capacity` 0 asks for a result in the session's
 * memory, whatever the other fields hold, so that {0} and the tensors of an
 * earlier run both do; `capacity` > 0 says that `data` is the caller's buffer
 * of that many bytes, and the result is written there, contiguous.
 * After a successful run `data` points to the result, and `dtype`, `rank`,
 * `shape` (the session's) and `strides` (NULL) describe it; `capacity` is left
 * alone. After MOE_ERROR_BUFFER_SIZE the same fields, except for `data`,
 * describe the result, so that moe_tensor_bytes tells the capacity needed. */
typedef struct moe_tensor {
  void *data;
  moe_dtype dtype;
  int32_t rank;
  const int64_t *shape;
  const int64_t *strides;
  int64_t capacity;
} moe_tensor;

/* The size of an element in bytes, 0 for a value that is no dtype. */
static inline int64_t moe_dtype_bytes(moe_dtype dtype) {
  switch (dtype) {
  case MOE_F64:
  case MOE_I64:
  case MOE_U64:
    return 8;
  case MOE_F32:
  case MOE_I32:
  case MOE_U32:
    return 4;
  case MOE_F16:
  case MOE_BF16:
  case MOE_I16:
  case MOE_U16:
    return 2;
  case MOE_I8:
  case MOE_U8:
  case MOE_BOOL:
    return 1;
  default:
    return 0;
  }
}

/* The number of elements, and their size in bytes when contiguous. */
static inline int64_t moe_tensor_elements(const moe_tensor *tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor->rank; ++i)
    count *= tensor->shape[i];
  return count;
}
static inline int64_t moe_tensor_bytes(const moe_tensor *tensor) {
  return moe_tensor_elements(tensor) * moe_dtype_bytes(tensor->dtype);
}

/* One input or output of the signature. `dims[i]` is the size of a static
 * dimension, -1 for one that is given by each run; `dim_names[i]` is then the
 * symbolic name ("batch") or "". Inputs must give equal names equal sizes in a
 * run; an output's names are those that the model declares. */
typedef struct moe_value_info {
  const char *name;
  moe_dtype dtype;
  int32_t rank;
  const int64_t *dims;
  const char *const *dim_names;
} moe_value_info;

/* One sparse layer, in the order of execution. `bytes_per_expert` is the size
 * of one expert's weights in the weight file, 0 when the compiler did not say.
 */
typedef struct moe_expert_layer_info {
  const char *name;
  int32_t num_experts;
  int32_t top_k; /* 0 when it varies per token */
  int64_t bytes_per_expert;
} moe_expert_layer_info;

/* A pair of a past input and a present output that a cache carries from run to
 * run; the number of positions is dimension `axis` of both. */
typedef struct moe_cache_binding_info {
  int32_t input;
  int32_t output;
  int32_t axis;
} moe_cache_binding_info;

/* What a session did since its creation or moe_counters_reset. The caller
 * sets `struct_size` to sizeof(moe_counters); only that much is written. */
typedef struct moe_counters {
  uint64_t struct_size;
  int64_t runs;                /* successful runs */
  int64_t failed_runs;         /* runs that returned an error */
  int64_t expert_rows;         /* rows routed to experts, all layers */
  int64_t active_experts;      /* experts that got rows, summed over layers and
                                  executions */
  int64_t active_expert_bytes; /* weight bytes of those experts */
  int64_t arena_bytes;         /* session memory reserved now */
  int64_t arena_peak_bytes;    /* most session memory in use at once */
  int64_t arena_system_calls;  /* times memory was taken from the system */
} moe_counters;

typedef struct moe_api moe_api;
typedef struct moe_model moe_model;
typedef struct moe_session moe_session;
typedef struct moe_cache moe_cache;

/* Called when a run enters (begin != 0) and leaves a profiled region; `region`
 * indexes moe_region_name. Called on the thread that runs the session. */
typedef void (*moe_profile_fn)(void *user, int32_t region, int32_t begin);

/* Flags of moe_open. */
enum {
  MOE_OPEN_VERIFY = 1u,    /* read the whole weight file and check its hashes;
                              without it only the header and sizes are checked */
  MOE_OPEN_SIGNATURE = 2u, /* the model can be asked about but has no sessions;
                              its weight file is opened to verify it only */
  MOE_OPEN_PREFETCH = 4u   /* ask the system to read the weights ahead */
};

/* The table behind the inline functions; see those for documentation. New
 * functions are appended, `struct_size` says how many bytes there are. */
struct moe_api {
  uint32_t abi_version;
  uint32_t struct_size;

  const char *(*status_string)(moe_status status);
  moe_status (*open)(const char *weights_path, uint32_t flags,
                     moe_model **model, char *error, size_t error_size);
  void (*close)(moe_model *model);

  const char *(*model_name)(const moe_model *model);
  int32_t (*num_inputs)(const moe_model *model);
  int32_t (*num_outputs)(const moe_model *model);
  const moe_value_info *(*input_info)(const moe_model *model, int32_t index);
  const moe_value_info *(*output_info)(const moe_model *model, int32_t index);
  int32_t (*find_input)(const moe_model *model, const char *name);
  int32_t (*find_output)(const moe_model *model, const char *name);
  int32_t (*num_metadata)(const moe_model *model);
  const char *(*metadata_key)(const moe_model *model, int32_t index);
  const char *(*metadata_value)(const moe_model *model, int32_t index);
  int32_t (*num_expert_layers)(const moe_model *model);
  const moe_expert_layer_info *(*expert_layer_info)(const moe_model *model,
                                                    int32_t layer);
  int32_t (*num_regions)(const moe_model *model);
  const char *(*region_name)(const moe_model *model, int32_t region);
  int32_t (*num_cache_bindings)(const moe_model *model);
  const moe_cache_binding_info *(*cache_binding_info)(const moe_model *model,
                                                      int32_t index);
  const char *(*weights_path)(const moe_model *model);
  int64_t (*weights_bytes)(const moe_model *model);

  moe_status (*session_create)(moe_model *model, int32_t threads,
                               moe_session **session, char *error,
                               size_t error_size);
  void (*session_destroy)(moe_session *session);
  int32_t (*session_threads)(const moe_session *session);
  const char *(*session_error)(const moe_session *session);
  moe_status (*run)(moe_session *session, const moe_tensor *inputs,
                    int32_t num_inputs, moe_tensor *outputs,
                    int32_t num_outputs);
  moe_status (*run_named)(moe_session *session, const char *const *input_names,
                          const moe_tensor *inputs, int32_t num_inputs,
                          const char *const *output_names, moe_tensor *outputs,
                          int32_t num_outputs);
  moe_status (*run_with_cache)(moe_session *session, moe_cache *cache,
                               const moe_tensor *inputs, int32_t num_inputs,
                               moe_tensor *outputs, int32_t num_outputs);
  moe_status (*output)(moe_session *session, int32_t index, moe_tensor *tensor);
  moe_status (*trim)(moe_session *session);

  moe_status (*counters)(moe_session *session, moe_counters *counters);
  moe_status (*expert_loads)(moe_session *session, int32_t layer,
                             int64_t *loads, int32_t num_experts);
  void (*counters_reset)(moe_session *session);
  void (*set_profile)(moe_session *session, moe_profile_fn callback,
                      void *user);

  moe_status (*cache_create)(moe_model *model, int64_t capacity,
                             moe_cache **cache, char *error, size_t error_size);
  void (*cache_destroy)(moe_cache *cache);
  int64_t (*cache_capacity)(const moe_cache *cache);
  int64_t (*cache_length)(const moe_cache *cache);
  moe_status (*cache_truncate)(moe_cache *cache, int64_t length);
  moe_status (*cache_tensor)(moe_cache *cache, int32_t binding,
                             moe_tensor *tensor);
};

/* The type of moe_get_api and of <model>_get_api. */
typedef const moe_api *(*moe_get_api_fn)(uint32_t abi_version);

/* Every handle starts with its model's table; see "Entry point". */
static inline const moe_api *moe_api_of(const void *handle) {
  return *(const moe_api *const *)handle;
}

/*---- Models ---------------------------------------------------------------*/

/* A short English text for a status code ("invalid input"). */
static inline const char *moe_status_string(const moe_api *api,
                                            moe_status status) {
  return api->status_string(status);
}

/* Opens the model and maps its weights read-only. `weights_path` NULL means
 * the file beside the model's library (or executable), with the suffix .so
 * replaced by .weights. The file is refused unless its format version, size
 * and hash are those recorded in the model. `flags` are MOE_OPEN_*. */
static inline moe_status moe_open(const moe_api *api, const char *weights_path,
                                  uint32_t flags, moe_model **model,
                                  char *error, size_t error_size) {
  return api->open(weights_path, flags, model, error, error_size);
}

/* Releases the caller's hold on the model. NULL is allowed. */
static inline void moe_close(moe_model *model) {
  if (model)
    moe_api_of(model)->close(model);
}

/* The name the model was compiled under. */
static inline const char *moe_model_name(const moe_model *model) {
  return moe_api_of(model)->model_name(model);
}
static inline int32_t moe_num_inputs(const moe_model *model) {
  return moe_api_of(model)->num_inputs(model);
}
static inline int32_t moe_num_outputs(const moe_model *model) {
  return moe_api_of(model)->num_outputs(model);
}

/* The signature of one input or output; NULL when the index is out of range. */
static inline const moe_value_info *moe_input_info(const moe_model *model,
                                                   int32_t index) {
  return moe_api_of(model)->input_info(model, index);
}
static inline const moe_value_info *moe_output_info(const moe_model *model,
                                                    int32_t index) {
  return moe_api_of(model)->output_info(model, index);
}

/* The index of a named input or output, -1 when there is none. */
static inline int32_t moe_find_input(const moe_model *model, const char *name) {
  return moe_api_of(model)->find_input(model, name);
}
static inline int32_t moe_find_output(const moe_model *model,
                                      const char *name) {
  return moe_api_of(model)->find_output(model, name);
}

/* Free-form key/value pairs the compiler recorded (target, producer, ...);
 * NULL when the index is out of range. */
static inline int32_t moe_num_metadata(const moe_model *model) {
  return moe_api_of(model)->num_metadata(model);
}
static inline const char *moe_metadata_key(const moe_model *model,
                                           int32_t index) {
  return moe_api_of(model)->metadata_key(model, index);
}
static inline const char *moe_metadata_value(const moe_model *model,
                                             int32_t index) {
  return moe_api_of(model)->metadata_value(model, index);
}

/* The sparse layers; NULL when the index is out of range. */
static inline int32_t moe_num_expert_layers(const moe_model *model) {
  return moe_api_of(model)->num_expert_layers(model);
}
static inline const moe_expert_layer_info *
moe_get_expert_layer_info(const moe_model *model, int32_t layer) {
  return moe_api_of(model)->expert_layer_info(model, layer);
}

/* The regions a profile callback is told about; NULL when out of range. */
static inline int32_t moe_num_regions(const moe_model *model) {
  return moe_api_of(model)->num_regions(model);
}
static inline const char *moe_region_name(const moe_model *model,
                                          int32_t region) {
  return moe_api_of(model)->region_name(model, region);
}

/* The past/present pairs a cache carries; none means that the model has no
 * cache. NULL when the index is out of range. */
static inline int32_t moe_num_cache_bindings(const moe_model *model) {
  return moe_api_of(model)->num_cache_bindings(model);
}
static inline const moe_cache_binding_info *
moe_get_cache_binding_info(const moe_model *model, int32_t index) {
  return moe_api_of(model)->cache_binding_info(model, index);
}

/* The weight file that was opened ("" when there is none) and its size. */
static inline const char *moe_weights_path(const moe_model *model) {
  return moe_api_of(model)->weights_path(model);
}
static inline int64_t moe_weights_bytes(const moe_model *model) {
  return moe_api_of(model)->weights_bytes(model);
}

/*---- Sessions -------------------------------------------------------------*/

/* Creates a session: the working memory, threads, error and counters of one
 * caller. `threads` 0 means the first number of OMP_NUM_THREADS, or else the
 * number of CPUs this process may use. A malformed OMP_NUM_THREADS is an error
 * whatever `threads` is, because the OpenMP runtime would end the process. */
static inline moe_status moe_session_create(moe_model *model, int32_t threads,
                                            moe_session **session, char *error,
                                            size_t error_size) {
  return moe_api_of(model)->session_create(model, threads, session, error,
                                           error_size);
}

/* Releases a session that is not running. NULL is allowed. */
static inline void moe_session_destroy(moe_session *session) {
  if (session)
    moe_api_of(session)->session_destroy(session);
}

/* The number of threads the session uses. */
static inline int32_t moe_session_threads(const moe_session *session) {
  return moe_api_of(session)->session_threads(session);
}

/* What the last failed call on this session found; "" when the last call
 * succeeded. The first error of a run is kept, with the node it arose in. */
static inline const char *moe_session_error(const moe_session *session) {
  return moe_api_of(session)->session_error(session);
}

/* Runs the model: one tensor per input and per output, in signature order.
 * `outputs` may be NULL with count 0; moe_get_output then gives the results.
 * Outputs of a run may be inputs of the session's next one without a copy. */
static inline moe_status moe_run(moe_session *session, const moe_tensor *inputs,
                                 int32_t num_inputs, moe_tensor *outputs,
                                 int32_t num_outputs) {
  return moe_api_of(session)->run(session, inputs, num_inputs, outputs,
                                  num_outputs);
}

/* Like moe_run, with tensors matched by name: each input exactly once in any
 * order, and any selection of outputs. */
static inline moe_status
moe_run_named(moe_session *session, const char *const *input_names,
              const moe_tensor *inputs, int32_t num_inputs,
              const char *const *output_names, moe_tensor *outputs,
              int32_t num_outputs) {
  return moe_api_of(session)->run_named(session, input_names, inputs,
                                        num_inputs, output_names, outputs,
                                        num_outputs);
}

/* Like moe_run, with the past inputs taken from `cache` (their entries in
 * `inputs` are ignored) and the present outputs kept in it on success. A
 * failed run leaves the cache as it was. MOE_ERROR_CACHE_CAPACITY when the
 * present has more positions than the cache has room for. The entries of the
 * present outputs in `outputs` describe the session's or the cache's memory
 * and are valid until either is used again. */
static inline moe_status
moe_run_with_cache(moe_session *session, moe_cache *cache,
                   const moe_tensor *inputs, int32_t num_inputs,
                   moe_tensor *outputs, int32_t num_outputs) {
  return moe_api_of(session)->run_with_cache(session, cache, inputs, num_inputs,
                                             outputs, num_outputs);
}

/* An output of the session's last run, if that was successful or failed only
 * for want of a larger buffer (MOE_ERROR_BUFFER_SIZE). */
static inline moe_status moe_get_output(moe_session *session, int32_t index,
                                        moe_tensor *tensor) {
  return moe_api_of(session)->output(session, index, tensor);
}

/* Gives the session's working memory back to the system (outputs go with it);
 * the next run takes what it needs again. */
static inline moe_status moe_session_trim(moe_session *session) {
  return moe_api_of(session)->trim(session);
}

/*---- Counters and profiling -----------------------------------------------*/

/* Reads the counters; set counters->struct_size first. */
static inline moe_status moe_get_counters(moe_session *session,
                                          moe_counters *counters) {
  return moe_api_of(session)->counters(session, counters);
}

/* Rows routed to each expert of a layer; `num_experts` sizes the array and
 * must be the layer's number of experts. */
static inline moe_status moe_get_expert_loads(moe_session *session,
                                              int32_t layer, int64_t *loads,
                                              int32_t num_experts) {
  return moe_api_of(session)->expert_loads(session, layer, loads, num_experts);
}

/* Sets all counters and expert loads to zero. */
static inline void moe_counters_reset(moe_session *session) {
  moe_api_of(session)->counters_reset(session);
}

/* Has later runs call `callback`; NULL stops it. */
static inline void moe_set_profile(moe_session *session,
                                   moe_profile_fn callback, void *user) {
  moe_api_of(session)->set_profile(session, callback, user);
}

/*---- KV caches ------------------------------------------------------------*/

/* Creates an empty cache with room for `capacity` positions. It belongs to the
 * model, not to a session: any session may continue it, one at a time. Sizes
 * other than the positions (the batch, say) are those of the first run after
 * creation or a reset to length 0. */
static inline moe_status moe_cache_create(moe_model *model, int64_t capacity,
                                          moe_cache **cache, char *error,
                                          size_t error_size) {
  return moe_api_of(model)->cache_create(model, capacity, cache, error,
                                         error_size);
}

/* Releases a cache that is not in use. NULL is allowed. */
static inline void moe_cache_destroy(moe_cache *cache) {
  if (cache)
    moe_api_of(cache)->cache_destroy(cache);
}
static inline int64_t moe_cache_capacity(const moe_cache *cache) {
  return moe_api_of(cache)->cache_capacity(cache);
}

/* The number of positions held. */
static inline int64_t moe_cache_length(const moe_cache *cache) {
  return moe_api_of(cache)->cache_length(cache);
}

/* Keeps the first `length` positions (0 <= length <= moe_cache_length). */
static inline moe_status moe_cache_truncate(moe_cache *cache, int64_t length) {
  return moe_api_of(cache)->cache_truncate(cache, length);
}

/* Forgets all positions; the next run may have another batch size. */
static inline moe_status moe_cache_reset(moe_cache *cache) {
  return moe_api_of(cache)->cache_truncate(cache, 0);
}

/* The contents of one binding; `shape` and `strides` (never NULL here) belong
 * to the cache and are valid until it is next used. */
static inline moe_status moe_cache_get_tensor(moe_cache *cache, int32_t binding,
                                              moe_tensor *tensor) {
  return moe_api_of(cache)->cache_tensor(cache, binding, tensor);
}

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MOE_RUNTIME_MOE_H */
