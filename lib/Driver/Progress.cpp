//===- Progress.cpp - Tells the user what takes so long -------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Progress.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::moe;

/// What is done within this time needs no report.
static constexpr double kQuietSeconds = 2.0;

static double seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

Progress::Progress()
    : isTerminal(llvm::sys::Process::StandardErrIsDisplayed()),
      start(Clock::now()), stepStart(start), lastReport(start) {}

void Progress::clearLine() {
  if (shown)
    llvm::errs() << "\r\033[K";
  shown = false;
}

void Progress::begin(StringRef name) {
  finish();
  step = name.str();
  stepStart = Clock::now();
  if (isTerminal && seconds(stepStart - start) > kQuietSeconds) {
    llvm::errs() << "\r\033[K" << step;
    shown = true;
  }
}

void Progress::finish() {
  clearLine();
  if (!step.empty())
    times.emplace_back(step, seconds(Clock::now() - stepStart));
  step.clear();
}

void Progress::update(uint64_t done, uint64_t total) {
  Clock::time_point now = Clock::now();
  if (seconds(now - stepStart) < kQuietSeconds ||
      seconds(now - lastReport) < (isTerminal ? 0.1 : kQuietSeconds))
    return;
  lastReport = now;
  llvm::errs() << (isTerminal ? "\r\033[K" : "") << step
               << llvm::format(": %.1f of %.1f GB", done / 1e9, total / 1e9)
               << llvm::format(" (%d %%)",
                               static_cast<int>(total ? done * 100 / total : 0))
               << (isTerminal ? "" : "\n");
  shown = isTerminal;
}

void Progress::printTimes(llvm::raw_ostream &os) {
  for (const auto &[name, time] : times)
    os << llvm::format("%10.3f s  ", time) << name << "\n";
  os << llvm::format("%10.3f s  ", seconds(Clock::now() - start)) << "total\n";
}
