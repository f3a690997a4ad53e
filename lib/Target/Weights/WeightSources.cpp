//===- WeightSources.cpp - The bytes behind weight symbols ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Weights/WeightSources.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"

#include <sys/mman.h>

using namespace mlir;
using namespace mlir::moe;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

StringRef moe::recordedFolder(ModuleOp module, bool checkpoint) {
  auto folder = module->getAttrOfType<StringAttr>(
      checkpoint ? kCheckpointDirAttr : kSourceDirAttr);
  return folder ? folder.getValue() : StringRef();
}

std::string moe::linkedFolder(const Twine &file) {
  SmallString<256> real;
  return fs::real_path(file, real) ? "" : path::parent_path(real).str();
}

/// Whether `inner` is a path below `folder`; both are real paths.
static bool liesIn(StringRef inner, StringRef folder) {
  if (folder == "/")
    return true;
  return inner.consume_front(folder) && inner.starts_with("/");
}

void WeightSources::map(const WeightFolder &folder, StringRef name,
                        File &file) {
  // A model must not make the compiler read (and write into its weight file)
  // whatever else lies on the machine.
  bool leaves = path::is_absolute(name) || name.empty() || name.contains('\0');
  for (StringRef part : llvm::make_range(path::begin(name), path::end(name)))
    leaves |= part == "..";
  SmallString<256> full(folder.path), real, base;
  if (full.empty())
    full = ".";
  path::append(full, name);
  if (leaves) {
    file.error = "lies outside of the model's folder";
    return;
  }
  if (std::error_code ec = fs::real_path(full, real)) {
    file.error = "cannot be opened: " + ec.message();
    return;
  }
  if (fs::real_path(folder.path.empty() ? "." : folder.path, base) ||
      (!liesIn(real, base) &&
       (folder.linked.empty() || !liesIn(real, folder.linked)))) {
    file.error = "lies outside of the model's folder";
    return;
  }
  auto handle = fs::openNativeFileForRead(real);
  if (!handle) {
    file.error = "cannot be opened: " + llvm::toString(handle.takeError());
    return;
  }
  fs::file_status status;
  std::error_code ec = fs::status(*handle, status);
  if (!ec && status.type() != fs::file_type::regular_file)
    file.error = "is not a regular file";
  file.size = ec ? 0 : status.getSize();
  if (!ec && file.error.empty() && file.size > 0)
    file.region = std::make_unique<fs::mapped_file_region>(
        *handle, fs::mapped_file_region::readonly, file.size, 0, ec);
  if (ec)
    file.error = "cannot be mapped: " + ec.message();
  (void)fs::closeFile(*handle);
}

const WeightSources::File &WeightSources::open(WeightOp weight) {
  unsigned folder = weight.getCheckpoint();
  auto [it, isNew] = files[folder].try_emplace(weight.getFile());
  if (isNew)
    map(folders[folder], weight.getFile(), it->second);
  return it->second;
}

FloatKind moe::floatKind(Type type) {
  if (type.isF32())
    return FloatKind::F32;
  return type.isF16() ? FloatKind::F16 : FloatKind::BF16;
}

FailureOr<WeightBytes> WeightSources::resolve(Operation *symbol) {
  std::string error;
  Operation *at = symbol;
  FailureOr<WeightBytes> bytes = find(symbol, error, at);
  if (failed(bytes))
    return at->emitError(error);
  return bytes;
}

std::optional<WeightBytes> WeightSources::find(Operation *symbol) {
  std::string error;
  Operation *at = symbol;
  FailureOr<WeightBytes> bytes = find(symbol, error, at);
  return failed(bytes) ? std::nullopt : std::optional(*bytes);
}

FailureOr<WeightBytes> WeightSources::find(Operation *symbol,
                                           std::string &error, Operation *&at) {
  at = symbol;
  if (auto stack = dyn_cast<WeightStackOp>(symbol)) {
    WeightBytes all;
    for (Attribute ref : stack.getWeights()) {
      FailureOr<WeightBytes> slice = find(lookup(ref), error, at);
      if (failed(slice))
        return failure();
      if (!slice->scaled.empty() || !all.scaled.empty()) {
        all.scaled.resize(all.leaves.size());
        slice->scaled.resize(slice->leaves.size());
        llvm::append_range(all.scaled, slice->scaled);
      }
      llvm::append_range(all.leaves, slice->leaves);
    }
    return all;
  }
  auto weight = dyn_cast<WeightOp>(symbol);
  auto reject = [&](const Twine &why) {
    error = why.str();
    return failure();
  };
  if (!weight)
    return reject("expects a weight or a stack of weights as source, got '" +
                  symbol->getName().getStringRef() + "'");
  FailureOr<const uint8_t *> data = bytesOf(weight, error);
  if (failed(data))
    return failure();
  RankedTensorType type = weight.getWeightType();
  BlockScalesAttr scaled = weight.getScaledAttr();
  int64_t bits = scaled ? 8 : type.getElementTypeBitWidth();
  StridedBytes tensor;
  // The verifier ties shape and strides to `length`.
  tensor.data = *data;
  tensor.elementSize = std::max<int64_t>(bits / 8, 1);
  if (!llvm::isPowerOf2_64(bits) || tensor.elementSize > 16) {
    llvm::raw_string_ostream(error)
        << "weight '" << weight.getSymName() << "': unsupported element type "
        << type.getElementType();
    return failure();
  }
  int64_t unit = tensor.elementSize;
  if (bits != 1 && bits < 8) {
    unit = tensor.elementBits = bits;
    tensor.bitOffset = static_cast<int64_t>(weight.getBitOffset().value_or(0));
  }
  llvm::append_range(tensor.shape, weight.getExtents());
  if (weight.getSizes())
    llvm::append_range(tensor.merged, type.getShape());
  tensor.increment = static_cast<int64_t>(weight.getIncrement().value_or(0));
  for (int64_t stride : weight.getElementStrides())
    tensor.strides.push_back(stride * unit);
  WeightBytes result{{tensor}, {}};
  if (!scaled || !tensor.data)
    return result;
  auto scales = cast<WeightOp>(lookup(scaled.getScales()));
  at = scales;
  FailureOr<const uint8_t *> values = bytesOf(scales, error);
  if (failed(values))
    return failure();
  at = symbol;
  result.scaled.push_back(
      {tensor.data - (weight.getOffset() - scaled.getOffset()),
       scaled.getColumns(), scaled.getBlockRows(), scaled.getBlockColumns(),
       *values, floatKind(scales.getWeightType().getElementType()),
       floatKind(type.getElementType())});
  return result;
}

FailureOr<const uint8_t *> WeightSources::bytesOf(WeightOp weight,
                                                  std::string &error) {
  auto reject = [&](const Twine &why) {
    error = ("weight '" + weight.getSymName() + "': " + why).str();
    return failure();
  };
  if (weight.getCheckpoint() && folders[1].path.empty())
    return reject(Twine("lies in a checkpoint, expects the module to have ") +
                  kCheckpointDirAttr);
  const File &file = open(weight);
  if (!file.error.empty())
    return reject("file '" + weight.getFile() + "' " + file.error);
  uint64_t offset = weight.getOffset(), length = weight.getLength();
  if (offset > file.size || length > file.size - offset)
    return reject("file '" + weight.getFile() +
                  "' is too short: expects at least " + Twine(offset + length) +
                  " bytes, got " + Twine(file.size));
  return file.region
             ? reinterpret_cast<const uint8_t *>(file.region->const_data()) +
                   offset
             : nullptr;
}

void WeightSources::release(const StridedBytes &tensor) {
  int64_t extent = 0;
  for (auto [size, stride] : llvm::zip_equal(tensor.shape, tensor.strides)) {
    if (size == 0)
      return;
    extent += (size - 1) * stride;
  }
  // Down to whole bytes: a page more or less makes no difference.
  extent = tensor.elementBits < 8 ? extent / 8 : extent + tensor.elementSize;
  // Whole pages only; what is dropped by mistake is read again from the file.
  uintptr_t page = llvm::sys::Process::getPageSizeEstimate();
  uintptr_t begin = reinterpret_cast<uintptr_t>(tensor.data);
  uintptr_t first = llvm::alignTo(begin, page);
  uintptr_t last = (begin + extent) / page * page;
  if (first < last)
    ::madvise(reinterpret_cast<void *>(first), last - first, MADV_DONTNEED);
}
