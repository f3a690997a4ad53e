/*===- Error.c - Status codes, messages, dtypes and shapes ----------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

moe_status moe_fail(moe_message message, moe_status status, const char *format,
                    ...) {
  if (message.text && message.size) {
    va_list args;
    va_start(args, format);
    vsnprintf(message.text, message.size, format, args);
    va_end(args);
  }
  return status;
}

const char *moe_status_text(moe_status status) {
  switch (status) {
  case MOE_OK:
    return "success";
  case MOE_ERROR_ARGUMENT:
    return "invalid argument";
  case MOE_ERROR_INPUT:
    return "invalid input";
  case MOE_ERROR_MEMORY:
    return "out of memory";
  case MOE_ERROR_IO:
    return "input/output error";
  case MOE_ERROR_WEIGHTS:
    return "weight file does not match";
  case MOE_ERROR_MODEL:
    return "damaged model";
  case MOE_ERROR_NODE:
    return "error in a node";
  case MOE_ERROR_BUFFER_SIZE:
    return "output buffer too small";
  case MOE_ERROR_CACHE_CAPACITY:
    return "cache capacity exceeded";
  case MOE_ERROR_BUSY:
    return "busy";
  case MOE_ERROR_UNSUPPORTED:
    return "unsupported";
  }
  return "unknown status";
}

const char *moe_dtype_name(moe_dtype dtype) {
  static const char *const names[] = {"invalid", "f32", "f16", "bf16", "f64",
                                      "i8",      "i16", "i32", "i64",  "u8",
                                      "u16",     "u32", "u64", "bool"};
  return dtype > 0 && dtype <= MOE_BOOL ? names[dtype] : names[0];
}

bool moe_shape_bytes(int32_t rank, const int64_t *shape, int64_t element_size,
                     int64_t *elements, int64_t *bytes) {
  int64_t count = 1;
  bool empty = false;
  /* Also beside a size of 0: what is computed from the other sizes would not
   * fit either. */
  for (int32_t i = 0; i < rank; ++i)
    if (shape[i] == 0)
      empty = true;
    else if (__builtin_mul_overflow(count, shape[i], &count))
      return false;
  *elements = empty ? 0 : count;
  return !__builtin_mul_overflow(*elements, element_size, bytes);
}

void moe_shape_text(char *text, size_t size, int32_t rank, const int64_t *shape,
                    const char *const *names) {
  size_t used = 0;
  for (int32_t i = 0; i <= rank && used < size; ++i) {
    const char *before = i == 0 ? "[" : i < rank ? ", " : "";
    int written;
    if (i == rank)
      written = snprintf(text + used, size - used, "%s]", before);
    else if (shape[i] >= 0)
      written =
          snprintf(text + used, size - used, "%s%" PRId64, before, shape[i]);
    else
      written = snprintf(text + used, size - used, "%s%s", before,
                         names && names[i][0] ? names[i] : "?");
    used += (size_t)(written > 0 ? written : 0);
  }
}
