//===- Integer.cpp - Integer arithmetic -----------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "Lanes.h"

#include <algorithm>

using namespace mlir::moe::sim;

// Products of 64 bits need 128.
using Wide = __int128;

//===----------------------------------------------------------------------===//
// One and two operands
//===----------------------------------------------------------------------===//

namespace {
// Sums and products wrap: they are computed without signs.
struct Add {
  template <typename T> T operator()(T a, T b) const {
    return static_cast<T>(pack<T>(a) + pack<T>(b));
  }
};
struct Sub {
  template <typename T> T operator()(T a, T b) const {
    return static_cast<T>(pack<T>(a) - pack<T>(b));
  }
};
struct AddSat {
  int32_t operator()(int32_t a, int32_t b) const {
    int64_t sum = int64_t(a) + b;
    return static_cast<int32_t>(
        std::min<int64_t>(INT32_MAX, std::max<int64_t>(INT32_MIN, sum)));
  }
};
struct SubSat {
  int32_t operator()(int32_t a, int32_t b) const {
    int64_t sum = int64_t(a) - b;
    return static_cast<int32_t>(
        std::min<int64_t>(INT32_MAX, std::max<int64_t>(INT32_MIN, sum)));
  }
};
struct MulLo {
  template <typename T> T operator()(T a, T b) const {
    return static_cast<T>(pack<T>(a) * pack<T>(b));
  }
};
struct MulHi {
  template <typename T> T operator()(T a, T b) const {
    return static_cast<T>((Wide(a) * Wide(b)) >> (sizeof(T) * 8));
  }
};
// The quotient by zero is unspecified; hardware gives all ones.
struct Div {
  template <typename T> T operator()(T a, T b) const {
    if (b == 0)
      return static_cast<T>(~T(0));
    return static_cast<T>(Wide(a) / Wide(b));
  }
};
struct Rem {
  template <typename T> T operator()(T a, T b) const {
    return b == 0 ? a : static_cast<T>(Wide(a) % Wide(b));
  }
};
struct Min {
  template <typename T> T operator()(T a, T b) const { return b < a ? b : a; }
};
struct Max {
  template <typename T> T operator()(T a, T b) const { return b > a ? b : a; }
};
struct And {
  template <typename T> T operator()(T a, T b) const { return a & b; }
};
struct Or {
  template <typename T> T operator()(T a, T b) const { return a | b; }
};
struct Xor {
  template <typename T> T operator()(T a, T b) const { return a ^ b; }
};
struct Not {
  template <typename T> T operator()(T a) const { return static_cast<T>(~a); }
};
struct CNot {
  template <typename T> T operator()(T a) const { return a == 0; }
};
struct Neg {
  template <typename T> T operator()(T a) const {
    return static_cast<T>(-pack<T>(a));
  }
};
struct Abs {
  template <typename T> T operator()(T a) const {
    return a < 0 ? static_cast<T>(-pack<T>(a)) : a;
  }
};
struct Popc {
  template <typename T> T operator()(T a) const {
    return static_cast<T>(__builtin_popcountll(pack<T>(a)));
  }
};
struct Clz {
  template <typename T> T operator()(T a) const {
    int bits = sizeof(T) * 8;
    return static_cast<T>(pack<T>(a) ? __builtin_clzll(pack<T>(a)) - (64 - bits)
                                     : bits);
  }
};
struct Brev {
  template <typename T> T operator()(T a) const {
    uint64_t in = pack<T>(a), out = 0;
    for (unsigned i = 0; i < sizeof(T) * 8; ++i)
      out |= (in >> i & 1) << (sizeof(T) * 8 - 1 - i);
    return static_cast<T>(out);
  }
};
} // namespace

template <typename Op> static void decodeUnary(Decoder &d) {
  Type type = d.requireType();
  if (!d.finish(2))
    return;
  d.dst(0, type);
  d.src(1, type);
  d.inst.run = unaryInteger<Op>(type);
}

/// popc, clz, bfind: the result has 32 bits whatever the operand.
template <typename Op> static void decodeCount(Decoder &d) {
  Type type = d.requireType();
  if (!d.finish(2))
    return;
  d.dst(0, Type::U32);
  d.src(1, type);
  d.inst.run = unaryInteger<Op>(type);
}

template <typename Op> static void decodeBinary(Decoder &d, Type type) {
  if (!d.finish(3))
    return;
  d.dst(0, type);
  d.src(1, type);
  d.src(2, type);
  d.inst.run = binaryInteger<Op>(type);
}

/// One bit: predicates.
template <typename Op> static void decodeLogic(Decoder &d) {
  Type type = d.requireType();
  if (type != Type::Pred)
    return decodeBinary<Op>(d, type);
  if (!d.finish(3))
    return;
  d.dst(0, type);
  d.src(1, type);
  d.src(2, type);
  d.inst.run = binaryLanes<uint8_t, Op>;
}

static void runNotPredicate(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffer[32];
  const uint64_t *a = warp.read(inst, 0, mask, buffer);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) { d[lane] = !a[lane]; });
}

//===----------------------------------------------------------------------===//
// Packed halves
//===----------------------------------------------------------------------===//

template <typename T, typename Op>
static void runPacked(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t bufferA[32], bufferB[32];
  const uint64_t *a = warp.read(inst, 0, mask, bufferA);
  const uint64_t *b = warp.read(inst, 1, mask, bufferB);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) {
    uint64_t low =
        pack<T>(Op()(static_cast<T>(a[lane]), static_cast<T>(b[lane])));
    uint64_t high = pack<T>(
        Op()(static_cast<T>(a[lane] >> 16), static_cast<T>(b[lane] >> 16)));
    d[lane] = low | high << 16;
  });
}

template <typename Op> static void decodePacked(Decoder &d, Type type) {
  if (!d.finish(3))
    return;
  d.dst(0, type);
  d.src(1, type);
  d.src(2, type);
  d.inst.run =
      type == Type::S16x2 ? runPacked<int16_t, Op> : runPacked<uint16_t, Op>;
}

//===----------------------------------------------------------------------===//
// Carries
//===----------------------------------------------------------------------===//

/// add, addc, sub, subc, mad, madc with .cc. A borrow is a carry flag of one.
template <typename T, bool isSub>
static void runCarry(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[3][32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *b = warp.read(inst, 1, mask, buffers[1]);
  bool isMad = inst.src.size() == 3;
  const uint64_t *c = isMad ? warp.read(inst, 2, mask, buffers[2]) : nullptr;
  uint64_t *d = warp.write(inst.dst[0], mask);
  constexpr unsigned bits = sizeof(T) * 8;
  forLanes(mask, [&](int lane) {
    unsigned __int128 x = static_cast<T>(a[lane]), y = static_cast<T>(b[lane]);
    if (isMad) {
      unsigned __int128 product =
          inst.type2 == Type::S32
              ? static_cast<unsigned __int128>(
                    Wide(static_cast<std::make_signed_t<T>>(a[lane])) *
                    static_cast<std::make_signed_t<T>>(b[lane]))
              : x * y;
      x = static_cast<T>(inst.op2 ? product >> bits : product);
      y = static_cast<T>(c[lane]);
    }
    unsigned carry = inst.op & 1 ? warp.carry[lane] : 0;
    unsigned __int128 sum = isSub ? x - y - carry : x + y + carry;
    if (inst.op & 2)
      warp.carry[lane] = static_cast<uint8_t>(sum >> bits & 1);
    d[lane] = static_cast<T>(sum);
  });
}

static void decodeCarry(Decoder &d, bool isSub, bool usesCarry, bool isMad) {
  bool sets = d.take("cc");
  if (isMad)
    d.inst.op2 = d.takeAny({"lo", "hi"}) == 1;
  Type type = d.requireType();
  d.inst.op = static_cast<uint8_t>(usesCarry | sets << 1);
  d.inst.type2 = isSigned(type) ? Type::S32 : Type::U32;
  if (!d.finish(isMad ? 4 : 3))
    return;
  d.dst(0, type);
  for (size_t i = 1; i < d.size(); ++i)
    d.src(i, type);
  if (getBits(type) == 32)
    d.inst.run = isSub ? runCarry<uint32_t, true> : runCarry<uint32_t, false>;
  else if (getBits(type) == 64)
    d.inst.run = isSub ? runCarry<uint64_t, true> : runCarry<uint64_t, false>;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// d = a * b + c in one of three widths: op 0 low, 1 high, 2 wide, 3 low of 24
/// bits, 4 high of 24 bits.
template <typename T>
static void runMad(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[3][32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *b = warp.read(inst, 1, mask, buffers[1]);
  const uint64_t *c = nullptr;
  if (inst.src.size() > 2)
    c = warp.read(inst, 2, mask, buffers[2]);
  uint64_t *d = warp.write(inst.dst[0], mask);
  constexpr unsigned bits = sizeof(T) * 8;
  auto low24 = [](uint64_t value) {
    int64_t wide = static_cast<int64_t>(value << 40);
    return std::is_signed_v<T> ? Wide(wide >> 40) : Wide(value & 0xffffff);
  };
  forLanes(mask, [&](int lane) {
    Wide x = static_cast<T>(a[lane]), y = static_cast<T>(b[lane]);
    if (inst.op >= 3)
      x = low24(a[lane]), y = low24(b[lane]);
    // Unsigned 64 x 64 may exceed a signed 128: the bits are the same.
    unsigned __int128 product =
        static_cast<unsigned __int128>(x) * static_cast<unsigned __int128>(y);
    if (inst.op == 1) {
      Wide high = std::is_signed_v<T> ? static_cast<Wide>(product) >> bits
                                      : static_cast<Wide>(product >> bits);
      product = static_cast<unsigned __int128>(high);
    } else if (inst.op == 4) {
      product >>= 16;
    }
    uint64_t sum = static_cast<uint64_t>(product) + (c ? c[lane] : 0);
    if (inst.op == 2)
      d[lane] = bits == 16 ? sum & 0xffffffff : sum;
    else
      d[lane] = pack<T>(static_cast<T>(sum));
  });
}

static void runMadSat(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[3][32];
  const uint64_t *a = warp.read(inst, 0, mask, buffers[0]);
  const uint64_t *b = warp.read(inst, 1, mask, buffers[1]);
  const uint64_t *c = warp.read(inst, 2, mask, buffers[2]);
  uint64_t *d = warp.write(inst.dst[0], mask);
  forLanes(mask, [&](int lane) {
    int64_t product =
        int64_t(static_cast<int32_t>(a[lane])) * static_cast<int32_t>(b[lane]);
    int64_t sum = (product >> 32) + static_cast<int32_t>(c[lane]);
    d[lane] = pack<int32_t>(static_cast<int32_t>(
        std::min<int64_t>(INT32_MAX, std::max<int64_t>(INT32_MIN, sum))));
  });
}

static Handler forMad(Type type) {
  switch (type) {
  case Type::U16:
    return runMad<uint16_t>;
  case Type::S16:
    return runMad<int16_t>;
  case Type::U32:
    return runMad<uint32_t>;
  case Type::S32:
    return runMad<int32_t>;
  case Type::U64:
    return runMad<uint64_t>;
  case Type::S64:
    return runMad<int64_t>;
  default:
    return nullptr;
  }
}

static void decodeMul(Decoder &d, bool isMad, bool is24) {
  bool carries = false;
  for (std::string_view modifier : d.parsed.modifiers)
    carries |= modifier == "cc";
  if (carries)
    return decodeCarry(d, false, false, true);
  int width = d.takeAny({"lo", "hi", "wide"});
  bool saturate = isMad && d.take("sat");
  Type type = d.requireType();
  if (isFloat(type) && width < 0 && !is24) {
    if (saturate)
      d.inst.saturate = true;
    return decodeFloatMul(d, type, isMad);
  }
  if (width < 0 || (is24 && width == 2)) {
    d.unmodelled();
    return;
  }
  d.inst.op = static_cast<uint8_t>(is24 ? width + 3 : width);
  if (!d.finish(isMad ? 4 : 3))
    return;
  Type result = type;
  if (width == 2) {
    if (getBits(type) == 64) {
      d.unmodelled();
      return;
    }
    result = getBits(type) == 16 ? Type::B32 : Type::B64;
  }
  d.dst(0, result);
  d.src(1, type);
  d.src(2, type);
  if (isMad)
    d.src(3, result);
  d.inst.run = forMad(type);
  if (saturate)
    d.inst.run = type == Type::S32 && d.inst.op == 1 ? runMadSat : nullptr;
}

//===----------------------------------------------------------------------===//
// Bits
//===----------------------------------------------------------------------===//

namespace {
/// Shifts by more than the width give what shifting on would give.
struct Shl {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t) {
    unsigned bits = getBits(inst.type);
    uint64_t amount = b & 0xffffffff;
    if (amount >= bits)
      return 0;
    return a << amount &
           (bits == 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1);
  }
};
struct Shr {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t) {
    unsigned bits = getBits(inst.type);
    uint64_t amount = b & 0xffffffff;
    uint64_t ones = bits == 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1;
    a &= ones;
    if (!isSigned(inst.type))
      return amount >= bits ? 0 : a >> amount;
    int64_t value = static_cast<int64_t>(a << (64 - bits)) >> (64 - bits);
    return static_cast<uint64_t>(value >>
                                 std::min<uint64_t>(amount, bits - 1)) &
           ones;
  }
};
/// op: 1 right; op2: 1 clamp.
struct Shf {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t both = (a & 0xffffffff) | b << 32;
    c &= 0xffffffff;
    unsigned amount =
        static_cast<unsigned>(inst.op2 ? std::min<uint64_t>(c, 32) : c & 31);
    if (inst.op)
      return both >> amount & 0xffffffff;
    return amount == 0 ? b : both >> (32 - amount) & 0xffffffff;
  }
};
struct Lop3 {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t result = 0;
    for (unsigned i = 0; i < 8; ++i)
      if (inst.count >> i & 1)
        result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result & 0xffffffff;
  }
};
struct Bfe {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    int bits = static_cast<int>(getBits(inst.type));
    int position = b & 0xff, length = c & 0xff;
    bool sign = false;
    if (isSigned(inst.type) && length > 0)
      sign = a >> std::min(position + length - 1, bits - 1) & 1;
    uint64_t result = 0;
    for (int i = 0; i < bits; ++i) {
      bool bit =
          i < length && position + i < bits ? a >> (position + i) & 1 : sign;
      result |= static_cast<uint64_t>(bit) << i;
    }
    return result;
  }
};
struct Bmsk {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t) {
    a &= 0xffffffff;
    b &= 0xffffffff;
    if (inst.op) // clamp
      a = std::min<uint64_t>(a, 32), b = std::min<uint64_t>(b, 32);
    else
      a &= 31, b &= 31;
    return ((uint64_t(1) << b) - 1) << a & 0xffffffff;
  }
};
struct Sad {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    unsigned bits = getBits(inst.type), up = 64 - bits;
    bool less = isSigned(inst.type) ? static_cast<int64_t>(a << up) <
                                          static_cast<int64_t>(b << up)
                                    : a < b;
    uint64_t sum = c + (less ? b - a : a - b);
    return bits == 64 ? sum : sum & ((uint64_t(1) << bits) - 1);
  }
};
/// op: the first operand is signed; op2: the second.
struct Dp4a {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    int64_t sum = static_cast<int64_t>(c);
    for (int i = 0; i < 4; ++i) {
      int64_t x = a >> i * 8 & 0xff, y = b >> i * 8 & 0xff;
      x = inst.op ? static_cast<int8_t>(x) : x;
      y = inst.op2 ? static_cast<int8_t>(y) : y;
      sum += x * y;
    }
    return static_cast<uint64_t>(sum) & 0xffffffff;
  }
};
/// count: 1 takes the upper two bytes of b.
struct Dp2a {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t b, uint64_t c) {
    int64_t sum = static_cast<int64_t>(c);
    for (int i = 0; i < 2; ++i) {
      int64_t x = a >> i * 16 & 0xffff;
      int64_t y = b >> (i + (inst.count ? 2 : 0)) * 8 & 0xff;
      x = inst.op ? static_cast<int16_t>(x) : x;
      y = inst.op2 ? static_cast<int8_t>(y) : y;
      sum += x * y;
    }
    return static_cast<uint64_t>(sum) & 0xffffffff;
  }
};
/// op: 1 gives the shift that moves the bit found to the top.
struct Bfind {
  uint64_t operator()(const Inst &inst, uint64_t a, uint64_t, uint64_t) {
    unsigned bits = getBits(inst.type);
    if (isSigned(inst.type) && a >> (bits - 1) & 1)
      a = ~a & (bits == 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1);
    if (a == 0)
      return 0xffffffff;
    unsigned bit = 63 - static_cast<unsigned>(__builtin_clzll(a));
    return inst.op ? bits - 1 - bit : bit;
  }
};
} // namespace

static void runBfi(Warp &warp, const Inst &inst, Mask mask) {
  uint64_t buffers[4][32];
  const uint64_t *s[4];
  for (size_t i = 0; i < 4; ++i)
    s[i] = warp.read(inst, i, mask, buffers[i]);
  uint64_t *d = warp.write(inst.dst[0], mask);
  int bits = static_cast<int>(getBits(inst.type));
  forLanes(mask, [&](int lane) {
    uint64_t result = s[1][lane];
    int position = s[2][lane] & 0xff, length = s[3][lane] & 0xff;
    for (int i = 0; i < length && position + i < bits; ++i) {
      uint64_t bit = uint64_t(1) << (position + i);
      result = (result & ~bit) | (s[0][lane] >> i & 1 ? bit : 0);
    }
    d[lane] = result;
  });
}

template <typename Op> static void decodeShift(Decoder &d) {
  Type type = d.inst.type = d.requireType();
  if (!d.finish(3))
    return;
  d.dst(0, type);
  d.src(1, type);
  d.src(2, Type::U32);
  d.inst.run = bitsLanes<Op>;
}

template <typename Op> static void decodeDot(Decoder &d, bool isDp2a) {
  if (isDp2a)
    d.inst.count = d.takeAny({"lo", "hi"}) == 1;
  Type a = d.requireType(), b = d.requireType();
  d.inst.op = isSigned(a);
  d.inst.op2 = isSigned(b);
  if (!d.finish(4))
    return;
  d.dst(0, Type::B32);
  for (size_t i = 1; i < 4; ++i)
    d.src(i, Type::B32);
  d.inst.run = bitsLanes<Op>;
}

//===----------------------------------------------------------------------===//
// Table
//===----------------------------------------------------------------------===//

template <bool isSub> static void decodeAdd(Decoder &d) {
  for (std::string_view modifier : d.parsed.modifiers)
    if (modifier == "cc")
      return decodeCarry(d, isSub, false, false);
  bool saturate = d.take("sat");
  Type type = d.requireType();
  if (isFloat(type)) {
    d.inst.saturate = saturate;
    return decodeFloatAdd(d, type, isSub);
  }
  if (isPacked(type) && !saturate)
    return isSub ? decodePacked<Sub>(d, type) : decodePacked<Add>(d, type);
  isSub ? decodeBinary<Sub>(d, type) : decodeBinary<Add>(d, type);
  if (saturate)
    d.inst.run = type != Type::S32 ? nullptr
                 : isSub           ? binaryLanes<int32_t, SubSat>
                                   : binaryLanes<int32_t, AddSat>;
}

template <bool isMax> static void decodeMinMax(Decoder &d) {
  d.inst.relu = d.take("relu");
  Type type = d.requireType();
  if (isFloat(type))
    return decodeFloatMinMax(d, type, isMax);
  if (d.inst.relu)
    d.unmodelled();
  if (isPacked(type))
    return isMax ? decodePacked<Max>(d, type) : decodePacked<Min>(d, type);
  isMax ? decodeBinary<Max>(d, type) : decodeBinary<Min>(d, type);
}

void mlir::moe::sim::addIntegerOps(OpTable &ops) {
  ops["add"] = decodeAdd<false>;
  ops["sub"] = decodeAdd<true>;
  ops["addc"] = [](Decoder &d) { decodeCarry(d, false, true, false); };
  ops["subc"] = [](Decoder &d) { decodeCarry(d, true, true, false); };
  ops["madc"] = [](Decoder &d) { decodeCarry(d, false, true, true); };
  ops["mul"] = [](Decoder &d) { decodeMul(d, false, false); };
  ops["mad"] = [](Decoder &d) { decodeMul(d, true, false); };
  ops["mul24"] = [](Decoder &d) { decodeMul(d, false, true); };
  ops["mad24"] = [](Decoder &d) { decodeMul(d, true, true); };
  ops["div"] = [](Decoder &d) {
    Type type = d.requireType();
    isFloat(type) ? decodeFloatDiv(d, type) : decodeBinary<Div>(d, type);
  };
  ops["rem"] = [](Decoder &d) { decodeBinary<Rem>(d, d.requireType()); };
  ops["min"] = decodeMinMax<false>;
  ops["max"] = decodeMinMax<true>;
  ops["abs"] = [](Decoder &d) {
    bool ftz = d.take("ftz");
    Type type = d.requireType();
    if (isFloat(type)) {
      d.inst.ftz = ftz;
      return decodeFloatUnary(d, type, true);
    }
    if (!d.finish(2))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.inst.run = unaryInteger<Abs>(type);
  };
  ops["neg"] = [](Decoder &d) {
    bool ftz = d.take("ftz");
    Type type = d.requireType();
    if (isFloat(type)) {
      d.inst.ftz = ftz;
      return decodeFloatUnary(d, type, false);
    }
    if (!d.finish(2))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.inst.run = unaryInteger<Neg>(type);
  };
  ops["and"] = decodeLogic<And>;
  ops["or"] = decodeLogic<Or>;
  ops["xor"] = decodeLogic<Xor>;
  ops["not"] = [](Decoder &d) {
    Type type = d.requireType();
    if (!d.finish(2))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.inst.run = type == Type::Pred ? runNotPredicate : unaryInteger<Not>(type);
  };
  ops["cnot"] = decodeUnary<CNot>;
  ops["popc"] = decodeCount<Popc>;
  ops["clz"] = decodeCount<Clz>;
  ops["brev"] = decodeUnary<Brev>;
  ops["bfind"] = [](Decoder &d) {
    d.inst.op = d.take("shiftamt");
    Type type = d.inst.type = d.requireType();
    if (!d.finish(2))
      return;
    d.dst(0, Type::U32);
    d.src(1, type);
    d.inst.run = bitsLanes<Bfind>;
  };
  ops["shl"] = decodeShift<Shl>;
  ops["shr"] = decodeShift<Shr>;
  ops["shf"] = [](Decoder &d) {
    d.inst.op = d.takeAny({"l", "r"}) == 1;
    d.inst.op2 = d.takeAny({"wrap", "clamp"}) == 1;
    if (!d.take("b32"))
      d.unmodelled();
    if (!d.finish(4))
      return;
    d.dst(0, Type::B32);
    for (size_t i = 1; i < 4; ++i)
      d.src(i, Type::B32);
    d.inst.run = bitsLanes<Shf>;
  };
  ops["lop3"] = [](Decoder &d) {
    uint64_t table;
    if (!d.take("b32"))
      d.unmodelled();
    if (!d.finish(5) || !d.immediate(4, table))
      return;
    d.inst.count = static_cast<uint32_t>(table & 0xff);
    d.dst(0, Type::B32);
    for (size_t i = 1; i < 4; ++i)
      d.src(i, Type::B32);
    d.inst.run = bitsLanes<Lop3>;
  };
  ops["bfe"] = [](Decoder &d) {
    Type type = d.inst.type = d.requireType();
    if (!d.finish(4))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.src(2, Type::U32);
    d.src(3, Type::U32);
    d.inst.run = bitsLanes<Bfe>;
  };
  ops["bfi"] = [](Decoder &d) {
    Type type = d.inst.type = d.requireType();
    if (!d.finish(5))
      return;
    d.dst(0, type);
    d.src(1, type);
    d.src(2, type);
    d.src(3, Type::U32);
    d.src(4, Type::U32);
    d.inst.run = runBfi;
  };
  ops["bmsk"] = [](Decoder &d) {
    d.inst.op = d.takeAny({"wrap", "clamp"}) == 1;
    if (!d.take("b32"))
      d.unmodelled();
    if (!d.finish(3))
      return;
    d.dst(0, Type::B32);
    d.src(1, Type::B32);
    d.src(2, Type::B32);
    d.inst.run = bitsLanes<Bmsk>;
  };
  ops["sad"] = [](Decoder &d) {
    Type type = d.inst.type = d.requireType();
    if (!d.finish(4))
      return;
    d.dst(0, type);
    for (size_t i = 1; i < 4; ++i)
      d.src(i, type);
    d.inst.run = bitsLanes<Sad>;
  };
  ops["dp4a"] = [](Decoder &d) { decodeDot<Dp4a>(d, false); };
  ops["dp2a"] = [](Decoder &d) { decodeDot<Dp2a>(d, true); };
}
