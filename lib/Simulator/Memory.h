//===- Memory.h - Memory and its shadow -------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Every byte of global and shared memory has a shadow cell that remembers who
// wrote and read it last; the checks of Checks.h work on cells.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_MEMORY_H
#define MOE_LIB_SIMULATOR_MEMORY_H

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace mlir::moe::sim {

// Windows of the generic address space. Device pointers start above them.
constexpr uint64_t sharedWindow = uint64_t(1) << 32;
constexpr uint64_t localWindow = uint64_t(2) << 32;
constexpr uint64_t paramWindow = uint64_t(3) << 32;
constexpr uint64_t globalBase = uint64_t(0x7f) << 40;

/// The last accesses of a byte. Times count warp instructions of the launch;
/// zero is before it. Threads are `warp of the grid << 5 | lane`.
struct Cell {
  enum State : uint8_t {
    Empty,   ///< nothing written (shared memory)
    Written, ///< by a thread
    Copying, ///< by a cp.async that its thread has not waited for
    Event    ///< by an asynchronous copy that completes event `writer`
  };
  uint32_t writeTime = 0, writer = 0, writeInst = 0;
  uint32_t readTime = 0, reader = 0, readInst = 0;
  /// Lanes of `reader`'s warp that read at readTime.
  uint32_t readLanes = 0;
  uint32_t readSet = 0; ///< more readers: index + 1 into the block's sets
  uint32_t otherReader = 0, otherReadTime = 0; ///< global: of another block
  State state = Empty;
  bool strongWrite = false, strongRead = false; ///< atomic or volatile
  bool asyncWrite = false;                      ///< by the async proxy
};

struct Allocation {
  uint64_t address = 0, size = 0;
  std::unique_ptr<uint8_t[]> data;
  std::unique_ptr<uint8_t[]> written; ///< per byte
  static constexpr uint64_t pageBytes = 1024;
  struct Page {
    uint32_t launch = 0;
    std::unique_ptr<Cell[]> cells;
  };
  std::vector<Page> pages;

  /// The cell of a byte, cleared if it is from an earlier launch.
  Cell *getCell(uint64_t offset, uint32_t launch);
};

/// Global memory: allocations with gaps between them; addresses are not used
/// again, so that dangling pointers are noticed.
class Memory {
public:
  uint64_t allocate(uint64_t bytes);
  bool free(uint64_t address);
  /// The allocation that contains an address, or null.
  Allocation *find(uint64_t address);
  /// The nearest one below, for messages.
  const Allocation *below(uint64_t address) const;

private:
  std::map<uint64_t, Allocation> allocations;
  Allocation *last = nullptr;
  uint64_t next = globalBase;
};

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_MEMORY_H
