//===- Checkpoint.h - The tensors of safetensors files ---------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A checkpoint is a safetensors file, or several with an index that says which
// tensor lies in which. Only headers are read.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_CHECKPOINT_H
#define MOE_LIB_IMPORT_ONNX_CHECKPOINT_H

#include "SourceFiles.h"
#include "Tensors.h"

#include "moe/Import/Safetensors/Safetensors.h"
#include "llvm/ADT/StringMap.h"

#include <map>

namespace mlir::moe::onnx_import {

class Checkpoint {
public:
  explicit Checkpoint(SourceFiles &files) : files(files) {}

  struct Tensor {
    SafetensorsTensor header;
    unsigned file;
  };

  /// Opens a safetensors file, an index, or the folder that has one of them.
  llvm::Error open(llvm::StringRef path);

  /// Reads what `name`, the name of a file in the folder that `files` is about,
  /// names.
  llvm::Error read(llvm::StringRef name);

  const Tensor *find(llvm::StringRef name) const {
    auto found = tensors.find(name.str());
    return found == tensors.end() ? nullptr : &found->second;
  }
  TensorRange range(const Tensor &tensor) const {
    return {&files, tensor.file, tensor.header.offset, tensor.header.length};
  }
  const std::map<std::string, Tensor> &all() const { return tensors; }

private:
  llvm::Error readIndex(llvm::StringRef text);
  llvm::Error addFile(unsigned file, const llvm::StringMap<unsigned> *index);

  SourceFiles &files;
  std::map<std::string, Tensor> tensors; // ordered, as messages are
};

/// The file of `folder` that says where the tensors of a checkpoint lie: an
/// index, or the one safetensors file there is.
llvm::Expected<std::string> findCheckpoint(llvm::StringRef folder);

/// Has the initializers of `model` lie in the tensors of `checkpoint` that have
/// their names. Returns a line for each kind of thing that does not fit: types,
/// shapes, and, unless `partial`, tensors that are no initializers and large
/// initializers (other than of INT64 or BOOL) that the checkpoint lacks.
std::vector<std::string> bindInitializers(::onnx::ModelProto &model,
                                          const Checkpoint &checkpoint,
                                          bool partial, TensorTable &tensors);

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_CHECKPOINT_H
