//===- SafetensorsFuzzer.cpp - Headers of safetensors files ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What is accepted must keep its promise: users of a tensor read its bytes
// without a look at the file's size. Half of the mutations repair the length of
// the header and the number of bytes behind it, which a stranger can do too.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Safetensors/JSONText.h"
#include "moe/Import/Safetensors/Safetensors.h"
#include "llvm/Support/Endian.h"

#include <memory>
#include <random>

using namespace llvm;
using namespace mlir::moe;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

/// Ends the program, with a finding, unless `holds`.
static void expect(bool holds) {
  if (!holds)
    __builtin_trap();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  // Of exactly this size, so that a read beyond it is seen.
  auto copy = std::make_unique<char[]>(size);
  std::copy_n(data, size, copy.get());
  StringRef file(copy.get(), size);
  Expected<std::vector<SafetensorsTensor>> tensors = parseSafetensors(file);
  if (!tensors) {
    expect(!toString(tensors.takeError()).empty());
    return 0;
  }
  Expected<uint64_t> header = safetensorsHeaderSize(file, size);
  expect(static_cast<bool>(header));
  uint64_t end = *header;
  for (const SafetensorsTensor &tensor : *tensors) {
    expect(tensor.offset == end && tensor.length <= size - end);
    end += tensor.length;
    unsigned __int128 bits = tensor.type->bits;
    for (int64_t dim : tensor.shape) {
      expect(dim >= 0);
      if (dim == 0)
        bits = 0;
    }
    for (int64_t dim : tensor.shape)
      if (bits != 0) {
        bits *= dim;
        expect(bits <= 8 * static_cast<unsigned __int128>(size));
      }
    expect(bits == 8 * static_cast<unsigned __int128>(tensor.length));
  }
  expect(end == size);
  return 0;
}

/// The greatest end of a tensor that the header names.
static uint64_t dataSize(StringRef header) {
  Expected<json::Value> parsed = parseJSONText(header, 3);
  if (!parsed) {
    consumeError(parsed.takeError());
    return 0;
  }
  uint64_t end = 0;
  if (const json::Object *entries = parsed->getAsObject())
    for (const auto &member : *entries)
      if (const json::Object *entry = member.second.getAsObject())
        if (const json::Array *offsets = entry->getArray("data_offsets"))
          for (const json::Value &offset : *offsets)
            end = std::max(end, offset.getAsUINT64().value_or(0));
  return end;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size,
                                          size_t maxSize, unsigned seed) {
  std::minstd_rand random(seed);
  constexpr size_t kField = 8;
  if (size < kField || maxSize <= kField || random() % 2)
    return LLVMFuzzerMutate(data, size, maxSize);
  uint64_t given = support::endian::read64le(data);
  size_t header = std::min<uint64_t>(given, size - kField);
  header = LLVMFuzzerMutate(data + kField, header, maxSize - kField);
  support::endian::write64le(data, header);
  StringRef text(reinterpret_cast<char *>(data) + kField, header);
  uint64_t room = maxSize - kField - header;
  uint64_t bytes = std::min(dataSize(text), room);
  std::fill_n(data + kField + header, bytes, 0);
  return kField + header + bytes;
}
