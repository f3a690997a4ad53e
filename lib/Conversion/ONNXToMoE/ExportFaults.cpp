//===- ExportFaults.cpp - models that exporters have broken ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Faults that no form of experts runs into, or not every one:
//
//   a router that has no influence   nothing reads which experts it chooses, or
//                                    experts get tokens by constant indices
//   a fixed number of experts        those that got tokens are a list whose
//                                    length is constant
//   tied experts                     experts with the same weights
//
//===----------------------------------------------------------------------===//

#include "ExportFaults.h"

#include "AxisLayout.h"

#include "mlir/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include <map>

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

void moe::addDetails(InFlightDiagnostic &diagnostic, NodeOp block,
                     StringRef kind, Operation *at, StringRef reason,
                     StringRef reached, StringRef form) {
  Builder b(block.getContext());
  NamedAttrList entries;
  auto set = [&](StringRef name, StringRef text) {
    if (!text.empty())
      entries.set(name, b.getStringAttr(text));
  };
  set("kind", kind);
  set("layer", sourceName(block.getLoc()));
  set("block", block.describe());
  set("reached", reached);
  set("form", form);
  if (auto node = dyn_cast_or_null<NodeOp>(at)) {
    set("node", node.getNodeName().value_or(""));
    set("op", node.getQualifiedOpType());
  } else if (at) {
    set("op", at->getName().getStringRef());
  }
  set("reason", reason);
  diagnostic.getUnderlyingDiagnostic()->getMetadata().emplace_back(
      entries.getDictionary(b.getContext()));
}

void moe::reportFault(NodeOp block, const ExportFault &fault) {
  InFlightDiagnostic diagnostic = emitWarning(fault.op->getLoc())
                                  << block.describe()
                                  << " chooses experts, but " << fault.reason;
  addDetails(diagnostic, block, fault.kind, fault.op, fault.reason);
}

//===----------------------------------------------------------------------===//
// Routers without influence
//===----------------------------------------------------------------------===//

UnreadRouters::UnreadRouters(ModuleOp module) {
  SmallVector<Operation *> worklist;
  auto visit = [&](Operation *op) {
    if (op && live.insert(op).second)
      worklist.push_back(op);
  };
  module.walk([&](Operation *op) {
    if (op->hasTrait<OpTrait::IsTerminator>())
      visit(op);
  });
  while (!worklist.empty())
    for (Value operand : worklist.pop_back_val()->getOperands())
      visit(operand.getDefiningOp());
}

bool UnreadRouters::isRead(Value value) const {
  return value && llvm::any_of(value.getUsers(), [&](Operation *user) {
           // A subgraph may read what is outside of it.
           while (user && !live.contains(user))
             user = user->getParentOp();
           return user && !isa<ModuleOp, FunctionOpInterface>(user);
         });
}

/// The product with a constant matrix that `scores` come from, through what
/// routers make of logits; null if they come from anything else.
static NodeOp routerOf(Value scores) {
  constexpr unsigned kMaxSteps = 8;
  for (unsigned step = 0; step < kMaxSteps; ++step) {
    NodeOp node = definingNode(scores);
    if (!node)
      return {};
    if (node.is("MatMul") || node.is("Gemm"))
      return rankOf(node.input(1)) == 2 ? node : NodeOp();
    if (!node.is("Softmax") && !node.is("Sigmoid") && !node.is("Add") &&
        !movesAxes(node))
      return {};
    scores = node.input(0);
  }
  return {};
}

/// What `value` is but for its shape.
static Value skipMoves(Value value) {
  for (NodeOp node = definingNode(value); node && movesAxes(node);
       node = definingNode(value))
    value = node.input(0);
  return value;
}

std::optional<ExportFault> UnreadRouters::faultOf(NodeOp selection) const {
  Value ids = chosenIdsOf(selection);
  Rejection unused;
  FailureOr<Selection> read = selectionOf(selection, unused);
  if (!ids || isRead(ids) || failed(read) || read->k >= read->experts)
    return std::nullopt;
  NodeOp router = routerOf(read->scores);
  if (!router)
    return std::nullopt;
  // What the router reads, something else has to read too: the experts.
  Value tokens = skipMoves(router.input(0));
  bool goesOn = false;
  NodeOp fixed;
  SmallVector<Value> values = {tokens};
  while (!values.empty()) {
    Value value = values.pop_back_val();
    for (Operation *user : value.getUsers()) {
      NodeOp node = dyn_cast<NodeOp>(user);
      if (!node || user == router || !live.contains(user))
        continue;
      if (movesAxes(node) && node.input(0) == value) {
        values.push_back(node.output(0));
        continue;
      }
      goesOn |= !node.is("Shape") && !node.is("Size");
      bool taken =
          (node.is("Gather") || node.is("GatherND")) && node.input(0) == value;
      if (taken && !fixed && rankOf(node.input(1)) > 0 &&
          (constantOf(node.input(1)) || isWeight(node.input(1))))
        fixed = node;
    }
  }
  if (!goesOn)
    return std::nullopt;
  ExportFault fault;
  constexpr StringLiteral kRemedy =
      "Export with experts that do not depend on the input, for example "
      "experts_implementation=\"batched_mm\"";
  if (!isRead(read->chosenScores) && !isRead(read->gathered)) {
    fault.at(selection, "unread-router",
             "nothing reads what it chooses: whatever the experts do, they do "
             "for each token alike. " +
                 kRemedy);
    return fault;
  }
  if (!fixed)
    return std::nullopt;
  fault.at(fixed, "fixed-routing",
           "nothing reads which ones, and " + fixed.describe() +
               " gives an expert the same tokens for each input, those that "
               "it got when the model was traced: results are right for that "
               "input only. " +
               kRemedy);
  return fault;
}

bool UnreadRouters::isWeight(Value value) const {
  NodeOp node = definingNode(value, "Constant");
  return (node && node.getWeightAttr("value")) ||
         (value && value.getDefiningOp<GetWeightOp>());
}

//===----------------------------------------------------------------------===//
// A fixed number of experts
//===----------------------------------------------------------------------===//

void moe::setFixedCount(ExportFault &fault, NodeOp node, int64_t count) {
  fault.at(node, "fixed-expert-count",
           "the number of experts that get tokens is fixed to " + Twine(count) +
               ", as it was for the input that the model was traced with: "
               "results are wrong, or the run stops, whenever tokens reach "
               "another number of experts. Export with experts that do not "
               "depend on the input, for example "
               "experts_implementation=\"batched_mm\"");
}

/// Whether `value` has one element per expert.
static bool isPerExpert(Value value, int64_t experts) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() && type.getNumElements() == experts;
}

std::optional<ExportFault> moe::fixedCountOf(NodeOp selection) {
  // What is computed of the choice: masks, which experts have tokens, the list
  // of these, and a part of it.
  enum State { Mask, Used, List, Part };
  constexpr unsigned kMaxVisits = 4096; // each expert has some
  Value scores = selection.input(0);
  if (!scores || rankOf(scores) < 1)
    return std::nullopt;
  SymbolicDim experts = dimOf(scores, rankOf(scores) - 1);
  if (!experts.constant || *experts.constant < 2)
    return std::nullopt;
  SmallVector<std::pair<Value, State>> values;
  auto push = [&](NodeOp node, State state) {
    for (Value output : node.getOutputs())
      values.push_back({output, state});
  };
  push(selection, Mask);
  llvm::DenseSet<std::pair<Operation *, int>> seen;
  int64_t parts = 0;
  while (!values.empty() && seen.size() < kMaxVisits) {
    auto [value, state] = values.pop_back_val();
    for (Operation *user : value.getUsers()) {
      NodeOp node = dyn_cast<NodeOp>(user);
      if (!node || !seen.insert({user, state}).second)
        continue;
      bool compares = node.is("Greater") || node.is("Equal") ||
                      node.is("Not") || node.is("Cast");
      bool sums = (node.is("ReduceSum") || node.is("ReduceMax")) &&
                  node->getNumResults() == 1;
      if (state == Part && node.is("Gather") && node.input(1) == value) {
        ExportFault fault;
        setFixedCount(fault, node, parts);
        return fault;
      }
      if (state == List && node.is("Split")) {
        parts = node.getOutputs().size();
        push(node, Part);
      } else if (state == Used && node.is("NonZero")) {
        push(node, List);
      } else if (state == Mask && sums &&
                 isPerExpert(node->getResult(0), *experts.constant)) {
        push(node, Used);
      } else if (movesAxes(node) || (state == Part && node.is("Gather")) ||
                 ((state == Mask || state == Used) && compares) ||
                 (state == Mask &&
                  (node.is("OneHot") || node.is("Mul") || node.is("And")))) {
        push(node, state);
      }
    }
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Tied experts
//===----------------------------------------------------------------------===//

namespace {
/// Classes of experts that are equal as far as is known.
using Classes = SmallVector<SmallVector<int64_t>>;

/// What expert `e` has of `operand`.
struct Slice {
  Value value;
  int64_t index = -1;
  std::optional<StridedBytes> bytes = std::nullopt;

  bool operator==(const Slice &other) const {
    if (value == other.value && index == other.index)
      return true;
    return bytes && other.bytes && bytes->shape == other.bytes->shape &&
           bytes->elementSize == other.bytes->elementSize &&
           equalBytes(*bytes, *other.bytes);
  }
};
} // namespace

static Slice sliceOf(const ExpertOperand &operand, int64_t e,
                     WeightValues &values) {
  Slice slice;
  if (operand.stacked)
    slice = {operand.stacked, e};
  else
    slice = {operand.parts[e].value, operand.parts[e].index};
  slice.bytes = values.bytes(slice.value);
  if (slice.bytes && slice.index >= 0) {
    StridedBytes &bytes = *slice.bytes;
    bytes.data += slice.index * bytes.strides[0];
    bytes.shape.erase(bytes.shape.begin());
    bytes.strides.erase(bytes.strides.begin());
  }
  return slice;
}

/// The same for equal slices, and mostly different for others, from as little
/// of them as may do: one page each.
static std::string sampleOf(const Slice &slice) {
  std::string key;
  if (!slice.bytes) {
    llvm::raw_string_ostream(key)
        << slice.value.getAsOpaquePointer() << ' ' << slice.index;
    return key;
  }
  int64_t count = std::min<int64_t>(slice.bytes->getNumElements(), 16);
  key.resize(count * slice.bytes->elementSize);
  gatherElements(slice.bytes->canonical(), 0, count,
                 reinterpret_cast<uint8_t *>(key.data()));
  return key;
}

/// Divides classes whose members differ in `operand`.
static void divide(Classes &classes, const ExpertOperand &operand,
                   WeightValues &values) {
  Classes finer;
  for (ArrayRef<int64_t> members : classes) {
    std::map<std::string, SmallVector<int64_t>> alike;
    for (int64_t e : members)
      alike[sampleOf(sliceOf(operand, e, values))].push_back(e);
    for (ArrayRef<int64_t> rest : llvm::make_second_range(alike)) {
      size_t first = finer.size();
      for (int64_t e : rest) {
        Slice slice = sliceOf(operand, e, values);
        auto same = std::find_if(
            finer.begin() + first, finer.end(), [&](ArrayRef<int64_t> found) {
              return slice == sliceOf(operand, found[0], values);
            });
        if (same == finer.end())
          finer.push_back({e});
        else
          same->push_back(e);
      }
    }
  }
  llvm::erase_if(finer, [](ArrayRef<int64_t> one) { return one.size() < 2; });
  llvm::sort(finer, [](ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
    return a[0] < b[0];
  });
  classes = std::move(finer);
}

void moe::reportTiedExperts(NodeOp node, const MoEBlock &block,
                            WeightValues &values) {
  if (block.route.experts < 2)
    return;
  Classes classes = {
      llvm::to_vector(llvm::seq<int64_t>(0, block.route.experts))};
  Operation *origin = nullptr;
  for (const RowExpr *layer = block.output; layer;) {
    const RowExpr *input = nullptr;
    forEachLinear(layer, [&](const RowExpr *linear) {
      origin = origin ? origin : linear->origin;
      input = linear->input;
      SmallVector<ExpertOperand> operands = {linear->weight, linear->bias};
      if (linear->quantized)
        operands.append(
            {linear->quantized->scales, linear->quantized->zeroPoints});
      for (const ExpertOperand &operand : operands)
        if (operand && !classes.empty())
          divide(classes, operand, values);
    });
    layer = input;
  }
  if (classes.empty())
    return;
  std::string names;
  llvm::raw_string_ostream os(names);
  llvm::interleave(
      classes, os,
      [&](ArrayRef<int64_t> same) {
        os << (os.tell() ? "" : "experts ");
        llvm::interleaveComma(same.drop_back(), os);
        os << " and " << same.back();
      },
      "; ");
  ExportFault fault;
  fault.at(origin ? origin : node.getOperation(), "tied-experts",
           names +
               " have the same weights: they compute the same, and a token "
               "that is given to several of them gets that several times. "
               "Compare with the checkpoint, and if they differ there, export "
               "again without merging of initializers");
  reportFault(node, fault);
}
