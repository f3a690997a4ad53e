//===- Unicode.cpp - Text in UTF-8, over ICU ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Unicode.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uregex.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

using namespace mlir::moe;

bool mlir::moe::isUTF8(std::string_view text) {
  int64_t length = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < length;) {
    UChar32 c;
    U8_NEXT(reinterpret_cast<const uint8_t *>(text.data()), i, length, c);
    if (c < 0)
      return false;
  }
  return true;
}

void mlir::moe::appendUTF8(std::string &text, int32_t codePoint) {
  char bytes[U8_MAX_LENGTH];
  int32_t length = 0;
  U8_APPEND_UNSAFE(bytes, length, codePoint);
  text.append(bytes, static_cast<size_t>(length));
}

void mlir::moe::forEachCodePoint(
    std::string_view text,
    const std::function<void(int32_t, std::string_view)> &visit) {
  int64_t length = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < length;) {
    int64_t begin = i;
    UChar32 c;
    U8_NEXT(reinterpret_cast<const uint8_t *>(text.data()), i, length, c);
    visit(c, text.substr(static_cast<size_t>(begin),
                         static_cast<size_t>(i - begin)));
  }
}

std::string mlir::moe::repairUTF8(std::string_view bytes) {
  std::string text;
  forEachCodePoint(bytes, [&](int32_t c, std::string_view part) {
    if (c < 0)
      text += "\xEF\xBF\xBD";
    else
      text += part;
  });
  return text;
}

bool mlir::moe::isSpace(int32_t codePoint) {
  return u_isUWhiteSpace(codePoint);
}

/// UTF-16, and where in `text` each unit of it begins (and the end).
static std::u16string toUTF16(std::string_view text,
                              std::vector<size_t> *starts = nullptr) {
  std::u16string units;
  units.reserve(text.size());
  forEachCodePoint(text, [&](int32_t c, std::string_view part) {
    size_t begin = static_cast<size_t>(part.data() - text.data());
    char16_t unit[U16_MAX_LENGTH];
    int32_t length = 0;
    U16_APPEND_UNSAFE(unit, length, c);
    units.append(unit, static_cast<size_t>(length));
    if (starts)
      starts->insert(starts->end(), static_cast<size_t>(length), begin);
  });
  if (starts)
    starts->push_back(text.size());
  return units;
}

static std::string toUTF8(const std::u16string &units) {
  std::string text;
  int64_t length = static_cast<int64_t>(units.size());
  for (int64_t i = 0; i < length;) {
    UChar32 c;
    U16_NEXT(units.data(), i, length, c);
    appendUTF8(text, c);
  }
  return text;
}

std::string mlir::moe::normalize(std::string_view text, NormalForm form) {
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2 *normalizer =
      form == NormalForm::C    ? unorm2_getNFCInstance(&error)
      : form == NormalForm::D  ? unorm2_getNFDInstance(&error)
      : form == NormalForm::KC ? unorm2_getNFKCInstance(&error)
                               : unorm2_getNFKDInstance(&error);
  std::u16string from = toUTF16(text), to(from.size() + 16, u'\0');
  int32_t length = 0;
  for (int attempt = 0; attempt < 2; ++attempt) {
    error = U_ZERO_ERROR;
    length = unorm2_normalize(normalizer, from.data(),
                              static_cast<int32_t>(from.size()), to.data(),
                              static_cast<int32_t>(to.size()), &error);
    to.resize(static_cast<size_t>(std::max(length, 0)));
    if (error != U_BUFFER_OVERFLOW_ERROR)
      break;
  }
  return U_FAILURE(error) ? std::string(text) : toUTF8(to);
}

//===----------------------------------------------------------------------===//
// Regular expressions
//===----------------------------------------------------------------------===//

/// ICU's classes \s, \d and \w are not those of Oniguruma; some of its escapes
/// mean other things there.
static bool translate(const std::string &pattern, std::string &translated,
                      std::string &error) {
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      translated += pattern[i];
      continue;
    }
    char c = pattern[++i];
    switch (c) {
    case 's':
      translated += "\\p{White_Space}";
      break;
    case 'S':
      translated += "\\P{White_Space}";
      break;
    case 'd':
      translated += "\\p{Nd}";
      break;
    case 'D':
      translated += "\\P{Nd}";
      break;
    case 'w':
      translated += "[\\p{L}\\p{M}\\p{Nd}\\p{Pc}]";
      break;
    case 'W':
      translated += "[^\\p{L}\\p{M}\\p{Nd}\\p{Pc}]";
      break;
    default:
      if (std::string_view("bBhHKRXyYGgkZzA").find(c) !=
          std::string_view::npos) {
        error = std::string("the escape '\\") + c + "'";
        return false;
      }
      translated += '\\';
      translated += c;
    }
  }
  return true;
}

Regex::~Regex() {
  if (compiled)
    uregex_close(static_cast<URegularExpression *>(compiled));
}

std::shared_ptr<const Regex> Regex::compile(const std::string &pattern,
                                            std::string &error) {
  std::string translated, why;
  if (!translate(pattern, translated, why)) {
    error =
        "the pattern '" + pattern + "' has " + why + ", which is not supported";
    return nullptr;
  }
  std::u16string units = toUTF16(translated);
  UErrorCode status = U_ZERO_ERROR;
  UParseError where;
  std::shared_ptr<Regex> regex(new Regex());
  regex->compiled = uregex_open(
      units.data(), static_cast<int32_t>(units.size()), 0, &where, &status);
  if (U_FAILURE(status)) {
    error = "the pattern '" + pattern +
            "' is not supported: " + u_errorName(status);
    return nullptr;
  }
  return regex;
}

std::vector<Regex::Range> Regex::findAll(std::string_view text) const {
  std::vector<size_t> starts;
  std::u16string units = toUTF16(text, &starts);
  std::vector<Range> ranges;
  UErrorCode error = U_ZERO_ERROR;
  // A clone has a state of its own, so that this may be const.
  URegularExpression *regex =
      uregex_clone(static_cast<const URegularExpression *>(compiled), &error);
  uregex_setText(regex, units.data(), static_cast<int32_t>(units.size()),
                 &error);
  while (U_SUCCESS(error) && uregex_findNext(regex, &error)) {
    int32_t begin = uregex_start(regex, 0, &error);
    int32_t end = uregex_end(regex, 0, &error);
    if (begin < end)
      ranges.push_back({starts[static_cast<size_t>(begin)],
                        starts[static_cast<size_t>(end)]});
  }
  uregex_close(regex);
  return ranges;
}
