//===- RuntimeCalls.cpp - compiled code and its runtime -------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/Utils/RuntimeCalls.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace mlir::moe;

Value moe::getSessionContext(Operation *op) {
  auto function = op->getParentOfType<func::FuncOp>();
  if (function && function.getNumArguments() > 0 &&
      function.getArgAttr(0, kContextAttr))
    return function.getArgument(0);
  op->emitOpError("expects a function whose first argument is the session "
                  "context (run moe-bind-context first)");
  return {};
}

Value moe::callRuntime(ImplicitLocOpBuilder &b, StringRef name,
                       TypeRange results, ValueRange operands) {
  auto module =
      b.getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto declared = func::FuncOp::create(
        b, name, b.getFunctionType(operands.getTypes(), results));
    declared.setPrivate();
  }
  auto call = func::CallOp::create(b, name, results, operands);
  return results.empty() ? Value() : call.getResult(0);
}

Value moe::loadContextField(ImplicitLocOpBuilder &b, Value context,
                            int64_t offset, Type type) {
  Value address = LLVM::GEPOp::create(b, context.getType(), b.getI8Type(),
                                      context, LLVM::GEPArg(offset));
  return LLVM::LoadOp::create(b, type, address);
}

Value moe::memrefFromPointer(ImplicitLocOpBuilder &b, Value pointer,
                             MemRefType type, ValueRange dynamicSizes) {
  LLVMTypeConverter converter(b.getContext());
  auto toI64 = [&](Value index) -> Value {
    return arith::IndexCastOp::create(b, b.getI64Type(), index);
  };
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, value);
  };
  auto descriptor =
      MemRefDescriptor::poison(b, b.getLoc(), converter.convertType(type));
  descriptor.setAllocatedPtr(b, b.getLoc(), pointer);
  descriptor.setAlignedPtr(b, b.getLoc(), pointer);
  descriptor.setOffset(b, b.getLoc(), toI64(constant(0)));
  SmallVector<Value> sizes(type.getRank());
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    if (type.isDynamicDim(dim)) {
      sizes[dim] = dynamicSizes.front();
      dynamicSizes = dynamicSizes.drop_front();
    } else {
      sizes[dim] = constant(type.getDimSize(dim));
    }
  }
  Value stride = constant(1);
  for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
    descriptor.setSize(b, b.getLoc(), dim, toI64(sizes[dim]));
    descriptor.setStride(b, b.getLoc(), dim, toI64(stride));
    stride = arith::MulIOp::create(b, stride, sizes[dim]);
  }
  Value structure = descriptor;
  return UnrealizedConversionCastOp::create(b, TypeRange{type}, structure)
      .getResult(0);
}

Value moe::pointerFromMemref(ImplicitLocOpBuilder &b, Value memref) {
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, memref);
  Value bits = arith::IndexCastOp::create(b, b.getI64Type(), address);
  return LLVM::IntToPtrOp::create(b, LLVM::LLVMPointerType::get(b.getContext()),
                                  bits);
}

int64_t moe::elementBytes(Type type) {
  if (type.isIndex())
    return 8;
  return (type.getIntOrFloatBitWidth() + 7) / 8;
}

Value moe::allocate(ImplicitLocOpBuilder &b, Value context, MemRefType type,
                    ValueRange dynamicSizes) {
  Value elements =
      arith::ConstantIndexOp::create(b, elementBytes(type.getElementType()));
  for (Value size : dynamicSizes)
    elements = arith::MulIOp::create(b, elements, size);
  int64_t fixed = 1;
  for (int64_t size : type.getShape())
    fixed *= ShapedType::isDynamic(size) ? 1 : size;
  elements = arith::MulIOp::create(b, elements,
                                   arith::ConstantIndexOp::create(b, fixed));
  Value bytes = arith::IndexCastOp::create(b, b.getI64Type(), elements);
  Value pointer = callRuntime(
      b, "moe_rt_alloc", TypeRange{LLVM::LLVMPointerType::get(b.getContext())},
      ValueRange{context, bytes});
  return memrefFromPointer(b, pointer, type, dynamicSizes);
}
