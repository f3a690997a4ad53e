//===- Safetensors.cpp - The header of a safetensors file -----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Safetensors/Safetensors.h"

#include "moe/Import/Safetensors/JSONText.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace mlir::moe;

/// What the format allows.
static constexpr uint64_t kMaxHeader = 100'000'000;
/// An object of tensors, a tensor, its shape.
static constexpr unsigned kMaxDepth = 3;
/// More than any operator has use for.
static constexpr size_t kMaxRank = 64;

static constexpr SafetensorsType kTypes[] = {
    {"BOOL", 8},    {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6},
    {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},        {"BF16", 16},       {"I32", 32},
    {"U32", 32},    {"F32", 32},        {"C64", 64},        {"F64", 64},
    {"I64", 64},    {"U64", 64},
};

ArrayRef<SafetensorsType> mlir::moe::safetensorsTypes() { return kTypes; }

Expected<uint64_t> mlir::moe::safetensorsHeaderSize(StringRef field,
                                                    uint64_t fileSize) {
  constexpr uint64_t kField = 8;
  if (field.size() < kField || fileSize < kField)
    return createStringError("has " + Twine(fileSize) +
                             " bytes, expects at least the 8 of a "
                             "safetensors file's header length");
  uint64_t size = support::endian::read64le(field.data());
  if (size > kMaxHeader)
    return createStringError("is no safetensors file: its header would have " +
                             Twine(size) + " bytes, expects at most " +
                             Twine(kMaxHeader));
  if (size > fileSize - kField)
    return createStringError("is truncated: its header has " + Twine(size) +
                             " bytes, of which " + Twine(fileSize - kField) +
                             " are there");
  return size + kField;
}

/// `why` about the tensor `name`, which comes from the file.
static Error tensorError(StringRef name, const Twine &why) {
  return createStringError("tensor '" + name + "' " + why);
}

/// All elements of `value` as numbers of at least 0; nothing where it is no
/// such array.
static std::optional<SmallVector<uint64_t, 4>>
unsignedNumbers(const json::Value *value) {
  const json::Array *array = value ? value->getAsArray() : nullptr;
  if (!array)
    return std::nullopt;
  SmallVector<uint64_t, 4> result;
  for (const json::Value &element : *array) {
    std::optional<uint64_t> number = element.getAsUINT64();
    if (!number)
      return std::nullopt;
    result.push_back(*number);
  }
  return result;
}

/// Reads one entry; offsets count from the end of the header yet.
static Expected<SafetensorsTensor> parseTensor(StringRef name,
                                               const json::Value &value) {
  const json::Object *entry = value.getAsObject();
  if (!entry)
    return tensorError(name, "is no object with dtype, shape and data_offsets");
  for (const auto &member : *entry) {
    StringRef key = member.first;
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      return tensorError(name, "has the unknown key '" + key + "'");
  }
  SafetensorsTensor tensor;
  tensor.name = name.str();

  std::optional<StringRef> dtype = entry->getString("dtype");
  if (!dtype)
    return tensorError(name, "has no dtype");
  tensor.type = find_if(
      kTypes, [&](const SafetensorsType &type) { return type.name == *dtype; });
  if (tensor.type == std::end(kTypes))
    return tensorError(name, "has dtype '" + *dtype +
                                 "', which is none that safetensors defines");

  auto shape = unsignedNumbers(entry->get("shape"));
  if (!shape)
    return tensorError(name, "has no shape of numbers of at least 0");
  if (shape->size() > kMaxRank)
    return tensorError(name, "has " + Twine(shape->size()) +
                                 " dimensions, expects at most " +
                                 Twine(kMaxRank));
  uint64_t bits = tensor.type->bits;
  bool overflow = false, empty = is_contained(*shape, uint64_t(0));
  for (uint64_t dim : *shape) {
    if (dim > uint64_t(INT64_MAX))
      return tensorError(name, "has a dimension of " + Twine(dim));
    bool over = false;
    bits = SaturatingMultiply(bits, dim, &over);
    overflow |= over;
    tensor.shape.push_back(static_cast<int64_t>(dim));
  }
  if (empty)
    bits = 0;
  else if (overflow)
    return tensorError(name, "has a shape whose size exceeds 2^64 bits");
  if (bits % 8 != 0)
    return tensorError(name,
                       "has " + Twine(bits) + " bits, expects whole bytes");

  auto offsets = unsignedNumbers(entry->get("data_offsets"));
  if (!offsets || offsets->size() != 2)
    return tensorError(name, "has no data_offsets of two numbers");
  tensor.offset = (*offsets)[0];
  if ((*offsets)[1] < tensor.offset)
    return tensorError(name, "ends at " + Twine((*offsets)[1]) +
                                 ", before its begin " + Twine(tensor.offset));
  tensor.length = (*offsets)[1] - tensor.offset;
  if (tensor.length != bits / 8)
    return tensorError(name, "has " + Twine(tensor.length) +
                                 " bytes, expects " + Twine(bits / 8) +
                                 " for its dtype and shape");
  return tensor;
}

static Error checkMetadata(const json::Value &value) {
  const json::Object *metadata = value.getAsObject();
  if (!metadata)
    return createStringError("has a __metadata__ that is no object");
  for (const auto &member : *metadata)
    if (!member.second.getAsString())
      return createStringError("has a __metadata__ with a value that is no "
                               "string: '" +
                               StringRef(member.first) + "'");
  return Error::success();
}

Expected<std::vector<SafetensorsTensor>>
mlir::moe::parseSafetensors(StringRef header, uint64_t fileSize) {
  Expected<uint64_t> size = safetensorsHeaderSize(header, fileSize);
  if (!size)
    return size.takeError();
  if (header.size() < *size)
    return createStringError("is truncated within its header");
  StringRef text = header.take_front(*size).drop_front(8);
  if (!text.starts_with("{"))
    return createStringError("is no safetensors file: its header does not "
                             "begin with '{'");
  Expected<json::Value> json = parseJSONText(text, kMaxDepth);
  if (!json)
    return createStringError("has a header that " + toString(json.takeError()));
  const json::Object *entries = json->getAsObject();
  if (!entries)
    return createStringError("has a header that is no JSON object");

  std::vector<SafetensorsTensor> tensors;
  for (const auto &member : *entries) {
    if (StringRef(member.first) == "__metadata__") {
      if (Error error = checkMetadata(member.second))
        return std::move(error);
      continue;
    }
    Expected<SafetensorsTensor> tensor =
        parseTensor(member.first, member.second);
    if (!tensor)
      return tensor.takeError();
    tensors.push_back(std::move(*tensor));
  }
  // Every byte behind the header belongs to exactly one tensor.
  llvm::sort(tensors, [](const auto &a, const auto &b) {
    return std::tie(a.offset, a.length, a.name) <
           std::tie(b.offset, b.length, b.name);
  });
  uint64_t end = 0, available = fileSize - *size;
  for (SafetensorsTensor &tensor : tensors) {
    if (tensor.offset != end)
      return tensorError(tensor.name, "begins at byte " + Twine(tensor.offset) +
                                          " of the data, expects " +
                                          Twine(end) +
                                          ", where the tensor before it ends");
    if (tensor.length > available - end)
      return tensorError(tensor.name, "ends at byte " + Twine(tensor.offset) +
                                          " + " + Twine(tensor.length) +
                                          " of the data, which has " +
                                          Twine(available) + " bytes");
    end += tensor.length;
    tensor.offset += *size;
  }
  if (end != available)
    return createStringError("has " + Twine(available - end) +
                             " bytes behind its last tensor");
  return tensors;
}
