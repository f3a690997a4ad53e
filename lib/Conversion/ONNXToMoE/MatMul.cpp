//===- MatMul.cpp - matrix products ---------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A product with a weight is a grouped matmul with one group; the weight is
// turned to [1, N, K] by a view of its symbol. One with a weight [G, N, K] that
// has a matrix for each matrix of the other operand has G groups of equal size.
// Everything else is one contraction whose maps take transposed and broadcast
// operands as they are.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Products.h"
#include "QuantizedWeights.h"
#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moe/Conversion/ONNXToMoE/Matchers.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

/// `x` [..., K] times the transpose of `matrix` [1, N, K], plus `bias` [N].
static Tensor denseLayer(Lowering &l, Tensor x, ExpertMatrix matrix,
                         Tensor bias) {
  ImplicitLocOpBuilder &b = l.b;
  auto weight = cast<RankedTensorType>(matrix.weight.getType());
  int64_t n = weight.getDimSize(1), k = weight.getDimSize(2);
  Expr rowCount = product(ArrayRef(x->dims).drop_back());
  Dims rowDims{rowCount, k};
  Dims xDims = x->dims;
  xDims.back() = k; // checked by the caller
  Tensor flat = l.reshape(
      l.tensor(l.cast(l.value(x), xDims), x->elementType, xDims), rowDims);
  Value rows = l.value(flat);
  Value groups = tensor::FromElementsOp::create(
      b, RankedTensorType::get({1}, b.getI64Type()),
      ValueRange{l.sizes.integer(b, rowCount, b.getI64Type())});
  if (bias)
    matrix.bias = l.value(l.reshape(bias, {1, n}));
  Dims resultDims{rowCount, n};
  auto op = GroupedMatmulOp::create(b, l.type(resultDims, x->elementType), rows,
                                    groups, matrix);
  Dims dims = x->dims;
  dims.back() = n;
  return l.reshape(l.tensor(op.getResult(), x->elementType, resultDims), dims);
}

static Tensor denseLayer(Lowering &l, Tensor x, const WeightView &weight,
                         Tensor bias) {
  ExpertMatrix matrix;
  matrix.weight = l.weights.read(l.b, l.b.getLoc(), weight.insertUnitDim(0));
  return denseLayer(l, x, matrix, bias);
}

/// The view of a weight matrix [N, K] that `t` is, or [K, N] if `transposed`.
static std::optional<WeightView> weightMatrix(Lowering &l, Tensor t,
                                              bool isOutputMajor) {
  WeightOp weight = l.weights.lookup(t->value);
  if (!weight || t->rank() != 2 || !t->isFloat())
    return std::nullopt;
  WeightView view = WeightView::of(weight);
  return isOutputMajor ? view : view.transposeMatrix();
}

/// The products of each of the G matrices x [.., G, M, K] with its own one of
/// `weight` [G, N, K].
static Tensor matrixPerGroup(Lowering &l, Tensor x, const WeightView &weight) {
  ImplicitLocOpBuilder &b = l.b;
  // The groups in front: their rows lie together then.
  int64_t group = x->rank() - 3;
  SmallVector<int64_t> inFront{group}, back;
  for (int64_t i = 0; i < x->rank(); ++i)
    if (i != group)
      inFront.push_back(i);
  for (int64_t i = 0; i < x->rank(); ++i)
    back.push_back(llvm::find(inFront, i) - inFront.begin());
  Tensor turned = l.transpose(x, inFront);
  int64_t groups = weight.shape[0], n = weight.shape[1], k = weight.shape[2];
  Expr size = product(ArrayRef(turned->dims).drop_front().drop_back());
  Dims rowDims{size * groups, k}, resultDims{size * groups, n};
  Dims xDims = turned->dims;
  xDims.front() = groups;
  xDims.back() = k; // checked by the caller
  Tensor rows = l.reshape(
      l.tensor(l.cast(l.value(turned), xDims), x->elementType, xDims), rowDims);
  Value sizes = tensor::SplatOp::create(
      b, RankedTensorType::get({groups}, b.getI64Type()),
      l.sizes.integer(b, size, b.getI64Type()));
  ExpertMatrix matrix;
  matrix.weight = l.weights.read(b, b.getLoc(), weight);
  auto op = GroupedMatmulOp::create(b, l.type(resultDims, x->elementType),
                                    l.value(rows), sizes, matrix);
  xDims.back() = n;
  return l.transpose(
      l.reshape(l.tensor(op.getResult(), x->elementType, resultDims), xDims),
      back);
}

/// The view [G, N, K] of the weight `t`, [G, K, N] unless `isOutputMajor`, if
/// `x` has G matrices.
static std::optional<WeightView> weightPerGroup(Lowering &l, Tensor x, Tensor t,
                                                bool isOutputMajor) {
  WeightOp weight = l.weights.lookup(t->value);
  if (!weight || t->rank() != 3 || x->rank() < 3 || !t->isFloat() ||
      !(x->dims[x->rank() - 3] == t->dims[0]))
    return std::nullopt;
  WeightView view = WeightView::of(weight);
  return isOutputMajor ? view : view.transposeMatrix();
}

/// The quantized weights that `node`, a product, has as second operand.
static std::optional<QuantizedWeights> packedOperand(Lowering &l,
                                                     onnx::NodeOp node) {
  bool isProduct = node && (node.is("MatMul") || node.is("Gemm") ||
                            node.is("FusedMatMul", "com.microsoft"));
  if (!isProduct || node.getI64("transA", 0) != 0 || !node.input(1) ||
      rankOf(node.input(1)) != 2)
    return std::nullopt;
  auto weights = QuantizedWeights::of(definingNode(node.input(1)),
                                      node.getI64("transB", 0) == 0);
  std::string why;
  Type rows = elementTypeOf(node.input(0));
  if (!weights || failed(weights->check(l.weights, why)) ||
      rows != elementTypeOf(node.input(1)) || rows.isF64())
    return std::nullopt;
  return weights;
}

bool raise::isReadPacked(Lowering &l, onnx::NodeOp node) {
  return llvm::all_of(node.getResult(0).getUses(), [&](OpOperand &use) {
    return use.getOperandNumber() == 1 &&
           packedOperand(l, dyn_cast<onnx::NodeOp>(use.getOwner()));
  });
}

/// The product over the last two axes, each transposed first if asked for.
/// Sums run in ascending order in the compute type. Loops: batch, m, k, n.
static FailureOr<Tensor> contract(Lowering &l, Tensor x, Tensor y, bool transX,
                                  bool transY) {
  MLIRContext *context = l.b.getContext();
  const Expr &m = x->dims.end()[transX ? -1 : -2];
  const Expr &k = x->dims.end()[transX ? -2 : -1];
  const Expr &n = y->dims.end()[transY ? -2 : -1];
  if (failed(
          l.checkAgree(k, y->dims.end()[transY ? -1 : -2], "inner dimensions")))
    return failure();
  TensorInfo xBatch, yBatch;
  xBatch.dims.assign(x->dims.begin(), x->dims.end() - 2);
  yBatch.dims.assign(y->dims.begin(), y->dims.end() - 2);
  FailureOr<Dims> batch = l.broadcast({&xBatch, &yBatch});
  if (failed(batch))
    return failure();
  unsigned count = batch->size(), loops = count + 3;
  unsigned mLoop = count, kLoop = count + 1, nLoop = count + 2;
  // A map over (batch, row, column) of an operand as one over the loops.
  auto prepare = [&](Tensor t, unsigned rowLoop, unsigned columnLoop) {
    Dims over = *batch;
    over.append(t->dims.end() - 2, t->dims.end());
    Operand in = l.operand(t, over, /*allowScalar=*/false);
    SmallVector<AffineExpr> dims;
    for (unsigned i = 0; i < count; ++i)
      dims.push_back(getAffineDimExpr(i, context));
    dims.push_back(getAffineDimExpr(rowLoop, context));
    dims.push_back(getAffineDimExpr(columnLoop, context));
    in.map = in.map.replaceDimsAndSymbols(dims, {}, loops, 0);
    return in;
  };
  Operand a = prepare(x, transX ? kLoop : mLoop, transX ? mLoop : kLoop);
  Operand c = prepare(y, transY ? nLoop : kLoop, transY ? kLoop : nLoop);

  Dims dims = *batch;
  dims.push_back(m);
  dims.push_back(n);
  Type compute = Lowering::computeType(x->elementType);
  SmallVector<AffineExpr> resultExprs;
  for (unsigned i = 0; i < loops; ++i)
    if (i != kLoop)
      resultExprs.push_back(getAffineDimExpr(i, context));
  Value product = l.contract(
      a, c, AffineMap::get(loops, 0, resultExprs, context), dims, compute);
  Type resultType = isa<FloatType>(compute) ? compute : x->elementType;
  return l.convertFloat(l.tensor(product, resultType, dims), x->elementType);
}

/// Gives `t` a unit dimension so that it is a matrix.
static Tensor asMatrix(Lowering &l, Tensor t, bool asRow) {
  if (t->rank() != 1)
    return t;
  return l.reshape(t, asRow ? Dims{1, t->dims[0]} : Dims{t->dims[0], 1});
}

FailureOr<Tensor> raise::matmul(Lowering &l, Tensor x, Tensor y, bool transX,
                                bool transY) {
  if (x->elementType != y->elementType)
    return l.error() << "expects operands of one type, got " << x->elementType
                     << " and " << y->elementType;
  if (x->rank() == 0 || y->rank() == 0)
    return l.error() << "expects no scalar operand";
  if (auto weights = packedOperand(l, l.node)) {
    if (failed(
            l.checkAgree(x->dims.back(), weights->depth, "inner dimensions")))
      return failure();
    return denseLayer(
        l, x,
        weights->read(l.b, l.b.getLoc(), l.weights, {0, weights->columns, 1}),
        nullptr);
  }
  bool dropRow = x->rank() == 1, dropColumn = y->rank() == 1;
  if (auto weight = weightMatrix(l, y, /*isOutputMajor=*/transY);
      weight && !transX) {
    if (failed(
            l.checkAgree(x->dims.back(), weight->shape[1], "inner dimensions")))
      return failure();
    return denseLayer(l, x, *weight, nullptr);
  }
  if (auto weight = weightPerGroup(l, x, y, /*isOutputMajor=*/transY);
      weight && !transX) {
    if (failed(
            l.checkAgree(x->dims.back(), weight->shape[2], "inner dimensions")))
      return failure();
    return matrixPerGroup(l, x, *weight);
  }
  FailureOr<Tensor> result =
      contract(l, asMatrix(l, x, true), asMatrix(l, y, false),
               transX && !dropRow, transY && !dropColumn);
  if (failed(result))
    return failure();
  Dims dims = (*result)->dims;
  if (dropRow)
    dims.erase(dims.end() - 2);
  if (dropColumn)
    dims.pop_back();
  return l.reshape(*result, dims);
}

static LogicalResult convertMatMul(Lowering &l) {
  FailureOr<Tensor> result = matmul(l, l.in(0), l.in(1), false, false);
  return failed(result) ? failure() : l.set(*result);
}

/// `x` times a factor, in the compute type.
static Tensor scaled(Lowering &l, Tensor x, double factor) {
  if (factor == 1.0)
    return x;
  return l.elementwise(
      x, x->dims, x->elementType,
      [&](ImplicitLocOpBuilder &b, ValueRange args) {
        Type type = args[0].getType();
        Value f = isa<FloatType>(type)
                      ? floatConstant(b, type, factor)
                      : intConstant(b, type, static_cast<int64_t>(factor));
        return mulElements(b, args[0], f);
      });
}

/// [rows, batch..., columns] as [batch..., rows, columns].
static Tensor batchInFront(Lowering &l, Tensor x) {
  if (x->rank() < 3)
    return x;
  SmallVector<int64_t> permutation =
      llvm::to_vector(llvm::seq<int64_t>(1, x->rank() - 1));
  permutation.append({0, x->rank() - 1});
  return l.transpose(x, permutation);
}

static LogicalResult convertFusedMatMul(Lowering &l) {
  Tensor x = l.in(0), y = l.in(1);
  if (l.node.getI64("transBatchA", 0) != 0)
    x = batchInFront(l, x);
  if (l.node.getI64("transBatchB", 0) != 0)
    y = batchInFront(l, y);
  FailureOr<Tensor> result = matmul(l, x, y, l.node.getI64("transA", 0) != 0,
                                    l.node.getI64("transB", 0) != 0);
  if (failed(result))
    return failure();
  return l.set(scaled(l, *result, l.node.getF32("alpha", 1.0f)));
}

/// `t`, the node's input `i`, or the 16-bit weight that it is the cast to f32
/// of: products are computed in f32 anyway.
static Tensor beforeWidening(Lowering &l, unsigned i, Tensor t) {
  auto cast = l.node.input(i).getDefiningOp<onnx::NodeOp>();
  if (!cast || !cast.is("Cast") || !t->elementType.isF32())
    return t;
  Tensor source = l.lookup(cast.input(0));
  return source && source->isFloat() &&
                 source->elementType.getIntOrFloatBitWidth() == 16
             ? source
             : t;
}

/// alpha * A' * B' + beta * C
static LogicalResult convertGemm(Lowering &l) {
  Tensor x = l.in(0), y = l.in(1), c = l.optional(2);
  if (x->rank() != 2 || y->rank() != 2)
    return l.error() << "expects matrices, got ranks " << x->rank() << " and "
                     << y->rank();
  bool transA = l.node.getI64("transA", 0) != 0;
  bool transB = l.node.getI64("transB", 0) != 0;
  double alpha = l.node.getF32("alpha", 1.0f);
  double beta = l.node.getF32("beta", 1.0f);
  if (x->isInteger() &&
      (alpha != std::trunc(alpha) || beta != std::trunc(beta)))
    return l.error() << "expects whole alpha and beta for integers";
  if (c && beta == 0.0)
    c = nullptr;
  Tensor result = nullptr;
  auto weight =
      weightMatrix(l, beforeWidening(l, 1, y), /*isOutputMajor=*/transB);
  // A row of biases goes into the product's own epilogue.
  bool fusesBias = weight && c && alpha == 1.0 && beta == 1.0 &&
                   c->elementType == x->elementType &&
                   product(c->dims).is(weight->shape[0]) &&
                   (c->rank() == 1 || (c->rank() == 2 && c->dims[0].is(1)));
  if (weight && x->elementType == y->elementType) {
    if (transA)
      x = l.transpose(x, {1, 0});
    if (failed(
            l.checkAgree(x->dims.back(), weight->shape[1], "inner dimensions")))
      return failure();
    result = denseLayer(l, x, *weight, fusesBias ? c : nullptr);
  } else {
    FailureOr<Tensor> p = matmul(l, x, y, transA, transB);
    if (failed(p))
      return failure();
    result = *p;
  }
  result = scaled(l, result, alpha);
  if (!c || fusesBias)
    return l.set(result);
  if (c->elementType != result->elementType)
    return l.error() << "expects operands of one type, got "
                     << result->elementType << " and " << c->elementType;
  if (failed(l.checkBroadcast(c, result->dims, "C")))
    return failure();
  return l.set(l.elementwise({result, scaled(l, c, beta)}, result->dims,
                             result->elementType,
                             [](ImplicitLocOpBuilder &b, ValueRange args) {
                               return addElements(b, args[0], args[1]);
                             }));
}

/// A [.., K] times a quantized [N, K], plus bias [N].
static LogicalResult convertMatMulNBits(Lowering &l) {
  Tensor x = l.in(0), bias = l.optional(5);
  if (l.optional(4))
    return l.error() << "an order of the columns (g_idx) is not supported";
  if (l.node.getI64("weight_prepacked", 0) != 0)
    return l.error() << "weights that are packed for a device are not "
                        "supported";
  QuantizedWeights weights;
  weights.columns = l.node.getI64("N", 0);
  weights.depth = l.node.getI64("K", 0);
  weights.bits = l.node.getI64("bits", 4);
  weights.blockSize = l.node.getI64("block_size", 0);
  if (!x->isFloat() || x->elementType.isF64() || x->rank() == 0)
    return l.error() << "expects an input of floats of at most 32 bits";
  weights.wholeBlocks = true;
  weights.values = l.value(l.in(1));
  weights.scales = l.value(l.in(2));
  if (Tensor zeroPoints = l.optional(3))
    weights.zeroPoints = l.value(zeroPoints);
  std::string why;
  if (failed(weights.check(l.weights, why)))
    return l.error() << why;
  if (failed(l.checkAgree(x->dims.back(), weights.depth, "inner dimensions")))
    return failure();
  if (bias && (bias->elementType != x->elementType ||
               !product(bias->dims).is(weights.columns)))
    return l.error() << "expects a bias of " << weights.columns
                     << " elements of the input's type";
  return l.set(denseLayer(
      l, x, weights.read(l.b, l.b.getLoc(), l.weights, {0, weights.columns, 1}),
      bias));
}

void raise::addMatMul(Registry &r) {
  r.add({
      {"MatMul", 1, kLatest, convertMatMul, 2, 2, ""},
      {"Gemm", 7, kLatest, convertGemm, 2, 3, "alpha beta transA transB"},
      {"FusedMatMul", 1, 1, convertFusedMatMul, 2, 2,
       "alpha transA transB transBatchA transBatchB", "com.microsoft"},
      {"MatMulNBits", 1, 1, convertMatMulNBits, 3, 6,
       "K N bits block_size accuracy_level weight_prepacked", "com.microsoft",
       "weights, scales and zero points are constants; 2, 4 or 8 bits; no "
       "g_idx"},
  });
}
