//===- RowExpr.cpp - what an expert computes for one row ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowExpr.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

RankedTensorType ExpertOperand::stackedType(int64_t rank) const {
  // [.., 1, N] is a vector of N elements.
  auto slice = [&](ArrayRef<int64_t> shape) -> SmallVector<int64_t> {
    while (rank == 1 && shape.size() > 1 && shape.front() == 1)
      shape = shape.drop_front();
    return SmallVector<int64_t>(shape);
  };
  auto typeOf = [](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.hasStaticShape() ? type : RankedTensorType();
  };
  SmallVector<int64_t> shape;
  Type elementType;
  int64_t experts = parts.size();
  if (stacked) {
    RankedTensorType type = typeOf(stacked);
    if (!type || type.getRank() == 0)
      return {};
    experts = type.getDimSize(0);
    shape = slice(type.getShape().drop_front());
    elementType = type.getElementType();
  }
  for (const Part &part : parts) {
    RankedTensorType type = typeOf(part.value);
    if (!type || (part.index >= 0 &&
                  (type.getRank() == 0 || part.index >= type.getDimSize(0))))
      return {};
    SmallVector<int64_t> own =
        slice(type.getShape().drop_front(part.index >= 0 ? 1 : 0));
    if (elementType && (own != shape || type.getElementType() != elementType))
      return {};
    shape = own;
    elementType = type.getElementType();
  }
  if (!elementType || static_cast<int64_t>(shape.size()) != rank)
    return {};
  shape.insert(shape.begin(), experts);
  return RankedTensorType::get(shape, elementType);
}

int64_t RowExpr::columns() const {
  return quantized ? quantized->columns
                   : weight.stackedType(2).getDimSize(inputMajor ? 2 : 1);
}

int64_t RowExpr::depth() const {
  return quantized ? quantized->depth
                   : weight.stackedType(2).getDimSize(inputMajor ? 1 : 2);
}

int64_t RowExpr::width() const {
  if (kind == Linear)
    return size;
  int64_t width = 0;
  forEachLinear(this, [&](const RowExpr *linear) { width = linear->size; });
  return width;
}

//===----------------------------------------------------------------------===//
// Construction
//===----------------------------------------------------------------------===//

const RowExpr *RowExprPool::add(RowExpr expr) {
  storage.push_back(std::move(expr));
  return &storage.back();
}

const RowExpr *RowExprPool::scalar(double value) {
  RowExpr expr;
  expr.kind = RowExpr::Scalar;
  expr.scalar = value;
  return add(std::move(expr));
}

const RowExpr *RowExprPool::apply(RowFunction function,
                                  ArrayRef<const RowExpr *> arguments) {
  RowExpr expr;
  expr.kind = RowExpr::Apply;
  expr.function = function;
  expr.arguments.assign(arguments.begin(), arguments.end());
  return add(std::move(expr));
}

/// One tensor that has the parts in order, or the parts.
static ExpertOperand stackParts(ArrayRef<const ExpertOperand *> operands) {
  ExpertOperand result;
  for (const ExpertOperand *operand : operands)
    result.parts.push_back(operand->parts[0]);
  Value whole = result.parts[0].value;
  auto type = dyn_cast<RankedTensorType>(whole.getType());
  if (!type || type.getRank() == 0 ||
      type.getDimSize(0) != static_cast<int64_t>(result.parts.size()))
    return result;
  for (auto [i, part] : llvm::enumerate(result.parts))
    if (part.value != whole || part.index != static_cast<int64_t>(i))
      return result;
  return ExpertOperand(whole);
}

const RowExpr *RowExprPool::stack(ArrayRef<const RowExpr *> experts,
                                  int64_t &differs) {
  Stacked stacked;
  return stack(experts, differs, stacked, /*depth=*/0);
}

const RowExpr *RowExprPool::stack(ArrayRef<const RowExpr *> experts,
                                  int64_t &differs, Stacked &stacked,
                                  unsigned depth) {
  constexpr unsigned kMaxDepth = 128; // expressions come from strangers' graphs
  const RowExpr &first = *experts[0];
  if (auto it = stacked.find(&first); it != stacked.end())
    for (auto [i, expert] : llvm::enumerate(experts))
      if (it->second.first[i] != expert) {
        differs = i;
        return nullptr;
      }
  if (auto it = stacked.find(&first); it != stacked.end())
    return it->second.second;

  differs = 0;
  if (depth > kMaxDepth)
    return nullptr;
  // What all experts share has been stacked before.
  if (llvm::all_equal(experts)) {
    bool done = true;
    forEachLinear(&first, [&](const RowExpr *linear) {
      done &= linear->weight.parts.size() != 1;
    });
    if (done)
      return &first;
  }
  for (auto [i, expert] : llvm::enumerate(experts)) {
    const RowExpr &other = *expert;
    bool alike = other.kind == first.kind && other.function == first.function &&
                 other.scalar == first.scalar && other.begin == first.begin &&
                 other.size == first.size && other.step == first.step &&
                 other.inputMajor == first.inputMajor &&
                 other.biasBegin == first.biasBegin &&
                 other.biasStep == first.biasStep &&
                 other.weight.parts.size() == first.weight.parts.size() &&
                 other.bias.parts.size() == first.bias.parts.size() &&
                 !other.input == !first.input &&
                 other.arguments.size() == first.arguments.size();
    if (!alike) {
      differs = i;
      return nullptr;
    }
  }
  auto stackOf = [&](auto get) {
    return stack(llvm::map_to_vector(experts, get), differs, stacked,
                 depth + 1);
  };
  auto partsOf = [&](auto member) {
    return stackParts(llvm::map_to_vector(
        experts, [&](const RowExpr *expert) { return &(expert->*member); }));
  };
  RowExpr result = first;
  if (first.kind == RowExpr::Linear) {
    if (first.weight.parts.size() != 1)
      return nullptr;
    result.weight = partsOf(&RowExpr::weight);
    if (first.bias)
      result.bias = partsOf(&RowExpr::bias);
    if (first.input && !(result.input = stackOf([](const RowExpr *expert) {
                           return expert->input;
                         })))
      return nullptr;
  }
  for (size_t i = 0; i < result.arguments.size(); ++i)
    if (!(result.arguments[i] = stackOf(
              [&](const RowExpr *expert) { return expert->arguments[i]; })))
      return nullptr;
  const RowExpr *added = add(std::move(result));
  stacked[&first] = {SmallVector<const RowExpr *>(experts), added};
  return added;
}

const RowExpr *RowExprPool::sigmoidGated(const RowExpr *x, double alpha) {
  const RowExpr *scaled =
      alpha == 1 ? x : apply(RowFunction::Mul, {scalar(alpha), x});
  return apply(RowFunction::Mul, {x, apply(RowFunction::Sigmoid, {scaled})});
}

const RowExpr *RowExprPool::geluErf(const RowExpr *x) {
  const RowExpr *erf =
      apply(RowFunction::Erf,
            {apply(RowFunction::Mul, {x, scalar(0.70710678118654752440)})});
  return apply(RowFunction::Mul, {apply(RowFunction::Mul, {scalar(0.5), x}),
                                  apply(RowFunction::Add, {scalar(1), erf})});
}

const RowExpr *RowExprPool::geluTanh(const RowExpr *x) {
  const RowExpr *cube =
      apply(RowFunction::Mul, {x, apply(RowFunction::Mul, {x, x})});
  const RowExpr *inner =
      apply(RowFunction::Mul,
            {scalar(0.79788456080286535588), // sqrt(2 / pi)
             apply(RowFunction::Add,
                   {x, apply(RowFunction::Mul, {scalar(0.044715), cube})})});
  return apply(RowFunction::Mul,
               {apply(RowFunction::Mul, {scalar(0.5), x}),
                apply(RowFunction::Add,
                      {scalar(1), apply(RowFunction::Tanh, {inner})})});
}

const RowExpr *RowExprPool::relu(const RowExpr *x) {
  return apply(RowFunction::Max, {x, scalar(0)});
}

static std::optional<RowFunction> simpleFunction(StringRef op) {
  return llvm::StringSwitch<std::optional<RowFunction>>(op)
      .Case("Add", RowFunction::Add)
      .Case("Sub", RowFunction::Sub)
      .Case("Mul", RowFunction::Mul)
      .Case("Div", RowFunction::Div)
      .Case("Pow", RowFunction::Pow)
      .Case("Neg", RowFunction::Neg)
      .Case("Abs", RowFunction::Abs)
      .Case("Exp", RowFunction::Exp)
      .Case("Log", RowFunction::Log)
      .Case("Sqrt", RowFunction::Sqrt)
      .Case("Tanh", RowFunction::Tanh)
      .Case("Erf", RowFunction::Erf)
      .Case("Sigmoid", RowFunction::Sigmoid)
      .Case("Softplus", RowFunction::Softplus)
      .Default(std::nullopt);
}

bool moe::isElementwise(NodeOp node) {
  if (node.getDomain() == "com.microsoft")
    return node.getOpType() == "QuickGelu" || node.getOpType() == "Gelu";
  if (!node.getDomain().empty())
    return false;
  if (simpleFunction(node.getOpType()))
    return true;
  static constexpr StringLiteral others[] = {
      "Relu", "Reciprocal", "Clip", "Gelu", "Swish", "Max", "Min", "LeakyRelu"};
  return llvm::is_contained(others, node.getOpType());
}

const RowExpr *RowExprPool::elementwise(
    NodeOp node, llvm::function_ref<const RowExpr *(unsigned)> operand) {
  StringRef op = node.getOpType();
  const RowExpr *x = operand(0);
  // Clip alone may leave out inputs in the middle.
  unsigned count = op == "Clip" ? 1 : node.getInputs().size();
  SmallVector<const RowExpr *, 2> arguments;
  for (unsigned i = 0; i < count; ++i)
    if (const RowExpr *argument = operand(i))
      arguments.push_back(argument);
    else
      return nullptr;
  if (node.getDomain() == "com.microsoft") {
    if (op == "QuickGelu")
      return sigmoidGated(x, node.getF32("alpha", 1.702f));
    return op == "Gelu" ? geluErf(x) : nullptr;
  }
  if (auto function = simpleFunction(op))
    return apply(*function, arguments);
  if (op == "Relu")
    return relu(x);
  if (op == "Reciprocal")
    return apply(RowFunction::Div, {scalar(1), x});
  if (op == "Swish")
    return sigmoidGated(x, node.getF32("alpha", 1));
  if (op == "Gelu")
    return node.getString("approximate", "none") == "tanh" ? geluTanh(x)
                                                           : geluErf(x);
  if (op == "LeakyRelu") {
    const RowExpr *negative =
        apply(RowFunction::Mul, {scalar(node.getF32("alpha", 0.01f)),
                                 apply(RowFunction::Min, {x, scalar(0)})});
    return apply(RowFunction::Add, {relu(x), negative});
  }
  if (op == "Max" || op == "Min") {
    const RowExpr *result = x;
    for (const RowExpr *argument : llvm::drop_begin(arguments))
      result = apply(op == "Max" ? RowFunction::Max : RowFunction::Min,
                     {result, argument});
    return result;
  }
  if (op == "Clip") {
    // Bounds are attributes before operator set 11, inputs since.
    for (auto [index, name, function] :
         {std::tuple(1, "min", RowFunction::Max),
          std::tuple(2, "max", RowFunction::Min)}) {
      const RowExpr *bound = nullptr;
      if (node.input(index)) {
        bound = operand(index);
        if (!bound)
          return nullptr;
      } else if (auto attribute = node.getF32(name)) {
        bound = scalar(*attribute);
      }
      if (bound)
        x = apply(function, {x, bound});
    }
    return x;
  }
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Use
//===----------------------------------------------------------------------===//

void moe::forEachLinear(const RowExpr *expr,
                        llvm::function_ref<void(const RowExpr *)> visit) {
  SmallVector<const RowExpr *> stack = {expr};
  SmallPtrSet<const RowExpr *, 8> seen;
  while (!stack.empty()) {
    const RowExpr *current = stack.pop_back_val();
    if (!seen.insert(current).second)
      continue;
    if (current->kind == RowExpr::Linear)
      visit(current);
    for (const RowExpr *argument : llvm::reverse(current->arguments))
      stack.push_back(argument);
  }
}

static double evaluate(RowFunction function, ArrayRef<double> args) {
  double x = args[0];
  switch (function) {
  case RowFunction::Add:
    return x + args[1];
  case RowFunction::Sub:
    return x - args[1];
  case RowFunction::Mul:
    return x * args[1];
  case RowFunction::Div:
    return x / args[1];
  case RowFunction::Max:
    return std::max(x, args[1]);
  case RowFunction::Min:
    return std::min(x, args[1]);
  case RowFunction::Pow:
    return std::pow(x, args[1]);
  case RowFunction::Neg:
    return -x;
  case RowFunction::Abs:
    return std::abs(x);
  case RowFunction::Exp:
    return std::exp(x);
  case RowFunction::Log:
    return std::log(x);
  case RowFunction::Sqrt:
    return std::sqrt(x);
  case RowFunction::Tanh:
    return std::tanh(x);
  case RowFunction::Erf:
    return std::erf(x);
  case RowFunction::Sigmoid:
    return 1 / (1 + std::exp(-x));
  case RowFunction::Softplus:
    return std::log1p(std::exp(x));
  }
  llvm_unreachable("all functions are handled");
}

bool moe::isZeroForZeros(const RowExpr *expr) {
  // NaN where it is not known. Post-order, as below.
  DenseMap<const RowExpr *, double> values;
  SmallVector<std::pair<const RowExpr *, bool>> stack = {{expr, false}};
  while (!stack.empty()) {
    auto [current, ready] = stack.pop_back_val();
    if (values.contains(current))
      continue;
    if (current->kind == RowExpr::Scalar) {
      values[current] = current->scalar;
    } else if (!ready) {
      stack.push_back({current, true});
      if (current->kind == RowExpr::Linear && current->input)
        stack.push_back({current->input, false});
      for (const RowExpr *argument : current->arguments)
        stack.push_back({argument, false});
    } else if (current->kind == RowExpr::Linear) {
      bool zero =
          !current->bias && (!current->input || values.at(current->input) == 0);
      values[current] = zero ? 0 : std::numeric_limits<double>::quiet_NaN();
    } else {
      values[current] =
          evaluate(current->function,
                   llvm::map_to_vector<2>(current->arguments,
                                          [&](const RowExpr *argument) {
                                            return values.at(argument);
                                          }));
    }
  }
  return values.at(expr) == 0;
}

static Value emitFunction(OpBuilder &b, Location loc, Type type,
                          RowFunction function, ArrayRef<Value> args) {
  auto constant = [&](double value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, value));
  };
  Value x = args[0];
  switch (function) {
  case RowFunction::Add:
    return arith::AddFOp::create(b, loc, x, args[1]);
  case RowFunction::Sub:
    return arith::SubFOp::create(b, loc, x, args[1]);
  case RowFunction::Mul:
    return arith::MulFOp::create(b, loc, x, args[1]);
  case RowFunction::Div:
    return arith::DivFOp::create(b, loc, x, args[1]);
  case RowFunction::Max: // ONNX lets a NaN through, as these do
    return arith::MaximumFOp::create(b, loc, x, args[1]);
  case RowFunction::Min:
    return arith::MinimumFOp::create(b, loc, x, args[1]);
  case RowFunction::Pow:
    return math::PowFOp::create(b, loc, x, args[1]);
  case RowFunction::Neg:
    return arith::NegFOp::create(b, loc, x);
  case RowFunction::Abs:
    return math::AbsFOp::create(b, loc, x);
  case RowFunction::Exp:
    return math::ExpOp::create(b, loc, x);
  case RowFunction::Log:
    return math::LogOp::create(b, loc, x);
  case RowFunction::Sqrt:
    return math::SqrtOp::create(b, loc, x);
  case RowFunction::Tanh:
    return math::TanhOp::create(b, loc, x);
  case RowFunction::Erf:
    return math::ErfOp::create(b, loc, x);
  case RowFunction::Sigmoid: {
    // exp(-x) may overflow to infinity, of which the reciprocal is right.
    Value one = constant(1);
    Value exp = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x));
    return arith::DivFOp::create(b, loc, one,
                                 arith::AddFOp::create(b, loc, one, exp));
  }
  case RowFunction::Softplus: {
    // max(x, 0) + log(1 + exp(-|x|)), which does not overflow.
    Value exp = math::ExpOp::create(
        b, loc, arith::NegFOp::create(b, loc, math::AbsFOp::create(b, loc, x)));
    Value positive = arith::MaximumFOp::create(b, loc, x, constant(0));
    return arith::AddFOp::create(b, loc, positive,
                                 math::Log1pOp::create(b, loc, exp));
  }
  }
  llvm_unreachable("all functions are handled");
}

Value moe::emitScalar(OpBuilder &builder, Location loc, Type type,
                      const RowExpr *expr,
                      llvm::function_ref<Value(const RowExpr *)> linear) {
  DenseMap<const RowExpr *, Value> values;
  // Post-order without recursion: expressions come from strangers' graphs.
  SmallVector<std::pair<const RowExpr *, bool>> stack = {{expr, false}};
  while (!stack.empty()) {
    auto [current, ready] = stack.pop_back_val();
    if (values.contains(current))
      continue;
    if (current->kind == RowExpr::Linear) {
      values[current] = linear(current);
    } else if (current->kind == RowExpr::Scalar) {
      values[current] = arith::ConstantOp::create(
          builder, loc, builder.getFloatAttr(type, current->scalar));
    } else if (!ready) {
      stack.push_back({current, true});
      for (const RowExpr *argument : llvm::reverse(current->arguments))
        stack.push_back({argument, false});
    } else {
      auto args = llvm::map_to_vector<2>(
          current->arguments,
          [&](const RowExpr *argument) { return values.at(argument); });
      values[current] =
          emitFunction(builder, loc, type, current->function, args);
    }
  }
  return values.at(expr);
}
