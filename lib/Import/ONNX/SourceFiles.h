//===- SourceFiles.h - A model file and its external data ------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The files that tensors may lie in. External data are untrusted paths from the
// model: only regular files inside the model's folder are ever opened.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_SOURCEFILES_H
#define MOE_LIB_IMPORT_ONNX_SOURCEFILES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace mlir::moe::onnx_import {

class SourceFiles {
public:
  /// The model file's index.
  static constexpr unsigned kModel = 0;

  SourceFiles() = default;
  SourceFiles(const SourceFiles &) = delete;
  ~SourceFiles();

  /// Maps the model file. Its pages are read when they are touched. `what`
  /// says what it should be.
  llvm::Error open(llvm::StringRef path,
                   llvm::StringRef what = "an ONNX model");

  /// The mapped bytes of the model file.
  llvm::StringRef model() const { return {mapped, mappedSize}; }

  /// The absolute folder that the names of all files are relative to.
  llvm::StringRef directory() const { return folder; }

  /// The index of the file that a model calls `location`.
  llvm::Expected<unsigned> external(llvm::StringRef location);

  llvm::StringRef name(unsigned file) const { return files[file].name; }
  uint64_t size(unsigned file) const { return files[file].size; }

  /// Reads bytes that lie within the file.
  llvm::Error read(unsigned file, uint64_t offset,
                   llvm::MutableArrayRef<char> bytes) const;

private:
  struct File {
    std::string name;
    std::string path; // canonical
    uint64_t size;
  };

  std::string folder;
  /// Canonical folders of the model: where it was named, and where it lies
  /// (model hubs keep a folder of links into a folder of blobs).
  std::vector<std::string> roots;
  std::vector<File> files;
  llvm::StringMap<unsigned> byLocation;
  const char *mapped = nullptr;
  size_t mappedSize = 0;
};

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_SOURCEFILES_H
