/*===- WeightFormat.h - Layout of the weight file -----------------*- C -*-===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 *   offset 0                          moe_weights_header, zero up to the page
 *   MOE_WEIGHTS_DATA_OFFSET (4096)    sections, aligned, gaps zero
 *   table_offset                      moe_weights_section[num_sections]
 *   names_offset                      section names, NUL-terminated
 *   file_size                         end
 *
 * Everything is little-endian. Compiled code addresses weights relative to the
 * data (moe_context.weights); a section's `offset` is relative to it as well.
 * Sections are aligned to 64 bytes, those of 1 MiB and more to a page, so that
 * whole experts can be prefetched or dropped. The table lies behind the data:
 * sections can be streamed out without knowing beforehand how many there are.
 *
 * Hashes are XXH64 (Hash.h). A section's hash covers its bytes; the content
 * hash covers table and names, hence every byte that matters; the header hash
 * covers the header up to itself; padding has none. A model records file_size
 * and content_hash of its weight file: opening compares those and reads a few
 * pages; verifying reads all sections.
 *===----------------------------------------------------------------------===*/
#ifndef MOE_RUNTIME_WEIGHTFORMAT_H
#define MOE_RUNTIME_WEIGHTFORMAT_H

#include <stdint.h>

#define MOE_WEIGHTS_MAGIC "MOEWGHT" /* 8 bytes with the NUL */
#define MOE_WEIGHTS_VERSION 1u
#define MOE_WEIGHTS_DATA_OFFSET 4096u
#define MOE_WEIGHTS_ALIGNMENT 64u
#define MOE_WEIGHTS_LARGE_ALIGNMENT 4096u
#define MOE_WEIGHTS_LARGE_SECTION (1u << 20)

typedef struct moe_weights_header {
  char magic[8];
  uint32_t version;
  uint32_t header_size; /* sizeof(moe_weights_header) */
  uint64_t file_size;
  uint64_t data_size; /* from MOE_WEIGHTS_DATA_OFFSET, without the table */
  uint64_t num_sections;
  uint64_t table_offset; /* from the start of the file, 64-byte aligned */
  uint64_t names_offset;
  uint64_t names_size;
  uint64_t content_hash;
  uint64_t header_hash; /* of the fields above */
} moe_weights_header;

typedef struct moe_weights_section {
  uint64_t offset; /* from the start of the data */
  uint64_t size;
  uint64_t hash;
  uint64_t name; /* from the start of the names */
} moe_weights_section;

#endif /* MOE_RUNTIME_WEIGHTFORMAT_H */
