//===- Matchers.h - what the recognisers of ONNX idioms share ---*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Exporters write the same computation with different casts, no-op reshapes,
// operand orders and with constants hidden behind shape arithmetic. These
// functions look through all of that, on values alone: names and metadata of
// the exported file are never consulted.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_ONNXTOMOE_MATCHERS_H
#define MOE_CONVERSION_ONNXTOMOE_MATCHERS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "moe/Dialect/ONNX/IR/ONNXOps.h"

namespace mlir::moe {

//===----------------------------------------------------------------------===//
// Rejections
//===----------------------------------------------------------------------===//

/// Where recognition stopped, and why: what is required and what was found.
struct Rejection {
  Operation *op = nullptr;
  std::string reason;

  /// Records the rejection (the first one stays) and fails.
  LogicalResult at(Operation *where, const llvm::Twine &why);
  explicit operator bool() const { return op != nullptr; }
  /// "node 'n12' (Gather)", or the operation's name for other dialects.
  std::string subject() const;
};

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

/// The node that defines `value`, null when it is something else.
onnx::NodeOp definingNode(Value value);
/// The same, if the node is the operator `opType` of the default domain.
onnx::NodeOp definingNode(Value value, StringRef opType);

/// The rank of a ranked tensor, -1 otherwise.
int64_t rankOf(Value value);
/// The element type of a tensor, null for anything else.
Type elementTypeOf(Value value);

/// `axis`, counted from the front; none when it is out of range.
std::optional<int64_t> normalizeAxis(int64_t axis, int64_t rank);

/// Looks through Identity, and through Cast from one float type to another:
/// the compiled code computes in at least the wider of the two.
Value skipFloatCasts(Value value);
/// Looks through Identity, and through Cast to a float type that holds every
/// value of the source type, so that an order of values is kept as it is.
Value skipExactCasts(Value value);
/// The same, and through Reshape of a matrix to its own shape.
Value skipNoOps(Value value);

/// The elements of a constant, looking through Identity; null when `value` is
/// no small constant.
DenseElementsAttr constantOf(Value value);
/// The value of a float constant of one element, looking through casts,
/// reshapes and negation.
std::optional<double> scalarConstantOf(Value value);
/// Whether `value` is the constant [0, 1]: the values of a mask.
bool isZeroAndOne(Value value);
/// Whether `value` is the integer constant 0, 1, .., count - 1, in order.
bool isIota(Value value, int64_t count);
/// Whether it is that along its last dimension, the others having size 1.
bool isIotaRow(Value value, int64_t count);
/// The value of all elements of a constant, or of a tensor that a constant is
/// spread over.
std::optional<double> splatOf(Value value);

//===----------------------------------------------------------------------===//
// Shape arithmetic
//===----------------------------------------------------------------------===//

/// The size of a dimension: a constant, dimension `dim` of `value` (perhaps
/// times that of another value), the product of all dimensions of `value` but
/// the last, or not known.
struct SymbolicDim {
  static constexpr int64_t kLeading = -1;

  std::optional<int64_t> constant;
  Value value;
  int64_t dim = 0;
  Value otherValue;
  int64_t otherDim = 0;

  static SymbolicDim of(int64_t constant) { return {constant, {}, 0, {}, 0}; }
  static SymbolicDim of(Value value, int64_t dim) {
    return {{}, value, dim, {}, 0};
  }
  bool isKnown() const { return constant || value; }
  /// Whether the two are known to be equal.
  bool operator==(const SymbolicDim &other) const;
};

/// The size of dimension `dim` of `value`, traced back through operators that
/// keep it to where it arises, so that equal sizes compare equal.
SymbolicDim dimOf(Value value, int64_t dim);
/// The number of rows that `value` has as a matrix: the product of all its
/// dimensions but the last, traced back in the same way.
SymbolicDim rowsOf(Value value);

/// The elements of an integer tensor of rank 0 or 1 that is computed from
/// constants and shapes; none when its length is not known.
std::optional<SmallVector<SymbolicDim>> evaluateShape(Value value);
/// The same, if every element is a constant.
std::optional<SmallVector<int64_t>> evaluateInts(Value value);

/// Axes, split sizes and the like: the attribute `name` of older operator sets
/// or input `input` of newer ones. None when absent or not constant.
std::optional<SmallVector<int64_t>> intsOf(onnx::NodeOp node, StringRef name,
                                           unsigned input);

} // namespace mlir::moe

#endif // MOE_CONVERSION_ONNXTOMOE_MATCHERS_H
