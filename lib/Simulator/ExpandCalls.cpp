//===- ExpandCalls.cpp - Calls replaced by bodies -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// An entry and everything it calls become one body, so that the program
// counter alone says where a thread is. Arguments are variables of the
// thread's local frame, which the callee's parameters become names for.
// Recursion is an error: nothing here bounds a stack.
//
// This is also where shared variables get their places: those of the entry,
// then those of the module and of callees that it uses, then the dynamic part.
//
//===----------------------------------------------------------------------===//

#include "moe/Simulator/PTX.h"

#include <algorithm>

using namespace mlir::moe::sim;

static constexpr size_t maxInstructions = 1 << 22;

namespace {
class Expander {
public:
  Expander(Module &module, Function &result, std::string &error)
      : module(module), result(result), error(error) {}

  bool run(const Function &entry) {
    result = entry;
    result.body.clear();
    result.branchTables.clear();
    Instance top{&entry, 0, 0, {}};
    return expand(top, 0) && placeDynamicShared();
  }

private:
  /// One copy of a body.
  struct Instance {
    const Function *function;
    uint32_t registerBase;
    uint64_t localBase;
    std::map<uint32_t, uint32_t> symbols; ///< of formals, locals
  };

  bool fail(int line, const std::string &what) {
    error = module.file + ":" + std::to_string(line) + ": " + what;
    return false;
  }

  uint32_t cloneSymbol(uint32_t id) {
    Symbol copy = module.symbols[id];
    module.symbols.push_back(std::move(copy));
    return static_cast<uint32_t>(module.symbols.size() - 1);
  }

  uint32_t mapSymbol(Instance &in, uint32_t id) {
    if (auto found = in.symbols.find(id); found != in.symbols.end())
      return found->second;
    Space space = module.symbols[id].space;
    if (module.symbols[id].isFunction)
      return id;
    if (space == Space::Local) {
      uint32_t copy = cloneSymbol(id);
      module.symbols[copy].offset += in.localBase;
      return in.symbols[id] = copy;
    }
    if (space == Space::Shared)
      return mapShared(in, id);
    return id;
  }

  uint32_t mapShared(const Instance &in, uint32_t id) {
    if (auto found = shared.find(id); found != shared.end())
      return found->second;
    const Symbol &symbol = module.symbols[id];
    bool ofEntry = !symbol.isModuleLevel && in.localBase == 0 &&
                   in.registerBase == 0 && !symbol.isExtern;
    if (ofEntry)
      return id; // placed by the parser
    uint32_t copy = cloneSymbol(id);
    Symbol &placed = module.symbols[copy];
    if (placed.isExtern) {
      dynamicShared.push_back(copy);
      result.usesDynamicShared = true;
    } else {
      uint64_t at = result.sharedBytes;
      placed.offset = (at + placed.align - 1) / placed.align * placed.align;
      result.sharedBytes = placed.offset + placed.size;
    }
    return shared[id] = copy;
  }

  void mapOperand(Instance &in, Operand &operand) {
    if (operand.kind == Operand::Kind::Register)
      operand.id += in.registerBase;
    else if (operand.kind == Operand::Kind::Symbol)
      operand.id = mapSymbol(in, operand.id);
    for (Operand &part : operand.parts)
      mapOperand(in, part);
  }

  bool expand(Instance &in, int depth) {
    const Function &fn = *in.function;
    if (depth > 32)
      return fail(fn.line, "found calls nested deeper than 32 in '" + fn.name +
                               "', expected no recursion");
    std::vector<uint32_t> place; // of each instruction in the result
    std::vector<size_t> own;
    std::vector<size_t> returns;
    uint32_t tableBase = static_cast<uint32_t>(result.branchTables.size());
    result.branchTables.insert(result.branchTables.end(),
                               fn.branchTables.begin(), fn.branchTables.end());
    for (const ParsedInstruction &original : fn.body) {
      if (result.body.size() > maxInstructions)
        return fail(original.line, "found more than 2^22 instructions after "
                                   "the expansion of calls");
      place.push_back(static_cast<uint32_t>(result.body.size()));
      ParsedInstruction inst = original;
      if (inst.guard >= 0)
        inst.guard += static_cast<int32_t>(in.registerBase);
      if (inst.opcode == "brx" && inst.operands.size() == 2 &&
          inst.operands[1].kind == Operand::Kind::Integer)
        inst.operands[1].bits += tableBase;
      for (Operand &operand : inst.operands)
        mapOperand(in, operand);
      if (inst.opcode == "call") {
        if (!expandCall(in, inst, depth))
          return false;
        continue;
      }
      if (inst.opcode == "ret" && depth > 0) {
        inst.opcode = "bra";
        inst.modifiers.clear();
        inst.operands.clear();
        returns.push_back(result.body.size());
      } else {
        own.push_back(result.body.size());
      }
      result.body.push_back(std::move(inst));
    }
    place.push_back(static_cast<uint32_t>(result.body.size()));
    for (size_t index : own)
      for (Operand &operand : result.body[index].operands)
        if (operand.kind == Operand::Kind::Label)
          operand.id = place[operand.id];
    for (size_t t = tableBase; t < tableBase + fn.branchTables.size(); ++t)
      for (uint32_t &target : result.branchTables[t])
        target = place[target];
    for (size_t index : returns)
      addTarget(result.body[index]);
    return true;
  }

  /// Makes `bra` go to the next instruction that will be appended.
  void addTarget(ParsedInstruction &branch) {
    Operand target;
    target.kind = Operand::Kind::Label;
    target.id = static_cast<uint32_t>(result.body.size());
    branch.operands.assign(1, target);
  }

  bool expandCall(Instance &in, ParsedInstruction &inst, int depth) {
    const Operand &callee = inst.operands[0];
    if (callee.kind != Operand::Kind::Symbol ||
        !module.symbols[callee.id].isFunction)
      return fail(inst.line, "found an indirect call, which is not modelled");
    uint32_t index = module.symbols[callee.id].function;
    const Function &fn = module.functions[index];
    if (!fn.hasBody)
      return fail(inst.line, "found a call of '" +
                                 module.symbols[callee.id].name +
                                 "', expected a function of this module");
    if (inst.arguments.size() != fn.params.size() ||
        inst.results.size() != fn.results.size())
      return fail(inst.line,
                  "found a call of '" + fn.name + "' with " +
                      std::to_string(inst.arguments.size()) +
                      " arguments and " + std::to_string(inst.results.size()) +
                      " results, expected " + std::to_string(fn.params.size()) +
                      " and " + std::to_string(fn.results.size()));
    Instance body{&fn,
                  static_cast<uint32_t>(result.registers.size()),
                  (result.localBytes + 15) / 16 * 16,
                  {}};
    auto bind = [&](std::vector<Operand> &actual,
                    const std::vector<uint32_t> &formal) {
      for (size_t i = 0; i < actual.size(); ++i) {
        mapOperand(in, actual[i]);
        if (actual[i].kind != Operand::Kind::Symbol ||
            module.symbols[actual[i].id].space != Space::Local ||
            module.symbols[actual[i].id].size < module.symbols[formal[i]].size)
          return fail(inst.line, "found an argument that is no .param variable "
                                 "of the size that '" +
                                     fn.name + "' expects");
        body.symbols[formal[i]] = actual[i].id;
      }
      return true;
    };
    if (!bind(inst.arguments, fn.params) || !bind(inst.results, fn.results))
      return false;
    if (result.registers.size() + fn.registers.size() > (1u << 20))
      return fail(inst.line, "found more than 2^20 registers after the "
                             "expansion of calls");
    result.registers.insert(result.registers.end(), fn.registers.begin(),
                            fn.registers.end());
    result.localBytes = body.localBase + fn.localBytes;
    if (result.localBytes > (512 << 10))
      return fail(inst.line, "found more than 512 KiB of local memory");
    size_t skip = result.body.size();
    if (inst.guard >= 0) {
      ParsedInstruction branch;
      branch.line = inst.line;
      branch.opcode = "bra";
      branch.guard = inst.guard;
      branch.guardNegated = !inst.guardNegated;
      result.body.push_back(branch);
    }
    if (!expand(body, depth + 1))
      return false;
    if (inst.guard >= 0)
      addTarget(result.body[skip]);
    return true;
  }

  bool placeDynamicShared() {
    uint64_t align = 16;
    for (uint32_t id : dynamicShared)
      align = std::max(align, module.symbols[id].align);
    if (!dynamicShared.empty())
      result.sharedBytes = (result.sharedBytes + align - 1) / align * align;
    for (uint32_t id : dynamicShared)
      module.symbols[id].offset = result.sharedBytes;
    if (result.sharedBytes > (256 << 10))
      return fail(result.line, "found " + std::to_string(result.sharedBytes) +
                                   " bytes of shared memory in '" +
                                   result.name + "', expected at most 262144");
    return true;
  }

  Module &module;
  Function &result;
  std::string &error;
  std::map<uint32_t, uint32_t> shared;
  std::vector<uint32_t> dynamicShared;
};
} // namespace

bool mlir::moe::sim::expandCalls(Module &module, const Function &entry,
                                 Function &result, std::string &error) {
  return Expander(module, result, error).run(entry);
}
