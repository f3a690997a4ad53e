//===- Machine.h - Blocks, warps and their state ----------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// How threads run: the lanes of a warp that stand at one instruction are a
// group. A step takes the group with the smallest program counter, so that
// groups meet again where control flow does, and gives the others a turn now
// and then, so that lanes may wait for lanes. Blocks run one after the other; a
// further one starts when those that run only wait.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_MACHINE_H
#define MOE_LIB_SIMULATOR_MACHINE_H

#include "Memory.h"
#include "Program.h"
#include "moe/Simulator/Device.h"

#include <map>
#include <memory>

namespace mlir::moe::sim {

class Block;
class Grid;

template <typename Body> inline void forLanes(Mask mask, Body body) {
  if (mask == allLanes) {
    for (int lane = 0; lane < 32; ++lane)
      body(lane);
    return;
  }
  for (; mask; mask &= mask - 1)
    body(__builtin_ctz(mask));
}

/// What a warp knows to have happened before: of each warp of its block the
/// time up to which, of other blocks by need. `proxy` is the same for what the
/// async proxy may see.
struct Knowledge {
  std::array<uint32_t, 32> own{}, proxy{};
  /// Per other block, the time of each of its warps.
  std::map<uint32_t, std::array<uint32_t, 32>> others;

  void join(const Knowledge &other);
};

/// Completion of asynchronous writes: when each warp saw it.
struct Event {
  std::array<uint32_t, 32> observed{};
  bool complete = false;
};

struct Group {
  enum class State : uint8_t { Ready, Converging, Barrier, MBarrier };
  uint32_t pc = 0;
  Mask mask = 0;
  State state = State::Ready;
  bool yielded = false;
  uint32_t barrier = 0; ///< number, or shared address
  uint64_t lastRun = 0;
};

class Warp {
public:
  Warp(Block &block, uint32_t index, uint32_t threads);

  Block &block;
  Grid &grid;
  const Program &program;
  uint32_t index; ///< in the block
  uint32_t id;    ///< in the grid
  Mask existing;  ///< lanes that are threads
  Mask alive;

  //===--- Registers ------------------------------------------------------===//
  std::vector<uint64_t> registers; ///< 32 lanes each
  std::vector<Mask> defined;
  std::vector<uint8_t> local, localWritten; ///< 32 frames
  std::array<uint8_t, 32> carry{};

  /// The lanes' values. Reports registers that were never written.
  const uint64_t *read(const Inst &inst, size_t i, Mask mask,
                       uint64_t *buffer) {
    return read(inst, inst.src[i], mask, buffer);
  }
  const uint64_t *read(const Inst &inst, const Src &src, Mask mask,
                       uint64_t *buffer, bool allowUndefined = false);
  /// Lanes for which a source holds a value.
  Mask definedLanes(const Src &src) const;
  uint64_t *write(const Dst &dst, Mask mask);
  void readSpecial(SpecialRegister which, uint64_t *buffer);

  //===--- Control --------------------------------------------------------===//
  std::vector<Group> groups;
  size_t current = 0;
  uint64_t steps = 0, divergedSteps = 0;
  enum class Step : uint8_t { Ran, Waits, Done };
  Step step();
  void branch(Mask lanes, uint32_t target);
  void exitLanes(Mask lanes);
  /// Stops the current group until it is woken.
  void wait(Group::State state, uint32_t barrier) {
    groups[current].state = state;
    groups[current].barrier = barrier;
  }
  /// Runs the current instruction again when the group wakes.
  void retry() { again = true; }
  void yield() { groups[current].yielded = true; }
  Dim3 getThread(int lane) const;

  //===--- Order ----------------------------------------------------------===//
  Knowledge knowledge;
  /// laneKnown[a][b]: up to when lane a knows of lane b.
  std::array<std::array<uint32_t, 32>, 32> laneKnown{};
  Knowledge fenced;   ///< at the last fence of device scope
  Knowledge acquired; ///< to be known after the next fence
  bool hasAcquired = false;
  void synchronizeLanes(Mask mask);

  //===--- Asynchronous copies --------------------------------------------===//
  struct Copy {
    uint32_t address, bytes, group;
    uint8_t lane;
  };
  std::vector<Copy> copies;
  std::array<uint32_t, 32> committed{};
  /// Bulk copies out of shared memory, and wgmma, by group: what they read.
  struct AsyncRead {
    uint32_t address, bytes, group, inst;
    bool isWgmma;
    uint8_t lane;
  };
  std::vector<AsyncRead> asyncReads;
  std::array<uint32_t, 32> bulkCommitted{};
  uint32_t wgmmaCommitted = 0;
  std::array<uint32_t, 32> clusterPhase{};
  /// wgmma, per register: 1 + the group that it is in flight in, and the time
  /// of its last write by another instruction.
  std::vector<uint32_t> registersInFlight, registerTimes;
  uint32_t wgmmaFenceTime = 0;

private:
  bool pick();
  void mergeGroups();
  bool converged(const Inst &inst, Mask mask, Mask exec);
  bool again = false;
};

/// bar.sync and bar.arrive.
struct NamedBarrier {
  uint32_t arrived = 0, expected = 0; ///< threads; 0: all of the block
  bool inUse = false;
  Knowledge knowledge;
  uint64_t reduction = 0; ///< bar.red
  std::vector<std::pair<Warp *, Mask>> waiting;
  std::vector<std::pair<const Inst *, Mask>> reductions;
};

struct MBarrier {
  uint32_t expected = 0, pending = 0;
  int64_t transactions = 0;
  uint64_t phase = 0;
  Knowledge arrivals, completed;
  uint32_t event = 0;     ///< of the current phase: index + 1
  uint32_t lastEvent = 0; ///< of the completed phase
  uint32_t initTime = 0, initWarp = 0;
};

class Block {
public:
  Block(Grid &grid, uint32_t id);

  Grid &grid;
  uint32_t id;
  Dim3 position;
  std::vector<std::unique_ptr<Warp>> warps;
  std::vector<uint8_t> shared;
  std::vector<Cell> cells;
  struct ReadSet {
    std::array<uint32_t, 32> time, inst;
  };
  std::vector<ReadSet> readSets;
  std::vector<uint32_t> freeSets;
  std::vector<Event> events;
  std::array<NamedBarrier, 16> barriers;
  std::map<uint32_t, MBarrier> mbarriers;
  MBarrier clusterBarrier;
  uint32_t alive = 0; ///< threads
  bool started = false, done = false;

  /// Runs for a while. True if any instruction ran.
  bool run();
  void threadsExited(uint32_t count);
  void checkBarrier(NamedBarrier &barrier);
  void wakeMBarriers();
  void reportDeadlock();
};

/// One launch.
class Grid {
public:
  Grid(Device &device, Memory &memory, Kernel &kernel,
       const LaunchConfig &config, const std::vector<uint8_t> &params,
       LaunchReport &report, uint32_t launch);

  void run();

  Device &device;
  Memory &memory;
  Kernel &kernel;
  const Program &program;
  const LaunchConfig &config;
  std::vector<uint8_t> params;
  LaunchReport &report;
  uint32_t launch; ///< number
  uint32_t now = 0;
  uint32_t warpsPerBlock, sharedBytes;
  bool stop = false;
  /// What strong global writes released, by address.
  std::map<uint64_t, Knowledge> released;

  Counters &count(const Inst &inst) { return report.counters[inst.index]; }

  /// Records a finding, unless its like at the line is already recorded.
  void find(Finding::Kind kind, const Warp &warp, const Inst &inst, int lane,
            const std::string &message, bool hasAddress = false,
            Space space = Space::Generic, uint64_t address = 0);
};

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_MACHINE_H
