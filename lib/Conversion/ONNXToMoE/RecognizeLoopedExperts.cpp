//===- RecognizeLoopedExperts.cpp - one expert after the other ------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A loop over the experts, unrolled by the exporter, in two kinds:
//
//   dense      sum over e of expert_e(x) * gate_e
//              gate_e = sum over the choices of (ids == e) * weights
//   sparse     hits_e = NonZero(ids == e)
//              y[hits_e] += expert_e(x[hits_e]) * weights[hits_e]
//
// or all experts at once, dense, with stacked matrices and gates [.., E].
//
// Or the gates multiply what the experts read (Llama 4):
//
//   sum over e of expert_e(x * gate_e), where expert_e(0) = 0
//
// What derives from the ids and the routing weights is followed forwards, by
// meaning and axis layout. A dense expert does not derive from them: it is
// looked up from where it meets its gate, back to what all experts read, which
// are the tokens. Sparse experts begin where rows are gathered at their hits.
// Shares of experts are added to each other; with the last expert the sum is
// the result, and every expert must have come exactly once.
//
//===----------------------------------------------------------------------===//

#include "ExpertRows.h"
#include "ExportFaults.h"
#include "ForwardWalk.h"
#include "RecognizeForms.h"

#include "llvm/ADT/BitVector.h"
#include <deque>

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

namespace {

/// An index of tokens and choices: token * t + choice * c.
struct Pick {
  int64_t token = 0, choice = 0;
};

/// What one expert adds to the result, or the sum of such shares.
struct Share {
  /// One expert, or all of them (-1) in a tensor with an axis of experts.
  int64_t expert = -1;
  /// What the expert computes: known for sparse ones, else `rows`.
  const RowExpr *expr = nullptr;
  Value rows;
  AxisLayout axes;
  /// The routing weights [.., k], and of which function of them this is.
  Value weights;
  std::optional<ScoreFunction> score = std::nullopt;
  Operation *origin = nullptr;

  const Share *left = nullptr, *right = nullptr; // a sum
  int64_t count = 1;
};

struct Meaning {
  enum Kind {
    Ids,    // the chosen expert
    Weight, // the routing weights `value`, of all choices or at hits
    Mask,   // 1 where expert `expert` (or that of the axis) was chosen, else 0
    Used,   // which experts were chosen at all; of `expert` parts, if split
    Chosen, // the chosen logits `value` of all choices, -inf elsewhere
    Gate,   // a mask times the routing weights `value`, or a score of those
    Closed, // 1 where a gate is 0
    Hits,   // indices of hits, one for each element of a coordinate axis
    Shares, // `share`
  };
  Kind kind;
  AxisLayout axes = {};
  int64_t expert = -1;
  Value value = {};
  SmallVector<Pick, 2> picks = {};
  const Share *share = nullptr;
  /// The function of `value` that a gate is.
  std::optional<ScoreFunction> score = std::nullopt;
};

class LoopedExperts {
public:
  LoopedExperts(Selection &selection, RowExprPool &pool,
                ExpertsAttempt &attempt)
      : selection(selection), pool(pool), attempt(attempt),
        context(selection.scores, selection.k, selection.experts),
        rows(pool, context, attempt.rejection), seen(selection.experts),
        walk(selection.ids().getParentBlock()) {
    context.mayDivide = true;
    context.repeated = AxisAtom::Expert;
    context.isSizeOf = [this](const SymbolicDim &dim, const AxisAtom &atom) {
      return isSizeOf(dim, atom);
    };
  }

  void run();

private:
  void define(Value value, Meaning meaning);
  void visit(NodeOp node);
  void visitMove(NodeOp node, Meaning meaning);
  void visitOneHot(NodeOp node, const Meaning &ids);
  void visitEqual(NodeOp node);
  void visitMultiply(NodeOp node);
  bool visitScaledTokens(NodeOp node, const Meaning &gate, Value repeated);
  void visitSumOfExperts(NodeOp node);
  void visitReduceSum(NodeOp node, Meaning meaning);
  void visitWeights(NodeOp node);
  void visitTaken(NodeOp node, const Meaning &source);
  void visitNonZero(NodeOp node, const Meaning &mask);
  void visitPickArithmetic(NodeOp node);
  void visitConcat(NodeOp node);
  void visitGather(NodeOp node);
  void visitScatterWeights(NodeOp node);
  void visitScatterRows(NodeOp node);
  void visitAdd(NodeOp node);
  void finish(Value root, const Meaning &sum);
  void reportMissing();

  const Meaning *meaningOf(Value value) {
    auto it = meanings.find(value);
    return it == meanings.end() ? nullptr : &it->second;
  }
  const Meaning *meaningOf(Value value, Meaning::Kind kind) {
    const Meaning *meaning = value ? meaningOf(value) : nullptr;
    return meaning && meaning->kind == kind ? meaning : nullptr;
  }
  void reject(Operation *op, const Twine &why) {
    (void)attempt.rejection.at(op, why);
  }
  const Share *add(Share share) {
    shares.push_back(std::move(share));
    return &shares.back();
  }
  bool isSizeOf(const SymbolicDim &dim, const AxisAtom &atom);
  std::optional<int64_t> expertOf(Value constant);
  bool isFilled(Value value, const AxisLayout &axes, double with);
  bool isZeros(Value value, const AxisLayout &axes) {
    return isFilled(value, axes, 0);
  }
  Value beforeRepetition(Value value);
  bool picks(const Pick &pick, const Axis &axis) const;
  std::optional<AxisLayout> tokenLayout(Value value);
  Value denseTokens(ArrayRef<const Share *> leaves);
  void unstack(SmallVector<const Share *> &leaves);

  Selection &selection;
  RowExprPool &pool;
  ExpertsAttempt &attempt;
  AxisContext context;
  ExpertRows rows;
  Value tokens;
  llvm::DenseMap<Value, Meaning> meanings;
  std::deque<Share> shares;
  /// Experts of which a mask was made.
  llvm::BitVector seen;
  const Share *largest = nullptr;
  /// The gates by which what the experts read was multiplied.
  std::optional<Meaning> scaledBy;

  ForwardWalk walk;
};

} // namespace

//===----------------------------------------------------------------------===//
// Driver
//===----------------------------------------------------------------------===//

void LoopedExperts::define(Value value, Meaning meaning) {
  if (!value)
    return;
  if (meaning.kind == Meaning::Mask) {
    attempt.looksLikeExperts = true;
    if (meaning.expert >= 0)
      seen.set(meaning.expert);
  }
  if (meaning.kind == Meaning::Shares) {
    if (!largest || meaning.share->count > largest->count)
      largest = meaning.share;
    if (meaning.share->count >= selection.experts && isTokenRows(meaning.axes))
      return finish(value, meaning);
  }
  meanings[value] = std::move(meaning);
  walk.follow(value);
}

void LoopedExperts::run() {
  if (selection.spread) {
    AxisLayout axes = context.chosen();
    axes.back() = context.expert();
    define(selection.spread, {Meaning::Gate, axes, -1, selection.spread});
  } else if (selection.capacity) {
    // Who is dropped is none of the expert's: only this mask leads to experts.
    AxisLayout axes = context.chosen();
    axes.back() = context.expert();
    define(selection.capacity->mask, {Meaning::Mask, axes});
  } else {
    define(selection.ids(), {Meaning::Ids, context.chosen()});
  }
  if (Value values = selection.spread ? Value() : selection.values())
    define(values, {Meaning::Weight, context.chosen(), -1, values});
  while (NodeOp node = walk.next())
    visit(node);
  if (!attempt.matches.empty())
    return;
  reportMissing();
  reject(selection.node,
         "expects a sum over the experts, each weighted, found none");
}

void LoopedExperts::visit(NodeOp node) {
  auto isShape = [](Operation *op) {
    NodeOp node = dyn_cast<NodeOp>(op);
    return node && (node.is("Shape") || node.is("Size"));
  };
  if (isShape(node) || llvm::all_of(node->getUsers(), isShape))
    return;
  // A copy: what follows adds to the map.
  std::optional<Meaning> first;
  if (const Meaning *meaning =
          node.input(0) ? meaningOf(node.input(0)) : nullptr)
    first = *meaning;
  bool anyRows = false, onlyWeights = true;
  for (Value operand : node.getInputs()) {
    anyRows |= rows.lookup(operand) != nullptr;
    const Meaning *meaning = meaningOf(operand);
    onlyWeights &= !meaning ||
                   (meaning->kind == Meaning::Weight &&
                    meaning->axes == context.chosen()) ||
                   (meaning->kind == Meaning::Ids && node.is("GatherElements"));
  }
  if (movesAxes(node)) {
    if (first)
      return visitMove(node, *first);
    if (!anyRows || !rows.lookup(node.input(0)))
      return; // only the shape
  }
  if (first && first->kind == Meaning::Chosen) {
    if (!node.is("Sigmoid")) // a Softmax would be over all experts
      return reject(node, "expects a score of each chosen expert by itself");
    Meaning gate = *first;
    gate.kind = Meaning::Gate;
    gate.score = ScoreFunction::Sigmoid;
    return define(node.output(0), std::move(gate));
  }
  if (node.is("Not") && first && first->kind == Meaning::Closed) {
    Meaning mask = *first;
    mask.kind = Meaning::Mask;
    return define(node.output(0), std::move(mask));
  }
  if (node.is("OneHot"))
    return first && first->kind == Meaning::Ids
               ? visitOneHot(node, *first)
               : reject(node, "expects the expert ids");
  if (node.is("Equal") || node.is("Greater"))
    return visitEqual(node);
  if (node.is("NonZero") && first)
    return visitNonZero(node, *first);
  if (node.is("ScatterElements") && meaningOf(node.input(1), Meaning::Ids))
    return visitScatterWeights(node);
  if (node.is("ScatterElements") || node.is("ScatterND"))
    return visitScatterRows(node);
  if (first && (node.is("Split") || node.is("Slice") || node.is("Gather")))
    if (first->kind != Meaning::Weight && !meaningOf(node.input(1)))
      return visitTaken(node, *first);
  if (node.is("Gather") || node.is("GatherND"))
    return visitGather(node);
  if (node.is("Concat"))
    return visitConcat(node);
  if (node.is("ReduceSum") && first && first->kind != Meaning::Weight)
    return visitReduceSum(node, *first);
  if (node.is("ReduceSum") && scaledBy && rows.lookup(node.input(0)))
    return visitSumOfExperts(node);
  if (onlyWeights && !anyRows)
    return visitWeights(node);
  if (node.is("Mul") || node.is("Where"))
    return visitMultiply(node);
  if (node.is("Add") || node.is("Sum"))
    return visitAdd(node);
  if (!anyRows)
    return reject(node, "expects an operator that makes masks, gates or rows "
                        "of single experts");
  if (succeeded(rows.visit(node)))
    for (Value result : node.getOutputs())
      walk.follow(result);
}

/// Operators on the routing weights. What they compute is for the router form
/// to say; here they only lead to the last value of their shape.
void LoopedExperts::visitWeights(NodeOp node) {
  Value result = node.output(0);
  if (node.is("ReduceSum") || rankOf(result) != rankOf(selection.scores) ||
      cast<RankedTensorType>(result.getType()).getShape().back() != context.k)
    return;
  if (node.is("Softmax") || node.is("GatherElements") || isElementwise(node))
    define(result, {Meaning::Weight, context.chosen(), -1, result});
}

void LoopedExperts::visitMove(NodeOp node, Meaning meaning) {
  if (meaning.kind == Meaning::Used)
    return define(node.output(0), std::move(meaning));
  if (node.is("Cast") && meaning.kind == Meaning::Ids) {
    auto integer = dyn_cast_or_null<IntegerType>(elementTypeOf(node.output(0)));
    if (!integer || integer.getWidth() < 32)
      return reject(node, "expects expert ids to stay integers of 32 or 64 "
                          "bits");
  }
  if (node.is("Cast") && meaning.kind == Meaning::Shares &&
      !isa_and_nonnull<FloatType>(elementTypeOf(node.output(0))))
    return reject(node, "expects a cast between float types");
  if (node.is("Cast") && meaning.kind == Meaning::Gate &&
      elementTypeOf(node.output(0)).isInteger(1))
    meaning.kind = Meaning::Mask;
  if (node.is("Cast") && meaning.kind == Meaning::Weight &&
      meaning.axes == context.chosen())
    meaning.value = node.output(0);
  if (node.is("Expand") && meaning.kind == Meaning::Hits) {
    // An index for each element of a row: the same one for all of them.
    auto sizes = evaluateShape(node.input(1));
    if (sizes && sizes->size() == 2 && meaning.axes.size() == 2 &&
        meaning.axes[0].size() == 1 && meaning.axes[1].empty() &&
        ((*sizes)[0].constant == 1 ||
         context.hasSize(meaning.axes[0][0], (*sizes)[0])) &&
        (*sizes)[1].constant) {
      meaning.axes[1] = {{AxisAtom::Feature, *(*sizes)[1].constant}};
      return define(node.output(0), std::move(meaning));
    }
  }
  auto axes = moveAxes(node, meaning.axes, context, attempt.rejection);
  if (failed(axes))
    return;
  meaning.axes = *axes;
  define(node.output(0), std::move(meaning));
}

/// Whether `dim` is a dimension of a tensor that has just `atom` there. The
/// number of hits is only known so.
bool LoopedExperts::isSizeOf(const SymbolicDim &dim, const AxisAtom &atom) {
  if (!dim.value || dim.otherValue || dim.dim < 0)
    return false;
  const AxisLayout *layout = nullptr;
  if (const Meaning *meaning = meaningOf(dim.value))
    layout = &meaning->axes;
  else if (const Rows *known = rows.lookup(dim.value))
    layout = &known->axes;
  if (layout)
    return dim.dim < static_cast<int64_t>(layout->size()) &&
           (*layout)[dim.dim] == Axis{atom};
  // [0 : 1] of any dimension leaves at most 1, to which Expand is no change.
  NodeOp node = definingNode(dim.value, "Slice");
  auto axes = node ? intsOf(node, "axes", 3) : std::nullopt;
  auto starts = node ? intsOf(node, "starts", 1) : std::nullopt;
  auto ends = node ? intsOf(node, "ends", 2) : std::nullopt;
  if (!axes || !starts || !ends || starts->size() != axes->size() ||
      ends->size() != axes->size())
    return false;
  for (auto [axis, start, end] : llvm::zip_equal(*axes, *starts, *ends))
    if (normalizeAxis(axis, rankOf(dim.value)) == dim.dim)
      return start == 0 && end == 1;
  return false;
}

//===----------------------------------------------------------------------===//
// Masks and gates
//===----------------------------------------------------------------------===//

/// The expert that an integer constant of one element names.
std::optional<int64_t> LoopedExperts::expertOf(Value constant) {
  auto splat = splatOf(constant);
  auto type = dyn_cast<RankedTensorType>(constant.getType());
  if (!splat || !type || !type.hasStaticShape() || type.getNumElements() != 1 ||
      !isa<IntegerType>(type.getElementType()) || *splat < 0 ||
      *splat >= static_cast<double>(selection.experts))
    return std::nullopt;
  return static_cast<int64_t>(*splat);
}

void LoopedExperts::visitOneHot(NodeOp node, const Meaning &ids) {
  attempt.looksLikeExperts = true;
  auto depth = splatOf(node.input(1));
  if (!depth || *depth < static_cast<double>(selection.experts))
    return reject(node, "expects one class per expert (" +
                            Twine(selection.experts) + ")");
  if (!isZeroAndOne(node.input(2)))
    return reject(node, "expects the values 0 and 1");
  AxisLayout axes = ids.axes;
  auto axis = normalizeAxis(node.getI64("axis", -1), axes.size() + 1);
  if (!axis)
    return reject(node, "expects an axis in range");
  axes.insert(axes.begin() + *axis,
              {{AxisAtom::Expert, static_cast<int64_t>(*depth)}});
  define(node.output(0), {Meaning::Mask, axes});
}

/// ids == e, ids == [0, .., E - 1], mask == 1, mask > 0, gate == 0, gate > 0.
void LoopedExperts::visitEqual(NodeOp node) {
  bool greater = node.is("Greater");
  for (unsigned i : {0u, 1u}) {
    const Meaning *meaning = meaningOf(node.input(i));
    Value other = node.input(1 - i);
    if (!meaning || (greater && i != 0))
      continue;
    Meaning mask = *meaning;
    mask.kind = Meaning::Mask;
    if (meaning->kind == Meaning::Mask || meaning->kind == Meaning::Used) {
      mask.kind = meaning->kind;
      if (splatOf(other) != (greater ? 0 : 1))
        break;
      return define(node.output(0), std::move(mask));
    }
    if (meaning->kind == Meaning::Gate) {
      mask.kind = greater ? Meaning::Mask : Meaning::Closed;
      if (splatOf(other) != 0 || (greater && !selection.spread))
        break; // a gate may be negative
      return define(node.output(0), std::move(mask));
    }
    if (meaning->kind != Meaning::Ids || greater)
      break;
    attempt.looksLikeExperts = true;
    if (auto expert = expertOf(other)) {
      mask.expert = *expert;
      while (static_cast<int64_t>(mask.axes.size()) < rankOf(other))
        mask.axes.insert(mask.axes.begin(), Axis());
      return define(node.output(0), std::move(mask));
    }
    // All experts along one dimension.
    if (!isIota(other, selection.experts))
      break;
    AxisLayout experts;
    for (int64_t size : cast<RankedTensorType>(other.getType()).getShape())
      experts.push_back(size == selection.experts ? context.expert() : Axis());
    auto axes = broadcastAxes(meaning->axes, experts);
    if (!axes || !hasRole(experts, AxisAtom::Expert))
      break;
    mask.axes = *axes;
    return define(node.output(0), std::move(mask));
  }
  reject(node, "expects expert ids to be compared with one expert, or with all "
               "in order");
}

/// mask * weights, Where(mask, weights, 0), rows * weights, rows * gate.
void LoopedExperts::visitMultiply(NodeOp node) {
  if (node.is("Where")) {
    const Meaning *mask = meaningOf(node.input(0), Meaning::Mask);
    const Meaning *weight = meaningOf(node.input(1), Meaning::Weight);
    auto axes =
        mask && weight ? broadcastAxes(mask->axes, weight->axes) : std::nullopt;
    if (!axes || splatOf(node.input(2)) != 0)
      return reject(node, "expects routing weights where an expert was chosen, "
                          "and 0 elsewhere");
    return define(node.output(0),
                  {Meaning::Gate, *axes, mask->expert, weight->value});
  }
  for (unsigned i : {0u, 1u}) {
    const Meaning *meaning = meaningOf(node.input(i));
    Value other = node.input(1 - i);
    const Meaning *otherMeaning = meaningOf(other);
    const Rows *otherRows = rows.lookup(other);
    if (!meaning)
      continue;
    if (meaning->kind == Meaning::Hits)
      return visitPickArithmetic(node);
    if (meaning->kind == Meaning::Mask && otherMeaning &&
        otherMeaning->kind == Meaning::Weight) {
      auto axes = broadcastAxes(meaning->axes, otherMeaning->axes);
      if (!axes)
        return reject(node, "expects a mask and routing weights whose axes "
                            "line up, found " +
                                describe(meaning->axes) + " and " +
                                describe(otherMeaning->axes));
      return define(node.output(0), {Meaning::Gate, *axes, meaning->expert,
                                     otherMeaning->value});
    }
    if (otherMeaning)
      continue;
    Share share;
    share.weights = meaning->value;
    share.score = meaning->score;
    share.origin = node;
    if (meaning->kind == Meaning::Weight && otherRows && otherRows->expr) {
      // A weight per hit.
      auto axes = broadcastAxes(meaning->axes, otherRows->axes);
      if (!axes || *axes != otherRows->axes || otherRows->axes.empty() ||
          otherRows->axes[0].size() != 1 ||
          !isAxis(otherRows->axes[0], AxisAtom::Hit))
        return reject(node, "expects the rows of one expert times the routing "
                            "weights of the same tokens, found " +
                                describe(otherRows->axes) + " and " +
                                describe(meaning->axes));
      share.expert = otherRows->axes[0][0].expert;
      share.expr = otherRows->expr;
      share.axes = *axes;
      AxisLayout layout = *axes;
      return define(node.output(0), {Meaning::Shares,
                                     layout,
                                     share.expert,
                                     {},
                                     {},
                                     add(std::move(share))});
    }
    if (meaning->kind == Meaning::Gate && !otherRows) {
      auto type = dyn_cast<RankedTensorType>(other.getType());
      if (!type || type.getRank() < 2 ||
          type.getRank() > static_cast<int64_t>(meaning->axes.size()) ||
          !meaning->axes.back().empty() ||
          hasRole(meaning->axes, AxisAtom::Choice))
        return reject(node, "expects one gate per row, found " +
                                describe(meaning->axes));
      if (visitScaledTokens(node, *meaning, other))
        return;
      share.axes = meaning->axes;
      share.axes.back() = {
          {AxisAtom::Feature, type.getDimSize(type.getRank() - 1)}};
      share.expert = meaning->expert;
      share.rows = other;
      if (hasRole(share.axes, AxisAtom::Expert))
        share.count = selection.experts;
      AxisLayout layout = share.axes;
      int64_t expert = share.expert;
      return define(
          node.output(0),
          {Meaning::Shares, layout, expert, {}, {}, add(std::move(share))});
    }
  }
  if (!rows.lookup(node.input(0)) && !rows.lookup(node.input(1)))
    return reject(node, "expects a mask times routing weights, or rows times "
                        "either");
  if (meaningOf(node.input(0)) || meaningOf(node.input(1)))
    return reject(node, "expects the rows of an expert times its routing "
                        "weights");
  if (succeeded(rows.visit(node)))
    walk.follow(node.output(0));
}

/// tokens * gate, if `repeated` is nothing but the tokens, once per expert:
/// what the experts make of that is followed as it comes.
bool LoopedExperts::visitScaledTokens(NodeOp node, const Meaning &gate,
                                      Value repeated) {
  if (!hasRole(gate.axes, AxisAtom::Expert) || selection.capacity)
    return false;
  Value source = beforeRepetition(repeated);
  if (!source || source == repeated || (tokens && tokens != source))
    return false;
  tokens = source;
  rows.define(tokens, {*context.tokenRows(tokens), nullptr});
  const Rows *read = rows.evaluate(repeated);
  auto axes = read ? broadcastAxes(read->axes, gate.axes) : std::nullopt;
  if (!axes || *axes != read->axes) {
    reject(node, "expects the tokens, repeated for each expert, times their "
                 "gates, found gates " +
                     describe(gate.axes));
    return true;
  }
  scaledBy = gate;
  rows.define(node.output(0), {*axes, nullptr});
  walk.follow(node.output(0));
  return true;
}

/// The sum over the experts, which the tokens were multiplied in front of: an
/// expert that was not chosen read zeros.
void LoopedExperts::visitSumOfExperts(NodeOp node) {
  Rows summed = *rows.lookup(node.input(0));
  auto given = intsOf(node, "axes", 1);
  auto axis = given && given->size() == 1
                  ? normalizeAxis((*given)[0], summed.axes.size())
                  : std::nullopt;
  if (!axis || !isAxis(summed.axes[*axis], AxisAtom::Expert))
    return reject(node, "expects a sum over all experts, found " +
                            describe(summed.axes));
  if (node.getI64("keepdims", 1) != 0)
    summed.axes[*axis].clear();
  else
    summed.axes.erase(summed.axes.begin() + *axis);
  if (!summed.expr || !isTokenRows(summed.axes))
    return reject(node, "expects the rows of all experts, found " +
                            describe(summed.axes));
  if (!isZeroForZeros(summed.expr))
    return reject(node, "expects experts that make 0 of the zeros that tokens "
                        "are for those that were not chosen");
  ExpertsMatch match{tokens, summed.expr, scaledBy->value, node.output(0)};
  match.score = scaledBy->score;
  match.scalesTokens = true;
  match.batch = context.batch;
  attempt.matches.push_back(match);
}

void LoopedExperts::visitReduceSum(NodeOp node, Meaning meaning) {
  auto given = intsOf(node, "axes", 1);
  SmallVector<bool> reduced(meaning.axes.size(), false);
  bool choices = true, experts = true, any = false;
  if (given)
    for (int64_t axis : *given)
      if (auto at = normalizeAxis(axis, reduced.size())) {
        reduced[*at] = any = true;
        choices &= meaning.axes[*at] == context.choice();
        experts &= isAxis(meaning.axes[*at], AxisAtom::Expert);
      }
  bool masks = meaning.kind == Meaning::Mask;
  if (masks && any && !choices && !experts)
    meaning = {Meaning::Used, meaning.axes};
  else if (!any || !(masks || meaning.kind == Meaning::Gate
                         ? choices
                         : experts && meaning.kind == Meaning::Shares))
    return reject(node, "expects a sum over the choices of a token, or over "
                        "all experts, found a sum over other axes of " +
                            describe(meaning.axes));
  AxisLayout axes;
  for (auto [axis, drop] : llvm::zip_equal(meaning.axes, reduced)) {
    if (!drop)
      axes.push_back(axis);
    else if (node.getI64("keepdims", 1) != 0)
      axes.push_back({});
  }
  meaning.axes = axes;
  define(node.output(0), std::move(meaning));
}

/// A dense [.., E] tensor of gates: ScatterElements(0, ids, weights).
void LoopedExperts::visitScatterWeights(NodeOp node) {
  const Meaning *ids = meaningOf(node.input(1));
  const Meaning *weight = meaningOf(node.input(2), Meaning::Weight);
  auto axis = normalizeAxis(node.getI64("axis", 0), ids->axes.size());
  StringRef reduction = node.getString("reduction", "none");
  if (!weight || weight->axes != ids->axes || !axis ||
      ids->axes[*axis] != context.choice() ||
      (reduction != "none" && reduction != "add"))
    return reject(node, "expects the routing weights to be written at the "
                        "experts that they belong to");
  AxisLayout axes = ids->axes;
  axes[*axis] = context.expert();
  constexpr double none = -std::numeric_limits<double>::infinity();
  bool logits = isFilled(node.input(0), axes, none);
  if (!logits && !isZeros(node.input(0), axes))
    return reject(node, "expects zeros (or -inf) of shape [tokens, experts] to "
                        "write routing weights to");
  attempt.looksLikeExperts = true;
  define(node.output(0),
         {logits ? Meaning::Chosen : Meaning::Gate, axes, -1, weight->value});
}

/// Whether all elements of `value` are `with`, and its dimensions are `axes`.
bool LoopedExperts::isFilled(Value value, const AxisLayout &axes, double with) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || splatOf(value) != with ||
      type.getRank() != static_cast<int64_t>(axes.size()))
    return false;
  for (auto [i, axis] : llvm::enumerate(axes)) {
    SymbolicDim dim = dimOf(value, i);
    if (axis.size() != 1 ||
        (dim.constant != axis[0].size && !context.hasSize(axis[0], dim)))
      return false;
  }
  return true;
}

/// Gather, Split or Slice with constants along the axis of experts or
/// coordinates.
void LoopedExperts::visitTaken(NodeOp node, const Meaning &source) {
  int64_t rank = source.axes.size();
  // A dimension of size 1 has one thing to take.
  auto isTakenFrom = [&](std::optional<int64_t> axis) {
    return axis && (source.axes[*axis].empty() ||
                    isAxis(source.axes[*axis], AxisAtom::Expert) ||
                    isAxis(source.axes[*axis], AxisAtom::Coordinate));
  };
  auto sizeOf = [&](int64_t axis) {
    return source.axes[axis].empty() ? 1 : source.axes[axis][0].size;
  };
  auto take = [&](Value result, int64_t axis, int64_t index, bool keep) {
    Meaning taken = source;
    if (isAxis(source.axes[axis], AxisAtom::Coordinate))
      taken.picks = {source.picks[index]};
    else if (isAxis(source.axes[axis], AxisAtom::Expert))
      taken.expert = index;
    if (taken.expert >= selection.experts)
      return; // more classes than experts
    if (keep)
      taken.axes[axis].clear();
    else
      taken.axes.erase(taken.axes.begin() + axis);
    define(result, std::move(taken));
  };
  if (source.kind == Meaning::Used) {
    // Parts of the list of experts that get tokens, as many as were traced.
    Meaning used = source;
    if (node.is("Split"))
      used.expert = node.getOutputs().size();
    for (Value result : node.getOutputs())
      define(result, used);
    return;
  }
  if (source.kind != Meaning::Mask && source.kind != Meaning::Gate &&
      source.kind != Meaning::Hits)
    return reject(node, "expects masks, gates or indices of single experts");

  if (node.is("Gather")) {
    auto axis = normalizeAxis(node.getI64("axis", 0), rank);
    auto index = evaluateInts(node.input(1));
    int64_t indexRank = rankOf(node.input(1));
    auto at = isTakenFrom(axis) && index && index->size() == 1 && indexRank <= 1
                  ? normalizeAxis((*index)[0], sizeOf(*axis))
                  : std::nullopt;
    if (!at)
      return reject(node, "expects a constant index of an expert, found axis " +
                              Twine(axis.value_or(-1)) + " of " +
                              describe(source.axes));
    return take(node.output(0), *axis, *at, /*keep=*/indexRank == 1);
  }
  if (node.is("Split")) {
    auto axis = normalizeAxis(node.getI64("axis", 0), rank);
    if (!isTakenFrom(axis) || !splitsIntoOnes(node, sizeOf(*axis)))
      return reject(node, "expects a split into single experts");
    for (int64_t i = 0, e = sizeOf(*axis); i < e; ++i)
      take(node.output(i), *axis, i, /*keep=*/true);
    return;
  }
  auto starts = intsOf(node, "starts", 1), ends = intsOf(node, "ends", 2);
  auto axes = intsOf(node, "axes", 3);
  auto axis = axes && axes->size() == 1 ? normalizeAxis((*axes)[0], rank)
                                        : std::nullopt;
  if (!isTakenFrom(axis) || !starts || starts->size() != 1 || !ends ||
      ends->size() != 1 || (*starts)[0] < 0 || (*starts)[0] >= sizeOf(*axis) ||
      std::min((*ends)[0], sizeOf(*axis)) != (*starts)[0] + 1)
    return reject(node, "expects a slice of one expert");
  take(node.output(0), *axis, (*starts)[0], /*keep=*/true);
}

//===----------------------------------------------------------------------===//
// Hits
//===----------------------------------------------------------------------===//

void LoopedExperts::visitNonZero(NodeOp node, const Meaning &mask) {
  if (mask.kind == Meaning::Used) // which experts are used at all
    return define(node.output(0), mask);
  if ((mask.kind != Meaning::Mask && mask.kind != Meaning::Gate) ||
      mask.expert < 0 || hasRole(mask.axes, AxisAtom::Expert))
    return reject(node, "expects the mask of one expert");
  Meaning pick{Meaning::Hits, {}, mask.expert};
  for (const Axis &axis : mask.axes) {
    bool choice = isAxis(axis, AxisAtom::Choice);
    bool token = isAxis(axis, AxisAtom::Token);
    bool both = axis.size() == 2 && isAxis({axis[0]}, AxisAtom::Token) &&
                isAxis({axis[1]}, AxisAtom::Choice);
    if (!axis.empty() && !choice && !token && !both)
      return reject(node,
                    "expects tokens and choices, found " + describe(mask.axes));
    pick.picks.push_back({both ? context.k : token, both || choice});
  }
  AxisAtom hit{AxisAtom::Hit, ShapedType::kDynamic, mask.expert};
  pick.axes = {{{AxisAtom::Coordinate, static_cast<int64_t>(mask.axes.size())}},
               {hit}};
  define(node.output(0), std::move(pick));
}

/// Products with constants and sums, by which indices of flattened weights are
/// made.
void LoopedExperts::visitPickArithmetic(NodeOp node) {
  const Meaning *a = meaningOf(node.input(0), Meaning::Hits);
  const Meaning *b = meaningOf(node.input(1), Meaning::Hits);
  const Meaning *any = a ? a : b;
  if (!any || any->picks.size() != 1 ||
      (a && b && (a->axes != b->axes || b->picks.size() != 1)) ||
      (node.is("Add") && !(a && b)) || (node.is("Mul") && a && b))
    return reject(node, "expects an index made of those of tokens and choices");
  Meaning result = *any;
  if (node.is("Add")) {
    result.picks[0].token += b->picks[0].token;
    result.picks[0].choice += b->picks[0].choice;
  } else {
    auto factor = evaluateInts(a ? node.input(1) : node.input(0));
    if (!factor || factor->size() != 1 || (*factor)[0] < 0 ||
        (*factor)[0] > std::numeric_limits<int32_t>::max())
      return reject(node, "expects an index times a constant");
    result.picks[0].token *= (*factor)[0];
    result.picks[0].choice *= (*factor)[0];
  }
  define(node.output(0), std::move(result));
}

/// Coordinates put together to index several dimensions.
void LoopedExperts::visitConcat(NodeOp node) {
  Meaning result{Meaning::Hits};
  for (Value operand : node.getInputs()) {
    const Meaning *pick = meaningOf(operand, Meaning::Hits);
    auto axis = pick ? normalizeAxis(node.getI64("axis", 0), pick->axes.size())
                     : std::nullopt;
    if (!axis || *axis + 1 != static_cast<int64_t>(pick->axes.size()) ||
        !pick->axes.back().empty() || pick->picks.size() != 1 ||
        (!result.axes.empty() && result.axes != pick->axes))
      return reject(node, "expects indices of the same tokens");
    result.axes = pick->axes;
    result.expert = pick->expert;
    result.picks.push_back(pick->picks[0]);
  }
  if (result.picks.size() > 1)
    result.axes.back() = {
        {AxisAtom::Coordinate, static_cast<int64_t>(result.picks.size())}};
  define(node.output(0), std::move(result));
}

/// Whether the index runs along `axis`. With one choice per token its index is
/// always 0.
bool LoopedExperts::picks(const Pick &pick, const Axis &axis) const {
  int64_t choice = context.k == 1 ? 0 : pick.choice;
  if (axis.empty())
    return pick.token == 0 && choice == 0;
  if (isAxis(axis, AxisAtom::Token))
    return pick.token == 1 && choice == 0;
  if (isAxis(axis, AxisAtom::Choice))
    return pick.token == 0 && choice == 1;
  return axis.size() == 2 && isAxis({axis[0]}, AxisAtom::Token) &&
         isAxis({axis[1]}, AxisAtom::Choice) && pick.token == context.k &&
         choice == 1;
}

/// The axes of tokens, perhaps moved about for each expert: the nearest matrix
/// of tokens counts, or else the nearest tensor of them.
std::optional<AxisLayout> LoopedExperts::tokenLayout(Value value) {
  constexpr unsigned kMaxMoves = 4;
  SmallVector<NodeOp> moves;
  std::optional<AxisLayout> axes;
  Value source;
  size_t count = 0;
  for (Value at = value; at && moves.size() <= kMaxMoves;) {
    if (rankOf(at) == 2 || !source)
      if (auto found = context.tokenRows(at)) {
        axes = found;
        source = at;
        count = moves.size();
      }
    NodeOp node = definingNode(at);
    if ((source && rankOf(source) == 2) || !node || !movesAxes(node) ||
        node.is("Cast"))
      break;
    moves.push_back(node);
    at = node.input(0);
  }
  if (!source || (tokens && tokens != source))
    return std::nullopt;
  for (NodeOp node : llvm::reverse(ArrayRef(moves).take_front(count))) {
    auto moved = moveAxes(node, *axes, context, attempt.rejection);
    if (failed(moved))
      return std::nullopt;
    axes = *moved;
  }
  tokens = source;
  return axes;
}

/// Rows or weights at hits.
void LoopedExperts::visitGather(NodeOp node) {
  if (const Meaning *used = meaningOf(node.input(1), Meaning::Used)) {
    if (used->expert >= 0)
      setFixedCount(attempt.fault, node, used->expert);
    return reject(node, "expects experts that do not depend on which of them "
                        "get tokens");
  }
  const Meaning *pick = meaningOf(node.input(1), Meaning::Hits);
  if (!pick)
    return reject(node, "expects indices of the tokens of one expert");
  const Meaning *data = meaningOf(node.input(0));
  bool gate = data && data->kind == Meaning::Gate;
  if (data && data->kind != Meaning::Weight &&
      !(gate && data->expert == pick->expert))
    return reject(node, "expects rows of tokens or routing weights");
  std::optional<AxisLayout> axes;
  if (data)
    axes = data->axes;
  else
    axes = tokenLayout(node.input(0));
  if (!axes)
    return reject(node, "expects all experts to read the same tokens, as many "
                        "as the router has");

  AxisLayout index = pick->axes;
  size_t first = 0, count = 1;
  if (node.is("GatherND")) {
    // The last dimension of the indices goes through the dimensions of data.
    count = pick->picks.size();
    bool indexed = !index.empty() &&
                   (count == 1 ? index.back().empty()
                               : isAxis(index.back(), AxisAtom::Coordinate));
    if (node.getI64("batch_dims", 0) != 0 || !indexed)
      return reject(node,
                    "expects one index per hit, found " + describe(index));
    index.pop_back();
  } else {
    auto axis = normalizeAxis(node.getI64("axis", 0), axes->size());
    if (!axis || pick->picks.size() != 1)
      return reject(node,
                    "expects one index per hit, found " + describe(index));
    first = *axis;
  }
  bool fits = first + count <= axes->size() && hasRole(index, AxisAtom::Hit) &&
              llvm::all_of(index, [](const Axis &axis) {
                return axis.empty() || isAxis(axis, AxisAtom::Hit);
              });
  for (size_t i = 0; fits && i < count; ++i)
    fits = picks(pick->picks[i], (*axes)[first + i]);
  if (!fits)
    return reject(node, "expects the indices of " + describe(*axes));
  axes->erase(axes->begin() + first, axes->begin() + first + count);
  axes->insert(axes->begin() + first, index.begin(), index.end());
  // Weights of all choices of a token are more than that of this expert.
  for (AxisAtom::Role role : {AxisAtom::Token, AxisAtom::Choice})
    if (hasRole(*axes, role))
      return reject(node,
                    "expects one choice per hit, found " + describe(*axes));
  if (data)
    return define(node.output(0),
                  {Meaning::Weight, *axes, pick->expert, data->value});
  rows.define(node.output(0), {*axes, nullptr});
  walk.follow(node.output(0));
}

/// y[hits] += rows.
void LoopedExperts::visitScatterRows(NodeOp node) {
  const Meaning *pick = meaningOf(node.input(1), Meaning::Hits);
  const Meaning *updates = meaningOf(node.input(2), Meaning::Shares);
  const Meaning *base = meaningOf(node.input(0), Meaning::Shares);
  if (!pick || !updates)
    return reject(node, "expects weighted rows to be written to the tokens "
                        "that they belong to");
  bool elements = node.is("ScatterElements");
  AxisLayout want = {
      {AxisAtom{AxisAtom::Hit, ShapedType::kDynamic, pick->expert}},
      updates->axes.back()};
  AxisLayout indices = want;
  // One index per row, or, for ScatterElements, one per element.
  bool one = pick->axes.size() == 2 && pick->axes[0] == want[0] &&
             pick->axes[1].empty();
  bool each = pick->axes == want;
  AxisLayout result = {context.token(), want[1]};
  if (updates->axes != want || pick->picks.size() != 1 ||
      !picks(pick->picks[0], context.token()) || !(elements ? each : one) ||
      (elements && normalizeAxis(node.getI64("axis", 0), 2) != 0))
    return reject(node, "expects rows [hit, feature] of one expert to be "
                        "written to its tokens, found " +
                            describe(updates->axes) + " and indices " +
                            describe(pick->axes));
  StringRef reduction = node.getString("reduction", "none");
  bool zeros = !base && isZeros(node.input(0), result);
  if (!(zeros || (base && base->axes == result)))
    return reject(node, "expects zeros, or the sum over other experts, to "
                        "write rows to");
  // A token chooses an expert once, so that rows written to zeros do not meet.
  if (reduction != "add" && !(zeros && reduction == "none"))
    return reject(node, "expects rows to be added to what was written before");
  const Share *share = updates->share;
  if (base) {
    Share sum;
    sum.left = base->share;
    sum.right = share;
    sum.count = sum.left->count + sum.right->count;
    share = add(std::move(sum));
  }
  define(node.output(0), {Meaning::Shares, result, -1, {}, {}, share});
}

//===----------------------------------------------------------------------===//
// The sum
//===----------------------------------------------------------------------===//

void LoopedExperts::visitAdd(NodeOp node) {
  if (meaningOf(node.input(0), Meaning::Hits) ||
      meaningOf(node.input(1), Meaning::Hits))
    return visitPickArithmetic(node);
  std::optional<Meaning> sum;
  bool anyShare = llvm::any_of(node.getInputs(), [&](Value operand) {
    return meaningOf(operand, Meaning::Shares);
  });
  if (!anyShare) {
    if (succeeded(rows.visit(node)))
      walk.follow(node.output(0));
    return;
  }
  for (Value operand : node.getInputs()) {
    const Meaning *next = meaningOf(operand, Meaning::Shares);
    if (!next) {
      const Meaning *any = nullptr;
      for (Value other : node.getInputs())
        any = any ? any : meaningOf(other, Meaning::Shares);
      if (isZeros(operand, any->axes))
        continue;
      return reject(node, "expects the shares of all " +
                              Twine(selection.experts) +
                              " experts to be added before anything else, "
                              "found another tensor");
    }
    if (!isTokenRows(next->axes) || (sum && sum->axes != next->axes))
      return reject(node, "expects shares of experts of one shape, found " +
                              describe(next->axes));
    if (!sum) {
      sum = *next;
      continue;
    }
    Share both;
    both.left = sum->share;
    both.right = next->share;
    both.count = both.left->count + both.right->count;
    sum->share = add(std::move(both));
    sum->expert = -1;
  }
  define(node.output(0), std::move(*sum));
}

/// The shares that `sum` is made of, in order.
static SmallVector<const Share *> leavesOf(const Share *sum) {
  SmallVector<const Share *> leaves, stack = {sum};
  while (!stack.empty()) {
    const Share *share = stack.pop_back_val();
    if (share->left) {
      stack.push_back(share->right);
      stack.push_back(share->left);
    } else {
      leaves.push_back(share);
    }
  }
  return leaves;
}

/// The tokens in front of what repeats them for each expert; null if `value` is
/// none of that.
Value LoopedExperts::beforeRepetition(Value value) {
  constexpr unsigned kMaxMoves = 8;
  Value source;
  for (unsigned i = 0; i < kMaxMoves; ++i) {
    NodeOp node = definingNode(value);
    if (!source && context.tokenRows(value))
      source = value;
    if (!node || !movesAxes(node) || node.is("Cast"))
      break;
    if (node.is("Expand") || node.is("Tile"))
      source = {};
    value = node.input(0);
  }
  return source ? source : context.tokenRows(value) ? value : Value();
}

/// What the experts read, when they read all tokens.
Value LoopedExperts::denseTokens(ArrayRef<const Share *> leaves) {
  Value at;
  if (leaves[0]->expert >= 0) {
    // A single expert shares them with the router.
    Value other = leaves.size() > 1 ? leaves[1]->rows : selection.scores;
    if (NodeOp softmax = definingNode(other, "Softmax"))
      other = softmax.input(0);
    at = ExpertRows::commonInput(leaves[0]->rows, other);
  } else if ((at = ExpertRows::stackedInput(leaves[0]->rows,
                                            selection.experts))) {
    if (Value source = beforeRepetition(at))
      at = source;
  }
  if (!at)
    reject(leaves[0]->origin,
           "expects experts that read one tensor of tokens and nothing else");
  return at;
}

/// Single experts that were put into one tensor only to be weighted and summed.
void LoopedExperts::unstack(SmallVector<const Share *> &leaves) {
  if (leaves.size() != 1 || leaves[0]->expert >= 0)
    return;
  Share share = *leaves[0];
  NodeOp concat = definingNode(share.rows, "Concat");
  auto axis = concat
                  ? normalizeAxis(concat.getI64("axis", 0), rankOf(share.rows))
                  : std::nullopt;
  if (!axis || rankOf(share.rows) != static_cast<int64_t>(share.axes.size()) ||
      !isAxis(share.axes[*axis], AxisAtom::Expert) ||
      static_cast<int64_t>(concat.getInputs().size()) != selection.experts)
    return;
  leaves.clear();
  share.axes[*axis].clear();
  for (auto [e, part] : llvm::enumerate(concat.getInputs())) {
    share.expert = e;
    share.rows = part;
    leaves.push_back(add(share));
  }
}

void LoopedExperts::finish(Value root, const Meaning &sum) {
  SmallVector<const Share *> leaves = leavesOf(sum.share);
  unstack(leaves);
  SmallVector<const Share *> ordered(selection.experts, nullptr);
  bool stacked = leaves[0]->expert < 0;
  for (const Share *leaf : leaves) {
    if (leaf->weights != leaves[0]->weights || leaf->score != leaves[0]->score)
      return reject(leaf->origin,
                    "expects all experts to be weighted by the same tensor");
    if (stacked ? leaves.size() != 1 : leaf->expert < 0)
      return reject(leaf->origin, "expects single experts, or all at once");
    if (stacked)
      break;
    if (ordered[leaf->expert])
      return reject(leaf->origin, "expects each expert once, found expert " +
                                      Twine(leaf->expert) + " twice");
    ordered[leaf->expert] = leaf;
  }
  if (stacked)
    ordered = leaves;

  bool dense = bool(ordered[0]->rows);
  if (dense) {
    Value found = denseTokens(ordered);
    if (!found)
      return;
    auto axes = context.tokenRows(found);
    if (!axes)
      return reject(ordered[0]->origin,
                    "expects experts that read as many tokens as the router "
                    "has, which cannot be shown here");
    tokens = found;
    rows.define(tokens, {*axes, nullptr});
  }
  SmallVector<const RowExpr *> exprs;
  for (const Share *share : ordered) {
    if (bool(share->rows) != dense)
      return reject(share->origin, "expects all experts to be dense, or all "
                                   "to be sparse");
    const RowExpr *expr = share->expr;
    if (dense) {
      const Rows *computed = rows.evaluate(share->rows);
      if (!computed)
        return;
      AxisLayout axes = computed->axes;
      while (axes.size() < share->axes.size())
        axes.insert(axes.begin(), Axis());
      if (axes != share->axes || !computed->expr)
        return reject(share->origin, "expects one row of an expert per gate, "
                                     "found " +
                                         describe(computed->axes) +
                                         " for gates of " +
                                         describe(share->axes));
      expr = computed->expr;
    }
    exprs.push_back(expr);
  }
  const RowExpr *output = exprs[0];
  int64_t differs = 0;
  if (!stacked && !(output = pool.stack(exprs, differs)))
    return reject(ordered[differs]->origin,
                  "expects all experts to compute alike, which expert " +
                      Twine(differs) + " does not");
  ExpertsMatch match{tokens, output, ordered[0]->weights, root};
  match.score = ordered[0]->score;
  match.batch = context.batch;
  match.limited = selection.capacity.has_value();
  attempt.matches.push_back(match);
}

/// Everything is there but some experts: exporters that trace a model drop
/// those that got no token.
void LoopedExperts::reportMissing() {
  if (!largest || seen.all() || attempt.fault ||
      largest->count != static_cast<int64_t>(seen.count()))
    return;
  std::string names;
  llvm::raw_string_ostream os(names);
  llvm::BitVector missing = seen;
  missing.flip();
  os << (missing.count() == 1 ? "expert " : "experts ");
  llvm::interleaveComma(missing.set_bits(), os);
  os << " of " << selection.experts << (missing.count() == 1 ? " is" : " are");
  Operation *last = leavesOf(largest).back()->origin;
  attempt.fault.at(
      last, "missing-experts",
      names + " missing from the graph: a token for which the router "
              "chooses such an expert gets nothing for that choice. "
              "Exporters that trace a model leave out experts that got no "
              "token: export again with an input that reaches all of them, "
              "or with experts_implementation=\"batched_mm\"");
}

void moe::matchLoopedExperts(Selection &selection, RowExprPool &pool,
                             ExpertsAttempt &attempt) {
  LoopedExperts(selection, pool, attempt).run();
}
