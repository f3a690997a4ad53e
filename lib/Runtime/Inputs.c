/*===- Inputs.c - Validates and binds the inputs of a run ------------------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Compiled code trusts its inputs: whatever it relies on is checked here, with
 * messages in the terms of the signature.
 *===----------------------------------------------------------------------===*/
#include "Internal.h"

#include <inttypes.h>
#include <string.h>

/*---- Checks ---------------------------------------------------------------*/

moe_status moe_check_input(const moe_model *model, int32_t index,
                           const moe_tensor *tensor, moe_message message) {
  const moe_value_info *info = &model->signature.inputs[index];
  char found[256], required[256];
  if (tensor->dtype != info->dtype)
    return moe_fail(message, MOE_ERROR_INPUT,
                    "input '%s' has dtype %s, expected %s", info->name,
                    moe_dtype_name(tensor->dtype), moe_dtype_name(info->dtype));
  if (tensor->rank != info->rank)
    return moe_fail(message, MOE_ERROR_INPUT,
                    "input '%s' has rank %" PRId32 ", expected rank %" PRId32,
                    info->name, tensor->rank, info->rank);
  if (info->rank && !tensor->shape)
    return moe_fail(message, MOE_ERROR_INPUT, "input '%s' has no shape",
                    info->name);
  for (int32_t i = 0; i < info->rank; ++i) {
    if (tensor->shape[i] < 0)
      return moe_fail(message, MOE_ERROR_INPUT,
                      "input '%s' has size %" PRId64 " in dimension %" PRId32,
                      info->name, tensor->shape[i], i);
    if (info->dims[i] >= 0 && tensor->shape[i] != info->dims[i]) {
      moe_shape_text(found, sizeof found, info->rank, tensor->shape, NULL);
      moe_shape_text(required, sizeof required, info->rank, info->dims,
                     info->dim_names);
      return moe_fail(message, MOE_ERROR_INPUT,
                      "input '%s' has shape %s, expected %s", info->name, found,
                      required);
    }
  }
  int64_t elements, bytes;
  if (!moe_shape_bytes(info->rank, tensor->shape, moe_dtype_bytes(info->dtype),
                       &elements, &bytes))
    return moe_fail(message, MOE_ERROR_INPUT,
                    "input '%s' has more elements than memory can hold",
                    info->name);
  if (elements && !tensor->data)
    return moe_fail(message, MOE_ERROR_INPUT, "input '%s' has no data",
                    info->name);
  return MOE_OK;
}

moe_status moe_check_symbols(moe_session *session, const moe_tensor *inputs) {
  const moe_signature *s = &session->model->signature;
  for (int32_t i = 0; i < s->num_symbols; ++i)
    session->symbols[i].size = -1;
  for (int32_t i = 0; i < s->num_inputs; ++i) {
    const moe_value_info *info = &s->inputs[i];
    const int32_t *symbols = s->dim_symbols + (info->dims - s->dims);
    for (int32_t d = 0; d < info->rank; ++d) {
      if (symbols[d] < 0)
        continue;
      moe_symbol *symbol = &session->symbols[symbols[d]];
      if (symbol->size < 0) {
        symbol->size = inputs[i].shape[d];
        symbol->input = i;
        symbol->dim = d;
      } else if (symbol->size != inputs[i].shape[d]) {
        return moe_fail(moe_session_message(session), MOE_ERROR_INPUT,
                        "input '%s' has size %" PRId64 " in dimension %" PRId32
                        " ('%s'), but input '%s' has size %" PRId64
                        " in dimension %" PRId32 " of the same name",
                        info->name, inputs[i].shape[d], d, info->dim_names[d],
                        s->inputs[symbol->input].name, symbol->size,
                        symbol->dim);
      }
    }
  }
  return MOE_OK;
}

/*---- Binding --------------------------------------------------------------*/

static bool is_contiguous(const moe_tensor *tensor) {
  if (!tensor->strides)
    return true;
  int64_t step = 1;
  for (int32_t i = tensor->rank - 1; i >= 0; --i) {
    if (tensor->shape[i] != 1 && tensor->strides[i] != step)
      return false;
    step *= tensor->shape[i];
  }
  return true;
}

/* Copies a strided tensor with at least one element. */
static void gather(const moe_tensor *tensor, int64_t size, char *to) {
  int64_t index[MOE_MAX_RANK] = {0};
  const char *from = tensor->data;
  int32_t last = tensor->rank - 1;
  int64_t row = last >= 0 ? tensor->shape[last] : 1;
  int64_t step =
      last >= 0 && tensor->strides ? tensor->strides[last] * size : size;
  for (;;) {
    if (step == size) {
      memcpy(to, from, (size_t)(row * size));
    } else {
      for (int64_t i = 0; i < row; ++i)
        memcpy(to + i * size, from + i * step, (size_t)size);
    }
    to += row * size;
    int32_t d = last - 1;
    for (; d >= 0; --d) {
      int64_t stride = tensor->strides ? tensor->strides[d] * size : 0;
      if (++index[d] < tensor->shape[d]) {
        from += stride;
        break;
      }
      from -= stride * (tensor->shape[d] - 1);
      index[d] = 0;
    }
    if (d < 0)
      return;
  }
}

/* An i1 that is neither 0 nor 1 is undefined behaviour in compiled code. */
static bool has_wide_bool(const uint8_t *data, int64_t count) {
  uint8_t any = 0;
  for (int64_t i = 0; i < count; ++i)
    any |= data[i];
  return any > 1;
}

moe_status moe_bind_inputs(moe_session *session, const moe_tensor *inputs) {
  const moe_signature *s = &session->model->signature;
  int32_t kept = 0;
  for (int32_t i = 0; i < s->num_inputs; ++i)
    if (inputs[i].data)
      session->kept[kept++] = inputs[i].data;
  moe_arena_begin(&session->arena, session->kept, kept);

  for (int32_t i = 0; i < s->num_inputs; ++i) {
    const moe_value_info *info = &s->inputs[i];
    const moe_tensor *tensor = &inputs[i];
    moe_slot *slot = &session->inputs[i];
    int64_t size = moe_dtype_bytes(info->dtype), elements;
    moe_shape_bytes(info->rank, tensor->shape, size, &elements, &slot->bytes);
    if (info->rank)
      memcpy(slot->shape, tensor->shape,
             (size_t)info->rank * sizeof *slot->shape);
    slot->data = tensor->data;
    if (!elements)
      continue;
    bool copy = (uintptr_t)tensor->data % (uintptr_t)size != 0;
    bool contiguous = is_contiguous(tensor);
    if (info->dtype == MOE_BOOL)
      copy |= !contiguous || has_wide_bool(tensor->data, elements);
    if (!copy && contiguous)
      continue;
    slot->data = moe_arena_alloc(&session->arena, slot->bytes);
    if (!slot->data)
      return moe_fail(moe_session_message(session), MOE_ERROR_MEMORY,
                      "out of memory: input '%s' needs %" PRId64 " bytes",
                      info->name, slot->bytes);
    if (contiguous)
      memcpy(slot->data, tensor->data, (size_t)slot->bytes);
    else
      gather(tensor, size, slot->data);
    if (info->dtype == MOE_BOOL) {
      uint8_t *bytes = slot->data;
      for (int64_t j = 0; j < elements; ++j)
        bytes[j] = bytes[j] != 0;
    }
  }
  return MOE_OK;
}
