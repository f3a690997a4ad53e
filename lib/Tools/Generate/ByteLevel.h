//===- ByteLevel.h - Bytes as printable characters --------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// GPT-2's alphabet: each byte is a character of its own. Printable ones stand
// for themselves, the others are U+0100 and on, in order.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TOOLS_GENERATE_BYTELEVEL_H
#define MOE_LIB_TOOLS_GENERATE_BYTELEVEL_H

#include <string>
#include <string_view>

namespace mlir::moe {

std::string bytesToLetters(std::string_view bytes);
/// The reverse; `letters` themselves when one of them stands for no byte.
std::string lettersToBytes(const std::string &letters);

} // namespace mlir::moe

#endif // MOE_LIB_TOOLS_GENERATE_BYTELEVEL_H
