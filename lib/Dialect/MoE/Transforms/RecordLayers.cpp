//===- RecordLayers.cpp - Routing recipes as a module attribute -----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What model.json and the load counters say about sparse layers. Recorded while
// the recipes are still explicit and no layer is outlined.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "llvm/Support/MathExtras.h"

#define DEBUG_TYPE "moe-record-layers"

namespace mlir::moe {
#define GEN_PASS_DEF_RECORDLAYERS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Bytes of one expert's slices of all weights that the dispatched rows meet.
static int64_t bytesPerExpert(DispatchOp dispatch) {
  int64_t bits = 0;
  for (Operation *user : dispatch.getGroupSizes().getUsers()) {
    auto matmul = dyn_cast<GroupedMatmulOp>(user);
    if (!matmul)
      continue;
    auto count = [&](Value operand) {
      auto type = cast<RankedTensorType>(operand.getType());
      if (type.hasStaticShape() && type.getDimSize(0) > 0)
        bits += type.getNumElements() / type.getDimSize(0) *
                type.getElementTypeBitWidth();
    };
    llvm::for_each(matmul.getWeights(), count);
    llvm::for_each(matmul.getScales(), count);
    llvm::for_each(matmul.getZeroPoints(), count);
    llvm::for_each(matmul.getBiases(), count);
  }
  return llvm::divideCeil(bits, 8);
}

static void appendRecipe(RouteOp route, NamedAttrList &entry) {
  Builder b(route.getContext());
  entry.set("score", b.getStringAttr(stringifyScoreFunction(route.getScore())));
  entry.set("position",
            b.getStringAttr(stringifyScorePosition(route.getPosition())));
  entry.set("renormalize", b.getBoolAttr(route.getRenormalize()));
  entry.set("renormalize_epsilon", route.getRenormalizeEpsilonAttr());
  entry.set("scale", route.getScaleAttr());
  entry.set("bias", b.getBoolAttr(route.getBias() != nullptr));
  entry.set("n_group", b.getI64IntegerAttr(route.getNGroup()));
  entry.set("topk_group", b.getI64IntegerAttr(route.getTopkGroup()));
  entry.set("weigh_by", b.getStringAttr(stringifyWeighBy(route.getWeighBy())));
  if (FloatAttr fill = route.getGroupFillAttr())
    entry.set("group_fill", fill);
  if (FloatAttr threshold = route.getMixerThresholdAttr())
    entry.set("mixer_threshold", threshold);
  if (FloatAttr floor = route.getRenormalizeFloorAttr())
    entry.set("renormalize_floor", floor);
}

static DictionaryAttr describeLayer(DispatchOp dispatch, int64_t index) {
  Builder b(dispatch.getContext());
  NamedAttrList entry;
  auto route = dispatch.getExperts().getDefiningOp<RouteOp>();
  StringRef name = sourceName(route ? route.getLoc() : dispatch.getLoc());
  entry.set("name", name.empty() ? b.getStringAttr("layer" + Twine(index))
                                 : b.getStringAttr(name));
  entry.set("experts", b.getI64IntegerAttr(
                           dispatch.getGroupSizes().getType().getDimSize(0)));
  entry.set("k",
            b.getI64IntegerAttr(dispatch.getExperts().getType().getDimSize(1)));
  entry.set("bytes_per_expert", b.getI64IntegerAttr(bytesPerExpert(dispatch)));
  if (dispatch.getCapacity())
    entry.set("capacity", b.getBoolAttr(true));
  if (route)
    appendRecipe(route, entry);
  return entry.getDictionary(dispatch.getContext());
}

namespace {
struct RecordLayers : public moe::impl::RecordLayersBase<RecordLayers> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto main = module.lookupSymbol<func::FuncOp>("main");
    if (!main || module->hasAttr(kLayersAttr))
      return;
    Builder b(&getContext());
    SmallVector<Attribute> layers;
    main.walk([&](DispatchOp dispatch) {
      int64_t index = static_cast<int64_t>(layers.size());
      dispatch->setAttr(kLayerIndexAttr, b.getI64IntegerAttr(index));
      layers.push_back(describeLayer(dispatch, index));
    });
    module->setAttr(kLayersAttr, b.getArrayAttr(layers));
  }
};
} // namespace
