//===- ExpertRows.h - what the nodes of an expert make of rows - -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Where experts have matrices of their own, or one product takes the stacked
// matrices of all, an expert's nodes are followed by what they make of rows: a
// product with a weight is a linear map, whatever operator, side and order of
// dimensions it was written with; a constant vector added to it is its bias; a
// part of it a smaller linear map.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_EXPERTROWS_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_EXPERTROWS_H

#include "AxisLayout.h"
#include "RowExpr.h"

namespace mlir::moe {

/// A tensor of rows: the tokens themselves, without an expression, or what
/// experts compute for them. [.., feature], with the axis of the experts in
/// front if they are all in one tensor.
struct Rows {
  AxisLayout axes;
  const RowExpr *expr = nullptr;
};

class ExpertRows {
public:
  ExpertRows(RowExprPool &pool, AxisContext &context, Rejection &rejection)
      : pool(pool), context(context), rejection(rejection) {}

  void define(Value value, Rows rows) { known[value] = std::move(rows); }
  const Rows *lookup(Value value) const {
    auto it = known.find(value);
    return it == known.end() ? nullptr : &it->second;
  }

  /// Defines the results of `node` from the rows among its operands.
  LogicalResult visit(onnx::NodeOp node);
  /// The rows that `value` is, given those that were defined.
  const Rows *evaluate(Value value);

  /// The operands of `node` that may be rows if its result is; none for other
  /// operators than those of an expert.
  static SmallVector<Value, 2> operandsOf(onnx::NodeOp node);
  /// The one value that `a` and `b` are both computed from, by operators of an
  /// expert; null when there is none or several.
  static Value commonInput(Value a, Value b);
  /// What the innermost product with stacked weights of `experts` experts reads
  /// on the way to `value`; null when there is none.
  static Value stackedInput(Value value, int64_t experts);

private:
  LogicalResult visitProduct(onnx::NodeOp node);
  LogicalResult visitElementwise(onnx::NodeOp node);
  LogicalResult addBias(onnx::NodeOp node, const Rows &rows, Value vector);
  std::optional<ExpertOperand> biasOf(Value vector, const Rows &rows);

  RowExprPool &pool;
  AxisContext &context;
  Rejection &rejection;
  llvm::DenseMap<Value, Rows> known;
};

/// Whether Split takes a dimension of `size` elements into one part each.
bool splitsIntoOnes(onnx::NodeOp split, int64_t size);

/// Split and Slice of the features of the linear map `rows`: calls `define` for
/// each result.
LogicalResult takeParts(onnx::NodeOp node, const Rows &rows, RowExprPool &pool,
                        Rejection &rejection,
                        llvm::function_ref<void(Value, Rows)> define);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_EXPERTROWS_H
