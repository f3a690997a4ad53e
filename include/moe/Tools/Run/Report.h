//===- Report.h - What moe-run prints ---------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_RUN_REPORT_H
#define MOE_TOOLS_RUN_REPORT_H

#include "moe/Runtime/moe.h"

#include <chrono>
#include <string>
#include <vector>

namespace mlir::moe {

/// Names, dtypes and shapes of all inputs and outputs.
void printSignature(const moe_model *model);

/// The shapes of one run.
void printShapes(const moe_model *model, const std::vector<moe_tensor> &inputs,
                 const std::vector<moe_tensor> &outputs);

/// Rows per expert and layer since the counters were reset.
bool printStats(const moe_model *model, moe_session *session,
                std::string &error);

/// Adds up the time between a region's begin and end, over all runs.
class Profile {
public:
  explicit Profile(const moe_model *model);
  void attach(moe_session *session);
  void print() const;

private:
  using Clock = std::chrono::steady_clock;
  struct Region {
    Clock::time_point begin;
    double milliseconds = 0;
    int64_t count = 0;
  };
  static void callback(void *user, int32_t region, int32_t begin);

  const moe_model *model;
  std::vector<Region> regions;
};

} // namespace mlir::moe

#endif // MOE_TOOLS_RUN_REPORT_H
