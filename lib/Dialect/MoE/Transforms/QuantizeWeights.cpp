//===- QuantizeWeights.cpp - float weights to integers in blocks ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Only symbols change hands here; the rounding itself is done while the weights
// stream into the weight file (lib/Target/Weights/Quantize.cpp).
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "moe-quantize-weights"

namespace mlir::moe {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The products that logits of a route are made of.
static DenseSet<Operation *> findRouters(ModuleOp module) {
  DenseSet<Operation *> routers;
  SetVector<Value> values;
  module.walk([&](RouteOp route) { values.insert(route.getLogits()); });
  for (size_t i = 0; i < values.size(); ++i) {
    Operation *op = values[i].getDefiningOp();
    if (!op)
      continue;
    if (isa<GroupedMatmulOp>(op)) {
      routers.insert(op);
      continue;
    }
    for (Value operand : op->getOperands())
      values.insert(operand);
  }
  return routers;
}

/// The symbol behind a weight of floats that can be rounded.
static GetWeightOp floatWeight(Value value) {
  auto get = value.getDefiningOp<GetWeightOp>();
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!get || !type || !type.hasStaticShape())
    return {};
  Type element = type.getElementType();
  return element.isF32() || element.isF16() || element.isBF16() ? get
                                                                : GetWeightOp();
}

namespace {
struct QuantizeWeights : moe::impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  LogicalResult initialize(MLIRContext *context) override {
    Builder b(context);
    scale = llvm::StringSwitch<Type>(scaleType)
                .Case("f32", b.getF32Type())
                .Case("f16", b.getF16Type())
                .Case("bf16", b.getBF16Type())
                .Default(Type());
    Location loc = UnknownLoc::get(context);
    if (!scale)
      return emitError(loc, "expects scales of f32, f16 or bf16, got '")
             << scaleType.getValue() << "'";
    if (bits != 2 && bits != 4 && bits != 8)
      return emitError(loc, "expects 2, 4 or 8 bits, got ") << bits.getValue();
    if (blockSize < 0 || blockSize % (32 / bits) != 0)
      return emitError(loc, "expects a block size of a multiple of ")
             << 32 / bits << " for " << bits.getValue() << " bits, got "
             << blockSize.getValue();
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable table(module);
    symbols = &table;
    parts.clear();
    DenseSet<Operation *> routers = findRouters(module);
    module.walk([&](GroupedMatmulOp op) {
      bool isExpert = op.getGroupSizes().getDefiningOp<DispatchOp>() != nullptr;
      if (!isExpert && (!dense || routers.contains(op)))
        return;
      if (!op.getScales().empty() ||
          !llvm::all_of(op.getWeights(), floatWeight)) {
        LDBG() << "left as it is: " << op->getName() << " at " << op.getLoc();
        return;
      }
      quantize(op);
    });
  }

private:
  void quantize(GroupedMatmulOp op);
  Value makePart(OpBuilder &b, GetWeightOp weight, QuantizedPart part,
                 int64_t block);

  Type scale;
  SymbolTable *symbols = nullptr;
  /// By source and part; the block size follows from the source.
  DenseMap<std::pair<Attribute, int>, QuantizedWeightOp> parts;
};
} // namespace

Value QuantizeWeights::makePart(OpBuilder &b, GetWeightOp weight,
                                QuantizedPart part, int64_t block) {
  auto type = cast<RankedTensorType>(weight.getType());
  QuantizedWeightOp &made =
      parts[{weight.getWeightAttr(), static_cast<int>(part)}];
  if (!made) {
    SmallVector<int64_t> shape(type.getShape());
    if (part != QuantizedPart::Integers)
      shape.back() = llvm::divideCeilSigned(shape.back(), block);
    Type element =
        part == QuantizedPart::Scales ? scale : b.getIntegerType(bits);
    std::string name = (weight.getWeight() + "__i" + Twine(bits)).str();
    if (part != QuantizedPart::Integers)
      name += ("_" + stringifyQuantizedPart(part)).str();
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointAfter(symbols->lookup(weight.getWeight()));
    made = QuantizedWeightOp::create(b, weight.getLoc(), name, part,
                                     weight.getWeight(), bits, block, scale,
                                     asymmetric, /*section=*/IntegerAttr(),
                                     RankedTensorType::get(shape, element));
    symbols->insert(made, b.getInsertionPoint());
  }
  return GetWeightOp::create(b, weight.getLoc(), made.getWeightType(),
                             made.getSymName());
}

void QuantizeWeights::quantize(GroupedMatmulOp op) {
  OpBuilder b(op);
  SmallVector<ExpertMatrix> matrices = op.getMatrices();
  for (ExpertMatrix &matrix : matrices) {
    auto weight = matrix.weight.getDefiningOp<GetWeightOp>();
    int64_t depth =
        cast<RankedTensorType>(matrix.weight.getType()).getDimSize(2);
    matrix.blockSize = blockSize ? blockSize : std::max<int64_t>(depth, 1);
    auto make = [&](QuantizedPart part) {
      return makePart(b, weight, part, matrix.blockSize);
    };
    matrix.weight = make(QuantizedPart::Integers);
    matrix.scales = make(QuantizedPart::Scales);
    if (asymmetric)
      matrix.zeroPoints = make(QuantizedPart::ZeroPoints);
  }
  op.setMatrices(matrices);
}
