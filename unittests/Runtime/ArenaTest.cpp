//===- ArenaTest.cpp - Tests of the session's working memory --------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Runtime/Arena.h"
#include "moe/Runtime/Context.h"
#include "gtest/gtest.h"

#include <cstring>
#include <map>
#include <random>
#include <vector>

namespace {
class ArenaTest : public ::testing::Test {
protected:
  void SetUp() override { moe_arena_init(&arena); }
  void TearDown() override { moe_arena_release(&arena); }
  void begin(std::vector<const void *> kept = {}) {
    moe_arena_begin(&arena, kept.data(), static_cast<int32_t>(kept.size()));
  }

  moe_arena arena;
};
} // namespace

TEST_F(ArenaTest, AlignsOddSizesAndZero) {
  for (int64_t bytes : {0, 1, 63, 64, 65, 127, 1000, 4097, 1 << 20, 5000001}) {
    char *data = static_cast<char *>(moe_arena_alloc(&arena, bytes));
    ASSERT_NE(data, nullptr) << bytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % MOE_RT_ALIGNMENT, 0u);
    std::memset(data, 0xab, static_cast<size_t>(bytes));
  }
}

TEST_F(ArenaTest, RefusesWhatCannotBe) {
  EXPECT_EQ(moe_arena_alloc(&arena, -1), nullptr);
  EXPECT_EQ(moe_arena_alloc(&arena, INT64_MAX), nullptr);
  EXPECT_EQ(moe_arena_alloc(&arena, INT64_C(1) << 49), nullptr);
  EXPECT_NE(moe_arena_alloc(&arena, 100), nullptr);
}

TEST_F(ArenaTest, ReusesFreedMemoryWithinARun) {
  void *first = moe_arena_alloc(&arena, 1000);
  moe_arena_alloc(&arena, 10); // keeps the block from merging with the rest
  moe_arena_free(&arena, first);
  EXPECT_EQ(moe_arena_alloc(&arena, 990), first);
}

TEST_F(ArenaTest, CoalescesBothNeighbours) {
  void *a = moe_arena_alloc(&arena, 1000);
  void *b = moe_arena_alloc(&arena, 1000);
  void *c = moe_arena_alloc(&arena, 1000);
  moe_arena_alloc(&arena, 10);
  moe_arena_free(&arena, a);
  moe_arena_free(&arena, c);
  moe_arena_free(&arena, b);
  EXPECT_EQ(moe_arena_alloc(&arena, 3000), a);
}

TEST_F(ArenaTest, IgnoresForeignAndRepeatedFrees) {
  alignas(64) char foreign[128] = {};
  moe_arena_free(&arena, nullptr);
  moe_arena_free(&arena, foreign + 64);
  void *a = moe_arena_alloc(&arena, 100);
  moe_arena_free(&arena, a);
  moe_arena_free(&arena, a);
  moe_arena_free(&arena, static_cast<char *>(a) + 64);
  EXPECT_EQ(arena.in_use, 0);
  EXPECT_EQ(moe_arena_alloc(&arena, 100), a);
}

TEST_F(ArenaTest, SteadyStateMakesNoSystemCall) {
  std::vector<int64_t> sizes = {100,     3 << 20, 7,      12345678,
                                1 << 20, 999,     5 << 20};
  auto run = [&] {
    begin();
    std::vector<void *> live;
    for (int64_t size : sizes) {
      live.push_back(moe_arena_alloc(&arena, size));
      if (live.size() == 3) {
        moe_arena_free(&arena, live[1]);
        live.erase(live.begin() + 1);
      }
    }
  };
  run();
  run();
  int64_t calls = arena.system_calls, reserved = arena.reserved;
  for (int i = 0; i < 20; ++i)
    run();
  EXPECT_EQ(arena.system_calls, calls);
  EXPECT_EQ(arena.reserved, reserved);
  EXPECT_GE(arena.reserved, arena.peak);
  EXPECT_GE(arena.peak, 12345678);
}

TEST_F(ArenaTest, KeepsBlocksThatTheNextRunReads) {
  begin();
  char *a = static_cast<char *>(moe_arena_alloc(&arena, 1000));
  char *b = static_cast<char *>(moe_arena_alloc(&arena, 3 << 20)); // own chunk
  std::memset(b, 0x5a, 3 << 20);
  begin({b + 17});
  EXPECT_EQ(moe_arena_alloc(&arena, 1000), a);
  for (int i = 0; i < 50; ++i)
    std::memset(moe_arena_alloc(&arena, 100000), 0, 100000);
  for (int i = 0; i < 3 << 20; ++i)
    ASSERT_EQ(b[i], 0x5a);
  begin();
  EXPECT_EQ(arena.in_use, 0);
}

TEST_F(ArenaTest, RandomSequencesNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    std::map<char *, int64_t> live; // begin -> size
    begin();
    for (int step = 0; step < 400; ++step) {
      if (!live.empty() && random() % 2) {
        auto it = std::next(live.begin(), random() % live.size());
        for (int64_t i = 0; i < it->second; ++i)
          ASSERT_EQ(it->first[i], static_cast<char>(it->second));
        moe_arena_free(&arena, it->first);
        live.erase(it);
        continue;
      }
      int64_t size = random() % (1u << (random() % 18));
      char *data = static_cast<char *>(moe_arena_alloc(&arena, size));
      ASSERT_NE(data, nullptr);
      std::memset(data, static_cast<char>(size), static_cast<size_t>(size));
      auto [it, inserted] = live.emplace(data, size);
      ASSERT_TRUE(inserted);
      if (it != live.begin()) {
        auto before = std::prev(it);
        ASSERT_LE(before->first + before->second, data);
      }
      if (std::next(it) != live.end()) {
        ASSERT_LE(data + size, std::next(it)->first);
      }
    }
    for (auto &[data, size] : live)
      moe_arena_free(&arena, data);
    EXPECT_EQ(arena.in_use, 0);
  }
}
