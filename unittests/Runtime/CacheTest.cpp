//===- CacheTest.cpp - KV caches ------------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"

namespace {
class CacheTest : public DecoderTest {
protected:
  void SetUp() override {
    DecoderTest::SetUp();
    ASSERT_EQ(moe_cache_create(model, 8, &cache, error, sizeof error), MOE_OK)
        << error;
  }
  void TearDown() override {
    moe_cache_destroy(cache);
    DecoderTest::TearDown();
  }

  moe_status run(DecoderInputs &inputs) {
    auto tensors = inputs.tensors();
    tensors[3] = {}; // ignored: the past comes from the cache
    out.assign(3, {});
    return moe_run_with_cache(session, cache, tensors.data(), 4, out.data(), 3);
  }

  /// What one run over all of `x` would have as its present.
  static std::vector<float> expectedPresent(const DecoderInputs &all,
                                            int64_t length) {
    int64_t batch = all.xShape[0], seq = all.xShape[1];
    std::vector<float> present;
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t s = 0; s < length; ++s)
          for (int64_t d = 0; d < 3; ++d)
            present.push_back(all.x[(b * seq + s) * 4 + d] *
                              static_cast<float>(h + 1));
    return present;
  }

  static DecoderInputs slice(const DecoderInputs &all, int64_t begin,
                             int64_t end) {
    DecoderInputs part(all.xShape[0], end - begin);
    for (int64_t b = 0; b < all.xShape[0]; ++b)
      for (int64_t s = begin; s < end; ++s)
        for (int64_t d = 0; d < 4; ++d)
          part.x[(b * (end - begin) + s - begin) * 4 + d] =
              all.x[(b * all.xShape[1] + s) * 4 + d];
    return part;
  }

  std::vector<float> contents() {
    moe_tensor tensor = {};
    EXPECT_EQ(moe_cache_get_tensor(cache, 0, &tensor), MOE_OK);
    EXPECT_EQ(tensor.shape[2], moe_cache_length(cache));
    EXPECT_EQ(tensor.strides[3], 1);
    return values<float>(tensor);
  }

  moe_cache *cache = nullptr;
  std::vector<moe_tensor> out;
};
} // namespace

TEST_F(CacheTest, PrefillAndDecode) {
  DecoderInputs all(2, 8);
  EXPECT_EQ(moe_cache_capacity(cache), 8);
  EXPECT_EQ(moe_cache_length(cache), 0);
  DecoderInputs prefill = slice(all, 0, 5);
  ASSERT_EQ(run(prefill), MOE_OK) << moe_session_error(session);
  EXPECT_EQ(moe_cache_length(cache), 5);
  for (int64_t step = 5; step < 8; ++step) {
    DecoderInputs next = slice(all, step, step + 1);
    ASSERT_EQ(run(next), MOE_OK) << moe_session_error(session);
    EXPECT_EQ(moe_cache_length(cache), step + 1);
    EXPECT_EQ(contents(), expectedPresent(all, step + 1));
    EXPECT_EQ(values<float>(out[1]), expectedPresent(all, step + 1));
  }
}

TEST_F(CacheTest, CapacityIsACleanError) {
  DecoderInputs all(1, 9);
  DecoderInputs most = slice(all, 0, 7);
  ASSERT_EQ(run(most), MOE_OK);
  DecoderInputs rest = slice(all, 7, 9);
  EXPECT_EQ(run(rest), MOE_ERROR_CACHE_CAPACITY);
  EXPECT_STREQ(moe_session_error(session),
               "the run needs 9 positions, the cache has room for 8");
  EXPECT_EQ(moe_cache_length(cache), 7);
  EXPECT_EQ(contents(), expectedPresent(all, 7));
  DecoderInputs one = slice(all, 7, 8);
  ASSERT_EQ(run(one), MOE_OK);
  EXPECT_EQ(contents(), expectedPresent(all, 8));
}

TEST_F(CacheTest, TruncateAndReset) {
  DecoderInputs all(2, 6);
  ASSERT_EQ(run(all), MOE_OK);
  EXPECT_EQ(moe_cache_truncate(cache, 7), MOE_ERROR_ARGUMENT);
  EXPECT_EQ(moe_cache_truncate(cache, -1), MOE_ERROR_ARGUMENT);
  ASSERT_EQ(moe_cache_truncate(cache, 4), MOE_OK);
  EXPECT_EQ(contents(), expectedPresent(all, 4));
  DecoderInputs rest = slice(all, 4, 6);
  ASSERT_EQ(run(rest), MOE_OK);
  EXPECT_EQ(contents(), expectedPresent(all, 6));

  ASSERT_EQ(moe_cache_reset(cache), MOE_OK);
  moe_tensor none = {};
  EXPECT_EQ(moe_cache_get_tensor(cache, 0, &none), MOE_ERROR_ARGUMENT);
  DecoderInputs wider(5, 3); // another batch after a reset
  ASSERT_EQ(run(wider), MOE_OK) << moe_session_error(session);
  EXPECT_EQ(contents(), expectedPresent(wider, 3));
}

TEST_F(CacheTest, FailedRunsLeaveItAlone) {
  DecoderInputs all(1, 4);
  DecoderInputs prefill = slice(all, 0, 3);
  ASSERT_EQ(run(prefill), MOE_OK);
  DecoderInputs bad = slice(all, 3, 4);
  bad.ids[0] = 100;
  EXPECT_EQ(run(bad), MOE_ERROR_NODE);
  EXPECT_EQ(contents(), expectedPresent(all, 3));

  DecoderInputs otherBatch(2, 1);
  EXPECT_EQ(run(otherBatch), MOE_ERROR_INPUT);
  EXPECT_STREQ(moe_session_error(session),
               "input 'past' has size 1 in dimension 0 ('batch'), but input "
               "'x' has size 2 in dimension 0 of the same name");

  // A buffer that is too small is found before the cache changes.
  DecoderInputs good = slice(all, 3, 4);
  auto tensors = good.tensors();
  float small[1];
  out.assign(3, {});
  out[0] = {small, 0, 0, nullptr, nullptr, sizeof small};
  EXPECT_EQ(
      moe_run_with_cache(session, cache, tensors.data(), 4, out.data(), 3),
      MOE_ERROR_BUFFER_SIZE);
  EXPECT_EQ(moe_cache_length(cache), 3);
  ASSERT_EQ(run(good), MOE_OK);
  EXPECT_EQ(contents(), expectedPresent(all, 4));
}

TEST_F(CacheTest, BelongsToTheModelNotTheSession) {
  DecoderInputs all(1, 4);
  DecoderInputs first = slice(all, 0, 2), second = slice(all, 2, 4);
  ASSERT_EQ(run(first), MOE_OK);
  moe_session *other = nullptr;
  ASSERT_EQ(moe_session_create(model, 1, &other, nullptr, 0), MOE_OK);
  std::swap(session, other);
  ASSERT_EQ(run(second), MOE_OK);
  std::swap(session, other);
  moe_session_destroy(other);
  EXPECT_EQ(contents(), expectedPresent(all, 4));

  moe_model *another = nullptr;
  ASSERT_EQ(moe_open(api, nullptr, 0, &another, nullptr, 0), MOE_OK);
  moe_cache *foreign = nullptr;
  ASSERT_EQ(moe_cache_create(another, 4, &foreign, nullptr, 0), MOE_OK);
  moe_close(another); // the cache holds it
  EXPECT_EQ(
      moe_run_with_cache(session, foreign, all.tensors().data(), 4, nullptr, 0),
      MOE_ERROR_ARGUMENT);
  moe_cache_destroy(foreign);
}

TEST_F(CacheTest, RefusesBadCapacity) {
  moe_cache *none = nullptr;
  EXPECT_EQ(moe_cache_create(model, 0, &none, error, sizeof error),
            MOE_ERROR_ARGUMENT);
  EXPECT_STREQ(error, "expects a capacity of at least 1, got 0");
  ASSERT_EQ(moe_cache_create(model, INT64_MAX, &none, error, sizeof error),
            MOE_OK);
  std::swap(none, cache);
  DecoderInputs inputs(1, 1);
  EXPECT_EQ(run(inputs), MOE_ERROR_MEMORY);
  EXPECT_EQ(moe_cache_length(cache), 0);
  std::swap(none, cache);
  moe_cache_destroy(none);
}
