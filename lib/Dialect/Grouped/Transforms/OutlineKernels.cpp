//===- OutlineKernels.cpp - one function per different kernel -------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The layers of a model repeat the same kernels on other buffers. Each kernel
// (a grouped operation or a linalg operation on memrefs) becomes a call of a
// function that takes everything it reads and writes as arguments; kernels with
// the same text share the function. What is left to compile grows with the
// number of different kernels, not with the number of layers.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Grouped/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"

#include "moe/Dialect/Grouped/IR/Grouped.h"

#define DEBUG_TYPE "grouped-outline-kernels"

namespace mlir::grouped {
#define GEN_PASS_DEF_OUTLINEKERNELSPASS
#include "moe/Dialect/Grouped/Transforms/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;
using namespace mlir::grouped;

/// What `op` and its regions use from outside: constants, which the function
/// gets a copy of, and everything else, which becomes its arguments; so does
/// the number of a layer, in which equal kernels differ.
static void collectUses(Operation *op, SetVector<Value> &arguments,
                        SetVector<Operation *> &constants) {
  SetVector<Value> uses(op->operand_begin(), op->operand_end());
  getUsedValuesDefinedAbove(op->getRegions(), uses);
  auto plan = dyn_cast<PlanOp>(op);
  for (Value use : uses) {
    Operation *definition = use.getDefiningOp();
    if (definition && definition->hasTrait<OpTrait::ConstantLike>() &&
        !isa<MemRefType>(use.getType()) && !(plan && use == plan.getLayer()))
      constants.insert(definition);
    else
      arguments.insert(use);
  }
}

/// "grouped.matmul" -> "moe_kernel_matmul", "linalg.generic" ->
/// "moe_kernel_generic".
static std::string kernelName(Operation *op, unsigned number) {
  return llvm::formatv("moe_kernel_{0}_{1}", op->getName().stripDialect(),
                       number)
      .str();
}

namespace {
struct OutlineKernels : grouped::impl::OutlineKernelsPassBase<OutlineKernels> {
  void runOnOperation() override {
    SmallVector<Operation *> kernels;
    getOperation().walk([&](Operation *op) {
      if (!isa<GroupedDialect, linalg::LinalgDialect>(op->getDialect()) ||
          !isa_and_nonnull<func::FuncOp, scf::ForOp, scf::IfOp, scf::WhileOp>(
              op->getParentOp()) ||
          op->getNumResults() != 0)
        return;
      kernels.push_back(op);
    });
    for (Operation *op : kernels)
      outline(op);
  }

private:
  void outline(Operation *op) {
    SetVector<Value> arguments;
    SetVector<Operation *> constants;
    collectUses(op, arguments, constants);

    OpBuilder b(op->getContext());
    auto made = func::FuncOp::create(
        op->getLoc(), "kernel",
        b.getFunctionType(ValueRange(arguments.getArrayRef()).getTypes(), {}));
    Block *body = made.addEntryBlock();
    IRMapping map;
    map.map(arguments.getArrayRef(), body->getArguments());
    b.setInsertionPointToStart(body);
    for (Operation *constant : constants)
      b.clone(*constant, map);
    b.clone(*op, map);
    func::ReturnOp::create(b, op->getLoc());

    func::FuncOp &function = functions[textOf(made)];
    if (function) {
      made.erase();
    } else {
      function = made;
      made.setName(kernelName(op, functions.size() - 1));
      made.setPrivate();
      // LLVM would put them back where they came from: a kernel's function is
      // small, most of it is in the function of its threads.
      made->setAttr("passthrough", b.getArrayAttr(b.getStringAttr("noinline")));
      b.setInsertionPointToEnd(getOperation().getBody());
      b.insert(made);
    }
    b.setInsertionPoint(op);
    func::CallOp::create(b, op->getLoc(), function, arguments.getArrayRef());
    op->erase();
  }

  /// The function as text without locations: equal for equal kernels.
  static std::string textOf(func::FuncOp function) {
    std::string text;
    llvm::raw_string_ostream os(text);
    function->print(os, OpPrintingFlags().useLocalScope().printGenericOpForm());
    return text;
  }

  llvm::StringMap<func::FuncOp> functions;
};
} // namespace
