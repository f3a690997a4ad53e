//===- CopyBulk.cpp - cp.async.bulk and tensor copies ---------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Bulk copies move their data when they execute, and complete their mbarrier's
// bytes at once. Their targets stay closed to who has not waited for that
// phase; sources in shared memory may not be overwritten before the wait.
//
//===----------------------------------------------------------------------===//

#include "CopyBulk.h"
#include "Checks.h"
#include "MBarrier.h"
#include "moe/Simulator/TensorMap.h"

#include <algorithm>

using namespace mlir::moe::sim;
using Kind = Finding::Kind;

static uint64_t toShared(uint64_t address) {
  return address >> 32 << 32 == sharedWindow ? address - sharedWindow : address;
}

/// Sectors of a contiguous range, its lines of 128 bytes in shared memory.
static void countRange(Warp &warp, const Inst &inst, uint64_t address,
                       uint64_t bytes) {
  Counters &counters = warp.grid.count(inst);
  counters.globalSectors += (address + bytes - 1) / 32 - address / 32 + 1;
  counters.globalIdeal += (bytes + 31) / 32;
}
static void countShared(Warp &warp, const Inst &inst, uint64_t bytes) {
  Counters &counters = warp.grid.count(inst);
  counters.sharedCycles += (bytes + 127) / 128;
  counters.sharedIdeal += (bytes + 127) / 128;
}

namespace {
/// One lane's copy. Rows are contiguous in both memories up to the swizzle.
struct BulkCopy {
  Warp &warp;
  const Inst &inst;
  int lane;
  bool isStore;
  uint64_t shared; ///< start of the box
  uint32_t event = 0;

  /// `bytes` at an offset of the box; a null place outside of the tensor.
  void row(uint64_t offset, uint64_t global, uint8_t *place, uint64_t bytes,
           unsigned swizzle) const {
    if (place) {
      isStore ? writeGlobal(warp, inst, lane, global, bytes)
              : readGlobal(warp, inst, lane, global, bytes);
      countRange(warp, inst, global, bytes);
    }
    for (uint64_t at = 0; at < bytes; at += 16) {
      uint64_t size = std::min<uint64_t>(16, bytes - at);
      uint64_t target = swizzleAddress(shared + offset + at, swizzle);
      uint8_t *cell = getShared(warp, inst, lane, target, size, 0);
      if (!cell)
        return;
      uint32_t address = static_cast<uint32_t>(target);
      uint32_t length = static_cast<uint32_t>(size);
      if (isStore) {
        readShared(warp, inst, lane, address, length, true);
        Warp::AsyncRead read{address,    length, warp.bulkCommitted[lane],
                             inst.index, false,  static_cast<uint8_t>(lane)};
        beginAsyncRead(warp, inst, read);
        warp.asyncReads.push_back(read);
        if (place)
          std::memcpy(place + at, cell, size);
        continue;
      }
      writeSharedAsync(warp, inst, lane, address, length, AsyncWrite::Event,
                       event);
      if (place)
        std::memcpy(cell, place + at, size);
      else
        std::memset(cell, 0, size);
    }
  }
};
} // namespace

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

static bool getTensorMap(Warp &warp, const Inst &inst, int lane,
                         uint64_t address, TensorMap &map) {
  const uint8_t *place = nullptr;
  if (address >> 32 << 32 == paramWindow || inst.space == Space::Param) {
    uint64_t offset = address & 0xffffffff;
    if (offset <= warp.grid.params.size() &&
        warp.grid.params.size() - offset >= 128)
      place = warp.grid.params.data() + offset;
  } else {
    place = getGlobal(warp, inst, lane, address, 128, 64);
    if (!place)
      return false;
  }
  if (place)
    std::memcpy(&map, place, sizeof map);
  if (place && map.magic == TensorMap::validMagic)
    return true;
  warp.grid.find(Kind::Trap, warp, inst, lane,
                 "the operand is no tensor map that cuTensorMapEncodeTiled "
                 "made",
                 true, Space::Generic, address);
  return false;
}

/// Visits the rows of the box. Rows that leave the tensor at an end are cut
/// into the part inside and the rest.
static void copyBox(const BulkCopy &copy, const TensorMap &map,
                    const int32_t *start) {
  Warp &warp = copy.warp;
  uint64_t rows = 1, inner = uint64_t(map.box[0]) * map.elementBytes;
  for (unsigned d = 1; d < map.rank; ++d)
    rows *= map.box[d];
  for (uint64_t r = 0; r < rows; ++r) {
    uint64_t rest = r, global = map.address, offset = r * inner;
    bool inside = true;
    for (unsigned d = 1; d < map.rank; ++d) {
      int64_t at = start[d] + static_cast<int64_t>(rest % map.box[d]);
      rest /= map.box[d];
      inside &= at >= 0 && static_cast<uint64_t>(at) < map.sizes[d];
      global += static_cast<uint64_t>(at) * map.strides[d - 1];
    }
    int64_t first = std::max<int64_t>(0, -int64_t(start[0]));
    int64_t last = std::min<int64_t>(
        map.box[0], static_cast<int64_t>(map.sizes[0]) - start[0]);
    if (!inside || first >= last)
      first = last = map.box[0];
    uint64_t from = static_cast<uint64_t>(first) * map.elementBytes;
    uint64_t to = static_cast<uint64_t>(last) * map.elementBytes;
    // Copies are made of 16-byte chunks of shared memory: cut ones by bytes.
    auto piece = [&](uint64_t begin, uint64_t end, bool isData) {
      while (begin < end) {
        uint64_t stop = std::min(end, (begin / 16 + 1) * 16);
        if (begin % 16 == 0)
          stop = std::max(stop, end / 16 * 16);
        uint8_t *place = nullptr;
        uint64_t address =
            global +
            static_cast<uint64_t>(int64_t(start[0])) * map.elementBytes + begin;
        if (isData) {
          place =
              getGlobal(warp, copy.inst, copy.lane, address, stop - begin, 0);
          if (!place)
            return;
        }
        copy.row(offset + begin, address, place, stop - begin, map.swizzle);
        begin = stop;
      }
    };
    piece(0, from, false);
    piece(from, to, true);
    piece(to, inner, false);
  }
  countShared(warp, copy.inst, rows * inner);
}

/// op: 1 stores; op2: rank, 0 without a tensor. Sources: tensor map or global
/// address and coordinates or size; mbarrier.
static void runBulk(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32], sources[32], barriers[32];
  uint64_t buffers[5][32];
  const uint64_t *operands[5] = {};
  bool isStore = inst.op;
  getAddresses(warp, inst, inst.base, inst.offset, mask, addresses);
  getAddresses(warp, inst, inst.src[0], inst.sourceOffset, mask, sources);
  size_t coordinates = inst.op2 ? inst.op2 : 1;
  for (size_t i = 0; i < coordinates; ++i)
    operands[i] = warp.read(inst, 1 + i, mask, buffers[i]);
  if (!isStore)
    getAddresses(warp, inst, inst.src.back(), inst.count, mask, barriers);
  forLanes(mask, [&](int lane) {
    BulkCopy copy{warp, inst, lane, isStore, toShared(addresses[lane])};
    MBarrier *barrier = nullptr;
    if (!isStore) {
      barrier = getMBarrier(warp, inst, lane, barriers[lane], true);
      if (!barrier)
        return;
      copy.event = getEvent(warp, *barrier);
    }
    uint64_t bytes;
    if (inst.op2) {
      TensorMap map;
      if (!getTensorMap(warp, inst, lane, sources[lane], map))
        return;
      if (map.rank != inst.op2) {
        warp.grid.find(Kind::Trap, warp, inst, lane,
                       "the tensor map has " + std::to_string(map.rank) +
                           " dimensions, the instruction " +
                           std::to_string(inst.op2));
        return;
      }
      bytes = map.elementBytes;
      for (unsigned d = 0; d < map.rank; ++d)
        bytes *= map.box[d];
      if (!getShared(warp, inst, lane, copy.shared, bytes, 128))
        return;
      int32_t start[5] = {};
      for (unsigned d = 0; d < map.rank; ++d)
        start[d] = static_cast<int32_t>(operands[d][lane]);
      copyBox(copy, map, start);
    } else {
      bytes = operands[0][lane] & 0xffffffff;
      uint8_t *place = getGlobal(warp, inst, lane, sources[lane], bytes, 16);
      if (!getShared(warp, inst, lane, copy.shared, bytes, 16) || !place)
        return;
      if (bytes % 16) {
        warp.grid.find(Kind::Misaligned, warp, inst, lane,
                       "the size " + std::to_string(bytes) +
                           " is no multiple of 16");
        return;
      }
      if (bytes)
        copy.row(0, sources[lane], place, bytes, 0);
      countShared(warp, inst, bytes);
    }
    if (barrier)
      expectBytes(warp, *barrier, -static_cast<int64_t>(bytes));
  });
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

static void runCommit(Warp &warp, const Inst &, Mask mask) {
  forLanes(mask, [&](int lane) { ++warp.bulkCommitted[lane]; });
}

static void runWait(Warp &warp, const Inst &inst, Mask mask) {
  auto done = [&](const Warp::AsyncRead &read) {
    if (read.isWgmma || !(mask >> read.lane & 1) ||
        uint64_t(read.group) + inst.count >= warp.bulkCommitted[read.lane])
      return false;
    endAsyncRead(warp, read);
    return true;
  };
  auto &reads = warp.asyncReads;
  reads.erase(std::remove_if(reads.begin(), reads.end(), done), reads.end());
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

/// [base + offset] as a source; its offset is returned.
static uint64_t takeAddress(Decoder &d, const Operand &operand) {
  if (operand.kind != Operand::Kind::Address) {
    d.fail("found a wrong kind of operand of 'cp.async.bulk', expected an "
           "address");
    return 0;
  }
  const Operand &base = operand.parts[0];
  Type type = Type::B64;
  if (base.kind == Operand::Kind::Register)
    type = d.program.function.registers[base.id].type;
  if (getBits(type) < 32) {
    d.fail("found an address in a register of type " +
           std::string(getTypeName(type)));
    return 0;
  }
  d.src(base, type);
  return operand.bits;
}

static void setTarget(Decoder &d, const Operand &operand) {
  d.inst.offset = takeAddress(d, operand);
  if (!d.error.empty())
    return;
  d.inst.base = d.inst.src.back();
  d.inst.src.pop_back();
}

void mlir::moe::sim::decodeBulkCopy(Decoder &d) {
  Inst &inst = d.inst;
  d.take("bulk");
  if (d.take("commit_group")) {
    if (d.finish(0))
      inst.run = runCommit;
    return;
  }
  if (d.take("wait_group")) {
    d.take("read");
    uint64_t count;
    if (!d.finish(1) || !d.immediate(0, count))
      return;
    inst.count = static_cast<uint32_t>(count);
    inst.run = runWait;
    return;
  }
  bool isTensor = d.take("tensor");
  if (isTensor) {
    int rank = d.takeAny({"1d", "2d", "3d", "4d", "5d"});
    d.take("tile");
    inst.op2 = static_cast<uint8_t>(rank + 1);
    if (rank < 0)
      d.unmodelled();
  }
  bool isStore = d.take("bulk_group");
  inst.op = isStore;
  bool ok = isStore || d.take("mbarrier::complete_tx::bytes");
  ok &= d.take("global");
  ok &= isStore ? d.take("shared::cta")
                : d.takeAny({"shared::cluster", "shared::cta"}) >= 0;
  bool policy = d.take("L2::cache_hint");
  if (!ok) {
    d.unmodelled();
    return;
  }
  // load: [shared], [tensor, {c}] or [global], bytes; [mbarrier]
  // store: [tensor, {c}] or [global]; [shared]; bytes
  size_t count = isTensor ? (isStore ? 2 : 3) : (isStore ? 3 : 4);
  if (!d.finish(count + policy))
    return;
  const Operand &global = d.operand(isStore ? 0 : 1);
  setTarget(d, d.operand(isStore ? 1 : 0));
  inst.sourceOffset = takeAddress(d, global);
  if (!d.error.empty())
    return;
  if (isTensor) {
    if (global.parts.size() != 2 ||
        (global.parts[1].kind == Operand::Kind::Vector
             ? global.parts[1].parts.size()
             : 1) != inst.op2) {
      d.fail("found a tensor operand without " + std::to_string(inst.op2) +
             " coordinates, expected [map, {coordinates}]");
      return;
    }
    const Operand &list = global.parts[1];
    if (list.kind == Operand::Kind::Vector)
      for (const Operand &part : list.parts)
        d.src(part, Type::B32);
    else
      d.src(list, Type::B32);
    // `mov` of a parameter gives its offset; generic addresses are others.
    if (global.parts[0].kind == Operand::Kind::Symbol)
      inst.space = d.module.symbols[global.parts[0].id].space;
  } else {
    d.src(2, Type::U32);
  }
  if (!isStore)
    inst.count = static_cast<uint32_t>(takeAddress(d, d.operand(count - 1)));
  inst.run = runBulk;
}
