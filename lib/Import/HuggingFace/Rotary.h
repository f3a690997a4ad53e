//===- Rotary.h - Frequencies of rotary embeddings --------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_HUGGINGFACE_ROTARY_H
#define MOE_LIB_IMPORT_HUGGINGFACE_ROTARY_H

#include "Config.h"

namespace mlir::moe {

struct Rotary {
  /// Radians per position, for each pair of elements of a head.
  std::vector<double> frequencies;
  /// What sines and cosines are multiplied by; and the scores of attention, in
  /// families whose heads rotate in part.
  double factor = 1.0, scoreFactor = 1.0;
  /// What takes the place of frequencies and factor where there are more than
  /// `length` positions, if that is not 0.
  int64_t length = 0;
  std::vector<double> longFrequencies;
  double longFactor = 1.0;
};

/// Reads rope_theta with rope_scaling, or rope_parameters, for heads of
/// `headSize` elements.
Rotary readRotary(Config &config, int64_t headSize,
                  std::vector<std::string> &problems);

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_HUGGINGFACE_ROTARY_H
