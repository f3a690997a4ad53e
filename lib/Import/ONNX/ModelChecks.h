//===- ModelChecks.h - What the ONNX checker lets through ------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_MODELCHECKS_H
#define MOE_LIB_IMPORT_ONNX_MODELCHECKS_H

#include "llvm/Support/Error.h"

namespace onnx {
class ModelProto;
} // namespace onnx

namespace mlir::moe::onnx_import {

/// Checks that this is a model, of a format version that is known.
llvm::Error checkFormat(const ::onnx::ModelProto &model);

/// Spells the default domain "" everywhere.
void normalizeDomains(::onnx::ModelProto &model);

/// Gives every node a name of its own, "Op_output" where it has none, so that
/// messages can point at it.
void nameNodes(::onnx::ModelProto &model);

/// Checks operator set imports, interface types, the calls among the model's
/// functions, and that nothing is used that this importer lacks.
llvm::Error checkStructure(::onnx::ModelProto &model);

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_MODELCHECKS_H
