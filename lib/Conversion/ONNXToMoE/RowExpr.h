//===- RowExpr.h - what an expert computes for one row -------- -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An expert is a scalar expression: linear maps of the token's row, combined
// element by element. Every recogniser describes what it found in these terms;
// one emitter turns them into moe.grouped_matmul with epilogues.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_ROWEXPR_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_ROWEXPR_H

#include "QuantizedWeights.h"
#include "moe/Conversion/ONNXToMoE/Matchers.h"
#include <deque>

namespace mlir {
class OpBuilder;

namespace moe {

enum class RowFunction {
  Add,
  Sub,
  Mul,
  Div,
  Max,
  Min,
  Pow,
  Neg,
  Abs,
  Exp,
  Log,
  Sqrt,
  Tanh,
  Erf,
  Sigmoid,
  Softplus,
};

/// A parameter of all experts: one tensor whose first dimension is the expert,
/// or one tensor for each of them.
struct ExpertOperand {
  /// What one expert has: `value`, or its slice `index` of dimension 0.
  struct Part {
    Value value;
    int64_t index = -1;
  };

  ExpertOperand() = default;
  ExpertOperand(Value stacked) : stacked(stacked) {}

  Value stacked;
  SmallVector<Part, 1> parts;

  explicit operator bool() const { return stacked || !parts.empty(); }
  /// The type of the stacked tensor, for slices of rank `rank`; dimensions of
  /// size 1 in front of a vector do not count. Null when shapes are dynamic,
  /// differ between the experts or do not fit.
  RankedTensorType stackedType(int64_t rank) const;
};

struct RowExpr {
  enum Kind { Linear, Scalar, Apply } kind;

  // Linear: element n is sum over k of input[k] * weight[e, begin + n * step,
  // k] plus bias[e, biasBegin + n * biasStep].
  ExpertOperand weight; // [E, N, K], or [E, K, N] when `inputMajor`
  bool inputMajor = false;
  /// What `weight`, which is no float then, stands for.
  std::optional<QuantizedWeights> quantized;
  int64_t begin = 0, size = 0, step = 1;
  ExpertOperand bias; // [E, N], optional
  int64_t biasBegin = 0, biasStep = 1;
  const RowExpr *input = nullptr; // null: the token's row
  /// The node that multiplies, for messages.
  Operation *origin = nullptr;

  // Scalar
  double scalar = 0;

  // Apply
  RowFunction function = RowFunction::Add;
  SmallVector<const RowExpr *, 2> arguments;

  /// N and K of a linear map.
  int64_t columns() const;
  int64_t depth() const;
  /// Elements per row; 0 for a scalar, which is the same for all of them.
  int64_t width() const;
};

/// Owns expressions.
class RowExprPool {
public:
  const RowExpr *scalar(double value);
  const RowExpr *apply(RowFunction function,
                       ArrayRef<const RowExpr *> arguments);
  const RowExpr *add(RowExpr expr);

  /// What all experts compute, given one expression for each, whose linear maps
  /// have one part. Null when they do not all compute alike; `differs` then is
  /// the first one that does not compute what the first expert does.
  const RowExpr *stack(ArrayRef<const RowExpr *> experts, int64_t &differs);

  /// x * sigmoid(alpha * x), x / 2 * (1 + erf(x / sqrt 2)), and the like.
  const RowExpr *sigmoidGated(const RowExpr *x, double alpha = 1);
  const RowExpr *geluErf(const RowExpr *x);
  const RowExpr *geluTanh(const RowExpr *x);
  const RowExpr *relu(const RowExpr *x);

  /// What the elementwise operator `node` computes; `operand(i)` gives its i-th
  /// input as an expression, or null when that is no expression.
  const RowExpr *
  elementwise(onnx::NodeOp node,
              llvm::function_ref<const RowExpr *(unsigned)> operand);

private:
  using Stacked =
      DenseMap<const RowExpr *,
               std::pair<SmallVector<const RowExpr *>, const RowExpr *>>;
  const RowExpr *stack(ArrayRef<const RowExpr *> experts, int64_t &differs,
                       Stacked &stacked, unsigned depth);

  std::deque<RowExpr> storage;
};

/// Whether `elementwise` knows the operator.
bool isElementwise(onnx::NodeOp node);

/// Calls `visit` for each linear map that `expr` is made of, without going into
/// the inputs of those. Each one once.
void forEachLinear(const RowExpr *expr,
                   llvm::function_ref<void(const RowExpr *)> visit);

/// Whether `expr` is 0 where the token's row is.
bool isZeroForZeros(const RowExpr *expr);

/// The value of `expr` for one element; `linear` gives that of a linear map.
Value emitScalar(OpBuilder &builder, Location loc, Type type,
                 const RowExpr *expr,
                 llvm::function_ref<Value(const RowExpr *)> linear);

} // namespace moe
} // namespace mlir

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_ROWEXPR_H
