//===- PanelPacking.h - Rearranges weights in memory ------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The loops that turn source tensors into what kernels read. Plain C++ on
// memory; files and symbols are PackWeights.h's business.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_WEIGHTS_PANELPACKING_H
#define MOE_TARGET_WEIGHTS_PANELPACKING_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <optional>

namespace mlir::moe {

/// A tensor in memory. Strides count bytes and are at least 0; those of
/// elements of less than 8 bits count bits, and only `packBytes` and
/// `packWords` take such tensors.
struct StridedBytes {
  const uint8_t *data = nullptr;
  llvm::SmallVector<int64_t, 4> shape;
  llvm::SmallVector<int64_t, 4> strides;
  /// Bytes of one element: 1, 2, 4, 8 or 16.
  int64_t elementSize = 1;
  /// Below 8: bits of one element, and the bit of `data` where the first
  /// begins.
  int64_t elementBits = 8, bitOffset = 0;
  /// The tensor's dimensions, each of which is the product of consecutive ones
  /// of `shape`; empty where these are the same.
  llvm::SmallVector<int64_t, 4> merged;
  /// To be added to each element, modulo its range.
  int64_t increment = 0;

  /// The tensor's own dimensions.
  llvm::ArrayRef<int64_t> dims() const {
    return merged.empty() ? llvm::ArrayRef<int64_t>(shape) : merged;
  }
  /// Whether rows are more than runs of elements at one stride.
  bool needsGather() const { return !merged.empty() || increment != 0; }

  /// The same memory as bytes: of elements that lie side by side in the last
  /// dimension, whose rows begin at bytes. None otherwise.
  std::optional<StridedBytes> asBytes() const;
  /// The same of a contiguous tensor, as one run of bytes.
  std::optional<StridedBytes> asContiguousBytes() const;

  /// The same elements in the same order with as few dimensions as possible;
  /// a contiguous tensor gets at most one.
  StridedBytes canonical() const;
  bool isContiguous() const;
  int64_t getNumElements() const;
};

/// Writes the elements [begin, end) of `tensor` in row-major order. `tensor`
/// must be canonical.
void gatherElements(const StridedBytes &tensor, int64_t begin, int64_t end,
                    uint8_t *out);

/// Where one of a panel's columns lies: `k` and `k + 1` are `stride` bytes
/// apart. Null data stands for a column of zeros. Of elements of less than 8
/// bits the stride counts bits, and the first element begins at bit `bit`.
struct PanelColumn {
  const uint8_t *data = nullptr;
  int64_t stride = 0;
  int64_t bit = 0;
};

/// Writes row `index` (one number per dimension but the last) of a tensor of
/// any kind: elements side by side, those of less than 8 bits with the first
/// one in the lowest bits. `out` holds zeros before.
void gatherRow(const StridedBytes &tensor, llvm::ArrayRef<int64_t> index,
               uint8_t *out);

/// Packs `depth` values of each of 16 columns in the layout of
/// `grouped.packed_weight`: [ceil(depth / interleave), 16 * interleave].
void packPanel(llvm::ArrayRef<PanelColumn> columns, int64_t depth,
               int64_t elementSize, int64_t interleave, uint8_t *out);

/// Packs `depth` integers of `bits` < 8 bits of each of 16 columns as bytes:
/// [depth, 16].
void packBytes(llvm::ArrayRef<PanelColumn> columns, int64_t depth, int64_t bits,
               uint8_t *out);

/// Packs them as words of 32 bits, each of which holds consecutive `k` of one
/// column, the first in the lowest bits: [ceil(depth * bits / 32), 16].
void packWords(llvm::ArrayRef<PanelColumn> columns, int64_t depth, int64_t bits,
               uint8_t *out);

} // namespace mlir::moe

#endif // MOE_TARGET_WEIGHTS_PANELPACKING_H
