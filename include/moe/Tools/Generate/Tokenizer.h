//===- Tokenizer.h - tokenizer.json -----------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The tokenizers of language models as the library "tokenizers" of Hugging Face
// stores them: byte-pair encoding with added tokens, and the normalizers,
// pre-tokenizers, post-processors and decoders that such models come with.
// Tokens are the same as that library's; a file that asks for more is refused.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_GENERATE_TOKENIZER_H
#define MOE_TOOLS_GENERATE_TOKENIZER_H

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mlir::moe {

class Tokenizer {
public:
  /// Reads a tokenizer.json. Null with one line in `error`.
  static std::unique_ptr<Tokenizer> load(const std::string &path,
                                         std::string &error);
  ~Tokenizer();

  /// The tokens of a text in UTF-8, with those that a prompt begins and ends
  /// with. False with one line in `error` for other bytes.
  bool encode(const std::string &text, std::vector<int64_t> &ids,
              std::string &error) const;
  /// The text of tokens without the special ones. Unknown tokens have none.
  /// Bytes that are no UTF-8 become U+FFFD.
  std::string decode(const std::vector<int64_t> &ids) const;
  /// The added token, such as "</s>", that is written `content`.
  std::optional<int64_t> findAdded(const std::string &content) const;

  struct Impl;

private:
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace mlir::moe

#endif // MOE_TOOLS_GENERATE_TOKENIZER_H
