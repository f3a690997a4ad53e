//===- ModelMutator.cpp - Mutates ONNX models by their structure ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Random bytes rarely get past a parser. What libFuzzer calls here instead
// changes one field of the parsed model, copies or drops an element, or takes a
// message of the same kind from elsewhere; names are replaced by other names of
// the model, so that graphs stay connected. One mutation in eight is of bytes.
//
//===----------------------------------------------------------------------===//

#include "onnx/onnx_pb.h"

#include <cstdint>
#include <google/protobuf/stubs/logging.h>
#include <random>

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using onnx::ModelProto;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

namespace {
class Mutator {
public:
  explicit Mutator(unsigned seed) : random(seed) {}

  void mutate(ModelProto &model);
  /// Puts a message of `from` into the place of one in `into`.
  void crossOver(ModelProto &into, ModelProto &from);

private:
  struct Place {
    Message *message;
    const FieldDescriptor *field;
    int index;
  };

  size_t below(size_t count) { return count ? random() % count : 0; }
  /// All fields that are there, of every message in `message`.
  void collect(Message &message);
  void change(const Place &place);
  void addField(Message &message);
  void setNumber(Message &message, const FieldDescriptor *field, int index);
  void setText(Message &message, const FieldDescriptor *field, int index);
  int64_t number();

  std::mt19937 random;
  std::vector<Place> places;
  std::vector<Message *> messages;
  std::vector<std::string> texts;
};
} // namespace

void Mutator::collect(Message &message) {
  messages.push_back(&message);
  const Reflection *reflection = message.GetReflection();
  std::vector<const FieldDescriptor *> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor *field : fields) {
    int count =
        field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    bool scalar = field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE &&
                  field->cpp_type() != FieldDescriptor::CPPTYPE_STRING;
    for (int i = 0; i < count; ++i) {
      // Of a payload's elements a few are enough.
      if (!scalar || i < 4)
        places.push_back({&message, field, field->is_repeated() ? i : -1});
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
        collect(*(field->is_repeated()
                      ? reflection->MutableRepeatedMessage(&message, field, i)
                      : reflection->MutableMessage(&message, field)));
      else if (field->type() == FieldDescriptor::TYPE_STRING)
        texts.push_back(field->is_repeated()
                            ? reflection->GetRepeatedString(message, field, i)
                            : reflection->GetString(message, field));
    }
  }
}

int64_t Mutator::number() {
  switch (below(6)) {
  case 0:
    return static_cast<int64_t>(below(40)) - 4;
  case 1:
    return (int64_t(1) << below(63)) - static_cast<int64_t>(below(3)) + 1;
  case 2:
    return -(int64_t(1) << below(63));
  case 3:
    return below(2) ? INT64_MAX : INT64_MIN;
  default:
    return static_cast<int64_t>(below(8)) - 1;
  }
}

void Mutator::setNumber(Message &message, const FieldDescriptor *field,
                        int index) {
  const Reflection *r = message.GetReflection();
  int64_t value = number();
  switch (field->cpp_type()) {
#define SET(kind, name, type)                                                  \
  case FieldDescriptor::CPPTYPE_##kind:                                        \
    if (index < 0)                                                             \
      r->Set##name(&message, field, static_cast<type>(value));                 \
    else                                                                       \
      r->SetRepeated##name(&message, field, index, static_cast<type>(value));  \
    break;
    SET(INT32, Int32, int32_t)
    SET(INT64, Int64, int64_t)
    SET(UINT32, UInt32, uint32_t)
    SET(UINT64, UInt64, uint64_t)
    SET(FLOAT, Float, float)
    SET(DOUBLE, Double, double)
#undef SET
  case FieldDescriptor::CPPTYPE_ENUM:
    if (index < 0)
      r->SetEnumValue(&message, field, below(24));
    else
      r->SetRepeatedEnumValue(&message, field, index, below(24));
    break;
  default:
    break;
  }
}

void Mutator::setText(Message &message, const FieldDescriptor *field,
                      int index) {
  const Reflection *r = message.GetReflection();
  std::string text = index < 0 ? r->GetString(message, field)
                               : r->GetRepeatedString(message, field, index);
  if (below(4) && !texts.empty()) {
    text = texts[below(texts.size())];
  } else {
    size_t size = text.size(), most = size + 16;
    text.resize(most);
    text.resize(
        LLVMFuzzerMutate(reinterpret_cast<uint8_t *>(text.data()), size, most));
  }
  if (index < 0)
    r->SetString(&message, field, text);
  else
    r->SetRepeatedString(&message, field, index, text);
}

/// Sets a field that is not there, or one more element of one.
void Mutator::addField(Message &message) {
  const auto *type = message.GetDescriptor();
  const FieldDescriptor *field = type->field(below(type->field_count()));
  const Reflection *r = message.GetReflection();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    // A copy of what there is of this kind, else an empty one.
    std::vector<Message *> alike;
    for (Message *other : messages)
      if (other->GetDescriptor() == field->message_type())
        alike.push_back(other);
    if (field->is_repeated() && r->FieldSize(message, field) > 200)
      return;
    std::unique_ptr<Message> copy;
    if (!alike.empty()) {
      const Message &source = *alike[below(alike.size())];
      copy.reset(source.New());
      copy->CopyFrom(source);
    }
    Message *place = field->is_repeated() ? r->AddMessage(&message, field)
                                          : r->MutableMessage(&message, field);
    if (copy)
      place->CopyFrom(*copy);
    return;
  }
  int index = -1;
  if (field->is_repeated()) {
    index = r->FieldSize(message, field);
    switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      r->AddString(&message, field, "");
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      r->AddInt64(&message, field, 0);
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      r->AddFloat(&message, field, 0);
      break;
    default:
      return;
    }
  }
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING)
    setText(message, field, index);
  else
    setNumber(message, field, index);
}

void Mutator::change(const Place &place) {
  auto [message, field, index] = place;
  const Reflection *r = message->GetReflection();
  size_t kind = below(8);
  if (kind == 0) { // drop
    if (index < 0) {
      r->ClearField(message, field);
    } else {
      r->SwapElements(message, field, index, r->FieldSize(*message, field) - 1);
      r->RemoveLast(message, field);
    }
  } else if (kind == 1 && index >= 0) { // another order
    r->SwapElements(message, field, index,
                    below(r->FieldSize(*message, field)));
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    addField(*(index < 0 ? r->MutableMessage(message, field)
                         : r->MutableRepeatedMessage(message, field, index)));
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    setText(*message, field, index);
  } else {
    setNumber(*message, field, index);
  }
}

void Mutator::mutate(ModelProto &model) {
  for (size_t count = 1 + below(3); count; --count) {
    places.clear();
    messages.clear();
    texts.clear();
    collect(model);
    if (!places.empty())
      change(places[below(places.size())]);
  }
}

void Mutator::crossOver(ModelProto &into, ModelProto &from) {
  collect(from);
  std::vector<Message *> sources = std::move(messages);
  messages.clear();
  collect(into);
  Message *target = messages[below(messages.size())];
  std::vector<Message *> alike;
  for (Message *source : sources)
    if (source->GetDescriptor() == target->GetDescriptor())
      alike.push_back(source);
  if (!alike.empty() && target != &into)
    target->CopyFrom(*alike[below(alike.size())]);
}

static size_t write(const ModelProto &model, uint8_t *data, size_t maxSize) {
  size_t size = model.ByteSizeLong();
  if (size == 0 || size > maxSize ||
      !model.SerializeToArray(data, static_cast<int>(size)))
    return 0;
  return size;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size,
                                          size_t maxSize, unsigned seed) {
  google::protobuf::LogSilencer silence;
  ModelProto model;
  if (seed % 8 == 0 || !model.ParseFromArray(data, static_cast<int>(size)))
    return LLVMFuzzerMutate(data, size, maxSize);
  Mutator(seed).mutate(model);
  size_t written = write(model, data, maxSize);
  return written ? written : LLVMFuzzerMutate(data, size, maxSize);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1,
                                            const uint8_t *data2, size_t size2,
                                            uint8_t *out, size_t maxSize,
                                            unsigned seed) {
  google::protobuf::LogSilencer silence;
  ModelProto into, from;
  if (!into.ParseFromArray(data1, static_cast<int>(size1)) ||
      !from.ParseFromArray(data2, static_cast<int>(size2)))
    return 0;
  Mutator(seed).crossOver(into, from);
  return write(into, out, maxSize);
}
