//===- Quantize.cpp - Rounds weights to integers --------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Gigabytes pass through here, so the loops over a block have no branches and
// no calls: the compiler makes vectors of them.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Weights/Quantize.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/bit.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Floats
//===----------------------------------------------------------------------===//

float mlir::moe::fromBF16(uint16_t bits) {
  return llvm::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

float mlir::moe::fromF16(uint16_t bits) {
  // The exponent's bias differs by 112; the product also scales subnormals.
  float magnitude =
      llvm::bit_cast<float>((bits & uint32_t(0x7fff)) << 13) * 0x1p112f;
  if ((bits & 0x7c00) == 0x7c00)
    magnitude = bits & 0x3ff ? NAN : INFINITY;
  return bits & 0x8000 ? -magnitude : magnitude;
}

template <typename Word, typename Convert>
static void loadAll(const PanelColumn &column, std::vector<float> &values,
                    Convert convert) {
  for (size_t k = 0; k < values.size(); ++k) {
    Word word;
    std::memcpy(&word, column.data + static_cast<int64_t>(k) * column.stride,
                sizeof word);
    values[k] = convert(word);
  }
}

std::pair<uint32_t, float> mlir::moe::roundTo(FloatKind kind, float value) {
  if (kind == FloatKind::F32)
    return {llvm::bit_cast<uint32_t>(value), value};
  llvm::APFloat rounded(value);
  bool losesInfo;
  rounded.convert(kind == FloatKind::F16 ? llvm::APFloat::IEEEhalf()
                                         : llvm::APFloat::BFloat(),
                  llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  uint32_t bits =
      static_cast<uint32_t>(rounded.bitcastToAPInt().getZExtValue());
  uint16_t half = static_cast<uint16_t>(bits);
  return {bits, kind == FloatKind::F16 ? fromF16(half) : fromBF16(half)};
}

/// Ties to even, of magnitudes below 2^22: nearbyint() is a call where the
/// build has no instruction for it.
static float roundToInteger(float value) {
  constexpr float kMagic = 0x1.8p23f;
  return (value + kMagic) - kMagic;
}

//===----------------------------------------------------------------------===//
// Columns
//===----------------------------------------------------------------------===//

ColumnQuantizer::ColumnQuantizer(const QuantizationScheme &scheme,
                                 FloatKind source, int64_t depth,
                                 bool withIntegers)
    : scheme(scheme), source(source), values(depth) {
  int64_t blocks = (depth + scheme.blockSize - 1) / scheme.blockSize;
  if (withIntegers)
    integers.resize((depth * scheme.bits + 7) / 8);
  scales.resize(blocks * byteSize(scheme.scale));
  if (scheme.asymmetric)
    zeroPoints.resize((blocks * scheme.bits + 7) / 8);
}

/// Stores the integer of `bits` bits number `index` in zeroed bytes.
static void putBits(std::vector<uint8_t> &bytes, int64_t index, int64_t bits,
                    float value) {
  int64_t at = index * bits;
  bytes[at / 8] |= static_cast<uint8_t>(static_cast<int>(value) << at % 8);
}

bool ColumnQuantizer::runBlock(int64_t begin, int64_t count,
                               std::string &error) {
  float *block = values.data() + begin;
  float lo = 0, hi = 0;
  bool isFinite = true;
  for (int64_t i = 0; i < count; ++i) {
    isFinite &= std::fabs(block[i]) <= FLT_MAX;
    lo = std::min(lo, block[i]);
    hi = std::max(hi, block[i]);
  }
  if (!isFinite) {
    error = "expects finite elements";
    return false;
  }

  float top = static_cast<float>((1 << scheme.bits) - 1);
  float zero = static_cast<float>(1 << (scheme.bits - 1));
  float scale;
  if (scheme.asymmetric) {
    scale = hi / top - lo / top; // hi - lo may be infinite
  } else {
    float magnitude = std::max(-lo, hi);
    bool isNegative = hi != magnitude;
    // The first of an element and its opposite.
    if (-lo == hi)
      isNegative =
          std::signbit(*std::find_if(block, block + count, [&](float value) {
            return std::fabs(value) == magnitude;
          }));
    scale = (isNegative ? -magnitude : magnitude) / -zero;
  }
  auto [bits, rounded] = roundTo(scheme.scale, scale);
  if (!std::isfinite(rounded)) {
    error = "expects scales within the range of their type, got " +
            std::to_string(scale);
    return false;
  }
  int64_t index = begin / scheme.blockSize;
  std::memcpy(scales.data() + index * byteSize(scheme.scale), &bits,
              byteSize(scheme.scale));
  // Any other divisor would do: all integers are those of zero then.
  float divisor = rounded == 0 ? INFINITY : rounded;
  if (scheme.asymmetric) {
    zero = roundToInteger(std::min(std::max(-lo / divisor, 0.0f), top));
    putBits(zeroPoints, index, scheme.bits, zero);
  }

  if (integers.empty())
    return true;
  double squares = 0, errors = 0;
  for (int64_t i = 0; i < count; ++i) {
    float value = block[i];
    // Clamped first, because rounding takes no large values; the bounds are
    // integers, so the order makes no difference.
    float q = std::min(std::max(value / divisor, -zero), top - zero);
    q = roundToInteger(q) + zero;
    float difference = value - (q - zero) * rounded;
    block[i] = q;
    squares += static_cast<double>(value) * value;
    errors += static_cast<double>(difference) * difference;
  }
  squaredSum += squares;
  squaredError += errors;
  for (int64_t i = 0; i < count; ++i)
    putBits(integers, begin + i, scheme.bits, block[i]);
  return true;
}

bool ColumnQuantizer::run(const PanelColumn &column, std::string &error) {
  switch (source) {
  case FloatKind::F32:
    loadAll<float>(column, values, [](float value) { return value; });
    break;
  case FloatKind::F16:
    loadAll<uint16_t>(column, values, fromF16);
    break;
  case FloatKind::BF16:
    loadAll<uint16_t>(column, values, fromBF16);
    break;
  }
  std::fill(integers.begin(), integers.end(), 0);
  std::fill(zeroPoints.begin(), zeroPoints.end(), 0);
  int64_t depth = static_cast<int64_t>(values.size());
  for (int64_t k = 0; k < depth; k += scheme.blockSize)
    if (!runBlock(k, std::min(scheme.blockSize, depth - k), error))
      return false;
  return true;
}
