//===- Options.cpp - What a compilation is asked for ----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Options.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

using namespace mlir::moe;
using llvm::StringRef;

std::optional<QuantizeOptions>
mlir::moe::parseQuantizeOptions(const std::string &text, std::string &error) {
  llvm::SmallVector<StringRef> parts;
  StringRef(text).split(parts, ':');
  QuantizeOptions options;
  StringRef type = parts.front();
  if (!type.consume_front("int") || type.getAsInteger(10, options.bits) ||
      (options.bits != 2 && options.bits != 4 && options.bits != 8)) {
    error = "expects int2, int4 or int8, got '" + parts.front().str() + "'";
    return std::nullopt;
  }
  int64_t perWord = 32 / options.bits;
  for (StringRef part : llvm::ArrayRef(parts).drop_front()) {
    StringRef value = part;
    if (value.consume_front("block=")) {
      if (value == "row") {
        options.blockSize = 0;
        continue;
      }
      if (value.getAsInteger(10, options.blockSize) || options.blockSize < 1 ||
          options.blockSize % perWord != 0) {
        error = "expects a block of 'row' or of a multiple of " +
                std::to_string(perWord) + ", got '" + value.str() + "'";
        return std::nullopt;
      }
    } else if (value.consume_front("scales=")) {
      if (value != "bf16" && value != "f16" && value != "f32") {
        error = "expects scales of bf16, f16 or f32, got '" + value.str() + "'";
        return std::nullopt;
      }
      options.scaleType = value.str();
    } else if (part == "asymmetric") {
      options.asymmetric = true;
    } else if (part == "dense") {
      options.dense = true;
    } else {
      error = "expects block=, scales=, asymmetric or dense, got '" +
              part.str() + "'";
      return std::nullopt;
    }
  }
  return options;
}
