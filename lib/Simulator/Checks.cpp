//===- Checks.cpp - Checked accesses to memory ----------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Accesses conflict when they touch a byte, one of them writes and not both are
// strong (atomic, volatile). A conflict is a race unless the later thread knows
// of the earlier access: by program order, bar.warp.sync, barriers, mbarriers,
// or fences around strong accesses.
//
//===----------------------------------------------------------------------===//

#include "Checks.h"

#include <algorithm>

using namespace mlir::moe::sim;
using Kind = Finding::Kind;

static constexpr uint32_t inFlight = UINT32_MAX;

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

static bool isKnown(const Warp &warp, int lane, uint32_t thread,
                    uint32_t time) {
  if (time == 0)
    return true;
  uint32_t other = thread >> 5, otherLane = thread & 31;
  if (other == warp.id)
    return static_cast<uint32_t>(lane) == otherLane ||
           warp.laneKnown[lane][otherLane] >= time;
  uint32_t block = other / warp.grid.warpsPerBlock;
  uint32_t index = other % warp.grid.warpsPerBlock;
  if (block == warp.block.id)
    return warp.knowledge.own[index] >= time;
  auto found = warp.knowledge.others.find(block);
  return found != warp.knowledge.others.end() && found->second[index] >= time;
}

static bool isEventKnown(const Warp &warp, const Event &event) {
  if (event.observed[warp.index])
    return true;
  for (size_t i = 0; i < warp.block.warps.size(); ++i)
    if (event.observed[i] && warp.knowledge.own[i] >= event.observed[i])
      return true;
  return false;
}

//===----------------------------------------------------------------------===//
// Cells
//===----------------------------------------------------------------------===//

namespace {
/// One lane's access to one range of cells.
struct Toucher {
  Warp &warp;
  const Inst &inst;
  int lane;
  Space space;
  bool strong, asyncProxy;
  uint32_t thread = warp.id << 5 | static_cast<uint32_t>(lane);

  void report(Kind kind, uint64_t address, const std::string &what) const {
    warp.grid.find(kind, warp, inst, lane, what, true, space, address);
  }
  std::string lineOf(uint32_t inst) const {
    return "line " + std::to_string(warp.program.insts[inst].line);
  }
  std::string nameOf(uint32_t other) const {
    uint32_t index = (other >> 5) % warp.grid.warpsPerBlock;
    uint32_t block = (other >> 5) / warp.grid.warpsPerBlock;
    std::string name = "warp " + std::to_string(index) + ", lane " +
                       std::to_string(other & 31);
    if (block != warp.block.id)
      name += ", block number " + std::to_string(block);
    return name;
  }

  void checkCopy(const Cell &cell, uint64_t address, const char *how) const {
    if (cell.state == Cell::Copying) {
      report(Kind::UnwaitedCopy, address,
             std::string(how) + " the target of the cp.async of " +
                 lineOf(cell.writeInst) + " (" + nameOf(cell.writer) +
                 ") that its thread has not waited for");
    } else if (cell.state == Cell::Event &&
               !isEventKnown(warp, warp.block.events[cell.writer])) {
      const Event &event = warp.block.events[cell.writer];
      report(Kind::UnwaitedCopy, address,
             std::string(how) + " the target of the asynchronous copy of " +
                 lineOf(cell.writeInst) +
                 (event.complete ? " without having waited for its mbarrier"
                                 : " whose mbarrier phase is not complete"));
    }
  }

  void read(Cell &cell, uint64_t address) const {
    if (cell.state != Cell::Written) {
      if (cell.state == Cell::Empty && space == Space::Shared)
        report(Kind::Uninitialized, address,
               "reads shared memory that nothing was written to");
      checkCopy(cell, address, "reads");
    } else {
      if (!(strong && cell.strongWrite) &&
          !isKnown(warp, lane, cell.writer, cell.writeTime))
        report(Kind::Race, address,
               "reads what " + nameOf(cell.writer) + " wrote in " +
                   lineOf(cell.writeInst) + ", and nothing orders the two");
      if (asyncProxy && !cell.asyncWrite && space == Space::Shared) {
        uint32_t index = (cell.writer >> 5) % warp.grid.warpsPerBlock;
        if (warp.knowledge.proxy[index] < cell.writeTime)
          report(Kind::ProxyFence, address,
                 "the async proxy reads what " + nameOf(cell.writer) +
                     " wrote in " + lineOf(cell.writeInst) +
                     " without a fence.proxy.async between");
      }
    }
    addReader(cell);
  }

  void addReader(Cell &cell) const {
    uint32_t now = warp.grid.now, bit = uint32_t(1) << lane;
    if (cell.readSet) {
      Block::ReadSet &set = warp.block.readSets[cell.readSet - 1];
      if (set.time[warp.index] != inFlight)
        set.time[warp.index] = now;
      set.inst[warp.index] = inst.index;
    }
    if (cell.readTime == 0) {
      setReader(cell, now, bit);
      return;
    }
    uint32_t before = cell.reader >> 5;
    if (before == warp.id) {
      bool known = cell.readTime != now &&
                   isKnown(warp, lane, cell.reader, cell.readTime);
      setReader(cell, now, known ? bit : cell.readLanes | bit);
      return;
    }
    if (!isKnown(warp, lane, cell.reader, cell.readTime)) {
      if (space == Space::Shared) {
        if (!cell.readSet)
          makeReadSet(cell);
      } else if (before / warp.grid.warpsPerBlock != warp.block.id) {
        cell.otherReader = cell.reader;
        cell.otherReadTime = cell.readTime;
      }
    }
    setReader(cell, now, bit);
  }
  void setReader(Cell &cell, uint32_t now, uint32_t lanes) const {
    cell.reader = thread;
    cell.readTime = now;
    cell.readInst = inst.index;
    cell.readLanes = lanes;
    cell.strongRead = strong;
  }
  void makeReadSet(Cell &cell) const {
    Block &block = warp.block;
    if (block.freeSets.empty()) {
      block.readSets.emplace_back();
      block.freeSets.push_back(static_cast<uint32_t>(block.readSets.size()));
    }
    cell.readSet = block.freeSets.back();
    block.freeSets.pop_back();
    Block::ReadSet &set = block.readSets[cell.readSet - 1];
    set.time.fill(0);
    set.inst.fill(0);
    if (cell.readTime) {
      uint32_t index = (cell.reader >> 5) % warp.grid.warpsPerBlock;
      set.time[index] = cell.readTime;
      set.inst[index] = cell.readInst;
    }
    set.time[warp.index] = warp.grid.now;
    set.inst[warp.index] = inst.index;
  }

  void checkWrite(const Cell &cell, uint64_t address, bool sameValue) const {
    checkCopy(cell, address, "overwrites");
    if (cell.state == Cell::Written && !(strong && cell.strongWrite) &&
        !isKnown(warp, lane, cell.writer, cell.writeTime) &&
        !(sameValue && cell.writeTime == warp.grid.now &&
          cell.writer >> 5 == warp.id))
      report(Kind::Race, address,
             "overwrites what " + nameOf(cell.writer) + " wrote in " +
                 lineOf(cell.writeInst) + ", and nothing orders the two");
    if (cell.readTime && !(strong && cell.strongRead))
      checkReader(cell, address);
    if (cell.readSet) {
      const Block::ReadSet &set = warp.block.readSets[cell.readSet - 1];
      for (uint32_t i = 0; i < warp.grid.warpsPerBlock; ++i) {
        if (set.time[i] == inFlight)
          report(Kind::UnwaitedCopy, address,
                 "overwrites what the asynchronous operation of " +
                     lineOf(set.inst[i]) + " (warp " + std::to_string(i) +
                     ") still reads");
        else if (i != warp.index && set.time[i] &&
                 warp.knowledge.own[i] < set.time[i])
          report(Kind::Race, address,
                 "overwrites what warp " + std::to_string(i) + " read in " +
                     lineOf(set.inst[i]) + ", and nothing orders the two");
      }
    }
    if (cell.otherReadTime &&
        !isKnown(warp, lane, cell.otherReader, cell.otherReadTime))
      report(Kind::Race, address,
             "overwrites what " + nameOf(cell.otherReader) +
                 " read, and nothing orders the two");
  }
  void checkReader(const Cell &cell, uint64_t address) const {
    for (Mask lanes = cell.readLanes; lanes; lanes &= lanes - 1) {
      uint32_t who =
          (cell.reader & ~31u) | static_cast<uint32_t>(__builtin_ctz(lanes));
      // Lanes read before they write in one instruction.
      if (isKnown(warp, lane, who, cell.readTime) ||
          (cell.reader >> 5 == warp.id && cell.readTime == warp.grid.now))
        continue;
      report(Kind::Race, address,
             "overwrites what " + nameOf(who) + " read in " +
                 lineOf(cell.readInst) + ", and nothing orders the two");
      return;
    }
  }

  void setWriter(Cell &cell, Cell::State state, uint32_t writer) const {
    if (cell.readSet)
      warp.block.freeSets.push_back(cell.readSet);
    cell = Cell();
    cell.state = state;
    cell.writer = writer;
    cell.writeTime = warp.grid.now;
    cell.writeInst = inst.index;
    cell.strongWrite = strong;
    cell.asyncWrite = asyncProxy;
  }
};
} // namespace

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

void mlir::moe::sim::getAddresses(Warp &warp, const Inst &inst, const Src &base,
                                  uint64_t offset, Mask mask,
                                  uint64_t *addresses) {
  uint64_t buffer[32];
  const uint64_t *values = warp.read(inst, base, mask, buffer);
  bool narrow = base.kind == Src::Kind::Register &&
                getBits(warp.program.function.registers[base.id].type) == 32;
  forLanes(mask, [&](int lane) {
    uint64_t value = values[lane] + offset;
    addresses[lane] = narrow ? value & 0xffffffff : value;
  });
}

void mlir::moe::sim::getAddresses(Warp &warp, const Inst &inst, Mask mask,
                                  uint64_t *addresses) {
  getAddresses(warp, inst, inst.base, inst.offset, mask, addresses);
}

static void reportOutside(Warp &warp, const Inst &inst, int lane, Space space,
                          uint64_t address, uint64_t bytes) {
  std::string what = "accesses " + std::to_string(bytes) + " bytes outside of ";
  if (space == Space::Shared) {
    what += "the " + std::to_string(warp.block.shared.size()) +
            " bytes of shared memory";
  } else if (space == Space::Local) {
    what += "the " + std::to_string(warp.program.function.localBytes) +
            " bytes of local memory";
  } else if (space == Space::Param) {
    what += "the " + std::to_string(warp.grid.params.size()) +
            " bytes of parameters";
  } else {
    what += "every allocation";
    if (const Allocation *near = warp.grid.memory.below(address))
      what += " (" + std::to_string(address - near->address) +
              " bytes after the start of one of " + std::to_string(near->size) +
              ")";
  }
  warp.grid.find(Kind::OutOfBounds, warp, inst, lane, what, true, space,
                 address);
}

static bool checkAlignment(Warp &warp, const Inst &inst, int lane, Space space,
                           uint64_t address, unsigned align) {
  if (align <= 1 || address % align == 0)
    return true;
  warp.grid.find(Kind::Misaligned, warp, inst, lane,
                 "the address is no multiple of " + std::to_string(align), true,
                 space, address);
  return false;
}

uint8_t *mlir::moe::sim::getShared(Warp &warp, const Inst &inst, int lane,
                                   uint64_t address, uint64_t bytes,
                                   unsigned align) {
  std::vector<uint8_t> &shared = warp.block.shared;
  if (address > shared.size() || bytes > shared.size() - address) {
    reportOutside(warp, inst, lane, Space::Shared, address, bytes);
    return nullptr;
  }
  if (!checkAlignment(warp, inst, lane, Space::Shared, address, align))
    return nullptr;
  return shared.data() + address;
}

uint8_t *mlir::moe::sim::getGlobal(Warp &warp, const Inst &inst, int lane,
                                   uint64_t address, uint64_t bytes,
                                   unsigned align) {
  Allocation *allocation = warp.grid.memory.find(address);
  if (!allocation ||
      bytes > allocation->size - (address - allocation->address)) {
    reportOutside(warp, inst, lane, Space::Global, address, bytes);
    return nullptr;
  }
  if (!checkAlignment(warp, inst, lane, Space::Global, address, align))
    return nullptr;
  return allocation->data.get() + (address - allocation->address);
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

/// The lanes' own frames.
static uint8_t *accessLocal(Warp &warp, const Inst &inst, int lane,
                            uint64_t address, const Access &how) {
  uint64_t frame = warp.program.function.localBytes;
  if (address > frame || how.bytes > frame - address) {
    reportOutside(warp, inst, lane, Space::Local, address, how.bytes);
    return nullptr;
  }
  if (!checkAlignment(warp, inst, lane, Space::Local, address,
                      how.align ? how.align : how.bytes))
    return nullptr;
  uint64_t at = static_cast<uint64_t>(lane) * frame + address;
  uint8_t *written = warp.localWritten.data() + at;
  if (how.kind & Access::Write)
    std::fill(written, written + how.bytes, 1);
  else if (std::find(written, written + how.bytes, 0) != written + how.bytes)
    warp.grid.find(Kind::Uninitialized, warp, inst, lane,
                   "reads local memory that nothing was written to", true,
                   Space::Local, address);
  return warp.local.data() + at;
}

static void touch(const Toucher &toucher, Cell *cell, uint64_t address,
                  const Access &how, unsigned byte, const uint8_t *place) {
  if (how.kind == Access::Read)
    return toucher.read(*cell, address);
  if (how.kind == Access::Atomic && cell->state == Cell::Empty &&
      toucher.space == Space::Shared)
    toucher.report(Kind::Uninitialized, address,
                   "updates shared memory that nothing was written to");
  bool same = how.values && place &&
              how.values[toucher.lane * how.bytes + byte] == place[byte];
  toucher.checkWrite(*cell, address, same);
  toucher.setWriter(*cell, Cell::Written, toucher.thread);
}

static void touchGlobal(const Toucher &toucher, uint64_t address,
                        const Access &how) {
  Grid &grid = toucher.warp.grid;
  Allocation *allocation = grid.memory.find(address);
  uint64_t offset = address - allocation->address;
  uint8_t *written = allocation->written.get() + offset;
  if (how.kind & Access::Read) {
    if (std::find(written, written + how.bytes, 0) != written + how.bytes)
      toucher.report(Kind::Uninitialized, address,
                     "reads global memory that nothing was written to");
  }
  for (unsigned i = 0; i < how.bytes; ++i)
    touch(toucher, allocation->getCell(offset + i, grid.launch), address + i,
          how, i, allocation->data.get() + offset);
  if (how.kind & Access::Write)
    std::fill(written, written + how.bytes, 1);
}

static void touchShared(const Toucher &toucher, uint64_t address,
                        const Access &how) {
  Block &block = toucher.warp.block;
  for (unsigned i = 0; i < how.bytes; ++i)
    touch(toucher, &block.cells[address + i], address + i, how, i,
          block.shared.data() + address);
}

void mlir::moe::sim::access(Warp &warp, const Inst &inst, Mask mask,
                            const uint64_t *addresses, Space space,
                            const Access &how, uint8_t **places) {
  Mask global = 0, shared = 0;
  uint64_t offsets[32];
  unsigned align = how.align ? how.align : how.bytes;
  forLanes(mask, [&](int lane) {
    uint64_t address = addresses[lane];
    Space where = space;
    if (space == Space::Generic) {
      uint64_t window = address >> 32 << 32;
      where = Space::Global;
      if (window == sharedWindow)
        where = Space::Shared;
      else if (window == localWindow)
        where = Space::Local;
      else if (window == paramWindow)
        where = Space::Param;
      if (where != Space::Global)
        address -= window;
    }
    places[lane] = nullptr;
    switch (where) {
    case Space::Global:
    case Space::Const:
    case Space::Generic:
      places[lane] = getGlobal(warp, inst, lane, address, how.bytes, align);
      if (places[lane])
        global |= Mask(1) << lane;
      break;
    case Space::Shared:
      places[lane] = getShared(warp, inst, lane, address, how.bytes, align);
      if (places[lane])
        shared |= Mask(1) << lane;
      break;
    case Space::Local:
      places[lane] = accessLocal(warp, inst, lane, address, how);
      break;
    case Space::Param:
      if (how.kind != Access::Read || address > warp.grid.params.size() ||
          how.bytes > warp.grid.params.size() - address)
        reportOutside(warp, inst, lane, Space::Param, address, how.bytes);
      else if (checkAlignment(warp, inst, lane, Space::Param, address, align))
        places[lane] = warp.grid.params.data() + address;
      break;
    }
    offsets[lane] = address;
    Toucher toucher{warp, inst, lane, where, how.strong, false};
    // Lanes of one atomic update one after the other, after these checks.
    if (places[lane] && where == Space::Shared)
      touchShared(toucher, address, how);
    else if (places[lane] && (global >> lane & 1))
      touchGlobal(toucher, address, how);
    // The value is there for the next lane's comparison.
    if (places[lane] && how.kind == Access::Write && how.values)
      std::memcpy(places[lane], how.values + lane * how.bytes, how.bytes);
  });
  if (!how.counted)
    return;
  Counters &counters = warp.grid.count(inst);
  if (global)
    countSectors(counters, global, offsets, how.bytes);
  if (shared)
    countBanks(counters, shared, offsets, how.bytes);
}

void mlir::moe::sim::readShared(Warp &warp, const Inst &inst, int lane,
                                uint32_t address, uint32_t bytes,
                                bool byAsyncProxy) {
  Toucher toucher{warp, inst, lane, Space::Shared, false, byAsyncProxy};
  for (uint32_t i = 0; i < bytes; ++i)
    toucher.read(warp.block.cells[address + i], address + i);
}

void mlir::moe::sim::writeSharedAsync(Warp &warp, const Inst &inst, int lane,
                                      uint32_t address, uint32_t bytes,
                                      AsyncWrite how, uint32_t event) {
  bool isEvent = how == AsyncWrite::Event;
  Toucher toucher{warp, inst, lane, Space::Shared, false, isEvent};
  for (uint32_t i = 0; i < bytes; ++i) {
    Cell &cell = warp.block.cells[address + i];
    toucher.checkWrite(cell, address + i, false);
    toucher.setWriter(cell, isEvent ? Cell::Event : Cell::Copying,
                      isEvent ? event : toucher.thread);
  }
}

void mlir::moe::sim::readGlobal(Warp &warp, const Inst &inst, int lane,
                                uint64_t address, uint64_t bytes) {
  Access how;
  how.bytes = static_cast<unsigned>(bytes);
  touchGlobal({warp, inst, lane, Space::Global, false, false}, address, how);
}

void mlir::moe::sim::writeGlobal(Warp &warp, const Inst &inst, int lane,
                                 uint64_t address, uint64_t bytes) {
  Access how;
  how.kind = Access::Write;
  how.bytes = static_cast<unsigned>(bytes);
  touchGlobal({warp, inst, lane, Space::Global, false, false}, address, how);
}

void mlir::moe::sim::completeCopy(Warp &warp, const Warp::Copy &copy) {
  uint32_t thread = warp.id << 5 | copy.lane;
  for (uint32_t i = 0; i < copy.bytes; ++i) {
    Cell &cell = warp.block.cells[copy.address + i];
    if (cell.state != Cell::Copying || cell.writer != thread)
      continue; // a finding was reported when it was overwritten
    cell.state = Cell::Written;
    cell.writeTime = warp.grid.now;
  }
}

void mlir::moe::sim::beginAsyncRead(Warp &warp, const Inst &inst,
                                    const Warp::AsyncRead &read) {
  Toucher toucher{warp, inst, read.lane, Space::Shared, false, true};
  for (uint32_t i = 0; i < read.bytes; ++i) {
    Cell &cell = warp.block.cells[read.address + i];
    if (!cell.readSet)
      toucher.makeReadSet(cell);
    Block::ReadSet &set = warp.block.readSets[cell.readSet - 1];
    set.time[warp.index] = inFlight;
    set.inst[warp.index] = inst.index;
  }
}

void mlir::moe::sim::endAsyncRead(Warp &warp, const Warp::AsyncRead &read) {
  for (uint32_t i = 0; i < read.bytes; ++i) {
    Cell &cell = warp.block.cells[read.address + i];
    if (!cell.readSet)
      continue;
    Block::ReadSet &set = warp.block.readSets[cell.readSet - 1];
    if (set.time[warp.index] == inFlight)
      set.time[warp.index] = warp.grid.now;
    // The read belongs to its warp now.
    cell.readTime = 0;
  }
}

//===----------------------------------------------------------------------===//
// Counting
//===----------------------------------------------------------------------===//

void mlir::moe::sim::countSectors(Counters &counters, Mask mask,
                                  const uint64_t *addresses, unsigned bytes) {
  // Sorted intervals: sectors are counted once, distinct bytes summed.
  uint64_t starts[32];
  int count = 0;
  forLanes(mask, [&](int lane) { starts[count++] = addresses[lane]; });
  std::sort(starts, starts + count);
  uint64_t sectors = 0, distinct = 0, nextSector = 0, nextByte = 0;
  for (int i = 0; i < count; ++i) {
    uint64_t end = starts[i] + bytes;
    uint64_t first = std::max(starts[i] / 32, nextSector);
    uint64_t last = (end - 1) / 32;
    if (last >= first) {
      sectors += last - first + 1;
      nextSector = last + 1;
    }
    uint64_t from = std::max(starts[i], nextByte);
    if (end > from) {
      distinct += end - from;
      nextByte = end;
    }
  }
  counters.globalSectors += sectors;
  counters.globalIdeal += (distinct + 31) / 32;
}

void mlir::moe::sim::countBanks(Counters &counters, Mask mask,
                                const uint64_t *addresses, unsigned bytes) {
  int lanesPerPhase = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
  for (int first = 0; first < 32; first += lanesPerPhase) {
    Mask phase =
        mask &
        ((lanesPerPhase == 32 ? allLanes : (Mask(1) << lanesPerPhase) - 1)
         << first);
    if (!phase)
      continue;
    uint64_t words[64];
    int count = 0;
    forLanes(phase, [&](int lane) {
      for (uint64_t word = addresses[lane] / 4;
           word <= (addresses[lane] + bytes - 1) / 4 && count < 64; ++word)
        words[count++] = word;
    });
    std::sort(words, words + count);
    count = static_cast<int>(std::unique(words, words + count) - words);
    uint32_t perBank[32] = {}, most = 1;
    for (int i = 0; i < count; ++i)
      most = std::max(most, ++perBank[words[i] % 32]);
    counters.sharedCycles += most;
    counters.sharedIdeal += 1;
  }
}
