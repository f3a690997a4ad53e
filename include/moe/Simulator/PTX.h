//===- PTX.h - PTX text as data ---------------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The module that the parser makes of PTX text (PTX ISA 9.0): functions with
// their registers, variables and instructions. Opcodes stay lists of words;
// Decoder.h gives them a meaning.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_SIMULATOR_PTX_H
#define MOE_SIMULATOR_PTX_H

#include "moe/Simulator/Types.h"

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mlir::moe::sim {

enum class Space : uint8_t { Generic, Global, Shared, Local, Const, Param };
const char *getSpaceName(Space space);

/// A variable, parameter or function.
struct Symbol {
  std::string name;
  Space space = Space::Global;
  bool isFunction = false;
  uint32_t function = 0; ///< of isFunction
  uint64_t size = 0, align = 1;
  bool isModuleLevel = false;
  bool isExtern = false; ///< `.extern .shared x[]`: the dynamic part
  /// Offset in its space; global and const variables get theirs when loaded.
  uint64_t offset = 0;
  std::string init;
  /// Where an initializer holds addresses: byte offset, symbol, addend.
  struct Relocation {
    uint64_t at;
    uint32_t symbol;
    uint64_t addend;
  };
  std::vector<Relocation> relocations;
  int line = 0;
};

enum class SpecialRegister : uint8_t {
  TidX,
  TidY,
  TidZ,
  NtidX,
  NtidY,
  NtidZ,
  CtaidX,
  CtaidY,
  CtaidZ,
  NctaidX,
  NctaidY,
  NctaidZ,
  LaneId,
  WarpId,
  NWarpId,
  SmId,
  NSmId,
  GridId,
  LanemaskEq,
  LanemaskLe,
  LanemaskLt,
  LanemaskGe,
  LanemaskGt,
  Clock,
  ClockHi,
  Clock64,
  GlobalTimer,
  GlobalTimerLo,
  GlobalTimerHi,
  DynamicSmemSize,
  TotalSmemSize,
  AggrSmemSize,
  ClusterCtaRank,
  ClusterNctaRank,
  ClusterZero,
  ClusterOne,
  IsExplicitCluster,
  WarpSize
};

struct Operand {
  enum class Kind : uint8_t {
    Register, ///< id
    Integer,  ///< bits
    Float,    ///< bits of a double, or of a float when isSingle
    Special,  ///< id is a SpecialRegister
    Symbol,   ///< id, with `bits` added
    Label,    ///< id of the instruction after the function was parsed
    Sink,     ///< _
    Vector,   ///< {a, b}
    Address,  ///< [parts...], `bits` is the offset of the first part
    Pair      ///< a|b
  };
  Kind kind = Kind::Sink;
  bool isSingle = false, negated = false;
  uint32_t id = 0;
  uint64_t bits = 0;
  std::vector<Operand> parts;
};

struct ParsedInstruction {
  int line = 0;
  int32_t guard = -1; ///< predicate register
  bool guardNegated = false;
  std::string_view opcode;                 ///< "ld"
  std::vector<std::string_view> modifiers; ///< "global", "f32"
  std::vector<Operand> operands;
  // Calls only.
  std::vector<Operand> results, arguments;
};

struct Register {
  Type type = Type::None;
};

struct Function {
  std::string name;
  bool isEntry = false, hasBody = false;
  int line = 0;
  std::vector<uint32_t> params, results; ///< symbols
  std::vector<Register> registers;
  std::vector<ParsedInstruction> body;
  std::vector<std::vector<uint32_t>> branchTables; ///< .branchtargets
  uint64_t paramBytes = 0, sharedBytes = 0, localBytes = 0;
  bool usesDynamicShared = false;
  uint32_t requiredThreads[3] = {0, 0, 0}; ///< .reqntid
  uint32_t maxThreads[3] = {0, 0, 0};      ///< .maxntid
};

struct Module {
  std::string file, text, target;
  std::deque<std::string> strings; ///< what opcodes made by expansion point to
  unsigned version = 0;            ///< 10 * major + minor
  unsigned architecture = 0;       ///< 80 of sm_80
  bool hasArchitectureFeatures = false; ///< the `a` of sm_90a
  std::vector<Symbol> symbols;
  std::vector<Function> functions;

  const Function *findEntry(std::string_view name) const;
};

/// Parses PTX text. False and "file:LINE: what was found, what is expected" if
/// it is not PTX.
bool parseModule(std::string file, std::string text, Module &module,
                 std::string &error);

/// Replaces the calls in an entry by the bodies of the called functions.
bool expandCalls(Module &module, const Function &entry, Function &result,
                 std::string &error);

} // namespace mlir::moe::sim

#endif // MOE_SIMULATOR_PTX_H
