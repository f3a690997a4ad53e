//===- Quantize.h - Rounds weights to integers ------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The rounding that `moe.quantized_weight` defines, one column at a time. Plain
// C++ on memory, like PanelPacking.h.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_WEIGHTS_QUANTIZE_H
#define MOE_TARGET_WEIGHTS_QUANTIZE_H

#include "moe/Target/Weights/PanelPacking.h"

#include <string>
#include <utility>
#include <vector>

namespace mlir::moe {

enum class FloatKind { F32, F16, BF16 };

inline int64_t byteSize(FloatKind kind) {
  return kind == FloatKind::F32 ? 4 : 2;
}

float fromBF16(uint16_t bits);
float fromF16(uint16_t bits);

/// The nearest `kind`, as its bits in the lowest bytes and as f32.
std::pair<uint32_t, float> roundTo(FloatKind kind, float value);

struct QuantizationScheme {
  /// 2, 4 or 8.
  int64_t bits = 4;
  /// Elements along K that share a scale.
  int64_t blockSize = 32;
  FloatKind scale = FloatKind::BF16;
  bool asymmetric = false;
};

/// Rounds columns of `depth` floats.
class ColumnQuantizer {
public:
  /// Without `withIntegers` there are scales and zero points only.
  ColumnQuantizer(const QuantizationScheme &scheme, FloatKind source,
                  int64_t depth, bool withIntegers);

  /// Rounds the column that begins at `column`; its results replace those of
  /// the last one. False, with `error` filled in, if an element is not finite
  /// or a scale is too large for its type.
  bool run(const PanelColumn &column, std::string &error);

  /// The integers, the first in the lowest bits; the last byte is filled with
  /// zeros.
  llvm::ArrayRef<uint8_t> getIntegers() const { return integers; }
  llvm::ArrayRef<uint8_t> getScales() const { return scales; }
  /// As the integers; none if symmetric.
  llvm::ArrayRef<uint8_t> getZeroPoints() const { return zeroPoints; }

  /// Sums over all columns, if there are integers: of the squared differences
  /// to what they stand for, and of the squared elements.
  double getSquaredError() const { return squaredError; }
  double getSquaredSum() const { return squaredSum; }

private:
  bool runBlock(int64_t begin, int64_t count, std::string &error);

  QuantizationScheme scheme;
  FloatKind source;
  std::vector<float> values;
  std::vector<uint8_t> integers, scales, zeroPoints;
  double squaredError = 0, squaredSum = 0;
};

} // namespace mlir::moe

#endif // MOE_TARGET_WEIGHTS_QUANTIZE_H
