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

namespace mlir::moe {

struct AxisAtom {
  enum Role {
    Token,   // the tokens of the batch
    Choice,  // the k choices of a token
    Row,     // second dimension of a gathered weight
    Column,  // third dimension of a gathered weight
    Feature, // the elements of a row
  };
  Role role;
  int64_t size; // kDynamic when not known

  bool operator==(const AxisAtom &other) const {
    return role == other.role && size == other.size;
  }
};

/// One dimension of a tensor: the product of its atoms, outermost first. No
/// atom: a dimension of size 1. Tokens x choices in one dimension is
/// [Token, Choice].
using Axis = SmallVector<AxisAtom, 2>;

/// What is fixed for one block.
struct AxisContext {
  int64_t k;
  /// The number of tokens.
  SymbolicDim tokens;

  Axis token() const;
  /// No atom for k = 1: a dimension of size 1 has nothing to tell apart.
  Axis choice() const;
};

using AxisLayout = SmallVector<Axis, 4>;

/// Whether the layout holds exactly one atom of `role`.
bool hasRole(const AxisLayout &layout, AxisAtom::Role role);
/// Whether the axis is the single atom of `role`.
bool isAxis(const Axis &axis, AxisAtom::Role role);
/// "[token, choice x feature]", for messages.
std::string describe(const AxisLayout &layout);

/// Identity, Cast, Reshape, Unsqueeze, Squeeze, Flatten, Transpose, Expand and
/// Tile: operators that only move axes about, given what they do here.
bool movesAxes(onnx::NodeOp node);
/// The layout of `node`'s result for a first input of layout `source`.
FailureOr<AxisLayout> moveAxes(onnx::NodeOp node, const AxisLayout &source,
                               const AxisContext &context,
                               Rejection &rejection);
/// The layout of an elementwise operator's result; none when the operands do
/// not line up.
std::optional<AxisLayout> broadcastAxes(const AxisLayout &a,
                                        const AxisLayout &b);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_AXISLAYOUT_H
