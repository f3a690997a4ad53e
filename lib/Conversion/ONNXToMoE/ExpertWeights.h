//===- ExpertWeights.h - weights of experts in canonical form - -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_EXPERTWEIGHTS_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_EXPERTWEIGHTS_H

#include "RowExpr.h"

namespace mlir::moe {

/// Brings the experts' weights, wherever they come from, to the form that
/// moe.grouped_matmul takes. A `moe.weight` becomes a view of the same bytes,
/// one for each expert a `moe.weight_stack` of views; a small constant becomes
/// another constant. Only a weight that the program computes or is given gets
/// sliced when it runs.
class ExpertWeights {
public:
  explicit ExpertWeights(ModuleOp module) : symbols(module) {}

  /// `[E, range, K]` of a weight `[E, N, K]`, or of `[E, K, N]` when
  /// `inputMajor`.
  Value matrix(OpBuilder &builder, Location loc, const ExpertOperand &weight,
               bool inputMajor, StridedRange range);
  LogicalResult check(const QuantizedWeights &weights, std::string &why) {
    return weights.check(symbols, why);
  }
  LogicalResult check(const QuantizedWeights &weights, StridedRange range,
                      std::string &why) {
    return weights.check(symbols, range, why);
  }
  ExpertMatrix quantized(OpBuilder &builder, Location loc,
                         const QuantizedWeights &weights, StridedRange range) {
    return weights.read(builder, loc, symbols, range);
  }
  /// `[E, range]` of a bias `[E, N]`.
  Value bias(OpBuilder &builder, Location loc, const ExpertOperand &bias,
             StridedRange range);

private:
  /// A stack `[E, ..]` of slices of rank `rank`, restricted to `range` in
  /// dimension `dim` and then, for matrices, transposed.
  struct Take {
    int64_t rank, dim;
    StridedRange range;
    bool transpose;
  };
  Value take(OpBuilder &builder, Location loc, const ExpertOperand &operand,
             const Take &what);
  Value takeViews(OpBuilder &builder, Location loc,
                  const ExpertOperand &operand, const Take &what);

  WeightSymbols symbols;
};

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_EXPERTWEIGHTS_H
