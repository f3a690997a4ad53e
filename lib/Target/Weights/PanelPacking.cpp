//===- PanelPacking.cpp - Rearranges weights in memory --------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sources are memory-mapped files read once, so the loops are written for the
// memory system: whole cache lines, few streams at a time, blocks that stay in
// the first-level cache while they are transposed.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Weights/PanelPacking.h"

#include <algorithm>
#include <cassert>
#include <cstring>

using namespace mlir::moe;
using llvm::ArrayRef;
using llvm::SmallVector;

static constexpr int64_t kColumns = 16;

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

StridedBytes StridedBytes::canonical() const {
  StridedBytes result;
  result.data = data;
  result.elementSize = elementSize;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1)
      continue;
    if (!result.shape.empty() &&
        result.strides.back() == shape[i] * strides[i]) {
      result.shape.back() *= shape[i];
      result.strides.back() = strides[i];
      continue;
    }
    result.shape.push_back(shape[i]);
    result.strides.push_back(strides[i]);
  }
  return result;
}

std::optional<StridedBytes> StridedBytes::asBytes() const {
  if (elementBits >= 8)
    return *this;
  if (needsGather())
    return std::nullopt;
  StridedBytes bytes;
  bytes.data = data;
  bytes.shape = shape;
  bytes.strides = strides;
  if (shape.empty() || bitOffset != 0 ||
      (shape.back() > 1 && strides.back() != elementBits))
    return std::nullopt;
  for (size_t i = 0; i + 1 < shape.size(); ++i) {
    if (shape[i] > 1 && strides[i] % 8 != 0)
      return std::nullopt;
    bytes.strides[i] /= 8;
  }
  bytes.shape.back() = (shape.back() * elementBits + 7) / 8;
  bytes.strides.back() = 1;
  return bytes;
}

std::optional<StridedBytes> StridedBytes::asContiguousBytes() const {
  if (elementBits >= 8)
    return *this;
  if (bitOffset != 0 || !isContiguous())
    return std::nullopt;
  StridedBytes bytes;
  bytes.data = data;
  bytes.shape = {(getNumElements() * elementBits + 7) / 8};
  bytes.strides = {1};
  return bytes;
}

bool StridedBytes::isContiguous() const {
  int64_t expected = elementBits < 8 ? elementBits : elementSize;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected)
      return false;
    expected *= shape[i];
  }
  return true;
}

int64_t StridedBytes::getNumElements() const {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

namespace {
struct Word16Bytes {
  uint64_t low, high;
};
} // namespace

/// Calls `body` with a value of the unsigned type of `size` bytes.
template <typename Body> static void withWord(int64_t size, Body body) {
  switch (size) {
  case 1:
    return body(uint8_t());
  case 2:
    return body(uint16_t());
  case 4:
    return body(uint32_t());
  case 8:
    return body(uint64_t());
  case 16:
    return body(Word16Bytes());
  }
  assert(false && "element sizes are powers of 2 up to 16");
}

template <typename Word> static Word load(const uint8_t *data) {
  Word word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

template <typename Word> static void store(uint8_t *data, Word word) {
  std::memcpy(data, &word, sizeof word);
}

/// `count` elements that lie `stride` bytes apart.
template <typename Word>
static void gatherRun(const uint8_t *data, int64_t stride, int64_t count,
                      uint8_t *out) {
  if (stride == sizeof(Word)) {
    std::memcpy(out, data, count * sizeof(Word));
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    store(out + i * sizeof(Word), load<Word>(data + i * stride));
}

/// [rows, cols] with neighbouring rows `sizeof(Word)` bytes and neighbouring
/// columns `stride` bytes apart: a transposition. A tile of 16 x 16 touches a
/// cache line or two per source column, all of which it uses.
template <typename Word>
static void transpose(const uint8_t *data, int64_t stride, int64_t rows,
                      int64_t cols, uint8_t *out) {
  constexpr int64_t kTile = 16;
  constexpr int64_t size = sizeof(Word);
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    int64_t r1 = std::min(rows, r0 + kTile);
    for (int64_t c0 = 0; c0 < cols; c0 += kTile) {
      int64_t c1 = std::min(cols, c0 + kTile);
      for (int64_t r = r0; r < r1; ++r)
        for (int64_t c = c0; c < c1; ++c)
          store(out + (r * cols + c) * size,
                load<Word>(data + c * stride + r * size));
    }
  }
}

void mlir::moe::gatherElements(const StridedBytes &tensor, int64_t begin,
                               int64_t end, uint8_t *out) {
  if (begin >= end)
    return;
  withWord(tensor.elementSize, [&](auto word) {
    using Word = decltype(word);
    constexpr int64_t size = sizeof(Word);
    size_t rank = tensor.shape.size();
    if (rank == 0) {
      gatherRun<Word>(tensor.data, size, 1, out);
      return;
    }
    int64_t cols = tensor.shape[rank - 1], stride = tensor.strides[rank - 1];
    // The position of `begin`; the last dimension is walked by runs.
    SmallVector<int64_t, 4> index(rank, 0);
    const uint8_t *row = tensor.data;
    int64_t rest = begin;
    for (size_t i = rank; i-- > 0;) {
      index[i] = rest % tensor.shape[i];
      rest /= tensor.shape[i];
      if (i + 1 != rank)
        row += index[i] * tensor.strides[i];
    }
    auto advance = [&](int64_t rows) {
      index[rank - 1] = 0;
      size_t i = rank - 1;
      while (rows && i-- > 0) {
        row += rows * tensor.strides[i];
        index[i] += rows;
        rows = 0;
        if (index[i] == tensor.shape[i]) {
          row -= index[i] * tensor.strides[i];
          index[i] = 0;
          rows = 1;
        }
      }
    };
    int64_t left = end - begin;
    while (left) {
      int64_t col = index[rank - 1];
      // Several whole rows of a transposed matrix at once.
      if (rank >= 2 && col == 0 && left >= 2 * cols &&
          tensor.strides[rank - 2] == size) {
        int64_t rows =
            std::min(tensor.shape[rank - 2] - index[rank - 2], left / cols);
        transpose<Word>(row, stride, rows, cols, out);
        out += rows * cols * size;
        left -= rows * cols;
        advance(rows);
        continue;
      }
      int64_t count = std::min(cols - col, left);
      gatherRun<Word>(row + col * stride, stride, count, out);
      out += count * size;
      left -= count;
      if (col + count == cols)
        advance(1);
    }
  });
}

//===----------------------------------------------------------------------===//
// Panels
//===----------------------------------------------------------------------===//

/// All columns present, `k` contiguous in each: 16 streams are read at once,
/// and every `Word` holds the neighbouring `k` that the interleave keeps
/// together. Returns how many words of each column were packed.
template <typename Word>
static void packAlongColumns(ArrayRef<PanelColumn> columns, int64_t words,
                             uint8_t *out) {
  constexpr int64_t size = sizeof(Word);
  constexpr int64_t kTile = 64 / size;
  const uint8_t *column[kColumns];
  for (int64_t c = 0; c < kColumns; ++c)
    column[c] = columns[c].data;
  int64_t k = 0;
  // A cache line of each column at a time, via a buffer: its columns are
  // written by whole lines, and the compiler vectorizes the second loop.
  for (; k + kTile <= words; k += kTile) {
    Word tile[kColumns][kTile];
    for (int64_t c = 0; c < kColumns; ++c)
      std::memcpy(tile[c], column[c] + k * size, kTile * size);
    for (int64_t i = 0; i < kTile; ++i) {
      Word line[kColumns];
      for (int64_t c = 0; c < kColumns; ++c)
        line[c] = tile[c][i];
      std::memcpy(out + (k + i) * kColumns * size, line, sizeof line);
    }
  }
  for (; k < words; ++k)
    for (int64_t c = 0; c < kColumns; ++c)
      store(out + (k * kColumns + c) * size, load<Word>(column[c] + k * size));
}

/// The 16 columns are neighbours in memory: `interleave` rows of the source
/// become one row of the panel.
template <typename Word>
static void packAlongRows(const uint8_t *data, int64_t stride, int64_t depth,
                          int64_t interleave, uint8_t *out) {
  constexpr int64_t size = sizeof(Word);
  if (interleave == 1) {
    for (int64_t k = 0; k < depth; ++k)
      std::memcpy(out + k * kColumns * size, data + k * stride,
                  kColumns * size);
    return;
  }
  assert(interleave == 2 && "no type has another interleave");
  for (int64_t k = 0; k + 2 <= depth; k += 2) {
    Word a[kColumns], b[kColumns], line[2 * kColumns];
    std::memcpy(a, data + k * stride, sizeof a);
    std::memcpy(b, data + (k + 1) * stride, sizeof b);
    for (int64_t c = 0; c < kColumns; ++c) {
      line[2 * c] = a[c];
      line[2 * c + 1] = b[c];
    }
    std::memcpy(out + k * kColumns * size, line, sizeof line);
  }
}

/// Any columns and strides, one element after the other; rows [begin, depth).
template <typename Word>
static void packAny(ArrayRef<PanelColumn> columns, int64_t begin, int64_t depth,
                    int64_t interleave, uint8_t *out) {
  int64_t padded = (depth + interleave - 1) / interleave * interleave;
  for (int64_t k = begin; k < padded; ++k) {
    uint8_t *row =
        out + (k / interleave * kColumns * interleave + k % interleave) *
                  sizeof(Word);
    for (int64_t c = 0; c < kColumns; ++c) {
      Word word = {};
      if (k < depth && columns[c].data)
        word = load<Word>(columns[c].data + k * columns[c].stride);
      store(row + c * interleave * sizeof(Word), word);
    }
  }
}

/// Writes the elements `k` to `k + count` of a row, which lie at one stride
/// from `at` on.
static void gatherRun(const StridedBytes &tensor, int64_t at, int64_t stride,
                      int64_t k, int64_t count, uint8_t *out) {
  int64_t bits = tensor.elementBits, size = tensor.elementSize;
  if (bits >= 8) {
    for (int64_t end = k + count; k < end; ++k, at += stride) {
      std::memcpy(out + k * size, tensor.data + at, size);
      if (size == 1) // others have no increment
        out[k] = static_cast<uint8_t>(out[k] + tensor.increment);
    }
    return;
  }
  if (stride == bits && tensor.increment == 0 &&
      (at | k * bits | count * bits) % 8 == 0) {
    std::memcpy(out + k * bits / 8, tensor.data + at / 8, count * bits / 8);
    return;
  }
  int64_t mask = (int64_t(1) << bits) - 1;
  for (int64_t end = k + count; k < end; ++k, at += stride) {
    int64_t value = (tensor.data[at / 8] >> at % 8) + tensor.increment;
    out[k * bits / 8] |= static_cast<uint8_t>((value & mask) << k * bits % 8);
  }
}

void mlir::moe::gatherRow(const StridedBytes &tensor, ArrayRef<int64_t> index,
                          uint8_t *out) {
  ArrayRef<int64_t> sizes = tensor.shape, strides = tensor.strides;
  int64_t at = tensor.elementBits < 8 ? tensor.bitOffset : 0;
  for (auto [dim, position] : llvm::zip(tensor.dims(), index)) {
    // How many sizes the dimension consists of, as in `moe.weight`.
    size_t count = 0;
    if (tensor.merged.empty())
      count = 1;
    else
      for (int64_t product = 1; product != dim; ++count)
        product *= sizes[count];
    int64_t rest = position;
    for (size_t i = count; i-- > 0; rest /= sizes[i])
      at += rest % sizes[i] * strides[i];
    sizes = sizes.drop_front(count);
    strides = strides.drop_front(count);
  }
  // What is left of the sizes is the row: runs of the last one.
  int64_t run = 1, stride = 0;
  if (!sizes.empty()) {
    run = sizes.back();
    stride = strides.back();
    sizes = sizes.drop_back();
  }
  SmallVector<int64_t, 4> counts(sizes.size(), 0);
  for (int64_t k = 0, depth = tensor.dims().back(); k < depth; k += run) {
    gatherRun(tensor, at, stride, k, run, out);
    for (size_t i = sizes.size(); i-- > 0;) {
      at += strides[i];
      if (++counts[i] < sizes[i])
        break;
      at -= sizes[i] * strides[i];
      counts[i] = 0;
    }
  }
}

/// The integer of `bits` bits that column `column` has at `k`.
static uint8_t integerAt(const PanelColumn &column, int64_t k, int64_t bits) {
  int64_t at = column.bit + k * column.stride;
  uint8_t byte = column.data ? column.data[at / 8] : 0;
  return static_cast<uint8_t>(byte >> at % 8 & ((1 << bits) - 1));
}

void mlir::moe::packBytes(ArrayRef<PanelColumn> columns, int64_t depth,
                          int64_t bits, uint8_t *out) {
  assert(columns.size() == kColumns && bits < 8 && 8 % bits == 0);
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t c = 0; c < kColumns; ++c)
      out[k * kColumns + c] = integerAt(columns[c], k, bits);
}

void mlir::moe::packWords(ArrayRef<PanelColumn> columns, int64_t depth,
                          int64_t bits, uint8_t *out) {
  assert(columns.size() == kColumns && bits < 8 && 8 % bits == 0);
  int64_t perWord = 32 / bits;
  for (int64_t first = 0; first < depth; first += perWord) {
    uint32_t line[kColumns] = {};
    for (int64_t k = first, e = std::min(first + perWord, depth); k < e; ++k)
      for (int64_t c = 0; c < kColumns; ++c)
        line[c] |= uint32_t(integerAt(columns[c], k, bits))
                   << (k - first) * bits;
    std::memcpy(out, line, sizeof line);
    out += sizeof line;
  }
}

void mlir::moe::packPanel(ArrayRef<PanelColumn> columns, int64_t depth,
                          int64_t elementSize, int64_t interleave,
                          uint8_t *out) {
  assert(columns.size() == kColumns);
  bool alongColumns = true, alongRows = true;
  for (int64_t c = 0; c < kColumns; ++c) {
    alongColumns &= columns[c].data && columns[c].stride == elementSize;
    alongRows &= columns[c].data && columns[c].stride == columns[0].stride &&
                 columns[c].data == columns[0].data + c * elementSize;
  }
  // What the fast loops leave: an odd last `k` of an interleaved panel.
  int64_t even = depth / interleave * interleave;
  int64_t done = 0;
  if (alongColumns) {
    withWord(elementSize * interleave, [&](auto word) {
      packAlongColumns<decltype(word)>(columns, depth / interleave, out);
    });
    done = even;
  } else if (alongRows && interleave <= 2) {
    withWord(elementSize, [&](auto word) {
      packAlongRows<decltype(word)>(columns[0].data, columns[0].stride, even,
                                    interleave, out);
    });
    done = even;
  }
  withWord(elementSize, [&](auto word) {
    packAny<decltype(word)>(columns, done, depth, interleave, out);
  });
}
