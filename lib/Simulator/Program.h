//===- Program.h - Decoded kernels ------------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_PROGRAM_H
#define MOE_LIB_SIMULATOR_PROGRAM_H

#include "moe/Simulator/PTX.h"

#include <array>
#include <deque>

namespace mlir::moe::sim {

class Warp;
struct Inst;
using Mask = uint32_t;
constexpr Mask allLanes = ~Mask(0);
/// Executes an instruction for the lanes of a mask, which is never empty.
using Handler = void (*)(Warp &, const Inst &, Mask);

struct Src {
  enum class Kind : uint8_t { Register, Constant, Special };
  Kind kind = Kind::Constant;
  bool negated = false; ///< predicates
  uint32_t id = 0;
};

struct Dst {
  static constexpr uint32_t none = ~0u;
  uint32_t id = none; ///< none: the sink `_`
  uint8_t bits = 0;
};

/// How an instruction needs the other lanes of its warp.
enum class Converge : uint8_t {
  No,
  Aligned, ///< all lanes that have not exited, or it is undefined
  Members  ///< the lanes of the mask in src.back()
};

struct Inst {
  Handler run = nullptr;
  int line = 0;
  uint32_t index = 0;
  int32_t guard = -1;
  bool guardNegated = false;
  Converge converge = Converge::No;

  // What of these an instruction uses is its family's business.
  Type type = Type::None, type2 = Type::None;
  Rounding rounding = Rounding::Nearest;
  bool ftz = false, saturate = false, relu = false, isWgmma = false;
  uint8_t op = 0, op2 = 0;
  uint32_t flags = 0;
  uint32_t count = 1; ///< vector lanes, groups
  std::vector<Dst> dst;
  std::vector<Src> src;
  // Memory: address = base + offset in space.
  Space space = Space::Generic;
  Src base;
  uint64_t offset = 0, sourceOffset = 0;
  uint32_t target = 0; ///< of branches
};

struct Program {
  const Module *module = nullptr;
  std::string name;
  Function function; ///< expanded
  std::vector<Inst> insts;
  std::vector<std::string> opcodes; ///< "ld.global.f32", for reports
  std::deque<std::array<uint64_t, 32>> constants;
  /// Accumulators of wgmma in flight need their registers watched.
  bool usesWgmma = false;
};

/// False with "file:LINE: ..." where an instruction is not modelled.
bool decodeProgram(const Module &module, Function function, Program &program,
                   std::string &error);

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_PROGRAM_H
