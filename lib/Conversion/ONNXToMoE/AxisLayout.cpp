//===- AxisLayout.cpp - what the axes of an intermediate mean -------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AxisLayout.h"

#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

AxisContext::AxisContext(Value scores, int64_t k, int64_t experts)
    : k(k), experts(experts), rank(rankOf(scores)) {
  tokens = rowsOf(scores);
  if (rank == 3) {
    batch = dimOf(scores, 0);
    sequence = dimOf(scores, 1);
  }
}

static int64_t staticSize(const SymbolicDim &dim) {
  return dim.constant.value_or(ShapedType::kDynamic);
}

Axis AxisContext::token() const {
  return {AxisAtom{AxisAtom::Token, staticSize(tokens)}};
}

Axis AxisContext::choice() const {
  bool members = repeated == AxisAtom::Member;
  return k == 1
             ? Axis()
             : Axis{AxisAtom{members ? AxisAtom::Member : AxisAtom::Choice, k}};
}

AxisLayout AxisContext::chosen() const {
  if (rank != 3)
    return {token(), choice()};
  return {{AxisAtom{AxisAtom::Batch, staticSize(batch)}},
          {AxisAtom{AxisAtom::Sequence, staticSize(sequence)}},
          choice()};
}

std::optional<AxisLayout> AxisContext::tokenRows(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() < 2 || type.getRank() > 3)
    return std::nullopt;
  Axis feature = {
      AxisAtom{AxisAtom::Feature, type.getDimSize(type.getRank() - 1)}};
  if (!(rowsOf(value) == tokens))
    return std::nullopt;
  if (type.getRank() == 2)
    return AxisLayout{token(), feature};
  SymbolicDim outer = dimOf(value, 0), inner = dimOf(value, 1);
  if (outer.constant == 1)
    return AxisLayout{{}, token(), feature};
  if (inner.constant == 1)
    return AxisLayout{token(), {}, feature};
  if (batch.isKnown() && !(batch == outer))
    return std::nullopt;
  batch = outer;
  sequence = inner;
  return AxisLayout{{AxisAtom{AxisAtom::Batch, staticSize(batch)}},
                    {AxisAtom{AxisAtom::Sequence, staticSize(sequence)}},
                    feature};
}

SymbolicDim AxisContext::sizeOf(const AxisAtom &atom) const {
  switch (atom.role) {
  case AxisAtom::Token:
    return tokens;
  case AxisAtom::Batch:
    return batch;
  case AxisAtom::Sequence:
    return sequence;
  default:
    return {};
  }
}

bool AxisContext::hasSize(const AxisAtom &atom, const SymbolicDim &dim) const {
  return sizeOf(atom) == dim || (isSizeOf && isSizeOf(dim, atom));
}

bool moe::hasRole(const AxisLayout &layout, AxisAtom::Role role) {
  unsigned count = 0;
  for (const Axis &axis : layout)
    count += llvm::count_if(
        axis, [&](const AxisAtom &atom) { return atom.role == role; });
  return count == 1;
}

bool moe::isAxis(const Axis &axis, AxisAtom::Role role) {
  return axis.size() == 1 && axis[0].role == role;
}

bool moe::isTokenRows(const AxisLayout &layout) {
  if (layout.empty() || !isAxis(layout.back(), AxisAtom::Feature))
    return false;
  if (layout.size() == 2)
    return isAxis(layout[0], AxisAtom::Token);
  return layout.size() == 3 && isAxis(layout[0], AxisAtom::Batch) &&
         isAxis(layout[1], AxisAtom::Sequence);
}

std::string moe::describe(const AxisLayout &layout) {
  static const char *const names[] = {
      "token", "batch", "sequence", "choice",  "expert", "hit",   "sorted",
      "index", "row",   "column",   "feature", "group",  "member"};
  std::string text;
  llvm::raw_string_ostream os(text);
  os << '[';
  llvm::interleaveComma(layout, os, [&](const Axis &axis) {
    if (axis.empty())
      os << '1';
    llvm::interleave(
        axis, os,
        [&](const AxisAtom &atom) {
          os << names[atom.role];
          if (atom.role == AxisAtom::Hit)
            os << " of expert " << atom.expert;
        },
        " x ");
  });
  os << ']';
  return text;
}

bool moe::movesAxes(NodeOp node) {
  static constexpr StringLiteral names[] = {"Identity",  "Cast",    "Reshape",
                                            "Unsqueeze", "Squeeze", "Flatten",
                                            "Transpose", "Expand",  "Tile"};
  return node.getDomain().empty() &&
         llvm::is_contained(names, node.getOpType());
}

//===----------------------------------------------------------------------===//
// Reshape
//===----------------------------------------------------------------------===//

namespace {
/// Deals the atoms of the source out to the dimensions of the target, from both
/// ends towards the one dimension whose size is not known.
struct Dealer {
  SmallVector<AxisAtom> atoms;
  AxisContext &context;

  /// The atoms at the front (or at the back) whose product is `dim`.
  std::optional<Axis> take(const SymbolicDim &dim, bool front) {
    if (!atoms.empty() && context.hasSize(next(front), dim))
      return consume(1, front);
    if (dim.constant == 1)
      return consume(!atoms.empty() && next(front).size == 1, front);
    if (dim.constant)
      if (auto count = countOf(*dim.constant, front))
        return consume(*count, front);
    if (dim == context.tokens && isDivided(front))
      return consume(2, front);
    return divide(dim, front);
  }

  const AxisAtom &next(bool front) {
    return front ? atoms.front() : atoms.back();
  }

private:
  /// How many atoms have the product `size`.
  std::optional<size_t> countOf(int64_t size, bool front) {
    int64_t product = 1;
    size_t count = 0;
    while (product < size && count < atoms.size()) {
      int64_t atom =
          (front ? atoms[count] : atoms[atoms.size() - 1 - count]).size;
      if (ShapedType::isDynamic(atom) ||
          llvm::MulOverflow(product, atom, product) || atom == 0)
        return std::nullopt;
      ++count;
    }
    return product == size ? std::optional(count) : std::nullopt;
  }

  /// Whether batch and sequence are next.
  bool isDivided(bool front) {
    if (atoms.size() < 2)
      return false;
    size_t at = front ? 0 : atoms.size() - 2;
    return atoms[at].role == AxisAtom::Batch &&
           atoms[at + 1].role == AxisAtom::Sequence;
  }

  /// Takes batch or sequence off the tokens.
  std::optional<Axis> divide(const SymbolicDim &dim, bool front) {
    if (atoms.empty() || next(front).role != AxisAtom::Token)
      return std::nullopt;
    if (!context.batch.isKnown() && context.mayDivide && front && dim.isKnown())
      context.batch = dim;
    if (!context.batch.isKnown() ||
        !(dim == (front ? context.batch : context.sequence)))
      return std::nullopt;
    AxisAtom batch{AxisAtom::Batch, staticSize(context.batch)};
    AxisAtom sequence{AxisAtom::Sequence, staticSize(context.sequence)};
    AxisAtom &token = front ? atoms.front() : atoms.back();
    token = front ? sequence : batch;
    return Axis{front ? batch : sequence};
  }

  Axis consume(size_t count, bool front) {
    auto *begin = front ? atoms.begin() : atoms.end() - count;
    Axis taken(begin, begin + count);
    atoms.erase(begin, begin + count);
    return taken;
  }
};
} // namespace

/// Batch and sequence in one dimension are the tokens again.
static void joinTokens(AxisLayout &layout, const AxisContext &context) {
  for (Axis &axis : layout)
    for (size_t i = 0; i + 1 < axis.size(); ++i)
      if (axis[i].role == AxisAtom::Batch &&
          axis[i + 1].role == AxisAtom::Sequence) {
        axis[i] = context.token()[0];
        axis.erase(axis.begin() + i + 1);
      }
}

static FailureOr<AxisLayout> reshapeAxes(NodeOp node, const AxisLayout &source,
                                         AxisContext &context,
                                         Rejection &rejection) {
  auto target = evaluateShape(node.input(1));
  if (!target)
    return rejection.at(node, "expects a target shape of known length that is "
                              "computed from constants and shapes");
  bool allowZero = node.getI64("allowzero", 0) != 0;
  SmallVector<AxisAtom> atoms;
  for (const Axis &axis : source)
    atoms.append(axis.begin(), axis.end());

  auto isFree = [](const SymbolicDim &dim) {
    return !dim.isKnown() || dim.constant == -1;
  };
  // 0 copies the size of the source's dimension, which then counts as known.
  for (auto [i, dim] : llvm::enumerate(*target)) {
    if (dim.constant != 0)
      continue;
    if (allowZero || i >= source.size())
      return rejection.at(node, "expects no dimension of size 0");
    if (source[i].size() == 1 && context.sizeOf(source[i][0]).isKnown()) {
      dim = context.sizeOf(source[i][0]);
      continue;
    }
    int64_t size = 1;
    for (const AxisAtom &atom : source[i])
      size = ShapedType::isDynamic(atom.size) ? -1 : size * atom.size;
    dim = SymbolicDim::of(size < 0 ? -1 : size);
  }
  Dealer dealer{atoms, context};
  AxisLayout result(target->size());
  size_t begin = 0, end = target->size();
  auto reject = [&] {
    return rejection.at(
        node, "expects a shape that keeps tokens, choices and features apart, "
              "found a reshape of " +
                  describe(source));
  };
  for (; begin < end && !isFree((*target)[begin]); ++begin) {
    auto axis = dealer.take((*target)[begin], /*front=*/true);
    if (!axis)
      break; // the back may leave this dimension as the only one
    result[begin] = *axis;
  }
  for (; end > begin + 1; --end) {
    if (isFree((*target)[end - 1]))
      return reject();
    auto axis = dealer.take((*target)[end - 1], /*front=*/false);
    if (!axis)
      return reject();
    result[end - 1] = *axis;
  }
  // The element count decides the last one.
  if (begin < end) {
    if (!isFree((*target)[begin]) && !(*target)[begin].value)
      return reject();
    result[begin] = Axis(dealer.atoms.begin(), dealer.atoms.end());
  } else if (!dealer.atoms.empty()) {
    return reject();
  }
  joinTokens(result, context);
  return result;
}

//===----------------------------------------------------------------------===//
// The other operators
//===----------------------------------------------------------------------===//

static FailureOr<AxisLayout> squeezeAxes(NodeOp node, AxisLayout layout,
                                         Rejection &rejection) {
  auto axes = intsOf(node, "axes", 1);
  if (!axes)
    return rejection.at(node, "expects constant axes");
  SmallVector<bool> drop(layout.size(), false);
  for (int64_t axis : *axes) {
    auto at = normalizeAxis(axis, layout.size());
    if (!at || !layout[*at].empty())
      return rejection.at(node, "expects to drop dimensions of size 1, found " +
                                    describe(layout));
    drop[*at] = true;
  }
  AxisLayout result;
  for (auto [axis, dropped] : llvm::zip_equal(layout, drop))
    if (!dropped)
      result.push_back(axis);
  return result;
}

static FailureOr<AxisLayout> unsqueezeAxes(NodeOp node, AxisLayout layout,
                                           Rejection &rejection) {
  auto axes = intsOf(node, "axes", 1);
  if (!axes)
    return rejection.at(node, "expects constant axes");
  int64_t rank = layout.size() + axes->size();
  SmallVector<bool> fresh(rank, false);
  for (int64_t axis : *axes) {
    auto at = normalizeAxis(axis, rank);
    if (!at || fresh[*at])
      return rejection.at(node, "expects distinct axes in range");
    fresh[*at] = true;
  }
  AxisLayout result(rank);
  for (size_t to = 0, from = 0; to < result.size(); ++to)
    if (!fresh[to])
      result[to] = layout[from++];
  return result;
}

static FailureOr<AxisLayout>
transposeAxes(NodeOp node, const AxisLayout &layout, Rejection &rejection) {
  auto perm = node.getI64s("perm");
  if (!perm)
    return AxisLayout(llvm::reverse(layout));
  if (perm->size() != layout.size())
    return rejection.at(node, "expects a permutation of the input's rank");
  AxisLayout result;
  for (int64_t from : *perm) {
    if (from < 0 || from >= static_cast<int64_t>(layout.size()))
      return rejection.at(node, "expects a permutation of the input's rank");
    result.push_back(layout[from]);
  }
  return result;
}

/// The axis that Expand or Tile makes of `axis`, where a dimension may be
/// repeated for the choices of a token or for all experts.
static std::optional<Axis> repeatAxis(const Axis &axis, const SymbolicDim &size,
                                      bool tile, bool isRepeated,
                                      const AxisContext &context) {
  if (size.constant == 1)
    return axis;
  bool experts = context.repeated == AxisAtom::Expert;
  if ((axis.empty() || tile) && !isRepeated &&
      size.constant == (experts ? context.experts : context.k)) {
    Axis repeated = experts ? context.expert() : context.choice();
    repeated.append(axis); // Tile lays whole copies one after the other
    return repeated;
  }
  if (axis.empty() || tile)
    return std::nullopt;
  // Expand to the size that the axis has. A dynamic axis of size 1 would be
  // repeated by any other size, so equality must be known.
  if (axis.size() == 1 && context.hasSize(axis[0], size))
    return axis;
  int64_t product = 1;
  for (const AxisAtom &atom : axis) {
    if (ShapedType::isDynamic(atom.size))
      return std::nullopt;
    product *= atom.size;
  }
  if (size.constant == product)
    return axis;
  return std::nullopt;
}

static FailureOr<AxisLayout> expandAxes(NodeOp node, AxisLayout layout,
                                        AxisContext &context,
                                        Rejection &rejection) {
  auto sizes = evaluateShape(node.input(1));
  if (!sizes)
    return rejection.at(node, "expects sizes of known number that are computed "
                              "from constants and shapes");
  bool tile = node.is("Tile");
  if (tile && sizes->size() != layout.size())
    return rejection.at(node, "expects one repeat per dimension");
  while (layout.size() < sizes->size())
    layout.insert(layout.begin(), Axis());
  bool isRepeated = hasRole(layout, context.repeated);
  size_t shift = layout.size() - sizes->size();
  for (auto [i, size] : llvm::enumerate(*sizes)) {
    auto axis = repeatAxis(layout[shift + i], size, tile, isRepeated, context);
    if (!axis)
      return context.repeated == AxisAtom::Choice
                 ? rejection.at(node,
                                "expects to repeat rows once per choice (k = " +
                                    llvm::Twine(context.k) +
                                    "), found other sizes")
                 : rejection.at(node,
                                "expects to repeat rows once per expert (" +
                                    llvm::Twine(context.experts) +
                                    "), found other sizes");
    isRepeated |= layout[shift + i].size() != axis->size();
    layout[shift + i] = *axis;
  }
  return layout;
}

FailureOr<AxisLayout> moe::moveAxes(NodeOp node, const AxisLayout &source,
                                    AxisContext &context,
                                    Rejection &rejection) {
  StringRef op = node.getOpType();
  if (op == "Identity" || op == "Cast")
    return source;
  if (op == "Reshape")
    return reshapeAxes(node, source, context, rejection);
  if (op == "Squeeze")
    return squeezeAxes(node, source, rejection);
  if (op == "Unsqueeze")
    return unsqueezeAxes(node, source, rejection);
  if (op == "Transpose")
    return transposeAxes(node, source, rejection);
  if (op == "Expand" || op == "Tile")
    return expandAxes(node, source, context, rejection);
  if (op == "Flatten") {
    int64_t rank = source.size();
    int64_t axis = node.getI64("axis", 1);
    if (axis < -rank || axis > rank)
      return rejection.at(node, "expects an axis in range");
    axis = axis < 0 ? axis + rank : axis;
    AxisLayout result(2);
    for (auto [i, dim] : llvm::enumerate(source))
      result[static_cast<int64_t>(i) < axis ? 0 : 1].append(dim);
    joinTokens(result, context);
    return result;
  }
  return rejection.at(node, "expects an operator that moves axes");
}

std::optional<AxisLayout> moe::broadcastAxes(const AxisLayout &a,
                                             const AxisLayout &b) {
  AxisLayout result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i) {
    const Axis none;
    const Axis &x = i < a.size() ? a[a.size() - 1 - i] : none;
    const Axis &y = i < b.size() ? b[b.size() - 1 - i] : none;
    if (!x.empty() && !y.empty() && x != y)
      return std::nullopt;
    result[result.size() - 1 - i] = x.empty() ? y : x;
  }
  for (int role = AxisAtom::Token; role <= AxisAtom::Member; ++role) {
    unsigned count = 0;
    for (const Axis &axis : result)
      count += llvm::count_if(
          axis, [&](const AxisAtom &atom) { return atom.role == role; });
    if (count > 1)
      return std::nullopt;
  }
  return result;
}
