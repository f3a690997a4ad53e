//===- PanelPackingTest.cpp - Rearrangements against naive loops ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Weights/PanelPacking.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cstring>
#include <vector>

using namespace mlir::moe;
using llvm::SmallVector;

/// Bytes that differ from their neighbours at every distance below 251.
static std::vector<uint8_t> pattern(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<uint8_t>(1 + (i * 7 + i / 251 * 13) % 255);
  return bytes;
}

static std::vector<uint8_t> naiveGather(const StridedBytes &t, int64_t begin,
                                        int64_t end) {
  std::vector<uint8_t> out;
  for (int64_t i = begin; i < end; ++i) {
    int64_t rest = i, at = 0;
    for (size_t d = t.shape.size(); d-- > 0; rest /= t.shape[d])
      at += rest % t.shape[d] * t.strides[d];
    out.insert(out.end(), t.data + at, t.data + at + t.elementSize);
  }
  return out;
}

TEST(PanelPackingTest, GathersEveryKindOfStride) {
  std::vector<uint8_t> bytes = pattern(1 << 16);
  struct Case {
    SmallVector<int64_t, 4> shape, strides; // strides in elements
  };
  Case cases[] = {
      {{}, {}},
      {{5}, {1}},
      {{5}, {3}},
      {{4, 6}, {6, 1}},
      {{4, 6}, {1, 4}},            // transposed
      {{37, 41}, {1, 37}},         // transposed, odd sizes
      {{3, 17, 20}, {340, 1, 17}}, // transposed per expert
      {{3, 5, 7}, {70, 14, 2}},    // one of two interleaved
      {{2, 3, 5, 7}, {7, 14, 42, 1}},
      {{4, 3}, {0, 1}}, // broadcast
      {{2, 1, 3}, {3, 99, 1}},
      {{0, 3}, {3, 1}},
  };
  for (const Case &c : cases)
    for (int64_t size : {1, 2, 4, 8, 16}) {
      StridedBytes t{bytes.data(), c.shape, c.strides, size};
      for (int64_t &stride : t.strides)
        stride *= size;
      StridedBytes canonical = t.canonical();
      int64_t count = t.getNumElements();
      ASSERT_EQ(canonical.getNumElements(), count);
      EXPECT_EQ(t.isContiguous(), canonical.isContiguous());
      // All of it, and pieces that begin and end inside of rows.
      for (int64_t piece : {count, int64_t(1), int64_t(10), int64_t(45)})
        for (int64_t begin = 0; begin < count && piece; begin += piece) {
          int64_t end = std::min(begin + piece, count);
          std::vector<uint8_t> got((end - begin) * size);
          gatherElements(canonical, begin, end, got.data());
          ASSERT_EQ(got, naiveGather(t, begin, end))
              << "rank " << c.shape.size() << " size " << size << " from "
              << begin;
        }
    }
}

TEST(PanelPackingTest, GathersRowsOfSplitDimensions) {
  std::vector<uint8_t> bytes = pattern(1 << 12);
  struct Case {
    SmallVector<int64_t, 4> dims, sizes, strides; // strides in elements
  };
  Case cases[] = {
      {{6, 32}, {6, 4, 8}, {8, 48, 1}},         // words of neighbours in rows
      {{16, 24}, {2, 4, 2, 24}, {8, 1, 4, 16}}, // in columns, in another order
      {{16, 24}, {16, 24}, {1, 16}},
      {{3, 5, 7}, {3, 5, 7}, {70, 14, 2}},
      {{2, 3, 20}, {2, 3, 5, 4}, {60, 4, 12, 1}},
      {{4, 1}, {2, 2}, {1, 2}},
      {{1, 30}, {1, 5, 2, 3}, {9, 6, 30, 2}},
  };
  for (const Case &c : cases)
    for (int64_t bits : {2, 4, 8, 16})
      for (int64_t increment : {0, 1, 3})
        for (int64_t bitOffset : {int64_t(0), bits % 8}) {
          if (bits > 8 && increment != 0)
            continue;
          int64_t unit = bits < 8 ? bits : bits / 8;
          StridedBytes t{bytes.data(), c.sizes, c.strides,
                         std::max(bits / 8, int64_t(1))};
          for (int64_t &stride : t.strides)
            stride *= unit;
          t.elementBits = std::min(bits, int64_t(8));
          t.bitOffset = bitOffset;
          t.merged = c.dims;
          t.increment = increment;
          int64_t depth = c.dims.back(), rows = t.getNumElements() / depth;
          for (int64_t row = 0; row < rows; ++row) {
            std::vector<uint8_t> got((depth * bits + 7) / 8), want(got.size());
            for (int64_t k = 0; k < depth; ++k) {
              int64_t rest = row * depth + k, at = bits < 8 ? bitOffset : 0;
              for (size_t d = c.sizes.size(); d-- > 0; rest /= c.sizes[d])
                at += rest % c.sizes[d] * t.strides[d];
              if (bits >= 8) {
                for (int64_t i = 0; i < unit; ++i)
                  want[k * unit + i] =
                      static_cast<uint8_t>(bytes[at + i] + increment);
              } else {
                int64_t value = (bytes[at / 8] >> at % 8) + increment;
                want[k * bits / 8] |=
                    static_cast<uint8_t>(value % (1 << bits) << k * bits % 8);
              }
            }
            SmallVector<int64_t> index(c.dims.size() - 1);
            int64_t rest = row;
            for (size_t d = index.size(); d-- > 0; rest /= c.dims[d])
              index[d] = rest % c.dims[d];
            gatherRow(t, index, got.data());
            ASSERT_EQ(got, want)
                << bits << " bits, row " << row << " of " << rows;
          }
        }
}

TEST(PanelPackingTest, CanonicalMergesContiguousDimensions) {
  StridedBytes t{nullptr, {2, 1, 3, 4}, {48, 7, 16, 4}, 4};
  StridedBytes canonical = t.canonical();
  EXPECT_EQ(canonical.shape, (SmallVector<int64_t, 4>{24}));
  EXPECT_TRUE(t.isContiguous());
  t.strides[0] = 96;
  EXPECT_EQ(t.canonical().shape, (SmallVector<int64_t, 4>{2, 12}));
  EXPECT_FALSE(t.isContiguous());
}

/// Element (k, c) of a packed panel, as the grouped dialect documents it.
static size_t panelIndex(int64_t k, int64_t c, int64_t interleave) {
  return static_cast<size_t>(k / interleave * 16 * interleave + c * interleave +
                             k % interleave);
}

TEST(PanelPackingTest, PacksEveryKindOfPanel) {
  std::vector<uint8_t> bytes = pattern(1 << 18);
  for (int64_t size : {1, 2, 4, 8})
    for (int64_t interleave : {1, 2})
      for (int64_t depth : {0, 1, 2, 15, 16, 17, 64, 129})
        for (int kind = 0; kind < 4; ++kind)
          for (int present : {0, 1, 7, 15, 16}) {
            PanelColumn columns[16];
            for (int c = 0; c < present; ++c) {
              int64_t ld = kind == 0   ? depth + 3  // along k
                           : kind == 1 ? 1          // along n
                           : kind == 2 ? 2          // every second n
                                       : depth * 2; // every second k
              int64_t stride = kind == 0   ? 1
                               : kind == 1 ? 40
                               : kind == 2 ? 40
                                           : 2;
              columns[c] = {bytes.data() + c * ld * size, stride * size};
            }
            int64_t rows = (depth + interleave - 1) / interleave;
            // One line more, to see that nothing is written behind the end.
            std::vector<uint8_t> got((rows * 16 * interleave + 16) * size,
                                     0xEE);
            std::vector<uint8_t> want = got;
            std::memset(want.data(), 0, rows * 16 * interleave * size);
            for (int64_t k = 0; k < depth; ++k)
              for (int c = 0; c < present; ++c)
                std::memcpy(want.data() + panelIndex(k, c, interleave) * size,
                            columns[c].data + k * columns[c].stride, size);
            packPanel(columns, depth, size, interleave, got.data());
            ASSERT_EQ(got, want)
                << "size " << size << " interleave " << interleave << " depth "
                << depth << " kind " << kind << " present " << present;
          }
}

TEST(PanelPackingTest, PacksBitsAsBytes) {
  std::vector<uint8_t> bytes = pattern(1 << 12);
  for (int64_t bits : {1, 2, 4})
    for (int64_t depth : {0, 1, 3, 8, 21})
      for (int64_t stride : {int64_t(1), int64_t(2), depth})
        for (int present : {0, 5, 16}) {
          PanelColumn columns[16];
          for (int c = 0; c < present; ++c) {
            int64_t at = 4 + c * 29 * bits;
            columns[c] = {bytes.data() + at / 8, stride * bits, at % 8};
          }
          std::vector<uint8_t> got(depth * 16 + 16, 0xEE), want = got;
          for (int64_t k = 0; k < depth; ++k)
            for (int c = 0; c < 16; ++c) {
              int64_t at = 4 + (c * 29 + k * stride) * bits;
              want[k * 16 + c] =
                  c < present ? bytes[at / 8] >> at % 8 & ((1 << bits) - 1) : 0;
            }
          packBytes(columns, depth, bits, got.data());
          ASSERT_EQ(got, want) << "bits " << bits << " depth " << depth
                               << " stride " << stride << " of " << present;
        }
}

TEST(PanelPackingTest, ViewsBitsAsBytes) {
  StridedBytes t{nullptr, {3, 5, 7}, {160, 32, 4}, 1, 4};
  std::optional<StridedBytes> rows = t.asBytes();
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->shape, (SmallVector<int64_t, 4>{3, 5, 4}));
  EXPECT_EQ(rows->strides, (SmallVector<int64_t, 4>{20, 4, 1}));
  EXPECT_FALSE(t.asContiguousBytes()); // a nibble is left out of every row
  t = StridedBytes{nullptr, {3, 5, 7}, {140, 28, 4}, 1, 4};
  EXPECT_FALSE(t.asBytes()); // rows begin within bytes
  std::optional<StridedBytes> all = t.asContiguousBytes();
  ASSERT_TRUE(all);
  EXPECT_EQ(all->shape, (SmallVector<int64_t, 4>{53}));
  t = StridedBytes{nullptr, {3, 8}, {32, 4}, 1, 4, 4};
  EXPECT_FALSE(t.asBytes());
  EXPECT_FALSE(t.asContiguousBytes());
}
