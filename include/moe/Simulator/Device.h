//===- Device.h - A GPU made of software ------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A device holds memory and modules and runs kernels on the calling thread, one
// at a time. What it models, and what it cannot see, is in docs/Simulator.md.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_SIMULATOR_DEVICE_H
#define MOE_SIMULATOR_DEVICE_H

#include "moe/Simulator/PTX.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mlir::moe::sim {

struct Program;
class Memory;

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t(x) * y * z; }
};

/// A defect that the kernel showed while it ran.
struct Finding {
  enum class Kind : uint8_t {
    Race,          ///< conflicting accesses that nothing orders
    UnwaitedCopy,  ///< touches the target of an asynchronous copy in flight
    Misaligned,    ///< address not a multiple of what the access requires
    OutOfBounds,   ///< outside every allocation
    Uninitialized, ///< memory or registers that nothing was written to
    Barrier,       ///< divergent or wrongly used barrier
    Deadlock,      ///< every warp waits
    ProxyFence,    ///< generic write seen by the async proxy without a fence
    Trap,          ///< trap, or an operation with undefined behaviour
    Limit          ///< more instructions than allowed
  };
  Kind kind;
  std::string file, kernel;
  int line = 0;
  bool hasThread = false, hasAddress = false;
  Dim3 block, thread;
  Space space = Space::Generic;
  uint64_t address = 0;
  std::string message;
  uint64_t repeats = 0; ///< the same at this line by other threads

  /// "file:LINE: race: kernel 'k', block (0,0,0), thread (1,0,0), shared
  /// 0x40: what" in one line.
  std::string format() const;
};
const char *getKindName(Finding::Kind kind);

/// Exact counts of one PTX instruction over a launch; see docs/Simulator.md for
/// each definition.
struct Counters {
  uint64_t executions = 0; ///< by warps with at least one active lane
  uint64_t lanes = 0;      ///< sum of active lanes
  uint64_t globalSectors = 0, globalIdeal = 0;
  uint64_t sharedCycles = 0, sharedIdeal = 0;
  uint64_t tensorFlops = 0;
};

struct LaunchReport {
  std::vector<Finding> findings;
  std::vector<Counters> counters; ///< per instruction of the program
  uint64_t instructions = 0;      ///< sum of executions
};

class Kernel {
public:
  Kernel();
  ~Kernel();
  std::string name;
  /// Offset and size of each parameter in the parameter block.
  std::vector<std::pair<uint64_t, uint64_t>> params;
  uint64_t paramBytes = 0, staticShared = 0;
  uint64_t maxDynamicShared = 48 << 10;
  std::unique_ptr<Program> program;
};

class LoadedModule {
public:
  Module module;
  std::vector<std::unique_ptr<Kernel>> kernels;
  Kernel *find(const std::string &name);
  std::vector<uint64_t> allocations;
};

struct LaunchConfig {
  Dim3 grid, block;
  uint64_t dynamicShared = 0;
};

class Device {
public:
  struct Options {
    uint64_t maxInstructions = uint64_t(1) << 32;
    size_t maxFindings = 64;
    uint32_t ignoredKinds = 0; ///< bit per Finding::Kind
  };

  Device();
  ~Device();

  Options options;

  //===--- Memory ---------------------------------------------------------===//
  /// Zero if there is no memory.
  uint64_t allocate(uint64_t bytes);
  bool free(uint64_t address);
  /// Host access. Null if not all of the range is in one allocation.
  void *access(uint64_t address, uint64_t bytes, bool write);
  /// The allocation around an address.
  bool getRange(uint64_t address, uint64_t &base, uint64_t &bytes) const;

  //===--- Code -----------------------------------------------------------===//
  /// Null, with "file:LINE: found, expected", if the text is not PTX or uses
  /// what is not modelled.
  LoadedModule *load(const std::string &file, const std::string &text,
                     std::string &error);
  void unload(LoadedModule *module);

  /// False, with an error, if the kernel cannot be started. Defects that show
  /// while it runs are findings of the report.
  bool launch(Kernel &kernel, const LaunchConfig &config,
              const std::vector<uint8_t> &params, LaunchReport &report,
              std::string &error);

private:
  std::unique_ptr<Memory> memory;
  std::vector<std::unique_ptr<LoadedModule>> modules;
};

/// A table of counters by source line, with totals, for people and tests.
std::string formatCounters(const Kernel &kernel, const LaunchReport &report);

} // namespace mlir::moe::sim

#endif // MOE_SIMULATOR_DEVICE_H
