//===- SessionTest.cpp - Runs, errors, counters and threads ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"

#include <atomic>
#include <cstring>
#include <thread>

TEST_F(DecoderTest, Runs) {
  DecoderInputs inputs(2, 3, 1);
  std::vector<moe_tensor> out(3);
  ASSERT_EQ(moe_run(session, inputs.tensors().data(), 4, out.data(), 3), MOE_OK)
      << moe_session_error(session);
  EXPECT_EQ(shapeOf(out[0]), (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(values<float>(out[0]), inputs.expectedY());
  EXPECT_EQ(out[0].dtype, MOE_F32);
  EXPECT_EQ(shapeOf(out[1]), (std::vector<int64_t>{2, 2, 4, 3}));
  EXPECT_EQ(values<int64_t>(out[2]), (std::vector<int64_t>{0, 2, 3, 5}));
  EXPECT_STREQ(moe_session_error(session), "");

  moe_tensor again = {};
  ASSERT_EQ(moe_get_output(session, 2, &again), MOE_OK);
  EXPECT_EQ(again.data, out[2].data);
  EXPECT_EQ(moe_get_output(session, 3, &again), MOE_ERROR_ARGUMENT);
}

TEST_F(DecoderTest, RunsOnNothing) {
  DecoderInputs inputs(0, 0);
  std::vector<moe_tensor> out(3);
  auto tensors = inputs.tensors();
  for (moe_tensor &tensor : tensors)
    tensor.data = nullptr;
  ASSERT_EQ(moe_run(session, tensors.data(), 4, out.data(), 3), MOE_OK)
      << moe_session_error(session);
  EXPECT_EQ(moe_tensor_bytes(&out[0]), 0);
  EXPECT_EQ(shapeOf(out[2]), (std::vector<int64_t>{0}));
}

TEST_F(DecoderTest, ResultsDoNotDependOnThreads) {
  DecoderInputs inputs(3, 17);
  std::vector<moe_tensor> out(3);
  for (int threads : {1, 2, 5, 8}) {
    moe_session *other = nullptr;
    ASSERT_EQ(moe_session_create(model, threads, &other, nullptr, 0), MOE_OK);
    ASSERT_EQ(moe_run(other, inputs.tensors().data(), 4, out.data(), 3),
              MOE_OK);
    EXPECT_EQ(values<float>(out[0]), inputs.expectedY());
    moe_session_destroy(other);
  }
}

TEST_F(DecoderTest, ValidatesInputs) {
  DecoderInputs inputs(2, 3);
  auto expect = [&](auto change, moe_status status, const char *message) {
    auto tensors = inputs.tensors();
    change(tensors);
    EXPECT_EQ(moe_run(session, tensors.data(),
                      static_cast<int32_t>(tensors.size()), nullptr, 0),
              status);
    EXPECT_STREQ(moe_session_error(session), message);
  };
  using Tensors = std::vector<moe_tensor>;
  expect([](Tensors &t) { t.pop_back(); }, MOE_ERROR_ARGUMENT,
         "expects 4 inputs, got 3");
  expect([](Tensors &t) { t[1].dtype = MOE_I32; }, MOE_ERROR_INPUT,
         "input 'ids' has dtype i32, expected i64");
  expect([](Tensors &t) { t[1].dtype = 1234; }, MOE_ERROR_INPUT,
         "input 'ids' has dtype invalid, expected i64");
  expect([](Tensors &t) { t[0].rank = 2; }, MOE_ERROR_INPUT,
         "input 'x' has rank 2, expected rank 3");
  expect([](Tensors &t) { t[0].shape = nullptr; }, MOE_ERROR_INPUT,
         "input 'x' has no shape");
  static const int64_t wide[] = {2, 3, 5}, negative[] = {2, -3, 4},
                       huge[] = {INT64_MAX, INT64_MAX, 4}, seven[] = {7},
                       three[] = {3, 3};
  expect([](Tensors &t) { t[0].shape = wide; }, MOE_ERROR_INPUT,
         "input 'x' has shape [2, 3, 5], expected [batch, seq, 4]");
  expect([](Tensors &t) { t[0].shape = negative; }, MOE_ERROR_INPUT,
         "input 'x' has size -3 in dimension 1");
  expect([](Tensors &t) { t[0].shape = huge; }, MOE_ERROR_INPUT,
         "input 'x' has more elements than memory can hold");
  expect([](Tensors &t) { t[0].data = nullptr; }, MOE_ERROR_INPUT,
         "input 'x' has no data");
  expect([](Tensors &t) { t[2].shape = seven; }, MOE_ERROR_INPUT,
         "input 'mask' has size 7 in dimension 0 ('seq'), but input 'x' has "
         "size 3 in dimension 1 of the same name");
  expect([](Tensors &t) { t[1].shape = three; }, MOE_ERROR_INPUT,
         "input 'ids' has size 3 in dimension 0 ('batch'), but input 'x' has "
         "size 2 in dimension 0 of the same name");
  auto tensors = inputs.tensors();
  moe_tensor one = {};
  EXPECT_EQ(moe_run(session, tensors.data(), 4, &one, 1), MOE_ERROR_ARGUMENT);
  EXPECT_STREQ(moe_session_error(session), "expects 3 outputs or none, got 1");
  EXPECT_EQ(moe_run(session, nullptr, 4, nullptr, 0), MOE_ERROR_ARGUMENT);
}

TEST_F(DecoderTest, ErrorsCarryTheNode) {
  DecoderInputs inputs(2, 3);
  inputs.ids[4] = 123;
  EXPECT_EQ(moe_run(session, inputs.tensors().data(), 4, nullptr, 0),
            MOE_ERROR_NODE);
  EXPECT_STREQ(moe_session_error(session),
               "node '/embed/Gather' (Gather): expects indices below 100, got "
               "123");
  moe_tensor out = {};
  EXPECT_EQ(moe_get_output(session, 0, &out), MOE_ERROR_ARGUMENT);

  // Inside a parallel region: the first of several, by a thread.
  for (int64_t &id : inputs.ids)
    id = -5;
  EXPECT_EQ(moe_run(session, inputs.tensors().data(), 4, nullptr, 0),
            MOE_ERROR_NODE);
  EXPECT_STREQ(moe_session_error(session),
               "node '/embed/Gather_1' (Gather): expects indices of at least "
               "0, got -5");

  inputs.ids.assign(6, 77);
  EXPECT_EQ(moe_run(session, inputs.tensors().data(), 4, nullptr, 0),
            MOE_ERROR_MEMORY);
  EXPECT_NE(std::string(moe_session_error(session))
                .find("out of memory: the model needs another "
                      "1152921504606846976 bytes"),
            std::string::npos);

  inputs.ids.assign(6, 1);
  std::vector<moe_tensor> good(3);
  EXPECT_EQ(moe_run(session, inputs.tensors().data(), 4, good.data(), 3),
            MOE_OK);
  EXPECT_EQ(values<float>(good[0]), inputs.expectedY());
  EXPECT_STREQ(moe_session_error(session), "");
  moe_counters counters = {};
  counters.struct_size = sizeof counters;
  ASSERT_EQ(moe_get_counters(session, &counters), MOE_OK);
  EXPECT_EQ(counters.runs, 1);
  EXPECT_EQ(counters.failed_runs, 3);
}

TEST_F(DecoderTest, CopiesStridedUnalignedAndWideBools) {
  DecoderInputs inputs(2, 3);
  std::vector<float> expected = inputs.expectedY();
  // x transposed in memory: [4, 3, 2] with strides that read it as [2, 3, 4].
  std::vector<float> transposed(24);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t s = 0; s < 3; ++s)
      for (int64_t j = 0; j < 4; ++j)
        transposed[(j * 3 + s) * 2 + b] = inputs.x[(b * 3 + s) * 4 + j];
  static const int64_t xStrides[] = {1, 2, 6};
  // ids backwards: negative strides from the last element.
  std::vector<int64_t> backwards(inputs.ids.rbegin(), inputs.ids.rend());
  static const int64_t idStrides[] = {-3, -1};
  // mask broadcast from one byte that is neither 0 nor 1.
  uint8_t wide = 200;
  static const int64_t maskStrides[] = {0};

  auto tensors = inputs.tensors();
  tensors[0].data = transposed.data();
  tensors[0].strides = xStrides;
  tensors[1].data = &backwards[5];
  tensors[1].strides = idStrides;
  tensors[2].data = &wide;
  tensors[2].strides = maskStrides;
  std::vector<moe_tensor> out(3);
  ASSERT_EQ(moe_run(session, tensors.data(), 4, out.data(), 3), MOE_OK)
      << moe_session_error(session);
  EXPECT_EQ(values<float>(out[0]), expected);
  EXPECT_EQ(values<int64_t>(out[2]), inputs.ids);

  std::vector<char> odd(inputs.x.size() * 4 + 1);
  std::memcpy(odd.data() + 1, inputs.x.data(), inputs.x.size() * 4);
  tensors = inputs.tensors();
  tensors[0].data = odd.data() + 1;
  inputs.mask = {255, 0, 2};
  tensors[2].data = inputs.mask.data();
  ASSERT_EQ(moe_run(session, tensors.data(), 4, out.data(), 3), MOE_OK);
  EXPECT_EQ(values<float>(out[0]), expected);
  EXPECT_EQ(values<int64_t>(out[2]), (std::vector<int64_t>{0, 2, 3, 5}));
  EXPECT_EQ(inputs.mask[0], 255); // the caller's memory is not touched
}

TEST_F(DecoderTest, CallerProvidedBuffers) {
  DecoderInputs inputs(2, 3);
  std::vector<float> y(24, -1.0f);
  int64_t picked[1] = {-1};
  std::vector<moe_tensor> out(3);
  out[0] = {y.data(), 0, 0, nullptr, nullptr, 24 * 4};
  out[2] = {picked, 0, 0, nullptr, nullptr, sizeof picked};
  EXPECT_EQ(moe_run(session, inputs.tensors().data(), 4, out.data(), 3),
            MOE_ERROR_BUFFER_SIZE);
  EXPECT_STREQ(moe_session_error(session),
               "output 'picked' needs a buffer of 32 bytes, got 8");
  EXPECT_EQ(moe_tensor_bytes(&out[2]), 32);
  EXPECT_EQ(out[2].capacity, 8);
  EXPECT_EQ(picked[0], -1);
  moe_tensor result = {};
  ASSERT_EQ(moe_get_output(session, 2, &result), MOE_OK);
  EXPECT_EQ(values<int64_t>(result), (std::vector<int64_t>{0, 2, 3, 5}));

  int64_t enough[4];
  out[0] = {y.data(), 0, 0, nullptr, nullptr, 24 * 4};
  out[1] = {};
  out[2] = {enough, 0, 0, nullptr, nullptr, sizeof enough};
  ASSERT_EQ(moe_run(session, inputs.tensors().data(), 4, out.data(), 3),
            MOE_OK);
  EXPECT_EQ(y, inputs.expectedY());
  EXPECT_EQ(out[0].data, y.data());
  EXPECT_EQ(enough[3], 5);
}

TEST_F(DecoderTest, RunsByName) {
  DecoderInputs inputs(1, 2);
  auto t = inputs.tensors();
  std::vector<moe_tensor> given = {t[3], t[1], t[0], t[2]};
  const char *names[] = {"past", "ids", "x", "mask"};
  const char *wanted[] = {"picked", "y"};
  std::vector<moe_tensor> out(2);
  ASSERT_EQ(
      moe_run_named(session, names, given.data(), 4, wanted, out.data(), 2),
      MOE_OK)
      << moe_session_error(session);
  EXPECT_EQ(out[0].dtype, MOE_I64);
  EXPECT_EQ(values<float>(out[1]), inputs.expectedY());

  auto expect = [&](const char *message) {
    EXPECT_EQ(
        moe_run_named(session, names, given.data(), 4, wanted, out.data(), 2),
        MOE_ERROR_ARGUMENT);
    EXPECT_STREQ(moe_session_error(session), message);
  };
  names[3] = "masc";
  expect("unknown input 'masc', expects one of: x, ids, mask, past");
  names[3] = "x";
  expect("input 'x' is given twice");
  names[3] = "mask";
  wanted[1] = "z";
  expect("unknown output 'z', expects one of: y, present, picked");
  EXPECT_EQ(
      moe_run_named(session, names, given.data(), 3, wanted, out.data(), 1),
      MOE_ERROR_ARGUMENT);
  EXPECT_STREQ(moe_session_error(session), "input 'mask' is missing");
}

// A decoding loop without a cache handle: present goes back in as past, still
// in the session's memory.
TEST_F(DecoderTest, OutputsAreInputsOfTheNextRun) {
  std::vector<moe_tensor> out(3);
  DecoderInputs first(1, 3);
  ASSERT_EQ(moe_run(session, first.tensors().data(), 4, out.data(), 3), MOE_OK);
  for (int step = 0; step < 20; ++step) {
    std::vector<float> past = values<float>(out[1]);
    std::vector<int64_t> pastShape = shapeOf(out[1]);
    DecoderInputs inputs(1, 1);
    auto tensors = inputs.tensors();
    tensors[3] = out[1];
    ASSERT_EQ(moe_run(session, tensors.data(), 4, out.data(), 3), MOE_OK)
        << moe_session_error(session);
    ASSERT_EQ(shapeOf(out[1]),
              (std::vector<int64_t>{1, 2, pastShape[2] + 1, 3}));
    std::vector<float> present = values<float>(out[1]);
    int64_t n = pastShape[2];
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t i = 0; i < n * 3; ++i)
        ASSERT_EQ(present[h * (n + 1) * 3 + i], past[h * n * 3 + i]);
  }
}

TEST_F(DecoderTest, SteadyStateTakesNoMemory) {
  moe_counters counters = {};
  counters.struct_size = sizeof counters;
  DecoderInputs inputs(4, 500);
  std::vector<moe_tensor> out(3);
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(moe_run(session, inputs.tensors().data(), 4, out.data(), 3),
              MOE_OK);
  moe_get_counters(session, &counters);
  int64_t calls = counters.arena_system_calls;
  EXPECT_GT(calls, 0);
  for (int i = 0; i < 10; ++i)
    ASSERT_EQ(moe_run(session, inputs.tensors().data(), 4, out.data(), 3),
              MOE_OK);
  moe_get_counters(session, &counters);
  EXPECT_EQ(counters.arena_system_calls, calls);
  EXPECT_GT(counters.arena_peak_bytes, 4 * 500 * 100);
  EXPECT_GE(counters.arena_bytes, counters.arena_peak_bytes);
  ASSERT_EQ(moe_session_trim(session), MOE_OK);
  moe_get_counters(session, &counters);
  EXPECT_EQ(counters.arena_bytes, 0);
  moe_tensor none = {};
  EXPECT_EQ(moe_get_output(session, 0, &none), MOE_ERROR_ARGUMENT);
  EXPECT_EQ(moe_run(session, inputs.tensors().data(), 4, out.data(), 3),
            MOE_OK);
}

TEST_F(DecoderTest, CountsExperts) {
  DecoderInputs inputs(1, 3); // ids 0 1 2: experts 0,1  1,2  2,3
  moe_counters counters = {};
  counters.struct_size = sizeof counters;
  for (int i = 0; i < 2; ++i)
    ASSERT_EQ(moe_run(session, inputs.tensors().data(), 4, nullptr, 0), MOE_OK);
  int64_t loads[4];
  ASSERT_EQ(moe_get_expert_loads(session, 0, loads, 4), MOE_OK);
  EXPECT_EQ(std::vector<int64_t>(loads, loads + 4),
            (std::vector<int64_t>{2, 4, 4, 2}));
  ASSERT_EQ(moe_get_counters(session, &counters), MOE_OK);
  EXPECT_EQ(counters.expert_rows, 12);
  EXPECT_EQ(counters.active_experts, 8);
  EXPECT_EQ(counters.active_expert_bytes, 8 * 64);
  EXPECT_EQ(moe_get_expert_loads(session, 1, loads, 4), MOE_ERROR_ARGUMENT);
  EXPECT_EQ(moe_get_expert_loads(session, 0, loads, 3), MOE_ERROR_ARGUMENT);
  EXPECT_STREQ(moe_session_error(session),
               "expects room for the 4 experts of layer 'layers.0.mlp', got 3");
  moe_counters_reset(session);
  ASSERT_EQ(moe_get_expert_loads(session, 0, loads, 4), MOE_OK);
  EXPECT_EQ(loads[1], 0);
  ASSERT_EQ(moe_get_counters(session, &counters), MOE_OK);
  EXPECT_EQ(counters.runs, 0);
  // An older caller knows fewer fields.
  moe_counters old = {};
  old.struct_size = 16;
  old.failed_runs = 42;
  ASSERT_EQ(moe_get_counters(session, &old), MOE_OK);
  EXPECT_EQ(old.struct_size, 16u);
  EXPECT_EQ(old.failed_runs, 42);
}

TEST_F(DecoderTest, ProfileHook) {
  std::vector<std::pair<int32_t, int32_t>> seen;
  moe_set_profile(
      session,
      [](void *user, int32_t region, int32_t begin) {
        static_cast<decltype(seen) *>(user)->push_back({region, begin});
      },
      &seen);
  DecoderInputs inputs(1, 1);
  ASSERT_EQ(moe_run(session, inputs.tensors().data(), 4, nullptr, 0), MOE_OK);
  EXPECT_EQ(seen, (std::vector<std::pair<int32_t, int32_t>>{{0, 1}, {0, 0}}));
  moe_set_profile(session, nullptr, nullptr);
  ASSERT_EQ(moe_run(session, inputs.tensors().data(), 4, nullptr, 0), MOE_OK);
  EXPECT_EQ(seen.size(), 2u);
}

TEST_F(DecoderTest, SessionsRunConcurrently) {
  std::atomic<int> failures{0};
  auto work = [&](int64_t seq) {
    moe_session *mine = nullptr;
    if (moe_session_create(model, 2, &mine, nullptr, 0) != MOE_OK) {
      ++failures;
      return;
    }
    DecoderInputs inputs(2, seq);
    std::vector<float> expected = inputs.expectedY();
    std::vector<moe_tensor> out(3);
    for (int i = 0; i < 200; ++i) {
      bool bad = i % 5 == 4;
      int64_t id = inputs.ids[1];
      inputs.ids[1] = bad ? 1000 + seq : id;
      moe_status status =
          moe_run(mine, inputs.tensors().data(), 4, out.data(), 3);
      out.assign(3, {});
      if (bad) {
        std::string text = moe_session_error(mine);
        failures +=
            status != MOE_ERROR_NODE ||
            text.find("got " + std::to_string(1000 + seq)) == std::string::npos;
        inputs.ids[1] = id;
        continue;
      }
      moe_tensor y = {};
      failures += status != MOE_OK || moe_get_output(mine, 0, &y) != MOE_OK ||
                  values<float>(y) != expected;
    }
    moe_session_destroy(mine);
  };
  std::thread other(work, 7);
  work(31);
  other.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(DecoderTest, ABusySessionSaysSo) {
  // The profile hook runs inside the run: the session is busy there.
  struct State {
    moe_session *session;
    moe_status status;
  } state = {session, MOE_OK};
  moe_set_profile(
      session,
      [](void *user, int32_t, int32_t) {
        auto *state = static_cast<State *>(user);
        state->status = moe_run(state->session, nullptr, 0, nullptr, 0);
      },
      &state);
  DecoderInputs inputs(1, 1);
  ASSERT_EQ(moe_run(session, inputs.tensors().data(), 4, nullptr, 0), MOE_OK);
  EXPECT_EQ(state.status, MOE_ERROR_BUSY);
}

TEST(EchoTest, EveryDtypeAndViewsOfInputs) {
  const moe_api *api = loadApi(testModelPath("echo.so"));
  ASSERT_NE(api, nullptr);
  moe_model *model = nullptr;
  moe_session *session = nullptr;
  char error[256];
  ASSERT_EQ(moe_open(api, nullptr, 0, &model, error, sizeof error), MOE_OK)
      << error;
  ASSERT_EQ(moe_session_create(model, 1, &session, nullptr, 0), MOE_OK);
  static const int64_t shape[] = {2, 3};
  alignas(8) uint8_t bytes[48];
  for (int i = 0; i < 48; ++i)
    bytes[i] = static_cast<uint8_t>(i);
  uint8_t bools[6] = {1, 0, 1, 1, 0, 0};
  float scalar = 3.5f;
  std::vector<moe_tensor> in, out(14);
  for (moe_dtype dtype = MOE_F32; dtype <= MOE_BOOL; ++dtype)
    in.push_back(
        {dtype == MOE_BOOL ? bools : bytes, dtype, 2, shape, nullptr, 0});
  in.push_back({&scalar, MOE_F32, 0, nullptr, nullptr, 0});
  ASSERT_EQ(moe_run(session, in.data(), 14, out.data(), 14), MOE_OK)
      << moe_session_error(session);
  static const int64_t sizes[] = {4, 2, 2, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1};
  for (int i = 0; i < 13; ++i) {
    EXPECT_EQ(out[i].data, in[i].data);
    EXPECT_EQ(moe_tensor_bytes(&out[i]), 6 * sizes[i]);
    EXPECT_EQ(out[i].dtype, i + 1);
  }
  EXPECT_EQ(values<float>(out[13]), std::vector<float>{3.5f});
  moe_session_destroy(session);
  moe_close(model);
}
