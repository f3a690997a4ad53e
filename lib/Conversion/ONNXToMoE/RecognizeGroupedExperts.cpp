//===- RecognizeGroupedExperts.cpp - rows sorted by expert ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   ids, order = sorted ids (TopK of all, smallest first)
//   rows = x[order / k]
//   ends = CumSum(histogram(ids))
//   y = Concat over e of rows[ends[e - 1] : ends[e]] @ W[e]
//   the same for the next layer
//   out = (y * weights[order])[inverse of order], summed over the choices
//
// This is torch's `grouped_mm` as its fallback is exported: a dispatch already,
// written out. Followed forwards from the ids by meaning and axis layout.
//
//===----------------------------------------------------------------------===//

#include "ExpertRows.h"
#include "ForwardWalk.h"
#include "RecognizeForms.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

namespace {

struct Meaning {
  enum Kind {
    Ids,      // `table` of the expert id
    Weight,   // the routing weights `value`
    Order,    // positions in [token x choice]
    Inverse,  // positions among the sorted rows
    Tokens,   // the tokens of positions: order / k
    Zero,     // false or 0 everywhere
    Counts,   // rows per expert
    Ends,     // rows up to and including an expert (`expert`, if one)
    Segment,  // positions of the rows of one expert, [hit]
    Vector,   // `value` [E, N] at the expert of each row
    Weighted, // `expr` times the routing weights `value`
    Sum,      // the same, summed over the choices
  };
  Kind kind;
  AxisLayout axes = {};
  Value value = {};
  const RowExpr *expr = nullptr;
  int64_t expert = -1;
  SmallVector<double, 0> table = {};
};

class GroupedExperts {
public:
  GroupedExperts(Selection &selection, RowExprPool &pool,
                 ExpertsAttempt &attempt)
      : selection(selection), pool(pool), attempt(attempt),
        context(selection.scores, selection.k, selection.experts),
        rows(pool, context, attempt.rejection),
        walk(selection.ids().getParentBlock()) {
    context.isSizeOf = [this](const SymbolicDim &dim, const AxisAtom &atom) {
      return isSizeOf(dim, atom);
    };
  }

  void run();

private:
  void define(Value value, Meaning meaning);
  void defineRows(Value value, Rows made);
  void visit(NodeOp node);
  void visitMove(NodeOp node, Meaning meaning);
  void visitWeights(NodeOp node);
  void visitSort(NodeOp node, const Meaning &ids);
  void visitTable(NodeOp node, Meaning ids);
  void visitOrder(NodeOp node, Meaning order);
  void visitHistogram(NodeOp node);
  void visitInverse(NodeOp node);
  void visitRange(NodeOp node);
  void visitGather(NodeOp node);
  void visitConcat(NodeOp node);
  void visitCombination(NodeOp node);
  void visitSum(NodeOp node, Meaning meaning);
  void finish(Value root, const Meaning &sum);

  const Meaning *meaningOf(Value value) {
    auto it = value ? meanings.find(value) : meanings.end();
    return it == meanings.end() ? nullptr : &it->second;
  }
  bool is(Value value, Meaning::Kind kind) {
    const Meaning *meaning = meaningOf(value);
    return meaning && meaning->kind == kind;
  }
  void reject(Operation *op, const Twine &why) {
    (void)attempt.rejection.at(op, why);
  }
  Axis pairs() const {
    Axis axis = context.token();
    axis.append(context.choice());
    return axis;
  }
  static Axis sorted() {
    return {AxisAtom{AxisAtom::Sorted, ShapedType::kDynamic}};
  }
  static bool isIdentity(const Meaning &ids) {
    return llvm::all_of(llvm::enumerate(ids.table), [](auto entry) {
      return entry.value() == static_cast<double>(entry.index());
    });
  }
  bool isSizeOf(const SymbolicDim &dim, const AxisAtom &atom);

  Selection &selection;
  RowExprPool &pool;
  ExpertsAttempt &attempt;
  AxisContext context;
  ExpertRows rows;
  Value tokens;
  llvm::DenseMap<Value, Meaning> meanings;
  ForwardWalk walk;
};

} // namespace

//===----------------------------------------------------------------------===//
// Driver
//===----------------------------------------------------------------------===//

void GroupedExperts::define(Value value, Meaning meaning) {
  if (!value)
    return;
  if (meaning.kind == Meaning::Sum && isTokenRows(meaning.axes))
    return finish(value, meaning);
  meanings[value] = std::move(meaning);
  walk.follow(value);
}

void GroupedExperts::defineRows(Value value, Rows made) {
  rows.define(value, std::move(made));
  walk.follow(value);
}

void GroupedExperts::run() {
  Meaning ids{Meaning::Ids, context.chosen()};
  for (int64_t e = 0; e < selection.experts; ++e)
    ids.table.push_back(e);
  define(selection.ids(), std::move(ids));
  if (Value values = selection.values())
    define(values, {Meaning::Weight, context.chosen(), values});
  while (NodeOp node = walk.next())
    visit(node);
  if (attempt.matches.empty())
    reject(selection.node, "expects a sum over the choices of a token, found "
                           "none");
}

bool GroupedExperts::isSizeOf(const SymbolicDim &dim, const AxisAtom &atom) {
  if (!dim.value || dim.otherValue || dim.dim < 0)
    return false;
  const AxisLayout *layout = nullptr;
  if (const Meaning *meaning = meaningOf(dim.value))
    layout = &meaning->axes;
  else if (const Rows *known = rows.lookup(dim.value))
    layout = &known->axes;
  return layout && dim.dim < static_cast<int64_t>(layout->size()) &&
         (*layout)[dim.dim] == Axis{atom};
}

void GroupedExperts::visit(NodeOp node) {
  if (node->use_empty() || node.is("Shape") || node.is("Size"))
    return;
  // Copies: what follows adds to the map.
  std::optional<Meaning> first, any;
  bool anyRows = false, onlyWeights = true;
  for (auto [i, operand] : llvm::enumerate(node.getInputs())) {
    anyRows |= rows.lookup(operand) != nullptr;
    const Meaning *meaning = meaningOf(operand);
    if (!meaning)
      continue;
    if (i == 0)
      first = *meaning;
    if (!any)
      any = *meaning;
    onlyWeights &= (meaning->kind == Meaning::Weight &&
                    meaning->axes == context.chosen()) ||
                   (meaning->kind == Meaning::Ids && node.is("GatherElements"));
  }
  bool integers =
      any && (any->kind == Meaning::Order || any->kind == Meaning::Tokens ||
              any->kind == Meaning::Zero);
  if (movesAxes(node)) {
    if (first && !(first->kind == Meaning::Ids && node.is("Cast")))
      return visitMove(node, *first);
    if (!first && !(node.input(0) && rows.lookup(node.input(0))))
      return; // only the shape
  }
  if (node.is("TopK") && first)
    return visitSort(node, *first);
  if (node.is("Gather") || node.is("GatherND"))
    return visitGather(node);
  if (node.is("ScatterElements"))
    return visitHistogram(node);
  if (node.is("ScatterND"))
    return visitInverse(node);
  if (node.is("CumSum") && first && first->kind == Meaning::Counts) {
    auto axis = evaluateInts(node.input(1));
    if (!axis || axis->size() != 1 || normalizeAxis((*axis)[0], 1) != 0 ||
        node.getI64("exclusive", 0) != 0 || node.getI64("reverse", 0) != 0)
      return reject(node, "expects the sum of all rows up to each expert");
    first->kind = Meaning::Ends;
    return define(node.output(0), *first);
  }
  if (node.is("Split") && first && first->kind == Meaning::Ends) {
    if (!splitsIntoOnes(node, selection.experts))
      return reject(node, "expects a split into single experts");
    for (int64_t e = 0; e < selection.experts; ++e)
      define(node.output(e), {Meaning::Ends, {{}}, {}, nullptr, e});
    return;
  }
  if (node.is("Range"))
    return visitRange(node);
  if (node.is("Concat"))
    return visitConcat(node);
  if (node.is("ReduceSum") && first && first->kind == Meaning::Weighted)
    return visitSum(node, *first);
  if (any && any->kind == Meaning::Ids && !node.is("GatherElements"))
    return visitTable(node, *any);
  if (integers)
    return visitOrder(node, *any);
  if (any && onlyWeights && !anyRows)
    return visitWeights(node);
  if ((node.is("Mul") || node.is("Add")) && any)
    return visitCombination(node);
  if (!anyRows)
    return reject(node, "expects an operator that sorts, gathers, multiplies "
                        "or activates the rows of experts");
  if (succeeded(rows.visit(node)))
    for (Value result : node.getOutputs())
      walk.follow(result);
}

void GroupedExperts::visitMove(NodeOp node, Meaning meaning) {
  bool integers = meaning.kind != Meaning::Weight &&
                  meaning.kind != Meaning::Weighted &&
                  meaning.kind != Meaning::Sum;
  if (node.is("Cast")) {
    auto integer = dyn_cast_or_null<IntegerType>(elementTypeOf(node.output(0)));
    bool wide = integer && integer.getWidth() >= 32;
    if (integers ? !wide && meaning.kind != Meaning::Zero
                 : !isa_and_nonnull<FloatType>(elementTypeOf(node.output(0))))
      return reject(node, integers ? "expects integers of 32 or 64 bits"
                                   : "expects a cast between float types");
    if (meaning.kind == Meaning::Weight && meaning.axes == context.chosen())
      meaning.value = node.output(0);
  }
  auto axes = moveAxes(node, meaning.axes, context, attempt.rejection);
  if (failed(axes))
    return;
  meaning.axes = *axes;
  define(node.output(0), std::move(meaning));
}

/// Operators on the routing weights. What they compute is for the router form
/// to say; here they only lead to the last value of their shape.
void GroupedExperts::visitWeights(NodeOp node) {
  Value result = node.output(0);
  if (node.is("ReduceSum") || rankOf(result) != rankOf(selection.ids()))
    return;
  if (node.is("Softmax") || node.is("GatherElements") || isElementwise(node))
    define(result, {Meaning::Weight, context.chosen(), result});
}

//===----------------------------------------------------------------------===//
// The order
//===----------------------------------------------------------------------===//

/// Sorted ids and the order, or, of an order, its inverse.
void GroupedExperts::visitSort(NodeOp node, const Meaning &source) {
  bool ids = source.kind == Meaning::Ids && source.axes == AxisLayout{pairs()};
  bool order =
      source.kind == Meaning::Order && source.axes == AxisLayout{sorted()};
  auto count = evaluateShape(node.input(1));
  SymbolicDim all = dimOf(node.input(0), 0);
  attempt.looksLikeExperts |= source.kind == Meaning::Ids;
  if (!(ids || order) || node.getI64("largest", 1) != 0 ||
      node.getI64("sorted", 1) != 1 || !count || count->size() != 1 ||
      !((*count)[0] == all))
    return reject(node, "expects all expert ids to be sorted, smallest first");
  if (order)
    return define(node.output(1), {Meaning::Inverse, {pairs()}});
  Meaning values = source;
  values.axes = {sorted()};
  define(node.output(0), std::move(values));
  define(node.output(1), {Meaning::Order, {sorted()}});
}

/// A function of the id, by its value for each expert: histograms are made of
/// rounded quotients.
void GroupedExperts::visitTable(NodeOp node, Meaning ids) {
  Type type = elementTypeOf(node.output(0));
  bool integer = isa_and_nonnull<IntegerType>(type);
  if (!type || !(integer || type.isF32() || type.isF64()) ||
      (node.is("Cast") && integer && type.getIntOrFloatBitWidth() < 32) ||
      !is(node.input(0), Meaning::Ids))
    return reject(node, "expects a function of the expert ids");
  auto constant = [&](unsigned i) {
    return node.input(i) ? splatOf(node.input(i)) : std::nullopt;
  };
  auto second = constant(1), third = constant(2);
  for (double &value : ids.table) {
    if (node.is("Cast")) {
      value = integer ? std::trunc(value) : value;
    } else if (node.is("Clip")) {
      if (second)
        value = std::max(value, *second);
      if (third)
        value = std::min(value, *third);
    } else if (node.is("Floor")) {
      value = std::floor(value);
    } else if (second && node.is("Div") && *second != 0) {
      value = integer ? std::trunc(value / *second) : value / *second;
    } else if (second && node.is("Mul")) {
      value *= *second;
    } else {
      return reject(node, "expects a function of the expert ids");
    }
    if (type.isF32())
      value = static_cast<float>(value);
  }
  define(node.output(0), std::move(ids));
}

/// order / k, with what corrects the quotients of negative numbers: there are
/// none.
void GroupedExperts::visitOrder(NodeOp node, Meaning order) {
  Value lhs = node.input(0), rhs = node.input(1);
  auto constant = rhs ? splatOf(rhs) : std::nullopt;
  bool isOrder = is(lhs, Meaning::Order);
  auto becomes = [&](Meaning::Kind kind) {
    order.kind = kind;
    define(node.output(0), order);
  };
  if (node.is("Div") && isOrder && constant == context.k)
    return becomes(Meaning::Tokens);
  if (node.is("Less") && (isOrder || is(lhs, Meaning::Tokens)) && constant == 0)
    return becomes(Meaning::Zero);
  if (node.is("Equal") && is(lhs, Meaning::Zero) && constant == 1)
    return becomes(Meaning::Zero);
  if (node.is("And") && (is(lhs, Meaning::Zero) || is(rhs, Meaning::Zero)))
    return becomes(Meaning::Zero);
  if (node.is("Sub") && is(rhs, Meaning::Zero) && meaningOf(lhs)) {
    order = *meaningOf(lhs);
    return define(node.output(0), order);
  }
  if (node.is("Mod"))
    return; // a remainder; it ends in an And with what is false
  reject(node, "expects the tokens that the order stands for: its quotient by "
               "k = " +
                   Twine(context.k));
}

/// How many rows each expert has: ScatterElements(0, ids, 1, reduction = add).
void GroupedExperts::visitHistogram(NodeOp node) {
  const Meaning *ids = meaningOf(node.input(1));
  auto type = dyn_cast<RankedTensorType>(node.input(0).getType());
  bool counts = ids && ids->kind == Meaning::Ids && ids->axes.size() == 1 &&
                type && type.getRank() == 1 &&
                type.getDimSize(0) == selection.experts &&
                splatOf(node.input(0)) == 0 && splatOf(node.input(2)) == 1 &&
                node.getString("reduction", "none") == "add";
  if (!counts)
    return reject(node, "expects the rows of each expert to be counted");
  if (!isIdentity(*ids))
    return reject(node, "expects each expert to be counted as itself");
  define(node.output(0), {Meaning::Counts, {context.expert()}});
}

/// The inverse of the order: positions written to where they come from.
void GroupedExperts::visitInverse(NodeOp node) {
  const Meaning *order = meaningOf(node.input(1));
  NodeOp range = definingNode(node.input(2), "Range");
  auto size = dimOf(node.input(0), 0);
  bool all = range && splatOf(range.input(0)) == 0 &&
             splatOf(range.input(2)) == 1 && rankOf(node.input(0)) == 1 &&
             isSizeOf(size, sorted()[0]);
  if (!order || order->kind != Meaning::Order || !all ||
      order->axes != AxisLayout{sorted(), {}} ||
      node.getString("reduction", "none") != "none")
    return reject(node, "expects the inverse of the order of rows");
  define(node.output(0), {Meaning::Inverse, {pairs()}});
}

/// Range(ends[e - 1], ends[e], 1).
void GroupedExperts::visitRange(NodeOp node) {
  const Meaning *start = meaningOf(node.input(0));
  const Meaning *end = meaningOf(node.input(1));
  bool ends = end && end->kind == Meaning::Ends && end->expert >= 0 &&
              splatOf(node.input(2)) == 1;
  bool from = start ? start->kind == Meaning::Ends &&
                          start->expert + 1 == (end ? end->expert : 0)
                    : end && end->expert == 0 && splatOf(node.input(0)) == 0;
  if (!ends || !from)
    return reject(node, "expects the rows of one expert: from the end of the "
                        "expert before it to its own");
  int64_t expert = end->expert;
  define(node.output(0),
         {Meaning::Segment,
          {{AxisAtom{AxisAtom::Hit, ShapedType::kDynamic, expert}}},
          {},
          nullptr,
          expert});
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Rows or weights by order, by inverse or of one expert.
void GroupedExperts::visitGather(NodeOp node) {
  const Meaning *index = meaningOf(node.input(1));
  if (!index)
    return reject(node, "expects indices that derive from the order of rows");
  AxisLayout indices = index->axes;
  bool nd = node.is("GatherND");
  if (nd && (node.getI64("batch_dims", 0) != 0 || indices.empty() ||
             !indices.back().empty()))
    return reject(node,
                  "expects one index per row, found " + describe(indices));
  if (nd)
    indices.pop_back();
  else if (node.getI64("axis", 0) != 0)
    return reject(node, "expects rows to be gathered along axis 0");
  if (indices.size() != 1)
    return reject(node,
                  "expects one index per row, found " + describe(indices));

  Value data = node.input(0);
  auto type = dyn_cast<RankedTensorType>(data.getType());
  if (index->kind == Meaning::Ids && isIdentity(*index) && type &&
      type.hasStaticShape() && type.getRank() == 2 &&
      type.getDimSize(0) == selection.experts)
    return define(node.output(0),
                  {Meaning::Vector,
                   {indices[0], {{AxisAtom::Feature, type.getDimSize(1)}}},
                   data});
  auto gathered = [&](AxisLayout axes, const Axis &along) {
    if (axes.empty() || axes[0] != along) {
      reject(node, "expects the indices of " + describe(axes));
      return std::optional<AxisLayout>();
    }
    axes[0] = indices[0];
    return std::optional(axes);
  };
  // With one choice a position is a token.
  bool isToken = index->kind == Meaning::Tokens ||
                 (index->kind == Meaning::Order && context.k == 1 &&
                  !meaningOf(data) && !rows.lookup(data));
  if (isToken) {
    auto axes = context.tokenRows(data);
    if (meaningOf(data) || !axes || axes->size() != 2 ||
        (tokens && tokens != data))
      return reject(node, "expects rows of as many tokens as the router has");
    tokens = data;
    return defineRows(node.output(0),
                      {*gathered(*axes, context.token()), nullptr});
  }
  Axis along = index->kind == Meaning::Order ? pairs() : sorted();
  if (index->kind != Meaning::Order && index->kind != Meaning::Inverse &&
      index->kind != Meaning::Segment)
    return reject(node, "expects indices that derive from the order of rows");
  if (const Meaning *source = meaningOf(data)) {
    Meaning result = *source;
    auto axes = gathered(source->axes, along);
    if (!axes)
      return;
    if (source->kind != Meaning::Weight && source->kind != Meaning::Weighted)
      return reject(node, "expects rows or routing weights");
    result.axes = *axes;
    return define(node.output(0), std::move(result));
  }
  const Rows *source = rows.lookup(data);
  if (!source)
    return reject(node, "expects rows or routing weights");
  const RowExpr *expr = source->expr;
  if (auto axes = gathered(source->axes, along))
    defineRows(node.output(0), {*axes, expr});
}

/// The rows of all experts, one after the other.
void GroupedExperts::visitConcat(NodeOp node) {
  SmallVector<const RowExpr *> exprs;
  AxisLayout axes;
  for (auto [e, operand] : llvm::enumerate(node.getInputs())) {
    const Rows *part = rows.lookup(operand);
    Axis hit = {
        AxisAtom{AxisAtom::Hit, ShapedType::kDynamic, static_cast<int64_t>(e)}};
    if (!part || part->axes.size() != 2 || part->axes[0] != hit ||
        !part->expr || (e > 0 && part->axes[1] != axes[1]))
      return reject(node, "expects the rows of all experts in order, found "
                          "something else as operand " +
                              Twine(e));
    axes = part->axes;
    exprs.push_back(part->expr);
  }
  if (static_cast<int64_t>(exprs.size()) != selection.experts ||
      normalizeAxis(node.getI64("axis", 0), 2) != 0)
    return reject(node, "expects the rows of " + Twine(selection.experts) +
                            " experts along axis 0, found " +
                            Twine(exprs.size()) + " parts along axis " +
                            Twine(node.getI64("axis", 0)));
  int64_t differs = 0;
  const RowExpr *all = pool.stack(exprs, differs);
  if (!all)
    return reject(node, "expects all experts to compute alike, which expert " +
                            Twine(differs) + " does not");
  axes[0] = sorted();
  defineRows(node.output(0), {axes, all});
}

/// rows * weights, rows + biases.
void GroupedExperts::visitCombination(NodeOp node) {
  for (unsigned i : {0u, 1u}) {
    const Meaning *weight = meaningOf(node.input(i));
    const Rows *row = rows.lookup(node.input(1 - i));
    if (node.is("Add")) {
      if (!weight || weight->kind != Meaning::Vector || !row || !row->expr ||
          row->expr->kind != RowExpr::Linear || row->expr->bias ||
          row->axes != weight->axes)
        continue;
      RowExpr linear = *row->expr;
      linear.bias = ExpertOperand(weight->value);
      linear.biasBegin = 0;
      linear.biasStep = 1;
      return defineRows(node.output(0),
                        {AxisLayout(row->axes), pool.add(std::move(linear))});
    }
    if (!weight || weight->kind != Meaning::Weight || !row || !row->expr)
      continue;
    auto axes = broadcastAxes(weight->axes, row->axes);
    if (!axes || *axes != row->axes)
      break;
    return define(node.output(0),
                  {Meaning::Weighted, *axes, weight->value, row->expr});
  }
  reject(node, node.is("Add") ? "expects a bias to be added to one projection"
                              : "expects rows times one routing weight each");
}

void GroupedExperts::visitSum(NodeOp node, Meaning meaning) {
  auto axes = intsOf(node, "axes", 1);
  auto axis = axes && axes->size() == 1
                  ? normalizeAxis((*axes)[0], meaning.axes.size())
                  : std::nullopt;
  if (!axis || meaning.axes[*axis] != context.choice())
    return reject(node, "expects a sum over the choices of a token, found a "
                        "sum over other axes of " +
                            describe(meaning.axes));
  meaning.kind = Meaning::Sum;
  if (node.getI64("keepdims", 1) == 0)
    meaning.axes.erase(meaning.axes.begin() + *axis);
  else
    meaning.axes[*axis].clear();
  define(node.output(0), std::move(meaning));
}

void GroupedExperts::finish(Value root, const Meaning &sum) {
  if (!tokens)
    return reject(root.getDefiningOp(), "expects experts that read tokens");
  // With an expert per part it could be that they were never put together.
  bool stacked = true;
  forEachLinear(sum.expr, [&](const RowExpr *linear) {
    stacked &= linear->weight.parts.size() != 1 || selection.experts == 1;
  });
  if (!stacked)
    return reject(root.getDefiningOp(), "expects the rows of all experts");
  ExpertsMatch match{tokens, sum.expr, sum.value, root};
  match.batch = context.batch;
  attempt.matches.push_back(match);
}

void moe::matchGroupedExperts(Selection &selection, RowExprPool &pool,
                              ExpertsAttempt &attempt) {
  GroupedExperts(selection, pool, attempt).run();
}
