//===- Lanes.h - Per-lane execution -----------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Handlers that apply a function to each lane, made from the function object
// and the PTX type.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_LANES_H
#define MOE_LIB_SIMULATOR_LANES_H

#include "Machine.h"

#include <type_traits>

namespace mlir::moe::sim {

/// Registers hold values without their sign extension.
template <typename T> inline uint64_t pack(T value) {
  return static_cast<uint64_t>(static_cast<std::make_unsigned_t<T>>(value));
}

template <typename T, typename Op>
void unaryLanes(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  const uint64_t *a = warp.read(inst, 0, mask, buffer);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask,
           [&](int lane) { d[lane] = pack<T>(Op()(static_cast<T>(a[lane]))); });
}

template <typename T, typename Op>
void binaryLanes(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t bufferA[32], bufferB[32];
  const uint64_t *a = warp.read(inst, 0, mask, bufferA);
  const uint64_t *b = warp.read(inst, 1, mask, bufferB);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) {
    d[lane] = pack<T>(Op()(static_cast<T>(a[lane]), static_cast<T>(b[lane])));
  });
}

/// The function sees bits and the instruction: for formats that are no C type.
template <typename Op> void bitsLanes(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[4][32];
  const uint64_t *s[4] = {};
  size_t count = inst.src.size() < 4 ? inst.src.size() : 4;
  for (size_t i = 0; i < count; ++i)
    s[i] = warp.read(inst, i, mask, buffers[i]);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) {
    uint64_t a = s[0][lane], b = count > 1 ? s[1][lane] : 0,
             c = count > 2 ? s[2][lane] : 0;
    d[lane] = Op()(inst, a, b, c);
  });
}

template <typename Op> Handler unaryInteger(Type type) {
  switch (type) {
  case Type::U16:
  case Type::B16:
    return unaryLanes<uint16_t, Op>;
  case Type::S16:
    return unaryLanes<int16_t, Op>;
  case Type::U32:
  case Type::B32:
    return unaryLanes<uint32_t, Op>;
  case Type::S32:
    return unaryLanes<int32_t, Op>;
  case Type::U64:
  case Type::B64:
    return unaryLanes<uint64_t, Op>;
  case Type::S64:
    return unaryLanes<int64_t, Op>;
  default:
    return nullptr;
  }
}

template <typename Op> Handler binaryInteger(Type type) {
  switch (type) {
  case Type::U16:
  case Type::B16:
    return binaryLanes<uint16_t, Op>;
  case Type::S16:
    return binaryLanes<int16_t, Op>;
  case Type::U32:
  case Type::B32:
    return binaryLanes<uint32_t, Op>;
  case Type::S32:
    return binaryLanes<int32_t, Op>;
  case Type::U64:
  case Type::B64:
    return binaryLanes<uint64_t, Op>;
  case Type::S64:
    return binaryLanes<int64_t, Op>;
  default:
    return nullptr;
  }
}

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_LANES_H
