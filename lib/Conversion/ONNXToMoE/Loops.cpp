//===- Loops.cpp - loops over tensors -------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Results of a region whose sizes are known outside of it live in buffers from
// outside: a branch or an iteration writes them in place
// (bufferization.materialize_in_destination). Where the sizes are only known
// inside, each execution of the region leaves a fresh buffer
// (bufferization.alloc_tensor), which moe-insert-deallocs frees.
//
//===----------------------------------------------------------------------===//

#include "ControlFlow.h"

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
// Buffers
//===----------------------------------------------------------------------===//

Value raise::freshCopy(Lowering &l, Value value) {
  return bufferization::AllocTensorOp::create(
      l.b, cast<RankedTensorType>(value.getType()), ValueRange(), value);
}

Value raise::freshBuffer(Lowering &l, RankedTensorType type,
                         ArrayRef<OpFoldResult> sizes) {
  SmallVector<Value> dynamic;
  for (auto [i, size] : llvm::enumerate(sizes))
    if (type.isDynamicDim(i))
      dynamic.push_back(
          getValueOrCreateConstantIndexOp(l.b, l.b.getLoc(), size));
  return bufferization::AllocTensorOp::create(l.b, type, dynamic);
}

Value raise::writeTo(Lowering &l, Value value, Value destination) {
  if (value.getType() != destination.getType())
    value = tensor::CastOp::create(l.b, destination.getType(), value);
  return bufferization::MaterializeInDestinationOp::create(l.b, value,
                                                           destination)
      .getResult();
}

RankedTensorType raise::typeOf(Lowering &l, const Dims &dims,
                               ArrayRef<bool> inside, Type elementType) {
  SmallVector<int64_t> shape;
  for (auto [d, unknown] : llvm::zip_equal(dims, inside))
    shape.push_back(unknown ? ShapedType::kDynamic
                            : d.constant().value_or(ShapedType::kDynamic));
  return RankedTensorType::get(shape, Lowering::storageType(elementType));
}

Tensor raise::resultOf(Lowering &l, Value value, Type elementType, Dims dims,
                       ArrayRef<bool> inside) {
  for (auto [k, unknown] : llvm::enumerate(inside))
    if (unknown)
      dims[k] = l.sizes.dimOf(value, k);
  return l.tensor(value, elementType, dims);
}

//===----------------------------------------------------------------------===//
// Bodies
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
  /// Checks what else is required of the slices, and finds out which have sizes
  /// that are not known before the loop.
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
  SmallVector<unsigned> unsized;

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
    RankedTensorType type = raise::typeOf(l, t->dims, changing, t->elementType);
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
    if (failed(l.axis(spec.scanned[i].axis, t->rank() + 1)))
      return failure();
    if (!llvm::all_of(t->dims, [&](const Expr &d) {
          return l.sizes.isDefinedOutside(d, holder.getRegion());
        }))
      unsized.push_back(i);
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

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

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

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

/// `slice` behind the slices that `all` has; in front of them if `backward`.
static Tensor append(Lowering &l, Tensor all, Tensor slice, int64_t axis,
                     bool backward) {
  Dims dims = slice->dims, unit = slice->dims;
  unit.insert(unit.begin() + axis, Expr(1));
  Expr count = all->dims[axis];
  dims.insert(dims.begin() + axis, count + 1);
  using P = arith::CmpIPredicate;
  Value none = arith::CmpIOp::create(l.b, P::eq, l.index(count), l.index(0));
  for (int64_t k = 0; k < all->rank(); ++k) {
    if (k == axis)
      continue;
    Value found = l.index(dims[k]), before = l.index(all->dims[k]);
    Value same = arith::CmpIOp::create(l.b, P::eq, found, before);
    l.check(arith::OrIOp::create(l.b, none, same), found, before,
            "expects slices of one shape, got size {found} after {limit}");
  }
  Value result = l.empty(dims, all->elementType);
  SmallVector<OpFoldResult> strides(all->rank(), l.b.getIndexAttr(1));
  auto insert = [&](Value part, const Dims &sizes, const Expr &at) {
    Dims offsets(all->rank(), Expr(0));
    offsets[axis] = at;
    result = tensor::InsertSliceOp::create(l.b, part, result, l.mixed(offsets),
                                           l.mixed(sizes), strides);
  };
  insert(l.value(all), all->dims, backward ? Expr(1) : Expr(0));
  insert(l.value(slice), unit, backward ? Expr(0) : count);
  return l.tensor(result, all->elementType, dims);
}

/// Converts the body until its sizes are known. If there are slices whose sizes
/// are known inside only, they are put into `unsized`, and there is no loop.
static FailureOr<LoopResults>
emitSized(Lowering &l, const LoopSpec &spec, LoopFacts::Varying &known,
          SmallVectorImpl<LoopFacts::Grown> &unsized) {
  // Sizes of carried values are first taken to stay as they are. Those that do
  // not are left open in the next attempt, until none is left that changes.
  if (known.size() != spec.first.size()) {
    known.clear();
    for (Tensor t : spec.first)
      known.emplace_back(t->rank(), false);
  }
  LoopFacts::Varying varying = known;
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
  known = varying;
  for (unsigned i : draft->unsized) {
    Tensor slice = draft->made.slices[i];
    unsized.push_back({i, slice->rank() + 1, slice->elementType});
  }
  if (!unsized.empty()) {
    draft->discard();
    return LoopResults();
  }

  SmallVector<Value> first;
  for (auto [i, t] : llvm::enumerate(spec.first)) {
    Value value = l.value(t);
    Type type = draft->typeOf(i);
    if (value.getType() != type)
      value = tensor::CastOp::create(l.b, type, value);
    // The loop writes to it; other users of the value keep theirs.
    first.push_back(freshCopy(l, value));
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

/// The loop with the outputs `grown` as carried values.
static FailureOr<LoopResults> emitGrowing(Lowering &l, const LoopSpec &spec,
                                          LoopFacts &facts) {
  ArrayRef<LoopFacts::Grown> grown = facts.grown;
  auto grows = [&](unsigned output) {
    return llvm::any_of(
        grown, [&](const LoopFacts::Grown &g) { return g.output == output; });
  };
  size_t carried = spec.first.size();
  LoopSpec changed{spec.trips, spec.first, {}, {}};
  for (const LoopFacts::Grown &g : grown) {
    Dims none(g.rank, Expr(0));
    changed.first.push_back(
        l.tensor(l.empty(none, g.elementType), g.elementType, none));
  }
  for (auto [i, scanned] : llvm::enumerate(spec.scanned))
    if (!grows(i))
      changed.scanned.push_back(scanned);
  auto body = [&](const Expr &number,
                  ArrayRef<Tensor> state) -> FailureOr<Iteration> {
    FailureOr<Iteration> made = spec.body(number, state.take_front(carried));
    if (failed(made))
      return failure();
    for (auto [g, all] : llvm::zip_equal(grown, state.drop_front(carried))) {
      const ScannedOutput &scanned = spec.scanned[g.output];
      int64_t axis = scanned.axis < 0 ? scanned.axis + g.rank : scanned.axis;
      made->next.push_back(
          append(l, all, made->slices[g.output], axis, scanned.backward));
    }
    SmallVector<Tensor> slices;
    for (auto [i, slice] : llvm::enumerate(made->slices))
      if (!grows(i))
        slices.push_back(slice);
    made->slices = slices;
    return made;
  };
  changed.body = body;
  SmallVector<LoopFacts::Grown> more;
  FailureOr<LoopResults> results =
      emitSized(l, changed, facts.varyingWithGrown, more);
  if (failed(results))
    return failure();
  assert(more.empty() && "the other slices have known sizes");
  // Back in their places.
  for (auto [i, g] : llvm::enumerate(grown))
    results->scanned.insert(results->scanned.begin() + g.output,
                            results->last[carried + i]);
  results->last.resize(carried);
  return results;
}

FailureOr<LoopResults> raise::emitLoop(Lowering &l, const LoopSpec &spec) {
  // By value: loops inside add facts of theirs.
  LoopFacts facts = l.loopFacts.lookup(l.node);
  FailureOr<LoopResults> results = LoopResults();
  if (facts.grown.empty())
    results = emitSized(l, spec, facts.varying, facts.grown);
  if (succeeded(results) && !facts.grown.empty())
    results = emitGrowing(l, spec, facts);
  l.loopFacts[l.node] = facts;
  return results;
}

Tensor raise::sliceAt(Lowering &l, Tensor t, int64_t axis, const Expr &index) {
  Dims offsets(t->rank(), Expr(0)), dims = t->dims, rest = t->dims;
  offsets[axis] = index;
  dims[axis] = 1;
  rest.erase(rest.begin() + axis);
  return l.reshape(l.slice(t, offsets, dims), rest);
}
