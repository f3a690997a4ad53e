/*===- Signature.h - Messages, types and the signature ------------*- C -*-===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * What needs no session: see Error.c and Descriptor.c. Also valid C++, for the
 * unit tests.
 *===----------------------------------------------------------------------===*/
#ifndef MOE_LIB_RUNTIME_SIGNATURE_H
#define MOE_LIB_RUNTIME_SIGNATURE_H

#include "moe/Runtime/moe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#ifdef __cplusplus
extern "C" {
#endif

/*---- Errors ---------------------------------------------------------------*/

/* Where a function that can fail leaves its text. */
typedef struct moe_message {
  char *text;
  size_t size;
} moe_message;

/* Formats into the buffer (always terminated) and returns `status`. */
moe_status moe_fail(moe_message message, moe_status status, const char *format,
                    ...) MOE_PRINTF(3, 4);

const char *moe_status_text(moe_status status);

/*---- Types ----------------------------------------------------------------*/

const char *moe_dtype_name(moe_dtype dtype);

/* elements(shape) * element_size; false when it does not fit. */
bool moe_shape_bytes(int32_t rank, const int64_t *shape, int64_t element_size,
                     int64_t *elements, int64_t *bytes);

/* "[2, 5, 32]", "[]" for a scalar; dynamic sizes print as their name or "?". */
void moe_shape_text(char *text, size_t size, int32_t rank, const int64_t *shape,
                    const char *const *names);

/*---- Signature ------------------------------------------------------------*/

typedef struct moe_site {
  const char *node;
  const char *op;
  const char *message;
} moe_site;

/* The descriptor, checked and with its strings resolved. The arrays are one
 * allocation each; the strings lie in the descriptor itself. */
typedef struct moe_signature {
  const char *name;
  const char *cpu_features;
  uint64_t weights_size;
  uint64_t weights_hash;
  int32_t num_inputs, num_outputs, num_caches, num_layers, num_sites,
      num_regions, num_metadata;
  moe_value_info *inputs;
  moe_value_info *outputs;
  int64_t *dims;
  const char **dim_names;
  int32_t *dim_symbols; /* per entry of dims: which of the distinct symbolic
                           names it has, -1 for none */
  const char **symbols; /* the distinct names */
  int32_t num_symbols;
  moe_cache_binding_info *caches;
  moe_expert_layer_info *layers;
  moe_site *sites;
  const char **regions;
  const char **metadata; /* key, value, key, value, ... */
} moe_signature;

moe_status moe_signature_read(const uint8_t *descriptor, uint64_t max_size,
                              moe_signature *signature, moe_message message);
void moe_signature_release(moe_signature *signature);

#ifdef __cplusplus
}
#endif

#endif /* MOE_LIB_RUNTIME_SIGNATURE_H */
