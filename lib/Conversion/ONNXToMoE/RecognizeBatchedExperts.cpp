//===- RecognizeBatchedExperts.cpp - a gathered matrix per row ------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   ids  -> GatherND(W1[E, N, K]) -> one matrix per choice of a token
//   x    -> each row repeated once per choice
//   MatMul -> activation -> MatMul with GatherND(W2) -> Mul(routing weights)
//        -> sum over the choices
//
// Followed forwards from the ids, in the order of the graph: each value that
// derives from them is given a meaning and an axis layout. What a node does is
// decided by the meaning of its inputs, so the many ways to write the reshapes
// between, the side a matrix is multiplied from, halves or interleaved parts,
// and biases need no cases of their own.
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
    Ids,      // the chosen expert
    Weight,   // `value` [T, k], routing weights at some stage
    Matrix,   // `value` [E, N, K] at the chosen expert
    Vector,   // `value` [E, N] at the chosen expert
    Row,      // `expr`
    Weighted, // `expr` times the routing weights `value`
    Sum,      // the same, summed over the choices
  };
  Kind kind;
  AxisLayout axes;
  Value value;
  const RowExpr *expr = nullptr;
};

class BatchedExperts {
public:
  BatchedExperts(Selection &selection, RowExprPool &pool,
                 ExpertsAttempt &attempt)
      : selection(selection), pool(pool), attempt(attempt),
        context(selection.scores, selection.k, selection.experts),
        walk(selection.ids().getParentBlock()) {}

  void run();

private:
  void define(Value value, Meaning meaning);
  void visit(NodeOp node);
  void visitMove(NodeOp node, const Meaning &source);
  void visitGather(NodeOp node);
  void visitMatMul(NodeOp node);
  void visitElementwise(NodeOp node);
  void visitPart(NodeOp node, const Meaning &source);
  void visitSum(NodeOp node, const Meaning &source);
  void visitRouting(NodeOp node);

  const Meaning *meaningOf(Value value) {
    auto it = meanings.find(value);
    return it == meanings.end() ? nullptr : &it->second;
  }
  const Meaning *meaningOf(NodeOp node, unsigned input) {
    Value value = node.input(input);
    return value ? meaningOf(value) : nullptr;
  }
  void reject(Operation *op, const Twine &why) {
    (void)attempt.rejection.at(op, why);
  }
  std::optional<Meaning> tokenRows(Value value, Operation *user);
  void finish(Value root, const Meaning &meaning);

  Selection &selection;
  RowExprPool &pool;
  ExpertsAttempt &attempt;
  AxisContext context;
  Value tokens;
  llvm::DenseMap<Value, Meaning> meanings;

  ForwardWalk walk;
  /// k = 1 needs no sum: the products themselves are the result then.
  std::optional<std::pair<Value, Meaning>> onlyChoice;
};

} // namespace

//===----------------------------------------------------------------------===//
// Driver
//===----------------------------------------------------------------------===//

void BatchedExperts::define(Value value, Meaning meaning) {
  if (!value)
    return;
  Operation *outside = walk.follow(value);
  if (outside && meaning.kind != Meaning::Weight)
    reject(outside, "expects a block without subgraphs");
  meanings[value] = std::move(meaning);
}

void BatchedExperts::run() {
  AxisLayout axes = context.chosen();
  define(selection.ids(), {Meaning::Ids, axes, {}, nullptr});
  if (Value values = selection.values())
    define(values, {Meaning::Weight, axes, values, nullptr});
  while (NodeOp node = walk.next())
    visit(node);
  if (attempt.matches.empty() && onlyChoice)
    finish(onlyChoice->first, onlyChoice->second);
  if (attempt.matches.empty())
    reject(selection.node, "expects a sum over the choices of a token, found "
                           "none");
}

void BatchedExperts::visit(NodeOp node) {
  // A copy: what follows adds to the map.
  std::optional<Meaning> first;
  if (const Meaning *meaning = meaningOf(node, 0))
    first = *meaning;
  if (node->use_empty())
    return;
  if (movesAxes(node)) {
    if (first) // and not only the shape
      visitMove(node, *first);
    return;
  }
  if (node.is("Shape") || node.is("Size"))
    return;
  if (node.is("Gather") || node.is("GatherND"))
    return visitGather(node);
  if (node.is("MatMul"))
    return visitMatMul(node);
  if ((node.is("Split") || node.is("Slice")) && first)
    return visitPart(node, *first);
  if (node.is("ReduceSum") && first && first->kind != Meaning::Weight)
    return visitSum(node, *first);
  bool routing = true;
  for (Value operand : node.getInputs())
    if (const Meaning *meaning = meaningOf(operand))
      routing &= meaning->kind == Meaning::Weight ||
                 (meaning->kind == Meaning::Ids && node.is("GatherElements"));
  if (routing)
    return visitRouting(node);
  if (isElementwise(node))
    return visitElementwise(node);
  reject(node, "expects an operator that gathers, multiplies or activates the "
               "rows of experts");
}

/// Operators on the routing weights. What they compute is for the router form
/// to say; here they only lead to the last value of shape [T, k].
void BatchedExperts::visitRouting(NodeOp node) {
  Value result = node.output(0);
  if (node.is("ReduceSum") || rankOf(result) != rankOf(selection.ids()))
    return;
  AxisLayout axes = context.chosen();
  bool elementwise =
      node.is("Softmax") || isElementwise(node) || node.is("GatherElements");
  bool plain = llvm::any_of(node.getInputs(), [&](Value operand) {
    const Meaning *meaning = meaningOf(operand);
    return meaning && meaning->axes == axes;
  });
  if (elementwise && plain)
    define(result, {Meaning::Weight, axes, result, nullptr});
}

void BatchedExperts::visitMove(NodeOp node, const Meaning &source) {
  if (node.is("Cast")) {
    Type type = elementTypeOf(node.output(0));
    bool ids = source.kind == Meaning::Ids;
    auto integer = dyn_cast_or_null<IntegerType>(type);
    if (ids ? !integer || integer.getWidth() < 32
            : !isa_and_nonnull<FloatType>(type)) {
      // Ids as floats, for example, are how other forms make one-hot masks.
      return reject(node, ids ? "expects expert ids to stay integers of 32 or "
                                "64 bits"
                              : "expects a cast between float types");
    }
  }
  auto axes = moveAxes(node, source.axes, context, attempt.rejection);
  if (failed(axes))
    return;
  Meaning meaning = source;
  meaning.axes = *axes;
  bool onto = axes->size() == 2 && isAxis((*axes)[0], AxisAtom::Token) &&
              isAxis((*axes)[1], AxisAtom::Feature);
  if (meaning.kind == Meaning::Sum && onto)
    return finish(node.output(0), meaning);
  if (meaning.kind == Meaning::Weighted && onto && context.k == 1)
    onlyChoice = {node.output(0), meaning};
  define(node.output(0), std::move(meaning));
}

//===----------------------------------------------------------------------===//
// Gathering weights and rows
//===----------------------------------------------------------------------===//

void BatchedExperts::visitGather(NodeOp node) {
  const Meaning *ids = meaningOf(node, 1);
  if (meaningOf(node, 0) || !ids || ids->kind != Meaning::Ids)
    return reject(node, "expects the expert ids to choose among weights");
  auto data = dyn_cast<RankedTensorType>(node.input(0).getType());
  if (!data || !data.hasStaticShape() ||
      (data.getRank() != 2 && data.getRank() != 3))
    return reject(node,
                  "expects weights of a static shape [E, N, K] or [E, N]");
  attempt.looksLikeExperts |= data.getRank() == 3;
  AxisLayout axes = ids->axes;
  if (node.is("GatherND")) {
    if (node.getI64("batch_dims", 0) != 0 || axes.empty() ||
        !axes.back().empty())
      return reject(node, "expects one expert id per row, found indices " +
                              describe(axes));
    axes.pop_back();
  } else if (normalizeAxis(node.getI64("axis", 0), data.getRank()) != 0) {
    return reject(node, "expects a Gather along axis 0, found axis " +
                            Twine(node.getI64("axis", 0)));
  }
  if (data.getDimSize(0) != selection.experts)
    return reject(node, "expects the weights of " + Twine(selection.experts) +
                            " experts, found " + Twine(data.getDimSize(0)));
  if (data.getRank() == 2) {
    axes.push_back({{AxisAtom::Feature, data.getDimSize(1)}});
    return define(node.output(0),
                  {Meaning::Vector, axes, node.input(0), nullptr});
  }
  axes.push_back({{AxisAtom::Row, data.getDimSize(1)}});
  axes.push_back({{AxisAtom::Column, data.getDimSize(2)}});
  define(node.output(0), {Meaning::Matrix, axes, node.input(0), nullptr});
}

/// The tokens' rows, repeated for each choice. They are not reached from the
/// ids but looked up from where they are multiplied: back to the value [T, H]
/// in front of the repetition.
std::optional<Meaning> BatchedExperts::tokenRows(Value value, Operation *user) {
  constexpr unsigned kMaxMoves = 16;
  SmallVector<NodeOp> moves;
  SmallVector<std::pair<Value, size_t>> candidates;
  bool repeated = false;
  Value at = value;
  while (true) {
    if (rankOf(at) == 2) {
      candidates.push_back({at, moves.size()});
      if (repeated)
        break;
    }
    NodeOp node = definingNode(at);
    if (!node || !movesAxes(node) || node.is("Cast") ||
        moves.size() == kMaxMoves)
      break;
    repeated |= node.is("Expand") || node.is("Tile");
    moves.push_back(node);
    at = node.input(0);
  }
  // Behind the repetition, or, for one choice that is not repeated, as near as
  // possible.
  if (candidates.empty() || (!repeated && context.k != 1)) {
    reject(at.getDefiningOp() ? at.getDefiningOp() : user,
           "expects the rows of tokens, each repeated once per choice (k = " +
               Twine(context.k) + ")");
    return std::nullopt;
  }
  auto [source, count] = repeated ? candidates.back() : candidates.front();
  if (tokens && tokens != source) {
    reject(user, "expects all projections to read the same tokens");
    return std::nullopt;
  }
  SymbolicDim size = dimOf(source, 0);
  if (!(size == context.tokens)) {
    reject(user, "expects as many tokens as the router has, which cannot be "
                 "shown here");
    return std::nullopt;
  }
  int64_t hidden = cast<RankedTensorType>(source.getType()).getDimSize(1);
  AxisLayout axes = {context.token(), {{AxisAtom::Feature, hidden}}};
  for (NodeOp node : llvm::reverse(ArrayRef(moves).take_front(count))) {
    auto moved = moveAxes(node, axes, context, attempt.rejection);
    if (failed(moved))
      return std::nullopt;
    axes = *moved;
  }
  tokens = source;
  return Meaning{Meaning::Row, axes, source, nullptr};
}

//===----------------------------------------------------------------------===//
// Computing rows
//===----------------------------------------------------------------------===//

void BatchedExperts::visitMatMul(NodeOp node) {
  const Meaning *lhs = meaningOf(node, 0), *rhs = meaningOf(node, 1);
  bool left = lhs && lhs->kind == Meaning::Matrix;
  if (!left && !(rhs && rhs->kind == Meaning::Matrix))
    return reject(node, "expects a product with a gathered weight");
  Meaning matrix = left ? *lhs : *rhs;
  Value other = node.input(left ? 1 : 0);
  const Meaning *known = left ? rhs : lhs;
  std::optional<Meaning> row =
      known ? std::optional(*known) : tokenRows(other, node);
  if (!row)
    return;
  if (row->kind != Meaning::Row)
    return reject(node, "expects rows to multiply a gathered weight with");

  // [.., P, Q] x [.., Q, 1] or [.., 1, P] x [.., P, Q].
  size_t rank = matrix.axes.size();
  if (rank < 2 || row->axes.size() != rank)
    return reject(node, "expects rows of the weight's rank, found " +
                            describe(row->axes) + " for " +
                            describe(matrix.axes));
  const Axis &contracted = matrix.axes[left ? rank - 1 : rank - 2];
  const Axis &kept = matrix.axes[left ? rank - 2 : rank - 1];
  const Axis &feature = row->axes[left ? rank - 2 : rank - 1];
  const Axis &unit = row->axes[left ? rank - 1 : rank - 2];
  auto isMatrixAxis = [](const Axis &axis) {
    return isAxis(axis, AxisAtom::Row) || isAxis(axis, AxisAtom::Column);
  };
  if (!isMatrixAxis(contracted) || !isMatrixAxis(kept) ||
      !isAxis(feature, AxisAtom::Feature) || !unit.empty())
    return reject(node, "expects one matrix and one row per choice, found " +
                            describe(matrix.axes) + " and " +
                            describe(row->axes));
  int64_t given = feature[0].size;
  if (!ShapedType::isDynamic(given) && given != contracted[0].size)
    return reject(node, "expects rows of " + Twine(contracted[0].size) +
                            " elements, found " + Twine(given));
  AxisLayout result(rank);
  for (size_t i = 0; i + 2 < rank; ++i) {
    // A row that is not repeated serves all choices.
    if (!row->axes[i].empty() && row->axes[i] != matrix.axes[i])
      return reject(node, "expects one matrix per row, found " +
                              describe(matrix.axes) + " and " +
                              describe(row->axes));
    result[i] = matrix.axes[i];
  }
  if (!hasRole(row->axes, AxisAtom::Token))
    return reject(node, "expects one row per token");
  result[left ? rank - 2 : rank - 1] = {{AxisAtom::Feature, kept[0].size}};

  RowExpr linear;
  linear.kind = RowExpr::Linear;
  linear.weight = matrix.value;
  linear.inputMajor = isAxis(contracted, AxisAtom::Row);
  linear.quantized =
      QuantizedWeights::of(definingNode(matrix.value), linear.inputMajor);
  if (linear.quantized)
    linear.weight = linear.quantized->values;
  linear.size = kept[0].size;
  linear.input = row->expr;
  linear.origin = node;
  define(node.output(0),
         {Meaning::Row, result, {}, pool.add(std::move(linear))});
}

/// Split and Slice of the features of one projection.
void BatchedExperts::visitPart(NodeOp node, const Meaning &source) {
  if (source.kind == Meaning::Weight)
    return;
  if (source.kind != Meaning::Row)
    return reject(node, "expects a part of one projection of the rows");
  (void)takeParts(node, {source.axes, source.expr}, pool, attempt.rejection,
                  [&](Value result, Rows rows) {
                    define(result, {Meaning::Row, rows.axes, {}, rows.expr});
                  });
}

void BatchedExperts::visitElementwise(NodeOp node) {
  // Line up the operands; scalars stand apart.
  SmallVector<const Meaning *> operands;
  std::optional<AxisLayout> axes;
  for (auto [i, operand] : llvm::enumerate(node.getInputs())) {
    const Meaning *meaning = meaningOf(operand);
    operands.push_back(meaning);
    if (isa<NoneType>(operand.getType()))
      continue;
    if (!meaning) {
      if (!scalarConstantOf(operand))
        return reject(node, "expects operands that are rows of experts or one "
                            "constant, found another tensor as operand " +
                                Twine(i));
      continue;
    }
    axes = axes ? broadcastAxes(*axes, meaning->axes) : meaning->axes;
    if (!axes)
      return reject(node, "expects operands whose axes line up");
  }

  auto isKind = [](const Meaning *meaning, Meaning::Kind kind) {
    return meaning && meaning->kind == kind;
  };
  if (operands.size() == 2) {
    for (unsigned i : {0u, 1u}) {
      const Meaning *row = operands[i], *other = operands[1 - i];
      if (!isKind(row, Meaning::Row) || !row->expr)
        continue;
      if (isKind(other, Meaning::Weight)) {
        if (!node.is("Mul") || *axes != row->axes)
          return reject(node, "expects rows times one routing weight each");
        Meaning weighted{Meaning::Weighted, *axes, other->value, row->expr};
        if (context.k == 1 && axes->size() == 2 &&
            isAxis((*axes)[0], AxisAtom::Token))
          onlyChoice = {node.output(0), weighted};
        return define(node.output(0), std::move(weighted));
      }
      if (isKind(other, Meaning::Vector)) {
        if (!node.is("Add") || row->expr->kind != RowExpr::Linear ||
            row->expr->bias || *axes != row->axes)
          return reject(node, "expects a gathered bias to be added to one "
                              "projection");
        RowExpr linear = *row->expr;
        linear.bias = other->value;
        linear.biasBegin = 0;
        linear.biasStep = 1;
        return define(node.output(0),
                      {Meaning::Row, *axes, {}, pool.add(std::move(linear))});
      }
    }
  }
  for (const Meaning *meaning : operands)
    if (meaning && (meaning->kind != Meaning::Row || !meaning->expr ||
                    meaning->axes != *axes))
      return reject(node, "expects rows of experts of one shape");
  const RowExpr *expr =
      pool.elementwise(node, [&](unsigned i) -> const RowExpr * {
        if (i >= operands.size() || !node.input(i))
          return nullptr;
        if (operands[i])
          return operands[i]->expr;
        return pool.scalar(*scalarConstantOf(node.input(i)));
      });
  if (!expr)
    return reject(node, "expects an activation that is known element by "
                        "element");
  define(node.output(0), {Meaning::Row, *axes, {}, expr});
}

//===----------------------------------------------------------------------===//
// The weighted sum
//===----------------------------------------------------------------------===//

void BatchedExperts::visitSum(NodeOp node, const Meaning &source) {
  auto axes = intsOf(node, "axes", 1);
  if (source.kind != Meaning::Weighted)
    return reject(node,
                  "expects the rows to be multiplied with routing weights "
                  "before they are summed");
  auto axis = axes && axes->size() == 1
                  ? normalizeAxis((*axes)[0], source.axes.size())
                  : std::nullopt;
  if (!axis || source.axes[*axis] != context.choice())
    return reject(node,
                  "expects a sum over the choices of a token, found a sum "
                  "over other axes of " +
                      describe(source.axes));
  Meaning sum = source;
  sum.kind = Meaning::Sum;
  if (node.getI64("keepdims", 1) == 0)
    sum.axes.erase(sum.axes.begin() + *axis);
  else
    sum.axes[*axis].clear();
  if (sum.axes.size() == 2 && isAxis(sum.axes[0], AxisAtom::Token) &&
      isAxis(sum.axes[1], AxisAtom::Feature))
    return finish(node.output(0), sum);
  define(node.output(0), std::move(sum));
}

void BatchedExperts::finish(Value root, const Meaning &meaning) {
  if (!tokens)
    return reject(root.getDefiningOp(), "expects experts that read tokens");
  // Sums of 16-bit rows are taken in f32 and rounded to the rows' type once;
  // so does moe.combine.
  if (elementTypeOf(root) != elementTypeOf(tokens) && root.hasOneUse()) {
    NodeOp cast = dyn_cast<NodeOp>(*root.getUsers().begin());
    if (cast && cast.is("Cast") &&
        elementTypeOf(cast.output(0)) == elementTypeOf(tokens))
      root = cast.output(0);
  }
  attempt.matches.push_back({tokens, meaning.expr, meaning.value, root});
}

void moe::matchBatchedExperts(Selection &selection, RowExprPool &pool,
                              ExpertsAttempt &attempt) {
  BatchedExperts(selection, pool, attempt).run();
}
