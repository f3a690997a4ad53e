//===- ConvertMoEToGrouped.cpp - moe operations to grouped kernels --------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Decides nothing about speed: each moe operation has one kernel. The only
// rewrite across operations is that a matmul reads dispatched rows through
// their token index, so that `moe.dispatch` itself leaves no copy behind.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToGrouped/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "RuntimeChecks.h"

#define DEBUG_TYPE "convert-moe-to-grouped"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETOGROUPEDPASS
#include "moe/Conversion/MoEToGrouped/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

static Value emptyLike(ImplicitLocOpBuilder &b, Value shapeSource,
                       ArrayRef<int64_t> staticTail, Type elementType) {
  SmallVector<OpFoldResult> sizes{
      tensor::getMixedSize(b, b.getLoc(), shapeSource, 0)};
  for (int64_t size : staticTail)
    sizes.push_back(b.getIndexAttr(size));
  return tensor::EmptyOp::create(b, sizes, elementType);
}

/// The result of `op`, with the type that its users know.
static Value castTo(ImplicitLocOpBuilder &b, Value value, Type type) {
  return value.getType() == type
             ? value
             : tensor::CastOp::create(b, type, value).getResult();
}

namespace {

/// What a dispatch left for the operations that use its results.
struct Plan {
  Value tokens;   // [T, H], the dispatch's operand
  Value offsets;  // [E + 1]
  Value rowMap;   // [T, k]
  Value rowToken; // [T * k]
  Value rowCount; // T * k
};

//===----------------------------------------------------------------------===//
// Converter
//===----------------------------------------------------------------------===//

/// Converts the operations of one function in order: a matmul has to know the
/// plan of the dispatch that made its rows.
class Converter {
public:
  Converter(IRRewriter &rewriter, int64_t interleaveBytes)
      : rewriter(rewriter), interleaveBytes(interleaveBytes) {}

  void convert(RouteOp op);
  void convert(DispatchOp op);
  void convert(GroupedMatmulOp op);
  void convert(CombineOp op);

  /// Replaces a dispatch whose matmuls are converted.
  void finish(DispatchOp op);

private:
  ImplicitLocOpBuilder builderAt(Operation *op) {
    rewriter.setInsertionPoint(op);
    return ImplicitLocOpBuilder(op->getLoc(), rewriter);
  }

  /// The `[E + 1]` offsets of the groups whose sizes are `op`'s.
  Value offsetsOf(GroupedMatmulOp op);

  /// Gives what is left of a dispatch's results a value of its own.
  void materialize(DispatchOp op, const Plan &plan);

  IRRewriter &rewriter;
  int64_t interleaveBytes;                          // of the panels of weights
  llvm::SmallDenseMap<Value, Plan> planOfRows;      // by dispatched rows
  llvm::SmallDenseMap<Value, Value> offsetsOfSizes; // by group sizes
  llvm::SmallDenseSet<Value> planned;               // offsets from a plan
  /// Offsets that are known to end within these rows; also by row maps: the
  /// offsets of the rows that they point to.
  llvm::SmallDenseMap<Value, Value> groupingOf;
};

} // namespace

void Converter::convert(RouteOp op) {
  ImplicitLocOpBuilder b = builderAt(op);
  int64_t k = op.getK();
  Value weights = emptyLike(b, op.getLogits(), {k},
                            op.getLogits().getType().getElementType());
  Value experts = emptyLike(b, op.getLogits(), {k}, b.getI32Type());
  auto gate = grouped::GateOp::create(
      b, TypeRange{weights.getType(), experts.getType()}, op.getLogits(),
      op.getBias(), op.getKAttr(), op.getScoreAttr(), op.getPositionAttr(),
      op.getRenormalizeAttr(), op.getRenormalizeEpsilonAttr(),
      op.getScaleAttr(), op.getTieBreakAttr(), op.getNanAttr(),
      op.getNGroupAttr(), op.getTopkGroupAttr(), op.getGroupTopAttr(),
      op.getGroupFillAttr(), op.getWeighByAttr(), op.getMixerThresholdAttr(),
      op.getRenormalizeFloorAttr(), ValueRange{weights, experts});
  rewriter.replaceOp(op,
                     {castTo(b, gate.getResult(0), op.getWeights().getType()),
                      castTo(b, gate.getResult(1), op.getExperts().getType())});
}

void Converter::convert(DispatchOp op) {
  ImplicitLocOpBuilder b = builderAt(op);
  auto experts = op.getExperts().getType();
  int64_t choices = experts.getDimSize(1);
  int64_t numExperts = op.getGroupSizes().getType().getDimSize(0);
  checkEqual(b, op, {op.getExperts(), 0}, {op.getTokens(), 0},
             "rows of experts as many as tokens,");
  Value offsets = tensor::EmptyOp::create(b, {numExperts + 1}, b.getI64Type());
  Value rowMap = emptyLike(b, op.getExperts(), {choices}, b.getI32Type());
  OpFoldResult tokens = tensor::getMixedSize(b, b.getLoc(), op.getExperts(), 0);
  Value total = arith::MulIOp::create(
      b, getValueOrCreateConstantIndexOp(b, b.getLoc(), tokens),
      arith::ConstantIndexOp::create(b, choices));
  checkRowCount(b, op, total);
  if (op.getSegment())
    checkSegment(b, op, op.getSegment(), {op.getExperts(), 0});
  Value rowToken =
      tensor::EmptyOp::create(b, {getAsOpFoldResult(total)}, b.getI32Type());
  Value layer;
  if (auto number = op->getAttrOfType<IntegerAttr>(kLayerIndexAttr))
    layer = arith::ConstantIntOp::create(b, number.getInt(), 32);
  auto plan = grouped::PlanOp::create(
      b, TypeRange{offsets.getType(), rowMap.getType(), rowToken.getType()},
      op.getExperts(), op.getCapacity(), op.getSegment(), layer,
      ValueRange{offsets, rowMap, rowToken});

  Plan made{op.getTokens(), plan.getResult(0), plan.getResult(1),
            plan.getResult(2), total};
  planOfRows[op.getRows()] = made;
  offsetsOfSizes[op.getGroupSizes()] = made.offsets;
  planned.insert(made.offsets);
  Value map = castTo(b, made.rowMap, op.getRowMap().getType());
  groupingOf[map] = made.offsets;
  rewriter.replaceAllUsesWith(op.getRowMap(), map);
  // `rows` and `group_sizes` have no value of their own as long as only matmuls
  // read them; see `finish`.
}

void Converter::finish(DispatchOp op) {
  if (!op.getRows().use_empty() || !op.getGroupSizes().use_empty())
    materialize(op, planOfRows[op.getRows()]);
  rewriter.eraseOp(op);
}

void Converter::materialize(DispatchOp op, const Plan &plan) {
  ImplicitLocOpBuilder b = builderAt(op);
  auto build = [&](Value empty, ValueRange inputs, ArrayRef<AffineMap> maps,
                   function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> f) {
    int64_t rank = cast<RankedTensorType>(empty.getType()).getRank();
    SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
    return linalg::GenericOp::create(
               b, TypeRange{empty.getType()}, inputs, ValueRange{empty}, maps,
               loops,
               [&](OpBuilder &nested, Location loc, ValueRange arguments) {
                 ImplicitLocOpBuilder nb(loc, nested);
                 linalg::YieldOp::create(nb, f(nb, arguments));
               })
        .getResult(0);
  };
  AffineMap one = b.getMultiDimIdentityMap(1),
            two = b.getMultiDimIdentityMap(2);
  AffineMap row = AffineMap::get(2, 0, b.getAffineDimExpr(0));

  OpFoldResult width = tensor::getMixedSize(b, b.getLoc(), plan.tokens, 1);
  Value empty =
      tensor::EmptyOp::create(b, {getAsOpFoldResult(plan.rowCount), width},
                              op.getRows().getType().getElementType());
  // Rows of no group repeat token 0.
  Value rows = build(empty, plan.rowToken, {row, two},
                     [&](ImplicitLocOpBuilder &nb, ValueRange arguments) {
                       Value token = arith::IndexCastOp::create(
                           nb, nb.getIndexType(), arguments[0]);
                       Value column = linalg::IndexOp::create(nb, 1);
                       return tensor::ExtractOp::create(
                                  nb, plan.tokens, ValueRange{token, column})
                           .getResult();
                     });
  rewriter.replaceAllUsesWith(op.getRows(),
                              castTo(b, rows, op.getRows().getType()));

  empty = tensor::EmptyOp::create(b, op.getGroupSizes().getType().getShape(),
                                  b.getI64Type());
  Value sizes =
      build(empty, {}, {one}, [&](ImplicitLocOpBuilder &nb, ValueRange) {
        Value group = linalg::IndexOp::create(nb, 0);
        Value next = arith::AddIOp::create(
            nb, group, arith::ConstantIndexOp::create(nb, 1));
        Value begin = tensor::ExtractOp::create(nb, plan.offsets, group);
        Value end = tensor::ExtractOp::create(nb, plan.offsets, next);
        return arith::SubIOp::create(nb, end, begin).getResult();
      });
  rewriter.replaceAllUsesWith(op.getGroupSizes(), sizes);
}

Value Converter::offsetsOf(GroupedMatmulOp op) {
  Value sizes = op.getGroupSizes();
  Value &offsets = offsetsOfSizes[sizes];
  if (!offsets) {
    // For all matmuls of these groups, wherever they are.
    rewriter.setInsertionPointAfterValue(sizes);
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    offsets = checkedPrefixSums(b, op, sizes);
  }
  return offsets;
}

void Converter::convert(GroupedMatmulOp op) {
  Value offsets = offsetsOf(op);
  ImplicitLocOpBuilder b = builderAt(op);
  auto weight = cast<RankedTensorType>(op.getWeights().front().getType());
  auto pack = [&](OperandRange values, int64_t interleaveBytes = 0,
                  bool isParameter = false) -> Value {
    if (values.empty())
      return {};
    auto type = cast<RankedTensorType>(values.front().getType());
    return grouped::PackOp::create(
        b,
        grouped::panelType(type, values.size(), isParameter, interleaveBytes),
        values);
  };
  Value packed = pack(op.getWeights(), interleaveBytes);
  Value scales = pack(op.getScales(), 0, /*isParameter=*/true);
  Value zeroPoints = pack(op.getZeroPoints(), 0, /*isParameter=*/true);
  IntegerAttr bits;
  if (scales)
    bits = b.getI64IntegerAttr(weight.getElementTypeBitWidth());

  Value rows = op.getRows(), rowToken, rowCount = rows;
  Value known = groupingOf.lookup(rows);
  auto plan = planOfRows.find(rows);
  if (plan != planOfRows.end()) {
    rows = plan->second.tokens;
    rowToken = plan->second.rowToken;
    rowCount = rowToken;
    known = plan->second.offsets;
  }
  if (known != offsets)
    checkGroupsEnd(b, op, offsets, {rowCount, 0}, planned.contains(offsets));
  for (Value extra : op.getExtras())
    checkEqual(b, op, {extra, 0}, {rowCount, 0}, "extra rows as many as rows,");
  // The kernels tile over static widths.
  checkEqual(b, op, {rows, 1}, {op.getWeights().front(), 2}, "rows of width");
  auto rowsType = cast<RankedTensorType>(rows.getType());
  rows = castTo(
      b, rows,
      RankedTensorType::get({rowsType.getDimSize(0), weight.getDimSize(2)},
                            rowsType.getElementType()));
  Value out = emptyLike(b, rowCount, {weight.getDimSize(1)},
                        op.getResult().getType().getElementType());
  auto matmul = grouped::MatmulOp::create(
      b, TypeRange{out.getType()}, rows, rowToken, offsets, packed, scales,
      zeroPoints, op.getBiases(), op.getExtras(), ValueRange{out}, bits,
      op.getBlockSizeAttr(), op.getEncodingAttr(),
      /*schedule=*/DictionaryAttr());
  rewriter.inlineRegionBefore(op.getEpilogue(), matmul.getEpilogue(),
                              matmul.getEpilogue().end());
  if (matmul.getEpilogue().empty()) {
    grouped::buildIdentityEpilogue(b, op.getLoc(), matmul.getEpilogue(),
                                   op.getResult().getType().getElementType());
  } else {
    Operation *yield = matmul.getEpilogue().front().getTerminator();
    rewriter.setInsertionPoint(yield);
    rewriter.replaceOpWithNewOp<grouped::YieldOp>(yield, yield->getOperands());
  }
  rewriter.setInsertionPointAfter(matmul);
  ImplicitLocOpBuilder after(op.getLoc(), rewriter);
  Value result = castTo(after, matmul.getResult(0), op.getResult().getType());
  groupingOf[result] = offsets;
  rewriter.replaceOp(op, result);
}

void Converter::convert(CombineOp op) {
  ImplicitLocOpBuilder b = builderAt(op);
  checkEqual(b, op, {op.getWeights(), 0}, {op.getRowMap(), 0},
             "rows of weights as many as of the row map,");
  Value grouping = groupingOf.lookup(op.getRowMap());
  if (!grouping || groupingOf.lookup(op.getRows()) != grouping)
    checkRowMap(b, op, op.getRowMap(), {op.getRows(), 0});
  SmallVector<OpFoldResult> sizes{
      tensor::getMixedSize(b, b.getLoc(), op.getRowMap(), 0),
      tensor::getMixedSize(b, b.getLoc(), op.getRows(), 1)};
  Value out = tensor::EmptyOp::create(
      b, sizes, op.getResult().getType().getElementType());
  auto combine = grouped::CombineOp::create(b, TypeRange{out.getType()},
                                            op.getRows(), op.getWeights(),
                                            op.getRowMap(), ValueRange{out});
  rewriter.replaceOp(op,
                     castTo(b, combine.getResult(0), op.getResult().getType()));
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {
struct ConvertMoEToGrouped
    : moe::impl::ConvertMoEToGroupedPassBase<ConvertMoEToGrouped> {
  using ConvertMoEToGroupedPassBase::ConvertMoEToGroupedPassBase;

  void runOnOperation() override {
    SmallVector<Operation *> ops;
    SmallVector<DispatchOp> dispatches;
    getOperation().walk([&](Operation *op) {
      if (isa<RouteOp, DispatchOp, GroupedMatmulOp, CombineOp>(op))
        ops.push_back(op);
      if (auto dispatch = dyn_cast<DispatchOp>(op))
        dispatches.push_back(dispatch);
    });
    IRRewriter rewriter(&getContext());
    Converter converter(rewriter, interleaveBytes);
    for (Operation *op : ops)
      TypeSwitch<Operation *>(op)
          .Case<RouteOp, DispatchOp, GroupedMatmulOp, CombineOp>(
              [&](auto op) { converter.convert(op); });
    for (DispatchOp dispatch : dispatches)
      converter.finish(dispatch);
  }
};
} // namespace
