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

/// `[0, s0, s0 + s1, ...]` for group sizes that no dispatch made.
static Value prefixSums(ImplicitLocOpBuilder &b, Value sizes) {
  int64_t groups = cast<RankedTensorType>(sizes.getType()).getDimSize(0);
  Type i64 = b.getI64Type();
  Value zero = arith::ConstantIntOp::create(b, 0, 64);
  if (groups == 1) {
    Value index = arith::ConstantIndexOp::create(b, 0);
    Value size = tensor::ExtractOp::create(b, sizes, index);
    return tensor::FromElementsOp::create(b, ValueRange{zero, size});
  }
  Value c0 = arith::ConstantIndexOp::create(b, 0);
  Value c1 = arith::ConstantIndexOp::create(b, 1);
  Value end = arith::ConstantIndexOp::create(b, groups);
  Value init = tensor::EmptyOp::create(b, {groups + 1}, i64);
  init = tensor::InsertOp::create(b, zero, init, c0);
  auto loop = scf::ForOp::create(
      b, c0, end, c1, ValueRange{init, zero},
      [&](OpBuilder &nested, Location loc, Value e, ValueRange carried) {
        ImplicitLocOpBuilder nb(loc, nested);
        Value size = tensor::ExtractOp::create(nb, sizes, e);
        Value sum = arith::AddIOp::create(nb, carried[1], size);
        Value next = arith::AddIOp::create(nb, e, c1);
        Value offsets = tensor::InsertOp::create(nb, sum, carried[0], next);
        scf::YieldOp::create(nb, ValueRange{offsets, sum});
      });
  return loop.getResult(0);
}

namespace {

/// What a dispatch left for the operations that use its results.
struct Plan {
  Value tokens;   // [T, H], the dispatch's operand
  Value offsets;  // [E + 1]
  Value rowMap;   // [T, k]
  Value rowToken; // [T * k]
};

//===----------------------------------------------------------------------===//
// Converter
//===----------------------------------------------------------------------===//

/// Converts the operations of one function in order: a matmul has to know the
/// plan of the dispatch that made its rows.
class Converter {
public:
  explicit Converter(IRRewriter &rewriter) : rewriter(rewriter) {}

  void convert(RouteOp op);
  void convert(DispatchOp op);
  void convert(GroupedMatmulOp op);
  void convert(CombineOp op);

private:
  ImplicitLocOpBuilder builderAt(Operation *op) {
    rewriter.setInsertionPoint(op);
    return ImplicitLocOpBuilder(op->getLoc(), rewriter);
  }

  /// The `[E + 1]` offsets of the groups whose sizes are `sizes`.
  Value offsetsOf(ImplicitLocOpBuilder &b, Value sizes);

  IRRewriter &rewriter;
  llvm::SmallDenseMap<Value, Plan> planOfRows;      // by dispatched rows
  llvm::SmallDenseMap<Value, Value> offsetsOfSizes; // by group sizes
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
      ValueRange{weights, experts});
  rewriter.replaceOp(op,
                     {castTo(b, gate.getResult(0), op.getWeights().getType()),
                      castTo(b, gate.getResult(1), op.getExperts().getType())});
}

void Converter::convert(DispatchOp op) {
  ImplicitLocOpBuilder b = builderAt(op);
  auto experts = op.getExperts().getType();
  int64_t choices = experts.getDimSize(1);
  int64_t numExperts = op.getGroupSizes().getType().getDimSize(0);
  Value offsets = tensor::EmptyOp::create(b, {numExperts + 1}, b.getI64Type());
  Value rowMap = emptyLike(b, op.getExperts(), {choices}, b.getI32Type());
  OpFoldResult tokens = tensor::getMixedSize(b, b.getLoc(), op.getExperts(), 0);
  Value total = arith::MulIOp::create(
      b, getValueOrCreateConstantIndexOp(b, b.getLoc(), tokens),
      arith::ConstantIndexOp::create(b, choices));
  Value rowToken =
      tensor::EmptyOp::create(b, {getAsOpFoldResult(total)}, b.getI32Type());
  auto plan = grouped::PlanOp::create(
      b, TypeRange{offsets.getType(), rowMap.getType(), rowToken.getType()},
      op.getExperts(), op->getAttrOfType<IntegerAttr>(kLayerIndexAttr),
      ValueRange{offsets, rowMap, rowToken});

  Plan made{op.getTokens(), plan.getResult(0), plan.getResult(1),
            plan.getResult(2)};
  planOfRows[op.getRows()] = made;
  offsetsOfSizes[op.getGroupSizes()] = made.offsets;
  rewriter.replaceAllUsesWith(op.getRowMap(),
                              castTo(b, made.rowMap, op.getRowMap().getType()));
  // `rows` and `group_sizes` have no value of their own any more; the pass
  // erases the dispatch once the matmuls that read them are converted.
}

Value Converter::offsetsOf(ImplicitLocOpBuilder &b, Value sizes) {
  Value &offsets = offsetsOfSizes[sizes];
  if (!offsets)
    offsets = prefixSums(b, sizes);
  return offsets;
}

void Converter::convert(GroupedMatmulOp op) {
  ImplicitLocOpBuilder b = builderAt(op);
  auto weight = cast<RankedTensorType>(op.getWeights().front().getType());
  auto panels = RankedTensorType::get(
      grouped::panelShape(weight.getShape(), weight.getElementType(),
                          op.getWeights().size()),
      weight.getElementType());
  Value packed = grouped::PackOp::create(b, panels, op.getWeights());
  Value offsets = offsetsOf(b, op.getGroupSizes());

  Value rows = op.getRows(), rowToken, rowCount = rows;
  auto plan = planOfRows.find(rows);
  if (plan != planOfRows.end()) {
    rows = plan->second.tokens;
    rowToken = plan->second.rowToken;
    rowCount = rowToken;
  }
  // The kernels tile over static widths.
  auto rowsType = cast<RankedTensorType>(rows.getType());
  rows = castTo(
      b, rows,
      RankedTensorType::get({rowsType.getDimSize(0), weight.getDimSize(2)},
                            rowsType.getElementType()));
  Value out = emptyLike(b, rowCount, {weight.getDimSize(1)},
                        op.getResult().getType().getElementType());
  auto matmul = grouped::MatmulOp::create(
      b, TypeRange{out.getType()}, rows, rowToken, offsets, packed,
      op.getBiases(), op.getExtras(), ValueRange{out},
      /*schedule=*/DictionaryAttr());
  rewriter.inlineRegionBefore(op.getEpilogue(), matmul.getEpilogue(),
                              matmul.getEpilogue().end());
  if (!matmul.getEpilogue().empty()) {
    Operation *yield = matmul.getEpilogue().front().getTerminator();
    rewriter.setInsertionPoint(yield);
    rewriter.replaceOpWithNewOp<grouped::YieldOp>(yield, yield->getOperands());
  }
  rewriter.setInsertionPointAfter(matmul);
  ImplicitLocOpBuilder after(op.getLoc(), rewriter);
  rewriter.replaceOp(
      op, castTo(after, matmul.getResult(0), op.getResult().getType()));
}

void Converter::convert(CombineOp op) {
  ImplicitLocOpBuilder b = builderAt(op);
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
    Converter converter(rewriter);
    for (Operation *op : ops)
      TypeSwitch<Operation *>(op)
          .Case<RouteOp, DispatchOp, GroupedMatmulOp, CombineOp>(
              [&](auto op) { converter.convert(op); });
    for (DispatchOp dispatch : dispatches) {
      if (!dispatch->use_empty()) {
        dispatch.emitOpError("expects its rows and group sizes to be used by "
                             "moe.grouped_matmul only");
        return signalPassFailure();
      }
      rewriter.eraseOp(dispatch);
    }
  }
};
} // namespace
