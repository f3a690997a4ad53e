//===- MoEBlock.cpp - a recognised block of experts -----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MoEBlock.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

static bool inside(int64_t begin, int64_t size, int64_t step, int64_t extent) {
  return begin >= 0 && size > 0 && step > 0 &&
         begin + (size - 1) * step < extent;
}

/// One linear map, whose input has `width` elements per row (-1: not known).
static LogicalResult checkLinear(const RowExpr *linear, const MoEBlock &block,
                                 int64_t width, Rejection &rejection) {
  RankedTensorType weight = linear->weight.stackedType(2);
  if (!weight)
    return rejection.at(linear->origin,
                        "expects expert weights of a static shape [E, N, K]");
  int64_t n = linear->columns(), k = linear->depth();
  if (weight.getDimSize(0) != block.route.experts)
    return rejection.at(linear->origin,
                        "expects weights of as many experts as the router "
                        "scores, found " +
                            Twine(weight.getDimSize(0)) + " and " +
                            Twine(block.route.experts));
  if (!inside(linear->begin, linear->size, linear->step, n))
    return rejection.at(linear->origin, "expects a part of the weight's rows");
  if (width >= 0 && width != k)
    return rejection.at(linear->origin, "expects an input of " + Twine(k) +
                                            " elements, found " + Twine(width));
  if (!linear->quantized &&
      weight.getElementType() != elementTypeOf(block.tokens))
    return rejection.at(linear->origin,
                        "expects weights of the tokens' element type");
  if (!linear->bias)
    return success();
  RankedTensorType bias = linear->bias.stackedType(1);
  if (!bias || bias.getDimSize(0) != block.route.experts ||
      !inside(linear->biasBegin, linear->size, linear->biasStep,
              bias.getDimSize(1)))
    return rejection.at(linear->origin, "expects a bias of shape [E, N]");
  if (bias.getElementType() != elementTypeOf(block.tokens))
    return rejection.at(linear->origin,
                        "expects a bias of the tokens' element type");
  return success();
}

LogicalResult moe::checkBlock(const MoEBlock &block, Rejection &rejection) {
  auto tokens = dyn_cast<RankedTensorType>(block.tokens.getType());
  if (!tokens || tokens.getRank() < 2 ||
      !isa<FloatType>(tokens.getElementType()))
    return rejection.at(block.tokens.getDefiningOp(),
                        "expects tokens of rank 2 or more with float elements");
  if (Value mixture = block.route.mixture;
      mixture && (!isa_and_nonnull<FloatType>(elementTypeOf(mixture)) ||
                  elementTypeOf(mixture).isF64()))
    return rejection.at(mixture.getDefiningOp(),
                        "expects routing weights of at most 32 bits");
  Type scores = elementTypeOf(block.route.logits);
  if (!isa_and_nonnull<FloatType>(scores) || scores.isF64() ||
      tokens.getElementType().isF64()) // moe.route computes in f32
    return rejection.at(block.route.logits.getDefiningOp(),
                        "expects tokens and logits of at most 32 bits");
  int64_t hidden = tokens.getShape().back();
  // From the last layer to the first.
  for (const RowExpr *layer = block.output; layer;) {
    bool any = false;
    const RowExpr *input = nullptr;
    int64_t size = 0;
    LogicalResult result = success();
    forEachLinear(layer, [&](const RowExpr *linear) {
      if (failed(result))
        return;
      if (any && (linear->input != input || linear->size != size)) {
        result = rejection.at(linear->origin,
                              "expects the projections of a layer to have one "
                              "input and one width");
        return;
      }
      any = true;
      input = linear->input;
      size = linear->size;
      int64_t width = input ? input->width()
                            : (ShapedType::isDynamic(hidden) ? -1 : hidden);
      result = checkLinear(linear, block, width, rejection);
    });
    if (failed(result))
      return failure();
    if (!any)
      return rejection.at(nullptr, "expects at least one projection");
    layer = input;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Emission
//===----------------------------------------------------------------------===//

/// Weights of one layer without repetition.
static SmallVector<const RowExpr *> linearsOf(const RowExpr *layer) {
  SmallVector<const RowExpr *> linears;
  forEachLinear(layer,
                [&](const RowExpr *linear) { linears.push_back(linear); });
  return linears;
}

static Value castTo(OpBuilder &b, Location loc, Value value,
                    RankedTensorType type) {
  return value.getType() == type
             ? value
             : tensor::CastOp::create(b, loc, type, value).getResult();
}

/// [.., N] as [rows, N].
static Value flattenRows(OpBuilder &b, Location loc, Value value) {
  int64_t rank = cast<RankedTensorType>(value.getType()).getRank();
  if (rank == 2)
    return value;
  SmallVector<ReassociationIndices> fold(2);
  fold[0] = llvm::to_vector(llvm::seq<int64_t>(0, rank - 1));
  fold[1] = {rank - 1};
  return tensor::CollapseShapeOp::create(b, loc, value, fold);
}

/// Some weights of a layer may have a bias and others none, but the operation
/// wants one for each: those get zeros.
static Value zeroBias(OpBuilder &b, Location loc, int64_t experts, int64_t size,
                      Type type) {
  auto tensorType = RankedTensorType::get({experts, size}, type);
  return arith::ConstantOp::create(b, loc,
                                   cast<TypedAttr>(b.getZeroAttr(tensorType)));
}

/// The rows of one layer.
static Value emitLayer(OpBuilder &b, Location loc, const RowExpr *layer,
                       Value rows, Value sizes, int64_t experts,
                       Type elementType, ExpertWeights &weights) {
  SmallVector<const RowExpr *> linears = linearsOf(layer);
  bool anyBias = llvm::any_of(
      linears, [](const RowExpr *linear) { return bool(linear->bias); });
  SmallVector<ExpertMatrix> matrices;
  for (const RowExpr *linear : linears) {
    StridedRange range{linear->begin, linear->size, linear->step};
    ExpertMatrix &matrix = matrices.emplace_back();
    if (linear->quantized)
      matrix = weights.quantized(b, loc, *linear->quantized, range);
    else
      matrix.weight =
          weights.matrix(b, loc, linear->weight, linear->inputMajor, range);
    if (linear->bias)
      matrix.bias =
          weights.bias(b, loc, linear->bias,
                       {linear->biasBegin, linear->size, linear->biasStep});
    else if (anyBias)
      matrix.bias = zeroBias(b, loc, experts, linear->size, elementType);
  }
  auto type = RankedTensorType::get({ShapedType::kDynamic, linears[0]->size},
                                    elementType);
  auto matmul = GroupedMatmulOp::create(b, loc, type, rows, sizes, matrices);
  if (layer->kind == RowExpr::Linear)
    return matmul;
  Type compute = elementType.isF64() ? elementType : b.getF32Type();
  OpBuilder::InsertionGuard guard(b);
  Block *body = b.createBlock(&matmul.getEpilogue(), {},
                              SmallVector<Type>(linears.size(), compute),
                              SmallVector<Location>(linears.size(), loc));
  Value result = emitScalar(b, loc, compute, layer, [&](const RowExpr *linear) {
    return body->getArgument(llvm::find(linears, linear) - linears.begin());
  });
  YieldOp::create(b, loc, result);
  return matmul;
}

static RouteOp emitRoute(OpBuilder &b, Location loc,
                         const RouteRecipe &recipe) {
  Value rows = flattenRows(b, loc, recipe.logits);
  auto given = cast<RankedTensorType>(rows.getType());
  int64_t tokens = given.getDimSize(0);
  Type type = given.getElementType();
  Value logits = castTo(b, loc, rows,
                        RankedTensorType::get({tokens, recipe.experts}, type));
  auto weightsType = RankedTensorType::get({tokens, recipe.k}, type);
  auto expertsType = RankedTensorType::get({tokens, recipe.k}, b.getI32Type());
  OperationState state(loc, RouteOp::getOperationName());
  state.addOperands(logits);
  if (Value bias = recipe.bias) {
    if (rankOf(bias) == 2)
      bias = tensor::CollapseShapeOp::create(
          b, loc, bias, ArrayRef<ReassociationIndices>{{0, 1}});
    state.addOperands(bias);
  }
  state.addTypes({weightsType, expertsType});
  RouteOp::Properties &properties =
      state.getOrAddProperties<RouteOp::Properties>();
  MLIRContext *context = b.getContext();
  properties.setK(b.getI64IntegerAttr(recipe.k));
  properties.setScore(ScoreFunctionAttr::get(context, recipe.score));
  properties.setPosition(ScorePositionAttr::get(context, recipe.position));
  if (recipe.renormalize && !recipe.mixture)
    properties.setRenormalize(b.getUnitAttr());
  if (recipe.renormalizeEpsilon != 0)
    properties.setRenormalizeEpsilon(
        b.getF32FloatAttr(recipe.renormalizeEpsilon));
  if (recipe.renormalizeFloor)
    properties.setRenormalizeFloor(b.getF32FloatAttr(*recipe.renormalizeFloor));
  if (recipe.scale != 1)
    properties.setScale(b.getF32FloatAttr(recipe.scale));
  if (recipe.groups != 1) {
    properties.setNGroup(b.getI64IntegerAttr(recipe.groups));
    properties.setTopkGroup(b.getI64IntegerAttr(recipe.topGroups));
    properties.setGroupTop(b.getI64IntegerAttr(recipe.groupTop));
    if (recipe.groupFill)
      properties.setGroupFill(b.getF32FloatAttr(*recipe.groupFill));
  }
  if (recipe.weighBy != WeighBy::Score)
    properties.setWeighBy(WeighByAttr::get(context, recipe.weighBy));
  if (recipe.mixerThreshold)
    properties.setMixerThreshold(b.getF32FloatAttr(*recipe.mixerThreshold));
  return cast<RouteOp>(b.create(state));
}

/// The capacity as an index.
static Value emitCapacity(OpBuilder &b, Location loc,
                          const ExpertCapacity &capacity) {
  auto limit = splatOf(capacity.limit);
  if (limit)
    return arith::ConstantIndexOp::create(
        b, loc, static_cast<int64_t>(*limit) + capacity.offset);
  SmallVector<Value> at(rankOf(capacity.limit));
  for (Value &index : at)
    index = arith::ConstantIndexOp::create(b, loc, 0);
  Value value = tensor::ExtractOp::create(b, loc, capacity.limit, at);
  value = arith::IndexCastOp::create(b, loc, b.getIndexType(), value);
  return arith::AddIOp::create(
      b, loc, value, arith::ConstantIndexOp::create(b, loc, capacity.offset));
}

/// The weights [T, k] that `recipe.mixture` gives the chosen experts.
static Value emitMixture(OpBuilder &b, Location loc, const RouteRecipe &recipe,
                         Value experts) {
  Type element = elementTypeOf(recipe.mixture);
  auto type = cast<RankedTensorType>(experts.getType()).clone(element);
  Value empty = tensor::EmptyOp::create(
      b, loc, tensor::getMixedSizes(b, loc, experts), element);
  AffineMap identity = b.getMultiDimIdentityMap(2);
  auto generic = linalg::GenericOp::create(
      b, loc, TypeRange{type}, experts, empty, ArrayRef{identity, identity},
      SmallVector<utils::IteratorType>(2, utils::IteratorType::parallel),
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        Value token = linalg::IndexOp::create(b, 0);
        auto weightOf = [&](Value expert) -> Value {
          Value column =
              arith::IndexCastOp::create(b, b.getIndexType(), expert);
          Value weight = tensor::ExtractOp::create(b, recipe.mixture,
                                                   ValueRange{token, column});
          return element.isF32()
                     ? weight
                     : arith::ExtFOp::create(b, b.getF32Type(), weight);
        };
        Value weight = weightOf(args[0]);
        if (recipe.renormalize) {
          Value sum;
          for (int64_t j = 0; j < recipe.k; ++j) {
            Value slot = arith::ConstantIndexOp::create(b, j);
            Value next = weightOf(
                tensor::ExtractOp::create(b, experts, ValueRange{token, slot}));
            sum = sum ? arith::AddFOp::create(b, sum, next) : next;
          }
          weight = arith::DivFOp::create(b, weight, sum);
        }
        if (!element.isF32())
          weight = arith::TruncFOp::create(b, element, weight);
        linalg::YieldOp::create(b, weight);
      });
  return generic.getResult(0);
}

/// `list` [a, b] as [c, d], of as many elements; d is static.
static Value reshapeList(OpBuilder &b, Location loc, Value list,
                         OpFoldResult rows, int64_t columns) {
  SmallVector<ReassociationIndices> all = {{0, 1}};
  Value flat = tensor::CollapseShapeOp::create(b, loc, list, all);
  SmallVector<OpFoldResult> sizes = {rows, b.getIndexAttr(columns)};
  auto [shape, dynamic] = decomposeMixedValues(sizes);
  (void)dynamic;
  auto type = RankedTensorType::get(shape, elementTypeOf(list));
  return tensor::ExpandShapeOp::create(b, loc, type, flat, all, sizes);
}

/// Every choice of a token as a token of its own, [T * k, H], multiplied by its
/// weight [T, k].
static Value emitScaledTokens(OpBuilder &b, Location loc, Value tokens,
                              Value weights) {
  auto type = cast<RankedTensorType>(tokens.getType());
  Type element = type.getElementType(), f32 = b.getF32Type();
  int64_t k = cast<RankedTensorType>(weights.getType()).getDimSize(1);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, tokens);
  sizes.insert(sizes.begin() + 1, b.getIndexAttr(k));
  Value empty = tensor::EmptyOp::create(b, loc, sizes, element);
  AffineExpr t = b.getAffineDimExpr(0), j = b.getAffineDimExpr(1),
             h = b.getAffineDimExpr(2);
  auto scaled = linalg::GenericOp::create(
      b, loc, TypeRange{empty.getType()}, ValueRange{tokens, weights}, empty,
      ArrayRef{AffineMap::get(3, 0, {t, h}, b.getContext()),
               AffineMap::get(3, 0, {t, j}, b.getContext()),
               b.getMultiDimIdentityMap(3)},
      SmallVector<utils::IteratorType>(3, utils::IteratorType::parallel),
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        auto widen = [&](Value v) {
          return v.getType() == f32 ? v : arith::ExtFOp::create(b, f32, v);
        };
        Value y = arith::MulFOp::create(b, widen(args[0]), widen(args[1]));
        if (element != f32)
          y = arith::TruncFOp::create(b, element, y);
        linalg::YieldOp::create(b, y);
      });
  SmallVector<ReassociationIndices> rows = {{0, 1}, {2}};
  return tensor::CollapseShapeOp::create(b, loc, scaled.getResult(0), rows);
}

Value moe::emitBlock(OpBuilder &b, Location loc, const MoEBlock &block,
                     ExpertWeights &weights) {
  RouteOp route = emitRoute(b, loc, block.route);

  // The first layer says how wide a token is.
  SmallVector<const RowExpr *> layers;
  for (const RowExpr *layer = block.output; layer;
       layer = linearsOf(layer)[0]->input)
    layers.push_back(layer);
  const RowExpr *first = linearsOf(layers.back())[0];
  Value flat = flattenRows(b, loc, block.tokens);
  auto given = cast<RankedTensorType>(flat.getType());
  int64_t hidden = first->depth();
  Type elementType = given.getElementType();
  auto tokensType =
      RankedTensorType::get({given.getDimSize(0), hidden}, elementType);
  Value tokens = castTo(b, loc, flat, tokensType);

  int64_t experts = block.route.experts;
  Value ids = route.getExperts(), read = tokens;
  if (block.scalesTokens) {
    read = emitScaledTokens(b, loc, tokens, route.getWeights());
    ids = reshapeList(b, loc, ids, tensor::getMixedSize(b, loc, read, 0), 1);
  }
  Value capacity, segment;
  if (block.capacity) {
    capacity = emitCapacity(b, loc, *block.capacity);
    if (rankOf(block.route.logits) == 3)
      segment = tensor::DimOp::create(b, loc, block.route.logits, 1);
  }
  auto dispatch = DispatchOp::create(
      b, loc,
      RankedTensorType::get({ShapedType::kDynamic, hidden}, elementType),
      RankedTensorType::get({experts}, b.getI64Type()), ids.getType(), read,
      ids, capacity, segment);
  Value rows = dispatch.getRows();
  for (const RowExpr *layer : llvm::reverse(layers))
    rows = emitLayer(b, loc, layer, rows, dispatch.getGroupSizes(), experts,
                     layer == block.output ? block.resultType : elementType,
                     weights);
  auto resultType = RankedTensorType::get(
      {given.getDimSize(0), block.output->width()}, block.resultType);
  Value map = dispatch.getRowMap();
  if (block.scalesTokens) {
    // Each row counts as it is.
    map = reshapeList(b, loc, map, tensor::getMixedSize(b, loc, tokens, 0),
                      block.route.k);
    Type type = elementTypeOf(route.getWeights());
    Value ones = tensor::EmptyOp::create(
        b, loc, tensor::getMixedSizes(b, loc, route.getWeights()), type);
    Value one = arith::ConstantOp::create(b, loc, b.getFloatAttr(type, 1));
    ones = linalg::FillOp::create(b, loc, one, ones).getResult(0);
    return CombineOp::create(b, loc, resultType, rows, ones, map);
  }
  Value mixing = block.route.mixture
                     ? emitMixture(b, loc, block.route, route.getExperts())
                     : route.getWeights();
  return CombineOp::create(b, loc, resultType, rows, mixing, map);
}
