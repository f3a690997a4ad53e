//===- RecognizeContribMoE.cpp - com.microsoft.MoE and QMoE ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A whole block in one node. `router_probs` are logits: the softmax over all
// experts is part of the operator; with normalize_routing_weights the chosen
// probabilities are divided by their sum. With FC1, FC2, FC3 and activation f
//
//   y = FC2 f(FC1 x)                 two matrices
//   y = FC2 (f(FC1 x) * FC3 x)       three matrices
//
// and for swiglu, with gate g and linear part l, which are FC1 x and FC3 x
// (swiglu_fusion = 0), or the even and odd (1), or the first and second (2)
// halves of FC1 x:
//
//   G * sigmoid(alpha * G) * (L + beta),  G = min(g, limit),
//   L = min(max(l, -limit), limit)
//
// Of two equal probabilities the lower expert comes first. With
// use_sparse_mixer two experts are chosen and weighed by SparseMixer instead,
// with a jitter of 0.01, as onnxruntime's CUDA kernels do, which then do not
// look at normalize_routing_weights; its CPU kernels do not look at
// use_sparse_mixer.
//
// QMoE is the same with quantized weights: integers, or with quant_type = "fp4"
// floats of 4 bits with exponents as scales (MXFP4), which are input-major. Its
// router_weights, if given, take the place of the probabilities as weights;
// router_probs then only select.
//
//===----------------------------------------------------------------------===//

#include "ExportFaults.h"
#include "RecognizeForms.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::moe;
using mlir::onnx::NodeOp;

namespace {
/// The operands of one of the linear maps FC1, FC2 and FC3.
struct LinearMap {
  Value weight, bias;
  /// QMoE's only.
  std::optional<QuantizedWeights> quantized = std::nullopt;
};

struct ContribMoE {
  NodeOp node;
  RowExprPool &pool;
  ExpertWeights &weights;
  Rejection rejection = {};

  StringRef quantType() { return node.getString("quant_type", "int"); }
  /// N of a weight [E, N, ..], or [E, K, N / 2] of bytes with two 4-bit floats.
  int64_t columnsOf(RankedTensorType weight) {
    return quantType() == "fp4" ? 2 * weight.getDimSize(2)
                                : weight.getDimSize(1);
  }
  bool isQuantized() { return node.is("QMoE", "com.microsoft"); }
  LogicalResult reject(const Twine &why) { return rejection.at(node, why); }
  LogicalResult checkQuantization();
  FailureOr<LinearMap> map(unsigned number, int64_t depth);

  const RowExpr *linear(const LinearMap &map, const RowExpr *input,
                        int64_t begin, int64_t size, int64_t step) {
    RowExpr expr;
    expr.kind = RowExpr::Linear;
    expr.weight = map.weight;
    expr.bias = map.bias;
    expr.quantized = map.quantized;
    expr.begin = expr.biasBegin = begin;
    expr.step = expr.biasStep = step;
    expr.size = size;
    expr.input = input;
    expr.origin = node;
    return pool.add(std::move(expr));
  }

  FailureOr<const RowExpr *> hidden(int64_t width, int64_t inter);
  const RowExpr *swiglu(const RowExpr *gate, const RowExpr *line);
  FailureOr<MoEBlock> block();
};
} // namespace

/// What QMoE can say and the kernels cannot do.
LogicalResult ContribMoE::checkQuantization() {
  if (StringRef type = quantType(); type != "int" && type != "fp4")
    return reject("quant_type '" + type +
                  "' is not supported, only 'int' and 'fp4'");
  if (node.getI64("weights_prepacked", -1) > 0)
    return reject("weights that are packed for a device are not supported");
  for (unsigned i = 15; i < node.getInputs().size(); ++i) {
    // What MXFP4 has no use for, and exporters give as 1.
    if (node.input(i) && i < 17 && splatOf(node.input(i)) == 1)
      continue;
    if (node.input(i))
      return reject("scales other than those of the weights (input " +
                    Twine(i) + ") are not supported, unless all are 1");
  }
  return success();
}

/// Whether `value`, if there is one, is [experts, size].
static bool isBias(Value value, int64_t experts, int64_t size) {
  auto type = value ? dyn_cast<RankedTensorType>(value.getType()) : nullptr;
  return !value ||
         (type && type.getShape() == ArrayRef<int64_t>({experts, size}));
}

/// FC`number`, which takes `depth` elements per row.
FailureOr<LinearMap> ContribMoE::map(unsigned number, int64_t depth) {
  unsigned weightInput = isQuantized() ? 3 * number - 1 : 2 * number;
  unsigned biasInput = weightInput + (isQuantized() ? 2 : 1);
  if (auto type =
          node.input(weightInput)
              ? dyn_cast<RankedTensorType>(node.input(weightInput).getType())
              : nullptr;
      type && type.getRank() == 3 &&
      !isBias(node.input(biasInput), type.getDimSize(0), columnsOf(type)))
    return reject("expects a bias of FC" + Twine(number) + " of shape [" +
                  Twine(type.getDimSize(0)) + ", " + Twine(columnsOf(type)) +
                  "]");
  if (!isQuantized())
    return LinearMap{node.input(weightInput), node.input(biasInput)};
  LinearMap map{node.input(weightInput), node.input(biasInput)};
  if (!map.weight)
    return map;
  QuantizedWeights quantized;
  quantized.values = map.weight;
  quantized.scales = node.input(weightInput + 1);
  quantized.zeroPoints = node.input(10 + number);
  if (!quantized.scales)
    return reject("expects scales of FC" + Twine(number));
  auto type = dyn_cast<RankedTensorType>(map.weight.getType());
  if (!type || type.getRank() != 3 || !type.hasStaticShape())
    return reject("expects weights of a static shape [E, N, K]");
  quantized.experts = type.getDimSize(0);
  quantized.columns = columnsOf(type);
  quantized.depth = depth;
  if (quantType() == "fp4") {
    quantized.encoding = Encoding::E2M1;
    quantized.inputMajor = true;
  }
  quantized.bits =
      node.getI64(("fc" + Twine(number) + "_expert_weight_bits").str(),
                  node.getI64("expert_weight_bits", 4));
  int64_t blockSize = node.getI64("block_size", 0);
  quantized.zeroPointsShareBytes = blockSize == 0;
  quantized.blockSize = blockSize == 0 ? depth : blockSize;
  std::string why;
  if (failed(weights.check(quantized, why)))
    return reject("FC" + Twine(number) + ": " + why);
  if (quantized.encoding == Encoding::E2M1 &&
      (quantized.bits != 4 || quantized.zeroPoints))
    return reject("FC" + Twine(number) +
                  ": expects 4 bits and no zero points for quant_type 'fp4'");
  map.quantized = quantized;
  return map;
}

const RowExpr *ContribMoE::swiglu(const RowExpr *gate, const RowExpr *line) {
  if (auto limit = node.getF32("swiglu_limit")) {
    const RowExpr *high = pool.scalar(*limit), *low = pool.scalar(-*limit);
    gate = pool.apply(RowFunction::Min, {gate, high});
    line = pool.apply(RowFunction::Min,
                      {pool.apply(RowFunction::Max, {line, low}), high});
  }
  if (float beta = node.getF32("activation_beta", 0); beta != 0)
    line = pool.apply(RowFunction::Add, {line, pool.scalar(beta)});
  return pool.apply(
      RowFunction::Mul,
      {pool.sigmoidGated(gate, node.getF32("activation_alpha", 1)), line});
}

/// What FC2 reads: `inter` elements per row, from tokens of `width` elements.
FailureOr<const RowExpr *> ContribMoE::hidden(int64_t width, int64_t inter) {
  StringRef activation = node.getString("activation_type", "relu");
  int64_t fusion = node.getI64("swiglu_fusion", 0);
  FailureOr<LinearMap> fc1 = map(1, width), fc3 = map(3, width);
  if (failed(fc1) || failed(fc3))
    return failure();
  int64_t rows = columnsOf(cast<RankedTensorType>(fc1->weight.getType()));
  bool fused = activation == "swiglu" && fusion != 0;
  if (fc3->bias && !fc3->weight)
    return reject("expects no bias of FC3 without its weight");
  if (fused && fc3->weight)
    return reject("expects no FC3 with swiglu_fusion = " + Twine(fusion));
  if (auto type = fc3->weight
                      ? dyn_cast<RankedTensorType>(fc3->weight.getType())
                      : nullptr;
      fc3->weight && (!type || type.getRank() != 3 || columnsOf(type) != inter))
    return reject("expects FC3 of " + Twine(inter) + " rows per expert");
  if (fusion < 0 || fusion > 2)
    return reject("expects swiglu_fusion to be 0, 1 or 2, found " +
                  Twine(fusion));
  if (rows != (fused ? 2 * inter : inter))
    return reject("expects FC1 of " + Twine(fused ? 2 * inter : inter) +
                  " rows per expert for FC2 of " + Twine(inter) +
                  " columns, found " + Twine(rows));
  if (fused) {
    bool interleaved = fusion == 1;
    int64_t step = interleaved ? 2 : 1;
    return swiglu(linear(*fc1, nullptr, 0, inter, step),
                  linear(*fc1, nullptr, interleaved ? 1 : inter, inter, step));
  }
  const RowExpr *first = linear(*fc1, nullptr, 0, inter, 1);
  const RowExpr *third =
      fc3->weight ? linear(*fc3, nullptr, 0, inter, 1) : nullptr;
  if (activation == "swiglu") {
    if (!third)
      return reject("expects FC3 for swiglu with swiglu_fusion = 0");
    return swiglu(first, third);
  }
  const RowExpr *result = nullptr;
  if (activation == "relu")
    result = pool.relu(first);
  else if (activation == "gelu")
    result = pool.geluErf(first);
  else if (activation == "silu")
    result = pool.sigmoidGated(first);
  else if (activation == "identity")
    result = first;
  else
    return reject("expects activation_type relu, gelu, silu, swiglu or "
                  "identity, found '" +
                  activation + "'");
  return third ? pool.apply(RowFunction::Mul, {result, third}) : result;
}

FailureOr<MoEBlock> ContribMoE::block() {
  unsigned fc2Input = isQuantized() ? 5 : 4;
  for (unsigned i : {0u, 1u, 2u, fc2Input})
    if (!node.input(i))
      return reject("expects input " + Twine(i));
  if (isQuantized() && failed(checkQuantization()))
    return failure();
  auto x = dyn_cast<RankedTensorType>(node.input(0).getType());
  if (!x || (x.getRank() != 2 && x.getRank() != 3))
    return reject("expects an input of known rank, 2 or 3");
  if (rankOf(node.input(1)) != 2)
    return reject("expects router_probs of rank 2");
  auto fc1 = dyn_cast<RankedTensorType>(node.input(2).getType());
  auto fc2 = dyn_cast<RankedTensorType>(node.input(fc2Input).getType());
  if (!fc1 || !fc2 || fc1.getRank() != 3 || fc2.getRank() != 3 ||
      !fc1.hasStaticShape() || !fc2.hasStaticShape())
    return reject("expects weights of a static shape [E, N, K]");

  MoEBlock block;
  block.tokens = node.input(0);
  block.resultType = x.getElementType();
  RouteRecipe &route = block.route;
  route.logits = node.input(1);
  route.experts = fc1.getDimSize(0);
  route.k = node.getI64("k", 1);
  route.score = ScoreFunction::Softmax;
  route.renormalize = node.getI64("normalize_routing_weights", 0) != 0;
  SymbolicDim scored = dimOf(route.logits, 1);
  if (scored.constant && *scored.constant != route.experts)
    return reject("expects router_probs of " + Twine(route.experts) +
                  " experts, found " + Twine(*scored.constant));
  if (route.k < 1 || route.k > route.experts)
    return reject("expects k to be at least 1 and at most the number of "
                  "experts, found " +
                  Twine(route.k) + " for " + Twine(route.experts));
  if (node.getI64("use_sparse_mixer", 0) != 0) {
    if (route.k != 2)
      return reject("expects k = 2 with use_sparse_mixer, found " +
                    Twine(route.k));
    if (isQuantized() && node.input(14))
      return reject("expects no router_weights with use_sparse_mixer");
    route.score = ScoreFunction::SparseMixer;
    route.mixerThreshold = 0.02f;
    route.renormalize = false;
  }
  if (isQuantized() && node.input(14)) {
    route.score = ScoreFunction::None;
    route.mixture = node.input(14);
    SymbolicDim mixed = dimOf(route.mixture, 1);
    if (rankOf(route.mixture) != 2 || !mixed.constant ||
        *mixed.constant != route.experts)
      return reject("expects router_weights [tokens, " + Twine(route.experts) +
                    "]");
  }
  // How many elements a row of quantized weights has is up to the operands.
  int64_t width = fc1.getDimSize(2), inter = fc2.getDimSize(2);
  if (isQuantized()) {
    width = x.getShape().back();
    if (ShapedType::isDynamic(width))
      return reject("expects an input of static width");
    bool fused = node.getString("activation_type", "relu") == "swiglu" &&
                 node.getI64("swiglu_fusion", 0) != 0;
    inter = columnsOf(fc1) / (fused ? 2 : 1);
  }
  FailureOr<LinearMap> down = map(2, inter);
  if (failed(down))
    return failure();
  FailureOr<const RowExpr *> input = hidden(width, inter);
  if (failed(input))
    return failure();
  block.output = linear(*down, *input, 0, columnsOf(fc2), 1);
  return block;
}

/// `flat` [T, H] behind a check that `logits`, the input `name`, has as many
/// rows.
static void checkTokens(OpBuilder &b, NodeOp node, Value flat, Value logits,
                        StringRef name) {
  Location loc = node.getLoc();
  Value x = node.input(0);
  SymbolicDim given = rowsOf(x);
  auto type = cast<RankedTensorType>(flat.getType());
  if (!type.isDynamicDim(0))
    given = SymbolicDim::of(type.getDimSize(0));
  if (dimOf(logits, 0) == given)
    return;
  Value required = tensor::DimOp::create(b, loc, flat, 0);
  Value found = tensor::DimOp::create(b, loc, logits, 0);
  Value equal =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, found, required);
  auto asI64 = [&](Value value) {
    return arith::IndexCastOp::create(b, loc, b.getI64Type(), value);
  };
  CheckOp::create(
      b, loc, equal, asI64(found), asI64(required),
      b.getStringAttr(node.describe()),
      b.getStringAttr("expects " + name + " with one row per token"));
}

LogicalResult moe::raiseContribMoE(NodeOp node, RowExprPool &pool,
                                   ExpertWeights &weights,
                                   WeightValues &values) {
  ContribMoE contrib{node, pool, weights};
  FailureOr<MoEBlock> block = contrib.block();
  auto report = [&] {
    // It may be an operand's type that is at fault: the node is what asks.
    return emitError(node.getLoc())
           << node.describe() << ": " << contrib.rejection.reason;
  };
  if (failed(block))
    return report();

  OpBuilder b(node);
  Location loc = node.getLoc();
  Value x = block->tokens;
  bool batched = rankOf(x) == 3;
  SmallVector<ReassociationIndices> fold = {{0, 1}, {2}};
  if (batched)
    block->tokens = tensor::CollapseShapeOp::create(b, loc, x, fold);
  if (failed(checkBlock(*block, contrib.rejection))) {
    if (batched)
      block->tokens.getDefiningOp()->erase();
    return report();
  }
  reportTiedExperts(node, *block, values);
  checkTokens(b, node, block->tokens, block->route.logits, "router_probs");
  if (block->route.mixture)
    checkTokens(b, node, block->tokens, block->route.mixture, "router_weights");
  Value result = emitBlock(b, loc, *block, weights);
  if (batched) {
    auto type = cast<RankedTensorType>(x.getType());
    int64_t width = block->output->width();
    auto full = RankedTensorType::get(
        {type.getDimSize(0), type.getDimSize(1), width}, block->resultType);
    SmallVector<OpFoldResult> sizes = {tensor::getMixedSize(b, loc, x, 0),
                                       tensor::getMixedSize(b, loc, x, 1),
                                       b.getIndexAttr(width)};
    result = tensor::ExpandShapeOp::create(b, loc, full, result, fold, sizes);
  }
  Type wanted = node.getResult(0).getType();
  if (result.getType() != wanted) {
    if (!tensor::CastOp::areCastCompatible(result.getType(), wanted))
      return emitError(loc) << node.describe() << ": expects a result of type "
                            << result.getType() << ", found " << wanted;
    result = tensor::CastOp::create(b, loc, wanted, result);
  }
  node.getResult(0).replaceAllUsesWith(result);
  node.erase();
  return success();
}
