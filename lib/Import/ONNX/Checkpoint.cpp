//===- Checkpoint.cpp - The tensors of safetensors files ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checkpoint.h"

#include "ElementTypes.h"
#include "Errors.h"
#include "ProtoWalk.h"

#include "moe/Import/ONNX/Import.h"
#include "moe/Import/Safetensors/JSONText.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <memory>

using namespace llvm;
using namespace mlir::moe;
using namespace mlir::moe::onnx_import;
using ::onnx::NodeProto;
using ::onnx::TensorProto;

static constexpr StringLiteral kIndexSuffix = ".safetensors.index.json";
static constexpr StringLiteral kSuffix = ".safetensors";
/// Of a header, and so of an index.
static constexpr uint64_t kMaxIndexBytes = 100'000'000;
/// The object, weight_map; metadata may hold a little more.
static constexpr unsigned kMaxIndexDepth = 8;

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

Expected<std::string> mlir::moe::onnx_import::findCheckpoint(StringRef folder) {
  SmallVector<std::string> indices, files;
  std::error_code error;
  for (sys::fs::directory_iterator it(folder, error), end; it != end && !error;
       it.increment(error)) {
    StringRef name = sys::path::filename(it->path());
    if (name.ends_with(kIndexSuffix))
      indices.push_back(it->path());
    else if (name.ends_with(kSuffix))
      files.push_back(it->path());
  }
  if (error)
    return makeError("cannot be read: " + error.message());
  // Both may have variants beside them ("model.fp16.safetensors").
  for (SmallVector<std::string> *found : {&indices, &files}) {
    for (const std::string &path : *found)
      if (sys::path::filename(path) == "model" + kIndexSuffix.str() ||
          sys::path::filename(path) == "model" + kSuffix.str())
        return path;
    if (found->size() == 1)
      return found->front();
  }
  if (files.empty())
    return makeError("has no " + kSuffix + " file");
  return makeError("has " + Twine(files.size()) + " " + kSuffix +
                   " files, expects one, or model" + kIndexSuffix);
}

std::string mlir::moe::checkpointFile(StringRef path) {
  Expected<std::string> found = findCheckpoint(path);
  if (found)
    return *found;
  consumeError(found.takeError());
  return path.str();
}

Error Checkpoint::open(StringRef path) {
  std::string file = path.str();
  if (sys::fs::is_directory(path)) {
    Expected<std::string> found = findCheckpoint(path);
    if (!found)
      return found.takeError();
    file = *found;
  }
  if (Error error = files.open(file, "a safetensors file or its index"))
    return error;
  if (!StringRef(file).ends_with(".json"))
    return addFile(SourceFiles::kModel, nullptr);
  return readIndex(files.model());
}

Error Checkpoint::read(StringRef name) {
  Expected<unsigned> file = files.external(name);
  if (!file)
    return file.takeError();
  if (!name.ends_with(".json"))
    return addFile(*file, nullptr);
  if (files.size(*file) > kMaxIndexBytes)
    return makeError("has " + Twine(files.size(*file)) +
                     " bytes, expects at most " + Twine(kMaxIndexBytes));
  std::string text(files.size(*file), '\0');
  if (Error error = files.read(*file, 0, {text.data(), text.size()}))
    return error;
  return readIndex(text);
}

Error Checkpoint::readIndex(StringRef text) {
  if (text.size() > kMaxIndexBytes)
    return makeError("has " + Twine(text.size()) + " bytes, expects at most " +
                     Twine(kMaxIndexBytes));
  Expected<json::Value> index = parseJSONText(text, kMaxIndexDepth);
  if (!index)
    return index.takeError();
  const json::Object *object = index->getAsObject();
  const json::Object *map = object ? object->getObject("weight_map") : nullptr;
  if (!map)
    return makeError("has no weight_map, expects the index of a checkpoint");

  StringMap<StringMap<unsigned>> byFile;
  for (const auto &member : *map) {
    std::optional<StringRef> file = member.second.getAsString();
    if (!file)
      return makeError("gives no file for tensor '" + StringRef(member.first) +
                       "'");
    byFile[*file][member.first] = 0;
  }
  std::map<std::string, const StringMap<unsigned> *> ordered;
  for (const auto &entry : byFile)
    ordered[entry.first().str()] = &entry.second;
  for (const auto &[name, wanted] : ordered) {
    std::string where = "names the file '" + name + "', which ";
    Expected<unsigned> file = files.external(name);
    if (!file)
      return makeError(where + toString(file.takeError()));
    if (Error error = addFile(*file, wanted))
      return makeError(where + toString(std::move(error)));
  }
  return Error::success();
}

/// Adds the tensors of `file`: all, or those that the index says are there.
Error Checkpoint::addFile(unsigned file, const StringMap<unsigned> *index) {
  uint64_t size = files.size(file);
  std::string header(std::min<uint64_t>(size, 8), '\0');
  if (Error error = files.read(file, 0, {header.data(), header.size()}))
    return error;
  Expected<uint64_t> length = safetensorsHeaderSize(header, size);
  if (!length)
    return length.takeError();
  header.resize(*length);
  if (Error error = files.read(file, 0, {header.data(), header.size()}))
    return error;
  Expected<std::vector<SafetensorsTensor>> found =
      parseSafetensors(header, size);
  if (!found)
    return found.takeError();
  size_t taken = 0;
  StringSet<> present;
  for (SafetensorsTensor &tensor : *found) {
    if (index && !index->contains(tensor.name))
      continue;
    ++taken;
    present.insert(tensor.name);
    std::string name = tensor.name;
    tensors[name] = {std::move(tensor), file};
  }
  if (index && taken != index->size())
    for (const auto &entry : *index)
      if (!present.contains(entry.first()))
        return makeError("lacks the tensor '" + entry.first() + "'");
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Initializers
//===----------------------------------------------------------------------===//

namespace {
/// Problems of one kind: the first few are named.
class Problems {
public:
  explicit Problems(StringRef kind) : kind(kind) {}
  void add(const Twine &what) {
    if (count++ < 10)
      named += (named.empty() ? "" : ", ") + what.str();
  }
  void report(std::vector<std::string> &lines) const {
    if (count == 0)
      return;
    std::string more =
        count > 10 ? " and " + std::to_string(count - 10) + " more" : "";
    lines.push_back(kind.str() + ": " + named + more);
  }

private:
  StringRef kind;
  std::string named;
  uint64_t count = 0;
};
} // namespace

static std::string shapeText(ArrayRef<int64_t> shape) {
  std::string text = "[";
  for (int64_t dim : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  return text + "]";
}

/// Whether a tensor is large and of a type that parameters have, floats or
/// quantized: indices and masks are part of the graph.
static bool isParameter(const TensorProto &tensor, const ElementType &type) {
  if (type.name == "INT64" || type.name == "BOOL" || type.name == "STRING")
    return false;
  uint64_t bytes = std::max(type.bits / 8, 1u);
  for (int64_t dim : tensor.dims())
    bytes = SaturatingMultiply<uint64_t>(bytes, std::max<int64_t>(dim, 0));
  return bytes > kMaxDenseBytes;
}

std::vector<std::string>
mlir::moe::onnx_import::bindInitializers(::onnx::ModelProto &model,
                                         const Checkpoint &checkpoint,
                                         bool partial, TensorTable &tensors) {
  Problems types("tensors of the checkpoint do not have the type of the "
                 "initializer they would replace"),
      shapes("tensors of the checkpoint do not have the shape of the "
             "initializer they would replace (nothing is transposed)"),
      unknown("tensors of the checkpoint are no initializers of the model"),
      missing("initializers are not in the checkpoint");
  StringSet<> used;
  walkTensors(model, [&](TensorProto &tensor, const NodeProto *node) {
    const ElementType *type = elementType(tensor.data_type());
    if (node || tensor.name().empty() || !type)
      return true;
    const Checkpoint::Tensor *found = checkpoint.find(tensor.name());
    if (!found) {
      if (isParameter(tensor, *type))
        missing.add("'" + tensor.name() + "'");
      return true;
    }
    used.insert(tensor.name());
    const SafetensorsTensor &given = found->header;
    SmallVector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    if (given.type->name != type->safetensors)
      types.add("'" + tensor.name() + "' is " + given.type->name +
                ", expects " + type->name);
    else if (ArrayRef<int64_t>(given.shape) != ArrayRef<int64_t>(dims))
      shapes.add("'" + tensor.name() + "' is " + shapeText(given.shape) +
                 ", expects " + shapeText(dims));
    else
      tensors.bind(tensor.name(), checkpoint.range(*found));
    return true;
  });
  for (const auto &entry : checkpoint.all())
    if (!used.contains(entry.first))
      unknown.add("'" + entry.first + "'");

  std::vector<std::string> lines;
  types.report(lines);
  shapes.report(lines);
  if (!partial) {
    unknown.report(lines);
    missing.report(lines);
  }
  return lines;
}
