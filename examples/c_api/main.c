/*===- main.c - A compiled model from C -----------------------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Opens any compiled model, prints its signature, runs it on zeros with every
 * dynamic dimension set to a given size, and prints what came out:
 *
 *   cc main.c -I <prefix>/include -ldl -o main
 *   ./main model.so [size]
 *
 * A program made for one model links it instead of calling dlopen, includes the
 * model.h beside it instead of moe.h, and starts at <model>_get_api.
 *===----------------------------------------------------------------------===*/
#include "moe/Runtime/moe.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_RANK = 32 };

static void fail(const char *text) {
  fprintf(stderr, "error: %s\n", text);
  exit(1);
}

static const moe_api *load(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    fail(dlerror());
  moe_get_api_fn get = (moe_get_api_fn)dlsym(library, "moe_get_api");
  const moe_api *api = get ? get(MOE_ABI_VERSION) : NULL;
  if (!api)
    fail("not a compiled model of this version");
  return api;
}

static void print_info(const char *kind, const moe_value_info *info) {
  printf("%s %s:", kind, info->name);
  for (int32_t d = 0; d < info->rank; ++d) {
    if (info->dims[d] >= 0)
      printf(" %" PRId64, info->dims[d]);
    else
      printf(" %s", info->dim_names[d][0] ? info->dim_names[d] : "?");
  }
  printf("\n");
}

int main(int argc, char **argv) {
  if (argc < 2)
    fail("expects a compiled model: main model.so [size]");
  int64_t size = argc > 2 ? atoll(argv[2]) : 1;
  char error[512];

  const moe_api *api = load(argv[1]);
  moe_model *model;
  if (moe_open(api, NULL, 0, &model, error, sizeof error) != MOE_OK)
    fail(error);
  moe_session *session;
  if (moe_session_create(model, 0, &session, error, sizeof error) != MOE_OK)
    fail(error);

  int32_t num_inputs = moe_num_inputs(model);
  int32_t num_outputs = moe_num_outputs(model);
  moe_tensor *inputs = calloc((size_t)num_inputs + 1, sizeof *inputs);
  moe_tensor *outputs = calloc((size_t)num_outputs + 1, sizeof *outputs);
  int64_t *shapes = calloc((size_t)num_inputs * MAX_RANK + 1, sizeof *shapes);
  if (!inputs || !outputs || !shapes)
    fail("out of memory");
  for (int32_t i = 0; i < num_inputs; ++i) {
    const moe_value_info *info = moe_input_info(model, i);
    print_info("input", info);
    int64_t *shape = shapes + i * MAX_RANK;
    for (int32_t d = 0; d < info->rank; ++d)
      shape[d] = info->dims[d] >= 0 ? info->dims[d] : size;
    inputs[i].dtype = info->dtype;
    inputs[i].rank = info->rank;
    inputs[i].shape = shape;
    inputs[i].data = calloc((size_t)moe_tensor_bytes(&inputs[i]) + 1, 1);
    if (!inputs[i].data)
      fail("out of memory");
  }

  /* Outputs are zero: the session provides their memory. */
  if (moe_run(session, inputs, num_inputs, outputs, num_outputs) != MOE_OK)
    fail(moe_session_error(session));

  for (int32_t i = 0; i < num_outputs; ++i) {
    print_info("output", moe_output_info(model, i));
    printf("  is");
    for (int32_t d = 0; d < outputs[i].rank; ++d)
      printf(" %" PRId64, outputs[i].shape[d]);
    if (outputs[i].dtype == MOE_F32 && moe_tensor_elements(&outputs[i]) > 0)
      printf(", starting with %g", *(const float *)outputs[i].data);
    printf("\n");
  }

  for (int32_t i = 0; i < num_inputs; ++i)
    free(inputs[i].data);
  free(shapes);
  free(outputs);
  free(inputs);
  moe_session_destroy(session);
  moe_close(model);
  return 0;
}
