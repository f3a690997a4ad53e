//===- Report.cpp - Findings and counters as text -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Program.h"
#include "moe/Simulator/Device.h"

#include <cstdarg>
#include <cstdio>

using namespace mlir::moe::sim;

const char *mlir::moe::sim::getKindName(Finding::Kind kind) {
  static const char *const names[] = {
      "race",          "unwaited-copy", "misaligned", "out-of-bounds",
      "uninitialized", "barrier",       "deadlock",   "proxy-fence",
      "trap",          "limit"};
  return names[static_cast<unsigned>(kind)];
}

static std::string print(const char *format, ...) {
  char buffer[256];
  va_list args;
  va_start(args, format);
  std::vsnprintf(buffer, sizeof buffer, format, args);
  va_end(args);
  return buffer;
}

std::string Finding::format() const {
  std::string text = file + ":" + std::to_string(line) + ": " +
                     getKindName(kind) + ": kernel '" + kernel + "'";
  if (hasThread)
    text += print(", block (%u,%u,%u), thread (%u,%u,%u)", block.x, block.y,
                  block.z, thread.x, thread.y, thread.z);
  if (hasAddress)
    text += print(", %s 0x%llx", getSpaceName(space),
                  static_cast<unsigned long long>(address));
  text += ": " + message;
  if (repeats)
    text += print(" (and %llu times more)",
                  static_cast<unsigned long long>(repeats));
  return text;
}

std::string mlir::moe::sim::formatCounters(const Kernel &kernel,
                                           const LaunchReport &report) {
  std::string text =
      "line executions lanes sectors ideal banks ideal tensor-flops opcode\n";
  auto row = [&](const std::string &name, const Counters &c,
                 const std::string &opcode) {
    auto number = [](uint64_t value) {
      return static_cast<unsigned long long>(value);
    };
    // Active lanes are a mean; a full warp has 32.
    text += print("%s %llu %.2f %llu %llu %llu %llu %llu ", name.c_str(),
                  number(c.executions),
                  c.executions ? double(c.lanes) / double(c.executions) : 0.0,
                  number(c.globalSectors), number(c.globalIdeal),
                  number(c.sharedCycles), number(c.sharedIdeal),
                  number(c.tensorFlops)) +
            opcode + "\n";
  };
  Counters total;
  const Program &program = *kernel.program;
  for (size_t i = 0; i < report.counters.size(); ++i) {
    const Counters &c = report.counters[i];
    if (!c.executions)
      continue;
    row(std::to_string(program.insts[i].line), c, program.opcodes[i]);
    total.executions += c.executions;
    total.lanes += c.lanes;
    total.globalSectors += c.globalSectors;
    total.globalIdeal += c.globalIdeal;
    total.sharedCycles += c.sharedCycles;
    total.sharedIdeal += c.sharedIdeal;
    total.tensorFlops += c.tensorFlops;
  }
  row("total", total, kernel.name);
  return text;
}
