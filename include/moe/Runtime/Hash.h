/*===- Hash.h - XXH64, streaming ----------------------------------*- C -*-===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The hash of weight files. XXH64 (https://github.com/Cyan4973/xxHash, seed 0)
 * because it streams with 88 bytes of state and runs well above the speed of
 * memory-mapped files, and because writer (C++) and reader (C) can share these
 * lines: LLVM's xxh3 neither streams nor links without LLVM. Little-endian
 * hosts only, like everything else in the file format.
 *===----------------------------------------------------------------------===*/
#ifndef MOE_RUNTIME_HASH_H
#define MOE_RUNTIME_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MOE_XXH_P1 0x9E3779B185EBCA87ULL
#define MOE_XXH_P2 0xC2B2AE3D27D4EB4FULL
#define MOE_XXH_P3 0x165667B19E3779F9ULL
#define MOE_XXH_P4 0x85EBCA77C2B2AE63ULL
#define MOE_XXH_P5 0x27D4EB2F165667C5ULL

typedef struct moe_hash_state {
  uint64_t lane[4];
  uint64_t total;
  uint32_t pending; /* bytes waiting in `tail`, < 32 */
  uint8_t tail[32];
} moe_hash_state;

static inline uint64_t moe_hash_rotl(uint64_t x, int r) {
  return (x << r) | (x >> (64 - r));
}

static inline uint64_t moe_hash_read64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

static inline uint64_t moe_hash_round(uint64_t acc, uint64_t v) {
  return moe_hash_rotl(acc + v * MOE_XXH_P2, 31) * MOE_XXH_P1;
}

static inline void moe_hash_init(moe_hash_state *s) {
  s->lane[0] = MOE_XXH_P1 + MOE_XXH_P2;
  s->lane[1] = MOE_XXH_P2;
  s->lane[2] = 0;
  s->lane[3] = 0 - MOE_XXH_P1;
  s->total = 0;
  s->pending = 0;
}

static inline const uint8_t *moe_hash_stripes(moe_hash_state *s,
                                              const uint8_t *p, size_t n) {
  uint64_t a = s->lane[0], b = s->lane[1], c = s->lane[2], d = s->lane[3];
  for (; n >= 32; n -= 32, p += 32) {
    a = moe_hash_round(a, moe_hash_read64(p));
    b = moe_hash_round(b, moe_hash_read64(p + 8));
    c = moe_hash_round(c, moe_hash_read64(p + 16));
    d = moe_hash_round(d, moe_hash_read64(p + 24));
  }
  s->lane[0] = a;
  s->lane[1] = b;
  s->lane[2] = c;
  s->lane[3] = d;
  return p;
}

static inline void moe_hash_update(moe_hash_state *s, const void *data,
                                   size_t size) {
  const uint8_t *p = (const uint8_t *)data;
  if (!size)
    return;
  s->total += size;
  if (s->pending) {
    size_t take = 32 - s->pending;
    if (take > size)
      take = size;
    memcpy(s->tail + s->pending, p, take);
    s->pending += (uint32_t)take;
    p += take;
    size -= take;
    if (s->pending < 32)
      return;
    moe_hash_stripes(s, s->tail, 32);
    s->pending = 0;
  }
  p = moe_hash_stripes(s, p, size);
  size &= 31;
  if (size)
    memcpy(s->tail, p, size);
  s->pending = (uint32_t)size;
}

static inline uint64_t moe_hash_final(const moe_hash_state *s) {
  uint64_t h;
  if (s->total >= 32) {
    h = moe_hash_rotl(s->lane[0], 1) + moe_hash_rotl(s->lane[1], 7) +
        moe_hash_rotl(s->lane[2], 12) + moe_hash_rotl(s->lane[3], 18);
    for (int i = 0; i < 4; ++i)
      h = (h ^ moe_hash_round(0, s->lane[i])) * MOE_XXH_P1 + MOE_XXH_P4;
  } else {
    h = MOE_XXH_P5;
  }
  h += s->total;
  const uint8_t *p = s->tail;
  uint32_t n = s->pending;
  for (; n >= 8; n -= 8, p += 8)
    h = moe_hash_rotl(h ^ moe_hash_round(0, moe_hash_read64(p)), 27) *
            MOE_XXH_P1 +
        MOE_XXH_P4;
  if (n >= 4) {
    uint32_t v;
    memcpy(&v, p, 4);
    h = moe_hash_rotl(h ^ (v * MOE_XXH_P1), 23) * MOE_XXH_P2 + MOE_XXH_P3;
    n -= 4;
    p += 4;
  }
  for (; n; --n, ++p)
    h = moe_hash_rotl(h ^ (*p * MOE_XXH_P5), 11) * MOE_XXH_P1;
  h = (h ^ (h >> 33)) * MOE_XXH_P2;
  h = (h ^ (h >> 29)) * MOE_XXH_P3;
  return h ^ (h >> 32);
}

static inline uint64_t moe_hash(const void *data, size_t size) {
  moe_hash_state s;
  moe_hash_init(&s);
  moe_hash_update(&s, data, size);
  return moe_hash_final(&s);
}

#endif /* MOE_RUNTIME_HASH_H */
