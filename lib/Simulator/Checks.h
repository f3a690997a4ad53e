//===- Checks.h - Checked accesses to memory --------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_CHECKS_H
#define MOE_LIB_SIMULATOR_CHECKS_H

#include "Machine.h"

namespace mlir::moe::sim {

struct Access {
  enum Kind : uint8_t { Read = 1, Write = 2, Atomic = 3 };
  Kind kind = Read;
  unsigned bytes = 4; ///< per lane
  bool strong = false;
  /// Lane's bank and sector counts go to the instruction's counters.
  bool counted = true;
  /// What a write will store, 32 x bytes: equal values do not race within one
  /// instruction.
  const uint8_t *values = nullptr;
  unsigned align = 0; ///< if not `bytes`
};

/// Checks one access of each lane and gives the places, null where it was
/// refused. `addresses` are of `space`, or generic.
void access(Warp &warp, const Inst &inst, Mask mask, const uint64_t *addresses,
            Space space, const Access &how, uint8_t **places);

/// base + offset of the instruction, per lane.
void getAddresses(Warp &warp, const Inst &inst, Mask mask, uint64_t *addresses);
void getAddresses(Warp &warp, const Inst &inst, const Src &base,
                  uint64_t offset, Mask mask, uint64_t *addresses);

/// A range of the block's shared memory, or null with a finding.
uint8_t *getShared(Warp &warp, const Inst &inst, int lane, uint64_t address,
                   uint64_t bytes, unsigned align);
/// The same for global memory.
uint8_t *getGlobal(Warp &warp, const Inst &inst, int lane, uint64_t address,
                   uint64_t bytes, unsigned align);

/// Race and state checks of a range in shared memory, without counting.
void readShared(Warp &warp, const Inst &inst, int lane, uint32_t address,
                uint32_t bytes, bool byAsyncProxy);
enum class AsyncWrite : uint8_t { CopyAsync, Event };
void writeSharedAsync(Warp &warp, const Inst &inst, int lane, uint32_t address,
                      uint32_t bytes, AsyncWrite how, uint32_t event);
void readGlobal(Warp &warp, const Inst &inst, int lane, uint64_t address,
                uint64_t bytes);
void writeGlobal(Warp &warp, const Inst &inst, int lane, uint64_t address,
                 uint64_t bytes);

/// The thread waited: its copy is now a write of its own, at this time.
void completeCopy(Warp &warp, const Warp::Copy &copy);
/// Shared reads of asynchronous operations, from their start to their end.
void beginAsyncRead(Warp &warp, const Inst &inst, const Warp::AsyncRead &read);
void endAsyncRead(Warp &warp, const Warp::AsyncRead &read);

//===--- Counting ---------------------------------------------------------===//
/// 32-byte sectors that the lanes touch, and those that their distinct bytes
/// would fill.
void countSectors(Counters &counters, Mask mask, const uint64_t *addresses,
                  unsigned bytes);
/// Bank cycles: a phase serves 128 bytes of lanes.
void countBanks(Counters &counters, Mask mask, const uint64_t *addresses,
                unsigned bytes);

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_CHECKS_H
