//===- Matchers.cpp - what the recognisers of ONNX idioms share -----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/ONNXToMoE/Matchers.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

/// How far a value is traced back. Longer chains of operators that keep a
/// dimension do not occur between the two ends of one block.
static constexpr unsigned kMaxDepth = 32;
static constexpr unsigned kMaxSteps = 512;

namespace {
/// Bounds the walk over a graph in which values are shared: by its depth, and
/// by the number of steps of the whole query.
struct Budget {
  unsigned depth;
  unsigned *steps;

  bool spent() const { return depth == 0 || *steps == 0; }
  Budget next() const {
    --*steps;
    return {depth - 1, steps};
  }
};
} // namespace

//===----------------------------------------------------------------------===//
// Rejections
//===----------------------------------------------------------------------===//

LogicalResult Rejection::at(Operation *where, const llvm::Twine &why) {
  if (!op) {
    op = where;
    reason = why.str();
  }
  return failure();
}

std::string Rejection::subject() const {
  if (auto node = dyn_cast_or_null<NodeOp>(op))
    return node.describe();
  return op ? ("operation '" + op->getName().getStringRef() + "'").str()
            : std::string("the graph's input");
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

NodeOp moe::definingNode(Value value) {
  return value ? value.getDefiningOp<NodeOp>() : NodeOp();
}

NodeOp moe::definingNode(Value value, StringRef opType) {
  NodeOp node = definingNode(value);
  return node && node.is(opType) ? node : NodeOp();
}

int64_t moe::rankOf(Value value) {
  auto type =
      dyn_cast_or_null<RankedTensorType>(value ? value.getType() : Type());
  return type ? type.getRank() : -1;
}

Type moe::elementTypeOf(Value value) {
  auto type = dyn_cast_or_null<TensorType>(value ? value.getType() : Type());
  return type ? type.getElementType() : Type();
}

std::optional<int64_t> moe::normalizeAxis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return std::nullopt;
  return axis < 0 ? axis + rank : axis;
}

Value moe::skipFloatCasts(Value value) {
  while (NodeOp node = definingNode(value)) {
    bool cast = node.is("Cast") || node.is("CastLike");
    if (!cast && !node.is("Identity"))
      break;
    Value source = node.input(0);
    if (!source ||
        (cast && (!isa_and_nonnull<FloatType>(elementTypeOf(source)) ||
                  !isa_and_nonnull<FloatType>(elementTypeOf(value)))))
      break;
    value = source;
  }
  return value;
}

/// Whether `wide` holds every value of `narrow`.
static bool holdsAll(FloatType wide, FloatType narrow) {
  const llvm::fltSemantics &w = wide.getFloatSemantics();
  const llvm::fltSemantics &n = narrow.getFloatSemantics();
  return llvm::APFloat::isRepresentableBy(n, w);
}

Value moe::skipExactCasts(Value value) {
  while (NodeOp node = definingNode(value)) {
    bool cast = node.is("Cast") || node.is("CastLike");
    if (!cast && !node.is("Identity"))
      break;
    Value source = node.input(0);
    if (!source)
      break;
    if (cast) {
      auto to = dyn_cast_or_null<FloatType>(elementTypeOf(value));
      auto from = dyn_cast_or_null<FloatType>(elementTypeOf(source));
      bool same = elementTypeOf(source) &&
                  elementTypeOf(value) == elementTypeOf(source);
      if (!same && (!to || !from || !holdsAll(to, from)))
        break;
    }
    value = source;
  }
  return value;
}

DenseElementsAttr moe::constantOf(Value value) {
  while (NodeOp node = definingNode(value, "Identity"))
    value = node.input(0);
  DenseElementsAttr elements;
  if (value && matchPattern(value, m_Constant(&elements)))
    return elements;
  if (NodeOp node = definingNode(value, "Constant"))
    return dyn_cast_or_null<DenseElementsAttr>(node.getTensorAttr("value"));
  return {};
}

std::optional<double> moe::scalarConstantOf(Value value) {
  double sign = 1;
  for (unsigned step = 0; step < kMaxDepth; ++step) {
    value = skipFloatCasts(value);
    if (DenseElementsAttr elements = constantOf(value)) {
      if (elements.getNumElements() != 1 ||
          !isa<FloatType>(elements.getElementType()))
        return std::nullopt;
      llvm::APFloat element = *elements.value_begin<llvm::APFloat>();
      bool losesInfo;
      element.convert(llvm::APFloat::IEEEdouble(),
                      llvm::APFloat::rmNearestTiesToEven, &losesInfo);
      return sign * element.convertToDouble();
    }
    NodeOp node = definingNode(value);
    if (!node)
      return std::nullopt;
    if (node.is("Neg"))
      sign = -sign;
    else if (!node.is("Reshape") && !node.is("Unsqueeze") &&
             !node.is("Squeeze"))
      return std::nullopt;
    value = node.input(0);
  }
  return std::nullopt;
}

std::optional<double> moe::splatOf(Value value) {
  for (unsigned step = 0; step < kMaxDepth && value; ++step) {
    DenseElementsAttr elements = constantOf(value);
    NodeOp node = definingNode(value);
    if (node && node.is("ConstantOfShape")) {
      if (!node.hasAttr("value"))
        return 0;
      elements = dyn_cast_or_null<DenseElementsAttr>(
          Attribute(node.getTensorAttr("value")));
      if (!elements)
        return std::nullopt;
    }
    if (elements) {
      if (elements.empty() || !elements.getElementType().isIntOrFloat())
        return std::nullopt;
      if (isa<IntegerType>(elements.getElementType())) {
        auto values = elements.getValues<llvm::APInt>();
        if (!llvm::all_equal(values))
          return std::nullopt;
        llvm::APInt first = *values.begin();
        return first.getBitWidth() == 1 ? first.getZExtValue()
                                        : first.getSExtValue();
      }
      auto values = elements.getValues<llvm::APFloat>();
      llvm::APFloat first = *values.begin();
      for (const llvm::APFloat &element : values)
        if (!element.bitwiseIsEqual(first))
          return std::nullopt;
      bool losesInfo;
      first.convert(llvm::APFloat::IEEEdouble(),
                    llvm::APFloat::rmNearestTiesToEven, &losesInfo);
      return first.convertToDouble();
    }
    if (!node ||
        !(node.is("Expand") || node.is("Reshape") || node.is("Unsqueeze") ||
          node.is("Squeeze") || node.is("Tile")))
      return std::nullopt;
    value = node.input(0);
  }
  return std::nullopt;
}

bool moe::isZeroAndOne(Value value) {
  DenseElementsAttr elements = constantOf(value);
  if (!elements || elements.getNumElements() != 2)
    return false;
  if (isa<IntegerType>(elements.getElementType())) {
    auto values = elements.getValues<llvm::APInt>();
    return values[0] == 0 && values[1] == 1;
  }
  if (!isa<FloatType>(elements.getElementType()))
    return false;
  auto values = elements.getValues<llvm::APFloat>();
  return values[0].isZero() && values[1].isExactlyValue(1);
}

bool moe::isIota(Value value, int64_t count) {
  DenseElementsAttr all = constantOf(value);
  if (!all || !isa<IntegerType>(all.getElementType()) ||
      all.getNumElements() != count)
    return false;
  return llvm::all_of(
      llvm::enumerate(all.getValues<llvm::APInt>()),
      [](const auto &element) { return element.value() == element.index(); });
}

bool moe::isIotaRow(Value value, int64_t count) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() > 0 && type.getShape().back() == count &&
         isIota(value, count);
}

Value moe::skipNoOps(Value value) {
  while (true) {
    value = skipExactCasts(value);
    NodeOp node = definingNode(value, "Reshape");
    if (!node || rankOf(value) != 2 || rankOf(node.input(0)) != 2)
      return value;
    // Of as many elements, with rows as long as before.
    int64_t width = cast<RankedTensorType>(value.getType()).getDimSize(1);
    if (ShapedType::isDynamic(width) || width == 0 ||
        cast<RankedTensorType>(node.input(0).getType()).getDimSize(1) != width)
      return value;
    value = node.input(0);
  }
}

//===----------------------------------------------------------------------===//
// Shape arithmetic
//===----------------------------------------------------------------------===//

bool SymbolicDim::operator==(const SymbolicDim &other) const {
  if (constant || other.constant)
    return constant && other.constant && *constant == *other.constant;
  if (!value || bool(otherValue) != bool(other.otherValue))
    return false;
  bool same = value == other.value && dim == other.dim;
  if (!otherValue)
    return same;
  return (same && otherValue == other.otherValue &&
          otherDim == other.otherDim) ||
         (value == other.otherValue && dim == other.otherDim &&
          otherValue == other.value && otherDim == other.dim);
}

/// The product of two sizes, as far as it can be told.
static SymbolicDim multiply(const SymbolicDim &a, const SymbolicDim &b) {
  if (a.constant == 1)
    return b;
  if (b.constant == 1)
    return a;
  int64_t product;
  if (a.constant && b.constant)
    return llvm::MulOverflow(*a.constant, *b.constant, product)
               ? SymbolicDim()
               : SymbolicDim::of(product);
  if (!a.value || !b.value || a.otherValue || b.otherValue)
    return {};
  return {{}, a.value, a.dim, b.value, b.dim};
}

static SymbolicDim dimOf(Value value, int64_t dim, Budget budget);
static std::optional<SmallVector<SymbolicDim>> evaluateShape(Value value,
                                                             Budget budget);
static std::optional<SmallVector<int64_t>> evaluateInts(Value value,
                                                        Budget budget);

/// The product of the first `count` dimensions.
static SymbolicDim leadingOf(Value value, int64_t count, Budget budget) {
  SymbolicDim product = SymbolicDim::of(1);
  for (int64_t i = 0; i < count; ++i)
    product = multiply(product, dimOf(value, i, budget));
  if (product.isKnown() || count != rankOf(value) - 1)
    return product;
  return SymbolicDim::of(value, SymbolicDim::kLeading);
}

/// Operators whose result has the shape of their first input.
static bool keepsShape(NodeOp node) {
  static constexpr StringLiteral names[] = {"Abs",         "Cast",
                                            "Ceil",        "Celu",
                                            "Clip",        "CumSum",
                                            "Elu",         "Erf",
                                            "Exp",         "Floor",
                                            "Gelu",        "HardSwish",
                                            "HardSigmoid", "Identity",
                                            "IsInf",       "IsNaN",
                                            "LeakyRelu",   "Log",
                                            "LogSoftmax",  "Mish",
                                            "Neg",         "Not",
                                            "Reciprocal",  "Relu",
                                            "Round",       "ScatterElements",
                                            "ScatterND",   "Selu",
                                            "Sigmoid",     "Sign",
                                            "Softmax",     "Softplus",
                                            "Softsign",    "Sqrt",
                                            "Swish",       "Tanh",
                                            "Trilu"};
  return llvm::is_contained(names, node.getOpType());
}

static bool broadcasts(NodeOp node) {
  static constexpr StringLiteral names[] = {
      "Add",  "And",         "Div", "Equal", "Greater", "GreaterOrEqual",
      "Less", "LessOrEqual", "Max", "Min",   "Mod",     "Mul",
      "Or",   "Pow",         "Sub", "Sum",   "Where",   "Xor"};
  return llvm::is_contained(names, node.getOpType());
}

/// Dimension `dim` of Reshape's or Flatten's result, as far as it is that of
/// the source.
static SymbolicDim reshapedDim(NodeOp node, int64_t dim, Budget budget) {
  Value source = node.input(0), result = node.output(0);
  SymbolicDim unknown = SymbolicDim::of(result, dim);
  auto sourceType = dyn_cast<RankedTensorType>(source.getType());
  auto target = evaluateShape(node.input(1), budget);
  if (!target || dim >= static_cast<int64_t>(target->size()))
    return unknown;
  SymbolicDim element = (*target)[dim];
  if (!element.constant)
    return element.isKnown() ? element : unknown;
  if (*element.constant > 0 ||
      (*element.constant == 0 && node.getI64("allowzero", 0) != 0))
    return element;
  if (!sourceType)
    return unknown;
  if (*element.constant == 0)
    return dim < sourceType.getRank() ? dimOf(source, dim, budget) : unknown;
  // [-1, ...] of a source that ends with as many elements as the rest.
  if (dim != 0 || !sourceType)
    return unknown;
  int64_t rest = 1;
  for (const SymbolicDim &size : ArrayRef(*target).drop_front())
    if (!size.constant || *size.constant <= 0 ||
        llvm::MulOverflow(rest, *size.constant, rest))
      return unknown;
  int64_t rank = sourceType.getRank(), tail = 1, first = rank;
  for (; first > 1; --first) {
    SymbolicDim size = dimOf(source, first - 1, budget);
    if (!size.constant || *size.constant <= 0 ||
        (tail == rest && *size.constant != 1) ||
        llvm::MulOverflow(tail, *size.constant, tail))
      break;
  }
  if (tail != rest)
    return unknown;
  SymbolicDim leading = leadingOf(source, first, budget);
  return leading.isKnown() ? leading : unknown;
}

/// Operators that broadcast: the operand that decides dimension `dim`, when the
/// others have size 1 there. Only for Where, a mask over what it masks, is it
/// worth to compare sizes: in a residual stream both operands lead through all
/// layers before.
static SymbolicDim broadcastDim(NodeOp node, int64_t dim, Budget budget) {
  SymbolicDim unknown = SymbolicDim::of(node.output(0), dim);
  int64_t fromEnd = rankOf(node.output(0)) - dim;
  SmallVector<Value, 3> deciding;
  for (Value operand : node.getInputs()) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!type)
      return unknown;
    if (type.getRank() >= fromEnd &&
        type.getDimSize(type.getRank() - fromEnd) != 1)
      deciding.push_back(operand);
  }
  if (deciding.empty() || (deciding.size() > 1 && !node.is("Where")))
    return unknown;
  SymbolicDim first;
  for (Value operand : deciding) {
    SymbolicDim size = dimOf(operand, rankOf(operand) - fromEnd, budget);
    if (first.isKnown() && !(first == size))
      return unknown;
    first = size;
  }
  return first;
}

static SymbolicDim expandedDim(NodeOp node, int64_t dim, Budget budget) {
  SymbolicDim unknown = SymbolicDim::of(node.output(0), dim);
  auto source = dyn_cast<RankedTensorType>(node.input(0).getType());
  auto sizes = evaluateShape(node.input(1), budget);
  if (!source || !sizes)
    return unknown;
  int64_t rank = rankOf(node.output(0));
  int64_t at = dim - rank + static_cast<int64_t>(sizes->size());
  SymbolicDim size = at < 0 ? SymbolicDim::of(1) : (*sizes)[at];
  // The greater one of the two sizes, of which one may be 1.
  if (size.constant && *size.constant > 1)
    return size;
  int64_t from = dim - rank + source.getRank();
  if (from < 0 || source.getDimSize(from) == 1)
    return size.isKnown() ? size : unknown;
  return size.constant == 1 ? dimOf(node.input(0), from, budget) : unknown;
}

/// Dimension `dim` of the result of a reduction, Squeeze or Unsqueeze: that of
/// the source which it was, or none.
static std::optional<int64_t> sourceDim(NodeOp node, int64_t dim) {
  bool unsqueeze = node.is("Unsqueeze");
  bool keep =
      !unsqueeze && !node.is("Squeeze") && node.getI64("keepdims", 1) != 0;
  auto axes = node.is("ArgMax")
                  ? std::optional(SmallVector<int64_t>{node.getI64("axis", 0)})
                  : intsOf(node, "axes", 1);
  int64_t rank = rankOf(unsqueeze ? node.output(0) : node.input(0));
  if (!axes || rank < 0)
    return std::nullopt;
  SmallVector<bool> named(rank, false);
  for (int64_t axis : *axes) {
    auto at = normalizeAxis(axis, rank);
    if (!at)
      return std::nullopt;
    named[*at] = true;
  }
  if (keep || unsqueeze) {
    if (named[dim])
      return std::nullopt;
    return keep ? dim
                : dim - llvm::count(ArrayRef(named).take_front(dim), true);
  }
  for (int64_t i = 0; i < rank; ++i)
    if (!named[i] && dim-- == 0)
      return i;
  return std::nullopt;
}

static SymbolicDim dimOf(Value value, int64_t dim, Budget budget) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || dim >= type.getRank())
    return {};
  if (!type.isDynamicDim(dim))
    return SymbolicDim::of(type.getDimSize(dim));
  SymbolicDim here = SymbolicDim::of(value, dim);
  NodeOp node = definingNode(value);
  if (!node || !node.getDomain().empty() || !node.input(0) || budget.spent())
    return here;
  budget = budget.next();
  StringRef op = node.getOpType();
  Value source = node.input(0);
  if (keepsShape(node))
    return dimOf(source, dim, budget);
  if (broadcasts(node))
    return broadcastDim(node, dim, budget);
  if (op.starts_with("Reduce") || op == "ArgMax" || op == "Squeeze" ||
      op == "Unsqueeze") {
    auto at = sourceDim(node, dim);
    return at ? dimOf(source, *at, budget) : here;
  }
  if (op == "GatherElements")
    return dimOf(node.input(1), dim, budget);
  if (op == "Gather") {
    auto axis = normalizeAxis(node.getI64("axis", 0), rankOf(source));
    int64_t indexRank = node.input(1) ? rankOf(node.input(1)) : -1;
    if (!axis || indexRank < 0)
      return here;
    if (dim < *axis)
      return dimOf(source, dim, budget);
    return dim < *axis + indexRank ? dimOf(node.input(1), dim - *axis, budget)
                                   : dimOf(source, dim - indexRank + 1, budget);
  }
  if (op == "ConstantOfShape") {
    auto sizes = evaluateShape(source, budget);
    return sizes && (*sizes)[dim].isKnown() ? (*sizes)[dim] : here;
  }
  if (op == "Expand")
    return expandedDim(node, dim, budget);
  if (op == "TopK" || op == "Concat") {
    auto axis = normalizeAxis(node.getI64("axis", -1), type.getRank());
    return axis && *axis != dim ? dimOf(source, dim, budget) : here;
  }
  if (op == "Gemm") {
    Value other = node.input(1);
    bool left = dim == 0;
    bool transposed = node.getI64(left ? "transA" : "transB", 0) != 0;
    return dimOf(left ? source : other, transposed != left ? 0 : 1, budget);
  }
  if (op == "MatMul") {
    Value other = node.input(1);
    int64_t rank = type.getRank();
    if (dim == rank - 1 && rankOf(other) >= 2)
      return dimOf(other, rankOf(other) - 1, budget);
    if (dim < rank - 1 && rankOf(source) == rank &&
        (dim == rank - 2 || rankOf(other) <= 2))
      return dimOf(source, dim, budget);
    return here;
  }
  if (op == "Reshape")
    return reshapedDim(node, dim, budget);
  if (op == "Transpose") {
    auto perm = node.getI64s("perm");
    int64_t rank = rankOf(source);
    if (rank != type.getRank() ||
        (perm && static_cast<int64_t>(perm->size()) != rank))
      return here;
    return dimOf(source, perm ? (*perm)[dim] : rank - 1 - dim, budget);
  }
  return here;
}

SymbolicDim moe::dimOf(Value value, int64_t dim) {
  unsigned steps = kMaxSteps;
  return ::dimOf(value, dim, {kMaxDepth, &steps});
}

SymbolicDim moe::rowsOf(Value value) {
  unsigned steps = kMaxSteps;
  return leadingOf(value, rankOf(value) - 1, {kMaxDepth, &steps});
}

using Dims = SmallVector<SymbolicDim>;

static std::optional<Dims> shapeOf(NodeOp node, Budget budget) {
  int64_t rank = rankOf(node.input(0));
  if (rank < 0)
    return std::nullopt;
  // start and end are clamped to [0, rank].
  auto clamp = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  Dims dims;
  for (int64_t i = clamp(node.getI64("start", 0)),
               e = clamp(node.getI64("end", rank));
       i < e; ++i)
    dims.push_back(dimOf(node.input(0), i, budget));
  return dims;
}

static std::optional<Dims> slicedDims(NodeOp node, Budget budget) {
  auto source = evaluateShape(node.input(0), budget);
  auto first = [&](StringRef name, unsigned input,
                   std::optional<int64_t> otherwise) -> std::optional<int64_t> {
    if (!node.input(input) && !node.hasAttr(name))
      return otherwise;
    std::optional<SmallVector<int64_t>> values;
    if (auto attribute = node.getI64s(name))
      values = llvm::to_vector(*attribute);
    else
      values = evaluateInts(node.input(input), budget);
    return values && values->size() == 1 ? std::optional((*values)[0])
                                         : std::nullopt;
  };
  auto start = first("starts", 1, std::nullopt),
       end = first("ends", 2, std::nullopt), axis = first("axes", 3, 0),
       step = first("steps", 4, 1);
  if (!source || !start || !end || !axis || !step || *step != 1 ||
      (*axis != 0 && *axis != -1))
    return std::nullopt;
  int64_t size = source->size();
  auto clamp = [&](int64_t at) {
    if (at < 0)
      at = at < -size ? 0 : at + size;
    return std::min(at, size);
  };
  int64_t from = clamp(*start), to = clamp(*end);
  if (from >= to)
    return Dims();
  return Dims(source->begin() + from, source->begin() + to);
}

/// Integer arithmetic on constants; anything else gives unknown elements.
static std::optional<Dims> computedDims(NodeOp node, Budget budget) {
  auto lhs = evaluateShape(node.input(0), budget);
  auto rhs = evaluateShape(node.input(1), budget);
  if (!lhs || !rhs ||
      (lhs->size() != rhs->size() && lhs->size() != 1 && rhs->size() != 1) ||
      lhs->empty() || rhs->empty())
    return std::nullopt;
  Dims dims(std::max(lhs->size(), rhs->size()));
  for (size_t i = 0; i < dims.size(); ++i) {
    SymbolicDim a = (*lhs)[lhs->size() == 1 ? 0 : i];
    SymbolicDim b = (*rhs)[rhs->size() == 1 ? 0 : i];
    if (node.is("Mul"))
      dims[i] = multiply(a, b);
    else if (node.is("Div") && b.constant == 1)
      dims[i] = a;
    if (!a.constant || !b.constant)
      continue;
    int64_t x = *a.constant, y = *b.constant, result;
    bool overflow = true;
    if (node.is("Add"))
      overflow = llvm::AddOverflow(x, y, result);
    else if (node.is("Sub"))
      overflow = llvm::SubOverflow(x, y, result);
    else if (node.is("Equal")) {
      result = x == y;
      overflow = false;
    } else if (node.is("Div") && y > 0 && x >= 0) {
      result = x / y; // where rounding to zero and to minus infinity agree
      overflow = false;
    }
    if (!overflow)
      dims[i] = SymbolicDim::of(result);
  }
  return dims;
}

/// Where with a condition that is known, with which exporters replace -1.
static std::optional<Dims> chosenDims(NodeOp node, Budget budget) {
  auto condition = evaluateInts(node.input(0), budget);
  auto first = evaluateShape(node.input(1), budget);
  auto second = evaluateShape(node.input(2), budget);
  if (!condition || !first || !second || first->size() != condition->size() ||
      second->size() != condition->size())
    return std::nullopt;
  Dims dims;
  for (auto [chosen, a, b] : llvm::zip_equal(*condition, *first, *second))
    dims.push_back(chosen ? a : b);
  return dims;
}

/// OneHot of constants, with which torch writes the repeats of a tile.
static std::optional<Dims> oneHotDims(NodeOp node, Budget budget) {
  auto indices = evaluateInts(node.input(0), budget);
  auto length = evaluateInts(node.input(1), budget);
  auto values = evaluateShape(node.input(2), budget);
  if (!indices || indices->size() != 1 || !length || length->size() != 1 ||
      !values || values->size() != 2)
    return std::nullopt;
  int64_t size = (*length)[0];
  auto at = normalizeAxis((*indices)[0], size);
  if (size < 0 || size > 16 || !at)
    return std::nullopt;
  Dims dims(size, (*values)[0]);
  dims[*at] = (*values)[1];
  return dims;
}

static std::optional<Dims> evaluateShape(Value value, Budget budget) {
  if (!value || budget.spent())
    return std::nullopt;
  if (DenseElementsAttr elements = constantOf(value)) {
    if (!elements.getElementType().isSignlessInteger() ||
        elements.getElementType().isInteger(1) ||
        elements.getNumElements() > 64)
      return std::nullopt;
    return llvm::map_to_vector<6>(
        elements.getValues<llvm::APInt>(), [](const llvm::APInt &element) {
          return SymbolicDim::of(element.getSExtValue());
        });
  }
  NodeOp node = definingNode(value);
  if (!node || !node.getDomain().empty() || !node.input(0))
    return std::nullopt;
  budget = budget.next();
  StringRef op = node.getOpType();
  if (op == "Shape")
    return shapeOf(node, budget);
  if (op == "Slice")
    return slicedDims(node, budget);
  if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div" || op == "Equal")
    return computedDims(node, budget);
  if (op == "Where")
    return chosenDims(node, budget);
  if (op == "ConstantOfShape") {
    auto length = evaluateInts(node.input(0), budget);
    auto value = splatOf(node.output(0));
    if (!length || length->size() != 1 || (*length)[0] < 0 ||
        (*length)[0] > 64 || !value)
      return std::nullopt;
    return Dims((*length)[0], SymbolicDim::of(static_cast<int64_t>(*value)));
  }
  if (op == "OneHot")
    return oneHotDims(node, budget);
  if (op == "Cast" && !isa_and_nonnull<IntegerType>(elementTypeOf(value)))
    return std::nullopt;
  if (op == "Identity" || op == "Cast" || op == "Squeeze" ||
      op == "Unsqueeze" || op == "Reshape")
    return evaluateShape(node.input(0), budget);
  if (op == "Gather") {
    auto data = evaluateShape(node.input(0), budget);
    auto indices = evaluateInts(node.input(1), budget);
    auto axis = node.getI64("axis", 0);
    if (!data || !indices || (axis != 0 && axis != -1))
      return std::nullopt;
    Dims dims;
    for (int64_t index : *indices) {
      auto at = normalizeAxis(index, data->size());
      if (!at)
        return std::nullopt;
      dims.push_back((*data)[*at]);
    }
    return dims;
  }
  if (op == "Concat") {
    Dims dims;
    for (Value part : node.getInputs()) {
      auto elements = evaluateShape(part, budget);
      if (!elements) {
        // Something that is not understood, of a length that is.
        auto type = dyn_cast<RankedTensorType>(part.getType());
        if (!type || type.getRank() != 1 || type.isDynamicDim(0) ||
            type.getDimSize(0) > 64)
          return std::nullopt;
        elements = Dims(type.getDimSize(0));
      }
      dims.append(*elements);
    }
    return dims;
  }
  return std::nullopt;
}

std::optional<SmallVector<SymbolicDim>> moe::evaluateShape(Value value) {
  unsigned steps = kMaxSteps;
  return ::evaluateShape(value, {kMaxDepth, &steps});
}

static std::optional<SmallVector<int64_t>> evaluateInts(Value value,
                                                        Budget budget) {
  auto dims = evaluateShape(value, budget);
  if (!dims)
    return std::nullopt;
  SmallVector<int64_t> ints;
  for (const SymbolicDim &dim : *dims) {
    if (!dim.constant)
      return std::nullopt;
    ints.push_back(*dim.constant);
  }
  return ints;
}

std::optional<SmallVector<int64_t>> moe::evaluateInts(Value value) {
  unsigned steps = kMaxSteps;
  return ::evaluateInts(value, {kMaxDepth, &steps});
}

std::optional<SmallVector<int64_t>> moe::intsOf(NodeOp node, StringRef name,
                                                unsigned input) {
  if (auto values = node.getI64s(name))
    return llvm::to_vector(*values);
  return node.input(input) ? evaluateInts(node.input(input)) : std::nullopt;
}
