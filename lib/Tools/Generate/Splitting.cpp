//===- Splitting.cpp - Normalizers and pre-tokenizers ---------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ByteLevel.h"
#include "TokenizerParts.h"
#include "Unicode.h"

#include <algorithm>

using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

namespace {
/// Something to look for in a text: {"String": ..} or {"Regex": ..}.
struct Pattern {
  std::string literal;
  std::shared_ptr<const Regex> regex;

  std::vector<Regex::Range> findAll(const std::string &text) const {
    if (regex)
      return regex->findAll(text);
    std::vector<Regex::Range> ranges;
    if (literal.empty())
      return ranges;
    for (size_t at = 0; (at = text.find(literal, at)) != std::string::npos;
         at += literal.size())
      ranges.push_back({at, at + literal.size()});
    return ranges;
  }
};
} // namespace

static bool readPattern(PartReader &reader, Pattern &pattern) {
  const JSON *value = reader.get("pattern");
  if (!value)
    return reader.fail("has no pattern");
  std::string error;
  PartReader inner(*value, "its pattern", error);
  if (inner.get("String")) {
    pattern.literal = inner.string("String");
  } else {
    std::string text = inner.string("Regex");
    if (error.empty())
      pattern.regex = Regex::compile(text, error);
  }
  return error.empty() || reader.fail("cannot be used: " + error);
}

//===----------------------------------------------------------------------===//
// Normalizers
//===----------------------------------------------------------------------===//

bool mlir::moe::readNormalizer(const JSON &part, std::vector<Normalizer> &all,
                               std::string &error) {
  PartReader reader(part, "the normalizer", error);
  std::string type = reader.type();
  if (!reader.ok())
    return false;
  if (type == "Sequence")
    return reader.each("normalizers", [&](const JSON &inner) {
      readNormalizer(inner, all, error);
    });
  for (auto [name, form] :
       {std::pair("NFC", NormalForm::C), std::pair("NFD", NormalForm::D),
        std::pair("NFKC", NormalForm::KC), std::pair("NFKD", NormalForm::KD)})
    if (type == name) {
      all.push_back(
          [form = form](std::string text) { return normalize(text, form); });
      return true;
    }
  if (type == "Prepend") {
    std::string front = reader.string("prepend");
    all.push_back(
        [=](std::string text) { return text.empty() ? text : front + text; });
    return reader.ok();
  }
  if (type == "Replace") {
    Pattern pattern;
    std::string content = reader.string("content");
    if (!readPattern(reader, pattern))
      return false;
    all.push_back([=](std::string text) {
      std::string result;
      size_t end = 0;
      for (Regex::Range range : pattern.findAll(text)) {
        result.append(text, end, range.begin - end);
        result += content;
        end = range.end;
      }
      return result.append(text, end);
    });
    return reader.ok();
  }
  return reader.refuse(type);
}

//===----------------------------------------------------------------------===//
// Pre-tokenizers
//===----------------------------------------------------------------------===//

namespace {
enum class Behavior {
  Removed,
  Isolated,
  MergedWithPrevious,
  MergedWithNext,
  Contiguous
};

struct Part {
  Regex::Range range;
  bool match;
};
} // namespace

/// The matches of `pattern` and what is between them.
static std::vector<Part> findParts(const std::string &text,
                                   const Pattern &pattern, bool invert) {
  std::vector<Part> parts;
  size_t end = 0;
  for (Regex::Range range : pattern.findAll(text)) {
    if (end < range.begin)
      parts.push_back({{end, range.begin}, invert});
    parts.push_back({range, !invert});
    end = range.end;
  }
  if (end < text.size())
    parts.push_back({{end, text.size()}, invert});
  return parts;
}

static std::vector<Part> join(std::vector<Part> parts, Behavior behavior) {
  if (behavior == Behavior::Isolated)
    return parts;
  std::vector<Part> joined;
  bool backwards = behavior == Behavior::MergedWithNext;
  if (backwards)
    std::reverse(parts.begin(), parts.end());
  bool previous = false;
  for (const Part &part : parts) {
    bool merge = behavior == Behavior::Contiguous
                     ? !joined.empty() && part.match == previous
                     : part.match && !previous && !joined.empty();
    previous = part.match;
    if (behavior == Behavior::Removed) {
      if (!part.match)
        joined.push_back(part);
    } else if (!merge) {
      joined.push_back(part);
    } else if (backwards) {
      joined.back().range.begin = part.range.begin;
    } else {
      joined.back().range.end = part.range.end;
    }
  }
  if (backwards)
    std::reverse(joined.begin(), joined.end());
  return joined;
}

static void split(std::vector<Piece> &pieces, const Pattern &pattern,
                  Behavior behavior, bool invert) {
  std::vector<Piece> result;
  for (const Piece &piece : pieces)
    for (const Part &part :
         join(findParts(piece.text, pattern, invert), behavior))
      result.push_back({piece.text.substr(part.range.begin,
                                          part.range.end - part.range.begin),
                        piece.first && part.range.begin == 0});
  pieces = std::move(result);
}

static bool readSplit(PartReader &reader, std::vector<PreTokenizer> &all) {
  Pattern pattern;
  if (!readPattern(reader, pattern))
    return false;
  std::string name = reader.string("behavior");
  bool invert = reader.flag("invert", false);
  for (auto [known, behavior] :
       {std::pair("Removed", Behavior::Removed),
        std::pair("Isolated", Behavior::Isolated),
        std::pair("MergedWithPrevious", Behavior::MergedWithPrevious),
        std::pair("MergedWithNext", Behavior::MergedWithNext),
        std::pair("Contiguous", Behavior::Contiguous)})
    if (name == known) {
      all.push_back([=, behavior = behavior](std::vector<Piece> &pieces) {
        split(pieces, pattern, behavior, invert);
      });
      return reader.ok();
    }
  return reader.fail("has the behavior '" + name + "', which is unknown");
}

static bool splitBy(const char *regex, Behavior behavior,
                    std::vector<PreTokenizer> &all, std::string &error) {
  Pattern pattern;
  pattern.regex = Regex::compile(regex, error);
  all.push_back([=](std::vector<Piece> &pieces) {
    split(pieces, pattern, behavior, /*invert=*/false);
  });
  return error.empty();
}

static bool readByteLevel(PartReader &reader, std::vector<PreTokenizer> &all,
                          std::string &error) {
  if (reader.flag("add_prefix_space", true))
    all.push_back([](std::vector<Piece> &pieces) {
      for (Piece &piece : pieces)
        if (piece.text.compare(0, 1, " ") != 0)
          piece.text.insert(0, " ");
    });
  if (reader.flag("use_regex", true) &&
      !splitBy("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| "
               "?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
               Behavior::Isolated, all, error))
    return false;
  all.push_back([](std::vector<Piece> &pieces) {
    for (Piece &piece : pieces)
      piece.text = bytesToLetters(piece.text);
  });
  return reader.ok();
}

static bool readMetaspace(PartReader &reader, std::vector<PreTokenizer> &all) {
  std::string space = reader.string("replacement");
  // Files of old have add_prefix_space instead.
  std::string scheme = reader.string("prepend_scheme", "always");
  if (!reader.get("prepend_scheme") && !reader.flag("add_prefix_space", true))
    scheme = "never";
  bool splits = reader.flag("split", true);
  if (scheme != "always" && scheme != "first" && scheme != "never")
    return reader.fail("has the prepend_scheme '" + scheme +
                       "', which is unknown");
  if (!reader.ok())
    return false;
  all.push_back([=](std::vector<Piece> &pieces) {
    for (Piece &piece : pieces) {
      std::string text;
      for (char c : piece.text)
        if (c == ' ')
          text += space;
        else
          text += c;
      bool prepend = scheme == "always" || (scheme == "first" && piece.first);
      if (prepend && text.compare(0, space.size(), space) != 0)
        text.insert(0, space);
      piece.text = std::move(text);
    }
    if (splits)
      split(pieces, Pattern{space, nullptr}, Behavior::MergedWithNext, false);
  });
  return true;
}

bool mlir::moe::readPreTokenizer(const JSON &part,
                                 std::vector<PreTokenizer> &all,
                                 std::string &error) {
  PartReader reader(part, "the pre-tokenizer", error);
  std::string type = reader.type();
  if (!reader.ok())
    return false;
  if (type == "Sequence")
    return reader.each("pretokenizers", [&](const JSON &inner) {
      readPreTokenizer(inner, all, error);
    });
  if (type == "ByteLevel")
    return readByteLevel(reader, all, error);
  if (type == "Metaspace")
    return readMetaspace(reader, all);
  if (type == "Split")
    return readSplit(reader, all);
  if (type == "Digits")
    return splitBy("\\p{N}",
                   reader.flag("individual_digits", false)
                       ? Behavior::Isolated
                       : Behavior::Contiguous,
                   all, error) &&
           reader.ok();
  if (type == "WhitespaceSplit")
    return splitBy("\\s", Behavior::Removed, all, error);
  return reader.refuse(type);
}
