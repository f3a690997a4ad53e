//===- ControlFlow.cpp - If, Loop, Scan -----------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A subgraph becomes the region of an scf operation; what constants decide is
// converted in place.
//
//===----------------------------------------------------------------------===//

#include "ControlFlow.h"
#include "Registry.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

//===----------------------------------------------------------------------===//
// Subgraphs
//===----------------------------------------------------------------------===//

/// The subgraph `name` with `arguments` inputs and at least `results` outputs.
static FailureOr<Region *> graphOf(Lowering &l, StringRef name,
                                   size_t arguments, size_t results) {
  Region *graph = l.node.graph(name);
  if (!graph)
    return l.error() << "expects a subgraph '" << name << "'";
  if (graph->getNumArguments() != arguments)
    return l.error() << "expects a subgraph '" << name << "' of " << arguments
                     << " inputs, got " << graph->getNumArguments();
  size_t found = graph->front().getTerminator()->getNumOperands();
  if (found != results)
    return l.error() << "expects a subgraph '" << name << "' of " << results
                     << " outputs, got " << found;
  return graph;
}

namespace {
/// A tensor or a sequence.
struct Item {
  Tensor tensor = nullptr;
  SmallVector<Tensor> sequence;

  static Item of(Lowering &l, Value value) {
    Tensor t = l.lookup(value);
    return {t, t ? SmallVector<Tensor>() : l.sequences.lookup(value)};
  }
  void mapTo(Lowering &l, Value value) const {
    if (tensor)
      l.map(value, tensor);
    else
      l.sequences[value] = sequence;
  }
  LogicalResult setAs(Lowering &l, unsigned output) const {
    if (tensor)
      return l.set(output, tensor);
    if (Value value = l.node.output(output))
      l.sequences[value] = sequence;
    return success();
  }
};
} // namespace

/// What a converted subgraph yields.
static FailureOr<SmallVector<Item>> convertToItems(Lowering &l, Region &graph) {
  onnx::NodeOp node = l.node;
  LogicalResult done = convertGraph(graph, l);
  l.node = node;
  if (failed(done))
    return failure();
  SmallVector<Item> results;
  for (auto [i, value] :
       llvm::enumerate(graph.front().getTerminator()->getOperands())) {
    results.push_back(Item::of(l, value));
    if (!results.back().tensor && !l.sequences.count(value))
      return l.error() << "expects output " << i
                       << " of the subgraph to be a tensor or a sequence, got "
                       << value.getType();
  }
  return results;
}

static FailureOr<SmallVector<Tensor>> convertToTensors(Lowering &l,
                                                       Region &graph) {
  FailureOr<SmallVector<Item>> items = convertToItems(l, graph);
  if (failed(items))
    return failure();
  SmallVector<Tensor> results;
  for (auto [i, item] : llvm::enumerate(*items)) {
    results.push_back(item.tensor);
    if (!item.tensor)
      return l.error() << "expects output " << i
                       << " of the subgraph to be a tensor where data decides "
                          "what runs, got a sequence";
  }
  return results;
}

/// A bool or an integer of one element.
static FailureOr<Expr> scalarOf(Lowering &l, Tensor t, StringRef what) {
  FailureOr<Dims> elements = l.elements(t, what);
  if (failed(elements))
    return failure();
  if (elements->size() != 1)
    return l.error() << "expects " << what << " of one element, got "
                     << elements->size();
  return elements->front();
}

//===----------------------------------------------------------------------===//
// If
//===----------------------------------------------------------------------===//

namespace {
/// What is known of one result of both branches.
struct Merged {
  Tensor branch[2];
  Dims dims;
  /// The sizes that only the branches know.
  SmallVector<bool> inside;
  /// Null, or where both branches write the result.
  Value destination;

  bool isOutside() const { return !llvm::is_contained(inside, true); }
};
} // namespace

/// Elements that are sizes are chosen without a tensor.
static Tensor chooseElements(Lowering &l, const Expr &condition,
                             const Merged &m, ArrayRef<Region *> regions) {
  for (int i : {0, 1})
    if (!m.branch[i]->elements ||
        !llvm::all_of(*m.branch[i]->elements, [&](const Expr &e) {
          return l.sizes.isDefinedOutside(e, *regions[i]);
        }))
      return nullptr;
  if (m.branch[0]->elements->size() != m.branch[1]->elements->size())
    return nullptr;
  Dims elements;
  for (auto [a, b] :
       llvm::zip_equal(*m.branch[0]->elements, *m.branch[1]->elements))
    elements.push_back(l.sizes.select(condition, a, b));
  return l.tensor(m.branch[0]->elementType, m.dims, elements);
}

static FailureOr<Merged> merge(Lowering &l, unsigned i, const Expr &condition,
                               Tensor a, Tensor b, ArrayRef<Region *> regions) {
  if (a->elementType != b->elementType)
    return l.error() << "expects both branches to give output " << i
                     << " one element type, got " << a->elementType << " and "
                     << b->elementType;
  if (a->rank() != b->rank())
    return l.error() << "expects both branches to give output " << i
                     << " one rank, got " << a->rank() << " and " << b->rank();
  Merged m{{a, b}, {}, {}, {}};
  for (auto [x, y] : llvm::zip_equal(a->dims, b->dims)) {
    bool outside = l.sizes.isDefinedOutside(x, *regions[0]) &&
                   l.sizes.isDefinedOutside(y, *regions[1]);
    m.dims.push_back(outside ? l.sizes.select(condition, x, y) : Expr());
    m.inside.push_back(!outside);
  }
  return m;
}

/// The branch that a constant chooses, in place. It may give sequences.
static LogicalResult convertBranch(Lowering &l, Region &branch) {
  FailureOr<SmallVector<Item>> results = convertToItems(l, branch);
  if (failed(results))
    return failure();
  for (auto [i, result] : llvm::enumerate(*results))
    if (failed(result.setAs(l, i)))
      return failure();
  return success();
}

static LogicalResult convertIf(Lowering &l) {
  FailureOr<Expr> condition = scalarOf(l, l.in(0), "the condition");
  if (failed(condition))
    return failure();
  size_t count = l.node.getOutputs().size();
  FailureOr<Region *> graphs[2] = {graphOf(l, "then_branch", 0, count),
                                   graphOf(l, "else_branch", 0, count)};
  if (failed(graphs[0]) || failed(graphs[1]))
    return failure();
  if (std::optional<int64_t> known = condition->constant())
    return convertBranch(l, **graphs[*known ? 0 : 1]);

  Value flag = l.sizes.integer(l.b, *condition, l.b.getI1Type());
  // The results' types are known when both branches are.
  auto draft = scf::IfOp::create(l.b, TypeRange(), flag, /*withElse=*/true);
  Region *regions[2] = {&draft.getThenRegion(), &draft.getElseRegion()};
  SmallVector<Tensor> results[2];
  SmallVector<Merged> merged;
  SmallVector<Value> values[2];
  for (int i : {0, 1}) {
    Lowering::Scope scope(l);
    l.b.setInsertionPoint(regions[i]->front().getTerminator());
    FailureOr<SmallVector<Tensor>> made = convertToTensors(l, **graphs[i]);
    if (failed(made))
      return failure();
    results[i] = *made;
    for (Tensor t : results[i])
      values[i].push_back(l.value(t));
  }
  SmallVector<std::pair<unsigned, Type>> types;
  for (unsigned i = 0; i < count; ++i) {
    if (!l.node.output(i))
      continue;
    FailureOr<Merged> m =
        merge(l, i, *condition, results[0][i], results[1][i], regions);
    if (failed(m))
      return failure();
    if (Tensor chosen = chooseElements(l, *condition, *m, regions)) {
      if (failed(l.set(i, chosen)))
        return failure();
      continue;
    }
    Type element = m->branch[0]->elementType;
    l.b.setInsertionPoint(draft);
    if (m->isOutside())
      m->destination =
          freshBuffer(l, l.type(m->dims, element), l.mixed(m->dims));
    types.push_back({i, typeOf(l, m->dims, m->inside, element)});
    merged.push_back(*m);
  }

  l.b.setInsertionPoint(draft);
  auto op = scf::IfOp::create(
      l.b, llvm::to_vector(llvm::make_second_range(types)), flag,
      /*withElse=*/true);
  Region *bodies[2] = {&op.getThenRegion(), &op.getElseRegion()};
  for (int branch : {0, 1}) {
    bodies[branch]->takeBody(*regions[branch]);
    bodies[branch]->front().getTerminator()->erase();
    l.b.setInsertionPointToEnd(&bodies[branch]->front());
    SmallVector<Value> yielded;
    for (auto [m, type] : llvm::zip_equal(merged, types)) {
      Value value = values[branch][type.first];
      if (m.destination) {
        yielded.push_back(writeTo(l, value, m.destination));
        continue;
      }
      if (value.getType() != type.second)
        value = tensor::CastOp::create(l.b, type.second, value);
      yielded.push_back(freshCopy(l, value));
    }
    scf::YieldOp::create(l.b, yielded);
  }
  l.discard(draft);
  l.b.setInsertionPointAfter(op);
  for (auto [m, type, value] : llvm::zip_equal(merged, types, op.getResults()))
    if (failed(l.set(type.first, resultOf(l, value, m.branch[0]->elementType,
                                          m.dims, m.inside))))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Loop
//===----------------------------------------------------------------------===//

/// Emits the loop; its results are those of the node.
static LogicalResult setLoop(Lowering &l, const LoopSpec &spec) {
  FailureOr<LoopResults> results = emitLoop(l, spec);
  if (failed(results))
    return failure();
  unsigned i = 0;
  for (Tensor t : llvm::concat<const Tensor>(results->last, results->scanned))
    if (failed(l.set(i++, t)))
      return failure();
  return success();
}

/// A loop that carries sequences, whose lengths have to be known now.
static LogicalResult unrollLoop(Lowering &l, Region &body, const Expr &trips,
                                size_t carried) {
  if (!trips.constant())
    return l.error() << "expects a constant trip count where it carries "
                        "sequences";
  Block &block = body.front();
  SmallVector<Item> state;
  for (Value value : l.node.getInputs().drop_front(2))
    state.push_back(Item::of(l, value));
  size_t scanned = block.getTerminator()->getNumOperands() - 1 - carried;
  SmallVector<SmallVector<Tensor>> slices(scanned);
  int64_t nodes = std::distance(block.begin(), block.end());
  for (int64_t number = 0; number < *trips.constant(); ++number) {
    constexpr int64_t kMaxUnrolled = 100000;
    l.unrolledNodes += nodes;
    if (l.unrolledNodes > kMaxUnrolled)
      return l.error() << "expects at most " << kMaxUnrolled
                       << " nodes in all iterations of loops that carry "
                          "sequences";
    l.map(block.getArgument(0),
          l.tensor(l.b.getI64Type(), Dims(), Dims{number}));
    l.map(block.getArgument(1), l.tensor(l.b.getI1Type(), Dims(), Dims{1}));
    for (auto [i, item] : llvm::enumerate(state))
      item.mapTo(l, block.getArgument(i + 2));
    FailureOr<SmallVector<Item>> made = convertToItems(l, body);
    if (failed(made))
      return failure();
    state.assign(made->begin() + 1, made->begin() + 1 + carried);
    for (size_t i = 0; i < scanned; ++i) {
      Tensor slice = (*made)[1 + carried + i].tensor;
      if (!slice)
        return l.error() << "expects scanned output " << i
                         << " to be a tensor, got a sequence";
      slices[i].push_back(slice);
    }
    std::optional<int64_t> goesOn;
    if (Tensor condition = made->front().tensor)
      if (auto known = l.constants(condition); known && known->size() == 1)
        goesOn = known->front();
    if (!goesOn)
      return l.error() << "expects a constant condition where it carries "
                          "sequences";
    if (*goesOn == 0)
      break;
  }
  for (auto [i, item] : llvm::enumerate(state))
    if (failed(item.setAs(l, i)))
      return failure();
  for (size_t i = 0; i < scanned; ++i) {
    if (!l.node.output(carried + i))
      continue;
    if (slices[i].empty())
      return l.error() << "expects at least one iteration for scanned output "
                       << i;
    FailureOr<Tensor> all = stack(l, slices[i], 0);
    if (failed(all) || failed(l.set(carried + i, *all)))
      return failure();
  }
  return success();
}

static LogicalResult convertLoop(Lowering &l) {
  size_t inputs = l.node.getInputs().size();
  size_t carried = inputs > 2 ? inputs - 2 : 0;
  size_t outputs =
      l.node.graph("body")
          ? l.node.graph("body")->front().getTerminator()->getNumOperands()
          : 1;
  if (outputs < carried + 1 || l.node.getOutputs().size() + 1 > outputs)
    return l.error() << "expects a body that yields a condition, " << carried
                     << " carried values and a slice of each other output, got "
                     << outputs << " values for " << l.node.getOutputs().size()
                     << " outputs";
  FailureOr<Region *> body = graphOf(l, "body", carried + 2, outputs);
  if (failed(body))
    return failure();

  LoopSpec spec;
  spec.trips = INT64_MAX;
  if (Tensor limit = l.optional(0)) {
    FailureOr<Expr> trips = scalarOf(l, limit, "a trip count");
    if (failed(trips))
      return failure();
    spec.trips = l.sizes.max(*trips, 0);
  }
  if (Tensor first = l.optional(1)) {
    FailureOr<Expr> goesOn = scalarOf(l, first, "the condition");
    if (failed(goesOn))
      return failure();
    spec.trips = l.sizes.select(*goesOn, spec.trips, 0);
  }
  for (size_t i = 0; i < carried; ++i)
    if (l.sequences.count(l.node.getInputs()[i + 2]))
      return unrollLoop(l, **body, spec.trips, carried);
  for (size_t i = 0; i < carried; ++i)
    spec.first.push_back(l.in(i + 2));
  spec.scanned.resize(outputs - 1 - carried);
  auto convertBody = [&](const Expr &number,
                         ArrayRef<Tensor> state) -> FailureOr<Iteration> {
    Block &block = (*body)->front();
    Type i64 = l.b.getI64Type();
    l.map(block.getArgument(0), l.tensor(i64, Dims(), Dims{number}));
    // The body only runs while the condition holds.
    l.map(block.getArgument(1), l.tensor(l.b.getI1Type(), Dims(), Dims{1}));
    for (auto [i, t] : llvm::enumerate(state))
      l.map(block.getArgument(i + 2), t);
    FailureOr<SmallVector<Tensor>> made = convertToTensors(l, **body);
    if (failed(made))
      return failure();
    FailureOr<Expr> goesOn = scalarOf(l, made->front(), "the condition");
    if (failed(goesOn))
      return failure();
    Iteration iteration;
    iteration.goesOn = *goesOn;
    iteration.next.assign(made->begin() + 1, made->begin() + 1 + carried);
    iteration.slices.assign(made->begin() + 1 + carried, made->end());
    return iteration;
  };
  spec.body = convertBody;
  return setLoop(l, spec);
}

//===----------------------------------------------------------------------===//
// SequenceMap
//===----------------------------------------------------------------------===//

/// The body for each element of the first input; other sequences go along.
static LogicalResult convertSequenceMap(Lowering &l) {
  size_t inputs = l.node.getInputs().size();
  size_t outputs = l.node.getOutputs().size();
  FailureOr<Region *> body = graphOf(l, "body", inputs, outputs);
  if (failed(body))
    return failure();
  SmallVector<Item> items;
  for (Value value : l.node.getInputs())
    items.push_back(Item::of(l, value));
  if (items.front().tensor)
    return l.error() << "expects input 0 to be a sequence, got a tensor";
  size_t count = items.front().sequence.size();
  SmallVector<SmallVector<Tensor>> results(outputs);
  for (size_t element = 0; element < count; ++element) {
    for (auto [i, item] : llvm::enumerate(items)) {
      if (!item.tensor && item.sequence.size() != count)
        return l.error() << "expects sequences of one length, got " << count
                         << " and " << item.sequence.size();
      l.map((*body)->getArgument(i),
            item.tensor ? item.tensor : item.sequence[element]);
    }
    FailureOr<SmallVector<Tensor>> made = convertToTensors(l, **body);
    if (failed(made))
      return failure();
    for (auto [all, t] : llvm::zip_equal(results, *made))
      all.push_back(t);
  }
  for (auto [i, all] : llvm::enumerate(results))
    if (Value output = l.node.output(i))
      l.sequences[output] = all;
  return success();
}

//===----------------------------------------------------------------------===//
// Scan
//===----------------------------------------------------------------------===//

/// One integer per input or output; all 0 when the attribute is absent.
static FailureOr<SmallVector<int64_t>> listOf(Lowering &l, StringRef name,
                                              size_t count) {
  auto values = l.node.getI64s(name);
  if (!values)
    return SmallVector<int64_t>(count, 0);
  if (values->size() != count)
    return l.error() << "expects " << name << " of " << count
                     << " elements, got " << values->size();
  return llvm::to_vector(*values);
}

static LogicalResult convertScan(Lowering &l) {
  int64_t inputs = l.node.getInputs().size();
  int64_t outputs = l.node.getOutputs().size();
  int64_t scanned = l.node.getI64("num_scan_inputs", 0);
  int64_t carried = inputs - scanned;
  if (scanned < 1 || carried < 0)
    return l.error() << "expects num_scan_inputs to lie in [1, " << inputs
                     << "], got " << scanned;
  FailureOr<Region *> body =
      graphOf(l, "body", inputs, std::max(outputs, carried));
  if (failed(body))
    return failure();
  auto axes = listOf(l, "scan_input_axes", scanned);
  auto backward = listOf(l, "scan_input_directions", scanned);
  auto outputAxes = listOf(l, "scan_output_axes", outputs - carried);
  auto outputBackward = listOf(l, "scan_output_directions", outputs - carried);
  if (failed(axes) || failed(backward) || failed(outputAxes) ||
      failed(outputBackward))
    return failure();

  LoopSpec spec;
  for (int64_t i = 0; i < scanned; ++i) {
    Tensor t = l.in(carried + i);
    FailureOr<int64_t> axis = l.axis((*axes)[i], t->rank());
    if (failed(axis))
      return failure();
    (*axes)[i] = *axis;
    if (i == 0)
      spec.trips = t->dims[*axis];
    else if (failed(l.checkAgree(t->dims[*axis], spec.trips,
                                 "scanned inputs of lengths")))
      return failure();
  }
  for (int64_t i = 0; i < carried; ++i)
    spec.first.push_back(l.in(i));
  for (auto [axis, direction] : llvm::zip_equal(*outputAxes, *outputBackward))
    spec.scanned.push_back({axis, direction != 0});
  auto convertBody = [&](const Expr &number,
                         ArrayRef<Tensor> state) -> FailureOr<Iteration> {
    Block &block = (*body)->front();
    for (auto [i, t] : llvm::enumerate(state))
      l.map(block.getArgument(i), t);
    for (int64_t i = 0; i < scanned; ++i) {
      Expr at = (*backward)[i] ? spec.trips - 1 - number : number;
      l.map(block.getArgument(carried + i),
            sliceAt(l, l.in(carried + i), (*axes)[i], at));
    }
    FailureOr<SmallVector<Tensor>> made = convertToTensors(l, **body);
    if (failed(made))
      return failure();
    Iteration iteration;
    iteration.next.assign(made->begin(), made->begin() + carried);
    iteration.slices.assign(made->begin() + carried, made->end());
    return iteration;
  };
  spec.body = convertBody;
  return setLoop(l, spec);
}

void raise::addControlFlow(Registry &r) {
  r.add({
      {"If", 1, kLatest, convertIf, 1, 1, "", "",
       "outputs of one rank and type in both branches, unless constants choose "
       "the branch"},
      {"Loop", 1, kLatest, convertLoop, 0, kVariadic, "", "",
       "carried values keep rank and type; a constant trip count if there are "
       "sequences among them",
       /*takesSequences=*/true},
      {"SequenceMap", 17, kLatest, convertSequenceMap, 1, kVariadic, "", "",
       "sequences of known length", /*takesSequences=*/true},
      {"Scan", 9, kLatest, convertScan, 1, kVariadic,
       "num_scan_inputs scan_input_axes scan_input_directions "
       "scan_output_axes scan_output_directions",
       "", "carried values keep rank and type"},
  });
}
