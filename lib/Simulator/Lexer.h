//===- Lexer.h - Tokens of PTX ----------------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_LEXER_H
#define MOE_LIB_SIMULATOR_LEXER_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mlir::moe::sim {

struct Token {
  enum class Kind : uint8_t {
    Word,    ///< ld, %r1, $L__BB0_2, foo
    Dotted,  ///< .global, .L2::128B, .2d
    Integer, ///< bits
    Single,  ///< 0f...: bits of a float
    Double,  ///< 0d... or 1.5: bits of a double
    String,
    Symbol, ///< one character
    End
  };
  Kind kind = Kind::End;
  std::string_view text; ///< of Dotted without the dot
  uint64_t bits = 0;
  int line = 0;

  bool is(char c) const { return kind == Kind::Symbol && text[0] == c; }
  bool isDotted(std::string_view name) const {
    return kind == Kind::Dotted && text == name;
  }
};

/// Splits PTX text into tokens, comments removed, with one End token. False and
/// a message for `line` if a character begins no token.
bool tokenize(std::string_view text, std::vector<Token> &tokens, int &line,
              std::string &error);

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_LEXER_H
