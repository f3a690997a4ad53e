//===- Sampler.cpp - The choice of the next token -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Sampler.h"

#include <algorithm>
#include <cmath>

using namespace mlir::moe;

int64_t Sampler::choose(const std::vector<double> &logits) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -INFINITY) // not of a NaN either
      order.push_back(static_cast<int64_t>(i));
  if (order.empty())
    return -1;
  auto logit = [&](int64_t i) { return logits[static_cast<size_t>(i)]; };
  auto likelier = [&](int64_t a, int64_t b) {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
  };
  int64_t best = *std::min_element(order.begin(), order.end(), likelier);
  if (temperature == 0 || logit(best) == INFINITY)
    return best;

  if (topK > 0 && topK < static_cast<int64_t>(order.size())) {
    std::nth_element(order.begin(), order.begin() + topK, order.end(),
                     likelier);
    order.resize(static_cast<size_t>(topK));
  }
  std::sort(order.begin(), order.end(), likelier);
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i : order) {
    weights.push_back(std::exp((logit(i) - logit(best)) / temperature));
    sum += weights.back();
  }
  double kept = 0;
  size_t count = 0;
  while (count < order.size() && (count == 0 || kept < topP * sum))
    kept += weights[count++];

  // std::uniform_real_distribution is not the same everywhere.
  double at = static_cast<double>(random() >> 11) * 0x1p-53 * kept;
  for (size_t i = 0; i + 1 < count; ++i) {
    if (at < weights[i])
      return order[i];
    at -= weights[i];
  }
  return order[count - 1];
}
