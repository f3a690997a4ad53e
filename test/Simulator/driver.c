// A host program against the driver's entry points, as one finds them with
// dlopen and dlsym in libcuda.so.1.
// UNSUPPORTED: sanitizer
// RUN: %host_cc -std=c11 -Wall -Wno-deprecated-non-prototype %s -ldl -o %t
// RUN: %t %moe_obj/lib/libmoe-sim.so %S/Inputs/basic.ptx 2>&1 | FileCheck %s

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ptr;
static void *library;

static void *get(const char *name) {
  void *symbol = dlsym(library, name);
  if (!symbol) {
    printf("no %s\n", name);
    exit(1);
  }
  return symbol;
}
#define CALL(name, ...) ((int (*)())get(#name))(__VA_ARGS__)
#define CHECK(name, ...)                                                       \
  do {                                                                         \
    int status = CALL(name, __VA_ARGS__);                                      \
    if (status)                                                                \
      printf("%s: %d\n", #name, status), exit(1);                              \
  } while (0)

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  library = dlopen(argv[1], RTLD_NOW);
  if (!library) {
    printf("%s\n", dlerror());
    return 1;
  }
  int device, value, n = 1000;
  // CHECK: before cuInit: 3
  printf("before cuInit: %d\n", CALL(cuDeviceGet, &device, 0));
  CHECK(cuInit, 0);
  CHECK(cuDeviceGet, &device, 0);
  // CHECK: no device 7: 101
  printf("no device 7: %d\n", CALL(cuDeviceGet, &device, 7));
  // CHECK: compute capability 9
  CHECK(cuDeviceGetAttribute, &value, 75, device);
  printf("compute capability %d\n", value);
  void *context, *module, *function, *stream, *event;
  CHECK(cuCtxCreate_v2, &context, 0, device);
  CHECK(cuStreamCreate, &stream, 0);
  CHECK(cuEventCreate, &event, 0);

  char log[200] = "";
  int options[] = {5, 6};
  void *values[] = {log, (void *)sizeof log};
  // CHECK: bad PTX: 218
  // CHECK: module0.ptx:1: found 'nonsense', expected '.version'
  value = CALL(cuModuleLoadDataEx, &module, "nonsense", 2, options, values);
  printf("bad PTX: %d\n", value);
  printf("%s\n", log);
  // CHECK: cubin: 209
  value = CALL(cuModuleLoadData, &module, "\177ELF");
  printf("cubin: %d\n", value);
  // CHECK: no file: 301
  printf("no file: %d\n", CALL(cuModuleLoad, &module, "/nonexistent"));
  CHECK(cuModuleLoad, &module, argv[2]);
  // CHECK: no function: 500
  printf("no function: %d\n",
         CALL(cuModuleGetFunction, &function, module, "nothing"));
  CHECK(cuModuleGetFunction, &function, module, "vector_add");

  ptr a, b, c;
  float *host = malloc(n * 4);
  CHECK(cuMemAlloc_v2, &a, (size_t)n * 4);
  CHECK(cuMemAlloc_v2, &b, (size_t)n * 4);
  CHECK(cuMemAlloc_v2, &c, (size_t)n * 4);
  for (int i = 0; i < n; ++i)
    host[i] = (float)i;
  CHECK(cuMemcpyHtoD_v2, a, host, (size_t)n * 4);
  CHECK(cuMemsetD32_v2, b, 0x3f000000, (size_t)n);
  void *params[] = {&a, &b, &c, &n};
  CHECK(cuLaunchKernel, function, 4, 1, 1, 256, 1, 1, 0, stream, params, NULL);
  CHECK(cuEventRecord, event, stream);
  CHECK(cuStreamSynchronize, stream);
  CHECK(cuMemcpyDtoH_v2, host, c, (size_t)n * 4);
  int wrong = 0;
  for (int i = 0; i < n; ++i)
    wrong += host[i] != i + 0.5f;
  // CHECK: wrong: 0
  printf("wrong: %d\n", wrong);

  // CHECK: too many threads: 1
  printf("too many threads: %d\n", CALL(cuLaunchKernel, function, 1, 1, 1, 2048,
                                        1, 1, 0, stream, params, NULL));
  // CHECK: copy past the end: 1
  printf("copy past the end: %d\n",
         CALL(cuMemcpyDtoH_v2, host, c + 4, (size_t)n * 4));
  ptr map[16];
  unsigned long long sizes[] = {64, 64}, strides[] = {128};
  unsigned box[] = {64, 16}, steps[] = {1, 1};
  CHECK(cuTensorMapEncodeTiled, map, 6, 2, (void *)a, sizes, strides, box,
        steps, 0, 3, 0, 0);
  box[0] = 128;
  // CHECK: box wider than its swizzle: 1
  printf("box wider than its swizzle: %d\n",
         CALL(cuTensorMapEncodeTiled, map, 6, 2, (void *)a, sizes, strides, box,
              steps, 0, 3, 0, 0));
  // The freed operand is noticed, and the context keeps the error.
  CHECK(cuMemFree_v2, b);
  // CHECK: module0.ptx:{{[0-9]+}}: out-of-bounds: kernel 'vector_add'
  // CHECK: dangling: 700
  // CHECK: then: 700
  value = CALL(cuLaunchKernel, function, 4, 1, 1, 256, 1, 1, 0, stream, params,
               NULL);
  printf("dangling: %d\n", value);
  printf("then: %d\n", CALL(cuCtxSynchronize));
  const char *text;
  CHECK(cuGetErrorName, 700, &text);
  // CHECK: CUDA_ERROR_ILLEGAL_ADDRESS
  printf("%s\n", text);
  free(host);
  return 0;
}
