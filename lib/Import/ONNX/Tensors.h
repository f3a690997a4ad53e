//===- Tensors.h - Where a model's tensors lie, and their values -*- C++ -*-=//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_TENSORS_H
#define MOE_LIB_IMPORT_ONNX_TENSORS_H

#include "SourceFiles.h"
#include "WireScan.h"

#include "moe/Import/HuggingFace/Decoder.h"

#include "llvm/ADT/SmallVector.h"

#include <memory>

namespace onnx {
class ModelProto;
class NodeProto;
class TensorProto;
} // namespace onnx

namespace mlir {
class DenseElementsAttr;
class MLIRContext;
class RankedTensorType;
} // namespace mlir

namespace mlir::moe::onnx_import {

struct TensorScales;

/// Bytes of a tensor that is not loaded.
struct TensorRange {
  const SourceFiles *source;
  unsigned file;
  uint64_t offset;
  uint64_t length;
  /// Of matrices of 8-bit floats that stand for floats of the tensor's type.
  std::shared_ptr<const TensorScales> scales = nullptr;
  /// Null where elements lie side by side.
  const TensorLayout *layout = nullptr;
};

/// What the elements of a matrix are multiplied by, one for a block each.
struct TensorScales {
  TensorRange range;
  int32_t dataType;
  int64_t blockRows, blockColumns;
};

/// "node 'n' (Op)" for messages; a nameless node is named after its output.
std::string describe(const ::onnx::NodeProto &node);

/// "initializer 'w'", "the tensor of node 'n' (Constant)".
std::string describe(const ::onnx::TensorProto &tensor,
                     const ::onnx::NodeProto *node);

class TensorTable {
public:
  explicit TensorTable(SourceFiles &files) : files(files) {}

  /// Says that the initializers called `name` lie in `parts`, one behind the
  /// other, whatever the model holds for them. If there are several, each is a
  /// slice along dimension 0. To be called before `resolve`.
  void bind(llvm::StringRef name, llvm::ArrayRef<TensorRange> parts) {
    bound[name].assign(parts.begin(), parts.end());
  }

  /// Validates every tensor of `model` (element type, dimensions, location and
  /// size of its payload) and marks the large ones so that `find` knows them
  /// even after copies. Small external ones are loaded.
  llvm::Error resolve(::onnx::ModelProto &model,
                      llvm::ArrayRef<FileRange> payloads);

  /// Where a resolved tensor lies; nothing when it is loaded. Several ranges
  /// are its slices along dimension 0.
  llvm::ArrayRef<TensorRange> find(const ::onnx::TensorProto &tensor) const;

private:
  llvm::Error resolve(::onnx::TensorProto &tensor, bool isInitializer,
                      llvm::ArrayRef<FileRange> payloads);
  llvm::Error place(::onnx::TensorProto &tensor,
                    llvm::ArrayRef<TensorRange> parts);
  llvm::Expected<TensorRange> locateExternal(const ::onnx::TensorProto &tensor,
                                             uint64_t bytes);

  SourceFiles &files;
  llvm::StringMap<llvm::SmallVector<TensorRange, 1>> bound;
  std::vector<llvm::SmallVector<TensorRange, 1>> ranges;
};

/// The type of a resolved tensor.
RankedTensorType tensorType(const ::onnx::TensorProto &tensor,
                            MLIRContext *context);

/// The value of a resolved tensor that is loaded.
DenseElementsAttr tensorValue(const ::onnx::TensorProto &tensor,
                              MLIRContext *context);

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_TENSORS_H
