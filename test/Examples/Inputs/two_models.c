#include "moe/Runtime/moe.h"

#include <stdio.h>

/* What each model's model.h declares. */
const moe_api *decoder_get_api(uint32_t abi_version);
const moe_api *counter_get_api(uint32_t abi_version);

static int describe(const moe_api *api) {
  char error[512];
  moe_model *model;
  if (moe_open(api, NULL, 0, &model, error, sizeof error) != MOE_OK) {
    puts(error);
    return 1;
  }
  printf("%s %d inputs\n", moe_model_name(model), (int)moe_num_inputs(model));
  moe_close(model);
  return 0;
}

int main(void) {
  return describe(decoder_get_api(MOE_ABI_VERSION)) +
         describe(counter_get_api(MOE_ABI_VERSION));
}
