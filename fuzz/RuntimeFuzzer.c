/*===- RuntimeFuzzer.c - What the runtime reads ---------------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * An input that begins like a weight file is opened as one, with the hashes put
 * right: a stranger can do that as well. Anything else is a descriptor.
 *===----------------------------------------------------------------------===*/
#include "Runtime/Internal.h"

#include "moe/Runtime/Hash.h"
#include "moe/Runtime/WeightFormat.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void use(const char *text) {
  volatile size_t length = strlen(text);
  (void)length;
}

static void open_weights(const uint8_t *data, size_t size) {
  static char path[] = "/dev/shm/moe-fuzz-XXXXXX";
  static int fd = -1;
  if (fd < 0 && (fd = mkstemp(path)) < 0)
    abort();
  uint8_t *copy = malloc(size);
  if (!copy)
    return;
  memcpy(copy, data, size);
  moe_weights_header *h = (moe_weights_header *)copy;
  if (size >= sizeof *h) {
    if (h->table_offset <= size)
      h->content_hash =
          moe_hash(copy + h->table_offset, size - h->table_offset);
    h->header_hash = moe_hash(h, offsetof(moe_weights_header, header_hash));
  }
  if (ftruncate(fd, 0) != 0 || pwrite(fd, copy, size, 0) != (ssize_t)size)
    abort();
  char text[512];
  moe_weights weights;
  uint64_t hash = size >= sizeof *h ? h->content_hash : 0;
  free(copy);
  if (moe_weights_open(path, size, hash, MOE_OPEN_VERIFY, &weights,
                       (moe_message){text, sizeof text}) != MOE_OK)
    use(text);
  else
    moe_weights_close(&weights);
}

static void read_descriptor(const uint8_t *data, size_t size) {
  /* Of exactly this size, so that a read beyond it is seen. */
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy)
    return;
  memcpy(copy, data, size);
  char text[512];
  moe_signature s;
  if (moe_signature_read(copy, size, &s, (moe_message){text, sizeof text}) !=
      MOE_OK) {
    use(text);
    free(copy);
    return;
  }
  use(s.name);
  use(s.cpu_features);
  for (int32_t i = 0; i < s.num_inputs; ++i)
    moe_shape_text(text, sizeof text, s.inputs[i].rank, s.inputs[i].dims,
                   s.inputs[i].dim_names);
  for (int32_t i = 0; i < s.num_outputs; ++i)
    moe_shape_text(text, sizeof text, s.outputs[i].rank, s.outputs[i].dims,
                   s.outputs[i].dim_names);
  for (int32_t i = 0; i < s.num_sites; ++i) {
    use(s.sites[i].node);
    use(s.sites[i].op);
    use(s.sites[i].message);
  }
  for (int32_t i = 0; i < s.num_layers; ++i)
    use(s.layers[i].name);
  for (int32_t i = 0; i < s.num_regions; ++i)
    use(s.regions[i]);
  for (int32_t i = 0; i < 2 * s.num_metadata; ++i)
    use(s.metadata[i]);
  moe_signature_release(&s);
  free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size >= 7 && memcmp(data, MOE_WEIGHTS_MAGIC, 7) == 0)
    open_weights(data, size);
  else
    read_descriptor(data, size);
  return 0;
}
