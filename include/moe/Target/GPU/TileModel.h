//===- TileModel.h - Tiles of matrix products on GPUs -----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_GPU_TILEMODEL_H
#define MOE_TARGET_GPU_TILEMODEL_H

#include "llvm/ADT/SmallVector.h"

#include <cstdint>

namespace mlir::moe {
struct GPUDescription;

/// What one block computes at a time: `rows` times `panels` panels of 16
/// columns, by a grid of warps, `depthBytes` of k at a step, with `stages`
/// steps in shared memory.
struct GPUTile {
  int64_t rows, panels, depthBytes, stages, warpRows, warpColumns;

  int64_t threads() const { return warpRows * warpColumns * 32; }
  /// Of one warp.
  int64_t rowsOfWarp() const { return rows / warpRows; }
  int64_t panelsOfWarp() const { return panels / warpColumns; }
  int64_t rowBytesOfStage() const { return rows * depthBytes; }
  int64_t stageBytes() const { return (rows + panels * 16) * depthBytes; }
  int64_t sharedBytes() const { return stages * stageBytes(); }
  /// 32-bit registers of accumulators per thread.
  int64_t accumulators() const { return rowsOfWarp() * panelsOfWarp() / 2; }
};

/// A product as tiles see it.
struct GPUProduct {
  int64_t weights;      ///< matrices whose panels alternate
  int64_t panels;       ///< of one group, of all weights
  int64_t depthBytes;   ///< of one row
  int64_t copyBytes;    ///< the largest aligned access to a row: 2 to 16
  bool splitsRegisters; ///< operands take twice their registers (3xTF32)
};

/// Tiles by ascending rows: what is launched is the first whose rows the mean
/// group does not exceed, or the last. See docs/GPU.md for the model.
llvm::SmallVector<GPUTile> chooseTiles(const GPUDescription &target,
                                       const GPUProduct &product);

/// How many blocks of a tile a multiprocessor holds at once.
int64_t blocksPerMultiprocessor(const GPUDescription &target,
                                const GPUTile &tile, const GPUProduct &product);

} // namespace mlir::moe

#endif // MOE_TARGET_GPU_TILEMODEL_H
