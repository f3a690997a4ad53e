//===- Tensors.cpp - Where a model's tensors lie, and their values --------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tensors.h"

#include "Errors.h"

#include "ElementTypes.h"
#include "ProtoWalk.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe::onnx_import;
using ::onnx::NodeProto;
using ::onnx::TensorProto;

/// More than any operator has use for; a bound for what code may assume.
static constexpr int kMaxRank = 64;

std::string mlir::moe::onnx_import::describe(const NodeProto &node) {
  StringRef name = node.name();
  if (name.empty())
    for (const std::string &output : node.output())
      if (!output.empty()) {
        name = output;
        break;
      }
  std::string op = node.domain().empty()
                       ? node.op_type()
                       : node.domain() + "::" + node.op_type();
  return ("node '" + name + "' (" + op + ")").str();
}

std::string mlir::moe::onnx_import::describe(const TensorProto &tensor,
                                             const NodeProto *node) {
  if (node)
    return "the tensor of " + describe(*node);
  return "initializer '" + tensor.name() + "'";
}

//===----------------------------------------------------------------------===//
// TensorTable
//===----------------------------------------------------------------------===//

llvm::Error TensorTable::resolve(::onnx::ModelProto &model,
                                 ArrayRef<FileRange> payloads) {
  std::string message;
  walkTensors(model, [&](TensorProto &tensor, const NodeProto *node) {
    llvm::Error error = resolve(tensor, /*isInitializer=*/!node, payloads);
    if (!error)
      return true;
    message = describe(tensor, node) + " " + llvm::toString(std::move(error));
    return false;
  });
  return message.empty() ? llvm::Error::success() : makeError(message);
}

/// The number of elements, or what is wrong with the dimensions.
static llvm::Expected<uint64_t> countElements(const TensorProto &tensor) {
  if (tensor.dims_size() > kMaxRank)
    return makeError("has " + llvm::Twine(tensor.dims_size()) +
                     " dimensions, expects at most " + llvm::Twine(kMaxRank));
  uint64_t count = 1;
  bool overflow = false, empty = false;
  for (int64_t dim : tensor.dims()) {
    if (dim < 0)
      return makeError("has the dimension " + llvm::Twine(dim) +
                       ", expects at least 0");
    empty |= dim == 0;
    bool overflows = false;
    count = llvm::SaturatingMultiply<uint64_t>(count, dim, &overflows);
    overflow |= overflows;
  }
  if (empty)
    return 0;
  if (overflow)
    return makeError("has dimensions whose product exceeds 2^64");
  return count;
}

/// How many entries the typed fields of `tensor` hold, and how many they must.
static std::pair<uint64_t, uint64_t> typedEntries(const TensorProto &tensor,
                                                  uint64_t elements) {
  switch (tensor.data_type()) {
  case TensorProto::FLOAT:
    return {tensor.float_data_size(), elements};
  case TensorProto::COMPLEX64:
    return {tensor.float_data_size(), 2 * elements};
  case TensorProto::DOUBLE:
    return {tensor.double_data_size(), elements};
  case TensorProto::COMPLEX128:
    return {tensor.double_data_size(), 2 * elements};
  case TensorProto::INT64:
    return {tensor.int64_data_size(), elements};
  case TensorProto::UINT32:
  case TensorProto::UINT64:
    return {tensor.uint64_data_size(), elements};
  case TensorProto::STRING:
    return {tensor.string_data_size(), elements};
  case TensorProto::UINT4:
  case TensorProto::INT4:
  case TensorProto::FLOAT4E2M1:
  case TensorProto::UINT2:
  case TensorProto::INT2: // one packed byte per entry
    return {tensor.int32_data_size(),
            *packedBytes(elements, elementType(tensor.data_type())->bits)};
  default:
    return {tensor.int32_data_size(), elements};
  }
}

llvm::Error TensorTable::resolve(TensorProto &tensor, bool isInitializer,
                                 ArrayRef<FileRange> payloads) {
  const ElementType *type = elementType(tensor.data_type());
  if (!type)
    return makeError("has element type " + llvm::Twine(tensor.data_type()) +
                     ", which is none that ONNX defines");
  if (tensor.has_segment())
    return makeError("is one segment of a tensor, expects whole tensors");
  llvm::Expected<uint64_t> elements = countElements(tensor);
  if (!elements)
    return elements.takeError();
  std::optional<uint64_t> bytes = packedBytes(*elements, type->bits);
  if (!bytes)
    return makeError("has dimensions whose size exceeds 2^63 bits");

  if (auto found = bound.find(tensor.name());
      isInitializer && found != bound.end()) {
    TensorProto empty;
    empty.set_name(tensor.name());
    empty.set_data_type(tensor.data_type());
    *empty.mutable_dims() = tensor.dims();
    tensor = std::move(empty);
    return place(tensor, found->second);
  }
  bool external = tensor.data_location() == TensorProto::EXTERNAL;
  if (!external) {
    if (tensor.has_raw_data() && type->bits != 0) {
      if (tensor.raw_data().size() != *bytes)
        return makeError("has " + llvm::Twine(tensor.raw_data().size()) +
                         " bytes of raw data, expects " + llvm::Twine(*bytes));
      return llvm::Error::success();
    }
    auto [found, expected] = typedEntries(tensor, *elements);
    if (found != expected)
      return makeError("has " + llvm::Twine(found) + " values of type " +
                       type->name + ", expects " + llvm::Twine(expected));
    return llvm::Error::success();
  }
  if (type->bits == 0)
    return makeError("holds strings outside of the model file, expects them "
                     "inside");

  TensorRange range;
  if (tensor.external_data_size() == 1 &&
      StringRef(tensor.external_data(0).key()) == kStubKey) {
    const FileRange &payload =
        payloads[std::stoul(tensor.external_data(0).value())];
    if (payload.length != *bytes)
      return makeError("has a payload of " + llvm::Twine(payload.length) +
                       " bytes, expects " + llvm::Twine(*bytes));
    range = {&files, SourceFiles::kModel, payload.offset, payload.length};
  } else {
    llvm::Expected<TensorRange> located = locateExternal(tensor, *bytes);
    if (!located)
      return located.takeError();
    range = *located;
  }

  return place(tensor, range);
}

/// Loads a small tensor from `parts`, whose sizes are right, and marks a large
/// one, or one whose bytes are not yet its elements.
llvm::Error TensorTable::place(TensorProto &tensor,
                               ArrayRef<TensorRange> parts) {
  tensor.clear_external_data();
  uint64_t length = 0;
  bool isPlain = true; // others are never loaded
  for (const TensorRange &part : parts) {
    length += part.length;
    isPlain &= !part.scales && !part.layout;
  }
  if (length > kMaxDenseBytes || !isPlain) {
    tensor.set_data_location(TensorProto::EXTERNAL);
    ::onnx::StringStringEntryProto *mark = tensor.add_external_data();
    mark->set_key("location");
    mark->set_value(std::to_string(ranges.size()));
    ranges.emplace_back(parts.begin(), parts.end());
    return llvm::Error::success();
  }
  // Some exporters put even scalars there, and shapes depend on them.
  tensor.clear_data_location();
  std::string &raw = *tensor.mutable_raw_data();
  raw.resize(length);
  uint64_t at = 0;
  for (const TensorRange &part : parts) {
    if (llvm::Error error = part.source->read(part.file, part.offset,
                                              {raw.data() + at, part.length}))
      return makeError("external data '" + part.source->name(part.file) + "' " +
                       llvm::toString(std::move(error)));
    at += part.length;
  }
  if (length == 0)
    tensor.clear_raw_data();
  return llvm::Error::success();
}

llvm::Expected<TensorRange>
TensorTable::locateExternal(const TensorProto &tensor, uint64_t bytes) {
  std::optional<StringRef> location, offset, length;
  for (const ::onnx::StringStringEntryProto &entry : tensor.external_data()) {
    std::optional<StringRef> *slot =
        llvm::StringSwitch<std::optional<StringRef> *>(entry.key())
            .Case("location", &location)
            .Case("offset", &offset)
            .Case("length", &length)
            .Default(nullptr);
    if (!slot)
      continue; // a checksum, or what a runtime keeps for itself
    if (slot->has_value())
      return makeError("gives '" + entry.key() +
                       "' of its external data twice");
    *slot = entry.value();
  }
  if (!location)
    return makeError("lies outside of the model file, but does not say where");
  std::string where = ("external data '" + *location + "'").str();

  uint64_t begin = 0, size = bytes;
  if (offset && offset->getAsInteger(10, begin))
    return makeError("has offset '" + *offset + "' in " + where +
                     ", expects a decimal number below 2^64");
  if (length && length->getAsInteger(10, size))
    return makeError("has length '" + *length + "' in " + where +
                     ", expects a decimal number below 2^64");
  if (size != bytes)
    return makeError("has " + llvm::Twine(size) + " bytes of " + where +
                     ", expects " + llvm::Twine(bytes));
  llvm::Expected<unsigned> file = files.external(*location);
  if (!file)
    return makeError("has " + where + " which " +
                     llvm::toString(file.takeError()));
  uint64_t available = files.size(*file);
  if (begin > available || size > available - begin)
    return makeError("has " + llvm::Twine(size) + " bytes at offset " +
                     llvm::Twine(begin) + " of " + where + " which has " +
                     llvm::Twine(available) + " bytes");
  return TensorRange{&files, *file, begin, size};
}

ArrayRef<TensorRange> TensorTable::find(const TensorProto &tensor) const {
  if (tensor.data_location() != TensorProto::EXTERNAL)
    return {};
  return ranges[std::stoul(tensor.external_data(0).value())];
}

//===----------------------------------------------------------------------===//
// Loaded values
//===----------------------------------------------------------------------===//

RankedTensorType mlir::moe::onnx_import::tensorType(const TensorProto &tensor,
                                                    MLIRContext *context) {
  return RankedTensorType::get(
      SmallVector<int64_t>(tensor.dims().begin(), tensor.dims().end()),
      convertElementType(tensor.data_type(), context));
}

/// Appends the low `bytes` bytes of each value.
template <typename Values>
static void appendLowBytes(const Values &values, unsigned bytes,
                           std::string &out) {
  for (auto value : values) {
    char buffer[8];
    llvm::support::endian::write64le(buffer, static_cast<uint64_t>(value));
    out.append(buffer, bytes);
  }
}

/// The elements as they would stand in raw_data, except that each FLOAT6 takes
/// a byte of its own in int32_data.
static std::string packedElements(const TensorProto &tensor, unsigned bits) {
  if (tensor.has_raw_data())
    return tensor.raw_data();
  std::string out;
  for (float value : tensor.float_data())
    appendLowBytes(ArrayRef(llvm::bit_cast<uint32_t>(value)), 4, out);
  for (double value : tensor.double_data())
    appendLowBytes(ArrayRef(llvm::bit_cast<uint64_t>(value)), 8, out);
  unsigned bytes = std::max(bits / 8, 1u);
  appendLowBytes(tensor.int64_data(), bytes, out);
  appendLowBytes(tensor.uint64_data(), bytes, out);
  appendLowBytes(tensor.int32_data(), bytes, out);
  return out;
}

/// Element `i` of elements of fewer than 8 bits that lie `pitch` bits apart,
/// lowest bits first.
static llvm::APInt smallElement(StringRef packed, uint64_t i, unsigned pitch,
                                unsigned bits) {
  uint64_t bit = i * pitch;
  unsigned word = static_cast<uint8_t>(packed[bit / 8]);
  if (bit / 8 + 1 < packed.size())
    word |= unsigned(static_cast<uint8_t>(packed[bit / 8 + 1])) << 8;
  return llvm::APInt(bits, word >> (bit % 8) &
                               llvm::maskTrailingOnes<unsigned>(bits));
}

DenseElementsAttr mlir::moe::onnx_import::tensorValue(const TensorProto &tensor,
                                                      MLIRContext *context) {
  RankedTensorType type = tensorType(tensor, context);
  unsigned bits = elementType(tensor.data_type())->bits;
  if (bits == 0) {
    SmallVector<StringRef> strings(tensor.string_data().begin(),
                                   tensor.string_data().end());
    return DenseStringElementsAttr::get(type, strings);
  }
  std::string packed = packedElements(tensor, bits);
  if (tensor.data_type() == TensorProto::BOOL) {
    SmallVector<bool> values =
        llvm::map_to_vector(packed, [](char value) { return value != 0; });
    return DenseElementsAttr::get(type, values);
  }
  if (bits >= 8)
    return DenseElementsAttr::getFromRawBuffer(type,
                                               {packed.data(), packed.size()});

  bool byteEach = bits == 6 && !tensor.has_raw_data();
  auto floating = dyn_cast<FloatType>(type.getElementType());
  SmallVector<llvm::APInt> integers;
  SmallVector<llvm::APFloat> floats;
  for (int64_t i = 0, e = type.getNumElements(); i < e; ++i) {
    llvm::APInt value = smallElement(packed, i, byteEach ? 8 : bits, bits);
    if (floating)
      floats.emplace_back(floating.getFloatSemantics(), value);
    else
      integers.push_back(value);
  }
  return floating ? DenseElementsAttr::get(type, floats)
                  : DenseElementsAttr::get(type, integers);
}
