//===- Unicode.h - Text in UTF-8, over ICU ----------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TOOLS_GENERATE_UNICODE_H
#define MOE_LIB_TOOLS_GENERATE_UNICODE_H

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mlir::moe {

bool isUTF8(std::string_view text);
/// Appends a code point.
void appendUTF8(std::string &text, int32_t codePoint);
/// Calls `visit` for each code point of valid UTF-8 with its bytes.
void forEachCodePoint(
    std::string_view text,
    const std::function<void(int32_t, std::string_view)> &visit);
/// `bytes` with U+FFFD in the place of each sequence that is no UTF-8.
std::string repairUTF8(std::string_view bytes);

enum class NormalForm { C, D, KC, KD };
std::string normalize(std::string_view text, NormalForm form);
/// White space by its Unicode property.
bool isSpace(int32_t codePoint);

/// A regular expression as Oniguruma understands it, as far as tokenizers use
/// such; null with one line in `error` for others.
class Regex {
public:
  static std::shared_ptr<const Regex> compile(const std::string &pattern,
                                              std::string &error);
  struct Range {
    size_t begin, end;
  };
  /// Where the matches in valid UTF-8 are, in bytes; empty ones do not count.
  std::vector<Range> findAll(std::string_view text) const;

  ~Regex();

private:
  Regex() = default;
  void *compiled = nullptr; // URegularExpression
};

} // namespace mlir::moe

#endif // MOE_LIB_TOOLS_GENERATE_UNICODE_H
