//===- Recurrence.cpp - LSTM, GRU, RNN ------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The products of all steps' inputs with W are one product before the loop; a
// step multiplies the state with R and does the rest elementwise. Sums and
// activations are computed in the compute type, and the cell state of an LSTM
// is carried in it. The other direction runs through the steps from the last
// one: a step beyond the end of its sequence changes nothing.
//
//===----------------------------------------------------------------------===//

#include "ControlFlow.h"
#include "Elements.h"
#include "Products.h"
#include "Registry.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

namespace {
using ElementBuilder = ImplicitLocOpBuilder;
using ActivationFn = Value (*)(ElementBuilder &, Value, double alpha,
                               double beta);

struct ActivationKind {
  StringRef name;
  /// How many of alpha and beta it takes, and what they are by default.
  int parameters;
  double alpha, beta;
  ActivationFn fn;
};

struct Activation {
  const ActivationKind *kind;
  double alpha, beta;
  Value operator()(ElementBuilder &b, Value x) const {
    return kind->fn(b, x, alpha, beta);
  }
};
} // namespace

static Value constantLike(ElementBuilder &b, Value x, double value) {
  return floatConstant(b, x.getType(), value);
}

static Value times(ElementBuilder &b, double factor, Value x) {
  return factor == 1.0 ? x : mulElements(b, x, constantLike(b, x, factor));
}

static Value affineElement(ElementBuilder &b, Value x, double alpha,
                           double beta) {
  return addElements(b, times(b, alpha, x), constantLike(b, x, beta));
}

/// `then` where x > threshold, `other` elsewhere.
static Value above(ElementBuilder &b, Value x, double threshold, Value then,
                   Value other) {
  Value test = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x,
                                     constantLike(b, x, threshold));
  return arith::SelectOp::create(b, test, then, other);
}

static const ActivationKind kActivations[] = {
    {"Relu", 0, 0, 0,
     [](ElementBuilder &b, Value x, double, double) {
       return maxElement(b, x, constantLike(b, x, 0.0), false);
     }},
    {"Tanh", 0, 0, 0,
     [](ElementBuilder &b, Value x, double, double) -> Value {
       return math::TanhOp::create(b, x);
     }},
    {"Sigmoid", 0, 0, 0,
     [](ElementBuilder &b, Value x, double, double) {
       return sigmoidElement(b, x);
     }},
    {"Softsign", 0, 0, 0,
     [](ElementBuilder &b, Value x, double, double) {
       return softsignElement(b, x);
     }},
    {"Softplus", 0, 0, 0,
     [](ElementBuilder &b, Value x, double, double) {
       return softplusElement(b, x);
     }},
    {"LeakyRelu", 1, 0.01, 0,
     [](ElementBuilder &b, Value x, double alpha, double) {
       return above(b, x, 0.0, x, times(b, alpha, x));
     }},
    {"ThresholdedRelu", 1, 1.0, 0,
     [](ElementBuilder &b, Value x, double alpha, double) {
       return above(b, x, alpha, x, constantLike(b, x, 0.0));
     }},
    {"Elu", 1, 1.0, 0,
     [](ElementBuilder &b, Value x, double alpha, double) {
       return above(b, x, 0.0, x, times(b, alpha, math::ExpM1Op::create(b, x)));
     }},
    {"Affine", 2, 1.0, 0.0, affineElement},
    {"ScaledTanh", 2, 1.0, 1.0,
     [](ElementBuilder &b, Value x, double alpha, double beta) {
       return times(b, alpha, math::TanhOp::create(b, times(b, beta, x)));
     }},
    {"HardSigmoid", 2, 0.2, 0.5,
     [](ElementBuilder &b, Value x, double alpha, double beta) {
       Value y = affineElement(b, x, alpha, beta);
       y = maxElement(b, y, constantLike(b, x, 0.0), false);
       return minElement(b, y, constantLike(b, x, 1.0), false);
     }},
};

/// The activations of all directions; alpha and beta are taken by those that
/// have them, in order.
static FailureOr<SmallVector<Activation>>
activationsOf(Lowering &l, ArrayRef<StringRef> defaults, int directions) {
  SmallVector<StringRef> names;
  if (auto given = l.node.getStrings("activations"))
    names = *given;
  if (names.empty())
    for (int i = 0; i < directions; ++i)
      llvm::append_range(names, defaults);
  if (names.size() != defaults.size() * directions)
    return l.error() << "expects " << defaults.size() * directions
                     << " activations, got " << names.size();
  ArrayRef<float> alphas, betas;
  if (auto given = l.node.getF32s("activation_alpha"))
    alphas = *given;
  if (auto given = l.node.getF32s("activation_beta"))
    betas = *given;
  auto take = [](ArrayRef<float> &list, double otherwise) {
    if (list.empty())
      return otherwise;
    double first = list.front();
    list = list.drop_front();
    return first;
  };
  SmallVector<Activation> result;
  for (StringRef name : names) {
    const auto *kind = llvm::find_if(kActivations, [&](const auto &k) {
      return k.name.equals_insensitive(name);
    });
    if (kind == std::end(kActivations))
      return l.error() << "activation '" << name << "' is not supported";
    result.push_back({kind, kind->alpha, kind->beta});
    if (kind->parameters > 0)
      result.back().alpha = take(alphas, kind->alpha);
    if (kind->parameters > 1)
      result.back().beta = take(betas, kind->beta);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

namespace {
/// One direction of one operator.
class Recurrence {
public:
  Recurrence(Lowering &l, int gates) : gates(gates), l(l) {}

  virtual ~Recurrence() = default;
  FailureOr<LoopResults> run(Tensor x, int64_t direction, bool backward,
                             bool wantsSteps);

  /// Operands: the input is [steps, batch, features], everything else is of
  /// all directions; null where it is omitted.
  Tensor weights = nullptr, recurrent = nullptr, bias = nullptr,
         lengths = nullptr, peepholes = nullptr;
  SmallVector<Tensor> states; // [directions, batch, hidden]
  SmallVector<Activation> activations;
  std::optional<double> clip;
  const int gates;
  Expr hidden;

protected:
  /// The states after a step, given those before. `gate(i)` is gate i of the
  /// step's input; the first state is the output.
  virtual FailureOr<SmallVector<Tensor>> step(ArrayRef<Tensor> before) = 0;

  /// The part of `t` [.., gates * hidden, ..] along `axis` that belongs to
  /// `count` gates from `first` on.
  Tensor gatesOf(Tensor t, int64_t axis, int64_t first, int64_t count = 1);
  /// The bias of a gate of the recurrence, or null.
  Tensor recurrentBias(int64_t gate) {
    return ownBias ? gatesOf(ownBias, 0, gate) : nullptr;
  }
  /// `state` times the matrices of `count` gates from `first` on.
  FailureOr<Tensor> product(Tensor state, int64_t first, int64_t count);
  Tensor inputOf(int64_t gate) { return gatesOf(input, 1, gate); }
  Value limited(ElementBuilder &b, Value x) const;
  /// One result per element of the states.
  Tensor compute(ArrayRef<Tensor> operands, Type type, ElementFn element);

  Lowering &l;
  Expr batch;
  Tensor input = nullptr;   // of the step: [batch, gates * hidden]
  Tensor matrix = nullptr;  // of the direction: [gates * hidden, hidden]
  Tensor ownBias = nullptr; // of the recurrence: [gates * hidden]
  Tensor holes = nullptr;   // [3 * hidden]
  ArrayRef<Activation> functions;

private:
  Tensor whole(Tensor t, int64_t direction);
};

/// Operands of an elementwise operation that may be absent.
struct Terms {
  SmallVector<Tensor> list;
  /// The place of `t` in the list, -1 for null.
  int add(Tensor t) {
    if (!t)
      return -1;
    list.push_back(t);
    return list.size() - 1;
  }
};
} // namespace

/// The sum of those arguments that are there.
static Value sumOfTerms(ElementBuilder &b, ValueRange args,
                        ArrayRef<int> places) {
  Value sum;
  for (int place : places)
    if (place >= 0)
      sum = sum ? addElements(b, sum, args[place]) : args[place];
  return sum;
}

Tensor Recurrence::gatesOf(Tensor t, int64_t axis, int64_t first,
                           int64_t count) {
  Dims offsets(t->rank(), Expr(0)), dims = t->dims;
  offsets[axis] = hidden * first;
  dims[axis] = hidden * count;
  return l.slice(t, offsets, dims);
}

FailureOr<Tensor> Recurrence::product(Tensor state, int64_t first,
                                      int64_t count) {
  return matmul(l, state, gatesOf(matrix, 0, first, count), false, true);
}

Value Recurrence::limited(ElementBuilder &b, Value x) const {
  if (!clip)
    return x;
  x = maxElement(b, x, constantLike(b, x, -*clip), false);
  return minElement(b, x, constantLike(b, x, *clip), false);
}

Tensor Recurrence::compute(ArrayRef<Tensor> operands, Type type,
                           ElementFn element) {
  return l.elementwise(operands, Dims{batch, hidden}, type, element);
}

/// The part of one direction.
Tensor Recurrence::whole(Tensor t, int64_t direction) {
  return t ? sliceAt(l, t, 0, direction) : nullptr;
}

FailureOr<LoopResults> Recurrence::run(Tensor x, int64_t direction,
                                       bool backward, bool wantsSteps) {
  Expr steps = x->dims[0];
  batch = x->dims[1];
  size_t each = activations.size() / weights->dims[0].constant().value_or(1);
  functions = ArrayRef(activations).slice(direction * each, each);
  matrix = whole(recurrent, direction);
  holes = whole(peepholes, direction);

  FailureOr<Tensor> inputs =
      matmul(l, x, whole(weights, direction), false, true);
  if (failed(inputs))
    return failure();
  if (Tensor both = whole(bias, direction)) {
    Dims half{hidden * gates};
    ownBias = l.slice(both, {hidden * gates}, half);
    inputs = l.elementwise({*inputs, l.slice(both, {Expr(0)}, half)},
                           (*inputs)->dims, x->elementType,
                           [](ElementBuilder &b, ValueRange args) {
                             return addElements(b, args[0], args[1]);
                           });
  }

  LoopSpec spec;
  spec.trips = steps;
  for (auto [i, state] : llvm::enumerate(states)) {
    Dims dims{batch, hidden};
    Tensor first = whole(state, direction);
    Type type = i == 0 ? x->elementType : Lowering::computeType(x->elementType);
    if (!first)
      first = l.tensor(l.filled(dims, cast<TypedAttr>(l.b.getZeroAttr(type))),
                       type, dims);
    first = l.tensor(l.cast(l.value(first), dims), first->elementType, dims);
    spec.first.push_back(l.convertFloat(first, type));
  }
  if (wantsSteps)
    spec.scanned.push_back({0, backward});
  auto body = [&](const Expr &number,
                  ArrayRef<Tensor> before) -> FailureOr<Iteration> {
    Expr at = backward ? steps - 1 - number : number;
    input = sliceAt(l, *inputs, 0, at);
    FailureOr<SmallVector<Tensor>> after = step(before);
    if (failed(after))
      return failure();
    Iteration iteration;
    iteration.next = *after;
    Tensor output = after->front();
    if (lengths) {
      // Sequences that have ended keep their states, and output 0.
      Tensor time = l.tensor(lengths->elementType, Dims(), Dims{at});
      Tensor ends = l.reshape(lengths, {batch, 1});
      auto choose = [&](Tensor t, Tensor other) {
        SmallVector<Tensor> operands{time, ends, t};
        if (other)
          operands.push_back(other);
        return compute(
            operands, t->elementType, [](ElementBuilder &b, ValueRange a) {
              Value runs = arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                                                 a[0], a[1]);
              Value rest = a.size() > 3 ? a[3] : constantLike(b, a[2], 0.0);
              return arith::SelectOp::create(b, runs, a[2], rest).getResult();
            });
      };
      if (wantsSteps)
        output = choose(output, nullptr);
      for (auto [t, old] : llvm::zip_equal(iteration.next, before))
        t = choose(t, old);
    }
    if (wantsSteps)
      iteration.slices.push_back(output);
    return iteration;
  };
  spec.body = body;
  return emitLoop(l, spec);
}

namespace {
struct SimpleRecurrence : Recurrence {
  explicit SimpleRecurrence(Lowering &l) : Recurrence(l, 1) {}

  FailureOr<SmallVector<Tensor>> step(ArrayRef<Tensor> before) override {
    FailureOr<Tensor> r = product(before[0], 0, 1);
    if (failed(r))
      return failure();
    Terms terms;
    int places[] = {terms.add(inputOf(0)), terms.add(*r),
                    terms.add(recurrentBias(0))};
    return SmallVector<Tensor>{compute(
        terms.list, before[0]->elementType,
        [&](ElementBuilder &b, ValueRange args) {
          return functions[0](b, limited(b, sumOfTerms(b, args, places)));
        })};
  }
};

/// Gates z, r, h.
struct GatedRecurrence : Recurrence {
  explicit GatedRecurrence(Lowering &l) : Recurrence(l, 3) {}

  bool resetsProduct = false; // linear_before_reset

  FailureOr<SmallVector<Tensor>> step(ArrayRef<Tensor> before) override;
};
} // namespace

FailureOr<SmallVector<Tensor>> GatedRecurrence::step(ArrayRef<Tensor> before) {
  Tensor h = before[0];
  Type type = h->elementType, wide = Lowering::computeType(type);
  FailureOr<Tensor> r = product(h, 0, resetsProduct ? 3 : 2);
  if (failed(r))
    return failure();
  auto gate = [&](int64_t i, Tensor old) {
    Terms terms;
    int places[] = {terms.add(inputOf(i)), terms.add(gatesOf(*r, 1, i)),
                    terms.add(recurrentBias(i))};
    int factor = terms.add(old);
    return compute(
        terms.list, old ? type : wide, [&](ElementBuilder &b, ValueRange args) {
          Value v = functions[0](b, limited(b, sumOfTerms(b, args, places)));
          return factor < 0 ? v : mulElements(b, v, args[factor]);
        });
  };
  Tensor reset = gate(1, resetsProduct ? nullptr : h), last;
  if (resetsProduct) {
    last = gatesOf(*r, 1, 2);
  } else {
    FailureOr<Tensor> made = product(reset, 2, 1);
    if (failed(made))
      return failure();
    last = *made;
  }
  Tensor update = gate(0, nullptr);
  Terms terms;
  int z = terms.add(update), old = terms.add(h), x = terms.add(inputOf(2)),
      p = terms.add(last), bias = terms.add(recurrentBias(2)),
      factor = resetsProduct ? terms.add(reset) : -1;
  return SmallVector<Tensor>{
      compute(terms.list, type, [&](ElementBuilder &b, ValueRange args) {
        Value own = sumOfTerms(b, args, {p, bias});
        if (factor >= 0)
          own = mulElements(b, own, args[factor]);
        Value candidate =
            functions[1](b, limited(b, addElements(b, args[x], own)));
        Value rest =
            arith::SubFOp::create(b, constantLike(b, args[z], 1.0), args[z]);
        return addElements(b, mulElements(b, rest, candidate),
                           mulElements(b, args[z], args[old]));
      })};
}

namespace {
/// Gates i, o, f, c; states H and C.
struct LongShortTermMemory : Recurrence {
  explicit LongShortTermMemory(Lowering &l) : Recurrence(l, 4) {}

  bool couples = false; // input_forget

  FailureOr<SmallVector<Tensor>> step(ArrayRef<Tensor> before) override;
};
} // namespace

FailureOr<SmallVector<Tensor>>
LongShortTermMemory::step(ArrayRef<Tensor> before) {
  Tensor h = before[0], c = before[1];
  FailureOr<Tensor> r = product(h, 0, 4);
  if (failed(r))
    return failure();
  struct Gate {
    int sum[3], hole;
  };
  auto gate = [&](Terms &terms, int64_t i, int64_t hole) {
    return Gate{{terms.add(inputOf(i)), terms.add(gatesOf(*r, 1, i)),
                 terms.add(recurrentBias(i))},
                holes && hole >= 0 ? terms.add(gatesOf(holes, 0, hole)) : -1};
  };
  auto value = [&](ElementBuilder &b, ValueRange args, const Gate &g,
                   int function, Value cell) {
    Value sum = sumOfTerms(b, args, g.sum);
    if (g.hole >= 0)
      sum = addElements(b, sum, mulElements(b, args[g.hole], cell));
    return functions[function](b, limited(b, sum));
  };
  Terms cellTerms;
  int old = cellTerms.add(c);
  Gate in = gate(cellTerms, 0, 0), candidate = gate(cellTerms, 3, -1), forget{};
  if (!couples)
    forget = gate(cellTerms, 2, 2);
  Tensor cell = compute(
      cellTerms.list, c->elementType, [&](ElementBuilder &b, ValueRange args) {
        Value i = value(b, args, in, 0, args[old]);
        Value f =
            couples
                ? Value(arith::SubFOp::create(b, constantLike(b, i, 1.0), i))
                : value(b, args, forget, 0, args[old]);
        Value made = value(b, args, candidate, 1, {});
        return addElements(b, mulElements(b, f, args[old]),
                           mulElements(b, i, made));
      });
  Terms terms;
  int now = terms.add(cell);
  Gate out = gate(terms, 1, 1);
  Tensor output = compute(
      terms.list, h->elementType, [&](ElementBuilder &b, ValueRange args) {
        return mulElements(b, value(b, args, out, 0, args[now]),
                           functions[2](b, args[now]));
      });
  return SmallVector<Tensor>{output, cell};
}

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

/// Checks that `t` has the sizes `dims`, and gives it these.
static LogicalResult checkShape(Lowering &l, Tensor &t, const Dims &dims,
                                StringRef what) {
  if (t->rank() != static_cast<int64_t>(dims.size()))
    return l.error() << "expects " << what << " of rank " << dims.size()
                     << ", got " << t->rank();
  for (auto [have, want] : llvm::zip_equal(t->dims, dims))
    if (failed(l.checkAgree(have, want, ("sizes of " + what).str())))
      return failure();
  if (t->dims != dims)
    t = l.tensor(l.cast(l.value(t), dims), t->elementType, dims);
  return success();
}

/// [a, b, ..] as [b, a, ..].
static Tensor swapFirst(Lowering &l, Tensor t) {
  SmallVector<int64_t> permutation =
      llvm::to_vector(llvm::seq<int64_t>(0, t->rank()));
  std::swap(permutation[0], permutation[1]);
  return l.transpose(t, permutation);
}

/// Sets the operands of `r`, whose sizes have to fit.
static LogicalResult readOperands(Lowering &l, Recurrence &r, Tensor &x,
                                  int64_t directions, size_t states) {
  bool batchFirst = l.node.getI64("layout", 0) != 0;
  x = l.in(0);
  r.weights = l.in(1);
  r.recurrent = l.in(2);
  r.bias = l.optional(3);
  r.lengths = l.optional(4);
  if (!x->isFloat())
    return l.error() << "expects floats, got " << x->elementType;
  if (x->rank() != 3 || r.recurrent->rank() != 3)
    return l.error() << "expects an input and recurrence weights of rank 3, "
                        "got "
                     << x->rank() << " and " << r.recurrent->rank();
  if (batchFirst)
    x = swapFirst(l, x);
  Expr batch = x->dims[1];
  r.hidden = r.recurrent->dims[2];
  if (std::optional<int64_t> size = l.node.getI64("hidden_size"))
    if (failed(l.checkAgree(*size, r.hidden, "hidden sizes")))
      return failure();
  Expr all = r.hidden * r.gates;
  if (r.weights->rank() != 3)
    return l.error() << "expects W of rank 3, got " << r.weights->rank();
  // The product checks the number of features.
  Expr features = r.weights->dims[2];
  if (failed(checkShape(l, r.weights, {directions, all, features}, "W")) ||
      failed(checkShape(l, r.recurrent, {directions, all, r.hidden}, "R")) ||
      (r.bias && failed(checkShape(l, r.bias, {directions, all * 2}, "B"))))
    return failure();
  for (size_t i = 0; i < states; ++i) {
    r.states.push_back(l.optional(5 + i));
    Tensor &state = r.states.back();
    if (!state)
      continue;
    if (batchFirst && state->rank() == 3)
      state = swapFirst(l, state);
    if (failed(checkShape(l, state, {directions, batch, r.hidden},
                          "the initial states")))
      return failure();
  }
  if (states == 2 && (r.peepholes = l.optional(7)))
    if (failed(checkShape(l, r.peepholes, {directions, r.hidden * 3}, "P")))
      return failure();
  for (Tensor t : {r.weights, r.recurrent, r.bias, r.states.front(),
                   r.states.back(), r.peepholes})
    if (t && t->elementType != x->elementType)
      return l.error() << "expects operands of one type, got " << x->elementType
                       << " and " << t->elementType;
  if (r.lengths) {
    if (failed(checkShape(l, r.lengths, {batch}, "sequence_lens")))
      return failure();
    l.checkRange(r.lengths, 0, x->dims[0], x->dims[0],
                 "expects sequence_lens in [0, {limit}], got {found}");
  }
  return success();
}

static LogicalResult convertRecurrence(Lowering &l, Recurrence &r,
                                       size_t states,
                                       ArrayRef<StringRef> functions) {
  StringRef direction = l.node.getString("direction", "forward");
  if (direction != "forward" && direction != "reverse" &&
      direction != "bidirectional")
    return l.error() << "direction '" << direction << "' is not supported";
  int64_t directions = direction == "bidirectional" ? 2 : 1;
  FailureOr<SmallVector<Activation>> activations =
      activationsOf(l, functions, directions);
  if (failed(activations))
    return failure();
  r.activations = *activations;
  if (std::optional<float> clip = l.node.getF32("clip"); clip && *clip > 0)
    r.clip = *clip;
  Tensor x = nullptr;
  if (failed(readOperands(l, r, x, directions, states)))
    return failure();

  bool wantsSteps = bool(l.node.output(0));
  SmallVector<Tensor> steps;
  SmallVector<SmallVector<Tensor>> last(states);
  for (int64_t d = 0; d < directions; ++d) {
    FailureOr<LoopResults> results =
        r.run(x, d, /*backward=*/d == 1 || direction == "reverse", wantsSteps);
    if (failed(results))
      return failure();
    if (wantsSteps)
      steps.push_back(results->scanned.front());
    for (auto [all, t] : llvm::zip_equal(last, results->last))
      all.push_back(l.convertFloat(t, x->elementType));
  }
  bool batchFirst = l.node.getI64("layout", 0) != 0;
  if (wantsSteps) {
    // [steps, batch, hidden] each
    FailureOr<Tensor> y = stack(l, steps, 1);
    if (failed(y) ||
        failed(l.set(0, batchFirst ? l.transpose(*y, {2, 0, 1, 3}) : *y)))
      return failure();
  }
  for (size_t i = 0; i < states; ++i) {
    if (!l.node.output(i + 1))
      continue;
    FailureOr<Tensor> y = stack(l, last[i], batchFirst ? 1 : 0);
    if (failed(y) || failed(l.set(i + 1, *y)))
      return failure();
  }
  return success();
}

static LogicalResult convertRNN(Lowering &l) {
  SimpleRecurrence r(l);
  return convertRecurrence(l, r, 1, {"Tanh"});
}

static LogicalResult convertGRU(Lowering &l) {
  GatedRecurrence r(l);
  r.resetsProduct = l.node.getI64("linear_before_reset", 0) != 0;
  return convertRecurrence(l, r, 1, {"Sigmoid", "Tanh"});
}

static LogicalResult convertLSTM(Lowering &l) {
  LongShortTermMemory r(l);
  r.couples = l.node.getI64("input_forget", 0) != 0;
  return convertRecurrence(l, r, 2, {"Sigmoid", "Tanh", "Tanh"});
}

void raise::addRecurrence(Registry &r) {
  r.add({
      {"RNN", 7, kLatest, convertRNN, 3, 6,
       "activation_alpha activation_beta activations clip direction "
       "hidden_size layout"},
      {"GRU", 7, kLatest, convertGRU, 3, 6,
       "activation_alpha activation_beta activations clip direction "
       "hidden_size layout linear_before_reset"},
      {"LSTM", 7, kLatest, convertLSTM, 3, 8,
       "activation_alpha activation_beta activations clip direction "
       "hidden_size input_forget layout"},
  });
}
