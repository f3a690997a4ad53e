//===- Lowering.h - what the converters of ONNX nodes work with -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Nodes are converted one after the other, in the order of the block. Each ONNX
// value is a `TensorInfo`: its dimensions as expressions, its elements where
// they are sizes, and the tensor itself, made when something needs it.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_LOWERING_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_LOWERING_H

#include "SizeExpr.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "moe/Conversion/ONNXToMoE/WeightViews.h"
#include "moe/Dialect/ONNX/IR/ONNXOps.h"
#include <deque>

namespace mlir::moe::raise {

using Dims = SmallVector<Expr>;

struct TensorInfo {
  /// The ONNX element type; unsigned types keep their sign here, the tensor
  /// itself is signless.
  Type elementType;
  Dims dims;
  /// Null until `Lowering::value` makes it.
  Value value;
  /// For integer tensors of rank 0 or 1 that are shape arithmetic.
  std::optional<Dims> elements;
  /// For small constants; signless.
  DenseElementsAttr constant;

  int64_t rank() const { return dims.size(); }
  bool isInteger() const { return isa<IntegerType>(elementType); }
  bool isUnsigned() const { return elementType.isUnsignedInteger(); }
  bool isBool() const { return elementType.isInteger(1); }
  bool isFloat() const { return isa<FloatType>(elementType); }
  bool hasOneElement() const {
    return llvm::all_of(dims, [](const Expr &d) { return d.is(1); });
  }
};
using Tensor = TensorInfo *;

/// How one operand of an elementwise operation is read.
struct Operand {
  Value value;
  AffineMap map;
};

/// Computes one result element from one element per operand.
using ElementFn = function_ref<Value(ImplicitLocOpBuilder &, ValueRange)>;

/// What converting the body of a loop has shown.
struct LoopFacts {
  /// Which sizes of the carried values change.
  using Varying = SmallVector<SmallVector<bool>>;
  Varying varying;
  /// Scanned outputs whose slices have sizes that only the body knows; they are
  /// carried, behind the other carried values.
  struct Grown {
    unsigned output;
    int64_t rank;
    Type elementType;
  };
  SmallVector<Grown> grown;
  Varying varyingWithGrown;
};

class Lowering {
public:
  Lowering(MLIRContext *context, WeightSymbols &weights)
      : b(UnknownLoc::get(context), context), weights(weights) {}
  ~Lowering() { eraseDiscarded(); }

  ImplicitLocOpBuilder b;
  Sizes sizes;
  WeightSymbols &weights;
  /// The node that is being converted.
  onnx::NodeOp node;
  /// What run-time errors are about instead, while an operation is kept.
  Operation *kept = nullptr;

  //===--- The node's inputs and outputs ---===//

  /// Input `i`, which the registry guarantees to be there.
  Tensor in(unsigned i) { return lookup(node.input(i)); }
  /// Input `i`, or null when it is omitted.
  Tensor optional(unsigned i) {
    Value v = node.input(i);
    return v ? lookup(v) : nullptr;
  }
  LogicalResult set(unsigned i, Tensor result);
  LogicalResult set(Tensor result) { return set(0, result); }
  Tensor lookup(Value onnxValue) { return values.lookup(onnxValue); }
  /// The size that an `index` in the graph stands for, where that is known.
  DenseMap<Value, Expr> indices;
  void map(Value onnxValue, Tensor tensor) { values[onnxValue] = tensor; }
  /// ONNX values that are sequences: their elements, all known now.
  DenseMap<Value, SmallVector<Tensor>> sequences;
  /// Nodes that were converted again for another iteration of an unrolled loop.
  int64_t unrolledNodes = 0;
  /// An error about the node.
  InFlightDiagnostic error();

  //===--- Tensors ---===//

  /// `value` has the type that `dims` give.
  Tensor tensor(Value value, Type elementType, Dims dims);
  Tensor tensor(DenseElementsAttr constant, Type elementType = {});
  Tensor tensor(Type elementType, Dims dims, Dims elements);
  /// A tensor of which only the type is known.
  Tensor foreign(Value value);
  Value value(Tensor t);
  /// The elements as sizes: known, or read at run time. Fails with an error
  /// unless `t` is a short list of integers.
  FailureOr<Dims> elements(Tensor t, StringRef what);
  /// The elements when all are known now.
  std::optional<SmallVector<int64_t>> constants(Tensor t);
  /// The element of a one-element constant.
  std::optional<double> constantFloat(Tensor t);

  RankedTensorType type(const Dims &dims, Type elementType);
  Value empty(const Dims &dims, Type elementType);
  Value filled(const Dims &dims, TypedAttr element);
  Value filled(const Dims &dims, Value element);
  /// The value with exactly the static type that `dims` give.
  Value cast(Value value, const Dims &dims);
  SmallVector<OpFoldResult> mixed(const Dims &dims);
  Value index(const Expr &e) { return sizes.index(b, e); }
  Value constant(TypedAttr attr);

  /// What is made while a scope is open, and stays known of a tensor or size
  /// from before, is forgotten when it ends: for the regions of control flow.
  class Scope {
  public:
    explicit Scope(Lowering &l)
        : l(l), sizesScope(l.sizes), mark(l.remembered.size()), node(l.node),
          loc(l.b.getLoc()), guard(l.b) {}
    ~Scope();

  private:
    Lowering &l;
    Sizes::Scope sizesScope;
    size_t mark;
    onnx::NodeOp node;
    Location loc;
    OpBuilder::InsertionGuard guard;
  };
  /// Takes `op`, which nothing uses, out of the code. It is erased at the end:
  /// sizes may still name its values, whose place no new one may take.
  void discard(Operation *op) {
    op->remove();
    discarded.push_back(op);
  }
  void eraseDiscarded() {
    while (!discarded.empty())
      discarded.pop_back_val()->erase();
  }
  /// By node: bodies in loops are converted more than once.
  DenseMap<Operation *, LoopFacts> loopFacts;

  //===--- Code ---===//

  /// The type in which elements are computed: f32 for 16-bit floats.
  static Type computeType(Type elementType);
  /// The type of the elements of the tensor.
  static Type storageType(Type elementType);

  /// The dimensions of the operands' common shape; checks at run time what is
  /// not known now.
  FailureOr<Dims> broadcast(ArrayRef<Tensor> operands);
  /// `t` as an operand of a loop nest over `dims`; a tensor of one element
  /// becomes a scalar unless it is needed for the extent of a loop.
  Operand operand(Tensor t, const Dims &dims, bool allowScalar = true);
  /// The operands broadcast to their common shape, and `element` of each
  /// element. `element` works in the compute types.
  FailureOr<Tensor> elementwise(ArrayRef<Tensor> operands, Type resultType,
                                ElementFn element);
  /// The same over known dimensions.
  Tensor elementwise(ArrayRef<Tensor> operands, const Dims &dims,
                     Type resultType, ElementFn element);
  Tensor elementwise(ArrayRef<Operand> operands, const Dims &dims,
                     Type resultType, ElementFn element);
  /// The result of a reduction (see `reduce`) as an operand of a loop nest over
  /// the dimensions before the reduction.
  Operand reducedOperand(Value value, ArrayRef<bool> reduced);
  /// `element` of the loop indices, for every element of a new tensor. The
  /// result of `element` has the storage type.
  Tensor generate(const Dims &dims, Type elementType, ElementFn element);
  /// Reduces the `axes` of `operand` into results without these axes (sizes 1
  /// with `keepDims` are not inserted). `element` gets the element in its
  /// compute type and the accumulators, then returns the new ones; the indices
  /// can be read with linalg.index.
  SmallVector<Value>
  reduce(ArrayRef<Tensor> operands, ArrayRef<bool> reduced, ValueRange inits,
         function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, ValueRange)>
             element);
  /// The sums, over the loops that `result` leaves out, of products of one
  /// element each of `x` and `y`: a tensor over `dims`. All maps are over the
  /// same loops, which run in their order, the sums in ascending order. With
  /// `zeroTakesAll`, 0 times a NaN of `y` is 0.
  Value contract(const Operand &x, const Operand &y, AffineMap result,
                 const Dims &dims, Type compute, bool zeroTakesAll = false);
  /// Elements of another type (same dims); rounds and converts like Cast does
  /// between the compute type and the type.
  Tensor convertFloat(Tensor t, Type elementType);

  /// The same elements in another shape; the number of elements must be known
  /// or have been checked to be the same.
  Tensor reshape(Tensor t, const Dims &dims);
  /// Checks `product(from) == product(to)` unless it is known.
  LogicalResult checkSameSize(const Dims &from, const Dims &to);
  Tensor transpose(Tensor t, ArrayRef<int64_t> permutation);
  Tensor slice(Tensor t, const Dims &offsets, const Dims &sizes,
               ArrayRef<int64_t> steps = {});

  /// `moe.check` about the node or what is kept, unless `ok` is known to hold.
  void check(Value ok, Value found, Value limit, StringRef message);
  void checkEqual(const Expr &found, const Expr &limit, StringRef message);
  void checkLessOrEqual(const Expr &found, const Expr &limit,
                        StringRef message);
  /// Checks that `t` broadcasts to `dims`, whose sizes do not change by that.
  LogicalResult checkBroadcast(Tensor t, ArrayRef<Expr> dims, StringRef what);
  /// Checks that two sizes are equal, now if both are known: "expects <what>
  /// that agree".
  LogicalResult checkAgree(const Expr &found, const Expr &limit,
                           StringRef what);
  /// Checks that every element of `integers` lies in [low, high]; `limit` is
  /// for the message.
  void checkRange(Tensor integers, const Expr &low, const Expr &high,
                  const Expr &limit, StringRef message);
  /// What the node requires of a size that is data: a size is not negative, and
  /// `kMaxElements` is more than any memory holds.
  LogicalResult checkSize(const Expr &size, StringRef what = "size");
  /// Checks that `factors`, none of them negative, multiply to a number of
  /// elements. Sizes of 0 do not count: loops run over the others. What only
  /// the shapes of inputs decide is left to the allocation.
  LogicalResult checkElements(ArrayRef<Expr> factors);
  /// Checks that every element of `indices` lies in [-size, size); with
  /// `column`, every element that has it for its last coordinate.
  LogicalResult checkIndices(Tensor indices, const Expr &size,
                             std::optional<int64_t> column = {});
  /// An index that may count from the end, as `index` in [0, size).
  static Value wrapIndex(ImplicitLocOpBuilder &b, Value element, Value size);

  /// An axis attribute in [-rank, rank) as one in [0, rank); an error
  /// otherwise.
  FailureOr<int64_t> axis(int64_t axis, int64_t rank);
  FailureOr<SmallVector<int64_t>> axes(ArrayRef<int64_t> axes, int64_t rank);

  /// No tensor has more elements; sums of a few such sizes do not overflow.
  static constexpr int64_t kMaxElements = int64_t(1) << 47;

private:
  /// The product of the dimensions; INT64_MAX when it does not fit.
  Value count(ArrayRef<Expr> dims);
  Tensor create() { return &storage.emplace_back(); }
  Value materializeElements(Tensor t);

  std::deque<TensorInfo> storage;
  SmallVector<Operation *> discarded;
  /// Tensors of which `value` or `elements` was made when it was needed.
  SmallVector<std::pair<Tensor, bool>> remembered;
  DenseMap<Value, Tensor> values;
};

/// Converts the operations of a subgraph, whose arguments have been mapped, at
/// the insertion point. The subgraph stays as it is: it may be converted again.
LogicalResult convertGraph(Region &graph, Lowering &l);

/// The tensors joined along an axis, or along a new one. There is at least one.
FailureOr<Tensor> concat(Lowering &l, ArrayRef<Tensor> parts, int64_t axis);
FailureOr<Tensor> stack(Lowering &l, ArrayRef<Tensor> parts, int64_t axis);

/// Where `x` is not zero: the coordinates of each such element, int64
/// [rank, count]. Only the data knows how many.
Tensor nonZero(Lowering &l, Tensor x);

/// The product of the dimensions.
Expr product(ArrayRef<Expr> dims);

/// Parallel iterators.
SmallVector<utils::IteratorType> parallel(int64_t rank);

/// Floats: conversions between element and compute types in a loop body.
Value toCompute(ImplicitLocOpBuilder &b, Value element);
Value fromCompute(ImplicitLocOpBuilder &b, Value element, Type storageType);
/// A constant of type `type`; `value` is rounded to it.
Value floatConstant(ImplicitLocOpBuilder &b, Type type, double value);
Value intConstant(ImplicitLocOpBuilder &b, Type type, int64_t value);

} // namespace mlir::moe::raise

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_LOWERING_H
