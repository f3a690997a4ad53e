//===- MBarrier.h - mbarrier objects ----------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_MBARRIER_H
#define MOE_LIB_SIMULATOR_MBARRIER_H

#include "Machine.h"

namespace mlir::moe::sim {

/// The object at a shared address, or null with a finding. By the async proxy
/// its initialization must have been fenced.
MBarrier *getMBarrier(Warp &warp, const Inst &inst, int lane, uint64_t address,
                      bool byAsyncProxy);
/// The event that the current phase will complete.
uint32_t getEvent(Warp &warp, MBarrier &barrier);
void arrive(Warp &warp, const Inst &inst, int lane, MBarrier &barrier,
            uint32_t count);
/// Adds to the bytes that the phase waits for; copies subtract theirs.
void expectBytes(Warp &warp, MBarrier &barrier, int64_t bytes);

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_MBARRIER_H
