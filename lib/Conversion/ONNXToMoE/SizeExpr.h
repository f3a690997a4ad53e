//===- SizeExpr.h - integer polynomials over dimensions ---------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sizes, and the elements of tensors of sizes, are polynomials with integer
// coefficients over atoms: the dimensions of the model's inputs and whatever
// else an integer was computed from. The form is canonical, so equal
// polynomials are equal sizes; arithmetic wraps like the i64 it stands for.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_SIZEEXPR_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_SIZEEXPR_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/StringMap.h"
#include <map>

namespace mlir::moe::raise {

using Atom = unsigned;
/// A product of atoms, in ascending order.
using Monomial = std::vector<Atom>;

class Expr {
public:
  Expr(int64_t constant = 0) {
    if (constant != 0)
      terms[{}] = constant;
  }
  static Expr atom(Atom a) {
    Expr e;
    e.terms[{a}] = 1;
    return e;
  }

  std::optional<int64_t> constant() const {
    if (terms.empty())
      return 0;
    if (terms.size() == 1 && terms.begin()->first.empty())
      return terms.begin()->second;
    return std::nullopt;
  }
  bool is(int64_t value) const { return constant() == value; }

  Expr operator+(const Expr &other) const;
  Expr operator-(const Expr &other) const { return *this + other * Expr(-1); }
  Expr operator*(const Expr &other) const;
  bool operator==(const Expr &other) const { return terms == other.terms; }
  bool operator!=(const Expr &other) const { return !(*this == other); }

  /// The polynomial `q` with `q * divisor == *this`, if there is one.
  std::optional<Expr> exactQuotient(const Expr &divisor) const;

  /// "2*a0*a1 + 3": canonical, used to find equal computed atoms.
  std::string key() const;

  std::map<Monomial, int64_t> terms;
};

/// An integer that is not a polynomial of others.
struct AtomInfo {
  enum Kind {
    Dim,
    Opaque,
    FloorDiv,
    TruncDiv,
    FloorMod,
    TruncMod,
    Min,
    Max,
    Select,
    Equal,
    Less
  };
  Kind kind;
  /// Dim: the tensor of which the atom is dimension `dim`. Opaque: an integer.
  Value source;
  int64_t dim = 0;
  SmallVector<Expr, 3> operands;
  bool nonNegative = false;
  /// As `index`, once something needed it.
  Value materialized;
  /// Whether elements of a tensor have a part in it; `Sizes::make` sets it.
  bool isData = false;
};

/// The atoms of one function, and the code that computes them.
class Sizes {
public:
  /// The dimension called `name` of the function's inputs: one atom per name,
  /// because the runtime refuses inputs that give a name two sizes. An empty
  /// name is a dimension of its own.
  Expr inputDim(StringRef name, Value tensor, int64_t dim);
  /// Whether some sizes of the inputs give `e` another value than the dimension
  /// called `name`, if an input has it; "false" means "not known".
  bool differsFromInputDim(const Expr &e, StringRef name) const;
  /// The run-time size of a dimension of which nothing else is known.
  Expr dimOf(Value tensor, int64_t dim);
  /// An integer that data decides.
  Expr opaque(Value integer, bool nonNegative = false);

  Expr floorDiv(const Expr &a, const Expr &b) {
    return divide(AtomInfo::FloorDiv, a, b);
  }
  Expr truncDiv(const Expr &a, const Expr &b) {
    return divide(AtomInfo::TruncDiv, a, b);
  }
  Expr floorMod(const Expr &a, const Expr &b) {
    return divide(AtomInfo::FloorMod, a, b);
  }
  Expr truncMod(const Expr &a, const Expr &b) {
    return divide(AtomInfo::TruncMod, a, b);
  }
  Expr ceilDiv(const Expr &a, const Expr &b) {
    return Expr() - floorDiv(Expr() - a, b);
  }
  Expr min(const Expr &a, const Expr &b);
  Expr max(const Expr &a, const Expr &b);
  /// Conditions are 0 or 1.
  Expr equal(const Expr &a, const Expr &b);
  Expr less(const Expr &a, const Expr &b);
  Expr select(const Expr &condition, const Expr &a, const Expr &b);

  /// What holds for every value of the atoms; "false" means "not known".
  bool isNonNegative(const Expr &e) const;
  bool isPositive(const Expr &e) const { return isNonNegative(e - 1); }
  bool isLessOrEqual(const Expr &a, const Expr &b) const;
  /// Whether elements of a tensor have a part in it, not only shapes.
  bool isData(const Expr &e) const;
  /// Whether everything it is computed from is defined outside of `region`.
  bool isDefinedOutside(const Expr &e, Region &region) const;

  /// The value as `index`.
  Value index(ImplicitLocOpBuilder &b, const Expr &e);
  OpFoldResult foldResult(ImplicitLocOpBuilder &b, const Expr &e);
  /// The value as an integer of type `type`.
  Value integer(ImplicitLocOpBuilder &b, const Expr &e, Type type);

  /// Code for atoms that is emitted while a scope is open does not outlive it:
  /// for the regions of control flow.
  class Scope {
  public:
    explicit Scope(Sizes &sizes) : sizes(sizes), mark(sizes.emitted.size()) {}
    ~Scope();

  private:
    Sizes &sizes;
    size_t mark;
  };

private:
  Expr make(AtomInfo info);
  Expr divide(AtomInfo::Kind kind, const Expr &a, const Expr &b);
  Value materialize(ImplicitLocOpBuilder &b, Atom atom);

  std::vector<AtomInfo> atoms;
  llvm::StringMap<Atom> computed, inputDims;
  std::map<std::pair<void *, int64_t>, Atom> bySource;
  SmallVector<Atom> emitted;
};

} // namespace mlir::moe::raise

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_SIZEEXPR_H
