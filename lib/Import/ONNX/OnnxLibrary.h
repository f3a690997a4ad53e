//===- OnnxLibrary.h - Calls into the ONNX library -------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The one place where exceptions exist: everything here catches them and hands
// back what they say. Tensors above the size limit have been replaced by
// references (see Tensors.h) before any of these functions copies the model.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_ONNXLIBRARY_H
#define MOE_LIB_IMPORT_ONNX_ONNXLIBRARY_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace onnx {
class ModelProto;
class NodeProto;
} // namespace onnx

namespace mlir::moe::onnx_import {

/// What went wrong, on one line; nothing on success.
using Problem = std::optional<std::string>;

Problem parseModel(const char *bytes, size_t size, ::onnx::ModelProto &model);

/// The greatest IR version that the library reads.
int64_t maxIRVersion();
/// The range of versions of an operator set, nothing for an unknown domain.
std::optional<std::pair<int, int>> opsetRange(const std::string &domain);

/// The checker's structural rules: single assignment, order, unique names,
/// operators' arity and attributes. Operators without a schema pass.
Problem checkModel(::onnx::ModelProto &model);

/// Replaces calls of the model's own functions by their bodies.
Problem inlineFunctions(::onnx::ModelProto &model);

/// Converts the default operator set to `target`, or says why the model stays
/// as it is.
Problem convertVersion(::onnx::ModelProto &model, int64_t target);

/// Writes out the default attributes of nodes whose types follow from their
/// definition: inference does not.
void completeAttributes(::onnx::ModelProto &model);

/// Whether the compiler has a converter for an operator of a domain ("" is
/// ai.onnx) in a version of its operator set.
using SupportsOperator = std::function<bool(
    const std::string &domain, const std::string &opType, int version)>;

/// Replaces the nodes of unsupported operators by the graphs that the standard
/// defines them by, one level, where these lead to supported operators. Needs
/// the types. Whether there was any.
bool expandFunctions(::onnx::ModelProto &model,
                     const SupportsOperator &supports);

/// The operators of the default domain in its latest version that `supports`
/// does not know, but whose definition, for floats, leads to some that it does,
/// each with the version that it is from.
std::vector<std::pair<std::string, int>>
definedOperators(const SupportsOperator &supports);

/// The types that the standard allows for the input with the most of them, or
/// the output of an operator without inputs, as "tensor(float)".
std::vector<std::string> allowedTypes(const std::string &domain,
                                      const std::string &opType, int version);

/// Infers the types of all values, keeping symbolic dimensions. Leaves declared
/// types only where inference has none. Returns one line per node whose
/// operands do not fit together.
std::vector<std::string> inferTypes(::onnx::ModelProto &model);

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_ONNXLIBRARY_H
