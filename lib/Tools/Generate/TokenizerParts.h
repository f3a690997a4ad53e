//===- TokenizerParts.h - What a tokenizer.json is made of ------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each part is a function, made from its object in the file. The file comes
// from anywhere: its types are checked, and what is not known is refused.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TOOLS_GENERATE_TOKENIZERPARTS_H
#define MOE_LIB_TOOLS_GENERATE_TOKENIZERPARTS_H

#include "BytePairs.h"

// Parsing never throws as it is used here; nothing else may.
#define JSON_NOEXCEPTION
#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

namespace mlir::moe {

using JSON = nlohmann::json;

/// A part of the text on the way to tokens.
struct Piece {
  std::string text;
  /// Whether the whole text begins with it.
  bool first;
};

using Normalizer = std::function<std::string(std::string)>;
using PreTokenizer = std::function<void(std::vector<Piece> &)>;
using TokenDecoder = std::function<void(std::vector<std::string> &)>;

/// One object of the file, whose members are asked for by name and type. The
/// first member that is not as it should be is remembered as an error.
class PartReader {
public:
  PartReader(const JSON &part, std::string what, std::string &error)
      : part(part), what(std::move(what)), error(error) {
    if (!part.is_object())
      fail("is no object");
  }

  bool ok() const { return error.empty(); }
  bool fail(const std::string &why) {
    if (error.empty())
      error = what + " " + why;
    return false;
  }

  /// The member, if it is there and not null.
  const JSON *get(const char *name) const {
    auto found = part.is_object() ? part.find(name) : part.end();
    return found == part.end() || found->is_null() ? nullptr : &*found;
  }
  std::string type() { return string("type"); }
  /// Without a default the member must be there.
  std::string string(const char *name, const char *otherwise = nullptr) {
    const JSON *value = get(name);
    if (!value && otherwise)
      return otherwise;
    if (value && value->is_string())
      return value->get<std::string>();
    fail("has no string '" + std::string(name) + "'");
    return "";
  }
  bool flag(const char *name, bool otherwise) {
    const JSON *value = get(name);
    if (!value)
      return otherwise;
    if (!value->is_boolean())
      return fail("has no truth value '" + std::string(name) + "'");
    return value->get<bool>();
  }
  uint32_t number(const char *name) {
    const JSON *value = get(name);
    if (value && value->is_number_unsigned() &&
        value->get<uint64_t>() <= INT32_MAX)
      return static_cast<uint32_t>(value->get<uint64_t>());
    fail("has no number '" + std::string(name) + "' below 2^31");
    return 0;
  }
  /// Calls `visit` for the elements of an array.
  template <typename Visit> bool each(const char *name, const Visit &visit) {
    const JSON *value = get(name);
    if (!value || !value->is_array())
      return fail("has no array '" + std::string(name) + "'");
    for (const JSON &element : *value) {
      visit(element);
      if (!ok())
        return false;
    }
    return true;
  }
  bool refuse(const std::string &type) {
    return fail("of type '" + type + "' is not supported");
  }

private:
  const JSON &part;
  std::string what, &error;
};

/// Each appends what it reads, in order; false with one line in `error`.
bool readNormalizer(const JSON &part, std::vector<Normalizer> &all,
                    std::string &error);
bool readPreTokenizer(const JSON &part, std::vector<PreTokenizer> &all,
                      std::string &error);
bool readDecoder(const JSON &part, std::vector<TokenDecoder> &all,
                 std::string &error);
bool readModel(const JSON &part, BytePairs &model, std::string &error);

} // namespace mlir::moe

#endif // MOE_LIB_TOOLS_GENERATE_TOKENIZERPARTS_H
