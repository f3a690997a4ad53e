//===- BlockScales.h - Reads 8-bit floats with scales -----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The elements that `moe.weight` with `scaled` defines, one column at a time.
// Plain C++ on memory, like PanelPacking.h.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_WEIGHTS_BLOCKSCALES_H
#define MOE_TARGET_WEIGHTS_BLOCKSCALES_H

#include "moe/Target/Weights/Quantize.h"

namespace mlir::moe {

/// A matrix of 8-bit floats (E4M3FN) in memory, blocks of which share a scale.
struct BlockScaledMatrix {
  const uint8_t *data = nullptr;
  int64_t columns = 0;
  int64_t blockRows = 0, blockColumns = 0;
  /// Row-major, one per block.
  const uint8_t *scales = nullptr;
  FloatKind scaleKind = FloatKind::F32;
  /// What the products are rounded to.
  FloatKind result = FloatKind::BF16;

  /// Writes `count` elements of the column, which points into the matrix, side
  /// by side.
  void read(const PanelColumn &column, int64_t count, uint8_t *out) const;
};

} // namespace mlir::moe

#endif // MOE_TARGET_WEIGHTS_BLOCKSCALES_H
