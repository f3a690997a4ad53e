/*===- Cuda.c - Models whose kernels run on an NVIDIA GPU ------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The driver's library is opened when the first model needs it, and nothing of
 * CUDA is needed to build or to link: a model that runs nowhere else still
 * loads, and says why it cannot run. MOE_CUDA_LIBRARY names another library
 * with the same entry points, such as the simulator's.
 *
 * A model has the code and the weights that sessions have asked for; a session
 * has a stream, on which everything happens in order, and device memory that it
 * keeps between runs.
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*---- The driver -----------------------------------------------------------*/

typedef unsigned long long device_ptr;
typedef int result;

enum {
  kSuccess = 0,
  kOutOfMemory = 2,
  kMaxDynamicShared = 8, /* CU_FUNC_ATTRIBUTE_... */
  kJitErrorLog = 5,      /* CU_JIT_ERROR_LOG_BUFFER, then its size */
  kCapabilityMajor = 75, /* CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_... */
  kCapabilityMinor = 76,
  kMaxGridY = 65535
};

/* name in the library, member, parameters */
#define FOR_EACH_ENTRY(X)                                                      \
  X(cuInit, init, (unsigned))                                                  \
  X(cuGetErrorName, error_name, (result, const char **))                       \
  X(cuGetErrorString, error_text, (result, const char **))                     \
  X(cuDeviceGet, get_device, (int *, int))                                     \
  X(cuDeviceGetName, device_name, (char *, int, int))                          \
  X(cuDeviceGetAttribute, device_attribute, (int *, int, int))                 \
  X(cuDevicePrimaryCtxRetain, retain_context, (void **, int))                  \
  X(cuDevicePrimaryCtxRelease_v2, release_context, (int))                      \
  X(cuCtxSetCurrent, set_context, (void *))                                    \
  X(cuModuleLoadDataEx, load_module,                                           \
    (void **, const void *, unsigned, int *, void **))                         \
  X(cuModuleUnload, unload_module, (void *))                                   \
  X(cuModuleGetFunction, get_function, (void **, void *, const char *))        \
  X(cuFuncSetAttribute, set_attribute, (void *, int, int))                     \
  X(cuMemAlloc_v2, allocate, (device_ptr *, size_t))                           \
  X(cuMemFree_v2, release, (device_ptr))                                       \
  X(cuMemcpyHtoDAsync_v2, upload, (device_ptr, const void *, size_t, void *))  \
  X(cuMemcpyDtoHAsync_v2, download, (void *, device_ptr, size_t, void *))      \
  X(cuStreamCreate, create_stream, (void **, unsigned))                        \
  X(cuStreamDestroy_v2, destroy_stream, (void *))                              \
  X(cuStreamSynchronize, synchronize, (void *))                                \
  X(cuLaunchKernel, launch,                                                    \
    (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,       \
     unsigned, void *, void **, void **))

static struct {
  pthread_mutex_t mutex;
  bool tried;
  char problem[256]; /* empty when the driver can be used */
#define DECLARE(symbol, member, parameters) result(*member) parameters;
  FOR_EACH_ENTRY(DECLARE)
#undef DECLARE
} driver = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static const char *describe(result status) {
  const char *text = NULL;
  if (driver.error_text(status, &text) != kSuccess || !text)
    return "unknown error";
  return text;
}

static void open_driver(void) {
  const char *name = getenv("MOE_CUDA_LIBRARY");
  if (!name || !*name)
    name = "libcuda.so.1";
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    snprintf(driver.problem, sizeof driver.problem,
             "no NVIDIA driver: %s; this model was compiled for a GPU",
             dlerror());
    return;
  }
#define LOOK_UP(symbol, member, parameters)                                    \
  *(void **)&driver.member = dlsym(library, #symbol);                          \
  if (!driver.member) {                                                        \
    snprintf(driver.problem, sizeof driver.problem,                            \
             "'%s' has no %s: the driver is too old", name, #symbol);          \
    return;                                                                    \
  }
  FOR_EACH_ENTRY(LOOK_UP)
#undef LOOK_UP
  result status = driver.init(0);
  if (status != kSuccess)
    snprintf(driver.problem, sizeof driver.problem,
             "the NVIDIA driver cannot be used: %s", describe(status));
}

/* NULL, or what is wrong. The library stays open for good. */
static const char *need_driver(void) {
  pthread_mutex_lock(&driver.mutex);
  if (!driver.tried)
    open_driver();
  driver.tried = true;
  pthread_mutex_unlock(&driver.mutex);
  return driver.problem[0] ? driver.problem : NULL;
}

/*---- Models ---------------------------------------------------------------*/

typedef struct device_weight {
  int64_t offset;
  device_ptr address;
} device_weight;

typedef struct model_device {
  pthread_mutex_t mutex;
  int ordinal;
  void *context, *module;
  void **functions; /* by number, NULL until used */
  int32_t num_functions;
  device_weight *weights;
  size_t num_weights, weights_capacity;
} model_device;

static void close_model(void *object) {
  model_device *device = object;
  if (device->context) {
    driver.set_context(device->context);
    for (size_t i = 0; i < device->num_weights; ++i)
      driver.release(device->weights[i].address);
    if (device->module)
      driver.unload_module(device->module);
    driver.release_context(device->ordinal);
  }
  pthread_mutex_destroy(&device->mutex);
  free(device->functions);
  free(device->weights);
  free(device);
}

/* Writes what went wrong to `text`. */
static bool open_context(model_device *device, const char *code, char *text,
                         size_t size) {
  result status = driver.get_device(&device->ordinal, 0);
  if (status == kSuccess)
    status = driver.retain_context(&device->context, device->ordinal);
  if (status == kSuccess)
    status = driver.set_context(device->context);
  if (status != kSuccess) {
    device->context = NULL;
    snprintf(text, size, "no GPU can be used: %s", describe(status));
    return false;
  }
  char log[512] = "", name[128] = "";
  int options[] = {kJitErrorLog, kJitErrorLog + 1};
  void *values[] = {log, (void *)sizeof log};
  status = driver.load_module(&device->module, code, 2, options, values);
  if (status == kSuccess)
    return true;
  int major = 0, minor = 0;
  driver.device_name(name, sizeof name, device->ordinal);
  driver.device_attribute(&major, kCapabilityMajor, device->ordinal);
  driver.device_attribute(&minor, kCapabilityMinor, device->ordinal);
  log[sizeof log - 1] = 0;
  log[strcspn(log, "\r\n")] = 0;
  snprintf(text, size, "'%s' (sm_%d%d) cannot run this model's kernels: %s%s%s",
           name, major, minor, describe(status), *log ? ": " : "", log);
  return false;
}

/*---- Sessions -------------------------------------------------------------*/

typedef struct device_block {
  device_ptr address;
  size_t bytes;
  bool used;
} device_block;

typedef struct session_device {
  model_device *model;
  void *stream;
  device_block *blocks;
  size_t num_blocks, blocks_capacity;
} session_device;

static void close_session(void *object) {
  session_device *device = object;
  driver.set_context(device->model->context);
  for (size_t i = 0; i < device->num_blocks; ++i)
    driver.release(device->blocks[i].address);
  if (device->stream)
    driver.destroy_stream(device->stream);
  free(device->blocks);
  free(device);
}

static session_device *device_of(moe_context *ctx) {
  return moe_session_of(ctx)->device;
}

static void check(moe_context *ctx, result status, const char *what) {
  if (status != kSuccess)
    moe_session_abort(
        ctx, status == kOutOfMemory ? MOE_ERROR_MEMORY : MOE_ERROR_UNSUPPORTED,
        "%s on the GPU: %s", what, describe(status));
}

/* Makes room for one more element. */
static bool reserve(void **array, size_t count, size_t *capacity,
                    size_t element) {
  if (count < *capacity)
    return true;
  size_t wanted = *capacity ? 2 * *capacity : 16;
  void *larger = realloc(*array, wanted * element);
  if (!larger)
    return false;
  *array = larger;
  *capacity = wanted;
  return true;
}

void moe_rt_gpu_begin(moe_context *ctx, const char *code) {
  moe_session *session = moe_session_of(ctx);
  moe_model *model = session->model;
  const char *problem = need_driver();
  if (problem)
    moe_session_abort(ctx, MOE_ERROR_UNSUPPORTED, "%s", problem);

  char text[1024];
  bool ok = true;
  pthread_mutex_lock(&driver.mutex);
  if (!model->device) {
    model_device *device = calloc(1, sizeof *device);
    ok = device != NULL;
    snprintf(text, sizeof text, "out of memory");
    if (device) {
      pthread_mutex_init(&device->mutex, NULL);
      ok = open_context(device, code, text, sizeof text);
      if (ok) {
        model->device = device;
        model->release_device = close_model;
      } else {
        close_model(device);
      }
    }
  }
  pthread_mutex_unlock(&driver.mutex);
  if (!ok)
    moe_session_abort(ctx, MOE_ERROR_UNSUPPORTED, "%s", text);

  model_device *device = model->device;
  check(ctx, driver.set_context(device->context), "cannot start");
  session_device *own = session->device;
  if (!own) {
    own = calloc(1, sizeof *own);
    if (!own)
      moe_session_abort(ctx, MOE_ERROR_MEMORY, "out of memory");
    own->model = device;
    session->device = own;
    session->release_device = close_session;
    check(ctx, driver.create_stream(&own->stream, 1 /* non-blocking */),
          "cannot start");
  }
  for (size_t i = 0; i < own->num_blocks; ++i)
    own->blocks[i].used = false;
}

/*---- Memory ---------------------------------------------------------------*/

int64_t moe_rt_gpu_alloc(moe_context *ctx, int64_t bytes) {
  session_device *device = device_of(ctx);
  size_t wanted = bytes < 256 ? 256 : (size_t)bytes;
  /* The smallest free block that is not much too large. */
  device_block *best = NULL;
  for (size_t i = 0; i < device->num_blocks; ++i) {
    device_block *block = &device->blocks[i];
    if (!block->used && block->bytes >= wanted && block->bytes / 2 <= wanted &&
        (!best || block->bytes < best->bytes))
      best = block;
  }
  if (!best) {
    if (!reserve((void **)&device->blocks, device->num_blocks,
                 &device->blocks_capacity, sizeof *device->blocks))
      moe_session_abort(ctx, MOE_ERROR_MEMORY, "out of memory");
    device_ptr address = 0;
    result status = driver.allocate(&address, wanted);
    if (status == kOutOfMemory) {
      /* What other shapes have left behind; the stream may still use it. */
      driver.synchronize(device->stream);
      size_t kept = 0;
      for (size_t i = 0; i < device->num_blocks; ++i) {
        if (device->blocks[i].used)
          device->blocks[kept++] = device->blocks[i];
        else
          driver.release(device->blocks[i].address);
      }
      device->num_blocks = kept;
      status = driver.allocate(&address, wanted);
    }
    if (status != kSuccess)
      moe_session_abort(ctx, MOE_ERROR_MEMORY,
                        "out of memory on the GPU: the model needs another "
                        "%" PRId64 " bytes: %s",
                        bytes, describe(status));
    best = &device->blocks[device->num_blocks++];
    best->address = address;
    best->bytes = wanted;
  }
  best->used = true;
  return (int64_t)best->address;
}

void moe_rt_gpu_free(moe_context *ctx, int64_t address) {
  session_device *device = device_of(ctx);
  /* The stream is in order: whoever gets the block next comes later. */
  for (size_t i = 0; i < device->num_blocks; ++i)
    if (device->blocks[i].address == (device_ptr)address)
      device->blocks[i].used = false;
}

void moe_rt_gpu_upload(moe_context *ctx, int64_t address, const void *data,
                       int64_t bytes) {
  session_device *device = device_of(ctx);
  if (bytes == 0)
    return;
  check(ctx,
        driver.upload((device_ptr)address, data, (size_t)bytes, device->stream),
        "cannot copy to memory");
  /* Memory that is not pinned has been read when the call returns. */
}

void moe_rt_gpu_download(moe_context *ctx, int64_t address, void *data,
                         int64_t bytes) {
  session_device *device = device_of(ctx);
  if (bytes != 0)
    check(ctx,
          driver.download(data, (device_ptr)address, (size_t)bytes,
                          device->stream),
          "cannot copy from memory");
  check(ctx, driver.synchronize(device->stream), "kernels failed");
}

int64_t moe_rt_gpu_weight(moe_context *ctx, int64_t offset, int64_t bytes) {
  session_device *own = device_of(ctx);
  model_device *device = own->model;
  device_ptr address = 0;
  result status = kSuccess;
  pthread_mutex_lock(&device->mutex);
  for (size_t i = 0; i < device->num_weights && !address; ++i)
    if (device->weights[i].offset == offset)
      address = device->weights[i].address;
  if (!address) {
    status = driver.allocate(&address, bytes ? (size_t)bytes : 1);
    if (status == kSuccess && bytes)
      status = driver.upload(address, (const char *)ctx->weights + offset,
                             (size_t)bytes, own->stream);
    /* Other sessions have streams of their own. */
    if (status == kSuccess)
      status = driver.synchronize(own->stream);
    if (status == kSuccess &&
        !reserve((void **)&device->weights, device->num_weights,
                 &device->weights_capacity, sizeof *device->weights))
      status = kOutOfMemory;
    if (status == kSuccess) {
      device->weights[device->num_weights].offset = offset;
      device->weights[device->num_weights++].address = address;
    } else if (address) {
      driver.release(address);
    }
  }
  pthread_mutex_unlock(&device->mutex);
  check(ctx, status, "cannot hold the weights");
  return (int64_t)address;
}

/*---- Launches -------------------------------------------------------------*/

static void *find_function(model_device *device, int32_t number,
                           const char *name, result *status) {
  void *function = NULL;
  *status = kSuccess;
  pthread_mutex_lock(&device->mutex);
  if (number >= device->num_functions) {
    size_t count = (size_t)number + 16;
    void **larger = realloc(device->functions, count * sizeof *larger);
    if (larger) {
      memset(larger + device->num_functions, 0,
             (count - (size_t)device->num_functions) * sizeof *larger);
      device->functions = larger;
      device->num_functions = (int32_t)count;
    } else {
      *status = kOutOfMemory;
    }
  }
  if (*status == kSuccess && !device->functions[number])
    *status =
        driver.get_function(&device->functions[number], device->module, name);
  if (*status == kSuccess)
    function = device->functions[number];
  pthread_mutex_unlock(&device->mutex);
  return function;
}

void moe_rt_gpu_launch(moe_context *ctx, int32_t number, const char *name,
                       int64_t grid_x, int64_t grid_y, int64_t threads,
                       int32_t shared_bytes, uint64_t *values, int32_t count) {
  enum { kMaxValues = 64, kDefaultShared = 48 << 10 };
  session_device *device = device_of(ctx);
  if (grid_x == 0 || grid_y == 0)
    return;
  if (grid_x > INT32_MAX || grid_y > kMaxGridY || count > kMaxValues)
    moe_session_abort(ctx, MOE_ERROR_UNSUPPORTED,
                      "kernel '%s' is too large for a GPU: %" PRId64
                      " by %" PRId64 " blocks",
                      name, grid_x, grid_y);
  result status;
  void *function = find_function(device->model, number, name, &status);
  void *parameters[kMaxValues];
  for (int32_t i = 0; i < count; ++i)
    parameters[i] = &values[i];
  if (status == kSuccess && shared_bytes > kDefaultShared)
    status = driver.set_attribute(function, kMaxDynamicShared, shared_bytes);
  if (status == kSuccess)
    status = driver.launch(function, (unsigned)grid_x, (unsigned)grid_y, 1,
                           (unsigned)threads, 1, 1, (unsigned)shared_bytes,
                           device->stream, parameters, NULL);
  if (status != kSuccess)
    moe_session_abort(ctx, MOE_ERROR_UNSUPPORTED, "kernel '%s' failed: %s",
                      name, describe(status));
}
