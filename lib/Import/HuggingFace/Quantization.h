//===- Quantization.h - How a checkpoint's matrices are stored --*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// FP8: 8-bit floats with a scale for a block of rows and columns.
//
// MXFP4: bytes of two E2M1 floats in blocks of 32, an exponent for each.
//
// GPTQ and AWQ: a matrix [N, K] of integers of `bits` bits, in groups of
// `group_size` along K with a scale and a zero point each, in three tensors:
//
//   qweight  GPTQ [K / p, N], AWQ [K, N / p]: words of p = 32 / bits integers
//   qzeros   [groups, N / p]
//   scales   [groups, N]
//
// A word holds neighbours, the first one in the lowest bits; AWQ has the even
// ones in front of the odd ones. Zero points of GPTQ's first version are one
// less than what they stand for. `g_idx` [K] gives the group of each k.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_HUGGINGFACE_QUANTIZATION_H
#define MOE_LIB_IMPORT_HUGGINGFACE_QUANTIZATION_H

#include "Config.h"
#include "moe/Import/HuggingFace/Decoder.h"

namespace mlir::moe {

struct Quantization {
  enum Method { None, FP8, MXFP4, GPTQ, AWQ } method = None;
  int64_t bits = 4;
  /// -1 for all of K.
  int64_t groupSize = -1;
  /// Whether g_idx matters.
  bool isReordered = false;
  /// Of GPTQ: what zero points lack.
  int64_t increment = 0;

  /// Integers of a word.
  int64_t perWord() const { return 32 / bits; }
  int64_t groupOf(int64_t inputs) const {
    return groupSize == -1 ? inputs : std::min(groupSize, inputs);
  }

  /// Where the elements lie in the words: of the weights [outputs, inputs], the
  /// zero points [outputs, groups] and the scales [outputs, groups].
  TensorLayout weights(int64_t outputs, int64_t inputs) const;
  TensorLayout zeroPoints(int64_t outputs, int64_t groups) const;
  static TensorLayout scales(int64_t outputs);
};

/// Reads the key quantization_config; blocks of FP8 are of `weights`.
Quantization readQuantization(Config &config, DecoderWeights &weights,
                              std::vector<std::string> &problems);

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_HUGGINGFACE_QUANTIZATION_H
