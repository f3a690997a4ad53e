//===- PTXFuzzer.cpp - The simulator's PTX parser -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Simulator/Device.h"

using namespace mlir::moe::sim;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Device device;
  std::string error;
  std::string text(reinterpret_cast<const char *>(data), size);
  if (!device.load("input.ptx", text, error) && error.empty())
    __builtin_trap(); // a refusal says why
  return 0;
}
