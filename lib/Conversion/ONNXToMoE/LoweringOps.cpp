//===- LoweringOps.cpp - tensor code that many converters share -----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

//===----------------------------------------------------------------------===//
// Small pieces
//===----------------------------------------------------------------------===//

Value raise::toCompute(ImplicitLocOpBuilder &b, Value element) {
  Type type = Lowering::computeType(element.getType());
  return type == element.getType()
             ? element
             : Value(arith::ExtFOp::create(b, type, element));
}

Value raise::fromCompute(ImplicitLocOpBuilder &b, Value element,
                         Type storageType) {
  if (element.getType() == storageType)
    return element;
  if (storageType.getIntOrFloatBitWidth() <
      element.getType().getIntOrFloatBitWidth())
    return arith::TruncFOp::create(b, storageType, element);
  return arith::ExtFOp::create(b, storageType, element);
}

SmallVector<OpFoldResult> Lowering::mixed(const Dims &dims) {
  return llvm::map_to_vector(
      dims, [&](const Expr &d) { return sizes.foldResult(b, d); });
}

Value Lowering::empty(const Dims &dims, Type elementType) {
  return tensor::EmptyOp::create(b, mixed(dims), storageType(elementType));
}

Value Lowering::filled(const Dims &dims, Value element) {
  Value init = empty(dims, element.getType());
  return linalg::FillOp::create(b, element, init).getResult(0);
}

Value Lowering::filled(const Dims &dims, TypedAttr element) {
  return filled(dims, constant(element));
}

Value Lowering::cast(Value value, const Dims &dims) {
  auto from = mlir::cast<RankedTensorType>(value.getType());
  RankedTensorType to = type(dims, from.getElementType());
  return from == to ? value : Value(tensor::CastOp::create(b, to, value));
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

FailureOr<Dims> Lowering::broadcast(ArrayRef<Tensor> operands) {
  int64_t rank = 0;
  for (Tensor t : operands)
    rank = std::max(rank, t->rank());
  Dims result(rank, Expr(1));
  for (int64_t i = 0; i < rank; ++i) {
    // The different sizes at this place that are not 1; a constant one, which
    // is then the result, in front.
    Dims found;
    for (Tensor t : operands) {
      int64_t at = i - (rank - t->rank());
      if (at < 0 || t->dims[at].is(1) || llvm::is_contained(found, t->dims[at]))
        continue;
      bool leads = t->dims[at].constant().has_value();
      if (leads && !found.empty() && found.front().constant())
        return error() << "expects shapes that broadcast, got sizes "
                       << *found.front().constant() << " and "
                       << *t->dims[at].constant() << " at the same place";
      found.insert(leads ? found.begin() : found.end(), t->dims[at]);
    }
    if (found.empty())
      continue;
    Expr size = found.front();
    if (!size.constant())
      for (const Expr &d : ArrayRef(found).drop_front())
        size = sizes.select(sizes.equal(size, 1), d, size);
    result[i] = size;
    if (found.size() == 1)
      continue;
    for (const Expr &d : found) {
      if (d == size)
        continue;
      Value dim = index(d), full = index(size);
      Value one = arith::ConstantIndexOp::create(b, 1);
      Value same =
          arith::CmpIOp::create(b, arith::CmpIPredicate::eq, dim, full);
      Value unit = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, dim, one);
      check(arith::OrIOp::create(b, same, unit), dim, full,
            "expects shapes that broadcast, got sizes {found} and {limit}");
    }
  }
  return result;
}

Operand Lowering::operand(Tensor t, const Dims &dims, bool allowScalar) {
  int64_t rank = dims.size(), shift = rank - t->rank();
  MLIRContext *context = b.getContext();
  Type storage = storageType(t->elementType);
  if (t->hasOneElement() && allowScalar) {
    AffineMap scalar = AffineMap::get(rank, 0, context);
    if (t->constant)
      return {constant(*t->constant.getValues<TypedAttr>().begin()), scalar};
    if (t->elements)
      return {sizes.integer(b, t->elements->front(), storage), scalar};
  }
  SmallVector<AffineExpr> exprs;
  SmallVector<int64_t> undecided;
  for (int64_t i = 0; i < t->rank(); ++i) {
    const Expr &d = t->dims[i];
    bool unit = d.is(1) && !dims[i + shift].is(1);
    exprs.push_back(unit ? getAffineConstantExpr(0, context)
                         : getAffineDimExpr(i + shift, context));
    if (!unit && d != dims[i + shift])
      undecided.push_back(i);
  }
  Value source = value(t);
  if (!undecided.empty()) {
    // Whether these dimensions are broadcast is known at run time only: read
    // them at index 0 if their size is 1.
    Dims expanded = t->dims;
    SmallVector<Value> isUnit(t->rank());
    for (int64_t i : undecided) {
      expanded[i] = dims[i + shift];
      isUnit[i] =
          arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index(t->dims[i]),
                                arith::ConstantIndexOp::create(b, 1));
    }
    source = value(generate(
        expanded, t->elementType, [&](ImplicitLocOpBuilder &b, ValueRange at) {
          SmallVector<Value> from(at);
          for (int64_t i : undecided)
            from[i] = arith::SelectOp::create(
                b, isUnit[i], arith::ConstantIndexOp::create(b, 0), at[i]);
          return tensor::ExtractOp::create(b, source, from).getResult();
        }));
  }
  return {source, AffineMap::get(rank, 0, exprs, context)};
}

FailureOr<Tensor> Lowering::elementwise(ArrayRef<Tensor> operands,
                                        Type resultType, ElementFn element) {
  FailureOr<Dims> dims = broadcast(operands);
  if (failed(dims))
    return failure();
  return elementwise(operands, *dims, resultType, element);
}

Tensor Lowering::elementwise(ArrayRef<Tensor> operands, const Dims &dims,
                             Type resultType, ElementFn element) {
  SmallVector<Operand> prepared;
  for (Tensor t : operands)
    prepared.push_back(operand(t, dims));
  return elementwise(prepared, dims, resultType, element);
}

Tensor Lowering::elementwise(ArrayRef<Operand> operands, const Dims &dims,
                             Type resultType, ElementFn element) {
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  for (const Operand &in : operands) {
    inputs.push_back(in.value);
    maps.push_back(in.map);
  }
  Type storage = storageType(resultType);
  Value init = empty(dims, resultType);
  maps.push_back(b.getMultiDimIdentityMap(dims.size()));
  auto op = linalg::GenericOp::create(
      b, TypeRange{init.getType()}, inputs, ValueRange{init}, maps,
      parallel(dims.size()),
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        SmallVector<Value> elements;
        for (Value arg : args.drop_back())
          elements.push_back(toCompute(b, arg));
        Value result = fromCompute(b, element(b, elements), storage);
        linalg::YieldOp::create(b, result);
      });
  return tensor(op.getResult(0), resultType, dims);
}

Operand Lowering::reducedOperand(Value value, ArrayRef<bool> reduced) {
  SmallVector<AffineExpr> exprs;
  for (auto [i, gone] : llvm::enumerate(reduced))
    if (!gone)
      exprs.push_back(b.getAffineDimExpr(i));
  return {value, AffineMap::get(reduced.size(), 0, exprs, b.getContext())};
}

Tensor Lowering::generate(const Dims &dims, Type elementType,
                          ElementFn element) {
  Value init = empty(dims, elementType);
  auto op = linalg::GenericOp::create(
      b, TypeRange{init.getType()}, ValueRange{}, ValueRange{init},
      ArrayRef<AffineMap>{b.getMultiDimIdentityMap(dims.size())},
      parallel(dims.size()), [&](OpBuilder &nested, Location loc, ValueRange) {
        ImplicitLocOpBuilder b(loc, nested);
        SmallVector<Value> at;
        for (size_t i = 0; i < dims.size(); ++i)
          at.push_back(linalg::IndexOp::create(b, i));
        linalg::YieldOp::create(b, element(b, at));
      });
  return tensor(op.getResult(0), elementType, dims);
}

Tensor Lowering::convertFloat(Tensor t, Type elementType) {
  if (t->elementType == elementType)
    return t;
  return elementwise(
      t, t->dims, elementType,
      [](ImplicitLocOpBuilder &, ValueRange args) { return args.front(); });
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

SmallVector<Value> Lowering::reduce(
    ArrayRef<Tensor> operands, ArrayRef<bool> reduced, ValueRange inits,
    function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, ValueRange)>
        element) {
  const Dims &dims = operands.front()->dims;
  int64_t rank = dims.size();
  Dims kept;
  SmallVector<AffineExpr> keptExprs;
  SmallVector<utils::IteratorType> iterators = parallel(rank);
  for (int64_t i = 0; i < rank; ++i) {
    if (reduced[i]) {
      iterators[i] = utils::IteratorType::reduction;
      continue;
    }
    kept.push_back(dims[i]);
    keptExprs.push_back(b.getAffineDimExpr(i));
  }
  SmallVector<Value> inputs, outputs;
  SmallVector<AffineMap> maps;
  for (auto [i, t] : llvm::enumerate(operands)) {
    // The first operand says how often the loops run.
    Operand in = operand(t, dims, /*allowScalar=*/i != 0);
    inputs.push_back(in.value);
    maps.push_back(in.map);
  }
  for (Value init : inits) {
    outputs.push_back(filled(kept, init));
    maps.push_back(AffineMap::get(rank, 0, keptExprs, b.getContext()));
  }
  auto op = linalg::GenericOp::create(
      b, TypeRange(ValueRange(outputs)), inputs, outputs, maps, iterators,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        SmallVector<Value> elements(args);
        for (size_t i = 0; i < inputs.size(); ++i)
          elements[i] = toCompute(b, args[i]);
        linalg::YieldOp::create(b, element(b, elements));
      });
  return llvm::to_vector_of<Value>(op.getResults());
}

Value Lowering::contract(const Operand &x, const Operand &y, AffineMap result,
                         const Dims &dims, Type compute, bool zeroTakesAll) {
  SmallVector<utils::IteratorType> iterators(result.getNumDims(),
                                             utils::IteratorType::reduction);
  for (AffineExpr expr : result.getResults())
    iterators[mlir::cast<AffineDimExpr>(expr).getPosition()] =
        utils::IteratorType::parallel;
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(compute));
  Value init = filled(dims, zero);
  auto op = linalg::GenericOp::create(
      b, TypeRange{init.getType()}, ValueRange{x.value, y.value},
      ValueRange{init}, ArrayRef<AffineMap>{x.map, y.map, result}, iterators,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        auto factor = [&](Value v) {
          v = toCompute(b, v);
          return isa<FloatType>(compute) ? fromCompute(b, v, compute) : v;
        };
        Value left = factor(args[0]);
        Value p = mulElements(b, left, factor(args[1]));
        if (zeroTakesAll) {
          Value none = floatConstant(b, compute, 0.0);
          Value isZero =
              arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, left, none);
          p = arith::SelectOp::create(b, isZero, none, p);
        }
        linalg::YieldOp::create(b, addElements(b, args[2], p));
      });
  return op.getResult(0);
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

namespace {
/// Consecutive source dimensions that become consecutive target dimensions.
struct ReshapeGroup {
  SmallVector<int64_t, 2> from, to;
};
} // namespace

/// Cuts both shapes wherever the products of what lies before are equal.
static SmallVector<ReshapeGroup> groupDims(const Dims &from, const Dims &to) {
  SmallVector<Expr> fromBefore{1}, toBefore{1};
  for (const Expr &d : from)
    fromBefore.push_back(fromBefore.back() * d);
  for (const Expr &d : to)
    toBefore.push_back(toBefore.back() * d);
  SmallVector<ReshapeGroup> groups;
  size_t i = 0, j = 0, n = from.size(), m = to.size();
  while (i < n && j < m) {
    size_t bestI = n, bestJ = m;
    for (size_t length = 2; length <= (n - i) + (m - j); ++length)
      for (size_t k = 1; k < length && bestI == n && bestJ == m; ++k)
        if (i + k <= n && j + length - k <= m &&
            fromBefore[i + k] == toBefore[j + length - k]) {
          bestI = i + k;
          bestJ = j + length - k;
        }
    ReshapeGroup &group = groups.emplace_back();
    for (; i < bestI; ++i)
      group.from.push_back(i);
    for (; j < bestJ; ++j)
      group.to.push_back(j);
  }
  // What is left has size 1.
  for (; i < n; ++i)
    groups.back().from.push_back(i);
  for (; j < m; ++j)
    groups.back().to.push_back(j);
  return groups;
}

Tensor Lowering::reshape(Tensor t, const Dims &dims) {
  if (t->dims == dims)
    return t;
  if (WeightOp weight = weights.lookup(t->value))
    if (type(dims, t->elementType).hasStaticShape())
      if (auto view = WeightView::of(weight).reshape(
              type(dims, t->elementType).getShape()))
        return tensor(weights.read(b, b.getLoc(), *view), t->elementType, dims);
  if (t->constant && type(dims, t->elementType).hasStaticShape())
    return tensor(t->constant.reshape(type(dims, t->elementType)),
                  t->elementType);
  if (t->elements && dims.size() <= 1)
    return tensor(t->elementType, dims, *t->elements);
  auto isZero = [](const Expr &d) { return d.is(0); };
  if (llvm::any_of(dims, isZero) || llvm::any_of(t->dims, isZero))
    return tensor(empty(dims, t->elementType), t->elementType, dims);

  Value source = value(t);
  Type element = storageType(t->elementType);
  if (dims.empty() || t->dims.empty()) {
    // One element: all sizes are 1, known or checked.
    source = cast(source, Dims(t->rank(), Expr(1)));
    auto unit =
        RankedTensorType::get(SmallVector<int64_t>(dims.size(), 1), element);
    Value result =
        dims.empty() ? Value(tensor::CollapseShapeOp::create(
                           b, unit, source, ArrayRef<ReassociationIndices>{}))
                     : Value(tensor::ExpandShapeOp::create(
                           b, unit, source, ArrayRef<ReassociationIndices>{}));
    return tensor(cast(result, dims), t->elementType, dims);
  }

  SmallVector<ReshapeGroup> groups = groupDims(t->dims, dims);
  SmallVector<ReassociationIndices> collapse, expand;
  SmallVector<int64_t> expandFrom;
  for (ReshapeGroup &group : groups) {
    collapse.emplace_back(group.from);
    expand.emplace_back(group.to);
    int64_t size = 1;
    for (int64_t i : group.to) {
      std::optional<int64_t> d = dims[i].constant();
      size =
          d && size != ShapedType::kDynamic ? size * *d : ShapedType::kDynamic;
    }
    expandFrom.push_back(size);
  }
  if (groups.size() != t->dims.size())
    source = tensor::CollapseShapeOp::create(b, source, collapse);
  // A size that only a run-time check makes static, or that is lost.
  auto middle = RankedTensorType::get(expandFrom, element);
  if (middle != source.getType())
    source = tensor::CastOp::create(b, middle, source);
  if (groups.size() != dims.size())
    source = tensor::ExpandShapeOp::create(b, type(dims, element), source,
                                           expand, mixed(dims));
  return tensor(source, t->elementType, dims);
}

Tensor Lowering::transpose(Tensor t, ArrayRef<int64_t> permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(0, t->rank())))
    return t;
  if (WeightOp weight = weights.lookup(t->value)) {
    WeightView view = WeightView::of(weight).transpose(permutation);
    if (weights.getOrCreate(view)) {
      Dims dims(view.shape.begin(), view.shape.end());
      return tensor(weights.read(b, b.getLoc(), view), t->elementType, dims);
    }
  }
  Dims dims;
  for (int64_t from : permutation)
    dims.push_back(t->dims[from]);
  SmallVector<AffineExpr> exprs(t->rank());
  for (auto [to, from] : llvm::enumerate(permutation))
    exprs[from] = b.getAffineDimExpr(to);
  Value init = empty(dims, t->elementType);
  auto op = linalg::GenericOp::create(
      b, TypeRange{init.getType()}, ValueRange{value(t)}, ValueRange{init},
      ArrayRef<AffineMap>{AffineMap::get(t->rank(), 0, exprs, b.getContext()),
                          b.getMultiDimIdentityMap(t->rank())},
      parallel(t->rank()), [](OpBuilder &b, Location loc, ValueRange args) {
        linalg::YieldOp::create(b, loc, args.front());
      });
  return tensor(op.getResult(0), t->elementType, dims);
}

Tensor Lowering::slice(Tensor t, const Dims &offsets, const Dims &dims,
                       ArrayRef<int64_t> steps) {
  if (dims == t->dims)
    return t;
  // tensor.extract_slice refuses the offset at the end that goes with it.
  auto isZero = [](const Expr &d) { return d.is(0); };
  if (llvm::any_of(dims, isZero) || llvm::any_of(t->dims, isZero))
    return tensor(empty(dims, t->elementType), t->elementType, dims);
  auto isConstant = [](const Expr &e) { return e.constant().has_value(); };
  if (WeightOp weight = weights.lookup(t->value);
      weight && llvm::all_of(offsets, isConstant) &&
      llvm::all_of(dims, isConstant)) {
    WeightView view = WeightView::of(weight);
    for (int64_t i = 0; i < t->rank(); ++i)
      view = view.slice(i, *offsets[i].constant(), *dims[i].constant(),
                        steps.empty() ? 1 : steps[i]);
    if (weights.getOrCreate(view))
      return tensor(weights.read(b, b.getLoc(), view), t->elementType, dims);
  }
  SmallVector<OpFoldResult> strides(t->rank(), b.getIndexAttr(1));
  for (auto [i, step] : llvm::enumerate(steps))
    strides[i] = b.getIndexAttr(step);
  Value result =
      tensor::ExtractSliceOp::create(b, type(dims, t->elementType), value(t),
                                     mixed(offsets), mixed(dims), strides);
  return tensor(result, t->elementType, dims);
}
