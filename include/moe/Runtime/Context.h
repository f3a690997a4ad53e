/*===- Context.h - The boundary of compiled code ------------------*- C -*-===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The object that the compiler emits defines
 *
 *     void moe_compiled_main(moe_context *ctx);
 *     const uint8_t moe_compiled_descriptor[];   // see Descriptor.h, 8-aligned
 *
 * and calls only the moe_rt_* functions below. Runtime and object are linked
 * statically into one library, with hidden visibility, so this boundary may
 * change from release to release; the public one is moe.h.
 *
 * The compiler additionally emits the exported function that lets a program
 * link several models (moe.h, "Entry point"):
 *
 *     const moe_api *<model>_get_api(uint32_t v) { return moe_rt_get_api(v); }
 *
 * It must call the hidden moe_rt_get_api and not the exported moe_get_api,
 * which another model's library may interpose.
 *
 * Rules for compiled code
 *  - moe_compiled_main runs on the thread that called run. Functions marked
 *    [serial] may only be called on that thread outside parallel regions; they
 *    may leave main by longjmp. Functions marked [parallel] may be called
 *    anywhere and return.
 *  - Everything allocated is released when the next run begins: main need not
 *    free, but freeing early lets memory be used again within the run.
 *  - Nothing in main may need unwinding.
 *===----------------------------------------------------------------------===*/
#ifndef MOE_RUNTIME_CONTEXT_H
#define MOE_RUNTIME_CONTEXT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The fields that compiled code reads directly, at these offsets. What follows
 * in memory is the runtime's own. */
typedef struct moe_context {
  const void *weights; /* offset 0: the data of the mapped weight file, that is
                          file offset MOE_WEIGHTS_DATA_OFFSET; page aligned */
  int32_t num_threads; /* offset 8: for num_threads(...) of parallel regions */
  int32_t failed;      /* offset 12: non-zero once an error was recorded in this
                          run; a parallel loop may read it (monotonic atomic)
                          to skip work */
} moe_context;

#define MOE_CONTEXT_WEIGHTS_OFFSET 0
#define MOE_CONTEXT_NUM_THREADS_OFFSET 8
#define MOE_CONTEXT_FAILED_OFFSET 12

/* Alignment of everything moe_rt_alloc returns. */
#define MOE_RT_ALIGNMENT 64

/* [serial] Memory from the session's arena, aligned to MOE_RT_ALIGNMENT, not
 * cleared. Never NULL, also for 0 bytes: failure leaves main. INT64_MAX stands
 * for every number that does not fit. */
void *moe_rt_alloc(moe_context *ctx, int64_t bytes);

/* [serial] Returns memory of moe_rt_alloc for reuse in this run. NULL and
 * pointers that do not come from moe_rt_alloc (inputs, weights) are ignored.
 * Memory handed to moe_rt_set_output must not be freed. */
void moe_rt_free(moe_context *ctx, void *data);

/* [parallel] An input's elements, contiguous and row-major, aligned to the
 * element size only (the caller's memory is used in place). May be NULL when
 * the input is empty. Dtype, rank, static dimensions and equal symbolic
 * dimensions have been validated. i1 elements are bytes 0 or 1. */
void *moe_rt_input_data(moe_context *ctx, int32_t input);

/* [parallel] The size of one dimension of an input. */
int64_t moe_rt_input_dim(moe_context *ctx, int32_t input, int32_t dim);

/* [serial] Sets an output: contiguous row-major elements that lie in the
 * arena, in the weights or in an input. The shape is copied. Every output must
 * be set exactly once before main returns. */
void moe_rt_set_output(moe_context *ctx, int32_t output, void *data,
                       int32_t rank, const int64_t *shape);

/* [serial] When `ok` is false, records the error of `site` and leaves main.
 * The site's message may contain {found}, {limit} and, for a product that
 * saturates, {found+}, which prints INT64_MAX as "at least" that number. Only
 * bit 0 of `ok` is looked at: compiled code may pass an i1 that is not
 * extended. */
void moe_rt_check(moe_context *ctx, uint8_t ok, int32_t site, int64_t found,
                  int64_t limit);

/* [parallel] Records an error; only the run's first one is kept. */
void moe_rt_record(moe_context *ctx, int32_t site, int64_t found,
                   int64_t limit);

/* [serial] Leaves main when an error was recorded; called after a parallel
 * region. */
void moe_rt_rethrow(moe_context *ctx);

/* [serial] Counts one execution of a sparse layer: expert e got
 * offsets[e + 1] - offsets[e] rows. */
void moe_rt_count_experts(moe_context *ctx, int32_t layer,
                          const int64_t *offsets, int64_t experts);

/* [serial] Tells the profile hook, if any, that a region begins or ends. */
void moe_rt_profile(moe_context *ctx, int32_t region, int32_t begin);

/*---- Models with kernels for a GPU (Cuda.c); all of it [serial] ------------*/

/* The first call of main: finds the driver and loads `code`, PTX text. Leaves
 * main when there is no driver or no GPU that can run it. */
void moe_rt_gpu_begin(moe_context *ctx, const char *code);

/* As moe_rt_alloc and moe_rt_free, for memory of the device. */
int64_t moe_rt_gpu_alloc(moe_context *ctx, int64_t bytes);
void moe_rt_gpu_free(moe_context *ctx, int64_t address);

/* Copies; a download also waits for everything before it. */
void moe_rt_gpu_upload(moe_context *ctx, int64_t address, const void *data,
                       int64_t bytes);
void moe_rt_gpu_download(moe_context *ctx, int64_t address, void *data,
                         int64_t bytes);

/* The device's copy of `bytes` of the weights, made by the first call. */
int64_t moe_rt_gpu_weight(moe_context *ctx, int64_t offset, int64_t bytes);

/* Starts a kernel of `grid_x` by `grid_y` blocks, unless one is 0. Kernels are
 * numbered from 0; each of the `count` values takes 8 bytes. */
void moe_rt_gpu_launch(moe_context *ctx, int32_t number, const char *name,
                       int64_t grid_x, int64_t grid_y, int64_t threads,
                       int32_t shared_bytes, uint64_t *values, int32_t count);

/* The body of the entry points; see the top of this file. */
const struct moe_api *moe_rt_get_api(uint32_t abi_version);

/* Defined by the compiled object. */
extern void moe_compiled_main(moe_context *ctx);
extern const uint8_t moe_compiled_descriptor[];

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MOE_RUNTIME_CONTEXT_H */
