//===- Wgmma.cpp - wgmma: matrices of a warpgroup -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Each of the four warps computes its 16 of the 64 rows when it executes the
// instruction. Until wgmma.wait_group its registers may not be read, nor what
// it reads in shared memory be overwritten.
//
// Matrices in shared memory, by their descriptor (T: elements of 16 bytes, W:
// 1, 2, 4 or 8 chunks of 16 bytes for swizzles of 0, 32, 64, 128 bytes):
//   along k    chunk c of row r lies at 8-row group (r / 8) * SBO, row r % 8 *
//              16 W, chunk 16 c (without swizzle: c * LBO)
//   along m/n  element e of row k of the other dimension lies at (e / TW) * LBO
//              + (k / 8) * SBO + k % 8 * 16 W + e % TW (without swizzle LBO and
//              SBO change places)
// and then the swizzle exchanges chunks by address.
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "Decoder.h"
#include "moe/Simulator/TensorMap.h"

#include <algorithm>
#include <cstdlib>

using namespace mlir::moe::sim;
using Kind = Finding::Kind;

namespace {
struct Descriptor {
  uint64_t start, leading, stride; ///< bytes
  unsigned swizzle;                ///< of TensorMap
  bool baseOffset;

  Descriptor(uint64_t bits)
      : start((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4),
        stride((bits >> 32 & 0x3fff) << 4),
        swizzle(static_cast<unsigned>((4 - (bits >> 62)) & 3)),
        baseOffset(bits >> 49 & 7) {}

  /// The address of 16 bytes: along k of row `row`, or of k-row `row`.
  uint64_t chunk(uint64_t row, uint64_t chunk, bool alongK) const {
    uint64_t width = uint64_t(1) << swizzle, linear = start;
    if (alongK)
      linear += row / 8 * stride + row % 8 * 16 * width +
                (swizzle ? chunk * 16 : chunk * leading);
    else if (swizzle)
      linear += chunk / width * leading + row / 8 * stride +
                row % 8 * 16 * width + chunk % width * 16;
    else
      linear += chunk * stride + row / 8 * leading + row % 8 * 16;
    return swizzleAddress(linear, swizzle);
  }
};

/// Flags of an instruction.
enum : uint32_t {
  AFromRegisters = 1,
  TransposeA = 2,
  TransposeB = 4,
  NegateA = 8,
  NegateB = 16
};
} // namespace

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

static double getElement(const uint8_t *bytes, Type type) {
  uint32_t bits = 0;
  std::memcpy(&bits, bytes, getBits(type) / 8);
  if (type == Type::S8)
    return static_cast<int8_t>(bits);
  if (type == Type::U8)
    return bits;
  return decodeFloat(bits, type);
}

/// Rows first..first+rows-1 of an operand, k columns each. `alongK` is how it
/// lies in memory.
static bool readMatrix(Warp &warp, const Inst &inst, uint64_t bits, Type type,
                       bool alongK, unsigned first, unsigned rows, unsigned k,
                       double *values) {
  Descriptor descriptor(bits);
  if (descriptor.baseOffset) {
    warp.grid.find(Kind::Trap, warp, inst, 0,
                   "the matrix descriptor has a base offset, which is not "
                   "modelled");
    return false;
  }
  unsigned bytes = getBits(type) / 8, perChunk = 16 / bytes;
  unsigned lines = alongK ? rows : k, length = alongK ? k : rows;
  unsigned lineFirst = alongK ? first : 0,
           chunkFirst = alongK ? 0 : first / perChunk;
  for (unsigned line = 0; line < lines; ++line) {
    for (unsigned c = 0; c < length / perChunk; ++c) {
      uint64_t address =
          descriptor.chunk(lineFirst + line, chunkFirst + c, alongK);
      const uint8_t *place = getShared(warp, inst, 0, address, 16, 16);
      if (!place)
        return false;
      uint32_t at = static_cast<uint32_t>(address);
      readShared(warp, inst, 0, at, 16, true);
      Warp::AsyncRead read{at, 16, warp.wgmmaCommitted, inst.index, true, 0};
      beginAsyncRead(warp, inst, read);
      warp.asyncReads.push_back(read);
      for (unsigned e = 0; e < perChunk; ++e) {
        double value = getElement(place + e * bytes, type);
        unsigned row = alongK ? line : c * perChunk + e;
        unsigned column = alongK ? c * perChunk + e : line;
        values[row * k + column] = value;
      }
    }
  }
  return true;
}

static void checkFence(Warp &warp, const Inst &inst, uint32_t id) {
  if (warp.registerTimes[id] > warp.wgmmaFenceTime)
    warp.grid.find(Kind::ProxyFence, warp, inst, 0,
                   "a register of the wgmma was written after the last "
                   "wgmma.fence");
}

//===----------------------------------------------------------------------===//
// wgmma.mma_async
//===----------------------------------------------------------------------===//

/// inst.type, type2: of A and B; op: of the result; count: n; op2: k. Sources:
/// the accumulator, A (4 registers or a descriptor), B, scale-d.
static void runWgmma(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  unsigned n = inst.count, k = inst.op2;
  Type result = static_cast<Type>(inst.op);
  bool halves = result == Type::F16;
  size_t accumulators = inst.dst.size(), next = accumulators;
  std::vector<double> a(16 * k), b(size_t(n) * k), d(size_t(16) * n);
  unsigned group = warp.index % 4;

  if (inst.flags & AFromRegisters) {
    unsigned per = 32 / getBits(inst.type);
    for (unsigned r = 0; r < 4; ++r) {
      if (inst.src[next].kind == Src::Kind::Register)
        checkFence(warp, inst, inst.src[next].id);
      const uint64_t *s = warp.read(inst, next++, mask, buffer);
      for (unsigned lane = 0; lane < 32; ++lane)
        for (unsigned e = 0; e < per; ++e) {
          uint32_t bits = static_cast<uint32_t>(s[lane] >> e * (32 / per));
          unsigned row = lane / 4 + 8 * (r % 2);
          unsigned column = lane % 4 * per + 4 * per * (r / 2) + e;
          a[row * k + column] =
              getElement(reinterpret_cast<uint8_t *>(&bits), inst.type);
        }
    }
  } else {
    uint64_t bits = warp.read(inst, next++, mask, buffer)[0];
    if (!readMatrix(warp, inst, bits, inst.type, !(inst.flags & TransposeA),
                    group * 16, 16, k, a.data()))
      return;
  }
  uint64_t bits = warp.read(inst, next++, mask, buffer)[0];
  if (!readMatrix(warp, inst, bits, inst.type2, !(inst.flags & TransposeB), 0,
                  n, k, b.data()))
    return;
  bool accumulate = warp.read(inst, next, mask, buffer)[0] != 0;

  auto getPlace = [&](size_t i, unsigned lane, unsigned e) -> double & {
    unsigned row = lane / 4 + 8 * (halves ? i % 2 : i / 2 % 2);
    unsigned column = static_cast<unsigned>(halves ? i / 2 : i / 4) * 8 +
                      lane % 4 * 2 + (halves ? e : i % 2);
    return d[size_t(row) * n + column];
  };
  for (size_t i = 0; i < accumulators; ++i) {
    checkFence(warp, inst, inst.dst[i].id);
    if (!accumulate)
      continue;
    const uint64_t *s = warp.read(inst, i, mask, buffer);
    for (unsigned lane = 0; lane < 32; ++lane) {
      if (halves)
        for (unsigned e = 0; e < 2; ++e)
          getPlace(i, lane, e) = decodeFloat(
              static_cast<uint32_t>(s[lane] >> 16 * e & 0xffff), Type::F16);
      else
        getPlace(i, lane, 0) = result == Type::S32
                                   ? static_cast<int32_t>(s[lane])
                                   : asFloat(s[lane]);
    }
  }
  double sign = !(inst.flags & NegateA) == !(inst.flags & NegateB) ? 1 : -1;
  for (unsigned i = 0; i < 16; ++i)
    for (unsigned j = 0; j < n; ++j) {
      double sum = d[size_t(i) * n + j];
      for (unsigned p = 0; p < k; ++p)
        sum += sign * a[i * k + p] * b[size_t(j) * k + p];
      d[size_t(i) * n + j] = sum;
    }
  for (size_t i = 0; i < accumulators; ++i) {
    uint32_t id = inst.dst[i].id, before = warp.registerTimes[id];
    uint64_t *to = warp.write(inst.dst[i], mask);
    warp.registerTimes[id] = before;
    warp.registersInFlight[id] = warp.wgmmaCommitted + 1;
    for (unsigned lane = 0; lane < 32; ++lane) {
      double value = getPlace(i, lane, 0);
      if (halves)
        to[lane] = encodeFloat(value, Type::F16) |
                   uint64_t(encodeFloat(getPlace(i, lane, 1), Type::F16)) << 16;
      else if (result == Type::S32)
        to[lane] =
            static_cast<uint64_t>(static_cast<int64_t>(value)) & 0xffffffff;
      else
        to[lane] = encodeFloat(value, Type::F32);
    }
  }
  warp.grid.count(inst).tensorFlops += 2ull * 16 * n * k;
}

static void runFence(Warp &warp, const Inst &, Mask) {
  warp.wgmmaFenceTime = warp.grid.now;
}

static void runCommit(Warp &warp, const Inst &, Mask) { ++warp.wgmmaCommitted; }

static void runWait(Warp &warp, const Inst &inst, Mask) {
  auto isDone = [&](uint32_t group) {
    return uint64_t(group) + inst.count < warp.wgmmaCommitted;
  };
  for (uint32_t &group : warp.registersInFlight)
    if (group && isDone(group - 1))
      group = 0;
  auto &reads = warp.asyncReads;
  auto isRead = [&](const Warp::AsyncRead &read) {
    if (!read.isWgmma || !isDone(read.group))
      return false;
    endAsyncRead(warp, read);
    return true;
  };
  reads.erase(std::remove_if(reads.begin(), reads.end(), isRead), reads.end());
  // What later groups still read was closed with the earlier ones.
  for (const Warp::AsyncRead &read : reads)
    if (read.isWgmma)
      beginAsyncRead(warp, warp.program.insts[read.inst], read);
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

/// m64n<N>k<K>
static bool parseShape(std::string_view text, unsigned &n, unsigned &k) {
  if (text.substr(0, 4) != "m64n")
    return false;
  size_t split = text.find('k');
  if (split == std::string_view::npos || split < 5 || split > 7 ||
      text.size() - split > 3 || text.size() - split < 2)
    return false;
  n = static_cast<unsigned>(std::atoi(std::string(text.substr(4)).c_str()));
  k = static_cast<unsigned>(
      std::atoi(std::string(text.substr(split + 1)).c_str()));
  return n >= 8 && n <= 256 && n % 8 == 0;
}

static void decodeMma(Decoder &d) {
  Inst &inst = d.inst;
  unsigned n = 0, k = 0;
  bool ok = d.take("sync") && d.take("aligned");
  for (std::string_view modifier : d.parsed.modifiers)
    if (parseShape(modifier, n, k)) {
      ok &= d.take(modifier);
      break;
    }
  Type result = d.takeType(), a = d.takeType(), b = d.takeType();
  bool isHalf = a == Type::F16 || a == Type::BF16;
  unsigned depth = 0;
  if (isHalf && a == b)
    depth = 16;
  else if (a == Type::TF32 && a == b)
    depth = 8;
  else if ((a == Type::E4M3 || a == Type::E5M2) &&
           (b == Type::E4M3 || b == Type::E5M2))
    depth = 32;
  else if ((a == Type::S8 || a == Type::U8) && (b == Type::S8 || b == Type::U8))
    depth = 32;
  bool isInteger = a == Type::S8 || a == Type::U8;
  ok &= isInteger ? result == Type::S32
                  : result == Type::F32 || (result == Type::F16 &&
                                            a != Type::BF16 && a != Type::TF32);
  if (!ok || n == 0 || k != depth) {
    d.unmodelled();
    return;
  }
  inst.type = a;
  inst.type2 = b;
  inst.op = static_cast<uint8_t>(result);
  inst.op2 = static_cast<uint8_t>(k);
  inst.count = n;
  inst.isWgmma = true;
  inst.converge = Converge::Aligned;
  d.program.usesWgmma = true;
  bool fromRegisters = d.operand(1).kind == Operand::Kind::Vector;
  size_t count =
      4 + (isInteger ? 0 : 2) + (isHalf ? (fromRegisters ? 1 : 2) : 0);
  if (!d.finish(count))
    return;
  size_t accumulators = n / 2 / (result == Type::F16 ? 2 : 1);
  d.dstVector(0, Type::B32, accumulators);
  d.srcVector(0, Type::B32, accumulators);
  if (fromRegisters) {
    inst.flags |= AFromRegisters;
    d.srcVector(1, Type::B32, 4);
  } else {
    d.src(1, Type::B64);
  }
  d.src(2, Type::B64);
  d.src(3, Type::Pred);
  if (!d.error.empty())
    return;
  for (const Dst &dst : inst.dst)
    if (dst.id == Dst::none)
      d.fail("found '_' as an accumulator, expected a register");
  uint64_t scale[2] = {1, 1}, transpose[2] = {0, 0};
  if (!isInteger && (!d.immediate(4, scale[0]) || !d.immediate(5, scale[1])))
    return;
  if (isHalf) {
    if (!fromRegisters && !d.immediate(6, transpose[0]))
      return;
    if (!d.immediate(fromRegisters ? 6 : 7, transpose[1]))
      return;
  }
  inst.flags |= (scale[0] == 1 ? 0 : NegateA) | (scale[1] == 1 ? 0 : NegateB) |
                (transpose[0] ? TransposeA : 0) |
                (transpose[1] ? TransposeB : 0);
  inst.run = runWgmma;
}

void mlir::moe::sim::addWgmmaOps(OpTable &ops) {
  ops["wgmma"] = [](Decoder &d) {
    Inst &inst = d.inst;
    switch (d.takeAny({"mma_async", "fence", "commit_group", "wait_group"})) {
    case 0:
      return decodeMma(d);
    case 1:
      inst.run = runFence;
      break;
    case 2:
      inst.run = runCommit;
      break;
    case 3: {
      uint64_t count;
      inst.run = runWait;
      if (!d.immediate(0, count))
        return;
      inst.count = static_cast<uint32_t>(count);
      break;
    }
    default:
      d.unmodelled();
      return;
    }
    d.program.usesWgmma = true;
    inst.converge = Converge::Aligned;
    if (!d.take("sync") || !d.take("aligned"))
      d.unmodelled();
    d.finish(inst.run == runWait ? 1 : 0);
  };
}
