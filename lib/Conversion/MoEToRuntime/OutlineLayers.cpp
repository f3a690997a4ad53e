//===- OutlineLayers.cpp - one function per different layer ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The entry function calls kernels layer after layer, and most layers do the
// same on other weights. A stretch of operations that occurs several times
// becomes a function; what differs (weights, buffers, the numbers of profile
// regions, error sites and layers) becomes its arguments, what is used later
// its results.
//
// Stretches are found by their text alone: windows of a few operations that
// occur equally often grow until they differ or meet. Of those that also have
// the same data flow the one that saves most is outlined, until none is left.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToRuntime/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/DebugLog.h"

#include <map>

#define DEBUG_TYPE "moe-outline-layers"

namespace mlir::moe {
#define GEN_PASS_DEF_OUTLINELAYERSPASS
#include "moe/Conversion/MoEToRuntime/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {
/// Operations that are compared to find where stretches may be equal.
constexpr unsigned kWindow = 16;
/// Operations less that are worth a function.
constexpr unsigned kLeastSaved = 32;
/// Bounds the time for functions that nearly repeat everywhere.
constexpr unsigned kMostRounds = 256;

/// Positions at which the same `length` keys begin.
struct Repeat {
  SmallVector<unsigned> starts;
  unsigned length = 0;

  uint64_t saved() const { return uint64_t(length) * (starts.size() - 1); }
};

using Keys = SmallVector<unsigned>;
} // namespace

/// Constants, weights and the like: they may stand anywhere.
static bool isSource(Operation &op) {
  return op.getNumOperands() == 0 && op.getNumRegions() == 0 &&
         op.getNumResults() == 1 && isMemoryEffectFree(&op);
}

//===----------------------------------------------------------------------===//
// Equal stretches of keys
//===----------------------------------------------------------------------===//

/// Grows windows at `starts` to both sides.
static Repeat grow(ArrayRef<unsigned> keys, ArrayRef<unsigned> starts) {
  unsigned left = 0, right = kWindow, count = starts.size();
  auto agree = [&](auto position) {
    return llvm::all_of(llvm::seq(1u, count), [&](unsigned i) {
      return keys[position(i)] == keys[position(0)];
    });
  };
  auto fits = [&] {
    for (unsigned i = 0; i + 1 < count; ++i)
      if (starts[i] + right + left >= starts[i + 1])
        return false;
    return true;
  };
  while (fits() && starts.back() + right < keys.size() &&
         agree([&](unsigned i) { return starts[i] + right; }))
    ++right;
  while (fits() && starts.front() > left &&
         agree([&](unsigned i) { return starts[i] - left - 1; }))
    ++left;
  Repeat repeat;
  repeat.length = left + right;
  for (unsigned start : starts)
    repeat.starts.push_back(start - left);
  return repeat;
}

/// The repeat that saves most; of length 0 if there is none.
static Repeat findRepeat(ArrayRef<unsigned> keys) {
  llvm::MapVector<size_t, SmallVector<unsigned>> windows;
  for (unsigned i = 0; i + kWindow <= keys.size(); ++i) {
    ArrayRef<unsigned> window = keys.slice(i, kWindow);
    auto &starts = windows[llvm::hash_combine_range(window)];
    if (starts.empty() || (starts.back() + kWindow <= i &&
                           window == keys.slice(starts.front(), kWindow)))
      starts.push_back(i);
  }
  Repeat best;
  // How often the repeat occurs that a position was last a part of: windows
  // inside of one grow to it.
  SmallVector<size_t> known(keys.size(), 0);
  for (auto &[hash, starts] : windows) {
    if (starts.size() < 2 || known[starts.front()] == starts.size())
      continue;
    Repeat repeat = grow(keys, starts);
    for (unsigned i = 0; i < repeat.length; ++i)
      known[repeat.starts.front() + i] = starts.size();
    if (repeat.saved() >= kLeastSaved && repeat.saved() > best.saved())
      best = repeat;
  }
  return best;
}

//===----------------------------------------------------------------------===//
// Stretches of operations
//===----------------------------------------------------------------------===//

namespace {
/// An occurrence of a repeat.
class Stretch {
public:
  explicit Stretch(ArrayRef<Operation *> ops);

  /// For each operand, in order, the number of the inner value, or ~0.
  ArrayRef<std::pair<unsigned, Type>> getFlow() const { return flow; }
  ArrayRef<Operation *> getOps() const { return ops; }
  Operation *operator[](unsigned i) const { return ops[i]; }
  bool contains(Operation *op) const { return members.contains(op); }
  /// Whether something behind the stretch uses `value`, but for `except`.
  bool leaves(Value value, const DenseSet<Operation *> &except = {}) const {
    Block *block = ops.front()->getBlock();
    return llvm::any_of(value.getUsers(), [&](Operation *user) {
      return !contains(block->findAncestorOpInBlock(*user)) &&
             !except.contains(user);
    });
  }
  /// Whether `value` is computed here.
  bool defines(Value value) const { return numbers.contains(value); }
  /// The operand with the number of `flow`.
  Value getOperand(unsigned i) const { return operands[i]; }
  /// The first operation whose operands come from elsewhere than in `other`.
  unsigned firstDifference(const Stretch &other) const;

  /// Frees between the operations and directly behind them, with the number of
  /// operations in front of each.
  SmallVector<std::pair<memref::DeallocOp, unsigned>> frees;

private:
  ArrayRef<Operation *> ops;
  DenseSet<Operation *> members;
  DenseMap<Value, unsigned> numbers;
  SmallVector<std::pair<unsigned, Type>> flow;
  SmallVector<Value> operands;
  /// The operation that an operand belongs to.
  SmallVector<unsigned> owners;
};
} // namespace

Stretch::Stretch(ArrayRef<Operation *> ops)
    : ops(ops), members(ops.begin(), ops.end()) {
  for (auto [i, op] : llvm::enumerate(ops))
    op->walk<WalkOrder::PreOrder>([&, i = i](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        auto found = numbers.find(operand);
        flow.push_back(
            {found == numbers.end() ? ~0u : found->second, operand.getType()});
        operands.push_back(operand);
        owners.push_back(i);
      }
      auto define = [&](ValueRange values) {
        for (Value value : values)
          numbers.insert({value, numbers.size()});
      };
      define(inner->getResults());
      for (Region &region : inner->getRegions())
        for (Block &block : region)
          define(block.getArguments());
    });
  unsigned before = 0;
  for (Operation *op = ops.front(); op; op = op->getNextNode()) {
    if (auto free = dyn_cast<memref::DeallocOp>(op))
      frees.push_back({free, before});
    else if (before == ops.size())
      break;
    else if (contains(op))
      ++before;
  }
}

unsigned Stretch::firstDifference(const Stretch &other) const {
  for (auto [i, mine, theirs] : llvm::enumerate(flow, other.flow))
    if (mine != theirs)
      return owners[i];
  return ops.size();
}

namespace {
/// Moves stretches of equal operations and data flow to a function.
class Outliner {
public:
  Outliner(ArrayRef<Stretch> stretches, Value context)
      : stretches(stretches), model(stretches.front()), context(context) {}

  void outline(StringRef name, ModuleOp module);

private:
  /// The values of one operand in each stretch.
  using Tuple = SmallVector<Value>;

  void collectArguments();
  void matchFrees();
  void collectResults();
  func::FuncOp makeFunction(StringRef name, ModuleOp module);
  /// Puts a call in front of a stretch, which nothing outside uses then.
  void call(unsigned number, func::FuncOp function);
  /// The tuple of operand `i`.
  Tuple getTuple(unsigned i) const;
  /// An argument for tuples of integer constants that differ from it by the
  /// same in each stretch; null for others.
  std::optional<std::pair<unsigned, int64_t>> shareInteger(const Tuple &tuple);

  ArrayRef<Stretch> stretches;
  const Stretch &model;
  Value context;

  /// What each stretch passes, by argument.
  SmallVector<Tuple> arguments;
  /// The argument, and what is to be added to it, of each tuple.
  std::map<std::vector<void *>, std::pair<unsigned, int64_t>> known;
  /// The same by operand. Operands that are not in here are inner values,
  /// sources that all stretches share, or the context.
  DenseMap<unsigned, std::pair<unsigned, int64_t>> uses;
  /// Inner results that are used behind a stretch: position and number.
  SmallVector<std::pair<unsigned, unsigned>> results;
  /// Frees of the function: the model's value or the number of an argument, and
  /// the number of operations in front.
  SmallVector<std::pair<Value, unsigned>> innerFrees;
  SmallVector<std::pair<unsigned, unsigned>> argumentFrees;
  /// The frees of the stretches that those stand for.
  DenseSet<Operation *> moved;
  /// Values of stretches, and the results of calls that stand for them.
  DenseMap<Value, Value> replaced;
};
} // namespace

Outliner::Tuple Outliner::getTuple(unsigned i) const {
  Tuple tuple;
  for (const Stretch &stretch : stretches)
    tuple.push_back(stretch.getOperand(i));
  return tuple;
}

std::optional<std::pair<unsigned, int64_t>>
Outliner::shareInteger(const Tuple &tuple) {
  auto valueOf = [](Value value) -> std::optional<int64_t> {
    IntegerAttr known;
    if (!value.getType().isSignlessInteger(32) &&
        !value.getType().isSignlessInteger(64) && !value.getType().isIndex())
      return std::nullopt;
    if (!matchPattern(value, m_Constant(&known)))
      return std::nullopt;
    return known.getInt();
  };
  for (auto [i, argument] : llvm::enumerate(arguments)) {
    if (argument.front().getType() != tuple.front().getType())
      continue;
    std::optional<int64_t> offset;
    bool shared = true;
    for (auto [mine, theirs] : llvm::zip_equal(tuple, argument)) {
      std::optional<int64_t> value = valueOf(mine), base = valueOf(theirs);
      if (!value || !base || (offset && *offset != *value - *base)) {
        shared = false;
        break;
      }
      offset = *value - *base;
    }
    if (shared)
      return std::make_pair(unsigned(i), *offset);
  }
  return std::nullopt;
}

void Outliner::collectArguments() {
  for (auto [i, flow] : llvm::enumerate(model.getFlow())) {
    if (flow.first != ~0u)
      continue;
    Tuple tuple = getTuple(i);
    if (tuple.front() == context)
      continue;
    Operation *source = tuple.front().getDefiningOp();
    if (llvm::all_equal(tuple) && source && isSource(*source))
      continue;
    std::vector<void *> key;
    for (Value value : tuple)
      key.push_back(value.getAsOpaquePointer());
    auto [found, isNew] = known.insert({key, {}});
    if (isNew) {
      if (auto shared = shareInteger(tuple)) {
        found->second = *shared;
      } else {
        found->second = {arguments.size(), 0};
        arguments.push_back(tuple);
      }
    }
    uses[i] = found->second;
  }
}

/// A buffer that every stretch frees is freed in the function, at the last of
/// the places; a free that some stretches lack stands behind their calls.
void Outliner::matchFrees() {
  auto match = [&](auto bufferOf) -> std::optional<unsigned> {
    SmallVector<Operation *> same;
    unsigned last = 0;
    for (auto [i, stretch] : llvm::enumerate(stretches)) {
      Value buffer = bufferOf(i);
      auto *found = llvm::find_if(stretch.frees, [&](auto free) {
        return free.first.getMemref() == buffer &&
               !moved.contains(free.first.getOperation());
      });
      if (found == stretch.frees.end())
        return std::nullopt;
      same.push_back(found->first);
      last = std::max(last, found->second);
    }
    moved.insert_range(same);
    return last;
  };
  for (auto [i, op] : llvm::enumerate(model.getOps()))
    for (OpResult result : op->getResults())
      if (isa<MemRefType>(result.getType()))
        if (auto last = match([&, i = i](unsigned stretch) {
              return stretches[stretch][i]->getResult(result.getResultNumber());
            }))
          innerFrees.push_back({result, *last});
  for (auto [i, tuple] : llvm::enumerate(arguments))
    if (isa<MemRefType>(tuple.front().getType()))
      if (auto last =
              match([&, &tuple = tuple](unsigned i) { return tuple[i]; }))
        argumentFrees.push_back({i, *last});
}

void Outliner::collectResults() {
  for (auto [i, op] : llvm::enumerate(model.getOps())) {
    for (unsigned number = 0; number < op->getNumResults(); ++number) {
      bool leaves = llvm::any_of(stretches, [&, i = i](const Stretch &stretch) {
        return stretch.leaves(stretch[i]->getResult(number), moved);
      });
      if (leaves)
        results.push_back({i, number});
    }
  }
}

func::FuncOp Outliner::makeFunction(StringRef name, ModuleOp module) {
  Location loc = model[0]->getLoc();
  SmallVector<Type> takes{context.getType()}, gives;
  for (const Tuple &tuple : arguments)
    takes.push_back(tuple.front().getType());
  for (auto [i, number] : results)
    gives.push_back(model[i]->getResult(number).getType());
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  auto function =
      func::FuncOp::create(b, loc, name, b.getFunctionType(takes, gives));
  function.setPrivate();
  function->setAttr("passthrough", b.getArrayAttr(b.getStringAttr("noinline")));
  Block *body = function.addEntryBlock();
  function.setArgAttr(0, kContextAttr, b.getUnitAttr());

  b.setInsertionPointToStart(body);
  IRMapping map;
  map.map(context, body->getArgument(0));
  auto free = [&](unsigned before) {
    for (auto [buffer, place] : innerFrees)
      if (place == before)
        memref::DeallocOp::create(b, loc, map.lookup(buffer));
    for (auto [argument, place] : argumentFrees)
      if (place == before)
        memref::DeallocOp::create(b, loc, body->getArgument(argument + 1));
  };
  unsigned operand = 0;
  for (auto [i, op] : llvm::enumerate(model.getOps())) {
    // Values from outside come in through the clone's operands: one value may
    // be a different argument at each use.
    Operation *copy = b.clone(*op, map);
    b.setInsertionPoint(copy);
    copy->walk<WalkOrder::PreOrder>([&](Operation *inner) {
      for (OpOperand &use : inner->getOpOperands()) {
        unsigned number = operand++;
        if (model.getFlow()[number].first != ~0u)
          continue;
        Value outer = model.getOperand(number);
        if (outer == context)
          continue;
        auto found = uses.find(number);
        if (found == uses.end()) {
          // The same in all stretches.
          if (!map.contains(outer)) {
            OpBuilder::InsertionGuard guard(b);
            b.setInsertionPointToStart(body);
            map.map(outer, b.clone(*outer.getDefiningOp())->getResult(0));
          }
          use.set(map.lookup(outer));
          continue;
        }
        auto [argument, offset] = found->second;
        Value value = body->getArgument(argument + 1);
        if (offset != 0) {
          Value added = arith::ConstantOp::create(
              b, loc, b.getIntegerAttr(value.getType(), offset));
          value = arith::AddIOp::create(b, loc, value, added);
        }
        use.set(value);
      }
    });
    b.setInsertionPointToEnd(body);
    free(i + 1);
  }
  SmallVector<Value> returned;
  for (auto [i, number] : results)
    returned.push_back(map.lookup(model[i]->getResult(number)));
  func::ReturnOp::create(b, loc, returned);
  return function;
}

void Outliner::call(unsigned number, func::FuncOp function) {
  const Stretch &stretch = stretches[number];
  OpBuilder b(stretch[0]);
  SmallVector<Value> passed{context};
  for (const Tuple &tuple : arguments) {
    Value value = tuple[number];
    auto found = replaced.find(value);
    passed.push_back(found == replaced.end() ? value : found->second);
  }
  auto call = func::CallOp::create(b, stretch[0]->getLoc(), function, passed);
  for (auto [result, place] : llvm::zip_equal(call.getResults(), results)) {
    Value old = stretch[place.first]->getResult(place.second);
    old.replaceAllUsesWith(result);
    replaced[old] = result;
  }
  for (auto [free, before] : stretch.frees) {
    if (moved.contains(free))
      free->erase();
    else
      free->moveAfter(call);
  }
}

void Outliner::outline(StringRef name, ModuleOp module) {
  collectArguments();
  matchFrees();
  collectResults();
  func::FuncOp function = makeFunction(name, module);
  for (unsigned i = 0; i < stretches.size(); ++i)
    call(i, function);
  for (const Stretch &stretch : llvm::reverse(stretches))
    for (Operation *op : llvm::reverse(stretch.getOps()))
      op->erase();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct OutlineLayers : moe::impl::OutlineLayersPassBase<OutlineLayers> {
  void runOnOperation() override {
    auto entry = getOperation().lookupSymbol<func::FuncOp>(kEntryFunction);
    if (!entry || entry.isDeclaration())
      return;
    Block &block = entry.getBody().front();
    Value context = getSessionContext(block.getTerminator());
    if (!context)
      return signalPassFailure();
    numberChecks(entry, context);
    SmallVector<Operation *> sources;
    for (Operation &op : block)
      if (isSource(op))
        sources.push_back(&op);
    for (Operation *op : llvm::reverse(sources))
      op->moveBefore(&block, block.begin());
    // Each round outlines something, or separates what is not equal after all.
    for (unsigned round = 0; round < kMostRounds && step(block);)
      ++round;
    sinkSources(sources);
  }

private:
  /// Checks become calls with the number of their texts, which may then be an
  /// argument.
  void numberChecks(func::FuncOp entry, Value context) {
    CheckSites sites(getOperation());
    SmallVector<CheckOp> checks;
    entry.walk([&](CheckOp check) { checks.push_back(check); });
    for (CheckOp check : checks)
      sites.replace(check, context);
    sites.record();
  }

  /// A source for one operation stands right before it: no register needs to
  /// hold it through all the calls.
  static void sinkSources(ArrayRef<Operation *> sources) {
    for (Operation *source : sources) {
      if (source->use_empty()) {
        source->erase();
        continue;
      }
      Operation *user = *source->user_begin();
      if (llvm::all_equal(source->getUsers()) &&
          user->getBlock() == source->getBlock())
        source->moveBefore(user);
    }
  }

  unsigned keyOf(Operation *op) {
    auto [found, isNew] = keys.insert({op, 0});
    if (!isNew)
      return found->second;
    llvm::hash_code hash(0);
    op->walk<WalkOrder::PreOrder>([&](Operation *inner) {
      hash = llvm::hash_combine(
          hash,
          OperationEquivalence::computeHash(
              inner, OperationEquivalence::ignoreHashValue,
              OperationEquivalence::ignoreHashValue,
              OperationEquivalence::IgnoreLocations),
          llvm::hash_combine_range(inner->getOperandTypes()));
    });
    unsigned key = numbers.insert({hash, numbers.size()}).first->second;
    return keys[op] = key;
  }

  bool step(Block &block) {
    SmallVector<Operation *> ops;
    Keys sequence;
    for (Operation &op : block.without_terminator()) {
      if (isSource(op) || isa<memref::DeallocOp>(op))
        continue;
      ops.push_back(&op);
      sequence.push_back(keyOf(&op));
    }
    Repeat repeat = findRepeat(sequence);
    if (repeat.length == 0)
      return false;

    // Those with the same text and data flow as the first of the largest group.
    SmallVector<Stretch, 0> all;
    for (unsigned start : repeat.starts)
      all.emplace_back(ArrayRef(ops).slice(start, repeat.length));
    SmallVector<SmallVector<unsigned>> groups;
    for (unsigned i = 0; i < all.size(); ++i) {
      auto *group = llvm::find_if(groups, [&](ArrayRef<unsigned> group) {
        return firstDifference(all[group.front()], all[i]) == repeat.length;
      });
      if (group == groups.end())
        groups.push_back({i});
      else
        group->push_back(i);
    }
    auto *largest = llvm::max_element(
        groups, [](auto &a, auto &b) { return a.size() < b.size(); });
    // Whatever is different shall not be found again.
    for (auto &group : groups)
      if (&group != largest)
        for (unsigned i : group)
          keys[all[i][firstDifference(all[largest->front()], all[i])]] =
              separator--;
    if (largest->size() < 2)
      return true;
    SmallVector<Stretch, 0> same;
    for (unsigned i : *largest)
      same.push_back(std::move(all[i]));
    if (separateFrames(same))
      return true;
    std::string name = "moe_layer_" + std::to_string(layers++);
    LDBG() << name << ": " << repeat.length << " operations, " << same.size()
           << " times";
    Outliner(same, block.getArgument(0)).outline(name, getOperation());
    // Addresses of erased operations may come again.
    for (const Stretch &stretch : same)
      for (Operation *op : stretch.getOps())
        keys.erase(op);
    return true;
  }

  /// A function's frame is gone when it returns: what is used later must not
  /// lie there. Separates such memory from others; false if there is none.
  bool separateFrames(ArrayRef<Stretch> stretches) {
    bool found = false;
    for (const Stretch &stretch : stretches)
      for (Operation *op : stretch.getOps())
        if (isa<LLVM::AllocaOp, memref::AllocaOp>(op) &&
            stretch.leaves(op->getResult(0))) {
          keys[op] = separator--;
          found = true;
        }
    return found;
  }

  static unsigned firstDifference(const Stretch &a, const Stretch &b) {
    for (auto [i, left, right] : llvm::enumerate(a.getOps(), b.getOps()))
      if (!OperationEquivalence::isEquivalentTo(
              left, right, OperationEquivalence::ignoreValueEquivalence,
              nullptr, OperationEquivalence::IgnoreLocations))
        return i;
    return a.firstDifference(b);
  }

  DenseMap<Operation *, unsigned> keys;
  DenseMap<llvm::hash_code, unsigned> numbers;
  unsigned layers = 0, separator = ~0u;
};
} // namespace
