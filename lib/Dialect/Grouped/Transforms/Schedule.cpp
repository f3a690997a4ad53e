//===- Schedule.cpp - tile sizes of grouped.matmul ------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The cost model behind the sizes:
//
// - Register tile. Each step of k loads one vector of each panel and one scalar
//   of each row, and does rows * vectors fused multiply-adds. The panels'
//   vectors and two more registers (broadcast, product) stay free of
//   accumulators. 16 registers: 6 rows by 2 vectors of 8 f32, or 2 by 4 of 4;
//   32: 12 by 2 of 16.
// - k_block: a panel's block (k_block rows of 64 bytes) is read once per row
//   tile, as a stream that is easily prefetched: it may fill the first-level
//   cache. Shorter blocks load and store the accumulators more often, which
//   costs more than reading some of the panel from the second level.
// - row_block and panel_block: the task's rows and its accumulators (both f32)
//   should stay in the second-level cache while panels stream through the last
//   quarter of it. 32 panels per copy of the rows make the copy cheap.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Grouped/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/MathExtras.h"

#include "moe/Dialect/Grouped/IR/Grouped.h"

#define DEBUG_TYPE "grouped-schedule"

namespace mlir::grouped {
#define GEN_PASS_DEF_SCHEDULEPASS
#include "moe/Dialect/Grouped/Transforms/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;
using namespace mlir::grouped;

namespace {
struct Schedule : grouped::impl::SchedulePassBase<Schedule> {
  using SchedulePassBase::SchedulePassBase;

  void runOnOperation() override {
    Builder b(&getContext());
    constexpr int64_t kFloatBytes = 4;
    int64_t vectorsPerPanel =
        std::max<int64_t>(kPanelColumns * kFloatBytes * 8 / vectorBits, 1);
    // Two vectors side by side keep the load ports below the multiply ports.
    int64_t tilePanels = vectorsPerPanel >= 2 ? 1 : 2;
    int64_t accumulators = std::max<int64_t>(
        vectorRegisters - 2 - vectorsPerPanel * tilePanels, 1);
    if (vectorRegisters > 16)
      accumulators = 24;
    int64_t tileRows =
        std::max<int64_t>(accumulators / (vectorsPerPanel * tilePanels), 1);
    int64_t kBlock =
        llvm::bit_floor<uint64_t>(l1Bytes / (kPanelColumns * kFloatBytes));
    int64_t panelBlock = 32;
    int64_t rowBlock =
        l2Bytes / 4 * 3 / (kFloatBytes * (kBlock + panelBlock * kPanelColumns));
    rowBlock = std::max<int64_t>(rowBlock / tileRows, 1) * tileRows;

    SmallVector<NamedAttribute> sizes{
        {"accumulators", b.getI64IntegerAttr(accumulators)},
        {"k_block", b.getI64IntegerAttr(kBlock)},
        {"panel_block", b.getI64IntegerAttr(panelBlock)},
        {"row_block", b.getI64IntegerAttr(rowBlock)},
        {"tile_panels", b.getI64IntegerAttr(tilePanels)},
        {"tile_rows", b.getI64IntegerAttr(tileRows)},
        {"vectors_per_panel", b.getI64IntegerAttr(vectorsPerPanel)}};
    DictionaryAttr schedule = b.getDictionaryAttr(sizes);
    getOperation().walk([&](MatmulOp op) {
      if (!op.getScheduleAttr())
        op.setScheduleAttr(schedule);
    });
  }
};
} // namespace
