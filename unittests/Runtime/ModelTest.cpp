//===- ModelTest.cpp - Opening models and asking about them ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"

#include <fstream>
#include <unistd.h>

TEST_F(DecoderTest, AnswersQueries) {
  EXPECT_STREQ(moe_model_name(model), "decoder");
  ASSERT_EQ(moe_num_inputs(model), 4);
  ASSERT_EQ(moe_num_outputs(model), 3);
  const moe_value_info *past = moe_input_info(model, 3);
  EXPECT_STREQ(past->name, "past");
  EXPECT_EQ(past->dtype, MOE_F32);
  ASSERT_EQ(past->rank, 4);
  EXPECT_EQ(past->dims[1], 2);
  EXPECT_EQ(past->dims[2], -1);
  EXPECT_STREQ(past->dim_names[2], "past");
  EXPECT_EQ(moe_input_info(model, 4), nullptr);
  EXPECT_EQ(moe_input_info(model, -1), nullptr);
  EXPECT_EQ(moe_output_info(model, 3), nullptr);
  EXPECT_EQ(moe_find_input(model, "mask"), 2);
  EXPECT_EQ(moe_find_input(model, "nothing"), -1);
  EXPECT_EQ(moe_find_output(model, "present"), 1);
  ASSERT_EQ(moe_num_metadata(model), 2);
  EXPECT_STREQ(moe_metadata_key(model, 1), "target");
  EXPECT_STREQ(moe_metadata_value(model, 1), "any");
  EXPECT_EQ(moe_metadata_value(model, 2), nullptr);
  ASSERT_EQ(moe_num_expert_layers(model), 1);
  EXPECT_EQ(moe_get_expert_layer_info(model, 0)->num_experts, 4);
  EXPECT_EQ(moe_num_regions(model), 1);
  EXPECT_STREQ(moe_region_name(model, 0), "decoder");
  ASSERT_EQ(moe_num_cache_bindings(model), 1);
  EXPECT_EQ(moe_get_cache_binding_info(model, 0)->output, 1);
  EXPECT_EQ(moe_weights_path(model), testModelPath("decoder.weights"));
  EXPECT_GT(moe_weights_bytes(model), 4096);
  EXPECT_EQ(moe_session_threads(session), 2);
}

TEST_F(DecoderTest, VersionsOfTheTable) {
  void *library =
      dlopen(testModelPath("decoder.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  for (const char *name : {"moe_get_api", "decoder_get_api"}) {
    auto get = reinterpret_cast<moe_get_api_fn>(dlsym(library, name));
    ASSERT_NE(get, nullptr);
    EXPECT_EQ(get(MOE_ABI_VERSION), api);
    EXPECT_EQ(get(MOE_ABI_VERSION + 1), nullptr);
    EXPECT_EQ(get(0), nullptr);
  }
  EXPECT_EQ(api->struct_size, sizeof(moe_api));
  // Nothing else may be visible: it could clash with another model's.
  for (const char *name : {"moe_rt_get_api", "moe_rt_alloc", "moe_fail",
                           "moe_compiled_main", "moe_compiled_descriptor"})
    EXPECT_EQ(dlsym(library, name), nullptr) << name;
  dlclose(library);
}

TEST_F(DecoderTest, RefusesTheWeightsOfAnother) {
  moe_model *other = nullptr;
  std::string path = testModelPath("other.weights");
  EXPECT_EQ(moe_open(api, path.c_str(), 0, &other, error, sizeof error),
            MOE_ERROR_WEIGHTS);
  EXPECT_EQ(other, nullptr);
  EXPECT_NE(std::string(error).find("belongs to another model: its hash is "),
            std::string::npos)
      << error;
}

TEST_F(DecoderTest, RefusesMissingWeights) {
  moe_model *other = nullptr;
  EXPECT_EQ(moe_open(api, "/nowhere/x.weights", 0, &other, error, sizeof error),
            MOE_ERROR_IO);
  EXPECT_STREQ(error, "cannot open weight file '/nowhere/x.weights': No such "
                      "file or directory");
  EXPECT_EQ(moe_open(api, "/tmp", 0, &other, nullptr, 0), MOE_ERROR_IO);
}

TEST_F(DecoderTest, OpensForTheSignatureOnly) {
  moe_model *other = nullptr;
  ASSERT_EQ(moe_open(api, "/nowhere/x.weights", MOE_OPEN_SIGNATURE, &other,
                     error, sizeof error),
            MOE_OK);
  EXPECT_EQ(moe_num_inputs(other), 4);
  EXPECT_STREQ(moe_weights_path(other), "");
  moe_session *none = nullptr;
  EXPECT_EQ(moe_session_create(other, 1, &none, error, sizeof error),
            MOE_ERROR_ARGUMENT);
  EXPECT_EQ(none, nullptr);
  moe_close(other);
}

TEST_F(DecoderTest, RefusesUnknownFlagsAndThreads) {
  moe_model *other = nullptr;
  EXPECT_EQ(moe_open(api, nullptr, 64, &other, error, sizeof error),
            MOE_ERROR_ARGUMENT);
  moe_session *none = nullptr;
  EXPECT_EQ(moe_session_create(model, -1, &none, error, sizeof error),
            MOE_ERROR_ARGUMENT);
  EXPECT_STREQ(error, "expects 0 to 4096 threads, got -1");
}

TEST_F(DecoderTest, SessionsKeepTheirModel) {
  moe_model *other = nullptr;
  moe_session *last = nullptr;
  ASSERT_EQ(moe_open(api, nullptr, MOE_OPEN_VERIFY | MOE_OPEN_PREFETCH, &other,
                     error, sizeof error),
            MOE_OK)
      << error;
  ASSERT_EQ(moe_session_create(other, 1, &last, nullptr, 0), MOE_OK);
  moe_close(other);
  DecoderInputs inputs(1, 3);
  std::vector<moe_tensor> outputs(3);
  EXPECT_EQ(moe_run(last, inputs.tensors().data(), 4, outputs.data(), 3),
            MOE_OK);
  EXPECT_EQ(values<float>(outputs[0]), inputs.expectedY());
  moe_session_destroy(last);
}

TEST_F(DecoderTest, ThreadsComeFromTheEnvironment) {
  const char *old = getenv("OMP_NUM_THREADS");
  std::string saved = old ? old : "";
  auto threads = [&](const char *value) {
    value ? setenv("OMP_NUM_THREADS", value, 1) : unsetenv("OMP_NUM_THREADS");
    moe_session *created = nullptr;
    EXPECT_EQ(moe_session_create(model, 0, &created, nullptr, 0), MOE_OK);
    int32_t count = moe_session_threads(created);
    moe_session_destroy(created);
    return count;
  };
  EXPECT_EQ(threads("3"), 3);
  EXPECT_EQ(threads("5,2"), 5);
  EXPECT_EQ(threads(" 4 , 1"), 4);
  EXPECT_GE(threads(nullptr), 1);
  // libomp would end the process.
  for (const char *value : {"", "nonsense", "0", "-1", "3,", "3 4", "3,x",
                            "4097", "3,2147483647", "99999999999999"}) {
    setenv("OMP_NUM_THREADS", value, 1);
    moe_session *created = nullptr;
    EXPECT_EQ(moe_session_create(model, 2, &created, error, sizeof error),
              MOE_ERROR_ARGUMENT);
    EXPECT_EQ(std::string(error), "OMP_NUM_THREADS is '" + std::string(value) +
                                      "', expects a number from 1 to 4096 or a "
                                      "list of them");
  }
  threads(old ? saved.c_str() : nullptr);
}

TEST_F(DecoderTest, TwoModelsInOneProcess) {
  const moe_api *echoApi = loadApi(testModelPath("echo.so"));
  ASSERT_NE(echoApi, nullptr);
  EXPECT_NE(echoApi, api);
  moe_model *echo = nullptr;
  ASSERT_EQ(moe_open(echoApi, nullptr, 0, &echo, error, sizeof error), MOE_OK)
      << error;
  EXPECT_STREQ(moe_model_name(echo), "echo");
  EXPECT_STREQ(moe_model_name(model), "decoder");
  moe_cache *cache = nullptr;
  EXPECT_EQ(moe_cache_create(echo, 8, &cache, error, sizeof error),
            MOE_ERROR_UNSUPPORTED);
  moe_close(echo);
}

TEST_F(DecoderTest, StatusStrings) {
  EXPECT_STREQ(moe_status_string(api, MOE_OK), "success");
  for (moe_status status = MOE_OK; status <= MOE_ERROR_UNSUPPORTED; ++status)
    EXPECT_STRNE(moe_status_string(api, status), "unknown status") << status;
  EXPECT_STREQ(moe_status_string(api, 999), "unknown status");
}
