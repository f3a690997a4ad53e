/*===- Arena.h - A session's working memory -----------------------*- C -*-===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * See Arena.c. Also valid C++, for its unit test.
 *===----------------------------------------------------------------------===*/
#ifndef MOE_LIB_RUNTIME_ARENA_H
#define MOE_LIB_RUNTIME_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moe_block moe_block;
typedef struct moe_chunk moe_chunk;

#define MOE_ARENA_SUB_BITS 3
#define MOE_ARENA_CLASSES 58

/* A session's working memory; see Arena.c. */
typedef struct moe_arena {
  moe_chunk *chunks;
  uint64_t class_bits;
  uint8_t sub_bits[MOE_ARENA_CLASSES];
  moe_block *free_lists[MOE_ARENA_CLASSES][1 << MOE_ARENA_SUB_BITS];
  int64_t in_use;   /* bytes in used blocks, with their headers */
  int64_t peak;     /* most of in_use since the session began */
  int64_t reserved; /* bytes in chunks */
  int64_t system_calls;
} moe_arena;

void moe_arena_init(moe_arena *arena);
void moe_arena_release(moe_arena *arena);
/* Starts a run: frees every block except those that hold one of `kept`, and
 * merges several chunks into one when nothing is kept. */
void moe_arena_begin(moe_arena *arena, const void *const *kept,
                     int32_t num_kept);
/* NULL when the system has no more memory. */
void *moe_arena_alloc(moe_arena *arena, int64_t bytes);
void moe_arena_free(moe_arena *arena, void *data);
bool moe_arena_contains(const moe_arena *arena, const void *data);

#ifdef __cplusplus
}
#endif

#endif /* MOE_LIB_RUNTIME_ARENA_H */
