//===- BindContext.cpp - the session context reaches every function -------===//
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

#include "moe/Conversion/Utils/RuntimeCalls.h"

#define DEBUG_TYPE "moe-bind-context"

namespace mlir::moe {
#define GEN_PASS_DEF_BINDCONTEXTPASS
#include "moe/Conversion/MoEToRuntime/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static Value i32Constant(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIntOp::create(b, value, 32);
}

/// The memref of input `number`, over the caller's memory.
static Value readInput(ImplicitLocOpBuilder &b, Value context, int64_t number,
                       MemRefType type) {
  Value id = i32Constant(b, number);
  Value data = callRuntime(b, "moe_rt_input_data", TypeRange{context.getType()},
                           ValueRange{context, id});
  SmallVector<Value> sizes;
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    if (!type.isDynamicDim(dim))
      continue;
    Value size = callRuntime(b, "moe_rt_input_dim", TypeRange{b.getI64Type()},
                             ValueRange{context, id, i32Constant(b, dim)});
    sizes.push_back(arith::IndexCastOp::create(b, b.getIndexType(), size));
  }
  return memrefFromPointer(b, data, type, sizes);
}

static void writeOutput(ImplicitLocOpBuilder &b, Value context, int64_t number,
                        Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  Type i64 = b.getI64Type();
  Value count =
      arith::ConstantIntOp::create(b, std::max<int64_t>(type.getRank(), 1), 64);
  Value shape = LLVM::AllocaOp::create(b, context.getType(), i64, count);
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    Value size = arith::IndexCastOp::create(
        b, i64, memref::DimOp::create(b, memref, dim));
    Value slot = LLVM::GEPOp::create(b, context.getType(), i64, shape,
                                     LLVM::GEPArg(dim));
    LLVM::StoreOp::create(b, size, slot);
  }
  callRuntime(b, "moe_rt_set_output", {},
              ValueRange{context, i32Constant(b, number),
                         pointerFromMemref(b, memref),
                         i32Constant(b, type.getRank()), shape});
}

/// `@main` on memrefs -> `@moe_compiled_main` on the context alone.
static LogicalResult bindEntry(func::FuncOp entry) {
  for (Type type : llvm::concat<const Type>(entry.getArgumentTypes(),
                                            entry.getResultTypes())) {
    auto memref = dyn_cast<MemRefType>(type);
    if (!memref || !memref.getLayout().isIdentity())
      return entry.emitOpError("expects inputs and outputs to be memrefs with "
                               "an identity layout, got ")
             << type;
  }
  Block &body = entry.getBody().front();
  unsigned inputs = body.getNumArguments();
  Value context = body.insertArgument(
      0u, LLVM::LLVMPointerType::get(entry.getContext()), entry.getLoc());
  ImplicitLocOpBuilder b(entry.getLoc(), entry.getContext());
  b.setInsertionPointToStart(&body);
  for (unsigned i = 0; i < inputs; ++i) {
    BlockArgument argument = body.getArgument(i + 1);
    argument.replaceAllUsesWith(
        readInput(b, context, i, cast<MemRefType>(argument.getType())));
  }
  body.eraseArguments(1, inputs);

  auto result = cast<func::ReturnOp>(body.getTerminator());
  b.setInsertionPoint(result);
  for (auto [i, value] : llvm::enumerate(result.getOperands()))
    writeOutput(b, context, i, value);
  func::ReturnOp::create(b);
  result.erase();

  entry.setType(b.getFunctionType({context.getType()}, {}));
  entry.removeArgAttrsAttr();
  entry.removeResAttrsAttr();
  entry.setArgAttr(0, kContextAttr, b.getUnitAttr());
  entry.setSymName(kEntryFunction);
  return success();
}

/// Any other function: the context comes first, calls follow.
static void bindFunction(func::FuncOp function) {
  Type pointer = LLVM::LLVMPointerType::get(function.getContext());
  NamedAttribute attr(kContextAttr, UnitAttr::get(function.getContext()));
  (void)function.insertArgument(
      0, pointer, DictionaryAttr::get(function.getContext(), attr),
      function.getLoc());
}

namespace {
struct BindContext : moe::impl::BindContextPassBase<BindContext> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::StringSet<> bound;
    for (auto function :
         llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (function.isDeclaration())
        continue;
      if (function.isPublic() && function.getSymName() == "main") {
        if (!function.getBody().hasOneBlock()) {
          function.emitOpError("expects a single block");
          return signalPassFailure();
        }
        if (failed(bindEntry(function)))
          return signalPassFailure();
        continue;
      }
      bindFunction(function);
      bound.insert(function.getSymName());
    }
    module.walk([&](func::CallOp call) {
      if (!bound.contains(call.getCallee()))
        return;
      Value context = getSessionContext(call);
      call.getOperandsMutable().assign(llvm::to_vector(
          llvm::concat<Value>(SmallVector<Value>{context},
                              SmallVector<Value>(call.getOperands()))));
    });
  }
};
} // namespace
