//===- ExpertRows.cpp - what the nodes of an expert make of rows ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ExpertRows.h"

#include "llvm/ADT/SetVector.h"
#include <numeric>

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

/// An expert has some dozens of nodes; without a bound, a graph that is not an
/// expert at all would be searched back to its inputs.
static constexpr unsigned kMaxNodes = 512;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

namespace {
struct Matrix {
  ExpertOperand::Part part;
  bool transposed = false;
  /// Without the index.
  SmallVector<int64_t> shape;
};
} // namespace

/// A tensor that does not depend on what the model computes.
static bool isParameter(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape())
    return false;
  NodeOp node = definingNode(value);
  return !node || node.is("Constant");
}

/// The same, perhaps moved about or in part.
static bool isMadeOfParameter(Value value) {
  constexpr unsigned kMaxSteps = 8;
  for (unsigned step = 0; step < kMaxSteps; ++step) {
    if (isParameter(value))
      return true;
    NodeOp node = definingNode(value);
    if (!node || !node.input(0) ||
        !(movesAxes(node) || node.is("Gather") || node.is("Split") ||
          node.is("Slice")))
      return false;
    value = node.input(0);
  }
  return false;
}

/// The one index that `node` takes out of dimension 0 of its first input, if it
/// takes one.
static std::optional<int64_t> indexOf(NodeOp node, Value result) {
  auto first = [&](StringRef name, unsigned input) -> std::optional<int64_t> {
    auto values = intsOf(node, name, input);
    return values && values->size() == 1 ? std::optional((*values)[0])
                                         : std::nullopt;
  };
  auto type = dyn_cast<RankedTensorType>(node.input(0).getType());
  if (!type || type.getRank() == 0 || type.isDynamicDim(0))
    return std::nullopt;
  int64_t size = type.getDimSize(0);
  std::optional<int64_t> index;
  if (node.is("Gather") && node.getI64("axis", 0) == 0) {
    auto values = evaluateInts(node.input(1));
    if (values && values->size() == 1 && rankOf(node.input(1)) <= 1)
      index = (*values)[0];
  } else if (node.is("Split") && node.getI64("axis", 0) == 0 &&
             splitsIntoOnes(node, size)) {
    index = cast<OpResult>(result).getResultNumber();
  } else if (node.is("Slice") && (!node.input(3) || first("axes", 3) == 0) &&
             (!node.input(4) || first("steps", 4) == 1)) {
    auto start = first("starts", 1), end = first("ends", 2);
    if (start && end && *end == *start + 1)
      index = *start;
  }
  return index ? normalizeAxis(*index, size) : std::nullopt;
}

/// A weight, seen through transposes and the choice of one of several.
static std::optional<Matrix> matrixOf(Value value) {
  Matrix matrix;
  constexpr unsigned kMaxSteps = 8;
  for (unsigned step = 0; step < kMaxSteps; ++step) {
    NodeOp node = definingNode(value);
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type || !type.hasStaticShape())
      return std::nullopt;
    if (isParameter(value)) {
      matrix.part.value = value;
      matrix.shape.assign(type.getShape().begin(), type.getShape().end());
      if (matrix.part.index >= 0)
        matrix.shape.erase(matrix.shape.begin());
      return matrix;
    }
    if (node.is("Transpose")) {
      int64_t rank = type.getRank();
      auto perm = node.getI64s("perm");
      bool swaps = rank == 2 && matrix.part.index < 0 &&
                   (!perm || *perm == ArrayRef<int64_t>{1, 0});
      swaps |= rank == 3 && perm && *perm == ArrayRef<int64_t>{0, 2, 1};
      if (!swaps)
        return std::nullopt;
      matrix.transposed = !matrix.transposed;
    } else if (matrix.part.index < 0 && type.getRank() <= 3 &&
               (node.is("Gather") || node.is("Squeeze"))) {
      // Squeeze of a part of size 1.
      Value whole = value;
      NodeOp taker = node;
      if (node.is("Squeeze")) {
        auto axes = intsOf(node, "axes", 1);
        taker = definingNode(node.input(0));
        whole = node.input(0);
        if (!taker || !axes || axes->size() != 1 ||
            normalizeAxis((*axes)[0], rankOf(whole)) != 0)
          return std::nullopt;
      } else if (rankOf(node.input(1)) != 0) {
        return std::nullopt;
      }
      auto index = indexOf(taker, whole);
      if (!index)
        return std::nullopt;
      matrix.part.index = *index;
      node = taker;
    } else if (!node.is("Identity")) {
      return std::nullopt;
    }
    value = node.input(0);
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// The graph around
//===----------------------------------------------------------------------===//

SmallVector<Value, 2> ExpertRows::operandsOf(NodeOp node) {
  if (!node || !node.input(0))
    return {};
  if (node.is("MatMul") || node.is("Gemm"))
    return matrixOf(node.input(1)) ? SmallVector<Value, 2>{node.input(0)}
                                   : SmallVector<Value, 2>();
  if (movesAxes(node) || node.is("Split") || node.is("Slice"))
    return {node.input(0)};
  SmallVector<Value, 2> operands;
  if (isElementwise(node))
    for (Value operand : node.getInputs())
      if (!isa<NoneType>(operand.getType()) && !isMadeOfParameter(operand))
        operands.push_back(operand);
  return operands;
}

Value ExpertRows::commonInput(Value a, Value b) {
  llvm::SmallSetVector<Value, 32> cone;
  cone.insert(a);
  for (unsigned i = 0; i < cone.size() && i < kMaxNodes; ++i)
    for (Value operand : operandsOf(definingNode(cone[i])))
      cone.insert(operand);
  Value found;
  llvm::SmallSetVector<Value, 32> seen;
  seen.insert(b);
  for (unsigned i = 0; i < seen.size() && i < kMaxNodes; ++i) {
    if (!cone.contains(seen[i])) {
      for (Value operand : operandsOf(definingNode(seen[i])))
        seen.insert(operand);
      continue;
    }
    if (found)
      return {};
    found = seen[i];
  }
  return found;
}

Value ExpertRows::stackedInput(Value value, int64_t experts) {
  llvm::SmallSetVector<Value, 32> seen;
  seen.insert(value);
  Value innermost;
  for (unsigned i = 0; i < seen.size() && i < kMaxNodes; ++i) {
    NodeOp node = definingNode(seen[i]);
    // Breadth first: the last one is the farthest from `value`.
    if (node && node.is("MatMul"))
      if (auto matrix = matrixOf(node.input(1));
          matrix && matrix->shape.size() == 3 && matrix->shape[0] == experts)
        innermost = node.input(0);
    for (Value operand : operandsOf(node))
      seen.insert(operand);
  }
  return innermost;
}

//===----------------------------------------------------------------------===//
// Linear maps
//===----------------------------------------------------------------------===//

LogicalResult ExpertRows::visitProduct(NodeOp node) {
  const Rows *rows = lookup(node.input(0));
  auto matrix = matrixOf(node.input(1));
  if (!rows || !matrix)
    return rejection.at(node, "expects rows times a weight of static shape");
  bool gemm = node.is("Gemm");
  if (gemm && (node.getI64("transA", 0) != 0 || node.getF32("alpha", 1) != 1 ||
               (node.input(2) && node.getF32("beta", 1) != 1)))
    return rejection.at(node, "expects transA = 0, alpha = 1 and beta = 1");
  // [K, N] unless transposed, either when it is stored or by Gemm.
  bool inputMajor =
      matrix->transposed == (gemm && node.getI64("transB", 0) != 0);
  ArrayRef<int64_t> shape = matrix->shape;
  bool stacked = shape.size() == 3;
  if (shape.size() != 2 && !(stacked && shape[0] == context.experts))
    return rejection.at(node, "expects a weight of shape [K, N], or of shape "
                              "[E, K, N] for " +
                                  Twine(context.experts) + " experts");
  AxisLayout axes = rows->axes;
  if (axes.size() < 2 || !isAxis(axes.back(), AxisAtom::Feature))
    return rejection.at(node,
                        "expects rows of features, found " + describe(axes));
  // As many rows for each expert, or the same ones for all.
  bool perExpert = hasRole(axes, AxisAtom::Expert);
  bool fits = axes.size() == (perExpert ? 3 : 2) ||
              (!perExpert && axes.size() == 3 && axes[0].empty());
  if (stacked && (!fits || (perExpert && !isAxis(axes[0], AxisAtom::Expert))))
    return rejection.at(node, "expects rows [expert, token, feature] for the "
                              "weights of all experts, found " +
                                  describe(axes));
  if (!stacked && perExpert)
    return rejection.at(node, "expects one weight per expert, found one for "
                              "all of them");
  int64_t given = axes.back()[0].size;
  int64_t k = shape[shape.size() - (inputMajor ? 2 : 1)];
  int64_t n = shape[shape.size() - (inputMajor ? 1 : 2)];
  if (!ShapedType::isDynamic(given) && given != k)
    return rejection.at(node, "expects rows of " + Twine(k) +
                                  " elements, found " + Twine(given));
  axes.back() = {{AxisAtom::Feature, n}};
  if (stacked && axes.size() == 2)
    axes.insert(axes.begin(), Axis());
  if (stacked)
    axes[0] = context.expert();

  RowExpr linear;
  linear.kind = RowExpr::Linear;
  if (stacked)
    linear.weight = ExpertOperand(matrix->part.value);
  else
    linear.weight.parts.push_back(matrix->part);
  linear.inputMajor = inputMajor;
  linear.size = n;
  linear.input = rows->expr;
  linear.origin = node;
  Rows result{axes, pool.add(std::move(linear))};
  if (gemm && node.input(2))
    return addBias(node, result, node.input(2));
  define(node.output(0), std::move(result));
  return success();
}

/// `vector`, which is broadcast to `rows`, as one value per expert and feature.
std::optional<ExpertOperand> ExpertRows::biasOf(Value vector,
                                                const Rows &rows) {
  auto type = dyn_cast<RankedTensorType>(vector.getType());
  if (!type || !type.hasStaticShape() ||
      type.getRank() > static_cast<int64_t>(rows.axes.size()))
    return std::nullopt;
  int64_t n = rows.axes.back()[0].size, elements = n;
  for (int64_t i = 1; i <= type.getRank(); ++i) {
    const Axis &axis = rows.axes[rows.axes.size() - i];
    int64_t size = type.getDimSize(type.getRank() - i);
    bool experts = isAxis(axis, AxisAtom::Expert);
    if (size != (i == 1 ? n : experts ? context.experts : 1))
      return std::nullopt;
    if (experts)
      elements *= size;
  }
  // Dimensions of size 1 may have been added.
  constexpr unsigned kMaxSteps = 4;
  for (unsigned step = 0; step < kMaxSteps && !isParameter(vector); ++step) {
    NodeOp node = definingNode(vector);
    if (node.is("Unsqueeze") || node.is("Squeeze") || node.is("Reshape") ||
        node.is("Identity")) {
      if (node.is("Squeeze") && matrixOf(vector))
        break; // which chooses one of several
      vector = node.input(0);
    } else {
      break;
    }
  }
  auto matrix = matrixOf(vector);
  if (!matrix || matrix->transposed ||
      ShapedType::getNumElements(matrix->shape) != elements)
    return std::nullopt;
  if (!hasRole(rows.axes, AxisAtom::Expert)) {
    ExpertOperand bias;
    bias.parts.push_back(matrix->part);
    return bias;
  }
  if (matrix->part.index >= 0)
    return std::nullopt;
  return ExpertOperand(matrix->part.value);
}

LogicalResult ExpertRows::addBias(NodeOp node, const Rows &rows, Value vector) {
  if (rows.expr->kind != RowExpr::Linear || rows.expr->bias)
    return rejection.at(node, "expects a bias to be added to one projection");
  auto bias = biasOf(vector, rows);
  if (!bias)
    return rejection.at(node, "expects a constant bias of one element per "
                              "feature (and expert)");
  RowExpr linear = *rows.expr;
  linear.bias = *bias;
  linear.biasBegin = 0;
  linear.biasStep = 1;
  define(node.output(0), {rows.axes, pool.add(std::move(linear))});
  return success();
}

bool moe::splitsIntoOnes(NodeOp split, int64_t size) {
  if (static_cast<int64_t>(split.getOutputs().size()) != size)
    return false;
  // As many parts as there are elements: one each, unless sizes say else.
  if (auto sizes = split.getI64s("split"))
    return llvm::all_of(*sizes, [](int64_t part) { return part == 1; });
  return !split.input(1) || splatOf(split.input(1)) == 1;
}

LogicalResult moe::takeParts(NodeOp node, const Rows &rows, RowExprPool &pool,
                             Rejection &rejection,
                             llvm::function_ref<void(Value, Rows)> define) {
  if (!rows.expr || rows.expr->kind != RowExpr::Linear)
    return rejection.at(node, "expects a part of one projection of the rows");
  int64_t rank = rows.axes.size();
  const RowExpr &whole = *rows.expr;

  auto part = [&](Value result, int64_t axis, int64_t begin, int64_t size,
                  int64_t step) {
    RowExpr linear = whole;
    linear.begin += begin * whole.step;
    linear.biasBegin += begin * whole.biasStep;
    linear.size = size;
    linear.step *= step;
    linear.biasStep *= step;
    AxisLayout axes = rows.axes;
    axes[axis] = {{AxisAtom::Feature, size}};
    define(result, {axes, pool.add(std::move(linear))});
  };
  auto isFeature = [&](std::optional<int64_t> axis) {
    return axis && isAxis(rows.axes[*axis], AxisAtom::Feature);
  };
  if (node.is("Split")) {
    auto axis = normalizeAxis(node.getI64("axis", 0), rank);
    if (!isFeature(axis))
      return rejection.at(node, "expects a split of the features");
    int64_t count = node.getOutputs().size();
    SmallVector<int64_t> sizes(count, llvm::divideCeil(whole.size, count));
    if (node.input(1) || node.hasAttr("split")) {
      auto given = intsOf(node, "split", 1);
      if (!given || static_cast<int64_t>(given->size()) != count)
        return rejection.at(node, "expects constant sizes of the parts");
      sizes = *given;
    } else {
      sizes.back() = whole.size - (count - 1) * sizes[0];
    }
    if (std::accumulate(sizes.begin(), sizes.end(), int64_t(0)) != whole.size ||
        llvm::any_of(sizes, [](int64_t size) { return size <= 0; }))
      return rejection.at(node,
                          "expects parts that add up to " + Twine(whole.size));
    for (int64_t i = 0, begin = 0; i < count; begin += sizes[i++])
      part(node.output(i), *axis, begin, sizes[i], 1);
    return success();
  }

  auto starts = intsOf(node, "starts", 1), ends = intsOf(node, "ends", 2);
  std::optional<SmallVector<int64_t>> axes = SmallVector<int64_t>{0};
  if (node.input(3) || node.hasAttr("axes"))
    axes = intsOf(node, "axes", 3);
  std::optional<SmallVector<int64_t>> steps = SmallVector<int64_t>{1};
  if (node.input(4))
    steps = evaluateInts(node.input(4));
  if (!starts || !ends || !axes || !steps || starts->size() != 1 ||
      ends->size() != 1 || axes->size() != 1 || steps->size() != 1 ||
      (*steps)[0] < 1)
    return rejection.at(node,
                        "expects a slice with constant bounds and a positive "
                        "step");
  auto axis = normalizeAxis((*axes)[0], rank);
  if (!isFeature(axis))
    return rejection.at(node, "expects a slice of the features");
  auto clamp = [&](int64_t at) {
    if (at < 0)
      at = at < -whole.size ? 0 : at + whole.size;
    return std::min(at, whole.size);
  };
  int64_t begin = clamp((*starts)[0]), end = clamp((*ends)[0]);
  if (begin >= end)
    return rejection.at(node, "expects a slice that is not empty");
  part(node.output(0), *axis, begin, llvm::divideCeil(end - begin, (*steps)[0]),
       (*steps)[0]);
  return success();
}

//===----------------------------------------------------------------------===//
// Elementwise operators and the driver
//===----------------------------------------------------------------------===//

LogicalResult ExpertRows::visitElementwise(NodeOp node) {
  SmallVector<const Rows *> operands;
  std::optional<AxisLayout> axes;
  Value vector;
  for (auto [i, operand] : llvm::enumerate(node.getInputs())) {
    const Rows *rows = lookup(operand);
    operands.push_back(rows);
    if (isa<NoneType>(operand.getType()))
      continue;
    if (rows) {
      if (!rows->expr)
        return rejection.at(node, "expects a projection of the tokens before "
                                  "anything else is done with them");
      axes = axes ? broadcastAxes(*axes, rows->axes) : rows->axes;
      if (!axes)
        return rejection.at(node, "expects operands whose axes line up");
    } else if (!scalarConstantOf(operand)) {
      if (vector || !node.is("Add"))
        return rejection.at(node,
                            "expects operands that are rows of one expert or "
                            "one constant, found another tensor as operand " +
                                Twine(i));
      vector = operand;
    }
  }
  for (const Rows *rows : operands)
    if (rows && rows->axes != *axes)
      return rejection.at(node, "expects rows of one shape");
  if (vector)
    return addBias(node, *operands[vector == node.input(0) ? 1 : 0], vector);
  const RowExpr *expr =
      pool.elementwise(node, [&](unsigned i) -> const RowExpr * {
        if (i >= operands.size() || !node.input(i))
          return nullptr;
        return operands[i] ? operands[i]->expr
                           : pool.scalar(*scalarConstantOf(node.input(i)));
      });
  if (!expr)
    return rejection.at(node, "expects an activation that is known element by "
                              "element");
  define(node.output(0), {*axes, expr});
  return success();
}

LogicalResult ExpertRows::visit(NodeOp node) {
  if (node.is("MatMul") || node.is("Gemm"))
    return visitProduct(node);
  if (isElementwise(node))
    return visitElementwise(node);
  const Rows *rows = node.input(0) ? lookup(node.input(0)) : nullptr;
  if (rows && movesAxes(node)) {
    if (node.is("Cast") &&
        !isa_and_nonnull<FloatType>(elementTypeOf(node.output(0))))
      return rejection.at(node, "expects a cast between float types");
    Rows source = *rows;
    auto axes = moveAxes(node, source.axes, context, rejection);
    if (failed(axes))
      return failure();
    define(node.output(0), {*axes, source.expr});
    return success();
  }
  if (rows && (node.is("Split") || node.is("Slice"))) {
    Rows source = *rows;
    return takeParts(
        node, source, pool, rejection,
        [&](Value result, Rows part) { define(result, std::move(part)); });
  }
  return rejection.at(node, "expects an operator that multiplies or activates "
                            "the rows of an expert");
}

const Rows *ExpertRows::evaluate(Value value) {
  SmallVector<std::pair<Value, bool>> stack = {{value, false}};
  unsigned nodes = 0;
  while (!stack.empty()) {
    auto [current, ready] = stack.pop_back_val();
    if (lookup(current))
      continue;
    NodeOp node = definingNode(current);
    auto operands = operandsOf(node);
    if (operands.empty() || ++nodes > kMaxNodes) {
      (void)rejection.at(node ? node.getOperation() : value.getDefiningOp(),
                         "expects rows that an expert computes for tokens");
      return nullptr;
    }
    if (ready) {
      if (failed(visit(node)))
        return nullptr;
      continue;
    }
    stack.push_back({current, true});
    for (Value operand : operands)
      stack.push_back({operand, false});
  }
  return lookup(value);
}
