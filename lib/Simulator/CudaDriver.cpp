//===- CudaDriver.cpp - The driver's entry points -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// libmoe-sim.so exports the part of the CUDA driver's C interface that a host
// program needs to load PTX and launch kernels, with the names that cuda.h
// gives and the versioned ones that it maps them to. Everything is synchronous:
// streams and events exist, and are always done.
//
// A launch whose kernel shows a defect prints its findings to stderr and
// returns an error, which the context keeps, as the real one does.
//
//===----------------------------------------------------------------------===//

#include "moe/Simulator/Device.h"
#include "moe/Simulator/TensorMap.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <sstream>

using namespace mlir::moe::sim;

#define API extern "C" __attribute__((visibility("default"))) int
/// The name of cuda.h's macro and the one that it expands to.
#define ALIAS(name, versioned)                                                 \
  extern "C" __attribute__((visibility("default"),                             \
                            alias(#name))) decltype(name) versioned;

namespace {
enum Status : int {
  Success = 0,
  InvalidValue = 1,
  OutOfMemory = 2,
  NotInitialized = 3,
  InvalidDevice = 101,
  InvalidImage = 200,
  InvalidContext = 201,
  NoBinary = 209,
  InvalidPtx = 218,
  FileNotFound = 301,
  InvalidHandle = 400,
  NotFound = 500,
  IllegalAddress = 700,
  LaunchTimeout = 702,
  MisalignedAddress = 716,
  LaunchFailed = 719,
  NotSupported = 801
};
struct StatusName {
  Status status;
  const char *name, *text;
};

using DevicePtr = unsigned long long;
/// Contexts, streams and events carry nothing.
struct Handle {
  int unused;
};

struct State {
  std::mutex mutex;
  Device device;
  bool initialized = false;
  int sticky = Success;
  int architecture = 90;
  Handle context, stream;
  std::set<LoadedModule *> modules;
  std::map<Kernel *, LoadedModule *> kernels;
  std::set<void *> events;
};
} // namespace

static const StatusName statusNames[] = {
    {Success, "CUDA_SUCCESS", "no error"},
    {InvalidValue, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NotInitialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {InvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {InvalidImage, "CUDA_ERROR_INVALID_IMAGE",
     "device kernel image is invalid"},
    {InvalidContext, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NoBinary, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {InvalidPtx, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {FileNotFound, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {InvalidHandle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NotFound, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {IllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {LaunchTimeout, "CUDA_ERROR_LAUNCH_TIMEOUT",
     "the launch timed out and was terminated"},
    {MisalignedAddress, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {LaunchFailed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NotSupported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"}};

static State &getState() {
  static State *state = new State; // never destroyed: hosts exit as they like
  return *state;
}

namespace {
/// Locks the device; `status` is what keeps a call from going on.
struct Call {
  State &state = getState();
  std::lock_guard<std::mutex> lock{state.mutex};
  int status = !state.initialized ? NotInitialized : state.sticky;
};
} // namespace

static int note(const std::string &text, Status status) {
  std::fprintf(stderr, "moe-sim: %s\n", text.c_str());
  return status;
}

//===----------------------------------------------------------------------===//
// Initialization, devices, contexts
//===----------------------------------------------------------------------===//

API cuInit(unsigned) {
  State &state = getState();
  std::lock_guard<std::mutex> lock(state.mutex);
  state.initialized = true;
  // MOE_SIM_ARCH=sm_80: what the device says it is.
  if (const char *text = std::getenv("MOE_SIM_ARCH"))
    if (std::strncmp(text, "sm_", 3) == 0 && std::atoi(text + 3) > 0)
      state.architecture = std::atoi(text + 3);
  return Success;
}

API cuDriverGetVersion(int *version) {
  if (!version)
    return InvalidValue;
  *version = 13000;
  return Success;
}

API cuGetErrorName(int status, const char **text) {
  for (const StatusName &known : statusNames) {
    if (known.status != status || !text)
      continue;
    *text = known.name;
    return Success;
  }
  return InvalidValue;
}

API cuGetErrorString(int status, const char **text) {
  for (const StatusName &known : statusNames) {
    if (known.status != status || !text)
      continue;
    *text = known.text;
    return Success;
  }
  return InvalidValue;
}

API cuDeviceGetCount(int *count) {
  Call call;
  if (!count)
    return InvalidValue;
  *count = 1;
  return call.status == NotInitialized ? call.status : Success;
}

API cuDeviceGet(int *device, int ordinal) {
  Call call;
  if (call.status == NotInitialized)
    return call.status;
  if (!device)
    return InvalidValue;
  if (ordinal != 0)
    return InvalidDevice;
  *device = 0;
  return Success;
}

API cuDeviceGetName(char *name, int length, int) {
  if (!name || length <= 0)
    return InvalidValue;
  std::snprintf(name, static_cast<size_t>(length), "MoE-MLIR simulator sm_%d",
                getState().architecture);
  return Success;
}

API cuDeviceTotalMem_v2(size_t *bytes, int) {
  if (!bytes)
    return InvalidValue;
  *bytes = size_t(1) << 38;
  return Success;
}
ALIAS(cuDeviceTotalMem_v2, cuDeviceTotalMem)

API cuMemGetInfo_v2(size_t *free, size_t *total) {
  if (!free || !total)
    return InvalidValue;
  *free = *total = size_t(1) << 38;
  return Success;
}
ALIAS(cuMemGetInfo_v2, cuMemGetInfo)

API cuDeviceGetAttribute(int *value, int attribute, int) {
  if (!value)
    return InvalidValue;
  int architecture = getState().architecture;
  switch (attribute) {
  case 1: // threads of a block, and their dimensions
  case 2:
  case 3:
    *value = 1024;
    break;
  case 4:
    *value = 64;
    break;
  case 5: // grid
    *value = INT32_MAX;
    break;
  case 6:
  case 7:
    *value = 65535;
    break;
  case 8: // shared memory of a block
    *value = 49152;
    break;
  case 10: // warp
    *value = 32;
    break;
  case 12: // registers of a block, of a multiprocessor
  case 82:
    *value = 65536;
    break;
  case 16: // multiprocessors
    *value = architecture >= 90 ? 132 : 108;
    break;
  case 39: // threads of a multiprocessor
    *value = 2048;
    break;
  case 41: // unified addresses
    *value = 1;
    break;
  case 75:
    *value = architecture / 10;
    break;
  case 76:
    *value = architecture % 10;
    break;
  case 81: // shared memory of a multiprocessor, and of a block by option
    *value = architecture >= 90 ? 233472 : 167936;
    break;
  case 97:
    *value = architecture >= 90 ? 232448 : 166912;
    break;
  default:
    *value = 0;
  }
  return Success;
}

static int getContext(void **context) {
  Call call;
  if (call.status == NotInitialized)
    return call.status;
  if (!context)
    return InvalidValue;
  *context = &call.state.context;
  return Success;
}

API cuCtxCreate_v2(void **context, unsigned, int) {
  return getContext(context);
}
ALIAS(cuCtxCreate_v2, cuCtxCreate)
API cuCtxCreate_v4(void **context, void *, unsigned, int) {
  return getContext(context);
}
API cuDevicePrimaryCtxRetain(void **context, int) {
  return getContext(context);
}
API cuCtxGetCurrent(void **context) { return getContext(context); }
API cuCtxPopCurrent_v2(void **context) {
  return context ? getContext(context) : static_cast<int>(Success);
}
ALIAS(cuCtxPopCurrent_v2, cuCtxPopCurrent)
API cuCtxSetCurrent(void *) {
  return Call().status == NotInitialized ? NotInitialized : Success;
}
API cuCtxPushCurrent_v2(void *) { return Success; }
ALIAS(cuCtxPushCurrent_v2, cuCtxPushCurrent)
API cuCtxDestroy_v2(void *) { return Success; }
ALIAS(cuCtxDestroy_v2, cuCtxDestroy)
API cuDevicePrimaryCtxRelease_v2(int) { return Success; }
ALIAS(cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxRelease)
API cuCtxGetDevice(int *device) {
  if (!device)
    return InvalidValue;
  *device = 0;
  return Success;
}
API cuCtxSynchronize() { return Call().status; }

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

API cuMemAlloc_v2(DevicePtr *pointer, size_t bytes) {
  Call call;
  if (call.status)
    return call.status;
  if (!pointer || bytes == 0)
    return InvalidValue;
  *pointer = call.state.device.allocate(bytes);
  return *pointer ? Success : OutOfMemory;
}
ALIAS(cuMemAlloc_v2, cuMemAlloc)
API cuMemAllocAsync(DevicePtr *pointer, size_t bytes, void *) {
  return cuMemAlloc_v2(pointer, bytes);
}

API cuMemFree_v2(DevicePtr pointer) {
  Call call;
  if (call.status)
    return call.status;
  if (!pointer)
    return Success;
  return call.state.device.free(pointer) ? Success : InvalidValue;
}
ALIAS(cuMemFree_v2, cuMemFree)
API cuMemFreeAsync(DevicePtr pointer, void *) { return cuMemFree_v2(pointer); }

API cuMemGetAddressRange_v2(DevicePtr *base, size_t *bytes, DevicePtr pointer) {
  Call call;
  uint64_t start, size;
  if (!call.state.device.getRange(pointer, start, size))
    return InvalidValue;
  if (base)
    *base = start;
  if (bytes)
    *bytes = size;
  return Success;
}
ALIAS(cuMemGetAddressRange_v2, cuMemGetAddressRange)

API cuMemAllocHost_v2(void **pointer, size_t bytes) {
  if (!pointer)
    return InvalidValue;
  *pointer = std::aligned_alloc(4096, (bytes / 4096 + 1) * 4096);
  return *pointer ? Success : OutOfMemory;
}
ALIAS(cuMemAllocHost_v2, cuMemAllocHost)
API cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
  return cuMemAllocHost_v2(pointer, bytes);
}
API cuMemFreeHost(void *pointer) {
  std::free(pointer);
  return Success;
}
API cuMemHostRegister_v2(void *, size_t, unsigned) { return Success; }
ALIAS(cuMemHostRegister_v2, cuMemHostRegister)
API cuMemHostUnregister(void *) { return Success; }

API cuMemcpyHtoD_v2(DevicePtr to, const void *from, size_t bytes) {
  Call call;
  if (call.status || bytes == 0)
    return call.status;
  void *place = call.state.device.access(to, bytes, true);
  if (!place || !from)
    return InvalidValue;
  std::memcpy(place, from, bytes);
  return Success;
}
ALIAS(cuMemcpyHtoD_v2, cuMemcpyHtoD)
API cuMemcpyHtoDAsync_v2(DevicePtr to, const void *from, size_t bytes, void *) {
  return cuMemcpyHtoD_v2(to, from, bytes);
}
ALIAS(cuMemcpyHtoDAsync_v2, cuMemcpyHtoDAsync)

API cuMemcpyDtoH_v2(void *to, DevicePtr from, size_t bytes) {
  Call call;
  if (call.status || bytes == 0)
    return call.status;
  void *place = call.state.device.access(from, bytes, false);
  if (!place || !to)
    return InvalidValue;
  std::memcpy(to, place, bytes);
  return Success;
}
ALIAS(cuMemcpyDtoH_v2, cuMemcpyDtoH)
API cuMemcpyDtoHAsync_v2(void *to, DevicePtr from, size_t bytes, void *) {
  return cuMemcpyDtoH_v2(to, from, bytes);
}
ALIAS(cuMemcpyDtoHAsync_v2, cuMemcpyDtoHAsync)

API cuMemcpyDtoD_v2(DevicePtr to, DevicePtr from, size_t bytes) {
  Call call;
  if (call.status || bytes == 0)
    return call.status;
  void *target = call.state.device.access(to, bytes, true);
  void *source = call.state.device.access(from, bytes, false);
  if (!target || !source)
    return InvalidValue;
  std::memmove(target, source, bytes);
  return Success;
}
ALIAS(cuMemcpyDtoD_v2, cuMemcpyDtoD)
API cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from, size_t bytes, void *) {
  return cuMemcpyDtoD_v2(to, from, bytes);
}
ALIAS(cuMemcpyDtoDAsync_v2, cuMemcpyDtoDAsync)

template <typename T>
static int fillMemory(DevicePtr to, T value, size_t count) {
  Call call;
  if (call.status || count == 0)
    return call.status;
  size_t bytes;
  if (__builtin_mul_overflow(count, sizeof(T), &bytes) || to % sizeof(T))
    return InvalidValue;
  void *place = call.state.device.access(to, bytes, true);
  if (!place)
    return InvalidValue;
  std::fill_n(static_cast<T *>(place), count, value);
  return Success;
}

API cuMemsetD8_v2(DevicePtr to, unsigned char value, size_t count) {
  return fillMemory<uint8_t>(to, value, count);
}
ALIAS(cuMemsetD8_v2, cuMemsetD8)
API cuMemsetD16_v2(DevicePtr to, unsigned short value, size_t count) {
  return fillMemory<uint16_t>(to, value, count);
}
ALIAS(cuMemsetD16_v2, cuMemsetD16)
API cuMemsetD32_v2(DevicePtr to, unsigned value, size_t count) {
  return fillMemory<uint32_t>(to, value, count);
}
ALIAS(cuMemsetD32_v2, cuMemsetD32)
API cuMemsetD8Async(DevicePtr to, unsigned char value, size_t count, void *) {
  return fillMemory<uint8_t>(to, value, count);
}
API cuMemsetD16Async(DevicePtr to, unsigned short value, size_t count, void *) {
  return fillMemory<uint16_t>(to, value, count);
}
API cuMemsetD32Async(DevicePtr to, unsigned value, size_t count, void *) {
  return fillMemory<uint32_t>(to, value, count);
}

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

/// Options 5 and 6 are the buffer for errors and its size; its size comes back.
static void writeLog(const std::string &error, unsigned count,
                     const int *options, void **values) {
  char *buffer = nullptr;
  size_t size = 0, sizeAt = count;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == 5)
      buffer = static_cast<char *>(values[i]);
    if (options[i] == 6) {
      size = reinterpret_cast<size_t>(values[i]) & 0xffffffff;
      sizeAt = i;
    }
  }
  if (buffer && size)
    std::snprintf(buffer, size, "%s", error.c_str());
  if (sizeAt < count)
    values[sizeAt] = reinterpret_cast<void *>(
        buffer ? std::min(error.size(), size) : size_t(0));
}

API cuModuleLoadDataEx(void **module, const void *image, unsigned count,
                       int *options, void **values) {
  Call call;
  if (call.status)
    return call.status;
  if (!module || !image)
    return InvalidValue;
  const char *text = static_cast<const char *>(image);
  uint32_t magic;
  std::memcpy(&magic, text, sizeof magic);
  if (magic == 0x464c457f || magic == 0xba55ed50)
    return note("found a cubin or fatbin, expected PTX text", NoBinary);
  std::string error;
  LoadedModule *loaded = call.state.device.load(
      "module" + std::to_string(call.state.modules.size()) + ".ptx", text,
      error);
  if (!loaded) {
    if (count && options && values)
      writeLog(error, count, options, values);
    return note(error, InvalidPtx);
  }
  const Module &parsed = loaded->module;
  unsigned device = static_cast<unsigned>(call.state.architecture);
  if (parsed.architecture > device ||
      (parsed.hasArchitectureFeatures && parsed.architecture != device)) {
    error = "found target " + parsed.target + ", expected what sm_" +
            std::to_string(device) + " can run (MOE_SIM_ARCH sets it)";
    call.state.device.unload(loaded);
    return note(error, NoBinary);
  }
  call.state.modules.insert(loaded);
  *module = loaded;
  return Success;
}
API cuModuleLoadData(void **module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

API cuModuleLoad(void **module, const char *path) {
  std::ifstream file(path ? path : "", std::ios::binary);
  if (!file)
    return FileNotFound;
  std::stringstream text;
  text << file.rdbuf();
  return cuModuleLoadData(module, text.str().c_str());
}

API cuModuleUnload(void *module) {
  Call call;
  LoadedModule *loaded = static_cast<LoadedModule *>(module);
  if (!call.state.modules.erase(loaded))
    return InvalidHandle;
  for (auto it = call.state.kernels.begin(); it != call.state.kernels.end();)
    it = it->second == loaded ? call.state.kernels.erase(it) : std::next(it);
  call.state.device.unload(loaded);
  return Success;
}

API cuModuleGetFunction(void **function, void *module, const char *name) {
  Call call;
  if (call.status)
    return call.status;
  LoadedModule *loaded = static_cast<LoadedModule *>(module);
  if (!call.state.modules.count(loaded))
    return InvalidHandle;
  if (!function || !name)
    return InvalidValue;
  Kernel *kernel = loaded->find(name);
  if (!kernel)
    return NotFound;
  call.state.kernels[kernel] = loaded;
  *function = kernel;
  return Success;
}

API cuModuleGetGlobal_v2(DevicePtr *pointer, size_t *bytes, void *module,
                         const char *name) {
  Call call;
  LoadedModule *loaded = static_cast<LoadedModule *>(module);
  if (!call.state.modules.count(loaded))
    return InvalidHandle;
  for (const Symbol &symbol : loaded->module.symbols) {
    if (symbol.isFunction || !name || symbol.name != name ||
        (symbol.space != Space::Global && symbol.space != Space::Const))
      continue;
    if (pointer)
      *pointer = symbol.offset;
    if (bytes)
      *bytes = symbol.size;
    return Success;
  }
  return NotFound;
}
ALIAS(cuModuleGetGlobal_v2, cuModuleGetGlobal)

static Kernel *findKernel(State &state, void *function) {
  Kernel *kernel = static_cast<Kernel *>(function);
  return state.kernels.count(kernel) ? kernel : nullptr;
}

API cuFuncSetAttribute(void *function, int attribute, int value) {
  Call call;
  Kernel *kernel = findKernel(call.state, function);
  if (!kernel)
    return InvalidHandle;
  if (attribute == 8) { // dynamic shared memory
    uint64_t most = call.state.architecture >= 90 ? 232448 : 166912;
    if (value < 0 || static_cast<uint64_t>(value) + kernel->staticShared > most)
      return InvalidValue;
    kernel->maxDynamicShared = static_cast<uint64_t>(value);
  }
  return Success;
}

API cuFuncGetAttribute(int *value, int attribute, void *function) {
  Call call;
  Kernel *kernel = findKernel(call.state, function);
  if (!kernel)
    return InvalidHandle;
  if (!value)
    return InvalidValue;
  *value = attribute == 0   ? 1024
           : attribute == 1 ? static_cast<int>(kernel->staticShared)
           : attribute == 8 ? static_cast<int>(kernel->maxDynamicShared)
                            : 0;
  return Success;
}
API cuFuncSetCacheConfig(void *, int) { return Success; }

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

static int getStatus(const std::vector<Finding> &findings) {
  for (const Finding &finding : findings) {
    if (finding.kind == Finding::Kind::OutOfBounds)
      return IllegalAddress;
    if (finding.kind == Finding::Kind::Misaligned)
      return MisalignedAddress;
    if (finding.kind == Finding::Kind::Deadlock ||
        finding.kind == Finding::Kind::Limit)
      return LaunchTimeout;
  }
  return LaunchFailed;
}

static int launch(void *function, const LaunchConfig &config, void **params,
                  void **extra) {
  Call call;
  if (call.status)
    return call.status;
  Kernel *kernel = findKernel(call.state, function);
  if (!kernel)
    return InvalidHandle;
  std::vector<uint8_t> block(kernel->paramBytes);
  if (params) {
    for (size_t i = 0; i < kernel->params.size(); ++i)
      std::memcpy(block.data() + kernel->params[i].first, params[i],
                  kernel->params[i].second);
  } else if (extra) {
    const void *buffer = nullptr;
    size_t bytes = 0;
    for (; *extra; extra += 2) {
      size_t key = reinterpret_cast<size_t>(extra[0]);
      if (key == 1)
        buffer = extra[1];
      else if (key == 2)
        bytes = *static_cast<size_t *>(extra[1]);
      else
        return InvalidValue;
    }
    if (!buffer || bytes < block.size())
      return InvalidValue;
    std::memcpy(block.data(), buffer, block.size());
  } else if (!kernel->params.empty()) {
    return InvalidValue;
  }
  LaunchReport report;
  std::string error;
  if (!call.state.device.launch(*kernel, config, block, report, error))
    return note(error, InvalidValue);
  // MOE_SIM_COUNTERS=FILE: appends each launch's table.
  if (const char *path = std::getenv("MOE_SIM_COUNTERS"))
    if (std::ofstream file{path, std::ios::app})
      file << formatCounters(*kernel, report);
  if (report.findings.empty())
    return Success;
  for (const Finding &finding : report.findings)
    note(finding.format(), LaunchFailed);
  return call.state.sticky = getStatus(report.findings);
}

API cuLaunchKernel(void *function, unsigned gridX, unsigned gridY,
                   unsigned gridZ, unsigned blockX, unsigned blockY,
                   unsigned blockZ, unsigned sharedBytes, void *, void **params,
                   void **extra) {
  LaunchConfig config;
  config.grid = {gridX, gridY, gridZ};
  config.block = {blockX, blockY, blockZ};
  config.dynamicShared = sharedBytes;
  return launch(function, config, params, extra);
}

namespace {
// As in cuda.h.
struct LaunchAttribute {
  int id;
  char padding[4];
  union {
    char bytes[64];
    unsigned cluster[3];
  };
};
struct LaunchConfigEx {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  void *stream;
  LaunchAttribute *attributes;
  unsigned count;
};
} // namespace

API cuLaunchKernelEx(const LaunchConfigEx *how, void *function, void **params,
                     void **extra) {
  if (!how)
    return InvalidValue;
  for (unsigned i = 0; i < how->count; ++i) {
    const LaunchAttribute &attribute = how->attributes[i];
    if (attribute.id == 4 &&
        attribute.cluster[0] * attribute.cluster[1] * attribute.cluster[2] > 1)
      return note("clusters of more than one block are not modelled",
                  NotSupported);
  }
  return cuLaunchKernel(function, how->gridX, how->gridY, how->gridZ,
                        how->blockX, how->blockY, how->blockZ, how->sharedBytes,
                        how->stream, params, extra);
}

API cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *, int,
                                                size_t) {
  if (!blocks)
    return InvalidValue;
  *blocks = 1; // not modelled: registers are ptxas's
  return Success;
}

//===----------------------------------------------------------------------===//
// Streams and events
//===----------------------------------------------------------------------===//

API cuStreamCreate(void **stream, unsigned) {
  if (!stream)
    return InvalidValue;
  *stream = &getState().stream;
  return Call().status;
}
API cuStreamCreateWithPriority(void **stream, unsigned flags, int) {
  return cuStreamCreate(stream, flags);
}
API cuStreamDestroy_v2(void *) { return Success; }
ALIAS(cuStreamDestroy_v2, cuStreamDestroy)
API cuStreamSynchronize(void *) { return Call().status; }
API cuStreamQuery(void *) { return Call().status; }
API cuStreamWaitEvent(void *, void *, unsigned) { return Call().status; }

API cuEventCreate(void **event, unsigned) {
  Call call;
  if (!event)
    return InvalidValue;
  *event = new Handle();
  call.state.events.insert(*event);
  return call.status;
}
API cuEventRecord(void *, void *) { return Call().status; }
API cuEventSynchronize(void *) { return Call().status; }
API cuEventQuery(void *) { return Call().status; }
API cuEventDestroy_v2(void *event) {
  Call call;
  if (!call.state.events.erase(event))
    return InvalidHandle;
  delete static_cast<Handle *>(event);
  return Success;
}
ALIAS(cuEventDestroy_v2, cuEventDestroy)
/// There is no time here; a figure would be taken for one.
API cuEventElapsedTime(float *, void *, void *) { return NotSupported; }

//===----------------------------------------------------------------------===//
// Tensor maps
//===----------------------------------------------------------------------===//

API cuTensorMapEncodeTiled(void *out, int type, unsigned rank, void *address,
                           const uint64_t *sizes, const uint64_t *strides,
                           const uint32_t *box, const uint32_t *elementStrides,
                           int interleave, int swizzle, int, int fill) {
  static const uint8_t bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  if (!out || !sizes || !box || rank < 1 || rank > 5 ||
      (rank > 1 && !strides) || type < 0 || type > 12)
    return InvalidValue;
  if (interleave != 0 || swizzle < 0 || swizzle > 3 || fill != 0)
    return note("tensor maps that interleave, swizzle by atoms or fill with "
                "NaN are not modelled",
                NotSupported);
  TensorMap map = {};
  map.magic = TensorMap::validMagic;
  map.address = reinterpret_cast<uint64_t>(address);
  map.rank = static_cast<uint8_t>(rank);
  map.elementBytes = bytes[type];
  map.swizzle = static_cast<uint8_t>(swizzle);
  bool ok = map.address % 16 == 0;
  for (unsigned i = 0; i < rank; ++i) {
    ok &= sizes[i] > 0 && sizes[i] <= uint64_t(1) << 32;
    ok &= box[i] > 0 && box[i] <= 256;
    ok &= !elementStrides || elementStrides[i] == 1;
    map.sizes[i] = sizes[i];
    map.box[i] = static_cast<uint16_t>(box[i]);
    if (i > 0) {
      ok &= strides[i - 1] % 16 == 0 && strides[i - 1] < uint64_t(1) << 40;
      map.strides[i - 1] = strides[i - 1];
    }
  }
  uint64_t inner = uint64_t(box[0]) * map.elementBytes;
  ok &= inner % 16 == 0 && (swizzle == 0 || inner <= 16u << swizzle);
  if (!ok)
    return InvalidValue;
  std::memset(out, 0, 128);
  std::memcpy(out, &map, sizeof map);
  return Success;
}
