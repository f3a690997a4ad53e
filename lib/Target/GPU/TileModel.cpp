//===- TileModel.cpp - Tiles of matrix products on GPUs -------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Per 32 bytes of k a warp with r fragments of 16 rows and c of 8 columns loads
// r + c / 2 times from shared memory and multiplies r * c times: the larger and
// squarer its tile, the more of its instructions are multiplications, until the
// accumulators (4 * r * c registers) leave no room for a second block on the
// multiprocessor that works while this one waits. Among the tiles whose blocks
// fit, the one with the best product of the two is taken.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/GPU/TileModel.h"

#include "moe/Target/GPU/GPUTarget.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace mlir::moe;

/// Addresses, predicates and loop state of a thread.
static constexpr int64_t kOtherRegisters = 56;

static int64_t registersOf(const GPUTile &tile, const GPUProduct &product) {
  int64_t fragments = tile.rowsOfWarp() / 16 * 4 + tile.panelsOfWarp() * 4;
  return tile.accumulators() + fragments * (product.splitsRegisters ? 2 : 1) +
         kOtherRegisters;
}

int64_t moe::blocksPerMultiprocessor(const GPUDescription &target,
                                     const GPUTile &tile,
                                     const GPUProduct &product) {
  int64_t registers = llvm::alignTo(registersOf(tile, product), 8);
  if (registers > kRegistersPerThread ||
      tile.sharedBytes() > target.sharedPerBlock)
    return 0;
  return std::min({kRegistersPerMultiprocessor / (registers * tile.threads()),
                   target.sharedPerMultiprocessor /
                       (tile.sharedBytes() + kReservedSharedBytes),
                   target.threadsPerMultiprocessor / tile.threads()});
}

/// The tensor operations among the instructions of a step of the main loop.
static double densityOf(const GPUTile &tile, const GPUProduct &product) {
  int64_t steps = tile.depthBytes / 32;
  int64_t rowFragments = tile.rowsOfWarp() / 16;
  int64_t panels = tile.panelsOfWarp();
  double tensor = static_cast<double>(steps * rowFragments * panels * 2);
  double loads = static_cast<double>(steps * (rowFragments + panels));
  double copies =
      static_cast<double>(tile.stageBytes() / (tile.threads() * 16) * 3);
  constexpr double kLoop = 16;
  if (product.splitsRegisters)
    loads += static_cast<double>(steps * (rowFragments + panels) * 4 * 3);
  tensor *= product.splitsRegisters ? 3 : 1;
  return tensor / (tensor + loads + copies + kLoop);
}

/// The best tile with so many rows.
static std::optional<GPUTile> chooseTile(const GPUDescription &target,
                                         const GPUProduct &product,
                                         int64_t rows, int64_t warpRows,
                                         int64_t warpColumns) {
  std::optional<GPUTile> best;
  double bestValue = 0;
  for (int64_t units : {1, 2, 4})
    for (int64_t depthBytes : {64, 128})
      for (int64_t stages : {3, 4}) {
        GPUTile tile{rows,       warpColumns * units * product.weights,
                     depthBytes, stages,
                     warpRows,   warpColumns};
        // Every thread copies as many chunks as any other, of both operands; a
        // panel has one per byte of depth.
        if (tile.threads() % depthBytes != 0 ||
            tile.panels * depthBytes % tile.threads() != 0 ||
            rows * (depthBytes / 16) % tile.threads() != 0)
          continue;
        int64_t blocks = std::min<int64_t>(
            blocksPerMultiprocessor(target, tile, product), 2);
        if (blocks == 0)
          continue;
        // Columns beyond the last are computed for nothing.
        double used = static_cast<double>(product.panels) /
                      static_cast<double>(llvm::alignTo(
                          std::max<int64_t>(product.panels, 1), tile.panels));
        double value = densityOf(tile, product) * (blocks > 1 ? 1.0 : 0.8) *
                       used *
                       // More steps in flight hide more latency.
                       (1 + 0.01 * static_cast<double>(stages));
        if (value <= bestValue)
          continue;
        bestValue = value;
        best = tile;
      }
  return best;
}

llvm::SmallVector<GPUTile> moe::chooseTiles(const GPUDescription &target,
                                            const GPUProduct &product) {
  llvm::SmallVector<GPUTile> tiles;
  // A few rows are one fragment high: all warps side by side, since what counts
  // is how much of the weights is on its way. Many rows: two by two warps.
  struct Shape {
    int64_t rows, warpRows, warpColumns;
  };
  for (Shape shape : {Shape{16, 1, 4}, Shape{128, 2, 2}})
    if (auto tile = chooseTile(target, product, shape.rows, shape.warpRows,
                               shape.warpColumns))
      tiles.push_back(*tile);
  return tiles;
}
