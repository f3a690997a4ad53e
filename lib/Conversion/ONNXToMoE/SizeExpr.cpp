//===- SizeExpr.cpp - integer polynomials over dimensions -----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SizeExpr.h"
#include "Elements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe::raise;

//===----------------------------------------------------------------------===//
// Polynomials
//===----------------------------------------------------------------------===//

static int64_t wrapAdd(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) +
                              static_cast<uint64_t>(b));
}
static int64_t wrapMul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) *
                              static_cast<uint64_t>(b));
}

static void addTerm(std::map<Monomial, int64_t> &terms, const Monomial &m,
                    int64_t coefficient) {
  int64_t &sum = terms[m];
  sum = wrapAdd(sum, coefficient);
  if (sum == 0)
    terms.erase(m);
}

Expr Expr::operator+(const Expr &other) const {
  Expr sum = *this;
  for (const auto &[m, c] : other.terms)
    addTerm(sum.terms, m, c);
  return sum;
}

Expr Expr::operator*(const Expr &other) const {
  Expr product;
  for (const auto &[m1, c1] : terms)
    for (const auto &[m2, c2] : other.terms) {
      Monomial m;
      std::merge(m1.begin(), m1.end(), m2.begin(), m2.end(),
                 std::back_inserter(m));
      addTerm(product.terms, m, wrapMul(c1, c2));
    }
  return product;
}

/// The order of division: by degree, then lexicographic. It is compatible with
/// multiplication, so the leading term of a product is that of its factors.
static bool divisionOrder(const Monomial &a, const Monomial &b) {
  return a.size() != b.size() ? a.size() < b.size() : a > b;
}

static std::pair<Monomial, int64_t> leading(const Expr &e) {
  auto it =
      std::max_element(e.terms.begin(), e.terms.end(), [](auto &a, auto &b) {
        return divisionOrder(a.first, b.first);
      });
  return *it;
}

std::optional<Expr> Expr::exactQuotient(const Expr &divisor) const {
  if (divisor.terms.empty())
    return std::nullopt;
  auto [dm, dc] = leading(divisor);
  Expr rest = *this, quotient;
  while (!rest.terms.empty()) {
    auto [rm, rc] = leading(rest);
    if (rc % dc != 0 || (dc == -1 && rc == INT64_MIN) ||
        !std::includes(rm.begin(), rm.end(), dm.begin(), dm.end()))
      return std::nullopt;
    Expr term;
    Monomial m;
    std::set_difference(rm.begin(), rm.end(), dm.begin(), dm.end(),
                        std::back_inserter(m));
    term.terms[m] = rc / dc;
    quotient = quotient + term;
    rest = rest - term * divisor;
    // Wrapped coefficients could go on for ever.
    if (quotient.terms.size() > 64)
      return std::nullopt;
  }
  return quotient;
}

std::string Expr::key() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (const auto &[m, c] : terms) {
    os << c;
    for (Atom a : m)
      os << '*' << a;
    os << ' ';
  }
  return text;
}

//===----------------------------------------------------------------------===//
// Atoms
//===----------------------------------------------------------------------===//

Expr Sizes::make(AtomInfo info) {
  if (!info.operands.empty()) {
    std::string key = std::to_string(info.kind);
    for (const Expr &operand : info.operands)
      key += "(" + operand.key() + ")";
    auto [it, isNew] = computed.try_emplace(key, atoms.size());
    if (!isNew)
      return Expr::atom(it->second);
  }
  info.isData =
      info.kind == AtomInfo::Opaque ||
      llvm::any_of(info.operands, [&](const Expr &e) { return isData(e); });
  atoms.push_back(std::move(info));
  return Expr::atom(atoms.size() - 1);
}

Expr Sizes::inputDim(StringRef name, Value tensor, int64_t dim) {
  if (name.empty() ||
      !cast<RankedTensorType>(tensor.getType()).isDynamicDim(dim))
    return dimOf(tensor, dim);
  auto [it, isNew] = inputDims.try_emplace(name, atoms.size());
  if (!isNew)
    return Expr::atom(it->second);
  return dimOf(tensor, dim);
}

bool Sizes::differsFromInputDim(const Expr &e, StringRef name) const {
  auto dim = inputDims.find(name);
  if (dim == inputDims.end())
    return false;
  // A polynomial of independent sizes is zero everywhere only if it has no
  // terms.
  Expr difference = e - Expr::atom(dim->second);
  return !difference.terms.empty() &&
         llvm::all_of(difference.terms, [&](const auto &term) {
           return llvm::all_of(term.first, [&](Atom a) {
             return atoms[a].kind == AtomInfo::Dim &&
                    isa<BlockArgument>(atoms[a].source);
           });
         });
}

Expr Sizes::dimOf(Value tensor, int64_t dim) {
  int64_t size = cast<RankedTensorType>(tensor.getType()).getDimSize(dim);
  if (!ShapedType::isDynamic(size))
    return size;
  auto [it, isNew] = bySource.try_emplace(
      std::make_pair(tensor.getAsOpaquePointer(), dim), atoms.size());
  if (!isNew)
    return Expr::atom(it->second);
  AtomInfo info{AtomInfo::Dim, tensor, dim, {}, /*nonNegative=*/true, {}};
  return make(std::move(info));
}

Expr Sizes::opaque(Value integer, bool nonNegative) {
  auto [it, isNew] = bySource.try_emplace(
      std::make_pair(integer.getAsOpaquePointer(), -1), atoms.size());
  if (!isNew)
    return Expr::atom(it->second);
  AtomInfo info{AtomInfo::Opaque, integer, 0, {}, nonNegative, {}};
  return make(std::move(info));
}

static int64_t foldDivision(AtomInfo::Kind kind, int64_t a, int64_t b) {
  int64_t quotient = a / b, remainder = a % b;
  bool floors = remainder != 0 && (remainder < 0) != (b < 0);
  switch (kind) {
  case AtomInfo::FloorDiv:
    return floors ? quotient - 1 : quotient;
  case AtomInfo::TruncDiv:
    return quotient;
  case AtomInfo::FloorMod:
    return floors ? remainder + b : remainder;
  default:
    return remainder;
  }
}

Expr Sizes::divide(AtomInfo::Kind kind, const Expr &a, const Expr &b) {
  bool isMod = kind == AtomInfo::FloorMod || kind == AtomInfo::TruncMod;
  std::optional<int64_t> ca = a.constant(), cb = b.constant();
  // A division by zero or an overflow is left to the run time.
  if (ca && cb && *cb != 0 && !(*ca == INT64_MIN && *cb == -1))
    return foldDivision(kind, *ca, *cb);
  // Only when the divisor cannot be zero is the exact quotient the answer.
  if (cb.value_or(0) != 0 || isPositive(b))
    if (std::optional<Expr> quotient = a.exactQuotient(b))
      return isMod ? Expr() : *quotient;
  // Positive operands are divided alike by truncation and by floor.
  if (isNonNegative(a) && isPositive(b)) {
    if (kind == AtomInfo::TruncDiv)
      kind = AtomInfo::FloorDiv;
    if (kind == AtomInfo::TruncMod)
      kind = AtomInfo::FloorMod;
  }
  bool nonNegative = (kind == AtomInfo::FloorMod && isPositive(b)) ||
                     (isNonNegative(a) && (isMod || isNonNegative(b)) &&
                      kind != AtomInfo::FloorMod);
  return make({kind, {}, 0, {a, b}, nonNegative, {}});
}

Expr Sizes::min(const Expr &a, const Expr &b) {
  if (isLessOrEqual(a, b))
    return a;
  if (isLessOrEqual(b, a))
    return b;
  bool ordered = a.key() < b.key();
  return make({AtomInfo::Min,
               {},
               0,
               {ordered ? a : b, ordered ? b : a},
               isNonNegative(a) && isNonNegative(b),
               {}});
}

Expr Sizes::max(const Expr &a, const Expr &b) {
  if (isLessOrEqual(a, b))
    return b;
  if (isLessOrEqual(b, a))
    return a;
  bool ordered = a.key() < b.key();
  return make({AtomInfo::Max,
               {},
               0,
               {ordered ? a : b, ordered ? b : a},
               isNonNegative(a) || isNonNegative(b),
               {}});
}

Expr Sizes::equal(const Expr &a, const Expr &b) {
  if (std::optional<int64_t> difference = (a - b).constant())
    return *difference == 0;
  if (isPositive(a - b) || isPositive(b - a))
    return 0;
  bool ordered = a.key() < b.key();
  return make({AtomInfo::Equal,
               {},
               0,
               {ordered ? a : b, ordered ? b : a},
               /*nonNegative=*/true,
               {}});
}

Expr Sizes::less(const Expr &a, const Expr &b) {
  if (a.constant() && b.constant())
    return *a.constant() < *b.constant();
  if (isLessOrEqual(a + 1, b))
    return 1;
  if (isLessOrEqual(b, a))
    return 0;
  return make({AtomInfo::Less, {}, 0, {a, b}, /*nonNegative=*/true, {}});
}

Expr Sizes::select(const Expr &condition, const Expr &a, const Expr &b) {
  if (std::optional<int64_t> c = condition.constant())
    return *c != 0 ? a : b;
  if (a == b)
    return a;
  return make({AtomInfo::Select,
               {},
               0,
               {condition, a, b},
               isNonNegative(a) && isNonNegative(b),
               {}});
}

bool Sizes::isNonNegative(const Expr &e) const {
  return llvm::all_of(e.terms, [&](const auto &term) {
    return term.second >= 0 && llvm::all_of(term.first, [&](Atom a) {
             return atoms[a].nonNegative;
           });
  });
}

bool Sizes::isData(const Expr &e) const {
  return llvm::any_of(e.terms, [&](const auto &term) {
    return llvm::any_of(term.first, [&](Atom a) { return atoms[a].isData; });
  });
}

bool Sizes::isDefinedOutside(const Expr &e, Region &region) const {
  return llvm::all_of(e.terms, [&](const auto &term) {
    return llvm::all_of(term.first, [&](Atom a) {
      Value source = atoms[a].source;
      return !(source && region.isAncestor(source.getParentRegion())) &&
             llvm::all_of(atoms[a].operands, [&](const Expr &operand) {
               return isDefinedOutside(operand, region);
             });
    });
  });
}

bool Sizes::isLessOrEqual(const Expr &a, const Expr &b) const {
  if (a.constant() && b.constant())
    return *a.constant() <= *b.constant();
  // Exporters write INT64_MAX for "to the end"; nothing is larger, but the
  // difference below would wrap.
  if (b.is(INT64_MAX) || a.is(INT64_MIN))
    return true;
  if (a.is(INT64_MAX) || b.is(INT64_MIN))
    return false;
  if (isNonNegative(b - a))
    return true;
  // min(x, y) <= x
  if (a.terms.size() == 1 && a.terms.begin()->second == 1 &&
      a.terms.begin()->first.size() == 1) {
    const AtomInfo &info = atoms[a.terms.begin()->first.front()];
    if (info.kind == AtomInfo::Min)
      return llvm::any_of(info.operands, [&](const Expr &operand) {
        return operand != a && isLessOrEqual(operand, b);
      });
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

Sizes::Scope::~Scope() {
  while (sizes.emitted.size() > mark)
    sizes.atoms[sizes.emitted.pop_back_val()].materialized = {};
}

Value Sizes::materialize(ImplicitLocOpBuilder &b, Atom atom) {
  if (Value known = atoms[atom].materialized)
    return known;
  AtomInfo info = atoms[atom]; // by value: operands may add atoms
  SmallVector<Value, 3> v;
  for (const Expr &operand : info.operands)
    v.push_back(index(b, operand));
  Type i1 = b.getI1Type();
  Value result;
  switch (info.kind) {
  case AtomInfo::Dim:
    result = tensor::DimOp::create(b, info.source, info.dim);
    break;
  case AtomInfo::Opaque:
    result = info.source;
    if (result.getType().isInteger(1))
      result = arith::IndexCastUIOp::create(b, b.getIndexType(), result);
    else if (!result.getType().isIndex())
      result = arith::IndexCastOp::create(b, b.getIndexType(), result);
    break;
  case AtomInfo::FloorDiv:
  case AtomInfo::TruncDiv:
  case AtomInfo::FloorMod:
  case AtomInfo::TruncMod: {
    bool isMod =
        info.kind == AtomInfo::FloorMod || info.kind == AtomInfo::TruncMod;
    bool floors =
        info.kind == AtomInfo::FloorDiv || info.kind == AtomInfo::FloorMod;
    const Expr &divisor = info.operands[1];
    if (floors && isNonNegative(info.operands[0]) && isPositive(divisor)) {
      result = isMod ? Value(arith::RemUIOp::create(b, v[0], v[1]))
                     : Value(arith::DivUIOp::create(b, v[0], v[1]));
      break;
    }
    auto divide = [&](Value x, Value y) -> Value {
      if (!floors)
        return isMod ? Value(arith::RemSIOp::create(b, x, y))
                     : Value(arith::DivSIOp::create(b, x, y));
      Value quotient = arith::FloorDivSIOp::create(b, x, y);
      if (!isMod)
        return quotient;
      Value whole = arith::MulIOp::create(b, quotient, y);
      return arith::SubIOp::create(b, x, whole);
    };
    // Constants and sizes are not -1; data may be.
    bool isSafe = divisor.constant() || isPositive(divisor);
    result = isSafe ? divide(v[0], v[1])
                    : guardOverflow(b, v[0], v[1], divide, isMod);
    break;
  }
  case AtomInfo::Min:
    result = arith::MinSIOp::create(b, v[0], v[1]);
    break;
  case AtomInfo::Max:
    result = arith::MaxSIOp::create(b, v[0], v[1]);
    break;
  case AtomInfo::Select: {
    Value condition = arith::IndexCastUIOp::create(b, i1, v[0]);
    result = arith::SelectOp::create(b, condition, v[1], v[2]);
    break;
  }
  case AtomInfo::Equal:
  case AtomInfo::Less: {
    auto predicate = info.kind == AtomInfo::Equal ? arith::CmpIPredicate::eq
                                                  : arith::CmpIPredicate::slt;
    Value bit = arith::CmpIOp::create(b, predicate, v[0], v[1]);
    result = arith::IndexCastUIOp::create(b, b.getIndexType(), bit);
    break;
  }
  }
  atoms[atom].materialized = result;
  emitted.push_back(atom);
  return result;
}

Value Sizes::index(ImplicitLocOpBuilder &b, const Expr &e) {
  if (std::optional<int64_t> constant = e.constant())
    return arith::ConstantIndexOp::create(b, *constant);
  Value sum;
  for (const auto &[monomial, coefficient] : e.terms) {
    Value product;
    for (Atom a : monomial) {
      Value factor = materialize(b, a);
      product = product ? arith::MulIOp::create(b, product, factor) : factor;
    }
    if (!product || coefficient != 1) {
      Value c = arith::ConstantIndexOp::create(b, coefficient);
      product = product ? arith::MulIOp::create(b, product, c) : c;
    }
    sum = sum ? arith::AddIOp::create(b, sum, product) : product;
  }
  return sum;
}

OpFoldResult Sizes::foldResult(ImplicitLocOpBuilder &b, const Expr &e) {
  if (std::optional<int64_t> constant = e.constant())
    return b.getIndexAttr(*constant);
  return index(b, e);
}

Value Sizes::integer(ImplicitLocOpBuilder &b, const Expr &e, Type type) {
  if (std::optional<int64_t> constant = e.constant())
    return arith::ConstantOp::create(
        b, b.getIntegerAttr(type, APInt(type.getIntOrFloatBitWidth(),
                                        static_cast<uint64_t>(*constant),
                                        /*isSigned=*/false,
                                        /*implicitTrunc=*/true)));
  Value v = index(b, e);
  return type.isInteger(1) ? Value(arith::IndexCastUIOp::create(b, type, v))
                           : Value(arith::IndexCastOp::create(b, type, v));
}
