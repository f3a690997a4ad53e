//===- ExportFaults.h - models that exporters have broken ----- -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_EXPORTFAULTS_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_EXPORTFAULTS_H

#include "RecognizeForms.h"
#include "WeightValues.h"

namespace mlir::moe {

/// Tells tools more of a message about the block that node `block` is or
/// chooses experts for; the keys are those of docs/Recognition.md.
void addDetails(InFlightDiagnostic &diagnostic, onnx::NodeOp block,
                StringRef kind, Operation *at, StringRef reason,
                StringRef reached = "", StringRef form = "");

/// Warns of `fault`.
void reportFault(onnx::NodeOp block, const ExportFault &fault);

/// Experts are a list of `count`, which `node` divides: those that got tokens
/// when the model was traced.
void setFixedCount(ExportFault &fault, onnx::NodeOp node, int64_t count);

/// That fault of `selection`, whatever else its experts do.
std::optional<ExportFault> fixedCountOf(onnx::NodeOp selection);

/// Finds routers that choose experts for nobody.
class UnreadRouters {
public:
  explicit UnreadRouters(ModuleOp module);

  /// What is wrong with `selection`, if anything.
  std::optional<ExportFault> faultOf(onnx::NodeOp selection) const;

private:
  /// Whether the model's results depend on `value`.
  bool isRead(Value value) const;
  bool isWeight(Value value) const;

  llvm::DenseSet<Operation *> live;
};

/// Warns if experts of `block` have the same weights.
void reportTiedExperts(onnx::NodeOp node, const MoEBlock &block,
                       WeightValues &values);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_EXPORTFAULTS_H
