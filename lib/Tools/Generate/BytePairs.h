//===- BytePairs.h - Byte-pair encoding -------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TOOLS_GENERATE_BYTEPAIRS_H
#define MOE_LIB_TOOLS_GENERATE_BYTEPAIRS_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mlir::moe {

/// A vocabulary and the pairs of its tokens that are merged, the first ones
/// first. The fields are those of a tokenizer.json.
struct BytePairs {
  struct Merge {
    uint32_t rank;
    uint32_t id;
  };

  std::unordered_map<std::string, uint32_t> vocabulary;
  /// By the ids of the pair, the first one in the upper half.
  std::unordered_map<uint64_t, Merge> merges;
  std::string continuingPrefix, endSuffix;
  std::optional<uint32_t> unknown;
  bool fuseUnknown = false;
  bool byteFallback = false;
  bool ignoreMerges = false;

  /// Appends the tokens of `word`, which is valid UTF-8.
  void encode(const std::string &word, std::vector<int64_t> &ids) const;

  static uint64_t key(uint32_t first, uint32_t second) {
    return static_cast<uint64_t>(first) << 32 | second;
  }
  std::optional<uint32_t> find(const std::string &token) const {
    auto found = vocabulary.find(token);
    return found == vocabulary.end() ? std::nullopt
                                     : std::optional<uint32_t>(found->second);
  }

private:
  std::vector<uint32_t> characters(const std::string &word) const;
};

/// "<0x0A>"
std::string byteToken(uint8_t byte);

} // namespace mlir::moe

#endif // MOE_LIB_TOOLS_GENERATE_BYTEPAIRS_H
