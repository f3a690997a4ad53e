//===- Lowering.cpp - what the converters of ONNX nodes work with ---------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Values and run-time checks; the code for tensors is in LoweringOps.cpp.

#include "Lowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "moe/Conversion/Utils/RuntimeCalls.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

/// Longer lists of integers are data. A shape has at most a handful of
/// dimensions, a list of starts or splits rarely more.
static constexpr int64_t kMaxListed = 32;

Expr raise::product(ArrayRef<Expr> dims) {
  Expr p = 1;
  for (const Expr &d : dims)
    p = p * d;
  return p;
}

SmallVector<utils::IteratorType> raise::parallel(int64_t rank) {
  return SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel);
}

Value raise::floatConstant(ImplicitLocOpBuilder &b, Type type, double value) {
  return arith::ConstantOp::create(b, b.getFloatAttr(type, value));
}

Value raise::intConstant(ImplicitLocOpBuilder &b, Type type, int64_t value) {
  if (type.isIndex())
    return arith::ConstantIndexOp::create(b, value);
  APInt bits(type.getIntOrFloatBitWidth(), static_cast<uint64_t>(value),
             /*isSigned=*/false, /*implicitTrunc=*/true);
  return arith::ConstantOp::create(b, b.getIntegerAttr(type, bits));
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

Type Lowering::computeType(Type elementType) {
  if (auto type = dyn_cast<FloatType>(elementType))
    return type.getWidth() < 32 ? Float32Type::get(type.getContext())
                                : elementType;
  return storageType(elementType);
}

Type Lowering::storageType(Type elementType) {
  if (auto type = dyn_cast<IntegerType>(elementType))
    return IntegerType::get(type.getContext(), type.getWidth());
  return elementType;
}

RankedTensorType Lowering::type(const Dims &dims, Type elementType) {
  SmallVector<int64_t> shape;
  for (const Expr &d : dims)
    shape.push_back(d.constant().value_or(ShapedType::kDynamic));
  return RankedTensorType::get(shape, storageType(elementType));
}

//===----------------------------------------------------------------------===//
// Inputs, outputs, errors
//===----------------------------------------------------------------------===//

InFlightDiagnostic Lowering::error() {
  return node.emitError() << node.describe() << ": ";
}

LogicalResult Lowering::set(unsigned i, Tensor result) {
  Value output = node.output(i);
  if (!output)
    return success();
  // The importer's types are hints; a contradiction means a wrong model or a
  // wrong converter, and in both cases going on would hide it.
  if (auto hint = dyn_cast<ShapedType>(output.getType()))
    if (hint.getElementType() != result->elementType)
      return error() << "output " << i << " is declared with elements of type "
                     << hint.getElementType() << " but has "
                     << result->elementType;
  map(output, result);
  return success();
}

FailureOr<int64_t> Lowering::axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return error() << "expects an axis in [" << -rank << ", " << rank
                   << "), got " << axis;
  return axis < 0 ? axis + rank : axis;
}

FailureOr<SmallVector<int64_t>> Lowering::axes(ArrayRef<int64_t> list,
                                               int64_t rank) {
  SmallVector<int64_t> result;
  for (int64_t a : list) {
    FailureOr<int64_t> one = axis(a, rank);
    if (failed(one))
      return failure();
    if (llvm::is_contained(result, *one))
      return error() << "expects distinct axes, got " << a << " twice";
    result.push_back(*one);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Making tensors
//===----------------------------------------------------------------------===//

Tensor Lowering::tensor(Value value, Type elementType, Dims dims) {
  assert(value.getType() == type(dims, elementType) &&
         "the type follows from the dimensions");
  Tensor t = create();
  t->elementType = elementType;
  t->dims = std::move(dims);
  t->value = value;
  return t;
}

Tensor Lowering::tensor(Type elementType, Dims dims, Dims elements) {
  Tensor t = create();
  t->elementType = elementType;
  t->dims = std::move(dims);
  t->elements = std::move(elements);
  return t;
}

Tensor Lowering::tensor(DenseElementsAttr constant, Type elementType) {
  Tensor t = create();
  t->elementType = elementType ? elementType : constant.getElementType();
  for (int64_t d : constant.getType().getShape())
    t->dims.push_back(d);
  Type storage = storageType(t->elementType);
  if (storage != constant.getElementType()) // only the sign differs
    constant = DenseElementsAttr::getFromRawBuffer(
        RankedTensorType::get(constant.getType().getShape(), storage),
        constant.getRawData());
  t->constant = constant;
  if (isa<IntegerType>(storage) && t->rank() <= 1 &&
      constant.getNumElements() <= kMaxListed) {
    t->elements.emplace();
    for (const APInt &v : constant.getValues<APInt>())
      t->elements->push_back(t->isUnsigned() || t->isBool()
                                 ? static_cast<int64_t>(v.getZExtValue())
                                 : v.getSExtValue());
  }
  return t;
}

Tensor Lowering::foreign(Value value) {
  auto type = mlir::cast<RankedTensorType>(value.getType());
  DenseElementsAttr constant;
  if (matchPattern(value, m_Constant(&constant))) {
    Tensor t = tensor(constant);
    t->value = value;
    return t;
  }
  Dims dims;
  for (int64_t i = 0; i < type.getRank(); ++i)
    dims.push_back(sizes.dimOf(value, i));
  // The same bytes, as the signless type that tensors have from here on.
  Type storage = storageType(type.getElementType());
  if (SmallVector<WeightOp> parts = weights.parts(value);
      type.getElementType() != storage && !parts.empty()) {
    for (WeightOp &part : parts)
      part = weights.withElements(part, storage);
    value = weights.lookupStack(value)
                ? weights.read(b, b.getLoc(), weights.getOrCreateStack(parts))
                : weights.read(b, b.getLoc(), parts.front());
  }
  return tensor(value, type.getElementType(), dims);
}

Value Lowering::constant(TypedAttr attr) {
  return arith::ConstantOp::create(b, attr);
}

Value Lowering::materializeElements(Tensor t) {
  SmallVector<Value> scalars;
  Type storage = storageType(t->elementType);
  if (t->elements->empty())
    return empty(t->dims, t->elementType);
  if (llvm::all_of(*t->elements,
                   [](const Expr &e) { return bool(e.constant()); })) {
    SmallVector<APInt> bits;
    for (const Expr &e : *t->elements)
      bits.emplace_back(storage.getIntOrFloatBitWidth(),
                        static_cast<uint64_t>(*e.constant()),
                        /*isSigned=*/false, /*implicitTrunc=*/true);
    return constant(DenseElementsAttr::get(type(t->dims, storage), bits));
  }
  for (const Expr &e : *t->elements)
    scalars.push_back(sizes.integer(b, e, storage));
  return tensor::FromElementsOp::create(b, type(t->dims, storage), scalars);
}

Value Lowering::value(Tensor t) {
  if (!t->value) {
    t->value = t->constant ? constant(t->constant) : materializeElements(t);
    remembered.push_back({t, /*elements=*/false});
  }
  return t->value;
}

Lowering::Scope::~Scope() {
  while (l.remembered.size() > mark) {
    auto [tensor, elements] = l.remembered.pop_back_val();
    if (elements)
      tensor->elements.reset();
    else
      tensor->value = {};
  }
  l.node = node;
  l.b.setLoc(loc);
}

FailureOr<Dims> Lowering::elements(Tensor t, StringRef what) {
  if (t->elements)
    return *t->elements;
  std::optional<int64_t> count = product(t->dims).constant();
  if (!t->isInteger() || t->rank() > 1 || !count || *count > kMaxListed)
    return error() << "expects " << what
                   << " to be a list of integers of known length (at most "
                   << kMaxListed << ")";
  t->elements.emplace();
  remembered.push_back({t, /*elements=*/true});
  for (int64_t i = 0; i < *count; ++i) {
    SmallVector<Value> at;
    if (t->rank() == 1)
      at.push_back(arith::ConstantIndexOp::create(b, i));
    Value element = tensor::ExtractOp::create(b, value(t), at);
    t->elements->push_back(sizes.opaque(element));
  }
  return *t->elements;
}

std::optional<SmallVector<int64_t>> Lowering::constants(Tensor t) {
  if (!t->elements)
    return std::nullopt;
  SmallVector<int64_t> result;
  for (const Expr &e : *t->elements) {
    if (!e.constant())
      return std::nullopt;
    result.push_back(*e.constant());
  }
  return result;
}

std::optional<double> Lowering::constantFloat(Tensor t) {
  if (!t->constant || !t->isFloat() || t->constant.getNumElements() != 1)
    return std::nullopt;
  APFloat v = *t->constant.getValues<APFloat>().begin();
  bool ignored;
  v.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &ignored);
  return v.convertToDouble();
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

void Lowering::check(Value ok, Value found, Value limit, StringRef message) {
  if (matchPattern(ok, m_One()))
    return;
  auto asI64 = [&](Value v) {
    return v.getType().isInteger(64)
               ? v
               : Value(arith::IndexCastOp::create(b, b.getI64Type(), v));
  };
  CheckOp::create(b, ok, asI64(found), asI64(limit),
                  kept ? describeOperation(kept) : node.describe(), message);
}

void Lowering::checkEqual(const Expr &found, const Expr &limit,
                          StringRef message) {
  if (found == limit)
    return;
  Value f = index(found), l = index(limit);
  check(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, f, l), f, l,
        message);
}

void Lowering::checkLessOrEqual(const Expr &found, const Expr &limit,
                                StringRef message) {
  if (sizes.isLessOrEqual(found, limit))
    return;
  Value f = index(found), l = index(limit);
  check(arith::CmpIOp::create(b, arith::CmpIPredicate::sle, f, l), f, l,
        message);
}

LogicalResult Lowering::checkBroadcast(Tensor t, ArrayRef<Expr> dims,
                                       StringRef what) {
  int64_t shift = static_cast<int64_t>(dims.size()) - t->rank();
  if (shift < 0)
    return error() << "expects " << what << " of rank at most " << dims.size()
                   << ", got " << t->rank();
  for (int64_t i = 0; i < t->rank(); ++i) {
    const Expr &have = t->dims[i], &want = dims[i + shift];
    if (have == want || have.is(1))
      continue;
    if (have.constant() && want.constant())
      return error() << "expects " << what << " to broadcast, got size "
                     << *have.constant() << " for " << *want.constant();
    using P = arith::CmpIPredicate;
    Value h = index(have), w = index(want);
    Value same = arith::CmpIOp::create(b, P::eq, h, w);
    Value unit = arith::CmpIOp::create(b, P::eq, h, index(1));
    check(arith::OrIOp::create(b, same, unit), h, w,
          ("expects " + what + " to broadcast, got size {found} for {limit}")
              .str());
  }
  return success();
}

LogicalResult Lowering::checkAgree(const Expr &found, const Expr &limit,
                                   StringRef what) {
  if (found.constant() && limit.constant() && found != limit)
    return error() << "expects " << what << " that agree, got "
                   << *found.constant() << " and " << *limit.constant();
  checkEqual(
      found, limit,
      ("expects " + what + " that agree, got {found} and {limit}").str());
  return success();
}

void Lowering::checkRange(Tensor integers, const Expr &low, const Expr &high,
                          const Expr &limit, StringRef message) {
  // Both extremes in one pass. What they start from lies in every range, so
  // that no element is no error.
  Type i64 = b.getI64Type();
  bool isUnsigned = integers->isUnsigned();
  SmallVector<Value> extremes = reduce(
      integers, SmallVector<bool>(integers->rank(), true),
      {intConstant(b, i64, INT64_MAX), intConstant(b, i64, INT64_MIN)},
      [&](ImplicitLocOpBuilder &b, ValueRange args) -> SmallVector<Value> {
        Value v = args[0];
        if (!v.getType().isInteger(64))
          v = isUnsigned ? Value(arith::ExtUIOp::create(b, i64, v))
                         : Value(arith::ExtSIOp::create(b, i64, v));
        return {arith::MinSIOp::create(b, v, args[1]),
                arith::MaxSIOp::create(b, v, args[2])};
      });
  Value least = tensor::ExtractOp::create(b, extremes[0], ValueRange());
  Value greatest = tensor::ExtractOp::create(b, extremes[1], ValueRange());
  using P = arith::CmpIPredicate;
  Value lowOk =
      arith::CmpIOp::create(b, P::sge, least, sizes.integer(b, low, i64));
  Value highOk =
      arith::CmpIOp::create(b, P::sle, greatest, sizes.integer(b, high, i64));
  check(arith::AndIOp::create(b, lowOk, highOk),
        arith::SelectOp::create(b, lowOk, greatest, least),
        sizes.integer(b, limit, i64), message);
}

LogicalResult Lowering::checkSize(const Expr &size, StringRef what) {
  std::optional<int64_t> known = size.constant();
  if (known && *known < 0)
    return error() << "expects no negative " << what << ", got " << *known;
  if (!sizes.isNonNegative(size)) {
    Value found = index(size), zero = index(0);
    check(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, found, zero),
          found, zero, ("expects no negative " + what + ", got {found}").str());
  }
  return success();
}

/// "7", or "at least 9223372036854775807" for a product that does not fit.
static std::string describeCount(int64_t count) {
  return (count == INT64_MAX ? "at least " : "") + std::to_string(count);
}

/// The product of those that are constant; INT64_MAX when it does not fit.
static int64_t constantCount(ArrayRef<Expr> dims, bool skipZeros = false) {
  int64_t count = 1;
  for (const Expr &d : dims)
    if (std::optional<int64_t> c = d.constant(); c && !(skipZeros && *c == 0))
      if (llvm::MulOverflow(count, *c, count))
        count = INT64_MAX;
  return count;
}

Value Lowering::count(ArrayRef<Expr> dims) {
  SmallVector<Value> factors;
  for (const Expr &d : dims)
    if (!d.constant())
      factors.push_back(index(d));
  if (int64_t known = constantCount(dims); known != 1 || factors.empty())
    factors.push_back(index(known));
  return saturatingProduct(b, factors);
}

LogicalResult Lowering::checkElements(ArrayRef<Expr> factors) {
  int64_t known = constantCount(factors, /*skipZeros=*/true);
  if (known > kMaxElements)
    return error() << "expects a shape of at most " << kMaxElements
                   << " elements beside sizes of 0, got "
                   << describeCount(known);
  if (llvm::none_of(factors, [&](const Expr &f) { return sizes.isData(f); }))
    return success();
  Dims counted = llvm::map_to_vector(
      factors, [&](const Expr &f) { return sizes.max(f, 1); });
  Value found = count(counted);
  Value limit = intConstant(b, b.getI64Type(), kMaxElements);
  check(arith::CmpIOp::create(b, arith::CmpIPredicate::sle, found, limit),
        found, limit,
        factors.size() == 1
            ? "expects at most {limit} elements, got {found+}"
            : "expects a shape of at most {limit} elements beside sizes of 0, "
              "got {found+}");
  return success();
}

LogicalResult Lowering::checkSameSize(const Dims &from, const Dims &to) {
  Expr have = product(from), want = product(to);
  if (have.constant() && want.constant()) {
    // Equal as i64 is not enough: the product may have wrapped.
    if (int64_t count = constantCount(to); count != *have.constant())
      return error() << "expects a shape of " << *have.constant()
                     << " elements, got " << describeCount(count);
    return success();
  }
  if (have == want)
    return success();
  Value found = count(to);
  Value limit = sizes.integer(b, have, b.getI64Type());
  check(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, found, limit), found,
        limit, "expects a shape of {limit} elements, got {found+}");
  return success();
}

/// The first element of constant `indices` that does not lie in [-size, size).
static std::optional<llvm::APInt> findBadIndex(Tensor indices, int64_t size,
                                               std::optional<int64_t> column) {
  int64_t stride = column ? indices->constant.getType().getShape().back() : 1;
  for (auto [i, value] :
       llvm::enumerate(indices->constant.getValues<llvm::APInt>())) {
    if (static_cast<int64_t>(i) % stride != column.value_or(0))
      continue;
    llvm::APInt at = indices->isUnsigned() ? value.zext(128) : value.sext(128);
    if (at.sge(size) || at.slt(-size))
      return at;
  }
  return std::nullopt;
}

LogicalResult Lowering::checkIndices(Tensor indices, const Expr &size,
                                     std::optional<int64_t> column) {
  StringRef message =
      "expects every index to lie in an axis of size {limit}, got {found}";
  if (!indices->isInteger())
    return error() << "expects integer indices, got " << indices->elementType;
  if (std::optional<int64_t> n = size.constant(); n && indices->constant) {
    std::optional<llvm::APInt> bad = findBadIndex(indices, *n, column);
    if (!bad)
      return success();
    return error() << "expects every index to lie in an axis of size " << *n
                   << ", got " << llvm::toString(*bad, 10, /*Signed=*/true);
  }
  if (column) {
    Dims offsets(indices->rank(), Expr(0)), one = indices->dims;
    offsets.back() = *column;
    one.back() = 1;
    indices = slice(indices, offsets, one);
  }
  if (indices->elements) {
    for (const Expr &e : *indices->elements) {
      if (sizes.isNonNegative(e) && sizes.isLessOrEqual(e + 1, size))
        continue;
      std::optional<int64_t> at = e.constant(), n = size.constant();
      if (at && n && (*at < -*n || *at >= *n))
        return error() << "expects every index to lie in an axis of size " << *n
                       << ", got " << *at;
      if (at && *at < 0 && sizes.isLessOrEqual(Expr() - e, size))
        continue;
      using P = arith::CmpIPredicate;
      Value i = index(e), end = index(size), least = index(Expr() - size);
      Value highOk = arith::CmpIOp::create(b, P::slt, i, end);
      Value lowOk = arith::CmpIOp::create(b, P::sge, i, least);
      check(arith::AndIOp::create(b, highOk, lowOk), i, end, message);
    }
    return success();
  }
  checkRange(indices, indices->isUnsigned() ? Expr(0) : Expr() - size, size - 1,
             size, message);
  return success();
}

Value Lowering::wrapIndex(ImplicitLocOpBuilder &b, Value element, Value size) {
  Value at =
      element.getType().isIndex()
          ? element
          : Value(arith::IndexCastOp::create(b, b.getIndexType(), element));
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value negative =
      arith::CmpIOp::create(b, arith::CmpIPredicate::slt, at, zero);
  Value fromEnd = arith::AddIOp::create(b, at, size);
  return arith::SelectOp::create(b, negative, fromEnd, at);
}
