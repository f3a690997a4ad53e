//===- GraphBuilder.h - Checked ONNX model to module -----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_GRAPHBUILDER_H
#define MOE_LIB_IMPORT_ONNX_GRAPHBUILDER_H

#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringRef.h"

namespace onnx {
class ModelProto;
} // namespace onnx

namespace mlir {
class MLIRContext;
class ModuleOp;
} // namespace mlir

namespace mlir::moe::onnx_import {

class SourceFiles;
class TensorTable;

/// Builds the module of a model that has passed all checks and has its types
/// inferred. Emits a diagnostic located at `path` and returns null where
/// something has no representation.
OwningOpRef<ModuleOp> buildModule(const ::onnx::ModelProto &model,
                                  const TensorTable &tensors,
                                  const SourceFiles &files,
                                  llvm::StringRef path, MLIRContext &context);

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_GRAPHBUILDER_H
