//===- BytePairs.cpp - Byte-pair encoding ---------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BytePairs.h"

#include "Unicode.h"

#include <queue>
#include <tuple>

using namespace mlir::moe;

std::string mlir::moe::byteToken(uint8_t byte) {
  const char *digits = "0123456789ABCDEF";
  return std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">";
}

/// One token for each character of `word`, or several for a character that has
/// none of its own.
std::vector<uint32_t> BytePairs::characters(const std::string &word) const {
  std::vector<uint32_t> ids;
  bool pending = false; // an unknown token that may grow
  size_t at = 0;
  forEachCodePoint(word, [&](int32_t, std::string_view character) {
    std::string piece(character);
    if (at != 0)
      piece = continuingPrefix + piece;
    at += character.size();
    if (at == word.size())
      piece += endSuffix;
    if (std::optional<uint32_t> id = find(piece)) {
      if (pending)
        ids.push_back(*unknown);
      pending = false;
      ids.push_back(*id);
      return;
    }
    if (byteFallback) {
      std::vector<uint32_t> bytes;
      for (char byte : piece)
        if (std::optional<uint32_t> id =
                find(byteToken(static_cast<uint8_t>(byte))))
          bytes.push_back(*id);
      if (bytes.size() == piece.size()) {
        ids.insert(ids.end(), bytes.begin(), bytes.end());
        return;
      }
    }
    if (!unknown)
      return; // such characters are dropped
    if (pending && !fuseUnknown)
      ids.push_back(*unknown);
    pending = true;
  });
  if (pending)
    ids.push_back(*unknown);
  return ids;
}

void BytePairs::encode(const std::string &word,
                       std::vector<int64_t> &ids) const {
  if (ignoreMerges)
    if (std::optional<uint32_t> id = find(word)) {
      ids.push_back(*id);
      return;
    }

  // A doubly linked list of tokens, and all pairs that can be merged by rank
  // and position. What a merge makes out of date is told when it is taken out.
  struct Symbol {
    uint32_t id;
    int64_t previous, next;
    bool live = true;
  };
  std::vector<Symbol> symbols;
  for (uint32_t id : characters(word)) {
    int64_t i = static_cast<int64_t>(symbols.size());
    symbols.push_back({id, i - 1, i + 1});
  }
  if (!symbols.empty())
    symbols.back().next = -1;

  using Candidate = std::tuple<uint32_t, int64_t, uint32_t>; // rank, at, id
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  auto symbol = [&](int64_t i) -> Symbol & {
    return symbols[static_cast<size_t>(i)];
  };
  auto mergeAt = [&](int64_t i) -> const Merge * {
    if (i < 0 || symbol(i).next < 0)
      return nullptr;
    auto found = merges.find(key(symbol(i).id, symbol(symbol(i).next).id));
    return found == merges.end() ? nullptr : &found->second;
  };
  auto push = [&](int64_t i) {
    if (const Merge *merge = mergeAt(i))
      queue.emplace(merge->rank, i, merge->id);
  };
  for (size_t i = 0; i < symbols.size(); ++i)
    push(static_cast<int64_t>(i));
  while (!queue.empty()) {
    auto [rank, at, id] = queue.top();
    queue.pop();
    if (!symbol(at).live)
      continue;
    const Merge *merge = mergeAt(at);
    if (!merge || merge->id != id)
      continue;
    Symbol &left = symbol(at), &right = symbol(left.next);
    right.live = false;
    left.id = id;
    left.next = right.next;
    if (left.next >= 0)
      symbol(left.next).previous = at;
    push(left.previous);
    push(at);
  }
  for (const Symbol &symbol : symbols)
    if (symbol.live)
      ids.push_back(symbol.id);
}
