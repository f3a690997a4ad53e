//===- WireScan.cpp - Cuts tensor payloads out of a model file ------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WireScan.h"

#include "Errors.h"

#include "llvm/ADT/Twine.h"
#include <optional>

using namespace llvm;
using namespace mlir::moe::onnx_import;

namespace {

/// The messages of onnx.proto on the way to a TensorProto.
enum class Message { Model, Graph, Function, Node, Attribute, Sparse, Tensor };

/// What becomes of a field of such a message.
enum class Action { Copy, Drop, Descend, Metadata };

struct Rule {
  Action action = Action::Copy;
  Message child = Message::Model;
};

enum WireType { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

/// One field: its bytes with tag, and of a length-delimited one the content.
struct Field {
  uint32_t number;
  uint32_t wire;
  uint64_t varint = 0;
  size_t begin, end;
  size_t content = 0;
  size_t size() const { return end - content; }
};

/// TensorProto's fields.
enum TensorField {
  DataType = 2,
  FloatData = 4,
  Int32Data = 5,
  StringData = 6,
  Int64Data = 7,
  Name = 8,
  RawData = 9,
  DoubleData = 10,
  UInt64Data = 11,
  DocString = 12,
  ExternalData = 13,
  DataLocation = 14,
  TensorMetadata = 16,
};

/// TensorProto.DataType values whose typed payload is the tensor's memory.
enum TensorType { Float = 1, Double = 11, Complex64 = 14, Complex128 = 15 };

/// Levels of messages that protobuf itself is willing to parse.
constexpr unsigned kMaxDepth = 90;

Rule ruleOf(Message message, uint32_t field) {
  auto descend = [](Message child) { return Rule{Action::Descend, child}; };
  const Rule drop{Action::Drop, Message::Model};
  switch (message) {
  case Message::Model:
    if (field == 7)
      return descend(Message::Graph);
    if (field == 25)
      return descend(Message::Function);
    if (field == 20 || field == 6) // training_info, doc_string
      return drop;
    break;
  case Message::Graph:
    if (field == 1)
      return descend(Message::Node);
    if (field == 5)
      return descend(Message::Tensor);
    if (field == 15)
      return descend(Message::Sparse);
    if (field == 10) // doc_string
      return drop;
    break;
  case Message::Function:
    if (field == 7)
      return descend(Message::Node);
    if (field == 11)
      return descend(Message::Attribute);
    if (field == 8) // doc_string
      return drop;
    break;
  case Message::Node:
    if (field == 5)
      return descend(Message::Attribute);
    if (field == 8) // doc_string
      return drop;
    if (field == 9)
      return {Action::Metadata, Message::Model};
    break;
  case Message::Attribute:
    if (field == 5 || field == 10)
      return descend(Message::Tensor);
    if (field == 6 || field == 11)
      return descend(Message::Graph);
    if (field == 22 || field == 23)
      return descend(Message::Sparse);
    if (field == 13) // doc_string
      return drop;
    break;
  case Message::Sparse:
    if (field == 1 || field == 2)
      return descend(Message::Tensor);
    break;
  case Message::Tensor:
    break;
  }
  return {};
}

class Scanner {
public:
  Scanner(StringRef file, ScannedModel &result) : file(file), result(result) {}

  Error rewrite(Message message, size_t begin, size_t end, unsigned depth);

private:
  Expected<Field> readField(size_t at, size_t end) const;
  bool readVarint(size_t &at, size_t end, uint64_t &value) const;
  Error rewriteTensor(size_t begin, size_t end);
  Expected<bool> entryHasKey(const Field &entry, StringRef key) const;

  StringRef contentOf(const Field &field) const {
    return file.slice(field.content, field.end);
  }
  Error truncated(size_t at) const {
    return makeError("truncated or damaged at byte " + Twine(at) + " of " +
                     Twine(file.size()) + ", expects an ONNX model");
  }
  void copy(size_t begin, size_t end) {
    result.bytes.append(file.data() + begin, end - begin);
  }
  void putVarint(uint64_t value) {
    for (; value >= 0x80; value >>= 7)
      result.bytes.push_back(static_cast<char>(value | 0x80));
    result.bytes.push_back(static_cast<char>(value));
  }
  void putBytes(uint32_t number, StringRef content) {
    putVarint(number << 3 | Bytes);
    putVarint(content.size());
    result.bytes.append(content.data(), content.size());
  }

  StringRef file;
  ScannedModel &result;
  uint64_t decodedBytes = 0;
};

bool Scanner::readVarint(size_t &at, size_t end, uint64_t &value) const {
  value = 0;
  for (unsigned shift = 0; shift < 70 && at < end; shift += 7) {
    uint8_t byte = file[at++];
    if (shift < 64)
      value |= uint64_t(byte & 0x7f) << shift;
    if (byte < 0x80)
      return true;
  }
  return false;
}

Expected<Field> Scanner::readField(size_t at, size_t end) const {
  Field field;
  field.begin = at;
  uint64_t tag;
  if (!readVarint(at, end, tag) || tag > UINT32_MAX || tag >> 3 == 0)
    return truncated(field.begin);
  field.number = tag >> 3;
  field.wire = tag & 7;
  uint64_t length;
  switch (field.wire) {
  case Varint:
    if (!readVarint(at, end, field.varint))
      return truncated(field.begin);
    field.end = at;
    return field;
  case Fixed64:
    length = 8;
    break;
  case Fixed32:
    length = 4;
    break;
  case Bytes:
    if (!readVarint(at, end, length))
      return truncated(field.begin);
    break;
  default: // groups: no version of onnx.proto has any
    return truncated(field.begin);
  }
  if (length > end - at)
    return truncated(field.begin);
  field.content = at;
  field.end = at + length;
  return field;
}

/// Whether the StringStringEntryProto `entry` has `key` for its key.
Expected<bool> Scanner::entryHasKey(const Field &entry, StringRef key) const {
  bool found = false;
  for (size_t at = entry.content; at < entry.end;) {
    Expected<Field> field = readField(at, entry.end);
    if (!field)
      return field.takeError();
    if (field->number == 1 && field->wire == Bytes)
      found = contentOf(*field) == key;
    at = field->end;
  }
  return found;
}

Error Scanner::rewrite(Message message, size_t begin, size_t end,
                       unsigned depth) {
  if (message == Message::Tensor)
    return rewriteTensor(begin, end);
  if (depth > kMaxDepth)
    return makeError("nests subgraphs deeper than " + Twine(kMaxDepth / 3) +
                     " levels");
  size_t kept = begin; // start of the run of fields to be copied as they are
  for (size_t at = begin; at < end;) {
    Expected<Field> field = readField(at, end);
    if (!field)
      return field.takeError();
    at = field->end;
    Rule rule = field->wire == Bytes ? ruleOf(message, field->number) : Rule();
    if (rule.action == Action::Metadata) {
      // Exporters put whole Python stack traces here; the name scope is what
      // helps to find a node.
      Expected<bool> keep = entryHasKey(*field, "namespace");
      if (!keep)
        return keep.takeError();
      rule.action = *keep ? Action::Copy : Action::Drop;
    }
    if (rule.action == Action::Copy)
      continue;
    copy(kept, field->begin);
    kept = field->end;
    if (rule.action == Action::Drop)
      continue;
    putVarint(field->number << 3 | Bytes);
    // The length is known afterwards only: five bytes hold any below 2^35, and
    // protobuf accepts a varint with leading zeros.
    size_t lengthAt = result.bytes.size();
    result.bytes.append(5, '\0');
    if (Error error =
            rewrite(rule.child, field->content, field->end, depth + 1))
      return error;
    uint64_t length = result.bytes.size() - lengthAt - 5;
    for (unsigned i = 0; i < 5; ++i)
      result.bytes[lengthAt + i] =
          static_cast<char>((length >> (7 * i) & 0x7f) | (i < 4 ? 0x80 : 0));
  }
  copy(kept, end);
  return Error::success();
}

Error Scanner::rewriteTensor(size_t begin, size_t end) {
  // The element type decides what a payload is, and may come after it.
  std::string name = "tensor";
  uint64_t type = 0, location = 0;
  unsigned payloads = 0, external = 0;
  bool raw = false;
  uint64_t typedBytes = 0;
  std::optional<Field> payload;
  for (size_t at = begin; at < end;) {
    Expected<Field> field = readField(at, end);
    if (!field)
      return field.takeError();
    at = field->end;
    switch (field->number) {
    case DataType:
      type = field->varint;
      break;
    case Name:
      if (field->wire == Bytes)
        name = ("tensor '" + contentOf(*field) + "'").str();
      break;
    case DataLocation:
      location = field->varint;
      break;
    case ExternalData:
      ++external;
      if (field->wire == Bytes) {
        Expected<bool> reserved = entryHasKey(*field, kStubKey);
        if (!reserved)
          return reserved.takeError();
        if (*reserved)
          return makeError(name + " has external data with the reserved key '" +
                           kStubKey + "'");
      }
      break;
    case FloatData:
    case DoubleData:
    case Int32Data:
    case Int64Data:
    case UInt64Data:
    case StringData:
      typedBytes += field->end - field->begin;
      ++payloads;
      payload = *field;
      break;
    case RawData:
      raw = true;
      ++payloads;
      payload = *field;
      break;
    }
  }

  // A payload is cut out where its bytes are the tensor's memory.
  bool isMemory =
      payloads == 1 && payload->wire == Bytes &&
      (payload->number == RawData ||
       (payload->number == FloatData && (type == Float || type == Complex64)) ||
       (payload->number == DoubleData &&
        (type == Double || type == Complex128)));
  bool cut = isMemory && payload->size() > kMaxDenseBytes;
  if (location > 1)
    return makeError(name + " has data location " + Twine(location) +
                     ", expects DEFAULT (0) or EXTERNAL (1)");
  if (payload && payload->wire == Bytes && payload->size() &&
      (external || location))
    return makeError(name + " has both external data and a payload of " +
                     Twine(payload->size()) + " bytes");
  if (payloads > 1 && raw)
    return makeError(name + " has " + Twine(payloads) +
                     " payloads, expects one");
  if (!cut && (decodedBytes += typedBytes) > kMaxDecodedBytes)
    return makeError(name +
                     " stores its elements one by one: such payloads "
                     "come to more than " +
                     Twine(kMaxDecodedBytes >> 20) +
                     " MiB, save the model with raw_data");

  for (size_t at = begin; at < end;) {
    Expected<Field> field = readField(at, end);
    if (!field)
      return field.takeError();
    at = field->end;
    bool drop = field->number == DocString || field->number == TensorMetadata ||
                (cut && field->begin == payload->begin);
    if (!drop)
      copy(field->begin, field->end);
  }
  if (!cut)
    return Error::success();

  std::string index = std::to_string(result.payloads.size());
  result.payloads.push_back({payload->content, payload->size()});
  // StringStringEntryProto: key = 1, value = 2.
  putVarint(ExternalData << 3 | Bytes);
  putVarint(2 + kStubKey.size() + 2 + index.size());
  putBytes(1, kStubKey);
  putBytes(2, index);
  putVarint(DataLocation << 3 | Varint);
  putVarint(1); // EXTERNAL
  return Error::success();
}

} // namespace

Expected<ScannedModel> mlir::moe::onnx_import::scanModel(StringRef file) {
  ScannedModel result;
  Scanner scanner(file, result);
  if (Error error = scanner.rewrite(Message::Model, 0, file.size(), 0))
    return std::move(error);
  return result;
}
