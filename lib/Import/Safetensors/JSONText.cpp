//===- JSONText.cpp - JSON that comes from strangers ----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Safetensors/JSONText.h"

#include "llvm/ADT/Twine.h"

using namespace llvm;

/// How deep brackets nest, and how many colons there are, outside of strings.
static std::pair<unsigned, uint64_t> measure(StringRef text) {
  unsigned depth = 0, deepest = 0;
  uint64_t colons = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
      continue;
    }
    if (c == '"')
      inString = true;
    else if (c == ':')
      ++colons;
    else if (c == '{' || c == '[')
      deepest = std::max(deepest, ++depth);
    else if ((c == '}' || c == ']') && depth > 0)
      --depth;
  }
  return {deepest, colons};
}

static uint64_t countMembers(const json::Value &value) {
  uint64_t count = 0;
  if (const json::Array *array = value.getAsArray())
    for (const json::Value &element : *array)
      count += countMembers(element);
  if (const json::Object *object = value.getAsObject()) {
    count = object->size();
    for (const auto &member : *object)
      count += countMembers(member.second);
  }
  return count;
}

Expected<json::Value> mlir::moe::parseJSONText(StringRef text,
                                               unsigned maxDepth) {
  auto [depth, colons] = measure(text);
  if (depth > maxDepth)
    return createStringError("is JSON that nests " + Twine(depth) +
                             " deep, expects at most " + Twine(maxDepth));
  Expected<json::Value> value = json::parse(text);
  if (!value)
    return createStringError("is no valid JSON: " +
                             toString(value.takeError()));
  if (countMembers(*value) != colons)
    return createStringError("is JSON in which an object has a key twice");
  return value;
}
