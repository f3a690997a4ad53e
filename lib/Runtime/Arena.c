/*===- Arena.c - A session's working memory -------------------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A two-level segregated-fit allocator (Masmano et al., "TLSF", 2004) over
 * chunks from mmap: allocation and release in constant time, neighbours
 * coalesced at once. What it adds is the life cycle of a run: memory is never
 * given back while a session is in steady state, and when a run had to take
 * more chunks than one, the next run starts from a single chunk of their total
 * size. Equal runs therefore reach a state in which they make no system call.
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <string.h>
#include <sys/mman.h>

/* A block's header. One cache line, so that the data behind it is aligned to
 * MOE_RT_ALIGNMENT whenever the header is. */
struct moe_block {
  _Alignas(MOE_RT_ALIGNMENT) int64_t size; /* with this header */
  moe_block *previous; /* neighbour before this one in the chunk, or NULL */
  moe_block *next_free;
  moe_block *previous_free;
  uint64_t state;
};
_Static_assert(sizeof(moe_block) == MOE_RT_ALIGNMENT, "data must be aligned");

/* Distinguishes headers from whatever else a wrong pointer may point behind. */
#define STATE_USED 0x6d6f65757365644bULL
#define STATE_FREE 0x6d6f65667265654bULL

/* A mapping: this header, blocks, and a used block of header size as sentinel,
 * so that the last real block always has a successor to look at. */
struct moe_chunk {
  _Alignas(MOE_RT_ALIGNMENT) moe_chunk *next;
  int64_t size;
};
_Static_assert(sizeof(moe_chunk) == MOE_RT_ALIGNMENT, "blocks must be aligned");

#define HEADER ((int64_t)sizeof(moe_block))
#define CHUNK_OVERHEAD ((int64_t)sizeof(moe_chunk) + HEADER)
#define MIN_CHUNK (INT64_C(1) << 20)
#define HUGE_PAGE (INT64_C(2) << 20)
/* Keeps every sum of sizes far from overflow. */
#define MAX_BYTES (INT64_C(1) << 50)

static moe_block *first_block(const moe_chunk *chunk) {
  return (moe_block *)((char *)chunk + sizeof(moe_chunk));
}

static moe_block *next_block(const moe_block *block) {
  return (moe_block *)((char *)block + block->size);
}

static bool is_sentinel(const moe_block *block) {
  return block->size == HEADER;
}

/*---- Free lists -----------------------------------------------------------*/

/* Sizes are counted in units of the alignment. Class c > 0 holds sizes from
 * 2^(c + SUB_BITS - 1) units in 2^SUB_BITS equal steps; class 0 the ones below,
 * one list each. */
static void size_class(int64_t bytes, int *cls, int *sub) {
  uint64_t units = (uint64_t)bytes / MOE_RT_ALIGNMENT;
  if (units < (1u << MOE_ARENA_SUB_BITS)) {
    *cls = 0;
    *sub = (int)units;
    return;
  }
  int log = 63 - __builtin_clzll(units);
  *cls = log - MOE_ARENA_SUB_BITS + 1;
  *sub = (int)(units >> (log - MOE_ARENA_SUB_BITS)) & 7;
}

static void insert_free(moe_arena *arena, moe_block *block) {
  int cls, sub;
  size_class(block->size, &cls, &sub);
  moe_block **list = &arena->free_lists[cls][sub];
  block->state = STATE_FREE;
  block->previous_free = NULL;
  block->next_free = *list;
  if (*list)
    (*list)->previous_free = block;
  *list = block;
  arena->class_bits |= UINT64_C(1) << cls;
  arena->sub_bits[cls] |= (uint8_t)(1u << sub);
}

static void remove_free(moe_arena *arena, moe_block *block) {
  if (block->next_free)
    block->next_free->previous_free = block->previous_free;
  if (block->previous_free) {
    block->previous_free->next_free = block->next_free;
    return;
  }
  int cls, sub;
  size_class(block->size, &cls, &sub);
  arena->free_lists[cls][sub] = block->next_free;
  if (block->next_free)
    return;
  arena->sub_bits[cls] &= (uint8_t)~(1u << sub);
  if (!arena->sub_bits[cls])
    arena->class_bits &= ~(UINT64_C(1) << cls);
}

/* A free block of at least `bytes`. Looks first in lists all of whose blocks
 * fit, then through the one list that holds sizes on both sides of `bytes`:
 * without the second look a chunk made exactly large enough would not serve. */
static moe_block *find_free(moe_arena *arena, int64_t bytes) {
  int cls, sub;
  size_class(bytes, &cls, &sub);
  moe_block *exact = arena->free_lists[cls][sub];
  if (exact && exact->size >= bytes)
    return exact;
  uint32_t subs = arena->sub_bits[cls] & (0xfffffffeu << sub);
  if (subs)
    return arena->free_lists[cls][__builtin_ctz(subs)];
  uint64_t classes = arena->class_bits & (~UINT64_C(1) << cls);
  if (classes) {
    int up = __builtin_ctzll(classes);
    return arena->free_lists[up][__builtin_ctz(arena->sub_bits[up])];
  }
  for (moe_block *block = exact; block; block = block->next_free)
    if (block->size >= bytes)
      return block;
  return NULL;
}

/*---- Chunks ---------------------------------------------------------------*/

/* Makes the chunk one free block. */
static void format_chunk(moe_arena *arena, moe_chunk *chunk) {
  moe_block *block = first_block(chunk);
  block->size = chunk->size - CHUNK_OVERHEAD;
  block->previous = NULL;
  moe_block *sentinel = next_block(block);
  sentinel->size = HEADER;
  sentinel->previous = block;
  sentinel->state = STATE_USED;
  insert_free(arena, block);
}

static moe_chunk *add_chunk(moe_arena *arena, int64_t size) {
  /* Large chunks are aligned for transparent huge pages: activations and
   * routed rows are streamed, and a miss of the TLB per 4 KiB shows. */
  int64_t align = size >= HUGE_PAGE ? HUGE_PAGE : 4096;
  size = (size + align - 1) & -align;
  int64_t slack = align == HUGE_PAGE ? HUGE_PAGE : 0;
  char *map = mmap(NULL, (size_t)(size + slack), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ++arena->system_calls;
  if (map == MAP_FAILED)
    return NULL;
  if (slack) {
    int64_t head = (int64_t)(-(uintptr_t)map & (uintptr_t)(HUGE_PAGE - 1));
    if (head)
      munmap(map, (size_t)head);
    if (slack - head)
      munmap(map + head + size, (size_t)(slack - head));
    map += head;
#ifdef MADV_HUGEPAGE
    madvise(map, (size_t)size, MADV_HUGEPAGE);
#endif
  }
  moe_chunk *chunk = (moe_chunk *)map;
  chunk->size = size;
  chunk->next = arena->chunks;
  arena->chunks = chunk;
  arena->reserved += size;
  format_chunk(arena, chunk);
  return chunk;
}

void moe_arena_init(moe_arena *arena) { memset(arena, 0, sizeof *arena); }

/* Unmaps all chunks; statistics stay. */
static void drop_chunks(moe_arena *arena) {
  while (arena->chunks) {
    moe_chunk *chunk = arena->chunks;
    arena->chunks = chunk->next;
    munmap(chunk, (size_t)chunk->size);
  }
  memset(arena->free_lists, 0, sizeof arena->free_lists);
  memset(arena->sub_bits, 0, sizeof arena->sub_bits);
  arena->class_bits = 0;
  arena->reserved = 0;
  arena->in_use = 0;
}

void moe_arena_release(moe_arena *arena) { drop_chunks(arena); }

/*---- Allocation -----------------------------------------------------------*/

void *moe_arena_alloc(moe_arena *arena, int64_t bytes) {
  if (bytes < 0 || bytes > MAX_BYTES)
    return NULL;
  /* A free block is never smaller than two units: one unit marks sentinels. */
  int64_t data = bytes ? (bytes + MOE_RT_ALIGNMENT - 1) & -MOE_RT_ALIGNMENT
                       : MOE_RT_ALIGNMENT;
  int64_t need = data + HEADER;
  moe_block *block = find_free(arena, need);
  if (!block) {
    /* Doubling keeps the number of chunks of a first run logarithmic. */
    int64_t size = need + CHUNK_OVERHEAD;
    if (size < arena->reserved)
      size = arena->reserved;
    if (size < MIN_CHUNK)
      size = MIN_CHUNK;
    if (!add_chunk(arena, size) && !add_chunk(arena, need + CHUNK_OVERHEAD))
      return NULL;
    block = find_free(arena, need);
  }
  remove_free(arena, block);
  if (block->size - need >= 2 * HEADER) {
    moe_block *after = next_block(block);
    moe_block *rest = (moe_block *)((char *)block + need);
    rest->size = block->size - need;
    rest->previous = block;
    after->previous = rest;
    block->size = need;
    insert_free(arena, rest);
  }
  block->state = STATE_USED;
  arena->in_use += block->size;
  if (arena->in_use > arena->peak)
    arena->peak = arena->in_use;
  return (char *)block + HEADER;
}

static void free_block(moe_arena *arena, moe_block *block) {
  arena->in_use -= block->size;
  moe_block *after = next_block(block);
  if (after->state == STATE_FREE) {
    remove_free(arena, after);
    block->size += after->size;
    next_block(block)->previous = block;
  }
  moe_block *before = block->previous;
  if (before && before->state == STATE_FREE) {
    remove_free(arena, before);
    before->size += block->size;
    next_block(before)->previous = before;
    block->state = 0;
    block = before;
  }
  insert_free(arena, block);
}

static const moe_chunk *chunk_of(const moe_arena *arena, const void *data) {
  for (const moe_chunk *chunk = arena->chunks; chunk; chunk = chunk->next)
    if ((uintptr_t)data - (uintptr_t)chunk < (uintptr_t)chunk->size)
      return chunk;
  return NULL;
}

bool moe_arena_contains(const moe_arena *arena, const void *data) {
  return chunk_of(arena, data) != NULL;
}

void moe_arena_free(moe_arena *arena, void *data) {
  if (!data || (uintptr_t)data % MOE_RT_ALIGNMENT || !chunk_of(arena, data))
    return;
  moe_block *block = (moe_block *)((char *)data - HEADER);
  if (block->state == STATE_USED)
    free_block(arena, block);
}

/*---- Runs -----------------------------------------------------------------*/

static bool holds_kept(const moe_block *block, const void *const *kept,
                       int32_t num_kept) {
  for (int32_t i = 0; i < num_kept; ++i)
    if ((uintptr_t)kept[i] - (uintptr_t)block < (uintptr_t)block->size)
      return true;
  return false;
}

void moe_arena_begin(moe_arena *arena, const void *const *kept,
                     int32_t num_kept) {
  bool keeps = false;
  for (int32_t i = 0; i < num_kept && !keeps; ++i)
    keeps = moe_arena_contains(arena, kept[i]);

  if (!keeps && arena->chunks && arena->chunks->next) {
    int64_t total = arena->reserved;
    drop_chunks(arena);
    /* Failure is harmless: the run takes smaller chunks as it needs them. */
    (void)add_chunk(arena, total);
  } else {
    for (moe_chunk *chunk = arena->chunks; chunk; chunk = chunk->next)
      for (moe_block *block = first_block(chunk); !is_sentinel(block);) {
        /* Freeing may merge this block with either neighbour, but never moves
         * the start of what follows them. */
        moe_block *next = next_block(block);
        if (next->state == STATE_FREE)
          next = next_block(next);
        if (block->state == STATE_USED && !holds_kept(block, kept, num_kept))
          free_block(arena, block);
        block = next;
      }
  }
}
