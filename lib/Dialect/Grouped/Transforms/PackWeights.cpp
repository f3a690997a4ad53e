//===- PackWeights.cpp - grouped.pack of weights at compile time ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Grouped/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/SymbolTable.h"

#include "moe/Dialect/Grouped/IR/Grouped.h"

#define DEBUG_TYPE "grouped-pack-weights"

namespace mlir::grouped {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "moe/Dialect/Grouped/Transforms/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;
using namespace mlir::grouped;

/// The symbols whose values `op` packs; empty when an operand is no weight.
static SmallVector<Attribute> weightSymbols(PackOp op) {
  SmallVector<Attribute> symbols;
  for (Value weight : op.getWeights()) {
    auto get = weight.getDefiningOp<moe::GetWeightOp>();
    if (!get)
      return {};
    symbols.push_back(get.getWeightAttr());
  }
  return symbols;
}

/// Packs weights that are only known at run time: element by element, in the
/// order of the panels. A word of quantized weights is put together from the
/// elements that it holds.
static Value packAtRunTime(ImplicitLocOpBuilder &b, PackOp op) {
  auto panels = cast<RankedTensorType>(op.getPanels().getType());
  auto weight = cast<RankedTensorType>(op.getWeights().front().getType());
  int64_t interleave = interleaveOf(panels);
  int64_t count = op.getWeights().size();
  int64_t bits = weight.getElementTypeBitWidth();
  bool isInteger = weight.getElementType().isInteger();
  int64_t perElement = isInteger && panels.getElementType().isInteger(kWordBits)
                           ? kWordBits / bits
                           : 1;
  Value empty =
      tensor::EmptyOp::create(b, panels.getShape(), panels.getElementType());
  auto body = [&](OpBuilder &nested, Location loc, ValueRange) {
    ImplicitLocOpBuilder nb(loc, nested);
    auto constant = [&](int64_t v) -> Value {
      return arith::ConstantIndexOp::create(nb, v);
    };
    auto index = [&](int64_t dim) -> Value {
      return linalg::IndexOp::create(nb, dim);
    };
    Value panel = index(1), lane = index(3);
    Value n = arith::AddIOp::create(
        nb,
        arith::MulIOp::create(
            nb, arith::DivUIOp::create(nb, panel, constant(count)),
            constant(kPanelColumns)),
        arith::DivUIOp::create(nb, lane, constant(interleave)));
    Value first = arith::AddIOp::create(
        nb,
        arith::MulIOp::create(nb, index(2), constant(interleave * perElement)),
        arith::RemUIOp::create(nb, lane, constant(interleave)));
    Value which = arith::RemUIOp::create(nb, panel, constant(count));
    Value lastN = constant(weight.getDimSize(1) - 1);
    Value lastK = constant(weight.getDimSize(2) - 1);
    auto elementAt = [&](Value k) -> Value {
      Value inside = arith::AndIOp::create(
          nb, arith::CmpIOp::create(nb, arith::CmpIPredicate::ule, n, lastN),
          arith::CmpIOp::create(nb, arith::CmpIPredicate::ule, k, lastK));
      SmallVector<Value> at{index(0), arith::MinUIOp::create(nb, n, lastN),
                            arith::MinUIOp::create(nb, k, lastK)};
      Value value = arith::ConstantOp::create(
          nb, nb.getZeroAttr(weight.getElementType()));
      Value zero = value;
      for (auto [w, source] : llvm::enumerate(op.getWeights())) {
        Value element = tensor::ExtractOp::create(nb, source, at);
        Value chosen = arith::CmpIOp::create(nb, arith::CmpIPredicate::eq,
                                             which, constant(w));
        value = arith::SelectOp::create(nb, chosen, element, value);
      }
      value = arith::SelectOp::create(nb, inside, value, zero);
      return value.getType() == panels.getElementType()
                 ? value
                 : arith::ExtUIOp::create(nb, panels.getElementType(), value);
    };
    Value value = elementAt(first);
    for (int64_t i = 1; i < perElement; ++i) {
      Value next = elementAt(arith::AddIOp::create(nb, first, constant(i)));
      Value shift = arith::ConstantIntOp::create(nb, i * bits, kWordBits);
      value = arith::OrIOp::create(nb, value,
                                   arith::ShLIOp::create(nb, next, shift));
    }
    linalg::YieldOp::create(nb, value);
  };
  SmallVector<utils::IteratorType> loops(4, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      b, TypeRange{panels}, ValueRange(), ValueRange{empty},
      ArrayRef{b.getMultiDimIdentityMap(4)}, loops, body);
  return generic.getResult(0);
}

namespace {
struct PackWeights : grouped::impl::PackWeightsPassBase<PackWeights> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    // By sources and type: zero points can be packed as weights are.
    llvm::DenseMap<std::pair<Attribute, Type>, PackedWeightOp> made;
    for (auto packed : module.getOps<PackedWeightOp>())
      made[{packed.getSourcesAttr(), packed.getType()}] = packed;

    SmallVector<PackOp> packs;
    module.walk([&](PackOp op) { packs.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (PackOp op : packs) {
      SmallVector<Attribute> sources = weightSymbols(op);
      if (sources.empty()) {
        rewriter.setInsertionPoint(op);
        ImplicitLocOpBuilder b(op.getLoc(), rewriter);
        rewriter.replaceOp(op, packAtRunTime(b, op));
        continue;
      }
      PackedWeightOp &packed =
          made[{rewriter.getArrayAttr(sources), op.getPanels().getType()}];
      if (!packed) {
        Operation *source =
            symbols.lookup(cast<FlatSymbolRefAttr>(sources.front()).getValue());
        rewriter.setInsertionPointAfter(source);
        std::string name =
            (cast<FlatSymbolRefAttr>(sources.front()).getValue() + "__panels")
                .str();
        packed = PackedWeightOp::create(
            rewriter, op.getLoc(), name, rewriter.getArrayAttr(sources),
            /*section=*/IntegerAttr(), op.getPanels().getType());
        symbols.insert(packed, rewriter.getInsertionPoint());
      }
      rewriter.setInsertionPoint(op);
      rewriter.replaceOpWithNewOp<moe::GetWeightOp>(
          op, op.getPanels().getType(),
          FlatSymbolRefAttr::get(packed.getSymNameAttr()));
    }
  }
};
} // namespace
