//===- Config.h - The keys of a config.json ---------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every key that is read is remembered: one that nobody has read, and that is
// not known to have no influence, is an error.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_HUGGINGFACE_CONFIG_H
#define MOE_LIB_IMPORT_HUGGINGFACE_CONFIG_H

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/JSON.h"

#include <optional>
#include <string>
#include <vector>

namespace mlir::moe {

class Config {
public:
  Config(const llvm::json::Object &object, std::vector<std::string> &problems,
         std::string prefix = "")
      : object(object), problems(problems), prefix(std::move(prefix)) {}

  void problem(const llvm::Twine &text) { problems.push_back(text.str()); }

  /// The value, unless it is absent or null.
  const llvm::json::Value *get(llvm::StringRef key) {
    read.insert(key);
    const llvm::json::Value *value = object.get(key);
    return value && value->kind() != llvm::json::Value::Null ? value : nullptr;
  }
  bool has(llvm::StringRef key) { return get(key) != nullptr; }

  /// More than any model has of anything that is counted one by one.
  static constexpr int64_t kMaxCount = 1 << 16;

  /// A size from 1 to 2^31; without a default it must be there.
  int64_t size(llvm::StringRef key, std::optional<int64_t> otherwise = {},
               int64_t least = 1, int64_t most = INT32_MAX) {
    const llvm::json::Value *value = get(key);
    if (!value && otherwise)
      return *otherwise;
    std::optional<int64_t> number =
        value ? value->getAsInteger() : std::nullopt;
    if (number && *number >= least && *number <= most)
      return *number;
    problem("key '" + prefix + key + "' expects a whole number from " +
            llvm::Twine(least) + " to " + llvm::Twine(most));
    return 1;
  }
  int64_t count(llvm::StringRef key, std::optional<int64_t> otherwise = {}) {
    return size(key, otherwise, 1, kMaxCount);
  }
  double real(llvm::StringRef key, std::optional<double> otherwise = {}) {
    const llvm::json::Value *value = get(key);
    if (!value && otherwise)
      return *otherwise;
    std::optional<double> number = value ? value->getAsNumber() : std::nullopt;
    if (number)
      return *number;
    problem("key '" + prefix + key + "' expects a number");
    return 1;
  }
  double positive(llvm::StringRef key, std::optional<double> otherwise = {}) {
    const llvm::json::Value *value = get(key);
    std::optional<double> number = value ? value->getAsNumber() : otherwise;
    if (number && *number > 0)
      return *number;
    problem("key '" + prefix + key + "' expects a number above 0");
    return 1;
  }
  /// So many numbers above 0.
  std::vector<double> reals(llvm::StringRef key, size_t count) {
    const llvm::json::Value *value = get(key);
    const llvm::json::Array *array = value ? value->getAsArray() : nullptr;
    std::vector<double> numbers;
    for (size_t i = 0; array && array->size() == count && i < count; ++i)
      if (auto number = (*array)[i].getAsNumber(); number && *number > 0)
        numbers.push_back(*number);
    if (numbers.size() != count) {
      problem("key '" + prefix + key + "' expects " + llvm::Twine(count) +
              " numbers above 0");
      numbers.assign(count, 1);
    }
    return numbers;
  }
  bool flag(llvm::StringRef key, bool otherwise) {
    const llvm::json::Value *value = get(key);
    std::optional<bool> flag = value ? value->getAsBoolean() : std::nullopt;
    if (value && !flag)
      problem("key '" + prefix + key + "' expects true or false");
    return flag.value_or(otherwise);
  }
  std::string string(llvm::StringRef key, llvm::StringRef otherwise = "") {
    const llvm::json::Value *value = get(key);
    auto text = value ? value->getAsString() : std::nullopt;
    if (value && !text)
      problem("key '" + prefix + key + "' expects a string");
    return text.value_or(otherwise).str();
  }
  /// Takes note of keys that have no influence on the result.
  void ignore(llvm::ArrayRef<llvm::StringLiteral> keys) {
    for (llvm::StringRef key : keys)
      read.insert(key);
  }
  /// The keys that were not read and that ask for something.
  void refuseUnknown() {
    std::vector<std::string> unknown;
    for (const auto &member : object) {
      const llvm::json::Value &value = member.second;
      bool asks = value.kind() != llvm::json::Value::Null &&
                  value.getAsBoolean() != false;
      if (asks && !read.contains(llvm::StringRef(member.first)))
        unknown.push_back("'" + prefix + llvm::StringRef(member.first).str() +
                          "'");
    }
    llvm::sort(unknown);
    if (!unknown.empty())
      problem("keys that this compiler does not know, and that might change "
              "the result: " +
              llvm::join(unknown, ", "));
  }

private:
  const llvm::json::Object &object;
  std::vector<std::string> &problems;
  std::string prefix;
  llvm::StringSet<> read;
};

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_HUGGINGFACE_CONFIG_H
