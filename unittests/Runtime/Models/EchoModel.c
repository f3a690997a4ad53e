/*===- EchoModel.c - A "compiled" model whose outputs are its inputs -------===*
 *
 * Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * One input per dtype, of any length, and a scalar; no weights. Outputs lie in
 * the inputs, as those of a folded Identity do.
 *===----------------------------------------------------------------------===*/
#include "moe/Runtime/Context.h"

struct moe_api;
__attribute__((visibility("default"))) const struct moe_api *
echo_get_api(uint32_t version) {
  return moe_rt_get_api(version);
}

void moe_compiled_main(moe_context *ctx) {
  enum { DTYPES = 13 };
  for (int32_t i = 0; i < DTYPES; ++i) {
    int64_t shape[2] = {moe_rt_input_dim(ctx, i, 0),
                        moe_rt_input_dim(ctx, i, 1)};
    moe_rt_set_output(ctx, i, moe_rt_input_data(ctx, i), 2, shape);
  }
  moe_rt_set_output(ctx, DTYPES, moe_rt_input_data(ctx, DTYPES), 0, 0);
}
