/*===- Descriptor.h - Layout of a model descriptor ----------------*- C -*-===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * A compiled model carries its signature, the identity of its weight file and
 * its tables of names in one flat byte array: a header, then tables of fixed
 * size records, then a string table. Everything is little-endian; tables are
 * 8-byte aligned; strings are NUL-terminated and named by their byte offset
 * into the string table, whose first byte is NUL (so that 0 is "").
 *
 * Written by moe::ModelDescriptor (include/moe/Target/CPU/ModelDescriptor.h),
 * read by lib/Runtime/Descriptor.c, which checks every offset, count and index
 * against the array's size: a damaged library is refused, not followed.
 *===----------------------------------------------------------------------===*/
#ifndef MOE_RUNTIME_DESCRIPTOR_H
#define MOE_RUNTIME_DESCRIPTOR_H

#include <stdint.h>

#define MOE_DESCRIPTOR_MAGIC "MOEDESC" /* 8 bytes with the NUL */
#define MOE_DESCRIPTOR_VERSION 1u

/* No tensor has a rank above this; keeps the runtime's work arrays fixed. */
#define MOE_MAX_RANK 32

/* A table: `count` records from byte `offset` of the descriptor. The string
 * table counts bytes. */
typedef struct moe_desc_table {
  uint32_t offset;
  uint32_t count;
} moe_desc_table;

typedef struct moe_desc_header {
  char magic[8];
  uint32_t version;
  uint32_t header_size;   /* sizeof(moe_desc_header) */
  uint64_t total_size;    /* of the whole array */
  uint64_t weights_size;  /* of the weight file; 0: the model has none */
  uint64_t weights_hash;  /* its content hash, see WeightFormat.h */
  uint32_t name;          /* the model's name */
  uint32_t cpu_features;  /* comma-separated features the code needs, as LLVM
                             names them ("avx2,fma"); checked at open */
  moe_desc_table inputs;  /* moe_desc_value */
  moe_desc_table outputs; /* moe_desc_value */
  moe_desc_table dims;    /* moe_desc_dim */
  moe_desc_table caches;  /* moe_desc_cache */
  moe_desc_table expert_layers; /* moe_desc_expert_layer */
  moe_desc_table sites;         /* moe_desc_site */
  moe_desc_table regions;       /* moe_desc_region */
  moe_desc_table metadata;      /* moe_desc_metadata */
  moe_desc_table strings;       /* bytes */
} moe_desc_header;

/* An input or output; its dimensions are dims[first_dim, first_dim + rank). */
typedef struct moe_desc_value {
  uint32_t name;
  int32_t dtype;
  uint32_t rank;
  uint32_t first_dim;
} moe_desc_value;

typedef struct moe_desc_dim {
  int64_t size;  /* -1: dynamic */
  uint32_t name; /* symbolic name; "" for none */
  uint32_t reserved;
} moe_desc_dim;

/* A past input and the present output that continues it along `axis`. */
typedef struct moe_desc_cache {
  uint32_t input;
  uint32_t output;
  uint32_t axis;
  uint32_t flags; /* MOE_CACHE_*; unknown flags are refused */
} moe_desc_cache;

typedef struct moe_desc_expert_layer {
  uint32_t name;
  uint32_t num_experts;
  uint32_t top_k; /* 0: varies */
  uint32_t reserved;
  uint64_t bytes_per_expert; /* 0: unknown */
} moe_desc_expert_layer;

/* A place that can fail, named as the user knows it: the source node, its
 * operator and what is required ("expects index to be within the dimension,
 * got {found} for size {limit}"). */
typedef struct moe_desc_site {
  uint32_t node;
  uint32_t op;
  uint32_t message;
  uint32_t reserved;
} moe_desc_site;

typedef struct moe_desc_region {
  uint32_t name;
  uint32_t reserved;
} moe_desc_region;

typedef struct moe_desc_metadata {
  uint32_t key;
  uint32_t value;
} moe_desc_metadata;

#endif /* MOE_RUNTIME_DESCRIPTOR_H */
