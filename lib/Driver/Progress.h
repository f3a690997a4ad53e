//===- Progress.h - Tells the user what takes so long -----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_DRIVER_PROGRESS_H
#define MOE_LIB_DRIVER_PROGRESS_H

#include "mlir/Support/LLVM.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace mlir::moe {

/// Times the steps of a compilation, and reports those that take long: to a
/// terminal in one line that is rewritten, elsewhere (logs) a line now and
/// then.
class Progress {
public:
  Progress();
  ~Progress() { clearLine(); }

  /// The next step begins, and with it the last one ends.
  void begin(StringRef step);
  /// How far the current step is.
  void update(uint64_t done, uint64_t total);
  /// Ends the last step.
  void finish();
  /// Removes what a terminal shows, for a message to be printed.
  void clearLine();

  /// One line per step and one for all, slowest or not in order.
  void printTimes(llvm::raw_ostream &os);

private:
  using Clock = std::chrono::steady_clock;

  bool isTerminal, shown = false;
  Clock::time_point start, stepStart, lastReport;
  std::string step;
  std::vector<std::pair<std::string, double>> times;
};

} // namespace mlir::moe

#endif // MOE_LIB_DRIVER_PROGRESS_H
