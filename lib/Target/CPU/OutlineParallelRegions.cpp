//===- OutlineParallelRegions.cpp - One function per kind of region -------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The translation to LLVM IR outlines parallel regions too, but one by one,
// each time walking the whole function, and without looking for equal ones: for
// a model of some layers that takes as long as all of code generation.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/CPU/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "moe-outline-parallel-regions"

namespace mlir::moe {
#define GEN_PASS_DEF_OUTLINEPARALLELREGIONS
#include "moe/Target/CPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// Whether the function can compute the value itself: what is known about a
/// constant (a loop's bound, a divisor) is worth a copy.
static bool movesAlong(Value value) {
  Operation *op = value.getDefiningOp();
  return op &&
         (isa<LLVM::AddressOfOp, LLVM::PoisonOp, LLVM::UndefOp, LLVM::ZeroOp>(
              op) ||
          matchPattern(op, m_Constant()));
}

/// A hash of the function's body in which names and locations do not count.
static llvm::hash_code hashBody(LLVM::LLVMFuncOp function) {
  llvm::hash_code hash = hash_value(function.getFunctionType());
  function.getBody().walk<WalkOrder::PreOrder>([&](Operation *op) {
    hash =
        llvm::hash_combine(hash, OperationEquivalence::computeHash(
                                     op, OperationEquivalence::ignoreHashValue,
                                     OperationEquivalence::ignoreHashValue,
                                     OperationEquivalence::IgnoreLocations));
  });
  return hash;
}

static bool equalBodies(LLVM::LLVMFuncOp a, LLVM::LLVMFuncOp b) {
  return a.getFunctionType() == b.getFunctionType() &&
         OperationEquivalence::isRegionEquivalentTo(
             &a.getBody(), &b.getBody(), OperationEquivalence::IgnoreLocations);
}

namespace {
struct OutlineParallelRegions
    : public moe::impl::OutlineParallelRegionsBase<OutlineParallelRegions> {
  void runOnOperation() override {
    SmallVector<omp::ParallelOp> regions;
    for (auto function : getOperation().getOps<LLVM::LLVMFuncOp>())
      function.walk<WalkOrder::PreOrder>([&](omp::ParallelOp parallel) {
        regions.push_back(parallel);
        return WalkResult::skip();
      });
    SymbolTable symbols(getOperation());
    for (omp::ParallelOp parallel : regions)
      outline(parallel, symbols);
    numRegions += regions.size();
    byHash.clear();
  }

private:
  void outline(omp::ParallelOp parallel, SymbolTable &symbols) {
    // In the order of use, which is the same for equal regions.
    SetVector<Value> used(parallel->operand_begin(), parallel->operand_end());
    getUsedValuesDefinedAbove(parallel->getRegions(), used);
    SmallVector<Value> arguments;
    for (Value value : used)
      if (!movesAlong(value))
        arguments.push_back(value);

    Location loc = parallel.getLoc();
    OpBuilder b(parallel);
    auto type = LLVM::LLVMFunctionType::get(
        LLVM::LLVMVoidType::get(b.getContext()),
        llvm::map_to_vector(arguments, [](Value v) { return v.getType(); }));
    // Not in the module yet: it may turn out to be there already.
    OpBuilder detached(b.getContext());
    auto function =
        LLVM::LLVMFuncOp::create(detached, loc, "moe_parallel", type);
    function.setPrivate();
    // It is called once per layer: nothing is won by copying it there.
    function.setPassthroughAttr(b.getStrArrayAttr({"noinline"}));

    Block *entry = function.addEntryBlock(b);
    IRMapping mapping;
    mapping.map(arguments, entry->getArguments());
    OpBuilder inside = OpBuilder::atBlockEnd(entry);
    for (Value value : used)
      if (movesAlong(value))
        inside.clone(*value.getDefiningOp(), mapping);
    inside.clone(*parallel, mapping);
    LLVM::ReturnOp::create(inside, loc, ValueRange());

    LLVM::LLVMFuncOp callee = unique(function, symbols);
    LLVM::CallOp::create(b, loc, callee, arguments);
    parallel.erase();
  }

  /// The function itself, now in the module, or an equal one from before.
  LLVM::LLVMFuncOp unique(LLVM::LLVMFuncOp function, SymbolTable &symbols) {
    auto &candidates = byHash[hashBody(function)];
    for (LLVM::LLVMFuncOp candidate : candidates)
      if (equalBodies(function, candidate)) {
        function.erase();
        return candidate;
      }
    symbols.insert(function);
    candidates.push_back(function);
    ++numFunctions;
    LDBG() << "new region: " << function.getName();
    return function;
  }

  DenseMap<size_t, SmallVector<LLVM::LLVMFuncOp, 1>> byHash;
};
} // namespace
