/*===- Weights.c - Opens and checks the weight file -----------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * The file is mapped read-only and shared: sessions and processes use the same
 * pages, and only what is read becomes resident. Opening reads the header and
 * the table; their hashes tie the file to the model (WeightFormat.h).
 *===----------------------------------------------------------------------===*/
#include "Internal.h"
#include "moe/Runtime/Hash.h"
#include "moe/Runtime/WeightFormat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Checks what a file says about itself, before any of it is used. */
static moe_status check_header(const moe_weights_header *h, uint64_t file_size,
                               const char *path, moe_message message) {
  if (memcmp(h->magic, MOE_WEIGHTS_MAGIC, sizeof h->magic) != 0)
    return moe_fail(message, MOE_ERROR_WEIGHTS,
                    "weight file '%s' is not a weight file", path);
  if (h->version != MOE_WEIGHTS_VERSION)
    return moe_fail(message, MOE_ERROR_WEIGHTS,
                    "weight file '%s' has format version %" PRIu32
                    ", expected version %u",
                    path, h->version, MOE_WEIGHTS_VERSION);
  if (h->file_size != file_size)
    return moe_fail(message, MOE_ERROR_WEIGHTS,
                    "weight file '%s' is truncated or extended: it has %" PRIu64
                    " bytes, its header says %" PRIu64,
                    path, file_size, h->file_size);
  if (h->header_size != sizeof *h ||
      h->header_hash != moe_hash(h, offsetof(moe_weights_header, header_hash)))
    return moe_fail(message, MOE_ERROR_WEIGHTS,
                    "weight file '%s' has a damaged header", path);
  if (h->table_offset % 64 || h->table_offset > file_size ||
      h->data_size > file_size - MOE_WEIGHTS_DATA_OFFSET ||
      h->num_sections >
          (file_size - h->table_offset) / sizeof(moe_weights_section) ||
      h->names_offset !=
          h->table_offset + h->num_sections * sizeof(moe_weights_section) ||
      h->names_size != file_size - h->names_offset)
    return moe_fail(message, MOE_ERROR_WEIGHTS,
                    "weight file '%s' has a header that contradicts itself",
                    path);
  return MOE_OK;
}

/* Reads every section and compares hashes. */
static moe_status verify(const uint8_t *map, const char *path,
                         moe_message message) {
  const moe_weights_header *h = (const moe_weights_header *)map;
  const moe_weights_section *sections =
      (const moe_weights_section *)(map + h->table_offset);
  const char *names = (const char *)map + h->names_offset;
  for (uint64_t i = 0; i < h->num_sections; ++i) {
    const moe_weights_section *s = &sections[i];
    if (s->offset > h->data_size || s->size > h->data_size - s->offset ||
        s->name >= h->names_size || names[h->names_size - 1] != 0)
      return moe_fail(message, MOE_ERROR_WEIGHTS,
                      "weight file '%s' has a damaged table", path);
    if (moe_hash(map + MOE_WEIGHTS_DATA_OFFSET + s->offset, s->size) != s->hash)
      return moe_fail(message, MOE_ERROR_WEIGHTS,
                      "weight file '%s' is damaged: the contents of '%s' do "
                      "not have the recorded hash",
                      path, names + s->name);
  }
  return MOE_OK;
}

static moe_status check_file(const uint8_t *map, uint64_t file_size,
                             uint64_t size, uint64_t hash, uint32_t flags,
                             const char *path, moe_message message) {
  const moe_weights_header *h = (const moe_weights_header *)map;
  moe_status status = check_header(h, file_size, path, message);
  if (status != MOE_OK)
    return status;
  if (h->content_hash !=
      moe_hash(map + h->table_offset, file_size - h->table_offset))
    return moe_fail(message, MOE_ERROR_WEIGHTS,
                    "weight file '%s' has a damaged table", path);
  if (size != file_size)
    return moe_fail(message, MOE_ERROR_WEIGHTS,
                    "weight file '%s' belongs to another model: it has %" PRIu64
                    " bytes, the model needs %" PRIu64,
                    path, file_size, size);
  if (hash != h->content_hash)
    return moe_fail(message, MOE_ERROR_WEIGHTS,
                    "weight file '%s' belongs to another model: its hash is "
                    "%016" PRIx64 ", the model needs %016" PRIx64,
                    path, h->content_hash, hash);
  return flags & MOE_OPEN_VERIFY ? verify(map, path, message) : MOE_OK;
}

moe_status moe_weights_open(const char *path, uint64_t size, uint64_t hash,
                            uint32_t flags, moe_weights *weights,
                            moe_message message) {
  memset(weights, 0, sizeof *weights);
  int fd;
  do
    /* Not to wait for the other end of a pipe. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  while (fd < 0 && errno == EINTR);
  if (fd < 0)
    return moe_fail(message, MOE_ERROR_IO, "cannot open weight file '%s': %s",
                    path, strerror(errno));
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return moe_fail(message, MOE_ERROR_IO,
                    "weight file '%s' is not a regular file", path);
  }
  uint64_t file_size = (uint64_t)info.st_size;
  if (file_size < MOE_WEIGHTS_DATA_OFFSET) {
    close(fd);
    return moe_fail(message, MOE_ERROR_WEIGHTS,
                    "weight file '%s' is not a weight file: it has %" PRIu64
                    " bytes, expected at least %u",
                    path, file_size, MOE_WEIGHTS_DATA_OFFSET);
  }
  void *map = mmap(NULL, file_size, PROT_READ, MAP_SHARED, fd, 0);
  int map_errno = errno;
  close(fd);
  if (map == MAP_FAILED)
    return moe_fail(message, MOE_ERROR_IO, "cannot map weight file '%s': %s",
                    path, strerror(map_errno));
  moe_status status =
      check_file(map, file_size, size, hash, flags, path, message);
  char *copy = NULL;
  if (status == MOE_OK && !(copy = strdup(path)))
    status = moe_fail(message, MOE_ERROR_MEMORY, "out of memory");
  if (status != MOE_OK) {
    munmap(map, file_size);
    return status;
  }
  if (flags & MOE_OPEN_PREFETCH)
    madvise(map, file_size, MADV_WILLNEED);
  weights->map = map;
  weights->size = file_size;
  weights->data = (const uint8_t *)map + MOE_WEIGHTS_DATA_OFFSET;
  weights->path = copy;
  return MOE_OK;
}

void moe_weights_close(moe_weights *weights) {
  if (weights->map)
    munmap(weights->map, weights->size);
  free(weights->path);
  memset(weights, 0, sizeof *weights);
}
