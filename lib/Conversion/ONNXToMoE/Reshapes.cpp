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

/// Resolves 0 ("as in the input") and -1 ("what is left"). Data may decide at
/// run time which of them a size is; a size of symbolic dimensions is neither,
/// except that it may be 0, and then so is the input's.
static FailureOr<Dims> resolveShape(Lowering &l, const Dims &from,
                                    const Dims &shape) {
  Sizes &s = l.sizes;
  bool allowZero = l.node.getI64("allowzero", 0) != 0;
  Dims dims;
  // 1 where the size is to be inferred, 0 where it is not.
  Dims inferred;
  for (auto [i, d] : llvm::enumerate(shape)) {
    std::optional<int64_t> size = d.constant();
    if (size && *size < -1)
      return l.error() << "expects sizes of at least -1, got " << *size;
    if (size == 0 && !allowZero && i >= from.size())
      return l.error() << "expects a dimension " << i
                       << " in the input to copy, got rank " << from.size();
    bool isSize = s.isNonNegative(d) && !size;
    Expr copied = isSize || allowZero || i >= from.size()
                      ? d
                      : s.select(s.equal(d, 0), from[i], d);
    inferred.push_back(isSize ? Expr(0) : s.equal(d, -1));
    dims.push_back(s.select(inferred.back(), 1, copied));
  }
  Expr count;
  for (const Expr &i : inferred)
    count = count + i;
  if (count.is(0))
    return dims;
  if (count.constant().value_or(1) > 1)
    return l.error() << "expects one -1 in the shape";
  l.checkLessOrEqual(count, 1, "expects one -1 in the shape, got {found}");
  Expr total = product(from), known = product(dims);
  // The check of the number of elements finds a remainder.
  std::optional<Expr> exact = total.exactQuotient(known);
  Expr rest = exact ? *exact : s.floorDiv(total, s.max(known, 1));
  for (auto [d, isInferred] : llvm::zip_equal(dims, inferred))
    d = s.select(isInferred, rest, d);
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
  if (failed(dims))
    return failure();
  for (const Expr &d : *dims)
    if (failed(l.checkSize(d)))
      return failure();
  if (failed(l.checkSameSize(x->dims, *dims)))
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
      l.checkEqual(x->dims[axis], 1,
                   "expects size {limit} along a squeezed axis, got {found}");
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
  return l.set(l.reshape(
      x, {product(dims.take_front(axis)), product(dims.drop_front(axis))}));
}

void raise::addReshapes(Registry &r) {
  r.add({
      {"Reshape", 1, kLatest, convertReshape, 1, 2, "shape allowzero", "",
       "a shape of at most 32 elements"},
      {"Squeeze", 1, kLatest, convertSqueeze, 1, 2, "axes", "",
       "constant axes; without axes, static sizes"},
      {"Unsqueeze", 1, kLatest, convertUnsqueeze, 1, 2, "axes", "",
       "constant axes"},
      {"Flatten", 1, kLatest, convertFlatten, 1, 1, "axis"},
  });
}
