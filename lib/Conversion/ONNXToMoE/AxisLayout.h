//===- AxisLayout.h - what the axes of an intermediate mean --- -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Between the router and the weighted sum an exporter moves the same few axes
// about: tokens, choices, features. A tensor is followed through reshapes,
// expansions and transposes by what each of its axes *means*, so that it does
// not matter which of the many equivalent sequences was written.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_AXISLAYOUT_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_AXISLAYOUT_H

#include "moe/Conversion/ONNXToMoE/Matchers.h"
#include <functional>

namespace mlir::moe {

struct AxisAtom {
  enum Role {
    Token,      // the tokens of the batch
    Batch,      // outer and inner part of the tokens,
    Sequence,   //   where they are kept in two dimensions
    Choice,     // the k choices of a token
    Expert,     // all experts
    Hit,        // the (token, choice) pairs of expert `expert`
    Sorted,     // the (token, choice) pairs of all experts, in expert order
    Coordinate, // the indices that NonZero gives per hit
    Row,        // second dimension of a gathered weight
    Column,     // third dimension of a gathered weight
    Feature,    // the elements of a row
    Group,      // the groups that experts form
    Member,     // the experts of a group
  };
  Role role;
  int64_t size; // kDynamic when not known
  int64_t expert = 0;

  bool operator==(const AxisAtom &other) const {
    return role == other.role && size == other.size && expert == other.expert;
  }
};

/// One dimension of a tensor: the product of its atoms, outermost first. No
/// atom: a dimension of size 1. Tokens x choices in one dimension is
/// [Token, Choice].
using Axis = SmallVector<AxisAtom, 2>;

using AxisLayout = SmallVector<Axis, 4>;

/// What is fixed for one block.
struct AxisContext {
  /// For scores of shape [tokens, experts] or [batch, sequence, experts], by
  /// which k experts are chosen.
  AxisContext(Value scores, int64_t k, int64_t experts);

  int64_t k, experts;
  SymbolicDim tokens;
  /// Known when tokens are kept in two dimensions somewhere.
  SymbolicDim batch, sequence;
  /// Whether a reshape may divide the tokens into two dimensions.
  bool mayDivide = false;
  /// What Expand and Tile repeat a dimension of size 1 for.
  AxisAtom::Role repeated = AxisAtom::Choice;
  /// Whether a size that was read from a tensor's shape is that of the atom,
  /// for atoms whose size is only known to the tensors that have it.
  std::function<bool(const SymbolicDim &, const AxisAtom &)> isSizeOf;

  Axis token() const;
  /// `k` choices, or members of a group if those are what is repeated. No atom
  /// for k = 1: a dimension of size 1 has nothing to tell apart.
  Axis choice() const;
  Axis expert() const { return {AxisAtom{AxisAtom::Expert, experts}}; }
  /// The axes of the expert ids.
  AxisLayout chosen() const;
  /// [tokens, features], the same with a dimension of size 1 somewhere in
  /// front, or [batch, sequence, features], whichever `value` is known to be.
  std::optional<AxisLayout> tokenRows(Value value);

  /// The size of an atom of tokens, unknown for others.
  SymbolicDim sizeOf(const AxisAtom &atom) const;
  bool hasSize(const AxisAtom &atom, const SymbolicDim &dim) const;

private:
  int64_t rank;
};

/// Whether the layout holds exactly one atom of `role`.
bool hasRole(const AxisLayout &layout, AxisAtom::Role role);
/// Whether the axis is the single atom of `role`.
bool isAxis(const Axis &axis, AxisAtom::Role role);
/// Whether these are rows of features, one per token: [token, feature] or
/// [batch, sequence, feature].
bool isTokenRows(const AxisLayout &layout);
/// "[token, choice x feature]", for messages.
std::string describe(const AxisLayout &layout);

/// Identity, Cast, Reshape, Unsqueeze, Squeeze, Flatten, Transpose, Expand and
/// Tile: operators that only move axes about, given what they do here.
bool movesAxes(onnx::NodeOp node);
/// The layout of `node`'s result for a first input of layout `source`.
FailureOr<AxisLayout> moveAxes(onnx::NodeOp node, const AxisLayout &source,
                               AxisContext &context, Rejection &rejection);
/// The layout of an elementwise operator's result; none when the operands do
/// not line up.
std::optional<AxisLayout> broadcastAxes(const AxisLayout &a,
                                        const AxisLayout &b);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_AXISLAYOUT_H
