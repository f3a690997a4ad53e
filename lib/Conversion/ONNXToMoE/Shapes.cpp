//===- Shapes.cpp - Shape, Expand, Tile, Concat, Split, Transpose ---------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Registry.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

//===----------------------------------------------------------------------===//
// Shape, Size
//===----------------------------------------------------------------------===//

static LogicalResult convertShape(Lowering &l) {
  Tensor x = l.in(0);
  int64_t rank = x->rank();
  auto clamp = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  int64_t start = clamp(l.node.getI64("start", 0));
  int64_t end = std::max(start, clamp(l.node.getI64("end", rank)));
  Dims elements(x->dims.begin() + start, x->dims.begin() + end);
  return l.set(l.tensor(l.b.getI64Type(), Dims{end - start}, elements));
}

static LogicalResult convertSize(Lowering &l) {
  return l.set(
      l.tensor(l.b.getI64Type(), Dims(), Dims{product(l.in(0)->dims)}));
}

//===----------------------------------------------------------------------===//
// Expand, Tile
//===----------------------------------------------------------------------===//

/// A copy of `x` over `dims`, which it broadcasts to. Upstream's elementwise
/// fusion folds it into its consumers.
static Tensor copyTo(Lowering &l, Tensor x, const Dims &dims) {
  if (x->dims == dims)
    return x;
  if (product(x->dims) == product(dims) && x->rank() <= int64_t(dims.size()))
    return l.reshape(x, dims); // only dimensions of size 1 are added
  return l.elementwise(
      x, dims, x->elementType,
      [](ImplicitLocOpBuilder &, ValueRange args) { return args.front(); });
}

static LogicalResult convertExpand(Lowering &l) {
  Tensor x = l.in(0);
  FailureOr<Dims> shape = l.elements(l.in(1), "the shape");
  if (failed(shape))
    return failure();
  for (const Expr &d : *shape)
    if (failed(l.checkSize(d)))
      return failure();
  TensorInfo target;
  target.dims = *shape;
  FailureOr<Dims> dims = l.broadcast({x, &target});
  if (failed(dims) || failed(l.checkElements(*dims)))
    return failure();
  if (x->elements && dims->size() <= 1) {
    std::optional<int64_t> n = product(*dims).constant();
    if (n && *n <= 32)
      return l.set(l.tensor(x->elementType, *dims,
                            x->elements->size() == 1
                                ? Dims(*n, x->elements->front())
                                : *x->elements));
  }
  return l.set(copyTo(l, x, *dims));
}

static LogicalResult convertTile(Lowering &l) {
  Tensor x = l.in(0);
  FailureOr<Dims> repeats = l.elements(l.in(1), "repeats");
  if (failed(repeats))
    return failure();
  if (static_cast<int64_t>(repeats->size()) != x->rank())
    return l.error() << "expects one repeat per dimension, got "
                     << repeats->size() << " for rank " << x->rank();
  // [d0, d1] -> [1, d0, 1, d1] -> [r0, d0, r1, d1] -> [r0 * d0, r1 * d1]
  Dims split, repeated, merged;
  for (auto [r, d] : llvm::zip_equal(*repeats, x->dims)) {
    if (failed(l.checkSize(r, "repeat")))
      return failure();
    if (!r.is(1)) {
      split.push_back(1);
      repeated.push_back(r);
    }
    split.push_back(d);
    repeated.push_back(d);
    merged.push_back(r * d);
  }
  if (failed(l.checkElements(repeated)))
    return failure();
  Tensor result = copyTo(l, l.reshape(x, split), repeated);
  return l.set(l.reshape(result, merged));
}

//===----------------------------------------------------------------------===//
// Concat, Split, Transpose
//===----------------------------------------------------------------------===//

/// Lists of sizes; null when the operands are something else.
static FailureOr<Tensor> concatSizes(Lowering &l, ArrayRef<Tensor> operands) {
  bool some =
      llvm::any_of(operands, [](Tensor t) { return bool(t->elements); });
  int64_t total = 0;
  for (Tensor t : operands) {
    if (!some || !t->isInteger() || t->isUnsigned() || t->rank() != 1 ||
        !t->dims[0].constant())
      return Tensor();
    total += *t->dims[0].constant();
  }
  if (total > 32)
    return Tensor();
  Dims elements;
  for (Tensor t : operands) {
    FailureOr<Dims> part = l.elements(t, "a part of a shape");
    if (failed(part))
      return failure();
    elements.append(*part);
  }
  return l.tensor(operands.front()->elementType, Dims{total}, elements);
}

FailureOr<Tensor> raise::concat(Lowering &l, ArrayRef<Tensor> operands,
                                int64_t along) {
  Tensor first = operands.front();
  for (Tensor t : operands) {
    if (t->elementType != first->elementType)
      return l.error() << "expects inputs of one type, got "
                       << first->elementType << " and " << t->elementType;
    if (t->rank() != first->rank())
      return l.error() << "expects inputs of one rank, got " << first->rank()
                       << " and " << t->rank();
  }
  FailureOr<int64_t> axis = l.axis(along, first->rank());
  if (failed(axis))
    return failure();
  FailureOr<Tensor> sizes = concatSizes(l, operands);
  if (failed(sizes))
    return failure();
  if (*sizes)
    return *sizes;

  // The sizes beside the axis agree; the most that is known of one holds for
  // all.
  Dims dims = first->dims;
  dims[*axis] = 0;
  for (Tensor t : operands)
    for (int64_t i = 0; i < first->rank(); ++i) {
      if (i == *axis)
        dims[i] = dims[i] + t->dims[i];
      else if (t->dims[i].constant())
        dims[i] = t->dims[i];
    }
  SmallVector<Value> values;
  for (Tensor t : operands) {
    Dims cast = dims;
    cast[*axis] = t->dims[*axis];
    for (int64_t i = 0; i < first->rank(); ++i) {
      if (t->dims[i].constant() && cast[i].constant() && t->dims[i] != cast[i])
        return l.error() << "expects sizes that agree beside the axis, got "
                         << *t->dims[i].constant() << " and "
                         << *cast[i].constant();
      l.checkEqual(
          t->dims[i], cast[i],
          "expects sizes that agree beside the axis, got {found} and {limit}");
    }
    if (!cast[*axis].is(0))
      values.push_back(l.cast(l.value(t), cast));
  }
  Type type = first->elementType;
  if (values.empty())
    return l.tensor(l.empty(dims, type), type, dims);
  if (values.size() == 1)
    return l.tensor(values.front(), type, dims);
  Value result =
      tensor::ConcatOp::create(l.b, l.type(dims, type), *axis, values);
  return l.tensor(result, type, dims);
}

FailureOr<Tensor> raise::stack(Lowering &l, ArrayRef<Tensor> parts,
                               int64_t axis) {
  FailureOr<int64_t> at = l.axis(axis, parts.front()->rank() + 1);
  if (failed(at))
    return failure();
  SmallVector<Tensor> units;
  for (Tensor t : parts) {
    if (t->rank() != parts.front()->rank())
      return l.error() << "expects tensors of one rank, got "
                       << parts.front()->rank() << " and " << t->rank();
    Dims dims = t->dims;
    dims.insert(dims.begin() + *at, Expr(1));
    units.push_back(l.reshape(t, dims));
  }
  return concat(l, units, *at);
}

static LogicalResult convertConcat(Lowering &l) {
  SmallVector<Tensor> operands;
  for (unsigned i = 0; i < l.node.getInputs().size(); ++i)
    operands.push_back(l.in(i));
  FailureOr<Tensor> result = concat(l, operands, l.node.getI64("axis", 1));
  return failed(result) ? failure() : l.set(*result);
}

/// The sizes of the outputs along the axis.
static FailureOr<Dims> splitSizes(Lowering &l, const Expr &size) {
  onnx::NodeOp node = l.node;
  int64_t count = node.getOutputs().size();
  if (auto attr = node.getI64s("split"))
    return Dims(attr->begin(), attr->end());
  if (Tensor split = l.optional(1))
    return l.elements(split, "split");
  if (node.getI64("num_outputs", count) != count)
    return l.error() << "expects num_outputs to be the number of outputs, got "
                     << node.getI64("num_outputs", 0) << " and " << count;
  // Version 18 makes the last part smaller; before, the parts were equal, and
  // an uneven split ends in the check of the sum.
  Expr chunk = l.sizes.ceilDiv(size, count);
  Dims sizes(count, chunk);
  if (node.getOpset() >= 18)
    sizes.back() = size - chunk * Expr(count - 1);
  return sizes;
}

static LogicalResult convertSplit(Lowering &l) {
  Tensor x = l.in(0);
  FailureOr<int64_t> axis = l.axis(l.node.getI64("axis", 0), x->rank());
  if (failed(axis))
    return failure();
  FailureOr<Dims> sizes = splitSizes(l, x->dims[*axis]);
  if (failed(sizes))
    return failure();
  if (sizes->size() < l.node.getOutputs().size())
    return l.error() << "expects a size per output, got " << sizes->size();
  Expr total;
  for (const Expr &s : *sizes) {
    if (failed(l.checkSize(s)))
      return failure();
    // A sum that wraps could be the size, too.
    if (s.constant() || l.sizes.isData(s))
      l.checkLessOrEqual(s, x->dims[*axis],
                         "expects sizes of at most {limit}, the size of the "
                         "axis, got {found}");
    total = total + s;
  }
  if (total.constant() && x->dims[*axis].constant() && total != x->dims[*axis])
    return l.error() << "expects sizes that sum to the axis, got "
                     << *total.constant() << " and "
                     << *x->dims[*axis].constant();
  l.checkEqual(
      total, x->dims[*axis],
      "expects sizes that sum to {limit}, the size of the axis, got {found}");
  Dims offsets(x->rank(), Expr(0)), dims = x->dims;
  for (unsigned i = 0; i < l.node.getOutputs().size(); ++i) {
    dims[*axis] = (*sizes)[i];
    std::optional<int64_t> at = offsets[*axis].constant(),
                           n = (*sizes)[i].constant();
    Tensor part = nullptr;
    if (x->elements && x->rank() == 1 && at && n)
      part = l.tensor(
          x->elementType, dims,
          Dims(x->elements->begin() + *at, x->elements->begin() + *at + *n));
    else
      part = l.slice(x, offsets, dims);
    if (failed(l.set(i, part)))
      return failure();
    offsets[*axis] = offsets[*axis] + (*sizes)[i];
  }
  return success();
}

static LogicalResult convertTranspose(Lowering &l) {
  Tensor x = l.in(0);
  SmallVector<int64_t> permutation =
      llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, x->rank())));
  if (auto attr = l.node.getI64s("perm")) {
    FailureOr<SmallVector<int64_t>> axes = l.axes(*attr, x->rank());
    if (failed(axes))
      return failure();
    if (static_cast<int64_t>(axes->size()) != x->rank())
      return l.error() << "expects perm to name every axis, got "
                       << axes->size() << " for rank " << x->rank();
    permutation = *axes;
  }
  return l.set(l.transpose(x, permutation));
}

void raise::addShapes(Registry &r) {
  r.add({
      {"Shape", 1, kLatest, convertShape, 1, 1, "start end"},
      {"Size", 1, kLatest, convertSize, 1, 1, ""},
      {"Expand", 8, kLatest, convertExpand, 2, 2, "", "",
       "a shape of at most 32 elements"},
      {"Tile", 6, kLatest, convertTile, 2, 2, "", "", "at most 32 repeats"},
      {"Concat", 4, kLatest, convertConcat, 1, kVariadic, "axis"},
      {"Split", 2, kLatest, convertSplit, 1, 2, "axis split num_outputs", "",
       "at most 32 split sizes as data"},
      {"Transpose", 1, kLatest, convertTranspose, 1, 1, "perm"},
  });
}
