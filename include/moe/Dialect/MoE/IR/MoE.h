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

#include "moe/Dialect/MoE/IR/MoEInterfaces.h.inc"
#include "moe/Dialect/MoE/IR/MoEOpsDialect.h.inc"
#include "moe/Dialect/MoE/IR/MoEOpsEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "moe/Dialect/MoE/IR/MoEOpsAttrs.h.inc"

namespace mlir::moe {
/// One weight of `moe.grouped_matmul` with what belongs to it; values that are
/// not there are null.
struct ExpertMatrix {
  Value weight, bias;
  /// Of integer weights only.
  Value scales, zeroPoints;
  int64_t blockSize = 0;
  Encoding encoding = Encoding::Unsigned;

  bool operator==(const ExpertMatrix &other) const {
    return weight == other.weight && bias == other.bias &&
           scales == other.scales && zeroPoints == other.zeroPoints &&
           blockSize == other.blockSize && encoding == other.encoding;
  }
};
} // namespace mlir::moe

#define GET_OP_CLASSES
#include "moe/Dialect/MoE/IR/MoEOps.h.inc"

namespace mlir::moe {

/// Attribute of function arguments and results: the name of the model's input
/// or output.
inline constexpr StringLiteral kNameAttr = "moe.name";
/// Attribute of function arguments and results: an array of strings, one per
/// dimension, with the exporter's symbolic dimension names ("" where none).
inline constexpr StringLiteral kDimsAttr = "moe.dims";
/// Unit attribute of function arguments and results with integer elements: the
/// model's type is unsigned. Types in the body are signless.
inline constexpr StringLiteral kUnsignedAttr = "moe.unsigned";
/// Module attribute: an array of dictionaries, one per weight that was rounded
/// to integers when the weight file was written.
inline constexpr StringLiteral kQuantizedAttr = "moe.quantized";
/// Module attribute: the folder that `file` of `moe.weight` is relative to.
inline constexpr StringLiteral kSourceDirAttr = "moe.source_dir";
/// Module attribute: the folder of the weights that a checkpoint has replaced.
inline constexpr StringLiteral kCheckpointDirAttr = "moe.checkpoint_dir";

/// Module attribute, written by `moe-record-signature`: what the compiled model
/// says about its inputs, outputs and caches.
inline constexpr StringLiteral kSignatureAttr = "moe.signature";
/// Module attribute, written by `moe-record-layers`: the routing recipe of each
/// sparse layer in the order of execution.
inline constexpr StringLiteral kLayersAttr = "moe.layers";
/// Attribute of `moe.dispatch`: the layer's index in `moe.layers`.
inline constexpr StringLiteral kLayerIndexAttr = "moe.layer";
/// The function that the runtime calls, once the context is its argument.
inline constexpr StringLiteral kEntryFunction = "moe_compiled_main";
/// Module attribute: the {node, message} of each `site` of moe_rt_check.
inline constexpr StringLiteral kSitesAttr = "moe.sites";
/// Module attribute: the names of the regions of moe_rt_profile.
inline constexpr StringLiteral kRegionsAttr = "moe.regions";
/// Module attribute: the {triple, cpu, features} that code is made for.
inline constexpr StringLiteral kTargetAttr = "moe.target";
/// Module attribute: the architecture of the GPU that kernels are for, if any.
inline constexpr StringLiteral kGPUTargetAttr = "moe.gpu_target";
/// The constant of a lowered module that holds the text of the GPU's kernels.
inline constexpr StringLiteral kDeviceCodeName = "moe_device_code";

/// Row-major element strides of a static shape.
SmallVector<int64_t> rowMajorStrides(ArrayRef<int64_t> shape);

/// Bits of one element as it is stored in a file (a boolean takes a byte); 0
/// for types without a stored form (index, complex).
int64_t storedBits(Type type);

/// What the layer of an operation at `loc` is called in the source model: its
/// module, or else its node; "" when it has no name.
StringRef sourceName(Location loc);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_MOE_H
