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
// view of the bytes as integers. So do weights behind DequantizeLinear, which
// are tensors of such integers or floats.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_QUANTIZEDWEIGHTS_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_QUANTIZEDWEIGHTS_H

#include "moe/Conversion/ONNXToMoE/WeightViews.h"
#include "moe/Dialect/ONNX/IR/ONNXOps.h"

namespace mlir::moe {

/// One range of a dimension.
struct StridedRange {
  int64_t begin = 0, size = 0, step = 1;
};

struct QuantizedWeights {
  /// Bytes: [E, N, rowBytes()], or of any other shape in the same order; with
  /// `inputMajor` [E, K, N / 2], rows of K. If `typed`, elements [E, N, K] or
  /// [E, K, N].
  Value values;
  /// Floats, or exponents (E8M0): one per block, [E, N, ceil(depth /
  /// blockSize)]; with `typed` and `inputMajor` [E, ceil(depth / blockSize),
  /// N].
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
  bool typed = false;

  /// Those that `node`, a DequantizeLinear, makes floats of: [E, N, K], or
  /// [E, K, N] if `inputMajor`, of which the dimension E may be missing. None
  /// when it is another node, or its blocks do not run along K; whether the
  /// operands are constants is for `check` to say.
  static std::optional<QuantizedWeights> of(onnx::NodeOp node, bool inputMajor);

  /// Whether one operation can have both as weights, if their sizes agree.
  bool isLike(const QuantizedWeights &other) const;
  int64_t blocks() const;
  int64_t rowBytes() const;
  SmallVector<int64_t> shapeOfBytes() const;
  /// Whether all of it is constant and has these sizes; `why` says what is
  /// required and what was found.
  LogicalResult check(const WeightSymbols &symbols, std::string &why) const {
    return check(symbols, {0, columns, 1}, why);
  }
  /// Also whether the rows `range` can be read.
  LogicalResult check(const WeightSymbols &symbols, StridedRange range,
                      std::string &why) const;
  /// The rows `range` of what `check` accepted.
  ExpertMatrix read(OpBuilder &builder, Location loc, WeightSymbols &symbols,
                    StridedRange range) const;

private:
  /// Whether `value`, [E, N, `size`], can be read: a view of which `view` is,
  /// or symbols.
  bool isReadable(const WeightSymbols &symbols, Value value, int64_t size,
                  StridedRange range,
                  const std::optional<WeightView> &view) const;
  Value readRows(OpBuilder &builder, Location loc, WeightSymbols &symbols,
                 Value value, Type elementType, StridedRange range,
                 const std::optional<WeightView> &view) const;
  std::optional<WeightView> viewValues(const WeightSymbols &symbols) const;
  std::optional<WeightView> viewScales(const WeightSymbols &symbols) const;
  std::optional<WeightView> viewZeroPoints(const WeightSymbols &symbols) const;
  /// `value`, of which there is one element per block, as [E, N, blocks()].
  std::optional<WeightView> viewPerBlock(const WeightSymbols &symbols,
                                         Value value) const;
};

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_QUANTIZEDWEIGHTS_H
