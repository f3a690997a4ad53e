//===- Indexing.cpp - Slice, Gather*, Compress, OneHot, Trilu, Pad --------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every index that data provides is checked before the loop that uses it.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

using Body = function_ref<Value(ImplicitLocOpBuilder &, ValueRange at,
                                ValueRange indices)>;

/// A new tensor whose elements are computed from the loop indices and from
/// elements of `indices`, each read through its map.
static Tensor gather(Lowering &l, const Dims &dims, Type elementType,
                     ArrayRef<Operand> indices, Body body) {
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  for (const Operand &in : indices) {
    inputs.push_back(in.value);
    maps.push_back(in.map);
  }
  Value init = l.empty(dims, elementType);
  maps.push_back(l.b.getMultiDimIdentityMap(dims.size()));
  auto op = linalg::GenericOp::create(
      l.b, TypeRange{init.getType()}, inputs, ValueRange{init}, maps,
      parallel(dims.size()),
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        SmallVector<Value> at;
        for (size_t i = 0; i < dims.size(); ++i)
          at.push_back(linalg::IndexOp::create(b, i));
        linalg::YieldOp::create(b, body(b, at, args.drop_back()));
      });
  return l.tensor(op.getResult(0), elementType, dims);
}

//===----------------------------------------------------------------------===//
// Slice
//===----------------------------------------------------------------------===//

namespace {
struct SliceAxis {
  Expr start, length;
  int64_t step = 1;
};
} // namespace

/// The start, length and step along one axis, as ONNX clamps them.
static SliceAxis sliceAxis(Sizes &s, const Expr &start, const Expr &end,
                           int64_t step, const Expr &size) {
  auto clamp = [&](const Expr &e, const Expr &low, const Expr &high) {
    Expr at = e;
    if (std::optional<int64_t> c = e.constant()) {
      if (*c == INT64_MIN)
        return low;
      at = *c < 0 ? size + e : e;
    } else if (!s.isNonNegative(e)) {
      at = s.select(s.less(e, 0), e + size, e);
    }
    return s.min(s.max(at, low), high);
  };
  SliceAxis result;
  result.step = step;
  if (step > 0) {
    result.start = clamp(start, 0, size);
    Expr span = clamp(end, 0, size) - result.start;
    result.length = s.max(s.ceilDiv(span, step), 0);
  } else {
    result.start = clamp(start, 0, size - 1);
    Expr span = result.start - clamp(end, -1, size - 1);
    result.length = s.max(s.ceilDiv(span, -step), 0);
  }
  return result;
}

/// Starts, ends, axes and steps: attributes before version 10.
static LogicalResult sliceArguments(Lowering &l, int64_t rank, Dims &starts,
                                    Dims &ends, SmallVector<int64_t> &axes,
                                    SmallVector<int64_t> &steps) {
  auto attribute = [&](StringRef name) {
    auto values = l.node.getI64s(name).value_or(ArrayRef<int64_t>());
    return Dims(values.begin(), values.end());
  };
  if (l.node.getOpset() < 10) {
    starts = attribute("starts");
    ends = attribute("ends");
    if (auto attr = l.node.getI64s("axes"))
      axes.assign(attr->begin(), attr->end());
  } else {
    if (!l.optional(1) || !l.optional(2))
      return l.error() << "expects starts and ends";
    FailureOr<Dims> s = l.elements(l.in(1), "starts");
    FailureOr<Dims> e = l.elements(l.in(2), "ends");
    if (failed(s) || failed(e))
      return failure();
    starts = *s;
    ends = *e;
    for (auto [i, list] : {std::pair(3, &axes), std::pair(4, &steps)})
      if (Tensor t = l.optional(i)) {
        std::optional<SmallVector<int64_t>> values = l.constants(t);
        if (!values)
          return l.error() << "expects constant axes and steps";
        *list = *values;
      }
  }
  if (axes.empty())
    axes = llvm::to_vector(llvm::seq<int64_t>(0, starts.size()));
  if (steps.empty())
    steps.assign(starts.size(), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size() ||
      steps.size() != starts.size())
    return l.error() << "expects starts, ends, axes and steps of one length";
  FailureOr<SmallVector<int64_t>> wrapped = l.axes(axes, rank);
  if (failed(wrapped))
    return failure();
  axes = *wrapped;
  if (llvm::is_contained(steps, 0))
    return l.error() << "expects no step of 0";
  return success();
}

static LogicalResult convertSlice(Lowering &l) {
  Tensor x = l.in(0);
  Dims starts, ends;
  SmallVector<int64_t> axes, steps;
  if (failed(sliceArguments(l, x->rank(), starts, ends, axes, steps)))
    return failure();
  Dims offsets(x->rank(), Expr(0)), dims = x->dims;
  SmallVector<int64_t> strides(x->rank(), 1);
  for (auto [axis, start, end, step] :
       llvm::zip_equal(axes, starts, ends, steps)) {
    SliceAxis s = sliceAxis(l.sizes, start, end, step, x->dims[axis]);
    offsets[axis] = s.start;
    dims[axis] = s.length;
    strides[axis] = step;
  }
  if (x->elements && x->rank() == 1)
    if (auto at = offsets[0].constant(), n = dims[0].constant(); at && n) {
      Dims elements;
      for (int64_t i = 0; i < *n; ++i)
        elements.push_back((*x->elements)[*at + i * strides[0]]);
      return l.set(l.tensor(x->elementType, dims, elements));
    }
  if (llvm::all_of(strides, [](int64_t s) { return s > 0; }))
    return l.set(l.slice(x, offsets, dims, strides));
  // tensor.extract_slice is not defined for negative strides.
  Value source = l.value(x);
  SmallVector<Value> first, by;
  for (int64_t i = 0; i < x->rank(); ++i) {
    first.push_back(l.index(offsets[i]));
    by.push_back(l.index(strides[i]));
  }
  return l.set(l.generate(
      dims, x->elementType, [&](ImplicitLocOpBuilder &b, ValueRange at) {
        SmallVector<Value> from;
        for (auto [i, index] : llvm::enumerate(at)) {
          Value offset = arith::MulIOp::create(b, index, by[i]);
          from.push_back(arith::AddIOp::create(b, first[i], offset));
        }
        return tensor::ExtractOp::create(b, source, from).getResult();
      }));
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

/// One index that is a size: a slice instead of a loop.
static Tensor gatherOne(Lowering &l, Tensor data, int64_t axis,
                        const Expr &index, const Dims &dims) {
  const Expr &size = data->dims[axis];
  Expr at = index;
  if (std::optional<int64_t> c = index.constant())
    at = *c < 0 ? size + index : index;
  else if (!l.sizes.isNonNegative(index))
    at = l.sizes.select(l.sizes.less(index, 0), index + size, index);
  Dims offsets(data->rank(), Expr(0)), taken = data->dims;
  offsets[axis] = at;
  taken[axis] = 1;
  return l.reshape(l.slice(data, offsets, taken), dims);
}

static LogicalResult convertGather(Lowering &l) {
  Tensor data = l.in(0), indices = l.in(1);
  FailureOr<int64_t> found = l.axis(l.node.getI64("axis", 0), data->rank());
  if (failed(found))
    return failure();
  int64_t axis = *found, q = indices->rank();
  Dims dims(data->dims.begin(), data->dims.begin() + axis);
  dims.append(indices->dims.begin(), indices->dims.end());
  dims.append(data->dims.begin() + axis + 1, data->dims.end());
  Expr size = data->dims[axis];
  if (failed(l.checkIndices(indices, size)))
    return failure();
  std::optional<SmallVector<int64_t>> known = l.constants(indices);
  if (known && data->elements && data->rank() == 1) {
    Dims elements;
    for (int64_t i : *known)
      elements.push_back(
          (*data->elements)[i < 0 ? i + data->elements->size() : i]);
    return l.set(l.tensor(data->elementType, dims, elements));
  }
  if (indices->elements && indices->elements->size() == 1)
    return l.set(gatherOne(l, data, axis, indices->elements->front(), dims));

  Value source = l.value(data), n = l.index(size);
  SmallVector<AffineExpr> exprs;
  for (int64_t i = 0; i < q; ++i)
    exprs.push_back(l.b.getAffineDimExpr(axis + i));
  Operand in{l.value(indices),
             AffineMap::get(dims.size(), 0, exprs, l.b.getContext())};
  bool isUnsigned = indices->isUnsigned();
  return l.set(
      gather(l, dims, data->elementType, in,
             [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange index) {
               SmallVector<Value> from(at.take_front(axis));
               from.push_back(isUnsigned ? Value(arith::IndexCastUIOp::create(
                                               b, b.getIndexType(), index[0]))
                                         : Lowering::wrapIndex(b, index[0], n));
               llvm::append_range(from, at.drop_front(axis + q));
               return tensor::ExtractOp::create(b, source, from).getResult();
             }));
}

static LogicalResult convertGatherElements(Lowering &l) {
  Tensor data = l.in(0), indices = l.in(1);
  if (data->rank() != indices->rank())
    return l.error() << "expects indices of rank " << data->rank() << ", got "
                     << indices->rank();
  FailureOr<int64_t> axis = l.axis(l.node.getI64("axis", 0), data->rank());
  if (failed(axis))
    return failure();
  for (int64_t i = 0; i < data->rank(); ++i)
    if (i != *axis)
      l.checkLessOrEqual(
          indices->dims[i], data->dims[i],
          "expects at most {limit} indices beside the axis, got {found}");
  if (failed(l.checkIndices(indices, data->dims[*axis])))
    return failure();
  Value source = l.value(data), n = l.index(data->dims[*axis]);
  Operand in{l.value(indices), l.b.getMultiDimIdentityMap(data->rank())};
  return l.set(
      gather(l, indices->dims, data->elementType, in,
             [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange index) {
               SmallVector<Value> from(at);
               from[*axis] = Lowering::wrapIndex(b, index[0], n);
               return tensor::ExtractOp::create(b, source, from).getResult();
             }));
}

static LogicalResult convertGatherND(Lowering &l) {
  Tensor data = l.in(0), indices = l.in(1);
  int64_t batch = l.node.getI64("batch_dims", 0), q = indices->rank();
  if (q == 0 || !indices->dims.back().constant())
    return l.error() << "expects a static size of the last axis of indices";
  int64_t k = *indices->dims.back().constant();
  if (batch < 0 || batch >= q || batch + k > data->rank())
    return l.error() << "expects at most rank " << data->rank()
                     << " in batch_dims and the last axis of indices, got "
                     << batch << " and " << k;
  for (int64_t i = 0; i < batch; ++i)
    l.checkEqual(
        indices->dims[i], data->dims[i],
        "expects batch dimensions that agree, got {found} and {limit}");
  Dims dims(indices->dims.begin(), indices->dims.end() - 1);
  dims.append(data->dims.begin() + batch + k, data->dims.end());

  SmallVector<Operand> columns;
  SmallVector<Value> sizes;
  for (int64_t j = 0; j < k; ++j) {
    if (failed(l.checkIndices(indices, data->dims[batch + j], j)))
      return failure();
    SmallVector<AffineExpr> exprs;
    for (int64_t i = 0; i + 1 < q; ++i)
      exprs.push_back(l.b.getAffineDimExpr(i));
    exprs.push_back(l.b.getAffineConstantExpr(j));
    columns.push_back({l.value(indices), AffineMap::get(dims.size(), 0, exprs,
                                                        l.b.getContext())});
    sizes.push_back(l.index(data->dims[batch + j]));
  }
  Value source = l.value(data);
  return l.set(
      gather(l, dims, data->elementType, columns,
             [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange index) {
               SmallVector<Value> from(at.take_front(batch));
               for (auto [i, n] : llvm::zip_equal(index, sizes))
                 from.push_back(Lowering::wrapIndex(b, i, n));
               llvm::append_range(from, at.drop_front(q - 1));
               return tensor::ExtractOp::create(b, source, from).getResult();
             }));
}

//===----------------------------------------------------------------------===//
// Compress
//===----------------------------------------------------------------------===//

/// The slices, or elements, whose condition holds; those behind the last
/// condition go.
static LogicalResult convertCompress(Lowering &l) {
  Tensor x = l.in(0), condition = l.in(1);
  if (!condition->isBool() || condition->rank() != 1)
    return l.error() << "expects a condition of rank 1 and type 'i1', got rank "
                     << condition->rank() << " and type "
                     << condition->elementType;
  std::optional<int64_t> given = l.node.getI64("axis");
  if (!given)
    x = l.reshape(x, {product(x->dims)});
  FailureOr<int64_t> axis = l.axis(given.value_or(0), x->rank());
  if (failed(axis))
    return failure();
  l.checkLessOrEqual(condition->dims[0], x->dims[*axis],
                     "expects at most {limit} conditions, got {found}");
  // They lie inside: no check of each.
  Tensor taken = nonZero(l, condition);
  Dims dims = x->dims;
  dims[*axis] = taken->dims[1];
  AffineExpr exprs[] = {l.b.getAffineConstantExpr(0),
                        l.b.getAffineDimExpr(*axis)};
  Operand in{taken->value,
             AffineMap::get(dims.size(), 0, exprs, l.b.getContext())};
  Value source = l.value(x);
  return l.set(gather(
      l, dims, x->elementType, in,
      [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange index) {
        SmallVector<Value> from(at);
        from[*axis] = arith::IndexCastOp::create(b, b.getIndexType(), index[0]);
        return tensor::ExtractOp::create(b, source, from).getResult();
      }));
}

//===----------------------------------------------------------------------===//
// OneHot, Trilu
//===----------------------------------------------------------------------===//

static LogicalResult convertOneHot(Lowering &l) {
  Tensor indices = l.in(0), values = l.in(2);
  // Indices and depth may be floats.
  Type i64 = l.b.getI64Type();
  if (indices->isFloat())
    indices = castTensor(l, indices, i64);
  Tensor count = l.in(1);
  if (count->isFloat())
    count = castTensor(l, count, i64);
  FailureOr<Dims> depth = l.elements(count, "depth");
  if (failed(depth))
    return failure();
  if (depth->size() != 1 || values->rank() != 1)
    return l.error() << "expects a scalar depth and two values";
  if (!indices->isInteger())
    return l.error() << "expects integer indices, got " << indices->elementType;
  l.checkLessOrEqual(1, depth->front(),
                     "expects a depth of at least {found}, got {limit}");
  int64_t rank = indices->rank() + 1;
  FailureOr<int64_t> axis = l.axis(l.node.getI64("axis", -1), rank);
  if (failed(axis))
    return failure();
  Dims dims = indices->dims;
  dims.insert(dims.begin() + *axis, depth->front());
  if (failed(l.checkElements(dims)))
    return failure();
  SmallVector<AffineExpr> exprs;
  for (int64_t i = 0; i < rank; ++i)
    if (i != *axis)
      exprs.push_back(l.b.getAffineDimExpr(i));
  Operand in{l.value(indices),
             AffineMap::get(rank, 0, exprs, l.b.getContext())};
  Value n = l.index(depth->front());
  Value off = tensor::ExtractOp::create(l.b, l.value(values), l.index(0));
  Value on = tensor::ExtractOp::create(l.b, l.value(values), l.index(1));
  // An index outside of [-depth, depth) matches nothing.
  return l.set(
      gather(l, dims, values->elementType, in,
             [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange index) {
               Value wanted = Lowering::wrapIndex(b, index[0], n);
               Value hit = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                                 wanted, at[*axis]);
               return arith::SelectOp::create(b, hit, on, off).getResult();
             }));
}

static LogicalResult convertTrilu(Lowering &l) {
  Tensor x = l.in(0);
  if (x->rank() < 2)
    return l.error() << "expects rank 2 or more, got " << x->rank();
  Expr k;
  if (Tensor t = l.optional(1)) {
    FailureOr<Dims> given = l.elements(t, "k");
    if (failed(given))
      return failure();
    if (given->size() != 1)
      return l.error() << "expects k to be a scalar";
    // No diagonal lies further out, and a row plus k must not overflow.
    k = l.sizes.min(l.sizes.max(given->front(), Expr() - x->dims.end()[-2]),
                    x->dims.back());
  }
  bool upper = l.node.getI64("upper", 1) != 0;
  Value diagonal = l.index(k);
  Operand in{l.value(x), l.b.getMultiDimIdentityMap(x->rank())};
  Type storage = Lowering::storageType(x->elementType);
  return l.set(gather(
      l, x->dims, x->elementType, in,
      [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange element) {
        Value limit = arith::AddIOp::create(b, at[at.size() - 2], diagonal);
        Value keep = arith::CmpIOp::create(
            b, upper ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle,
            at.back(), limit);
        Value zero = arith::ConstantOp::create(b, b.getZeroAttr(storage));
        return arith::SelectOp::create(b, keep, element[0], zero).getResult();
      }));
}

//===----------------------------------------------------------------------===//
// Pad
//===----------------------------------------------------------------------===//

/// The pads before and after each dimension.
static LogicalResult padAmounts(Lowering &l, int64_t rank, Dims &before,
                                Dims &after) {
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  Dims pads;
  if (l.node.getOpset() < 11) {
    auto attr = l.node.getI64s("pads").value_or(ArrayRef<int64_t>());
    pads.assign(attr.begin(), attr.end());
  } else {
    if (!l.optional(1))
      return l.error() << "expects pads";
    FailureOr<Dims> given = l.elements(l.in(1), "pads");
    if (failed(given))
      return failure();
    pads = *given;
    if (Tensor t = l.optional(3)) {
      std::optional<SmallVector<int64_t>> list = l.constants(t);
      if (!list)
        return l.error() << "expects constant axes";
      FailureOr<SmallVector<int64_t>> wrapped = l.axes(*list, rank);
      if (failed(wrapped))
        return failure();
      axes = *wrapped;
    }
  }
  if (pads.size() != 2 * axes.size())
    return l.error() << "expects two pads per axis, got " << pads.size()
                     << " for " << axes.size();
  before.assign(rank, Expr(0));
  after.assign(rank, Expr(0));
  for (auto [i, axis] : llvm::enumerate(axes)) {
    before[axis] = pads[i];
    after[axis] = pads[axes.size() + i];
  }
  return success();
}

/// A size plus two pads must not overflow.
static LogicalResult checkPad(Lowering &l, const Expr &pad) {
  constexpr int64_t most = Lowering::kMaxElements;
  if (std::optional<int64_t> known = pad.constant()) {
    if (*known < -most || *known > most)
      return l.error() << "expects pads of at most " << most
                       << " in magnitude, got " << *known;
    return success();
  }
  using P = arith::CmpIPredicate;
  Value found = l.index(pad), limit = l.index(most);
  Value highOk = arith::CmpIOp::create(l.b, P::sle, found, limit);
  Value lowOk = arith::CmpIOp::create(l.b, P::sge, found, l.index(-most));
  l.check(arith::AndIOp::create(l.b, highOk, lowOk), found, limit,
          "expects pads of at most {limit} in magnitude, got {found}");
  return success();
}

static LogicalResult padConstant(Lowering &l, Tensor x, const Dims &before,
                                 const Dims &after, const Dims &dims) {
  ImplicitLocOpBuilder &b = l.b;
  Type storage = Lowering::storageType(x->elementType);
  Value fill;
  if (Tensor t = l.optional(2)) {
    if (!t->hasOneElement() || t->elementType != x->elementType)
      return l.error() << "expects a padding value of one element of type "
                       << x->elementType;
    SmallVector<Value> at(t->rank(), l.index(0));
    fill = tensor::ExtractOp::create(b, l.value(t), at);
  } else if (auto type = dyn_cast<FloatType>(storage)) {
    fill = floatConstant(b, type, l.node.getF32("value", 0.0f));
  } else {
    fill = intConstant(b, storage, 0);
  }
  // Negative pads cut off, at most all there is.
  Sizes &s = l.sizes;
  Dims from, to, kept;
  for (int64_t i = 0; i < x->rank(); ++i) {
    const Expr &size = x->dims[i];
    Expr start = s.min(s.max(Expr() - before[i], 0), size);
    Expr end = s.max(s.min(size + after[i], size), start);
    from.push_back(start);
    to.push_back(s.min(s.max(before[i], 0), dims[i]));
    kept.push_back(end - start);
  }
  Tensor inner = l.slice(x, from, kept);
  SmallVector<OpFoldResult> ones(x->rank(), b.getIndexAttr(1));
  Value result =
      tensor::InsertSliceOp::create(b, l.value(inner), l.filled(dims, fill),
                                    l.mixed(to), l.mixed(kept), ones);
  return l.set(l.tensor(result, x->elementType, dims));
}

/// The source index for `at`, which counts from the first element of the input:
/// inside it, or mirrored, clamped or wrapped into it.
static Value padIndex(ImplicitLocOpBuilder &b, StringRef mode, Value at,
                      Value size) {
  auto constant = [&](int64_t v) {
    return arith::ConstantIndexOp::create(b, v).getResult();
  };
  auto floorMod = [&](Value x, Value n) -> Value {
    Value r = arith::RemSIOp::create(b, x, n);
    Value negative =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, r, constant(0));
    return arith::SelectOp::create(b, negative, arith::AddIOp::create(b, r, n),
                                   r);
  };
  Value last = arith::SubIOp::create(b, size, constant(1));
  if (mode == "edge")
    return arith::MinSIOp::create(b, arith::MaxSIOp::create(b, at, constant(0)),
                                  last);
  if (mode == "wrap")
    return floorMod(at, size);
  // A reflection has period 2 * (size - 1); one element has only itself.
  Value period = arith::MulIOp::create(b, last, constant(2));
  Value safe = arith::MaxSIOp::create(b, period, constant(1));
  Value r = floorMod(at, safe);
  Value mirrored = arith::SubIOp::create(b, period, r);
  Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, r, last);
  return arith::SelectOp::create(b, inside, r, mirrored);
}

static LogicalResult convertPad(Lowering &l) {
  Tensor x = l.in(0);
  Dims before, after, dims;
  if (failed(padAmounts(l, x->rank(), before, after)))
    return failure();
  for (int64_t i = 0; i < x->rank(); ++i) {
    for (const Expr &pad : {before[i], after[i]})
      if (failed(checkPad(l, pad)))
        return failure();
    dims.push_back(x->dims[i] + before[i] + after[i]);
    if (failed(l.checkSize(dims.back())))
      return failure();
  }
  if (failed(l.checkElements(dims)))
    return failure();
  StringRef mode = l.node.getString("mode", "constant");
  if (mode == "constant")
    return padConstant(l, x, before, after, dims);
  if (mode != "edge" && mode != "reflect" && mode != "wrap")
    return l.error() << "mode '" << mode << "' is not supported";
  SmallVector<Value> shift, sizes;
  for (int64_t i = 0; i < x->rank(); ++i) {
    if (dims[i] != x->dims[i])
      l.checkLessOrEqual(
          1, x->dims[i],
          "expects at least {found} element to pad with, got {limit}");
    shift.push_back(l.index(before[i]));
    sizes.push_back(l.index(x->dims[i]));
  }
  Value source = l.value(x);
  return l.set(l.generate(
      dims, x->elementType, [&](ImplicitLocOpBuilder &b, ValueRange at) {
        SmallVector<Value> from(at);
        for (int64_t i = 0; i < x->rank(); ++i)
          if (dims[i] != x->dims[i] || !before[i].is(0))
            from[i] = padIndex(
                b, mode, arith::SubIOp::create(b, at[i], shift[i]), sizes[i]);
        return tensor::ExtractOp::create(b, source, from).getResult();
      }));
}

void raise::addIndexing(Registry &r) {
  r.add({
      {"Slice", 1, kLatest, convertSlice, 1, 5, "starts ends axes", "",
       "constant axes and steps"},
      {"Gather", 1, kLatest, convertGather, 2, 2, "axis"},
      {"GatherElements", 11, kLatest, convertGatherElements, 2, 2, "axis"},
      {"GatherND", 11, kLatest, convertGatherND, 2, 2, "batch_dims", "",
       "a static size of the last axis of indices"},
      {"Compress", 9, kLatest, convertCompress, 2, 2, "axis"},
      {"OneHot", 9, kLatest, convertOneHot, 3, 3, "axis"},
      {"Trilu", 14, kLatest, convertTrilu, 1, 2, "upper"},
      {"Pad", 2, kLatest, convertPad, 1, 4, "mode pads value", "",
       "constant axes"},
  });
}
