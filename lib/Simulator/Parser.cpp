//===- Parser.cpp - PTX text to modules -----------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A recursive-descent parser of what LLVM's NVPTX back end, nvcc and Triton
// write. Text comes from anywhere: every count and size is bounded.
//
//===----------------------------------------------------------------------===//

#include "Lexer.h"
#include "moe/Simulator/PTX.h"

#include <algorithm>
#include <unordered_map>

using namespace mlir::moe::sim;

static constexpr uint64_t maxRegisters = 1 << 17;
static constexpr uint64_t maxVariableBytes = uint64_t(1) << 30;
static constexpr uint64_t maxLocalBytes = 512 << 10;
static constexpr uint64_t maxSharedBytes = 256 << 10;

const char *mlir::moe::sim::getSpaceName(Space space) {
  static const char *const names[] = {"generic", "global", "shared",
                                      "local",   "const",  "param"};
  return names[static_cast<unsigned>(space)];
}

const Function *Module::findEntry(std::string_view name) const {
  for (const Function &function : functions)
    if (function.isEntry && function.hasBody && function.name == name)
      return &function;
  return nullptr;
}

static const std::pair<const char *, SpecialRegister> specialRegisters[] = {
    {"tid.x", SpecialRegister::TidX},
    {"tid.y", SpecialRegister::TidY},
    {"tid.z", SpecialRegister::TidZ},
    {"ntid.x", SpecialRegister::NtidX},
    {"ntid.y", SpecialRegister::NtidY},
    {"ntid.z", SpecialRegister::NtidZ},
    {"ctaid.x", SpecialRegister::CtaidX},
    {"ctaid.y", SpecialRegister::CtaidY},
    {"ctaid.z", SpecialRegister::CtaidZ},
    {"nctaid.x", SpecialRegister::NctaidX},
    {"nctaid.y", SpecialRegister::NctaidY},
    {"nctaid.z", SpecialRegister::NctaidZ},
    {"laneid", SpecialRegister::LaneId},
    {"warpid", SpecialRegister::WarpId},
    {"nwarpid", SpecialRegister::NWarpId},
    {"smid", SpecialRegister::SmId},
    {"nsmid", SpecialRegister::NSmId},
    {"gridid", SpecialRegister::GridId},
    {"lanemask_eq", SpecialRegister::LanemaskEq},
    {"lanemask_le", SpecialRegister::LanemaskLe},
    {"lanemask_lt", SpecialRegister::LanemaskLt},
    {"lanemask_ge", SpecialRegister::LanemaskGe},
    {"lanemask_gt", SpecialRegister::LanemaskGt},
    {"clock", SpecialRegister::Clock},
    {"clock_hi", SpecialRegister::ClockHi},
    {"clock64", SpecialRegister::Clock64},
    {"globaltimer", SpecialRegister::GlobalTimer},
    {"globaltimer_lo", SpecialRegister::GlobalTimerLo},
    {"globaltimer_hi", SpecialRegister::GlobalTimerHi},
    {"dynamic_smem_size", SpecialRegister::DynamicSmemSize},
    {"total_smem_size", SpecialRegister::TotalSmemSize},
    {"aggr_smem_size", SpecialRegister::AggrSmemSize},
    {"cluster_ctarank", SpecialRegister::ClusterCtaRank},
    {"cluster_nctarank", SpecialRegister::ClusterNctaRank},
    {"cluster_ctaid.x", SpecialRegister::ClusterZero},
    {"cluster_ctaid.y", SpecialRegister::ClusterZero},
    {"cluster_ctaid.z", SpecialRegister::ClusterZero},
    {"cluster_nctaid.x", SpecialRegister::ClusterOne},
    {"cluster_nctaid.y", SpecialRegister::ClusterOne},
    {"cluster_nctaid.z", SpecialRegister::ClusterOne},
    // Clusters of one block: the cluster's number is the block's.
    {"clusterid.x", SpecialRegister::CtaidX},
    {"clusterid.y", SpecialRegister::CtaidY},
    {"clusterid.z", SpecialRegister::CtaidZ},
    {"nclusterid.x", SpecialRegister::NctaidX},
    {"nclusterid.y", SpecialRegister::NctaidY},
    {"nclusterid.z", SpecialRegister::NctaidZ},
    {"is_explicit_cluster", SpecialRegister::IsExplicitCluster}};

namespace {
class Parser {
public:
  Parser(Module &module, std::string &error) : module(module), error(error) {}
  bool run();

private:
  //===--- Tokens ---------------------------------------------------------===//
  const Token &peek(size_t ahead = 0) const {
    return tokens[std::min(next + ahead, tokens.size() - 1)];
  }
  const Token &take() {
    const Token &token = peek();
    if (next + 1 < tokens.size())
      ++next;
    return token;
  }
  bool takeIf(char c) { return peek().is(c) && (take(), true); }
  bool takeDotted(std::string_view name) {
    return peek().isDotted(name) && (take(), true);
  }
  bool fail(int line, const std::string &what) {
    if (error.empty())
      error = module.file + ":" + std::to_string(line) + ": " + what;
    return false;
  }
  static std::string show(const Token &token) {
    std::string text(token.text.substr(0, 60));
    if (token.kind == Token::Kind::End)
      return text;
    return "'" + (token.kind == Token::Kind::Dotted ? "." + text : text) + "'";
  }
  bool unexpected(const std::string &expected) {
    return fail(peek().line,
                "found " + show(peek()) + ", expected " + expected);
  }
  bool expect(char c) {
    return takeIf(c) || unexpected(std::string("'") + c + "'");
  }
  bool word(std::string_view &text, const char *what) {
    if (peek().kind != Token::Kind::Word)
      return unexpected(what);
    text = take().text;
    return true;
  }
  bool integer(uint64_t &value, const char *what, uint64_t limit) {
    if (peek().kind != Token::Kind::Integer)
      return unexpected(what);
    if (peek().bits > limit)
      return fail(peek().line, "found " + show(peek()) + ", expected " + what +
                                   " of at most " + std::to_string(limit));
    value = take().bits;
    return true;
  }

  //===--- Declarations ---------------------------------------------------===//
  bool header();
  bool skipDirective();
  bool function(bool isEntry);
  bool parameters(Function &fn, std::vector<uint32_t> &list, bool isEntry);
  bool variable(Space space, bool isExtern, Function *fn, uint32_t &symbol);
  bool variables(Space space, bool isExtern, Function *fn);
  bool initializer(Symbol &symbol, Type type);
  bool registers(Function &fn);
  bool threadCounts(uint32_t (&counts)[3]);

  //===--- Bodies ---------------------------------------------------------===//
  bool body(Function &fn);
  bool statement(Function &fn);
  bool instruction(Function &fn);
  bool call(Function &fn, ParsedInstruction &inst);
  bool operand(Function &fn, Operand &result, bool isLabel = false);
  bool primary(Function &fn, Operand &result, bool isLabel);
  bool address(Function &fn, Operand &result);
  bool list(Function &fn, std::vector<Operand> &result, char close);
  bool resolveLabels(Function &fn);
  bool branchTable(Function &fn, std::string_view name);
  bool defineLabel(Function &fn, std::string_view name, int line);

  struct Range {
    uint32_t base, count;
    bool numbered;
  };
  struct Scope {
    int parent;
    std::unordered_map<std::string_view, Range> registers;
    std::unordered_map<std::string_view, uint32_t> symbols, labels, tables;
  };
  struct LabelUse {
    std::string_view name;
    int scope, line;
  };
  template <typename Map>
  const auto *lookup(Map Scope::*map, std::string_view name) {
    using Value = typename Map::mapped_type;
    for (int i = current; i >= 0; i = scopes[i].parent) {
      auto found = (scopes[i].*map).find(name);
      if (found != (scopes[i].*map).end())
        return static_cast<const Value *>(&found->second);
    }
    return static_cast<const Value *>(nullptr);
  }
  bool findRegister(std::string_view name, uint32_t &id);
  bool newScope() {
    if (scopes.size() > 100000)
      return fail(peek().line, "found too many nested blocks");
    scopes.push_back({current, {}, {}, {}, {}});
    current = static_cast<int>(scopes.size()) - 1;
    return true;
  }

  Module &module;
  std::string &error;
  std::vector<Token> tokens;
  size_t next = 0;
  std::vector<Scope> scopes;
  int current = -1;
  std::vector<LabelUse> labelUses;
  int depth = 0; ///< of operands, for the stack's sake
};
} // namespace

//===----------------------------------------------------------------------===//
// Module level
//===----------------------------------------------------------------------===//

bool Parser::run() {
  int line = 0;
  std::string message;
  if (!tokenize(module.text, tokens, line, message))
    return fail(line, message);
  newScope(); // the module's
  if (!header())
    return false;
  while (peek().kind != Token::Kind::End) {
    bool isExtern = false;
    while (true) {
      if (takeDotted("extern"))
        isExtern = true;
      else if (!takeDotted("visible") && !takeDotted("weak") &&
               !takeDotted("common"))
        break;
    }
    bool ok;
    if (takeDotted("entry"))
      ok = function(true);
    else if (takeDotted("func"))
      ok = function(false);
    else if (takeDotted("global"))
      ok = variables(Space::Global, isExtern, nullptr);
    else if (takeDotted("const"))
      ok = variables(Space::Const, isExtern, nullptr);
    else if (takeDotted("shared"))
      ok = variables(Space::Shared, isExtern, nullptr);
    else
      ok = skipDirective();
    if (!ok)
      return false;
  }
  return true;
}

bool Parser::header() {
  if (!takeDotted("version"))
    return unexpected("'.version'");
  // "8.8" is a number, "9.0" too; tokens keep the text.
  std::string version(peek().text);
  size_t dot = version.find('.');
  if ((peek().kind != Token::Kind::Double &&
       peek().kind != Token::Kind::Integer) ||
      dot == std::string::npos || version.size() > 5)
    return unexpected("a version such as 8.8");
  take();
  module.version = static_cast<unsigned>(std::atoi(version.c_str())) * 10 +
                   static_cast<unsigned>(std::atoi(version.c_str() + dot + 1));
  if (!takeDotted("target"))
    return unexpected("'.target'");
  std::string_view target;
  if (!word(target, "a target such as sm_80"))
    return false;
  module.target = target;
  if (target.substr(0, 3) != "sm_")
    return fail(peek().line,
                "found target '" + module.target + "', expected sm_<number>");
  module.architecture =
      static_cast<unsigned>(std::atoi(module.target.c_str() + 3));
  module.hasArchitectureFeatures = target.back() == 'a';
  while (takeIf(',')) // debug, texmode_independent
    if (!word(target, "a target option"))
      return false;
  if (takeDotted("address_size")) {
    uint64_t size;
    if (!integer(size, "an address size", 64))
      return false;
    if (size != 64)
      return fail(peek().line, "found addresses of " + std::to_string(size) +
                                   " bits, expected 64");
  }
  return true;
}

/// Debug information and hints.
bool Parser::skipDirective() {
  const Token &token = peek();
  if (token.isDotted("file") || token.isDotted("pragma") ||
      token.isDotted("loc") || token.isDotted("alias")) {
    // These end with the line or a ';'.
    int line = token.line;
    while (peek().kind != Token::Kind::End && peek().line == line)
      if (take().is(';'))
        break;
    return true;
  }
  if (token.isDotted("section")) {
    while (!peek().is('{'))
      if (take().kind == Token::Kind::End)
        return unexpected("'{'");
    for (int depth = 0;;) {
      const Token &part = take();
      if (part.kind == Token::Kind::End)
        return unexpected("'}'");
      depth += part.is('{') - part.is('}');
      if (depth == 0)
        return true;
    }
  }
  if (takeIf(';'))
    return true;
  return unexpected("a directive (.entry, .func, .global, .const, .shared, "
                    ".section, .file, .pragma)");
}

bool Parser::threadCounts(uint32_t (&counts)[3]) {
  std::fill(counts, counts + 3, 1);
  for (int i = 0; i < 3; ++i) {
    uint64_t count;
    if (!integer(count, "a number of threads", 1 << 20))
      return false;
    counts[i] = static_cast<uint32_t>(count);
    if (!takeIf(','))
      break;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Variables
//===----------------------------------------------------------------------===//

/// [.align N] [.v2|.v4] .type [.ptr [.space] [.align N]] name [dims] [= init]
bool Parser::variable(Space space, bool isExtern, Function *fn,
                      uint32_t &index) {
  Symbol symbol;
  symbol.space = space;
  symbol.isModuleLevel = !fn;
  symbol.line = peek().line;
  uint64_t align = 0, lanes = 1;
  Type type = Type::None;
  while (peek().kind == Token::Kind::Dotted) {
    if (takeDotted("align")) {
      if (!integer(align, "an alignment", 1 << 16))
        return false;
      if (align == 0 || (align & (align - 1)))
        return fail(symbol.line, "found alignment " + std::to_string(align) +
                                     ", expected a power of two");
    } else if (takeDotted("v2")) {
      lanes = 2;
    } else if (takeDotted("v4")) {
      lanes = 4;
    } else if (takeDotted("ptr")) {
      while (peek().kind == Token::Kind::Dotted && !peek().isDotted("align"))
        take();
      uint64_t ignored; // of what the pointer points to
      if (takeDotted("align") && !integer(ignored, "an alignment", 1 << 30))
        return false;
    } else if (takeDotted("attribute")) {
      while (!takeIf(')'))
        if (take().kind == Token::Kind::End)
          return unexpected("')'");
    } else {
      type = parseType(peek().text);
      if (type == Type::None || type == Type::Pred)
        return unexpected("a type");
      take();
    }
  }
  if (type == Type::None)
    return unexpected("a type");
  std::string_view name;
  if (!word(name, "the name of a variable"))
    return false;
  symbol.name = name;
  symbol.size = lanes * ((getBits(type) + 7) / 8);
  symbol.align = align ? align : symbol.size;
  if (peek().is('<')) // .param .b32 p<4>
    return unexpected("one variable, not a numbered range");
  bool unsized = false;
  while (takeIf('[')) {
    if (takeIf(']')) {
      unsized = true;
      continue;
    }
    uint64_t count;
    if (!integer(count, "an array size", maxVariableBytes) || !expect(']'))
      return false;
    if (__builtin_mul_overflow(symbol.size, count, &symbol.size) ||
        symbol.size > maxVariableBytes)
      return fail(symbol.line, "found variable '" + symbol.name +
                                   "' of more than 2^30 bytes");
  }
  if (takeIf('=')) {
    if (space != Space::Global && space != Space::Const)
      return fail(symbol.line, "found an initializer of '" + symbol.name +
                                   "', expected one in .global or .const only");
    if (!initializer(symbol, type))
      return false;
    if (unsized)
      symbol.size = symbol.init.size();
  } else if (unsized) {
    symbol.size = 0;
  }
  if (isExtern && space == Space::Shared)
    symbol.isExtern = true;
  if (isExtern && (space == Space::Global || space == Space::Const))
    return fail(symbol.line, "found the external variable '" + symbol.name +
                                 "', expected a linked module");

  auto place = [&](uint64_t &bytes, uint64_t limit) {
    symbol.offset = (bytes + symbol.align - 1) / symbol.align * symbol.align;
    if (symbol.offset + symbol.size > limit)
      return fail(symbol.line,
                  "found " + std::to_string(symbol.offset + symbol.size) +
                      " bytes of " + getSpaceName(space) +
                      " memory, expected at most " + std::to_string(limit));
    bytes = symbol.offset + symbol.size;
    return true;
  };
  if (space == Space::Local && fn && !place(fn->localBytes, maxLocalBytes))
    return false;
  if (space == Space::Param && fn && !place(fn->paramBytes, 32764))
    return false;
  if (space == Space::Shared && !symbol.isExtern && fn &&
      !place(fn->sharedBytes, maxSharedBytes))
    return false;
  index = static_cast<uint32_t>(module.symbols.size());
  module.symbols.push_back(std::move(symbol));
  scopes[current].symbols[name] = index;
  return true;
}

bool Parser::variables(Space space, bool isExtern, Function *fn) {
  uint32_t index;
  if (!variable(space, isExtern, fn, index))
    return false;
  return expect(';');
}

bool Parser::initializer(Symbol &symbol, Type type) {
  size_t bytes = (getBits(type) + 7) / 8;
  int depth = 0;
  do {
    while (takeIf('{'))
      ++depth;
    const Token token = peek();
    uint64_t bits = token.bits;
    bool negative = takeIf('-');
    if (negative)
      bits = peek().bits;
    switch (peek().kind) {
    case Token::Kind::Integer:
      take();
      break;
    case Token::Kind::Single:
      take();
      if (type == Type::F64)
        bits = asBits(static_cast<double>(asFloat(bits)));
      break;
    case Token::Kind::Double:
      take();
      if (type == Type::F32)
        bits = asBits(static_cast<float>(asDouble(bits)));
      break;
    case Token::Kind::Word: {
      std::string_view name = take().text;
      bool generic = name == "generic" && takeIf('(');
      if (generic && !word(name, "a variable"))
        return false;
      if (generic && !expect(')'))
        return false;
      const uint32_t *found = lookup(&Scope::symbols, name);
      if (!found || bytes != 8)
        return fail(token.line, "found '" + std::string(name) +
                                    "', expected a variable defined before in "
                                    "a 64-bit initializer");
      uint64_t addend = 0;
      if (takeIf('+') && !integer(addend, "an offset", maxVariableBytes))
        return false;
      symbol.relocations.push_back({symbol.init.size(), *found, addend});
      bits = 0;
      break;
    }
    default:
      return unexpected("an initial value");
    }
    if (negative)
      bits = isFloat(type) ? bits ^ (uint64_t(1) << (bytes * 8 - 1)) : -bits;
    symbol.init.append(reinterpret_cast<const char *>(&bits), bytes);
    if (symbol.init.size() > maxVariableBytes)
      return fail(token.line, "found an initializer of more than 2^30 bytes");
    while (depth && takeIf('}'))
      --depth;
  } while (takeIf(','));
  if (depth)
    return unexpected("'}'");
  if (symbol.size && symbol.init.size() > symbol.size)
    return fail(symbol.line, "found " + std::to_string(symbol.init.size()) +
                                 " bytes of initial values for '" +
                                 symbol.name + "', expected at most " +
                                 std::to_string(symbol.size));
  return true;
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

bool Parser::parameters(Function &fn, std::vector<uint32_t> &list,
                        bool isEntry) {
  if (takeIf(')'))
    return true;
  do {
    if (!takeDotted("param"))
      return unexpected("'.param'");
    uint32_t index;
    // Parameters of functions get their place where they are called.
    if (!variable(Space::Param, false, isEntry ? &fn : nullptr, index))
      return false;
    list.push_back(index);
  } while (takeIf(','));
  return expect(')');
}

bool Parser::function(bool isEntry) {
  Function fn;
  fn.isEntry = isEntry;
  fn.line = peek().line;
  int outer = current;
  if (!newScope())
    return false;
  if (!isEntry && takeIf('(') && !parameters(fn, fn.results, false))
    return false;
  std::string_view name;
  if (!word(name, "the name of a function"))
    return false;
  fn.name = name;
  if (takeIf('(') && !parameters(fn, fn.params, isEntry))
    return false;
  while (peek().kind == Token::Kind::Dotted) {
    int line = peek().line;
    uint64_t ignored;
    if (takeDotted("reqntid")) {
      if (!threadCounts(fn.requiredThreads))
        return false;
    } else if (takeDotted("maxntid")) {
      if (!threadCounts(fn.maxThreads))
        return false;
    } else if (takeDotted("minnctapersm") || takeDotted("maxnreg") ||
               takeDotted("maxnctapersm")) {
      if (!integer(ignored, "a number", 1 << 20))
        return false;
    } else if (takeDotted("reqnctapercluster") ||
               takeDotted("maxclusterrank")) {
      do {
        if (!integer(ignored, "a cluster size", 16))
          return false;
        if (ignored > 1)
          return fail(line, "found clusters of more than one block, which are "
                            "not modelled");
      } while (takeIf(','));
    } else if (takeDotted("explicitcluster")) {
      return fail(line, "found '.explicitcluster', which is not modelled");
    } else if (takeDotted("noreturn") || takeDotted("unique")) {
      continue;
    } else if (peek().isDotted("pragma")) {
      skipDirective();
    } else {
      return unexpected("'{' or a performance directive");
    }
  }

  // A declaration and the definition share one symbol.
  uint32_t index = 0;
  bool known = false;
  if (auto found = scopes[0].symbols.find(name);
      found != scopes[0].symbols.end()) {
    if (!module.symbols[found->second].isFunction)
      return fail(fn.line, "found function '" + fn.name +
                               "', expected a name not used before");
    index = module.symbols[found->second].function;
    known = true;
    if (module.functions[index].hasBody && peek().is('{'))
      return fail(fn.line, "found a second definition of '" + fn.name + "'");
  }
  if (!known) {
    Symbol symbol;
    symbol.name = fn.name;
    symbol.isFunction = true;
    symbol.function = index = static_cast<uint32_t>(module.functions.size());
    scopes[0].symbols[name] = static_cast<uint32_t>(module.symbols.size());
    module.symbols.push_back(symbol);
    module.functions.emplace_back();
  }
  if (peek().is('{')) {
    take();
    fn.hasBody = true;
    labelUses.clear();
    if (!body(fn) || !resolveLabels(fn))
      return false;
  } else if (!takeIf(';')) {
    return unexpected("'{' or ';'");
  }
  if (!known || fn.hasBody)
    module.functions[index] = std::move(fn);
  current = outer;
  return true;
}

bool Parser::registers(Function &fn) {
  if (peek().kind != Token::Kind::Dotted)
    return unexpected("a type");
  Type type = parseType(peek().text);
  if (type == Type::None)
    return unexpected("a type without .v2 or .v4");
  take();
  do {
    int line = peek().line;
    std::string_view name;
    if (!word(name, "the name of a register"))
      return false;
    uint64_t count = 1;
    bool numbered = takeIf('<');
    if (numbered && (!integer(count, "a number of registers", maxRegisters) ||
                     !expect('>')))
      return false;
    if (fn.registers.size() + count > maxRegisters)
      return fail(line, "found more than " + std::to_string(maxRegisters) +
                            " registers in one function");
    scopes[current].registers[name] = {
        static_cast<uint32_t>(fn.registers.size()),
        static_cast<uint32_t>(count), numbered};
    fn.registers.resize(fn.registers.size() + count, {type});
  } while (takeIf(','));
  return expect(';');
}

bool Parser::findRegister(std::string_view name, uint32_t &id) {
  const Range *range = lookup(&Scope::registers, name);
  if (range && !range->numbered) {
    id = range->base;
    return true;
  }
  size_t end = name.size();
  while (end && name[end - 1] >= '0' && name[end - 1] <= '9')
    --end;
  // A prefix may itself end in digits: try each split.
  for (size_t split = end; split < name.size() && split > 0; ++split) {
    range = lookup(&Scope::registers, name.substr(0, split));
    if (!range || !range->numbered || name.size() - split > 7)
      continue;
    uint32_t number = 0;
    for (char c : name.substr(split))
      number = number * 10 + static_cast<uint32_t>(c - '0');
    if (number < range->count) {
      id = range->base + number;
      return true;
    }
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

bool Parser::body(Function &fn) {
  // Blocks nest; their scopes end with them.
  std::vector<int> outer;
  while (true) {
    if (takeIf('{')) {
      outer.push_back(current);
      if (!newScope())
        return false;
    } else if (takeIf('}')) {
      if (outer.empty())
        return true;
      current = outer.back();
      outer.pop_back();
    } else if (!statement(fn)) {
      return false;
    }
  }
}

bool Parser::statement(Function &fn) {
  const Token &token = peek();
  if (token.kind == Token::Kind::Dotted) {
    if (takeDotted("reg"))
      return registers(fn);
    if (takeDotted("shared"))
      return variables(Space::Shared, false, &fn);
    if (takeDotted("extern")) {
      if (!takeDotted("shared"))
        return unexpected("'.shared'");
      return variables(Space::Shared, true, &fn);
    }
    if (takeDotted("local"))
      return variables(Space::Local, false, &fn);
    // Arguments of calls are thread-private memory: the local frame.
    if (takeDotted("param"))
      return variables(Space::Local, false, &fn);
    if (takeDotted("global"))
      return variables(Space::Global, false, nullptr);
    if (takeDotted("const"))
      return variables(Space::Const, false, nullptr);
    return skipDirective();
  }
  if (token.kind == Token::Kind::Word && peek(1).is(':')) {
    std::string_view name = take().text;
    take();
    if (takeDotted("branchtargets"))
      return branchTable(fn, name);
    if (takeDotted("callprototype")) {
      while (!takeIf(';'))
        if (take().kind == Token::Kind::End)
          return unexpected("';'");
      return true;
    }
    return defineLabel(fn, name, token.line);
  }
  if (takeIf(';'))
    return true;
  return instruction(fn);
}

bool Parser::defineLabel(Function &fn, std::string_view name, int line) {
  if (!scopes[current]
           .labels.emplace(name, static_cast<uint32_t>(fn.body.size()))
           .second)
    return fail(line, "found a second label '" + std::string(name) + "'");
  return true;
}

bool Parser::branchTable(Function &fn, std::string_view name) {
  scopes[current].tables[name] = static_cast<uint32_t>(fn.branchTables.size());
  fn.branchTables.emplace_back();
  do {
    int line = peek().line;
    std::string_view label;
    if (!word(label, "a label"))
      return false;
    fn.branchTables.back().push_back(static_cast<uint32_t>(labelUses.size()));
    labelUses.push_back({label, current, line});
  } while (takeIf(','));
  return expect(';');
}

bool Parser::instruction(Function &fn) {
  ParsedInstruction inst;
  inst.line = peek().line;
  if (takeIf('@')) {
    inst.guardNegated = takeIf('!');
    std::string_view name;
    uint32_t id;
    if (!word(name, "a predicate"))
      return false;
    if (!findRegister(name, id) || fn.registers[id].type != Type::Pred)
      return fail(inst.line, "found '" + std::string(name) +
                                 "', expected a declared predicate");
    inst.guard = static_cast<int32_t>(id);
  }
  inst.line = peek().line;
  if (!word(inst.opcode, "an instruction"))
    return false;
  while (peek().kind == Token::Kind::Dotted)
    inst.modifiers.push_back(take().text);
  if (inst.opcode == "call") {
    if (!call(fn, inst))
      return false;
  } else if (!peek().is(';')) {
    bool labels = inst.opcode == "bra" || inst.opcode == "brx";
    do {
      Operand value;
      if (!operand(fn, value, labels))
        return false;
      inst.operands.push_back(std::move(value));
    } while (takeIf(','));
  }
  if (fn.body.size() > (1u << 24))
    return fail(inst.line, "found more than 2^24 instructions");
  fn.body.push_back(std::move(inst));
  return expect(';');
}

/// call (results), function, (arguments)[, prototype];
bool Parser::call(Function &fn, ParsedInstruction &inst) {
  if (takeIf('(') && (!list(fn, inst.results, ')') || !expect(',')))
    return false;
  Operand callee;
  if (!operand(fn, callee))
    return false;
  inst.operands.push_back(callee);
  if (takeIf(',')) {
    if (!expect('(') || !list(fn, inst.arguments, ')'))
      return false;
    if (takeIf(','))
      return fail(inst.line, "found an indirect call, which is not modelled");
  }
  return true;
}

bool Parser::list(Function &fn, std::vector<Operand> &result, char close) {
  if (takeIf(close))
    return true;
  do {
    Operand value;
    if (!operand(fn, value))
      return false;
    result.push_back(std::move(value));
    if (result.size() > 512)
      return fail(peek().line, "found more than 512 operands in a list");
  } while (takeIf(','));
  return expect(close);
}

bool Parser::operand(Function &fn, Operand &result, bool isLabel) {
  if (!primary(fn, result, isLabel))
    return false;
  if (takeIf('|')) {
    Operand pair;
    pair.kind = Operand::Kind::Pair;
    pair.parts.resize(2);
    if (!primary(fn, pair.parts[1], isLabel))
      return false;
    pair.parts[0] = std::move(result);
    result = std::move(pair);
  }
  return true;
}

bool Parser::primary(Function &fn, Operand &result, bool isLabel) {
  const Token token = peek();
  if (depth > 4)
    return fail(token.line, "found operands nested too deeply");
  struct Nesting {
    int &depth;
    Nesting(int &depth) : depth(++depth) {}
    ~Nesting() { --depth; }
  } nesting(depth);
  if (takeIf('!')) {
    if (!primary(fn, result, false))
      return false;
    result.negated = !result.negated;
    return result.kind == Operand::Kind::Register ||
           fail(token.line, "found '!', expected it before a predicate only");
  }
  if (takeIf('{')) {
    if (peek().is('{'))
      return unexpected("a vector of registers and constants");
    result.kind = Operand::Kind::Vector;
    return list(fn, result.parts, '}');
  }
  if (takeIf('['))
    return address(fn, result);
  bool negative = takeIf('-');
  const Token value = peek();
  switch (value.kind) {
  case Token::Kind::Integer:
    take();
    result.kind = Operand::Kind::Integer;
    result.bits = negative ? -value.bits : value.bits;
    return true;
  case Token::Kind::Single:
  case Token::Kind::Double:
    take();
    result.kind = Operand::Kind::Float;
    result.isSingle = value.kind == Token::Kind::Single;
    result.bits = value.bits;
    if (negative)
      result.bits ^= uint64_t(1) << (result.isSingle ? 31 : 63);
    return true;
  default:
    break;
  }
  if (negative)
    return unexpected("a number");
  std::string_view name;
  if (!word(name, "an operand"))
    return false;
  if (name == "_") {
    result.kind = Operand::Kind::Sink;
    return true;
  }
  if (findRegister(name, result.id)) {
    result.kind = Operand::Kind::Register;
    return true;
  }
  if (name == "WARP_SZ") {
    result.kind = Operand::Kind::Integer;
    result.bits = 32;
    return true;
  }
  if (name[0] == '%') {
    std::string special(name.substr(1));
    if (peek().kind == Token::Kind::Dotted)
      special += "." + std::string(take().text);
    for (auto &[text, id] : specialRegisters) {
      if (special == text) {
        result.kind = Operand::Kind::Special;
        result.id = static_cast<uint32_t>(id);
        return true;
      }
    }
    return fail(token.line, "found '%" + special +
                                "', expected a declared register or a special "
                                "register that is modelled");
  }
  if (isLabel) {
    if (const uint32_t *table = lookup(&Scope::tables, name)) {
      result.kind = Operand::Kind::Integer;
      result.bits = *table;
      return true;
    }
    result.kind = Operand::Kind::Label;
    result.id = static_cast<uint32_t>(labelUses.size());
    labelUses.push_back({name, current, token.line});
    return true;
  }
  if (const uint32_t *symbol = lookup(&Scope::symbols, name)) {
    result.kind = Operand::Kind::Symbol;
    result.id = *symbol;
    if (module.symbols[*symbol].isExtern)
      fn.usesDynamicShared = true;
    if (takeIf('+')) {
      if (!integer(result.bits, "an offset", maxVariableBytes))
        return false;
    }
    return true;
  }
  return fail(token.line, "found '" + std::string(name) +
                              "', expected a declared register or variable");
}

/// [base], [base+offset], [base-offset], [base, {coordinates}], [tensor, ...]
bool Parser::address(Function &fn, Operand &result) {
  result.kind = Operand::Kind::Address;
  Operand base;
  if (!primary(fn, base, false))
    return false;
  if (base.kind == Operand::Kind::Symbol)
    std::swap(base.bits, result.bits);
  while (peek().is('+') || peek().is('-')) {
    bool negative = take().is('-') != takeIf('-');
    uint64_t offset;
    if (!integer(offset, "an offset", UINT64_MAX))
      return false;
    result.bits += negative ? -offset : offset;
  }
  result.parts.push_back(std::move(base));
  while (takeIf(',')) {
    Operand part;
    if (!primary(fn, part, false))
      return false;
    result.parts.push_back(std::move(part));
    if (result.parts.size() > 8)
      return fail(peek().line, "found more than 8 parts of an address");
  }
  return expect(']');
}

bool Parser::resolveLabels(Function &fn) {
  std::vector<uint32_t> targets;
  for (const LabelUse &use : labelUses) {
    current = use.scope;
    const uint32_t *target = lookup(&Scope::labels, use.name);
    if (!target)
      return fail(use.line, "found '" + std::string(use.name) +
                                "', expected a label of this function");
    targets.push_back(*target);
  }
  for (ParsedInstruction &inst : fn.body)
    for (Operand &operand : inst.operands)
      if (operand.kind == Operand::Kind::Label)
        operand.id = targets[operand.id];
  for (std::vector<uint32_t> &table : fn.branchTables)
    for (uint32_t &entry : table)
      entry = targets[entry];
  return true;
}

bool mlir::moe::sim::parseModule(std::string file, std::string text,
                                 Module &module, std::string &error) {
  module = Module();
  module.file = std::move(file);
  module.text = std::move(text);
  error.clear();
  return Parser(module, error).run();
}
