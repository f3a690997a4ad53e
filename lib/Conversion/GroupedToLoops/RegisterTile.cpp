//===- RegisterTile.cpp - the innermost matmul functions ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The loop over k keeps all accumulators in registers: per step one vector load
// of each panel, one broadcast of each row, rows * panels multiply-adds. The
// tile is a function so that the vector code exists once per shape whatever the
// number of layers, and so that its assembly can be looked at by name.
//
// Each accumulator is one chain of fused multiply-adds in ascending k that
// starts from 0 or from the stored accumulator: the sums do not depend on the
// shape of the tile or on where k is cut into blocks.
//
//===----------------------------------------------------------------------===//

#include "RegisterTile.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/FormatVariadic.h"

#include "Kernels.h"

using namespace mlir;
using namespace mlir::grouped;

static std::string typeName(Type type) {
  std::string name;
  llvm::raw_string_ostream(name) << type;
  return name;
}

static std::string tileName(const RegisterTile &tile) {
  return llvm::formatv("moe_tile_{0}_{1}x{2}_a{3}_c{4}{5}",
                       typeName(tile.element), tile.rows,
                       tile.panels * kPanelColumns, tile.rowStride,
                       tile.tileStride, tile.prefetch ? "_prefetch" : "")
      .str();
}

/// The vectors of the `interleave` consecutive k that one row of a panel holds,
/// as `compute` elements.
static SmallVector<Value> loadPanelRow(LoopBuilder &b, Value panels, Value at,
                                       const RegisterTile &tile) {
  int64_t interleave = panelInterleave(tile.element);
  auto stored = VectorType::get({kPanelColumns * interleave}, tile.element);
  Value row = vector::LoadOp::create(b, stored, panels, ValueRange{at});
  if (interleave == 1)
    return {convertTo(b, row, tile.compute)};
  // Two bf16 share a 32-bit lane: an f32 is a bf16 with 16 zero bits below.
  auto lanes = VectorType::get({kPanelColumns}, b.getI32Type());
  auto floats = VectorType::get({kPanelColumns}, b.getF32Type());
  Value pairs = vector::BitCastOp::create(b, lanes, row);
  Value shift =
      b.constant(DenseElementsAttr::get(lanes, b.getI32IntegerAttr(16)));
  Value mask =
      b.constant(DenseElementsAttr::get(lanes, b.getI32IntegerAttr(-65536)));
  Value even = arith::ShLIOp::create(b, pairs, shift);
  Value odd = arith::AndIOp::create(b, pairs, mask);
  return {vector::BitCastOp::create(b, floats, even),
          vector::BitCastOp::create(b, floats, odd)};
}

static void buildBody(LoopBuilder &b, func::FuncOp function,
                      const RegisterTile &tile) {
  Value a = function.getArgument(0), a0 = function.getArgument(1),
        p = function.getArgument(2), p0 = function.getArgument(3),
        panelStride = function.getArgument(4), c = function.getArgument(5),
        c0 = function.getArgument(6), depth = function.getArgument(7),
        first = function.getArgument(8), ahead0 = function.getArgument(9),
        aheadStep = function.getArgument(10);
  auto vectorType = VectorType::get({kPanelColumns}, tile.compute);
  int64_t interleave = panelInterleave(tile.element);
  Value zero = b.constant(cast<TypedAttr>(b.getZeroAttr(vectorType)));

  auto accumulatorAt = [&](int64_t row, int64_t panel) {
    return b.add(c0, row * tile.tileStride + panel * kPanelColumns);
  };
  SmallVector<Value> accumulators;
  for (int64_t row = 0; row < tile.rows; ++row)
    for (int64_t panel = 0; panel < tile.panels; ++panel) {
      Value stored = vector::LoadOp::create(
          b, vectorType, c, ValueRange{accumulatorAt(row, panel)});
      accumulators.push_back(b.select(first, zero, stored));
    }
  SmallVector<Value> panelStart{p0}, aheadStart{ahead0};
  for (int64_t panel = 1; panel < tile.panels; ++panel) {
    panelStart.push_back(b.add(panelStart.back(), panelStride));
    aheadStart.push_back(b.add(aheadStart.back(), panelStride));
  }

  accumulators = b.loop(
      b.index(0), depth, 1, accumulators,
      [&](LoopBuilder &body, Value step, ValueRange carried) {
        SmallVector<Value> next(carried);
        Value panelOffset = body.mul(step, kPanelColumns * interleave);
        SmallVector<SmallVector<Value>> rows;
        for (Value start : panelStart)
          rows.push_back(
              loadPanelRow(body, p, body.add(start, panelOffset), tile));
        for (Value start : aheadStart)
          if (tile.prefetch)
            memref::PrefetchOp::create(
                body, p, body.add(start, body.mul(step, aheadStep)),
                /*isWrite=*/false, /*localityHint=*/2, /*isDataCache=*/true);
        Value k = body.add(a0, body.mul(step, interleave));
        for (int64_t i = 0; i < interleave; ++i)
          for (int64_t row = 0; row < tile.rows; ++row) {
            Value element = body.load(a, body.add(k, row * tile.rowStride + i));
            Value scalar =
                vector::BroadcastOp::create(body, vectorType, element);
            for (int64_t panel = 0; panel < tile.panels; ++panel) {
              Value &sum = next[row * tile.panels + panel];
              sum = vector::FMAOp::create(body, scalar, rows[panel][i], sum);
            }
          }
        return next;
      });
  for (int64_t row = 0; row < tile.rows; ++row)
    for (int64_t panel = 0; panel < tile.panels; ++panel)
      vector::StoreOp::create(b, accumulators[row * tile.panels + panel], c,
                              ValueRange{accumulatorAt(row, panel)});
  func::ReturnOp::create(b);
}

func::FuncOp grouped::getRegisterTile(ModuleOp module,
                                      const RegisterTile &tile) {
  std::string name = tileName(tile);
  if (auto known = module.lookupSymbol<func::FuncOp>(name))
    return known;
  LoopBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  Type index = b.getIndexType();
  auto buffer = [](Type element) {
    return MemRefType::get({ShapedType::kDynamic}, element);
  };
  auto type = b.getFunctionType(
      {buffer(tile.compute), index, buffer(tile.element), index, index,
       buffer(tile.compute), index, index, b.getI1Type(), index, index},
      {});
  auto function = func::FuncOp::create(b, name, type);
  function.setPrivate();
  // The tile stays a function: inlined copies would differ from call to call.
  function->setAttr("passthrough", b.getArrayAttr(b.getStringAttr("noinline")));
  b.setInsertionPointToStart(function.addEntryBlock());
  buildBody(b, function, tile);
  return function;
}
