//===- Sync.h - Fences and what strong accesses carry -----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_SYNC_H
#define MOE_LIB_SIMULATOR_SYNC_H

#include "Machine.h"

namespace mlir::moe::sim {

/// How a strong access orders others; Volatile and Relaxed need fences.
enum class Order : uint8_t { Weak, Relaxed, Acquire, Release, AcquireRelease };

/// A strong read or write at an address of `space`: what its writers released
/// becomes known by an acquire, or by the next fence.
void strongRead(Warp &warp, Space space, uint64_t address, Order order);
void strongWrite(Warp &warp, Space space, uint64_t address, Order order);
void fence(Warp &warp);

/// What the warp knows, its own accesses so far included.
Knowledge getKnowledge(const Warp &warp);

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_SYNC_H
