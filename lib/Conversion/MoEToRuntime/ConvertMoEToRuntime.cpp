//===- ConvertMoEToRuntime.cpp - buffers, checks, weights to calls --------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToRuntime/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Runtime/Context.h"

#define DEBUG_TYPE "convert-moe-to-runtime"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETORUNTIMEPASS
#include "moe/Conversion/MoEToRuntime/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {
struct ConvertMoEToRuntime
    : moe::impl::ConvertMoEToRuntimePassBase<ConvertMoEToRuntime> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<memref::AllocOp, memref::DeallocOp, CheckOp, GetWeightOp>(op))
        ops.push_back(op);
    });
    SymbolTableCollection symbols;
    CheckSites sites(getOperation());
    for (Operation *op : ops) {
      ImplicitLocOpBuilder b(op->getLoc(), op);
      Value context = getSessionContext(op);
      if (!context)
        return signalPassFailure();
      if (auto check = dyn_cast<CheckOp>(op)) {
        if (check->getParentOfType<omp::ParallelOp>()) {
          check.emitOpError(
              "expects to be outside of loops that threads share");
          return signalPassFailure();
        }
        sites.replace(check, context);
        continue;
      }
      LogicalResult converted =
          TypeSwitch<Operation *, LogicalResult>(op)
              .Case([&](memref::AllocOp alloc) {
                return convert(b, alloc, context);
              })
              .Case([&](memref::DeallocOp dealloc) {
                callRuntime(b, "moe_rt_free", {},
                            ValueRange{context, pointerFromMemref(
                                                    b, dealloc.getMemref())});
                return success();
              })
              .Case([&](GetWeightOp get) {
                return convert(b, get, context, symbols);
              });
      if (failed(converted))
        return signalPassFailure();
      op->erase();
    }
    sites.record();
  }

private:
  LogicalResult convert(ImplicitLocOpBuilder &b, memref::AllocOp alloc,
                        Value context) {
    if (!alloc.getType().getLayout().isIdentity())
      return alloc.emitOpError("expects an identity layout");
    alloc.getResult().replaceAllUsesWith(
        allocate(b, context, alloc.getType(), alloc.getDynamicSizes()));
    return success();
  }

  LogicalResult convert(ImplicitLocOpBuilder &b, GetWeightOp get, Value context,
                        SymbolTableCollection &symbols) {
    auto type = dyn_cast<MemRefType>(get.getResult().getType());
    if (!type)
      return get.emitOpError("expects a memref (bufferize first)");
    Operation *symbol =
        symbols.lookupNearestSymbolFrom(get, get.getWeightAttr());
    auto section = symbol->getAttrOfType<IntegerAttr>("section");
    if (!section)
      return get.emitOpError("expects ")
             << get.getWeightAttr()
             << " to have a section (run moe-assign-weight-sections first)";
    Value weights = loadContextField(b, context, MOE_CONTEXT_WEIGHTS_OFFSET,
                                     context.getType());
    Value offset = arith::ConstantIntOp::create(b, section.getInt(), 64);
    Value address = LLVM::GEPOp::create(b, context.getType(), b.getI8Type(),
                                        weights, LLVM::GEPArg(offset));
    get.getResult().replaceAllUsesWith(memrefFromPointer(b, address, type, {}));
    return success();
  }
};
} // namespace
