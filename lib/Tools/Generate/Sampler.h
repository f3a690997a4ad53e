//===- Sampler.h - The choice of the next token -----------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TOOLS_GENERATE_SAMPLER_H
#define MOE_LIB_TOOLS_GENERATE_SAMPLER_H

#include <cstdint>
#include <random>
#include <vector>

namespace mlir::moe {

/// Draws from the softmax of logits / temperature, restricted to the `topK`
/// likeliest tokens (0: all) and, of these, to the fewest whose probabilities
/// add up to `topP`. The same seed draws the same tokens on every machine.
class Sampler {
public:
  Sampler(double temperature, int64_t topK, double topP, uint64_t seed)
      : temperature(temperature), topK(topK), topP(topP), random(seed) {}

  /// The index of the chosen logit; -1 when none is a number above -infinity.
  /// At temperature 0 that is the first of the largest ones.
  int64_t choose(const std::vector<double> &logits);

private:
  double temperature;
  int64_t topK;
  double topP;
  std::mt19937_64 random;
};

} // namespace mlir::moe

#endif // MOE_LIB_TOOLS_GENERATE_SAMPLER_H
