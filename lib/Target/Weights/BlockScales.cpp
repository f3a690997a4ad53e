//===- BlockScales.cpp - Reads 8-bit floats with scales -------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Weights/BlockScales.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/bit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

using namespace mlir::moe;

/// The values of E4M3FN by code.
static const std::array<float, 256> &floatsOfCodes() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values;
    for (unsigned code = 0; code < 256; ++code)
      values[code] =
          llvm::APFloat(llvm::APFloat::Float8E4M3FN(), llvm::APInt(8, code))
              .convertToFloat();
    return values;
  }();
  return table;
}

static uint16_t toBF16(float value) {
  uint32_t bits = llvm::bit_cast<uint32_t>(value);
  if (std::isnan(value))
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float scaleAt(const BlockScaledMatrix &matrix, int64_t index) {
  if (matrix.scaleKind == FloatKind::F32) {
    float value;
    std::memcpy(&value, matrix.scales + index * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, matrix.scales + index * 2, 2);
  return matrix.scaleKind == FloatKind::F16 ? fromF16(bits) : fromBF16(bits);
}

/// `count` elements `stride` bytes apart that share a scale.
template <typename Word, typename Convert>
static void readRun(const uint8_t *data, int64_t stride, int64_t count,
                    float scale, uint8_t *out, Convert convert) {
  const std::array<float, 256> &table = floatsOfCodes();
  for (int64_t i = 0; i < count; ++i) {
    Word word = convert(table[data[i * stride]] * scale);
    std::memcpy(out + i * static_cast<int64_t>(sizeof word), &word,
                sizeof word);
  }
}

void BlockScaledMatrix::read(const PanelColumn &column, int64_t count,
                             uint8_t *out) const {
  int64_t perRow = (columns + blockColumns - 1) / blockColumns;
  int64_t rowStep = column.stride / columns, step = column.stride % columns;
  const uint8_t *at = column.data;
  while (count > 0) {
    int64_t row = (at - data) / columns, col = (at - data) % columns;
    // How far the scale stays the same, along a row or a column of the matrix.
    int64_t run = 1;
    if (column.stride == 0)
      run = count;
    else if (rowStep == 0)
      run = (std::min(columns, (col / blockColumns + 1) * blockColumns) - col +
             step - 1) /
            step;
    else if (step == 0)
      run = ((row / blockRows + 1) * blockRows - row + rowStep - 1) / rowStep;
    run = std::min(run, count);
    float scale = scaleAt(*this, row / blockRows * perRow + col / blockColumns);
    switch (result) {
    case FloatKind::F32:
      readRun<float>(at, column.stride, run, scale, out,
                     [](float value) { return value; });
      break;
    case FloatKind::F16:
      readRun<uint16_t>(at, column.stride, run, scale, out, [](float value) {
        return static_cast<uint16_t>(roundTo(FloatKind::F16, value).first);
      });
      break;
    case FloatKind::BF16:
      readRun<uint16_t>(at, column.stride, run, scale, out, toBF16);
      break;
    }
    out += run * byteSize(result);
    at += run * column.stride;
    count -= run;
  }
}
