//===- ContribSchemas.h - Operators the ONNX library lacks -----*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_CONTRIBSCHEMAS_H
#define MOE_LIB_IMPORT_ONNX_CONTRIBSCHEMAS_H

#include <string>

namespace onnx {
class OpSchema;
} // namespace onnx

namespace mlir::moe::onnx_import {

/// The schema of an operator that runtimes define beside the standard, with
/// type inference, or null. Attributes are left to the raise phase.
const ::onnx::OpSchema *findContribSchema(const std::string &domain,
                                          const std::string &opType);

/// A schema that every node satisfies, for operators nobody knows.
const ::onnx::OpSchema &anySchema();

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_CONTRIBSCHEMAS_H
