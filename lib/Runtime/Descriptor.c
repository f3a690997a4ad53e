/*===- Descriptor.c - Reads a compiled model's descriptor -----------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Checks the flat array of Descriptor.h once and turns it into the structures
 * that moe.h hands out. Nothing after this file looks at raw offsets.
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The array under check. `ok` turns false at the first reference that leaves
 * it; callers test it once per table instead of once per field. */
typedef struct reader {
  const uint8_t *base;
  uint64_t size;
  const moe_desc_header *header;
  const char *problem;
} reader;

static void problem(reader *r, const char *what) {
  if (!r->problem)
    r->problem = what;
}

static const void *table(reader *r, moe_desc_table t, uint64_t record,
                         const char *what) {
  if (t.offset % 8 || t.offset > r->size ||
      t.count > (r->size - t.offset) / record || t.count > INT32_MAX) {
    problem(r, what);
    return NULL;
  }
  return r->base + t.offset;
}

static const char *string(reader *r, uint32_t offset) {
  moe_desc_table strings = r->header->strings;
  if (offset >= strings.count) {
    problem(r, "a string lies outside the string table");
    return "";
  }
  return (const char *)r->base + strings.offset + offset;
}

static void read_values(reader *r, moe_desc_table t, moe_value_info *out,
                        const moe_signature *signature, uint32_t num_dims) {
  const moe_desc_value *in = (const moe_desc_value *)(r->base + t.offset);
  for (uint32_t i = 0; i < t.count; ++i) {
    if (in[i].rank > MOE_MAX_RANK || in[i].first_dim > num_dims ||
        in[i].rank > num_dims - in[i].first_dim) {
      problem(r, "a value's dimensions lie outside their table");
      return;
    }
    if (!moe_dtype_bytes(in[i].dtype))
      problem(r, "a value has an unknown dtype");
    out[i].name = string(r, in[i].name);
    out[i].dtype = in[i].dtype;
    out[i].rank = (int32_t)in[i].rank;
    out[i].dims = signature->dims + in[i].first_dim;
    out[i].dim_names = signature->dim_names + in[i].first_dim;
  }
}

/* Numbers the distinct symbolic names of the inputs' dimensions: a run then
 * compares sizes by number, not by name. */
static void number_symbols(moe_signature *s) {
  for (int32_t i = 0; i < s->num_inputs; ++i) {
    const moe_value_info *info = &s->inputs[i];
    ptrdiff_t first = info->dims - s->dims;
    for (ptrdiff_t d = first; d < first + info->rank; ++d) {
      s->dim_symbols[d] = -1;
      if (s->dims[d] >= 0 || !s->dim_names[d][0])
        continue;
      int32_t n = 0;
      while (n < s->num_symbols && strcmp(s->symbols[n], s->dim_names[d]) != 0)
        ++n;
      s->symbols[n] = s->dim_names[d];
      s->num_symbols += n == s->num_symbols;
      s->dim_symbols[d] = n;
    }
  }
}

static void read_caches(reader *r, const moe_desc_cache *in, moe_signature *s) {
  for (int32_t i = 0; i < s->num_caches; ++i) {
    if (in[i].input >= (uint32_t)s->num_inputs ||
        in[i].output >= (uint32_t)s->num_outputs) {
      problem(r, "a cache binding names a value that does not exist");
      return;
    }
    const moe_value_info *past = &s->inputs[in[i].input];
    const moe_value_info *present = &s->outputs[in[i].output];
    if (past->rank != present->rank || past->dtype != present->dtype ||
        in[i].axis >= (uint32_t)past->rank || in[i].flags)
      problem(r, "a cache binding joins values that do not fit");
    s->caches[i].input = (int32_t)in[i].input;
    s->caches[i].output = (int32_t)in[i].output;
    s->caches[i].axis = (int32_t)in[i].axis;
  }
}

static bool check_header(reader *r, uint64_t max_size) {
  const moe_desc_header *h = r->header;
  if ((uintptr_t)r->base % 8)
    problem(r, "it is not aligned");
  else if (max_size < sizeof *h ||
           memcmp(h->magic, MOE_DESCRIPTOR_MAGIC, sizeof h->magic) != 0)
    problem(r, "it has no header");
  else if (h->version != MOE_DESCRIPTOR_VERSION)
    problem(r, "its version is not the runtime's");
  else if (h->header_size != sizeof *h || h->total_size < sizeof *h ||
           h->total_size > max_size || h->total_size > UINT32_MAX)
    problem(r, "its size is wrong");
  if (r->problem)
    return false;
  r->size = h->total_size;
  const char *strings = table(r, h->strings, 1, "strings lie outside");
  if (strings && (h->strings.count == 0 || strings[0] != 0 ||
                  strings[h->strings.count - 1] != 0))
    problem(r, "its string table is not terminated");
  return !r->problem;
}

static void *zeroed(reader *r, uint64_t count, size_t size) {
  void *p = calloc(count ? count : 1, size);
  if (!p)
    problem(r, "out of memory");
  return p;
}

moe_status moe_signature_read(const uint8_t *descriptor, uint64_t max_size,
                              moe_signature *s, moe_message message) {
  memset(s, 0, sizeof *s);
  reader r = {descriptor, 0, (const moe_desc_header *)descriptor, NULL};
  if (!check_header(&r, max_size))
    goto damaged;
  const moe_desc_header *h = r.header;

  table(&r, h->inputs, sizeof(moe_desc_value), "inputs lie outside");
  table(&r, h->outputs, sizeof(moe_desc_value), "outputs lie outside");
  const moe_desc_dim *dims =
      table(&r, h->dims, sizeof(moe_desc_dim), "dimensions lie outside");
  const moe_desc_cache *caches = table(&r, h->caches, sizeof(moe_desc_cache),
                                       "cache bindings lie outside");
  const moe_desc_expert_layer *layers =
      table(&r, h->expert_layers, sizeof(moe_desc_expert_layer),
            "expert layers lie outside");
  const moe_desc_site *sites =
      table(&r, h->sites, sizeof(moe_desc_site), "error sites lie outside");
  const moe_desc_region *regions =
      table(&r, h->regions, sizeof(moe_desc_region), "regions lie outside");
  const moe_desc_metadata *metadata = table(
      &r, h->metadata, sizeof(moe_desc_metadata), "metadata lies outside");
  if (r.problem)
    goto damaged;

  s->weights_size = h->weights_size;
  s->weights_hash = h->weights_hash;
  s->num_inputs = (int32_t)h->inputs.count;
  s->num_outputs = (int32_t)h->outputs.count;
  s->num_caches = (int32_t)h->caches.count;
  s->num_layers = (int32_t)h->expert_layers.count;
  s->num_sites = (int32_t)h->sites.count;
  s->num_regions = (int32_t)h->regions.count;
  s->num_metadata = (int32_t)h->metadata.count;
  s->inputs = zeroed(&r, h->inputs.count, sizeof *s->inputs);
  s->outputs = zeroed(&r, h->outputs.count, sizeof *s->outputs);
  s->dims = zeroed(&r, h->dims.count, sizeof *s->dims);
  s->dim_names = zeroed(&r, h->dims.count, sizeof *s->dim_names);
  s->dim_symbols = zeroed(&r, h->dims.count, sizeof *s->dim_symbols);
  s->symbols = zeroed(&r, h->dims.count, sizeof *s->symbols);
  s->caches = zeroed(&r, h->caches.count, sizeof *s->caches);
  s->layers = zeroed(&r, h->expert_layers.count, sizeof *s->layers);
  s->sites = zeroed(&r, h->sites.count, sizeof *s->sites);
  s->regions = zeroed(&r, h->regions.count, sizeof *s->regions);
  s->metadata =
      zeroed(&r, 2 * (uint64_t)h->metadata.count, sizeof *s->metadata);
  if (r.problem) {
    moe_signature_release(s);
    return moe_fail(message, MOE_ERROR_MEMORY, "out of memory");
  }

  s->name = string(&r, h->name);
  s->cpu_features = string(&r, h->cpu_features);
  for (uint32_t i = 0; i < h->dims.count; ++i) {
    if (dims[i].size < -1)
      problem(&r, "a dimension is negative");
    s->dims[i] = dims[i].size;
    s->dim_names[i] = string(&r, dims[i].name);
  }
  read_values(&r, h->inputs, s->inputs, s, h->dims.count);
  read_values(&r, h->outputs, s->outputs, s, h->dims.count);
  if (r.problem)
    goto damaged;
  number_symbols(s);
  read_caches(&r, caches, s);
  for (int32_t i = 0; i < s->num_layers; ++i) {
    if (layers[i].num_experts > INT32_MAX || layers[i].top_k > INT32_MAX ||
        layers[i].bytes_per_expert > INT64_MAX)
      problem(&r, "an expert layer's numbers are out of range");
    s->layers[i].name = string(&r, layers[i].name);
    s->layers[i].num_experts = (int32_t)layers[i].num_experts;
    s->layers[i].top_k = (int32_t)layers[i].top_k;
    s->layers[i].bytes_per_expert = (int64_t)layers[i].bytes_per_expert;
  }
  for (int32_t i = 0; i < s->num_sites; ++i) {
    s->sites[i].node = string(&r, sites[i].node);
    s->sites[i].op = string(&r, sites[i].op);
    s->sites[i].message = string(&r, sites[i].message);
  }
  for (int32_t i = 0; i < s->num_regions; ++i)
    s->regions[i] = string(&r, regions[i].name);
  for (int32_t i = 0; i < s->num_metadata; ++i) {
    s->metadata[2 * i] = string(&r, metadata[i].key);
    s->metadata[2 * i + 1] = string(&r, metadata[i].value);
  }
  if (!r.problem)
    return MOE_OK;

damaged:
  moe_signature_release(s);
  return moe_fail(message, MOE_ERROR_MODEL,
                  "the compiled model's descriptor is damaged: %s", r.problem);
}

void moe_signature_release(moe_signature *s) {
  free(s->inputs);
  free(s->outputs);
  free(s->dims);
  free(s->dim_names);
  free(s->dim_symbols);
  free(s->symbols);
  free(s->caches);
  free(s->layers);
  free(s->sites);
  free(s->regions);
  free(s->metadata);
  memset(s, 0, sizeof *s);
}
