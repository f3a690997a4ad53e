//===- ControlFlow.cpp - If, Loop, Scan -----------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A subgraph is converted into the region of an scf operation. Results whose
// sizes are known outside of it live in buffers from outside: a branch or an
// iteration writes them in place (bufferization.materialize_in_destination).
// Where the sizes are only known inside, each execution of the region leaves a
// fresh buffer (bufferization.alloc_tensor), which moe-insert-deallocs frees.
//
//===----------------------------------------------------------------------===//

#include "ControlFlow.h"
#include "Registry.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"

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

/// What a converted subgraph yields.
static FailureOr<SmallVector<Tensor>> yieldedBy(Lowering &l, Region &graph) {
  SmallVector<Tensor> results;
  for (auto [i, value] :
       llvm::enumerate(graph.front().getTerminator()->getOperands())) {
    results.push_back(l.lookup(value));
    if (!results.back())
      return l.error() << "expects output " << i
                       << " of the subgraph to be a tensor, got "
                       << value.getType();
  }
  return results;
}

static FailureOr<SmallVector<Tensor>> convertToTensors(Lowering &l,
                                                       Region &graph) {
  onnx::NodeOp node = l.node;
  LogicalResult done = convertGraph(graph, l);
  l.node = node;
  if (failed(done))
    return failure();
  return yieldedBy(l, graph);
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

/// `value` in a new buffer of its own.
static Value freshCopy(Lowering &l, Value value) {
  return bufferization::AllocTensorOp::create(
      l.b, cast<RankedTensorType>(value.getType()), ValueRange(), value);
}

/// A new buffer. An empty tensor would not do: equal ones are one.
static Value freshBuffer(Lowering &l, RankedTensorType type,
                         ArrayRef<OpFoldResult> sizes) {
  SmallVector<Value> dynamic;
  for (auto [i, size] : llvm::enumerate(sizes))
    if (type.isDynamicDim(i))
      dynamic.push_back(
          getValueOrCreateConstantIndexOp(l.b, l.b.getLoc(), size));
  return bufferization::AllocTensorOp::create(l.b, type, dynamic);
}

static Value writeTo(Lowering &l, Value value, Value destination) {
  if (value.getType() != destination.getType())
    value = tensor::CastOp::create(l.b, destination.getType(), value);
  return bufferization::MaterializeInDestinationOp::create(l.b, value,
                                                           destination)
      .getResult();
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

/// The type of a value whose sizes are `dims` where those are known outside.
static RankedTensorType typeOf(Lowering &l, const Dims &dims,
                               ArrayRef<bool> inside, Type elementType) {
  SmallVector<int64_t> shape;
  for (auto [d, unknown] : llvm::zip_equal(dims, inside))
    shape.push_back(unknown ? ShapedType::kDynamic
                            : d.constant().value_or(ShapedType::kDynamic));
  return RankedTensorType::get(shape, Lowering::storageType(elementType));
}

/// `value`, of which the sizes `inside` are known by it only.
static Tensor resultOf(Lowering &l, Value value, Type elementType, Dims dims,
                       ArrayRef<bool> inside) {
  for (auto [k, unknown] : llvm::enumerate(inside))
    if (unknown)
      dims[k] = l.sizes.dimOf(value, k);
  return l.tensor(value, elementType, dims);
}

/// The branch that a constant chooses, in place.
static LogicalResult convertBranch(Lowering &l, Region &branch) {
  FailureOr<SmallVector<Tensor>> results = convertToTensors(l, branch);
  if (failed(results))
    return failure();
  for (auto [i, result] : llvm::enumerate(*results))
    if (failed(l.set(i, result)))
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
// Loops
//===----------------------------------------------------------------------===//

namespace {
/// The body of a loop before there is a loop: what it carries and collects is
/// known when it has been converted.
class Draft {
public:
  Draft(Lowering &l, const LoopSpec &spec, ArrayRef<SmallVector<bool>> varying)
      : l(l), spec(spec), varying(varying) {}

  LogicalResult convert();
  /// Where the carried values change sizes that were thought not to.
  SmallVector<SmallVector<bool>> changedSizes() const;
  /// Checks what else is required, and where the slices are known.
  LogicalResult finish();
  void discard() { l.discard(holder); }

  /// Moves the body to the insertion point, the end of a block. The arguments
  /// are the number of the iteration and the carried values.
  void place(ValueRange arguments);

  Type typeOf(unsigned i) {
    return holder.getRegion().getArgument(i + 1).getType();
  }
  /// The values of the next iteration, in the buffers of `current` if they fit.
  SmallVector<Value> nextValues(ValueRange current) const;
  bool changes(unsigned i) const {
    return llvm::is_contained(varying[i], true);
  }

  Iteration made;
  SmallVector<Value> next, slices;
  Value goesOn;

private:
  Lowering &l;
  const LoopSpec &spec;
  ArrayRef<SmallVector<bool>> varying;
  scf::ExecuteRegionOp holder;
  SmallVector<Tensor> state;
};
} // namespace

LogicalResult Draft::convert() {
  holder = scf::ExecuteRegionOp::create(l.b, TypeRange());
  Lowering::Scope scope(l);
  Location loc = l.b.getLoc();
  Block *body = l.b.createBlock(&holder.getRegion());
  Value number = body->addArgument(l.b.getIndexType(), loc);
  for (auto [t, changing] : llvm::zip_equal(spec.first, varying)) {
    RankedTensorType type = ::typeOf(l, t->dims, changing, t->elementType);
    state.push_back(resultOf(l, body->addArgument(type, loc), t->elementType,
                             t->dims, changing));
  }
  FailureOr<Iteration> iteration =
      spec.body(l.sizes.opaque(number, /*nonNegative=*/true), state);
  if (failed(iteration))
    return failure();
  made = std::move(*iteration);
  for (Tensor t : made.next)
    next.push_back(l.value(t));
  for (Tensor t : made.slices)
    slices.push_back(l.value(t));
  if (!made.goesOn.constant())
    goesOn = l.sizes.integer(l.b, made.goesOn, l.b.getI1Type());
  for (auto [i, from, to] : llvm::enumerate(state, made.next)) {
    if (from->elementType != to->elementType)
      return l.error() << "expects carried value " << i << " to stay of type "
                       << from->elementType << ", got " << to->elementType;
    if (from->rank() != to->rank())
      return l.error() << "expects carried value " << i << " to stay of rank "
                       << from->rank() << ", got " << to->rank();
  }
  return success();
}

SmallVector<SmallVector<bool>> Draft::changedSizes() const {
  SmallVector<SmallVector<bool>> changed;
  for (auto [from, to, known] : llvm::zip_equal(state, made.next, varying)) {
    SmallVector<bool> &sizes = changed.emplace_back(known);
    for (auto [k, d] : llvm::enumerate(to->dims))
      if (d != from->dims[k])
        sizes[k] = true;
  }
  return changed;
}

LogicalResult Draft::finish() {
  for (auto [i, t] : llvm::enumerate(made.slices)) {
    for (const Expr &d : t->dims)
      if (!l.sizes.isDefinedOutside(d, holder.getRegion()))
        return l.error() << "expects slices of scanned output " << i
                         << " whose sizes are known before the loop";
    FailureOr<int64_t> axis = l.axis(spec.scanned[i].axis, t->rank() + 1);
    if (failed(axis))
      return failure();
  }
  return success();
}

void Draft::place(ValueRange arguments) {
  Block &body = holder.getRegion().front();
  Block *target = l.b.getInsertionBlock();
  target->getOperations().splice(target->end(), body.getOperations());
  for (auto [from, to] : llvm::zip_equal(body.getArguments(), arguments)) {
    from.replaceAllUsesWith(to);
    // A carried value may be what the next iteration gets, or a slice.
    for (SmallVector<Value> *values : {&next, &slices})
      llvm::replace(*values, Value(from), to);
  }
  l.b.setInsertionPointToEnd(target);
}

/// Whether `value` may lie in the buffer of a carried value.
static bool isView(Value value) {
  Operation *op = value.getDefiningOp();
  return !op || isa<tensor::CastOp, tensor::ExtractSliceOp,
                    tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op);
}

SmallVector<Value> Draft::nextValues(ValueRange current) const {
  SmallVector<Value> values(next);
  for (auto [i, value, now] : llvm::enumerate(next, current)) {
    if (value.getType() != now.getType())
      values[i] = tensor::CastOp::create(l.b, now.getType(), value);
    if (changes(i) || (value != now && isView(value)))
      values[i] = freshCopy(l, values[i]);
  }
  // Last of all: nothing reads the current values any more.
  for (auto [i, value, now] : llvm::enumerate(values, current))
    if (!changes(i) && value != now)
      values[i] = writeTo(l, value, now);
  return values;
}

namespace {
/// The buffers of scanned outputs.
struct Collector {
  SmallVector<Dims> dims; // with 0 for the number of slices
  SmallVector<int64_t> axes;
  SmallVector<SmallVector<OpFoldResult>> sizes;
};
/// The carried values and the scanned outputs of a whole loop.
struct Finished {
  SmallVector<Value> last;
  SmallVector<Tensor> scanned;
};
} // namespace

static Collector collectorOf(Lowering &l, const LoopSpec &spec,
                             const Draft &draft) {
  Collector c;
  for (auto [slice, scanned] :
       llvm::zip_equal(draft.made.slices, spec.scanned)) {
    int64_t rank = slice->rank() + 1;
    c.axes.push_back(scanned.axis < 0 ? scanned.axis + rank : scanned.axis);
    Dims dims = slice->dims;
    dims.insert(dims.begin() + c.axes.back(), Expr(0));
    c.dims.push_back(dims);
    c.sizes.push_back(l.mixed(dims));
  }
  return c;
}

/// Writes `slice` at place `at` of `buffer`.
static Value insertSlice(Lowering &l, const Collector &c, unsigned i,
                         Value slice, Value buffer, OpFoldResult at,
                         OpFoldResult count) {
  SmallVector<OpFoldResult> sizes = c.sizes[i];
  SmallVector<OpFoldResult> offsets(sizes.size(), l.b.getIndexAttr(0)),
      strides(sizes.size(), l.b.getIndexAttr(1));
  offsets[c.axes[i]] = at;
  sizes[c.axes[i]] = count;
  return tensor::InsertSliceOp::create(l.b, slice, buffer, offsets, sizes,
                                       strides);
}

/// Every iteration runs: the outputs have their size before the loop.
static FailureOr<Finished> emitFor(Lowering &l, const LoopSpec &spec,
                                   Draft &draft, ArrayRef<Value> first) {
  Collector c = collectorOf(l, spec, draft);
  SmallVector<Value> carried(first);
  for (unsigned i = 0; i < spec.scanned.size(); ++i) {
    c.dims[i][c.axes[i]] = spec.trips;
    if (failed(l.checkElements(c.dims[i])))
      return failure();
    carried.push_back(
        freshBuffer(l, l.type(c.dims[i], draft.made.slices[i]->elementType),
                    l.mixed(c.dims[i])));
  }
  Value trips = l.index(spec.trips), zero = l.index(0), one = l.index(1);
  auto loop = scf::ForOp::create(l.b, zero, trips, one, carried);
  Block *body = loop.getBody();
  if (!body->empty())
    body->back().erase();
  l.b.setInsertionPointToEnd(body);
  Value number = loop.getInductionVar();
  SmallVector<Value> arguments{number};
  llvm::append_range(arguments,
                     loop.getRegionIterArgs().take_front(first.size()));
  draft.place(arguments);
  SmallVector<Value> collected;
  for (auto [i, scanned] : llvm::enumerate(spec.scanned)) {
    Value at = number;
    if (scanned.backward) {
      Value last = arith::SubIOp::create(l.b, trips, one);
      at = arith::SubIOp::create(l.b, last, number);
    }
    collected.push_back(insertSlice(l, c, i, draft.slices[i],
                                    loop.getRegionIterArg(first.size() + i), at,
                                    l.b.getIndexAttr(1)));
  }
  SmallVector<Value> yielded =
      draft.nextValues(loop.getRegionIterArgs().take_front(first.size()));
  llvm::append_range(yielded, collected);
  scf::YieldOp::create(l.b, yielded);
  l.b.setInsertionPointAfter(loop);

  Finished results;
  results.last.assign(loop.result_begin(), loop.result_begin() + first.size());
  for (unsigned i = 0; i < spec.scanned.size(); ++i)
    results.scanned.push_back(l.tensor(loop.getResult(first.size() + i),
                                       draft.made.slices[i]->elementType,
                                       c.dims[i]));
  return results;
}

/// A loop that goes on while its first carried value is below `limit` and its
/// second one is true.
static ValueRange
emitWhile(Lowering &l, ValueRange first, Value limit,
          function_ref<SmallVector<Value>(ValueRange arguments)> body) {
  auto region = [&](OpBuilder &nested, function_ref<void()> build) {
    OpBuilder::InsertionGuard guard(l.b);
    l.b.restoreInsertionPoint(nested.saveInsertionPoint());
    build();
  };
  auto loop = scf::WhileOp::create(
      l.b, first.getTypes(), first,
      [&](OpBuilder &nested, Location, ValueRange arguments) {
        region(nested, [&] {
          Value below = arith::CmpIOp::create(l.b, arith::CmpIPredicate::slt,
                                              arguments[0], limit);
          scf::ConditionOp::create(
              l.b, arith::AndIOp::create(l.b, below, arguments[1]), arguments);
        });
      },
      [&](OpBuilder &nested, Location, ValueRange arguments) {
        region(nested, [&] { scf::YieldOp::create(l.b, body(arguments)); });
      });
  return loop.getResults();
}

/// Whether there is a next iteration is known when one has run. Buffers of
/// scanned outputs grow by doubling: an outer loop makes the buffers, an inner
/// one fills them.
static FailureOr<Finished> emitWhile(Lowering &l, const LoopSpec &spec,
                                     Draft &draft, ArrayRef<Value> first) {
  Collector c = collectorOf(l, spec, draft);
  Value trips = l.index(spec.trips), zero = l.index(0), one = l.index(1),
        two = l.index(2), least = l.index(16);
  SmallVector<Value> carried{zero, intConstant(l.b, l.b.getI1Type(), 1)};
  llvm::append_range(carried, first);
  unsigned buffers = carried.size();

  auto iterate = [&](ValueRange arguments) {
    SmallVector<Value> given{arguments[0]};
    llvm::append_range(given, arguments.slice(2, first.size()));
    draft.place(given);
    SmallVector<Value> yielded{arith::AddIOp::create(l.b, arguments[0], one),
                               draft.goesOn};
    SmallVector<Value> collected;
    for (unsigned i = 0; i < spec.scanned.size(); ++i)
      collected.push_back(insertSlice(l, c, i, draft.slices[i],
                                      arguments[buffers + i], arguments[0],
                                      l.b.getIndexAttr(1)));
    llvm::append_range(yielded,
                       draft.nextValues(arguments.slice(2, first.size())));
    llvm::append_range(yielded, collected);
    return yielded;
  };
  auto makeBuffer = [&](unsigned i, Value count) -> Value {
    SmallVector<bool> inside(c.dims[i].size(), false);
    inside[c.axes[i]] = true;
    SmallVector<OpFoldResult> sizes = c.sizes[i];
    sizes[c.axes[i]] = count;
    return freshBuffer(
        l, typeOf(l, c.dims[i], inside, draft.made.slices[i]->elementType),
        sizes);
  };

  ValueRange ends;
  if (spec.scanned.empty()) {
    ends = emitWhile(l, carried, trips, iterate);
  } else {
    for (unsigned i = 0; i < spec.scanned.size(); ++i)
      carried.push_back(makeBuffer(i, zero));
    ends = emitWhile(l, carried, trips, [&](ValueRange arguments) {
      SmallVector<Value> given(arguments);
      Value doubled = arith::MulIOp::create(l.b, arguments[0], two);
      Value capacity = arith::MinSIOp::create(
          l.b, arith::MaxSIOp::create(l.b, doubled, least), trips);
      for (unsigned i = 0; i < first.size(); ++i)
        if (draft.changes(i))
          given[2 + i] = freshCopy(l, given[2 + i]);
      for (unsigned i = 0; i < spec.scanned.size(); ++i)
        given[buffers + i] = insertSlice(l, c, i, arguments[buffers + i],
                                         makeBuffer(i, capacity),
                                         l.b.getIndexAttr(0), arguments[0]);
      return llvm::to_vector_of<Value>(emitWhile(l, given, capacity, iterate));
    });
  }

  Finished results;
  llvm::append_range(results.last, ends.slice(2, first.size()));
  Expr count = l.sizes.opaque(ends[0], /*nonNegative=*/true);
  for (unsigned i = 0; i < spec.scanned.size(); ++i) {
    Dims dims = c.dims[i];
    int64_t axis = c.axes[i];
    dims[axis] = l.sizes.dimOf(ends[buffers + i], axis);
    Type element = draft.made.slices[i]->elementType;
    Tensor buffer = l.tensor(ends[buffers + i], element, dims);
    dims[axis] = count;
    results.scanned.push_back(
        l.slice(buffer, Dims(dims.size(), Expr(0)), dims));
  }
  return results;
}

FailureOr<LoopResults> raise::emitLoop(Lowering &l, const LoopSpec &spec) {
  // Sizes of carried values are first taken to stay as they are. Those that do
  // not are left open in the next attempt, until none is left that changes.
  SmallVector<SmallVector<bool>> &known = l.varyingSizes[l.node];
  if (known.size() != spec.first.size()) {
    known.clear();
    for (Tensor t : spec.first)
      known.emplace_back(t->rank(), false);
  }
  SmallVector<SmallVector<bool>> varying = known;
  DiagnosticEngine &engine = l.b.getContext()->getDiagEngine();
  SmallVector<Diagnostic> found;
  std::optional<Draft> draft;
  for (int attempt = 0;; ++attempt) {
    constexpr int kAttempts = 4;
    draft.emplace(l, spec, varying);
    SmallVector<Diagnostic> messages;
    bool done;
    {
      ScopedDiagnosticHandler handler(
          l.b.getContext(), [&](Diagnostic &diagnostic) {
            messages.push_back(std::move(diagnostic));
            return success();
          });
      done = succeeded(draft->convert()) && succeeded(draft->finish());
    }
    SmallVector<SmallVector<bool>> changed =
        done ? draft->changedSizes() : varying;
    if (done && changed == varying) {
      for (Diagnostic &message : messages)
        engine.emit(std::move(message));
      break;
    }
    // What fails with a wrong assumption may do without it; if it does not,
    // the first message is the one to read.
    if (!done && found.empty())
      found = std::move(messages);
    if (!done || attempt == kAttempts)
      for (SmallVector<bool> &sizes : changed)
        sizes.assign(sizes.size(), true);
    if (!done && changed == varying) {
      for (Diagnostic &message : found)
        engine.emit(std::move(message));
      return failure();
    }
    draft->discard();
    varying = changed;
  }
  l.varyingSizes[l.node] = varying;

  SmallVector<Value> first;
  for (auto [i, t] : llvm::enumerate(spec.first)) {
    Value value = l.value(t);
    Type type = draft->typeOf(i);
    if (value.getType() != type)
      value = tensor::CastOp::create(l.b, type, value);
    first.push_back(draft->changes(i) ? freshCopy(l, value) : value);
  }
  FailureOr<Finished> finished = draft->goesOn
                                     ? emitWhile(l, spec, *draft, first)
                                     : emitFor(l, spec, *draft, first);
  if (failed(finished))
    return failure();
  draft->discard();
  LoopResults results;
  for (auto [t, value, changing] :
       llvm::zip_equal(spec.first, finished->last, varying))
    results.last.push_back(
        resultOf(l, value, t->elementType, t->dims, changing));
  results.scanned = finished->scanned;
  return results;
}

Tensor raise::sliceAt(Lowering &l, Tensor t, int64_t axis, const Expr &index) {
  Dims offsets(t->rank(), Expr(0)), dims = t->dims, rest = t->dims;
  offsets[axis] = index;
  dims[axis] = 1;
  rest.erase(rest.begin() + axis);
  return l.reshape(l.slice(t, offsets, dims), rest);
}

//===----------------------------------------------------------------------===//
// Loop
//===----------------------------------------------------------------------===//

static LogicalResult setResults(Lowering &l, const LoopResults &results) {
  unsigned i = 0;
  for (Tensor t : llvm::concat<const Tensor>(results.last, results.scanned))
    if (failed(l.set(i++, t)))
      return failure();
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
  FailureOr<LoopResults> results = emitLoop(l, spec);
  if (failed(results))
    return failure();
  return setResults(l, *results);
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
  FailureOr<LoopResults> results = emitLoop(l, spec);
  if (failed(results))
    return failure();
  return setResults(l, *results);
}

void raise::addControlFlow(Registry &r) {
  r.add({
      {"If", 1, kLatest, convertIf, 1, 1, ""},
      {"Loop", 1, kLatest, convertLoop, 0, kVariadic, ""},
      {"Scan", 9, kLatest, convertScan, 1, kVariadic,
       "num_scan_inputs scan_input_axes scan_input_directions "
       "scan_output_axes scan_output_directions"},
  });
}
