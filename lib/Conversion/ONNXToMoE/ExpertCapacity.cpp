//===- ExpertCapacity.cpp - experts with a number of places ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   mask = one-hot(ids)
//   mask * (CumSum(mask, along the tokens) <= capacity)
//
// The sum numbers the tokens that chose an expert. Who comes after the capacity
// is dropped. Found forwards from the ids, by what each value says of a token
// and an expert.
//
//===----------------------------------------------------------------------===//

#include "RecognizeForms.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

namespace {

struct Meaning {
  enum Kind {
    Ids,    // the chosen expert
    Mask,   // [.., E], 1 for the chosen expert
    Number, // [.., E], which token of the expert's this is, the first being
            // `offset`
    Fits,   // whether there is a place for it
  };
  Kind kind;
  int64_t offset = 0;
};

class CapacityFinder {
public:
  explicit CapacityFinder(Selection &selection) : selection(selection) {}

  std::optional<ExpertCapacity> find();

private:
  void define(Value value, Meaning meaning);
  void visit(NodeOp node);
  void visitNumbers(NodeOp node);
  void visitComparison(NodeOp node, const Meaning &number);
  bool comparesExperts(NodeOp node);
  std::optional<Meaning> meaningOf(Value value) {
    auto it = value ? meanings.find(value) : meanings.end();
    return it == meanings.end() ? std::nullopt : std::optional(it->second);
  }
  bool is(Value value, Meaning::Kind kind) {
    auto meaning = meaningOf(value);
    return meaning && meaning->kind == kind;
  }

  Selection &selection;
  ExpertCapacity capacity;
  llvm::DenseMap<Value, Meaning> meanings;
  SmallVector<NodeOp> worklist;
};

} // namespace

/// The constant of one element that `value` is.
static std::optional<int64_t> integerOf(Value value) {
  auto type = dyn_cast_or_null<RankedTensorType>(value.getType());
  auto number = type && isa<IntegerType>(type.getElementType()) ? splatOf(value)
                                                                : std::nullopt;
  return number ? std::optional(static_cast<int64_t>(*number)) : std::nullopt;
}

std::optional<ExpertCapacity> CapacityFinder::find() {
  define(selection.node.output(0), {Meaning::Ids});
  // Masks and what they are multiplied with meet again: until nothing new is
  // found.
  while (!worklist.empty() && !capacity.mask)
    visit(worklist.pop_back_val());
  return capacity.mask ? std::optional(capacity) : std::nullopt;
}

void CapacityFinder::define(Value value, Meaning meaning) {
  if (!value || !meanings.try_emplace(value, meaning).second)
    return;
  for (Operation *user : value.getUsers())
    if (auto node = dyn_cast<NodeOp>(user);
        node && node->getBlock() == selection.node->getBlock())
      worklist.push_back(node);
}

/// ids == [0, 1, .., E - 1].
bool CapacityFinder::comparesExperts(NodeOp node) {
  Value other = node.input(is(node.input(0), Meaning::Ids) ? 1 : 0);
  return isIotaRow(other, selection.experts);
}

/// Numbers along the tokens of all, or of each sequence.
void CapacityFinder::visitNumbers(NodeOp node) {
  int64_t rank = rankOf(selection.scores);
  auto axes = evaluateInts(node.input(1));
  auto integer = dyn_cast_or_null<IntegerType>(elementTypeOf(node.input(0)));
  if (!integer || integer.getWidth() < 32 || !axes || axes->size() != 1 ||
      normalizeAxis((*axes)[0], rank) != rank - 2 ||
      node.getI64("reverse", 0) != 0)
    return;
  define(node.output(0),
         {Meaning::Number, node.getI64("exclusive", 0) != 0 ? 0 : 1});
}

/// number < limit: the place, counted from 0, is below limit - offset.
void CapacityFinder::visitComparison(NodeOp node, const Meaning &number) {
  Value limit = node.input(1);
  auto type = dyn_cast<RankedTensorType>(limit.getType());
  if (!is(node.input(0), Meaning::Number) || !type || !type.hasStaticShape() ||
      type.getNumElements() != 1 || !isa<IntegerType>(type.getElementType()))
    return;
  if (capacity.limit)
    return; // a second one
  capacity.limit = limit;
  capacity.offset = (node.is("LessOrEqual") ? 1 : 0) - number.offset;
  define(node.output(0), {Meaning::Fits});
}

void CapacityFinder::visit(NodeOp node) {
  auto first = meaningOf(node.input(0));
  if (node.is("Equal")) {
    bool ids =
        is(node.input(0), Meaning::Ids) || is(node.input(1), Meaning::Ids);
    if (ids && rankOf(node.output(0)) == rankOf(selection.scores) &&
        comparesExperts(node))
      define(node.output(0), {Meaning::Mask});
    return;
  }
  if ((node.is("Mul") || node.is("And")) && !node->use_empty()) {
    for (unsigned i : {0u, 1u})
      if (is(node.input(i), Meaning::Mask) &&
          is(node.input(1 - i), Meaning::Fits))
        capacity.mask = node.output(0);
    return;
  }
  if (!first)
    return;
  if (node.is("Cast") &&
      (first->kind == Meaning::Mask || first->kind == Meaning::Fits))
    return define(node.output(0), *first);
  switch (first->kind) {
  case Meaning::Ids:
    if (node.is("Unsqueeze") || node.is("Squeeze") || node.is("Identity"))
      define(node.output(0), *first);
    else if (node.is("OneHot") && splatOf(node.input(1)) == selection.experts &&
             normalizeAxis(node.getI64("axis", -1), rankOf(node.output(0))) ==
                 rankOf(selection.scores) - 1 &&
             isZeroAndOne(node.input(2)))
      define(node.output(0), {Meaning::Mask});
    return;
  case Meaning::Mask:
    if (node.is("CumSum"))
      visitNumbers(node);
    return;
  case Meaning::Number:
    if (node.is("LessOrEqual") || node.is("Less"))
      visitComparison(node, *first);
    else if (auto step =
                 node.is("Sub") ? integerOf(node.input(1)) : std::nullopt)
      define(node.output(0), {Meaning::Number, first->offset - *step});
    return;
  case Meaning::Fits:
    return;
  }
}

std::optional<ExpertCapacity> moe::capacityOf(Selection &selection) {
  return CapacityFinder(selection).find();
}
