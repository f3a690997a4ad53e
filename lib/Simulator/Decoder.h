//===- Decoder.h - Opcodes to handlers --------------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A family of instructions gives each opcode a function that reads modifiers
// and operands through a Decoder and sets the handler. Every modifier has to be
// taken by name: one that is left over is not modelled, and an error.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_SIMULATOR_DECODER_H
#define MOE_LIB_SIMULATOR_DECODER_H

#include "Program.h"

#include <string>
#include <unordered_map>

namespace mlir::moe::sim {

class Decoder {
public:
  Decoder(const Module &module, Program &program,
          const ParsedInstruction &parsed, Inst &inst)
      : module(module), program(program), parsed(parsed), inst(inst),
        left(parsed.modifiers) {}

  const Module &module;
  Program &program;
  const ParsedInstruction &parsed;
  Inst &inst;
  std::string error;

  //===--- Modifiers ------------------------------------------------------===//
  bool take(std::string_view name);
  /// The index of the one that is there, or -1.
  int takeAny(std::initializer_list<const char *> names);
  /// The first type among the modifiers left.
  Type takeType();
  Type requireType();
  /// .rn .rz .rm .rp
  void takeRounding();
  bool fail(const std::string &what);
  bool unmodelled();
  /// Every modifier was taken, and there are this many operands.
  bool finish(size_t operands);
  bool finish(size_t least, size_t most);

  //===--- Operands -------------------------------------------------------===//
  size_t size() const { return parsed.operands.size(); }
  const Operand &operand(size_t i) const;
  void dst(const Operand &operand, Type type, bool wider = false);
  void dst(size_t i, Type type, bool wider = false) {
    dst(operand(i), type, wider);
  }
  void src(const Operand &operand, Type type, bool wider = false);
  void src(size_t i, Type type, bool wider = false) {
    src(operand(i), type, wider);
  }
  void dstVector(size_t i, Type type, size_t count, bool wider = false);
  void srcVector(size_t i, Type type, size_t count, bool wider = false);
  void address(size_t i, Space space);
  Src constant(uint64_t value);
  Src source(const Operand &operand, Type type, bool wider);
  bool immediate(size_t i, uint64_t &value);

private:
  std::vector<std::string_view> left;
};

using Decode = void (*)(Decoder &);
using OpTable = std::unordered_map<std::string_view, Decode>;

// Opcodes that integers and floating-point numbers share.
void decodeFloatAdd(Decoder &d, Type type, bool isSub);
void decodeFloatMul(Decoder &d, Type type, bool isMad);
void decodeFloatMinMax(Decoder &d, Type type, bool isMax);
void decodeFloatUnary(Decoder &d, Type type, bool isAbs);
void decodeFloatDiv(Decoder &d, Type type);

void addControlOps(OpTable &ops);
void addMoveOps(OpTable &ops);
void addIntegerOps(OpTable &ops);
void addFloatOps(OpTable &ops);
void addConvertOps(OpTable &ops);
void addCompareOps(OpTable &ops);
void addLoadStoreOps(OpTable &ops);
void addAtomicOps(OpTable &ops);
void addWarpOps(OpTable &ops);
void addBarrierOps(OpTable &ops);
void addCopyOps(OpTable &ops);
void addMatrixOps(OpTable &ops);
void addMBarrierOps(OpTable &ops);
void addWgmmaOps(OpTable &ops);

} // namespace mlir::moe::sim

#endif // MOE_LIB_SIMULATOR_DECODER_H
