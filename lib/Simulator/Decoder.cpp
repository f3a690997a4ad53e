//===- Decoder.cpp - Opcodes to handlers ----------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"

#include <algorithm>

using namespace mlir::moe::sim;

//===----------------------------------------------------------------------===//
// Modifiers
//===----------------------------------------------------------------------===//

bool Decoder::take(std::string_view name) {
  auto found = std::find(left.begin(), left.end(), name);
  if (found == left.end())
    return false;
  left.erase(found);
  return true;
}

int Decoder::takeAny(std::initializer_list<const char *> names) {
  int index = 0;
  for (const char *name : names) {
    if (take(name))
      return index;
    ++index;
  }
  return -1;
}

Type Decoder::takeType() {
  for (auto it = left.begin(); it != left.end(); ++it) {
    Type type = parseType(*it);
    if (type != Type::None) {
      left.erase(it);
      return type;
    }
  }
  return Type::None;
}

Type Decoder::requireType() {
  Type type = takeType();
  if (type == Type::None)
    fail("found '" + std::string(parsed.opcode) +
         "' without a type, expected one");
  return type;
}

void Decoder::takeRounding() {
  switch (takeAny({"rn", "rz", "rm", "rp"})) {
  case 1:
    inst.rounding = Rounding::Zero;
    break;
  case 2:
    inst.rounding = Rounding::Down;
    break;
  case 3:
    inst.rounding = Rounding::Up;
    break;
  default:
    break;
  }
}

bool Decoder::fail(const std::string &what) {
  if (error.empty())
    error = what;
  return false;
}

bool Decoder::unmodelled() {
  std::string text(parsed.opcode);
  for (std::string_view modifier : parsed.modifiers)
    text += "." + std::string(modifier);
  return fail("found '" + text + "', which is not modelled");
}

bool Decoder::finish(size_t operands) { return finish(operands, operands); }

bool Decoder::finish(size_t least, size_t most) {
  if (!left.empty() && error.empty())
    return fail("found modifier '." + std::string(left.front()) + "' of '" +
                std::string(parsed.opcode) + "', which is not modelled here");
  if (size() < least || size() > most)
    return fail("found " + std::to_string(size()) + " operands of '" +
                std::string(parsed.opcode) + "', expected " +
                std::to_string(least) +
                (most > least ? " to " + std::to_string(most) : ""));
  return error.empty();
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

const Operand &Decoder::operand(size_t i) const {
  static const Operand none;
  return i < parsed.operands.size() ? parsed.operands[i] : none;
}

void Decoder::dst(const Operand &operand, Type type, bool wider) {
  Dst result;
  if (operand.kind == Operand::Kind::Register && !operand.negated) {
    Type held = program.function.registers[operand.id].type;
    unsigned bits = getBits(held), needed = getBits(type);
    if ((held == Type::Pred) != (type == Type::Pred) || bits < needed ||
        (bits > needed && !wider)) {
      fail("found a register of type " + std::string(getTypeName(held)) +
           " as a result of '" + std::string(parsed.opcode) + "', expected " +
           getTypeName(type));
      return;
    }
    result.id = operand.id;
    result.bits = static_cast<uint8_t>(bits);
  } else if (operand.kind != Operand::Kind::Sink) {
    fail("found a result of '" + std::string(parsed.opcode) +
         "' that is no register");
    return;
  }
  inst.dst.push_back(result);
}

Src Decoder::constant(uint64_t value) {
  Src result;
  // Neighbours often share their constants.
  for (size_t i = program.constants.size();
       i-- > 0 && i + 16 > program.constants.size();) {
    if (program.constants[i][0] == value) {
      result.id = static_cast<uint32_t>(i);
      return result;
    }
  }
  result.id = static_cast<uint32_t>(program.constants.size());
  program.constants.emplace_back();
  program.constants.back().fill(value);
  return result;
}

static uint64_t truncate(uint64_t bits, unsigned width) {
  return width >= 64 ? bits : bits & ((uint64_t(1) << width) - 1);
}

Src Decoder::source(const Operand &operand, Type type, bool wider) {
  Src result;
  switch (operand.kind) {
  case Operand::Kind::Register: {
    Type held = program.function.registers[operand.id].type;
    unsigned bits = getBits(held), needed = getBits(type);
    if ((held == Type::Pred) != (type == Type::Pred) || bits < needed ||
        (bits > needed && !wider) || (operand.negated && type != Type::Pred))
      fail("found a register of type " + std::string(getTypeName(held)) +
           " as an operand of '" + std::string(parsed.opcode) + "', expected " +
           getTypeName(type));
    result.kind = Src::Kind::Register;
    result.id = operand.id;
    result.negated = operand.negated;
    return result;
  }
  case Operand::Kind::Integer:
    if (type == Type::Pred)
      return constant(operand.bits != 0);
    return constant(truncate(operand.bits, getBits(type)));
  case Operand::Kind::Float: {
    double value =
        operand.isSingle ? asFloat(operand.bits) : asDouble(operand.bits);
    Type element = getElementType(type);
    if (getBits(type) == 64)
      return constant(operand.isSingle ? asBits(value) : operand.bits);
    if (getBits(element) == 32)
      return constant(operand.isSingle ? operand.bits
                                       : asBits(static_cast<float>(value)));
    fail("found a floating-point constant as an operand of type " +
         std::string(getTypeName(type)) + ", expected its bits");
    return result;
  }
  case Operand::Kind::Special:
    result.kind = Src::Kind::Special;
    result.id = operand.id;
    return result;
  case Operand::Kind::Symbol: {
    const Symbol &symbol = module.symbols[operand.id];
    if (symbol.isFunction) {
      fail("found the address of function '" + symbol.name +
           "', which is not modelled");
      return result;
    }
    return constant(truncate(symbol.offset + operand.bits, getBits(type)));
  }
  default:
    fail("found a wrong kind of operand of '" + std::string(parsed.opcode) +
         "', expected a register or a constant");
    return result;
  }
}

void Decoder::src(const Operand &operand, Type type, bool wider) {
  inst.src.push_back(source(operand, type, wider));
}

void Decoder::dstVector(size_t i, Type type, size_t count, bool wider) {
  const Operand &list = operand(i);
  if (list.kind != Operand::Kind::Vector) {
    if (count == 1)
      return dst(list, type, wider);
    fail("found one register, expected a list of " + std::to_string(count));
    return;
  }
  if (list.parts.size() != count) {
    fail("found a list of " + std::to_string(list.parts.size()) +
         " registers, expected " + std::to_string(count));
    return;
  }
  for (const Operand &part : list.parts)
    dst(part, type, wider);
}

void Decoder::srcVector(size_t i, Type type, size_t count, bool wider) {
  const Operand &list = operand(i);
  if (list.kind != Operand::Kind::Vector) {
    if (count == 1)
      return src(list, type, wider);
    fail("found one register, expected a list of " + std::to_string(count));
    return;
  }
  if (list.parts.size() != count) {
    fail("found a list of " + std::to_string(list.parts.size()) +
         " operands, expected " + std::to_string(count));
    return;
  }
  for (const Operand &part : list.parts)
    src(part, type, wider);
}

void Decoder::address(size_t i, Space space) {
  const Operand &operand = this->operand(i);
  if (operand.kind != Operand::Kind::Address || operand.parts.size() != 1) {
    fail("found a wrong kind of operand " + std::to_string(i + 1) + " of '" +
         std::string(parsed.opcode) + "', expected an address");
    return;
  }
  const Operand &base = operand.parts[0];
  inst.space = space;
  inst.offset = operand.bits;
  if (base.kind == Operand::Kind::Register) {
    Type held = program.function.registers[base.id].type;
    if (getBits(held) != 32 && getBits(held) != 64) {
      fail("found an address in a register of type " +
           std::string(getTypeName(held)) + ", expected 32 or 64 bits");
      return;
    }
    inst.base = source(base, held, false);
    return;
  }
  inst.base = source(base, Type::B64, false);
  if (base.kind != Operand::Kind::Symbol)
    return;
  const Symbol &symbol = module.symbols[base.id];
  if (space == Space::Param && symbol.space == Space::Local)
    inst.space = Space::Local; // an argument of an expanded call
  else if (space != symbol.space && space != Space::Generic)
    fail("found '" + symbol.name + "' in " + getSpaceName(symbol.space) +
         " memory, expected it in " + getSpaceName(space) + " memory");
  else if (space == Space::Generic && symbol.space != Space::Global &&
           symbol.space != Space::Const)
    inst.space = symbol.space;
}

bool Decoder::immediate(size_t i, uint64_t &value) {
  if (operand(i).kind != Operand::Kind::Integer)
    return fail("found operand " + std::to_string(i + 1) + " of '" +
                std::string(parsed.opcode) + "', expected a constant");
  value = operand(i).bits;
  return true;
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

static const OpTable &getOps() {
  static const OpTable table = [] {
    OpTable ops;
    addControlOps(ops);
    addMoveOps(ops);
    addIntegerOps(ops);
    addFloatOps(ops);
    addConvertOps(ops);
    addCompareOps(ops);
    addLoadStoreOps(ops);
    addAtomicOps(ops);
    addWarpOps(ops);
    addBarrierOps(ops);
    addCopyOps(ops);
    addMatrixOps(ops);
    addMBarrierOps(ops);
    addWgmmaOps(ops);
    return ops;
  }();
  return table;
}

bool mlir::moe::sim::decodeProgram(const Module &module, Function function,
                                   Program &program, std::string &error) {
  program.module = &module;
  program.name = function.name;
  program.function = std::move(function);
  const OpTable &ops = getOps();
  for (const ParsedInstruction &parsed : program.function.body) {
    Inst inst;
    inst.line = parsed.line;
    inst.index = static_cast<uint32_t>(program.insts.size());
    inst.guard = parsed.guard;
    inst.guardNegated = parsed.guardNegated;
    Decoder decoder(module, program, parsed, inst);
    auto found = ops.find(parsed.opcode);
    if (found == ops.end())
      decoder.unmodelled();
    else
      found->second(decoder);
    if (decoder.error.empty() && !inst.run)
      decoder.unmodelled();
    if (!decoder.error.empty()) {
      error = module.file + ":" + std::to_string(parsed.line) + ": " +
              decoder.error;
      return false;
    }
    std::string opcode(parsed.opcode);
    for (std::string_view modifier : parsed.modifiers)
      opcode += "." + std::string(modifier);
    program.opcodes.push_back(std::move(opcode));
    program.insts.push_back(std::move(inst));
  }
  // Threads that run past the end return.
  return true;
}
