//===- Reshapes.cpp - Reshape, Squeeze, Unsqueeze, Flatten ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Registry.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

/// Resolves 0 ("as in the input") and -1 ("what is left"). A size that is only
/// known at run time is taken as it is, and checked not to be negative.
static FailureOr<Dims> resolveShape(Lowering &l, const Dims &from,
                                    const Dims &shape) {
  bool allowZero = l.node.getI64("allowzero", 0) != 0;
  Dims dims;
  std::optional<size_t> inferred;
  for (auto [i, d] : llvm::enumerate(shape)) {
    std::optional<int64_t> size = d.constant();
    if (size == 0 && !allowZero) {
      if (i >= from.size())
        return l.error() << "expects a dimension " << i
                         << " in the input to copy, got rank " << from.size();
      dims.push_back(from[i]);
      continue;
    }
    if (size == -1) {
      if (inferred)
        return l.error() << "expects one -1 in the shape";
      inferred = i;
      dims.push_back(1);
      continue;
    }
    if (size && *size < 0)
      return l.error() << "expects sizes of at least -1, got " << *size;
    l.checkLessOrEqual(0, d, "expects no negative size");
    dims.push_back(d);
  }
  if (!inferred)
    return dims;
  Expr total = product(from), known = product(dims);
  if (std::optional<Expr> rest = total.exactQuotient(known))
    dims[*inferred] = *rest;
  else // the check of the number of elements finds a remainder
    dims[*inferred] = l.sizes.floorDiv(total, l.sizes.max(known, 1));
  return dims;
}

static LogicalResult convertReshape(Lowering &l) {
  Tensor x = l.in(0);
  Dims shape;
  if (l.node.getOpset() >= 5) {
    if (!l.optional(1))
      return l.error() << "expects a shape";
    FailureOr<Dims> elements = l.elements(l.in(1), "the shape");
    if (failed(elements))
      return failure();
    shape = *elements;
  } else {
    auto attr = l.node.getI64s("shape").value_or(ArrayRef<int64_t>());
    shape.assign(attr.begin(), attr.end());
  }
  FailureOr<Dims> dims = resolveShape(l, x->dims, shape);
  if (failed(dims) || failed(l.checkSameSize(x->dims, *dims)))
    return failure();
  return l.set(l.reshape(x, *dims));
}

/// The axes of Squeeze and Unsqueeze: an input since version 13.
static FailureOr<std::optional<SmallVector<int64_t>>> axesOf(Lowering &l) {
  std::optional<SmallVector<int64_t>> axes;
  if (auto attr = l.node.getI64s("axes"))
    axes.emplace(attr->begin(), attr->end());
  if (Tensor t = l.optional(1)) {
    axes = l.constants(t);
    if (!axes)
      return l.error() << "expects constant axes";
  }
  return axes;
}

static LogicalResult convertSqueeze(Lowering &l) {
  Tensor x = l.in(0);
  auto given = axesOf(l);
  if (failed(given))
    return failure();
  SmallVector<bool> drop(x->rank(), false);
  if (*given) {
    FailureOr<SmallVector<int64_t>> axes = l.axes(**given, x->rank());
    if (failed(axes))
      return failure();
    for (int64_t axis : *axes) {
      drop[axis] = true;
      if (auto size = x->dims[axis].constant(); size && *size != 1)
        return l.error() << "expects size 1 along axis " << axis << ", got "
                         << *size;
      l.checkEqual(x->dims[axis], 1, "expects size 1 along a squeezed axis");
    }
  } else {
    for (int64_t i = 0; i < x->rank(); ++i) {
      if (!x->dims[i].constant())
        return l.error() << "expects axes where a size is not static";
      drop[i] = x->dims[i].is(1);
    }
  }
  Dims dims;
  for (int64_t i = 0; i < x->rank(); ++i)
    if (!drop[i])
      dims.push_back(x->dims[i]);
  return l.set(l.reshape(x, dims));
}

static LogicalResult convertUnsqueeze(Lowering &l) {
  Tensor x = l.in(0);
  auto given = axesOf(l);
  if (failed(given))
    return failure();
  if (!*given)
    return l.error() << "expects axes";
  int64_t rank = x->rank() + (*given)->size();
  FailureOr<SmallVector<int64_t>> axes = l.axes(**given, rank);
  if (failed(axes))
    return failure();
  Dims dims;
  for (int64_t i = 0, from = 0; i < rank; ++i)
    dims.push_back(llvm::is_contained(*axes, i) ? Expr(1) : x->dims[from++]);
  return l.set(l.reshape(x, dims));
}

static LogicalResult convertFlatten(Lowering &l) {
  Tensor x = l.in(0);
  int64_t axis = l.node.getI64("axis", 1), rank = x->rank();
  if (axis < -rank || axis > rank)
    return l.error() << "expects an axis in [" << -rank << ", " << rank
                     << "], got " << axis;
  if (axis < 0)
    axis += rank;
  ArrayRef<Expr> dims = x->dims;
  return l.set(l.reshape(x, {product(dims.take_front(axis)),
                             product(dims.drop_front(axis))}));
}

void raise::addReshapes(Registry &r) {
  r.add({
      {"Reshape", 1, kLatest, convertReshape, 1, 2, "shape allowzero"},
      {"Squeeze", 1, kLatest, convertSqueeze, 1, 2, "axes"},
      {"Unsqueeze", 1, kLatest, convertUnsqueeze, 1, 2, "axes"},
      {"Flatten", 1, kLatest, convertFlatten, 1, 1, "axis"},
  });
}
