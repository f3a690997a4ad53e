//===- TensorMap.h - What cuTensorMapEncodeTiled makes ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The 128 bytes are opaque to programs; these are the simulator's own.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_SIMULATOR_TENSORMAP_H
#define MOE_SIMULATOR_TENSORMAP_H

#include <cstdint>

namespace mlir::moe::sim {

struct TensorMap {
  static constexpr uint64_t validMagic = 0x70616d7465656f6d;
  uint64_t magic;
  uint64_t address;
  uint64_t sizes[5];   ///< elements, fastest first
  uint64_t strides[4]; ///< bytes, of all dimensions but the first
  uint16_t box[5];
  uint8_t rank, elementBytes,
      swizzle; ///< swizzle: 0, 1: 32, 2: 64, 3: 128 bytes
};
static_assert(sizeof(TensorMap) <= 128);

/// Where a byte of a box lies in shared memory. `offset` is an address: the
/// pattern repeats with absolute addresses.
inline uint64_t swizzleAddress(uint64_t address, unsigned swizzle) {
  // 16-byte chunks are exchanged by the number of the 128-byte row.
  uint64_t mask = (uint64_t(1) << swizzle) - 1;
  return address ^ ((address >> 7 & mask) << 4);
}

} // namespace mlir::moe::sim

#endif // MOE_SIMULATOR_TENSORMAP_H
