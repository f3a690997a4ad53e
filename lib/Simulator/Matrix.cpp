//===- Matrix.cpp - ldmatrix, stmatrix, mma.sync --------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Fragments are laid out as in the PTX ISA. With P elements in a 32-bit
// register (four of 8 bits, two of 16, one tf32), g = lane / 4 and t = lane %
// 4, register r of A holds row g + 8 (r % 2), columns tP + 4P (r / 2) + 0..P-1;
// register r of B holds rows tP + 4P r + 0..P-1 of column g; the accumulator c
// holds rows g + 8 (c / 2), column 2t + c % 2.
//
// A tensor core's own order and precision of summation is not documented. Here
// all products and the accumulator are summed in f64 and rounded once.
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "Decoder.h"

#include <algorithm>

using namespace mlir::moe::sim;

//===----------------------------------------------------------------------===//
// ldmatrix, stmatrix
//===----------------------------------------------------------------------===//

/// The addresses of the rows, of lanes 0 to 8 * count - 1.
static void getRows(Warp &warp, const Inst &inst, uint64_t *addresses) {
  Mask lanes = inst.count == 4 ? allLanes : (Mask(1) << inst.count * 8) - 1;
  getAddresses(warp, inst, lanes, addresses);
}

static void runLoadMatrix(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32];
  uint8_t *rows[32];
  getRows(warp, inst, addresses);
  Mask lanes = inst.count == 4 ? allLanes : (Mask(1) << inst.count * 8) - 1;
  Access how;
  how.bytes = 16;
  access(warp, inst, lanes, addresses, inst.space, how, rows);
  for (uint32_t m = 0; m < inst.count; ++m) {
    uint64_t *d = warp.write(inst.dst[m], mask);
    for (uint32_t lane = 0; lane < 32; ++lane) {
      uint64_t value = 0;
      for (uint32_t e = 0; e < 2; ++e) {
        uint32_t row = lane / 4, column = lane % 4 * 2 + e;
        if (inst.op) // transposed
          std::swap(row, column);
        uint16_t element = 0;
        if (const uint8_t *from = rows[m * 8 + row])
          std::memcpy(&element, from + column * 2, 2);
        value |= static_cast<uint64_t>(element) << 16 * e;
      }
      d[lane] = value;
    }
  }
}

static void runStoreMatrix(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t addresses[32];
  uint8_t *rows[32], values[32 * 16] = {};
  getRows(warp, inst, addresses);
  for (uint32_t m = 0; m < inst.count; ++m) {
    uint64_t buffer[32];
    const uint64_t *a = warp.read(inst, m, mask, buffer);
    for (uint32_t lane = 0; lane < 32; ++lane) {
      for (uint32_t e = 0; e < 2; ++e) {
        uint32_t row = lane / 4, column = lane % 4 * 2 + e;
        if (inst.op)
          std::swap(row, column);
        uint16_t element = static_cast<uint16_t>(a[lane] >> 16 * e);
        std::memcpy(values + (m * 8 + row) * 16 + column * 2, &element, 2);
      }
    }
  }
  Mask lanes = inst.count == 4 ? allLanes : (Mask(1) << inst.count * 8) - 1;
  Access how;
  how.kind = Access::Write;
  how.bytes = 16;
  how.values = values;
  access(warp, inst, lanes, addresses, inst.space, how, rows);
}

static void decodeMatrixMove(Decoder &d, bool isStore) {
  Inst &inst = d.inst;
  bool ok = d.take("sync") && d.take("aligned") && d.take("m8n8");
  int count = d.takeAny({"x1", "x2", "x4"});
  inst.op = d.take("trans");
  Space space = d.takeAny({"shared", "shared::cta"}) >= 0 ? Space::Shared
                                                          : Space::Generic;
  if (!ok || count < 0 || !d.take("b16")) {
    d.unmodelled();
    return;
  }
  inst.count = 1u << count;
  inst.converge = Converge::Aligned;
  if (!d.finish(2))
    return;
  if (isStore)
    d.srcVector(1, Type::B32, inst.count);
  else
    d.dstVector(0, Type::B32, inst.count);
  d.address(isStore ? 0 : 1, space);
  inst.run = isStore ? runStoreMatrix : runLoadMatrix;
}

//===----------------------------------------------------------------------===//
// mma.sync
//===----------------------------------------------------------------------===//

static const float *getHalfTable() {
  static const std::vector<float> table = [] {
    std::vector<float> values(1 << 16);
    for (uint32_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(decodeFloat(i, Type::F16));
    return values;
  }();
  return table.data();
}

/// One element of a register of A or B.
static double getElement(uint64_t bits, unsigned index, Type type) {
  switch (type) {
  case Type::F16:
    return getHalfTable()[bits >> 16 * index & 0xffff];
  case Type::BF16:
    return asFloat((bits >> 16 * index & 0xffff) << 16);
  case Type::S8:
    return static_cast<int8_t>(bits >> 8 * index);
  case Type::U8:
    return static_cast<uint8_t>(bits >> 8 * index);
  case Type::E4M3:
  case Type::E5M2:
    return decodeFloat(static_cast<uint32_t>(bits >> 8 * index & 0xff), type);
  default:
    return decodeFloat(static_cast<uint32_t>(bits), Type::TF32);
  }
}

/// inst.type, type2: of A and B; op: of the result and accumulator; count: k;
/// op2: number of registers of A.
static void runMma(Warp &warp, const Inst &inst, Mask mask) {
  double a[16][32], b[32][8], c[16][8];
  unsigned k = inst.count, perRegister = 32 / getBits(inst.type);
  unsigned countA = inst.op2, countB = countA / 2;
  Type result = static_cast<Type>(inst.op);
  size_t next = 0;
  for (unsigned r = 0; r < countA; ++r) {
    uint64_t buffer[32];
    const uint64_t *s = warp.read(inst, next++, mask, buffer);
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned e = 0; e < perRegister; ++e)
        a[lane / 4 + 8 * (r % 2)]
         [lane % 4 * perRegister + 4 * perRegister * (r / 2) + e] =
             getElement(s[lane], e, inst.type);
  }
  for (unsigned r = 0; r < countB; ++r) {
    uint64_t buffer[32];
    const uint64_t *s = warp.read(inst, next++, mask, buffer);
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned e = 0; e < perRegister; ++e)
        b[lane % 4 * perRegister + 4 * perRegister * r + e][lane / 4] =
            getElement(s[lane], e, inst.type2);
  }
  bool halves = result == Type::F16;
  for (unsigned r = 0; r < (halves ? 2u : 4u); ++r) {
    uint64_t buffer[32];
    const uint64_t *s = warp.read(inst, next++, mask, buffer);
    for (unsigned lane = 0; lane < 32; ++lane) {
      unsigned row = lane / 4, column = lane % 4 * 2;
      if (halves) {
        c[row + 8 * r][column] = getElement(s[lane], 0, Type::F16);
        c[row + 8 * r][column + 1] = getElement(s[lane], 1, Type::F16);
      } else {
        c[row + 8 * (r / 2)][column + r % 2] =
            result == Type::S32 ? static_cast<int32_t>(s[lane])
                                : asFloat(s[lane]);
      }
    }
  }
  for (unsigned i = 0; i < 16; ++i)
    for (unsigned p = 0; p < k; ++p)
      for (unsigned j = 0; j < 8; ++j)
        c[i][j] += a[i][p] * b[p][j];

  auto encode = [&](double value) -> uint64_t {
    if (result == Type::F16)
      return encodeFloat(value, Type::F16);
    if (result == Type::F32)
      return encodeFloat(value, Type::F32);
    // Integer sums are exact in f64; they wrap, or are clamped.
    if (inst.saturate)
      value = std::min(2147483647.0, std::max(-2147483648.0, value));
    return static_cast<uint64_t>(static_cast<int64_t>(value)) & 0xffffffff;
  };
  for (unsigned r = 0; r < (halves ? 2u : 4u); ++r) {
    uint64_t *d = warp.write(inst.dst[r], mask);
    for (unsigned lane = 0; lane < 32; ++lane) {
      unsigned row = lane / 4, column = lane % 4 * 2;
      d[lane] = halves ? encode(c[row + 8 * r][column]) |
                             encode(c[row + 8 * r][column + 1]) << 16
                       : encode(c[row + 8 * (r / 2)][column + r % 2]);
    }
  }
  warp.grid.count(inst).tensorFlops += 2ull * 16 * 8 * k;
}

static void decodeMma(Decoder &d) {
  Inst &inst = d.inst;
  bool ok = d.take("sync") && d.take("aligned");
  static const unsigned depths[] = {4, 8, 16, 32};
  int shape = d.takeAny({"m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32"});
  ok &= d.take("row") && d.take("col");
  inst.saturate = d.take("satfinite");
  // kind::f8f6f4 and block scales are of sm_100.
  Type typeD = d.takeType(), typeA = d.takeType(), typeB = d.takeType(),
       typeC = d.takeType();
  if (!ok || shape < 0 || typeC == Type::None || typeC != typeD) {
    d.unmodelled();
    return;
  }
  unsigned k = depths[shape], bits = 0;
  switch (typeA) {
  case Type::F16:
    ok = typeB == typeA && (typeD == Type::F16 || typeD == Type::F32) &&
         (k == 8 || k == 16);
    bits = 16;
    break;
  case Type::BF16:
    ok = typeB == typeA && typeD == Type::F32 && (k == 8 || k == 16);
    bits = 16;
    break;
  case Type::TF32:
    ok = typeB == typeA && typeD == Type::F32 && (k == 4 || k == 8);
    bits = 32;
    break;
  case Type::S8:
  case Type::U8:
    ok = (typeB == Type::S8 || typeB == Type::U8) && typeD == Type::S32 &&
         (k == 16 || k == 32);
    bits = 8;
    break;
  case Type::E4M3:
  case Type::E5M2:
    ok = (typeB == Type::E4M3 || typeB == Type::E5M2) && typeD == Type::F32 &&
         k == 32;
    bits = 8;
    break;
  default:
    ok = false;
  }
  if (inst.saturate && typeD != Type::S32)
    ok = false;
  if (!ok) {
    d.unmodelled();
    return;
  }
  inst.type = typeA;
  inst.type2 = typeB;
  inst.op = static_cast<uint8_t>(typeD);
  inst.count = k;
  unsigned registersA = 16 * k * bits / 1024;
  inst.op2 = static_cast<uint8_t>(registersA);
  size_t accumulators = typeD == Type::F16 ? 2 : 4;
  if (!d.finish(4))
    return;
  d.dstVector(0, Type::B32, accumulators);
  d.srcVector(1, Type::B32, registersA);
  d.srcVector(2, Type::B32, registersA / 2);
  d.srcVector(3, Type::B32, accumulators);
  inst.converge = Converge::Aligned;
  inst.run = runMma;
}

void mlir::moe::sim::addMatrixOps(OpTable &ops) {
  ops["ldmatrix"] = [](Decoder &d) { decodeMatrixMove(d, false); };
  ops["stmatrix"] = [](Decoder &d) { decodeMatrixMove(d, true); };
  ops["mma"] = decodeMma;
}
