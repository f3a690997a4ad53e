//===- ElementTypes.h - ONNX element types ---------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_ELEMENTTYPES_H
#define MOE_LIB_IMPORT_ONNX_ELEMENTTYPES_H

#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>

namespace mlir {
class MLIRContext;
class Type;
} // namespace mlir

namespace mlir::moe::onnx_import {

/// A TensorProto.DataType.
struct ElementType {
  llvm::StringLiteral name;
  /// Bits per element where elements lie packed in memory; 0 for strings.
  unsigned bits;
  /// What safetensors calls it; "" for what that format lacks.
  llvm::StringLiteral safetensors = "";
};

/// Null when `dataType` is none this compiler knows.
const ElementType *elementType(int32_t dataType);

/// The MLIR type of a known element type.
Type convertElementType(int32_t dataType, MLIRContext *context);

/// The TensorProto.DataType of a type of safetensors; 0 for none.
int32_t fromSafetensors(llvm::StringRef name);

/// Bytes of `elements` packed elements, or nothing on overflow.
std::optional<uint64_t> packedBytes(uint64_t elements, unsigned bits);

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_ELEMENTTYPES_H
