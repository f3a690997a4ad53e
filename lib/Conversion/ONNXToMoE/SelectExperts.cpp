//===- SelectExperts.cpp - the nodes that choose experts ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The k greatest of a token's scores are chosen by TopK, or one after the
// other:
//
//   ids0 = ArgMax(scores)
//   ids1 = ArgMax(ScatterElements(scores, ids0, -inf)), ...
//   ids  = Concat(ids0, ids1, ...)
//
// One choice needs no more than one ArgMax, and its score is the ReduceMax.
//
//===----------------------------------------------------------------------===//

#include "RecognizeForms.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

/// Whether all inputs of `node` are the results of operators `opType`.
static bool joins(NodeOp node, StringRef opType) {
  return node.is("Concat") && llvm::all_of(node.getInputs(), [&](Value input) {
           return bool(definingNode(input, opType));
         });
}

Value moe::chosenIdsOf(NodeOp node) {
  if (node.is("TopK"))
    return node.output(1);
  if (joins(node, "ArgMax"))
    return node.output(0);
  bool round = llvm::any_of(node->getUsers(), [](Operation *user) {
    auto concat = dyn_cast<NodeOp>(user);
    return concat && joins(concat, "ArgMax");
  });
  return node.is("ArgMax") && !round && !isLaterChoice(node) ? node.output(0)
                                                             : Value();
}

static FailureOr<Selection> selectionByTopK(NodeOp node, Rejection &rejection) {
  auto k = intsOf(node, "k", 1);
  if (!k || k->size() != 1 || (*k)[0] < 1)
    return rejection.at(node, "expects a constant k of at least 1");
  int64_t rank = rankOf(node.input(0));
  if (normalizeAxis(node.getI64("axis", -1), rank) != rank - 1)
    return rejection.at(node, "expects a selection along the experts, found "
                              "axis " +
                                  Twine(node.getI64("axis", -1)));
  if (node.getI64("largest", 1) != 1)
    return rejection.at(node, "expects the largest scores, found largest = 0");
  return Selection{node,           node.input(0),   node.output(1),
                   node.output(0), /*gathered=*/{}, (*k)[0],
                   /*experts=*/0};
}

/// Whether `node` works along the last axis, which is that of the experts.
static bool alongExperts(NodeOp node) {
  int64_t rank = rankOf(node.input(0));
  return normalizeAxis(node.getI64("axis", 0), rank) == rank - 1;
}

/// Whether `rest` is `scores` with those at `ids` out of the running.
static bool removes(Value rest, Value scores, Value ids) {
  NodeOp node = definingNode(skipExactCasts(rest), "ScatterElements");
  return node && node.input(0) == scores && node.input(1) == ids &&
         alongExperts(node) && node.getString("reduction", "none") == "none" &&
         splatOf(node.input(2)) == -std::numeric_limits<double>::infinity();
}

/// What is gathered by each of `ids`, joined in their order; null if nothing
/// is.
static Value gatheredBy(ArrayRef<Value> ids) {
  auto gathers = [](Value value, Value ids) {
    NodeOp node = definingNode(value, "GatherElements");
    return node && node.input(1) == ids;
  };
  for (Operation *user : ids[0].getUsers()) {
    auto gather = dyn_cast<NodeOp>(user);
    if (!gather || !gathers(gather.output(0), ids[0]))
      continue;
    if (ids.size() == 1)
      return gather.output(0);
    for (Operation *next : gather->getUsers())
      if (auto concat = dyn_cast<NodeOp>(next);
          concat && concat.is("Concat") &&
          llvm::equal(concat.getInputs(), ids, gathers))
        return concat.output(0);
  }
  return {};
}

/// `value` with a dimension of size 1 at the end: itself, if it has rank `rank`
/// already, or the Unsqueeze of it. Null if there is none.
static Value asColumn(Value value, int64_t rank) {
  if (rankOf(value) == rank)
    return value;
  for (Operation *user : value.getUsers()) {
    NodeOp node = dyn_cast<NodeOp>(user);
    if (!node || !node.is("Unsqueeze") || rankOf(node.output(0)) != rank)
      continue;
    auto axes = intsOf(node, "axes", 1);
    if (axes && axes->size() == 1 &&
        normalizeAxis((*axes)[0], rank) == rank - 1)
      return node.output(0);
  }
  return {};
}

/// The greatest of `scores`, as a column; null if nothing computes them.
static Value greatestOf(Value scores) {
  int64_t rank = rankOf(scores);
  for (Operation *user : scores.getUsers()) {
    NodeOp node = dyn_cast<NodeOp>(user);
    if (!node || !node.is("ReduceMax") || node.input(0) != scores)
      continue;
    auto axes = intsOf(node, "axes", 1);
    if (axes && axes->size() == 1 &&
        normalizeAxis((*axes)[0], rank) == rank - 1)
      if (Value column = asColumn(node.output(0), rank))
        return column;
  }
  return {};
}

static FailureOr<Selection> selectionByRounds(NodeOp node,
                                              Rejection &rejection) {
  SmallVector<Value> ids;
  if (node.is("Concat"))
    llvm::append_range(ids, node.getInputs());
  else if (Value column = asColumn(node.output(0), rankOf(node.input(0))))
    ids.push_back(column);
  else
    ids.push_back(node.output(0));
  Value scores, before;
  for (auto [i, chosen] : llvm::enumerate(ids)) {
    NodeOp round = node.is("Concat") ? definingNode(chosen, "ArgMax") : node;
    Value given = round.input(0);
    if (rankOf(chosen) != rankOf(given) || !alongExperts(round) ||
        round.getI64("select_last_index", 0) != 0)
      return rejection.at(round, "expects the first of the greatest scores of "
                                 "each token, [.., 1]");
    if (i == 0)
      scores = given;
    else if (!removes(given, before, ids[i - 1]))
      return rejection.at(round, "expects the scores of the round before, with "
                                 "-inf for what it chose");
    before = given;
  }
  if (node.is("Concat") && !alongExperts(node))
    return rejection.at(node, "expects one column per round");
  return Selection{node,
                   scores,
                   node.is("Concat") ? node.output(0) : ids[0],
                   ids.size() == 1 ? greatestOf(scores) : Value(),
                   gatheredBy(ids),
                   static_cast<int64_t>(ids.size()),
                   /*experts=*/0};
}

FailureOr<Selection> moe::selectionOf(NodeOp node, Rejection &rejection) {
  NodeOp first = node.is("Concat") ? definingNode(node.input(0)) : node;
  Value scores = first.input(0);
  int64_t rank = rankOf(scores);
  if (rank != 2 && rank != 3)
    return rejection.at(node, "expects scores of shape [tokens, experts] or "
                              "[batch, sequence, experts], found rank " +
                                  Twine(rank));
  if (!isa_and_nonnull<FloatType>(elementTypeOf(scores)))
    return rejection.at(node, "expects float scores");
  SymbolicDim experts = dimOf(scores, rank - 1);
  if (!experts.constant)
    return rejection.at(node, "expects a static number of experts");
  if (node.is("ArgMax")) {
    // One of several choices that only their sum leads to experts from.
    Selection some{node, scores, node.output(0), {}, {}, 1, *experts.constant};
    findSpread(some);
    if (some.spread)
      return some;
  }
  FailureOr<Selection> selection = node.is("TopK")
                                       ? selectionByTopK(node, rejection)
                                       : selectionByRounds(node, rejection);
  if (failed(selection))
    return failure();
  selection->experts = *experts.constant;
  if (node.is("ArgMax"))
    selection->capacity = capacityOf(*selection);
  return selection;
}
