//===- QuantizedWeights.h - packed integers as weights ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The quantized weights of com.microsoft.QMoE and MatMulNBits: integers of 2, 4
// or 8 bits, or floats of 4, in tensors of bytes, the lowest bits first, every
// row from a byte on. They stay as they are: what moe.grouped_matmul gets is a
// view of the bytes as integers.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_QUANTIZEDWEIGHTS_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_QUANTIZEDWEIGHTS_H

#include "moe/Conversion/ONNXToMoE/WeightViews.h"

namespace mlir::moe {

/// One range of a dimension.
struct StridedRange {
  int64_t begin = 0, size = 0, step = 1;
};

struct QuantizedWeights {
  /// Bytes: [E, N, rowBytes()], or of any other shape in the same order; with
  /// `inputMajor` [E, K, N / 2], rows of K.
  Value values;
  /// Floats, or exponents (E8M0): one per block, [E, N, ceil(depth /
  /// blockSize)].
  Value scales;
  /// Optional: like the scales, or packed integers.
  Value zeroPoints;
  int64_t experts = 1, columns = 0, depth = 0;
  int64_t bits = 0, blockSize = 0;
  Encoding encoding = Encoding::Unsigned;
  bool inputMajor = false;
  /// Whether the last block of a row is stored as long as the others.
  bool wholeBlocks = false;
  /// Whether packed zero points, of which there is one per row, are rows of
  /// themselves: [E, ceil(N * bits / 8)] rather than [E, N, 1].
  bool zeroPointsShareBytes = false;

  int64_t blocks() const;
  int64_t rowBytes() const;
  SmallVector<int64_t> shapeOfBytes() const;
  /// Whether all of it is constant and has these sizes; `why` says what is
  /// required and what was found.
  LogicalResult check(const WeightSymbols &symbols, std::string &why) const;
  /// The rows `range` of what `check` accepted.
  ExpertMatrix read(OpBuilder &builder, Location loc, WeightSymbols &symbols,
                    StridedRange range) const;

private:
  std::optional<WeightView> viewValues(const WeightSymbols &symbols) const;
  std::optional<WeightView> viewScales(const WeightSymbols &symbols) const;
  std::optional<WeightView> viewZeroPoints(const WeightSymbols &symbols) const;
};

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_QUANTIZEDWEIGHTS_H
