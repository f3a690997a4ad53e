//===- Decoding.cpp - From tokens back to text ----------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ByteLevel.h"
#include "TokenizerParts.h"
#include "Unicode.h"

#include <array>
#include <unordered_map>

using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Bytes as characters
//===----------------------------------------------------------------------===//

static const std::array<int32_t, 256> &letters() {
  static const std::array<int32_t, 256> table = [] {
    std::array<int32_t, 256> table;
    int32_t next = 256;
    for (int32_t byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= '!' && byte <= '~') ||
                       (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      table[static_cast<size_t>(byte)] = printable ? byte : next++;
    }
    return table;
  }();
  return table;
}

std::string mlir::moe::bytesToLetters(std::string_view bytes) {
  std::string text;
  for (char byte : bytes)
    appendUTF8(text, letters()[static_cast<uint8_t>(byte)]);
  return text;
}

std::string mlir::moe::lettersToBytes(const std::string &text) {
  static const std::unordered_map<int32_t, char> bytes = [] {
    std::unordered_map<int32_t, char> map;
    for (size_t byte = 0; byte < 256; ++byte)
      map[letters()[byte]] = static_cast<char>(byte);
    return map;
  }();
  std::string result;
  bool known = true;
  forEachCodePoint(text, [&](int32_t c, std::string_view) {
    auto found = bytes.find(c);
    known &= found != bytes.end();
    if (known)
      result += found->second;
  });
  return known ? result : text;
}

//===----------------------------------------------------------------------===//
// Decoders
//===----------------------------------------------------------------------===//

static void fuse(std::vector<std::string> &tokens) {
  std::string all;
  for (const std::string &token : tokens)
    all += token;
  tokens.assign(1, std::move(all));
}

/// Tokens such as "<0xE2>" are bytes; where they are no UTF-8 each is U+FFFD.
static void fallBack(std::vector<std::string> &tokens) {
  std::vector<std::string> result;
  std::string bytes;
  auto flush = [&] {
    if (bytes.empty())
      return;
    if (isUTF8(bytes))
      result.push_back(bytes);
    else
      result.insert(result.end(), bytes.size(), "\xEF\xBF\xBD");
    bytes.clear();
  };
  for (std::string &token : tokens) {
    const char *digits = "0123456789ABCDEFabcdef";
    bool isByte = token.size() == 6 && token.compare(0, 3, "<0x") == 0 &&
                  token[5] == '>' && token.find_first_not_of(digits, 3) == 5;
    if (isByte) {
      bytes += static_cast<char>(std::stoi(token.substr(3, 2), nullptr, 16));
      continue;
    }
    flush();
    result.push_back(std::move(token));
  }
  flush();
  tokens = std::move(result);
}

/// Takes up to `front` and `back` times `content` off each end.
static void strip(std::string &token, const std::string &content,
                  uint32_t front, uint32_t back) {
  size_t size = content.size();
  for (; front > 0 && token.compare(0, size, content) == 0; --front)
    token.erase(0, size);
  for (; back > 0 && token.size() >= size &&
         token.compare(token.size() - size, size, content) == 0;
       --back)
    token.erase(token.size() - size);
}

static void replaceAll(std::string &token, const std::string &from,
                       const std::string &to) {
  for (size_t at = 0; (at = token.find(from, at)) != std::string::npos;
       at += to.size())
    token.replace(at, from.size(), to);
}

bool mlir::moe::readDecoder(const JSON &part, std::vector<TokenDecoder> &all,
                            std::string &error) {
  PartReader reader(part, "the decoder", error);
  std::string type = reader.type();
  if (!reader.ok())
    return false;
  if (type == "Sequence")
    return reader.each(
        "decoders", [&](const JSON &inner) { readDecoder(inner, all, error); });
  if (type == "ByteLevel") {
    all.push_back([](std::vector<std::string> &tokens) {
      for (std::string &token : tokens)
        token = lettersToBytes(token);
      fuse(tokens);
      tokens.front() = repairUTF8(tokens.front());
    });
    return true;
  }
  if (type == "ByteFallback") {
    all.push_back(fallBack);
    return true;
  }
  if (type == "Fuse") {
    all.push_back(fuse);
    return true;
  }
  if (type == "Strip") {
    std::string content = reader.string("content");
    uint32_t front = reader.number("start"), back = reader.number("stop");
    if (reader.ok() && content.empty())
      return reader.fail("strips nothing");
    all.push_back([=](std::vector<std::string> &tokens) {
      for (std::string &token : tokens)
        strip(token, content, front, back);
    });
    return reader.ok();
  }
  if (type == "Replace") {
    const JSON *pattern = reader.get("pattern");
    if (!pattern || !pattern->is_object() || !pattern->contains("String"))
      return reader.fail("of type 'Replace' expects a string to replace");
    PartReader inner(*pattern, "the decoder's pattern", error);
    std::string from = inner.string("String"), to = reader.string("content");
    if (reader.ok() && from.empty())
      return reader.fail("replaces nothing");
    all.push_back([=](std::vector<std::string> &tokens) {
      for (std::string &token : tokens)
        replaceAll(token, from, to);
    });
    return reader.ok();
  }
  if (type == "Metaspace") {
    std::string space = reader.string("replacement");
    bool drop =
        reader.string("prepend_scheme", "always") != "never" &&
        (reader.get("prepend_scheme") || reader.flag("add_prefix_space", true));
    if (reader.ok() && space.empty())
      return reader.fail("replaces nothing");
    all.push_back([=](std::vector<std::string> &tokens) {
      for (size_t i = 0; i < tokens.size(); ++i)
        replaceAll(tokens[i], space, i == 0 && drop ? "" : " ");
    });
    return reader.ok();
  }
  return reader.refuse(type);
}
