//===- Import.h - ONNX model to onnx dialect ----------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads a model file into a module of onnx.node operations. Nothing is
// interpreted: an unknown operator is imported like any other. Tensor payloads
// above a limit are never loaded; they become `moe.weight` symbols that point
// into the model file or its external data.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_ONNX_IMPORT_H
#define MOE_IMPORT_ONNX_IMPORT_H

#include "mlir/IR/OwningOpRef.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringRef.h"
#include <functional>
#include <string>
#include <vector>

namespace mlir {
class DialectRegistry;
class MLIRContext;
class ModuleOp;
} // namespace mlir

namespace mlir::moe {

struct ONNXImportOptions {
  /// Version of the default operator set that nodes of older models are
  /// converted to, if the ONNX library has an adapter for every one of them;
  /// otherwise, and with 0, nodes keep their version.
  int64_t targetOpset = 20;
  /// Whether an operator needs no definition. Nodes of all others are replaced
  /// by the graphs that the standard defines them by, if it does. Without this
  /// function every node stays.
  std::function<bool(llvm::StringRef domain, llvm::StringRef opType,
                     int64_t version)>
      supportsOperator;
  /// A safetensors file, an index of several, or a folder with either: its
  /// tensors take the place of the initializers that have their names. Types
  /// and shapes must agree, and each of the two must have all that the other
  /// has, initializers only if they are large and not of int64 or bool.
  std::string weights;
  /// Allows the checkpoint and the model to lack what the other has.
  bool partialWeights = false;
};

/// The dialects that an imported module uses.
void registerONNXImportDialects(DialectRegistry &registry);

/// Imports the model at `path`: an ONNX file, or a folder with a config.json
/// and safetensors files as Hugging Face has them. On failure returns null
/// after one diagnostic per problem, located at the model file; its text names
/// the node.
OwningOpRef<ModuleOp> importONNX(StringRef path, MLIRContext &context,
                                 const ONNXImportOptions &options = {});

/// The file that `path`, as in ONNXImportOptions::weights, stands for; itself
/// if it is no folder with such a file.
std::string checkpointFile(StringRef path);
/// The element types of an operator's input that allows most of them, or of the
/// output if there is no input, in the notation of the standard: "float16".
/// Empty for what is not in the standard. The domain "" is ai.onnx.
std::vector<std::string> operatorElementTypes(llvm::StringRef domain,
                                              llvm::StringRef opType,
                                              int64_t version);
/// The greatest version that the ONNX library has.
int64_t latestOperatorSet(llvm::StringRef domain);
/// The operators of the default domain that `supports` does not name but that
/// the standard defines by operators it does, with the version they are from.
std::vector<std::pair<std::string, int64_t>> operatorsByDefinition(
    const std::function<bool(llvm::StringRef, llvm::StringRef, int64_t)>
        &supports);

} // namespace mlir::moe

#endif // MOE_IMPORT_ONNX_IMPORT_H
