//===- MoE.h - moe dialect -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOE_H
#define MOE_DIALECT_MOE_IR_MOE_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "moe/Dialect/MoE/IR/MoEOpsDialect.h.inc"
#include "moe/Dialect/MoE/IR/MoEOpsEnums.h.inc"
#include "moe/Dialect/MoE/IR/MoEInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "moe/Dialect/MoE/IR/MoEOpsAttrs.h.inc"
#define GET_OP_CLASSES
#include "moe/Dialect/MoE/IR/MoEOps.h.inc"

namespace mlir::moe {

/// Attribute of function arguments and results: the name of the model's input
/// or output.
inline constexpr StringLiteral kNameAttr = "moe.name";
/// Attribute of function arguments and results: an array of strings, one per
/// dimension, with the exporter's symbolic dimension names ("" where none).
inline constexpr StringLiteral kDimsAttr = "moe.dims";
/// Module attribute: the folder that `file` of `moe.weight` is relative to.
inline constexpr StringLiteral kSourceDirAttr = "moe.source_dir";

/// Row-major element strides of a static shape.
SmallVector<int64_t> rowMajorStrides(ArrayRef<int64_t> shape);


} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_MOE_H
