//===- TestModel.h - What the runtime's tests share -------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_UNITTESTS_RUNTIME_TESTMODEL_H
#define MOE_UNITTESTS_RUNTIME_TESTMODEL_H

#include "moe/Runtime/moe.h"
#include "gtest/gtest.h"

#include <dlfcn.h>
#include <string>
#include <vector>

/// The table of a model in the build tree's folder of test models.
inline const moe_api *loadApi(const std::string &path) {
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  EXPECT_NE(library, nullptr) << dlerror();
  if (!library)
    return nullptr;
  auto get = reinterpret_cast<moe_get_api_fn>(dlsym(library, "moe_get_api"));
  EXPECT_NE(get, nullptr);
  return get ? get(MOE_ABI_VERSION) : nullptr;
}

inline std::string testModelPath(const std::string &file) {
  return std::string(MOE_TEST_MODELS) + "/" + file;
}

/// The decoder (Models/DecoderModel.c), opened, with one session.
class DecoderTest : public ::testing::Test {
protected:
  void SetUp() override {
    api = loadApi(testModelPath("decoder.so"));
    ASSERT_NE(api, nullptr);
    ASSERT_EQ(moe_open(api, nullptr, 0, &model, error, sizeof error), MOE_OK)
        << error;
    ASSERT_EQ(moe_session_create(model, 2, &session, error, sizeof error),
              MOE_OK)
        << error;
  }
  void TearDown() override {
    moe_session_destroy(session);
    moe_close(model);
  }

  const moe_api *api = nullptr;
  moe_model *model = nullptr;
  moe_session *session = nullptr;
  char error[512] = "";
};

/// Inputs of the decoder: x counts up from 0, every second mask bit is set.
struct DecoderInputs {
  DecoderInputs(int64_t batch, int64_t seq, int64_t past = 0)
      : x(batch * seq * 4), ids(batch * seq), mask(seq),
        past(batch * 2 * past * 3, 0.5f), xShape{batch, seq, 4},
        idsShape{batch, seq}, maskShape{seq}, pastShape{batch, 2, past, 3} {
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(i);
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<int64_t>(i % 50);
    for (size_t i = 0; i < mask.size(); ++i)
      mask[i] = i % 2 == 0;
  }

  std::vector<moe_tensor> tensors() {
    return {{x.data(), MOE_F32, 3, xShape, nullptr, 0},
            {ids.data(), MOE_I64, 2, idsShape, nullptr, 0},
            {mask.data(), MOE_BOOL, 1, maskShape, nullptr, 0},
            {past.data(), MOE_F32, 4, pastShape, nullptr, 0}};
  }

  /// y as the decoder computes it.
  std::vector<float> expectedY() const {
    std::vector<float> y(x.size());
    for (size_t i = 0; i < y.size(); ++i)
      y[i] =
          x[i] * static_cast<float>(i % 4 + 1) + static_cast<float>(ids[i / 4]);
    return y;
  }

  std::vector<float> x;
  std::vector<int64_t> ids;
  std::vector<uint8_t> mask;
  std::vector<float> past;
  int64_t xShape[3], idsShape[2], maskShape[1], pastShape[4];
};

template <typename T> std::vector<T> values(const moe_tensor &tensor) {
  const T *data = static_cast<const T *>(tensor.data);
  return std::vector<T>(data, data + moe_tensor_elements(&tensor));
}

inline std::vector<int64_t> shapeOf(const moe_tensor &tensor) {
  return std::vector<int64_t>(tensor.shape, tensor.shape + tensor.rank);
}

#endif // MOE_UNITTESTS_RUNTIME_TESTMODEL_H
