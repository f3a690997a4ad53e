//===- MoEInterfaces.td - moe dialect interfaces -----------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEINTERFACES_TD
#define MOE_DIALECT_MOE_IR_MOEINTERFACES_TD

include "mlir/IR/OpBase.td"

def WeightSymbolOpInterface : OpInterface<"WeightSymbolOpInterface"> {
  let description = [{
    A symbol that names a constant tensor whose bytes are produced when the
    weight file is written. `moe.get_weight` yields its value.
  }];
  let cppNamespace = "::mlir::moe";
  let methods = [
    InterfaceMethod<"The type of the tensor that the symbol names.",
                    "::mlir::RankedTensorType", "getWeightType">
  ];
}

#endif // MOE_DIALECT_MOE_IR_MOEINTERFACES_TD
