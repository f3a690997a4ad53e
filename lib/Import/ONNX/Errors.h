//===- Errors.h - What is wrong with a model -------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_ERRORS_H
#define MOE_LIB_IMPORT_ONNX_ERRORS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <string>

namespace mlir::moe::onnx_import {

/// `text` without what would break its line or the terminal: names come from
/// the model, and have any length.
inline std::string oneLine(llvm::StringRef text) {
  constexpr size_t most = 2000;
  std::string line = text.str();
  if (line.size() > most)
    line.replace(most / 2, line.size() - most, "...");
  for (char &c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  return llvm::json::isUTF8(line) ? line : llvm::json::fixUTF8(line);
}

inline llvm::Error makeError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_ERRORS_H
