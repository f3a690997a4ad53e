//===- Lexer.cpp - Tokens of PTX ------------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Lexer.h"
#include "moe/Simulator/Types.h"

#include <cstdlib>

using namespace mlir::moe::sim;

static bool isDigit(char c) { return c >= '0' && c <= '9'; }
static bool isWord(char c) {
  return isDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         c == '_' || c == '$';
}
static int hexDigit(char c) {
  if (isDigit(c))
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

namespace {
class Lexer {
public:
  Lexer(std::string_view text) : text(text) {}

  bool run(std::vector<Token> &tokens) {
    while (skipSpace()) {
      Token token;
      token.line = line;
      if (!next(token))
        return false;
      tokens.push_back(token);
    }
    if (!error.empty())
      return false;
    Token end;
    end.line = line;
    end.text = "the end of the file";
    tokens.push_back(end);
    return true;
  }

  int line = 1;
  std::string error;

private:
  char at(size_t i) const { return i < text.size() ? text[i] : '\0'; }

  /// False at the end of the text.
  bool skipSpace() {
    while (position < text.size()) {
      char c = text[position];
      if (c == '\n') {
        ++line;
        ++position;
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f') {
        ++position;
      } else if (c == '/' && at(position + 1) == '/') {
        while (position < text.size() && text[position] != '\n')
          ++position;
      } else if (c == '/' && at(position + 1) == '*') {
        size_t end = text.find("*/", position + 2);
        if (end == std::string_view::npos) {
          error = "found a comment without an end, expected '*/'";
          return false;
        }
        for (size_t i = position; i < end; ++i)
          line += text[i] == '\n';
        position = end + 2;
      } else {
        return c != '\0' || !endsHere();
      }
    }
    return false;
  }
  /// Driver calls pass the terminating zero along.
  bool endsHere() const {
    return text.find_first_not_of('\0', position) == std::string_view::npos;
  }

  std::string_view take(size_t end) {
    std::string_view part = text.substr(position, end - position);
    position = end;
    return part;
  }

  bool next(Token &token) {
    char c = text[position];
    if (isDigit(c))
      return number(token);
    if (isWord(c) || (c == '%' && isWord(at(position + 1)))) {
      size_t end = position + 1;
      while (isWord(at(end)))
        ++end;
      token.kind = Token::Kind::Word;
      token.text = take(end);
      return true;
    }
    if (c == '.' && isWord(at(position + 1))) {
      size_t end = ++position;
      while (isWord(at(end)) ||
             (at(end) == ':' && at(end + 1) == ':' && isWord(at(end + 2))) ||
             (at(end) == ':' && at(end - 1) == ':'))
        ++end;
      token.kind = Token::Kind::Dotted;
      token.text = take(end);
      return true;
    }
    if (c == '"') {
      size_t end = position + 1;
      while (end < text.size() && text[end] != '"' && text[end] != '\n')
        ++end;
      if (at(end) != '"') {
        error = "found a string without an end, expected '\"'";
        return false;
      }
      token.kind = Token::Kind::String;
      token.text = text.substr(position + 1, end - position - 1);
      position = end + 1;
      return true;
    }
    if (std::string_view("{}[]()<>,;:@!|+-=_*~&^%/#?").find(c) !=
        std::string_view::npos) {
      token.kind = Token::Kind::Symbol;
      token.text = take(position + 1);
      return true;
    }
    error = "found the character with code " +
            std::to_string(static_cast<unsigned char>(c)) + ", expected PTX";
    return false;
  }

  bool number(Token &token) {
    size_t start = position;
    char second = at(start + 1) | 0x20;
    if (at(start) == '0' && (second == 'f' || second == 'd') &&
        hexDigit(at(start + 2)) >= 0) {
      size_t digits = second == 'f' ? 8 : 16, end = start + 2;
      for (; hexDigit(at(end)) >= 0; ++end)
        token.bits = token.bits << 4 | static_cast<uint64_t>(hexDigit(at(end)));
      if (end - start - 2 != digits)
        return bad(end, second == 'f' ? "8 hexadecimal digits after 0f"
                                      : "16 hexadecimal digits after 0d");
      token.kind = second == 'f' ? Token::Kind::Single : Token::Kind::Double;
      token.text = take(end);
      return true;
    }
    token.kind = Token::Kind::Integer;
    size_t end = start;
    unsigned base = 10;
    if (at(start) == '0') {
      base = second == 'x' ? 16 : second == 'b' ? 2 : 8;
      end = start + (base == 8 ? 1 : 2);
    }
    bool overflow = false;
    size_t first = end;
    for (; hexDigit(at(end)) >= 0; ++end) {
      unsigned digit = static_cast<unsigned>(hexDigit(at(end)));
      if (digit >= base)
        break;
      overflow |= __builtin_mul_overflow(token.bits, base, &token.bits);
      overflow |= __builtin_add_overflow(token.bits, digit, &token.bits);
    }
    if (end == first && base != 8)
      return bad(end, "digits");
    if (base != 16 && base != 2 &&
        ((at(end) == '.' && isDigit(at(end + 1))) || (at(end) | 0x20) == 'e')) {
      while (
          isDigit(at(end)) || at(end) == '.' || (at(end) | 0x20) == 'e' ||
          ((at(end) == '-' || at(end) == '+') && (at(end - 1) | 0x20) == 'e'))
        ++end;
      std::string copy(text.substr(start, end - start));
      token.bits = asBits(std::strtod(copy.c_str(), nullptr));
      token.kind = Token::Kind::Double;
      token.text = take(end);
      return true;
    }
    if ((at(end) | 0x20) == 'u')
      ++end;
    if (overflow)
      return bad(end, "a number of at most 64 bits");
    if (isWord(at(end)))
      return bad(end + 1, "a number");
    token.text = take(end);
    return true;
  }

  bool bad(size_t end, const char *expected) {
    error = "found '" + std::string(text.substr(position, end - position)) +
            "', expected " + expected;
    return false;
  }

  std::string_view text;
  size_t position = 0;
};
} // namespace

bool mlir::moe::sim::tokenize(std::string_view text, std::vector<Token> &tokens,
                              int &line, std::string &error) {
  Lexer lexer(text);
  if (lexer.run(tokens))
    return true;
  line = lexer.line;
  error = std::move(lexer.error);
  return false;
}
