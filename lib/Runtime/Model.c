/*===- Model.c - Opening a model and asking about it ----------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The public name of the entry point. Everything else in this library is
 * hidden; see Context.h for why it only forwards. */
__attribute__((visibility("default"))) const moe_api *
moe_get_api(uint32_t abi_version);

void moe_model_retain(moe_model *model) {
  atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
}

void moe_model_release(moe_model *model) {
  if (atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) !=
      1)
    return;
  if (model->device)
    model->release_device(model->device);
  moe_weights_close(&model->weights);
  moe_signature_release(&model->signature);
  free(model);
}

/*---- Opening --------------------------------------------------------------*/

/* `file` without a suffix ".so", plus ".weights". The caller frees it. */
static char *weights_beside(const char *file) {
  static const char suffix[] = ".weights";
  size_t stem = strlen(file);
  if (stem > 3 && strcmp(file + stem - 3, ".so") == 0)
    stem -= 3;
  char *path = malloc(stem + sizeof suffix);
  if (!path)
    return NULL;
  memcpy(path, file, stem);
  memcpy(path + stem, suffix, sizeof suffix);
  return path;
}

/* The weight file beside the file this code was loaded from, or beside what
 * that is a link to; NULL when neither can be found out. The caller frees it.
 */
static char *default_weights_path(void) {
  Dl_info info;
  char self[4096];
  const char *file = NULL;
  if (dladdr((const void *)moe_compiled_descriptor, &info) && info.dli_fname)
    file = info.dli_fname;
  /* A main program is known by argv[0] only, which need not be a path. */
  if (!file || !strchr(file, '/')) {
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
      return NULL;
    self[length] = 0;
    file = self;
  }
  char *path = weights_beside(file);
  char *target;
  if (path && access(path, F_OK) != 0 && (target = realpath(file, NULL))) {
    char *other = weights_beside(target);
    free(target);
    if (other && access(other, F_OK) == 0) {
      free(path);
      return other;
    }
    free(other);
  }
  return path;
}

static moe_status open_weights(moe_model *model, const char *path,
                               uint32_t flags, moe_message message) {
  const moe_signature *s = &model->signature;
  if (s->weights_size == 0 ||
      (flags & (MOE_OPEN_SIGNATURE | MOE_OPEN_VERIFY)) == MOE_OPEN_SIGNATURE)
    return MOE_OK;
  char *found = NULL;
  if (!path && !(path = found = default_weights_path()))
    return moe_fail(message, MOE_ERROR_IO,
                    "cannot find out where the model's library lies; pass the "
                    "path of its weight file");
  moe_status status = moe_weights_open(path, s->weights_size, s->weights_hash,
                                       flags, &model->weights, message);
  free(found);
  return status;
}

static moe_status open_model(const char *weights_path, uint32_t flags,
                             moe_model **out, char *error, size_t error_size) {
  moe_message message = {error, error_size};
  if (error && error_size)
    error[0] = 0;
  if (!out)
    return moe_fail(message, MOE_ERROR_ARGUMENT,
                    "expects a place to store the model, got NULL");
  *out = NULL;
  if (flags &
      ~(uint32_t)(MOE_OPEN_VERIFY | MOE_OPEN_SIGNATURE | MOE_OPEN_PREFETCH))
    return moe_fail(message, MOE_ERROR_ARGUMENT, "unknown open flags 0x%x",
                    (unsigned)flags);
  moe_model *model = calloc(1, sizeof *model);
  if (!model)
    return moe_fail(message, MOE_ERROR_MEMORY, "out of memory");
  model->api = moe_rt_get_api(MOE_ABI_VERSION);
  model->flags = flags;
  atomic_init(&model->references, 1);
  moe_status status = moe_signature_read(moe_compiled_descriptor, UINT64_MAX,
                                         &model->signature, message);
  if (status == MOE_OK && !(flags & MOE_OPEN_SIGNATURE))
    status = moe_cpu_check(model->signature.cpu_features, message);
  if (status == MOE_OK)
    status = open_weights(model, weights_path, flags, message);
  if (status != MOE_OK) {
    moe_model_release(model);
    return status;
  }
  *out = model;
  return MOE_OK;
}

/*---- Queries --------------------------------------------------------------*/

static bool in_range(int32_t index, int32_t count) {
  return index >= 0 && index < count;
}

static int32_t find_value(const moe_value_info *values, int32_t count,
                          const char *name) {
  for (int32_t i = 0; name && i < count; ++i)
    if (strcmp(values[i].name, name) == 0)
      return i;
  return -1;
}

static const char *model_name(const moe_model *m) { return m->signature.name; }
static int32_t num_inputs(const moe_model *m) {
  return m->signature.num_inputs;
}
static int32_t num_outputs(const moe_model *m) {
  return m->signature.num_outputs;
}
static const moe_value_info *input_info(const moe_model *m, int32_t i) {
  return in_range(i, m->signature.num_inputs) ? &m->signature.inputs[i] : NULL;
}
static const moe_value_info *output_info(const moe_model *m, int32_t i) {
  return in_range(i, m->signature.num_outputs) ? &m->signature.outputs[i]
                                               : NULL;
}
static int32_t find_input(const moe_model *m, const char *name) {
  return find_value(m->signature.inputs, m->signature.num_inputs, name);
}
static int32_t find_output(const moe_model *m, const char *name) {
  return find_value(m->signature.outputs, m->signature.num_outputs, name);
}
static int32_t num_metadata(const moe_model *m) {
  return m->signature.num_metadata;
}
static const char *metadata_key(const moe_model *m, int32_t i) {
  return in_range(i, m->signature.num_metadata) ? m->signature.metadata[2 * i]
                                                : NULL;
}
static const char *metadata_value(const moe_model *m, int32_t i) {
  return in_range(i, m->signature.num_metadata)
             ? m->signature.metadata[2 * i + 1]
             : NULL;
}
static int32_t num_expert_layers(const moe_model *m) {
  return m->signature.num_layers;
}
static const moe_expert_layer_info *expert_layer_info(const moe_model *m,
                                                      int32_t i) {
  return in_range(i, m->signature.num_layers) ? &m->signature.layers[i] : NULL;
}
static int32_t num_regions(const moe_model *m) {
  return m->signature.num_regions;
}
static const char *region_name(const moe_model *m, int32_t i) {
  return in_range(i, m->signature.num_regions) ? m->signature.regions[i] : NULL;
}
static int32_t num_cache_bindings(const moe_model *m) {
  return m->signature.num_caches;
}
static const moe_cache_binding_info *cache_binding_info(const moe_model *m,
                                                        int32_t i) {
  return in_range(i, m->signature.num_caches) ? &m->signature.caches[i] : NULL;
}
static const char *weights_path(const moe_model *m) {
  return m->weights.path ? m->weights.path : "";
}
static int64_t weights_bytes(const moe_model *m) {
  return (int64_t)m->weights.size;
}

static int32_t session_threads(const moe_session *s) {
  return s->context.num_threads;
}
static const char *session_error(const moe_session *s) { return s->error; }
static void set_profile(moe_session *s, moe_profile_fn callback, void *user) {
  s->profile = callback;
  s->profile_user = user;
}

/*---- The table ------------------------------------------------------------*/

static const moe_api api = {
    .abi_version = MOE_ABI_VERSION,
    .struct_size = sizeof(moe_api),
    .status_string = moe_status_text,
    .open = open_model,
    .close = moe_model_release,
    .model_name = model_name,
    .num_inputs = num_inputs,
    .num_outputs = num_outputs,
    .input_info = input_info,
    .output_info = output_info,
    .find_input = find_input,
    .find_output = find_output,
    .num_metadata = num_metadata,
    .metadata_key = metadata_key,
    .metadata_value = metadata_value,
    .num_expert_layers = num_expert_layers,
    .expert_layer_info = expert_layer_info,
    .num_regions = num_regions,
    .region_name = region_name,
    .num_cache_bindings = num_cache_bindings,
    .cache_binding_info = cache_binding_info,
    .weights_path = weights_path,
    .weights_bytes = weights_bytes,
    .session_create = moe_impl_session_create,
    .session_destroy = moe_impl_session_destroy,
    .session_threads = session_threads,
    .session_error = session_error,
    .run = moe_impl_run,
    .run_named = moe_impl_run_named,
    .run_with_cache = moe_impl_run_with_cache,
    .output = moe_impl_output,
    .trim = moe_impl_trim,
    .counters = moe_impl_counters,
    .expert_loads = moe_impl_expert_loads,
    .counters_reset = moe_impl_counters_reset,
    .set_profile = set_profile,
    .cache_create = moe_impl_cache_create,
    .cache_destroy = moe_impl_cache_destroy,
    .cache_capacity = moe_impl_cache_capacity,
    .cache_length = moe_impl_cache_length,
    .cache_truncate = moe_impl_cache_truncate,
    .cache_tensor = moe_impl_cache_tensor,
};

const moe_api *moe_rt_get_api(uint32_t abi_version) {
  return abi_version >= 1 && abi_version <= MOE_ABI_VERSION ? &api : NULL;
}

const moe_api *moe_get_api(uint32_t abi_version) {
  return moe_rt_get_api(abi_version);
}
