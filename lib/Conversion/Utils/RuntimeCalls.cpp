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
#include "llvm/Support/MathExtras.h"

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

std::string moe::describeOperation(Operation *op) {
  std::string name = op->getName().getStringRef().str();
  op->getLoc()->walk([&](Location inner) {
    auto named = dyn_cast<NameLoc>(inner);
    if (!named)
      return WalkResult::advance();
    name = "node '" + named.getName().str() + "' (" + name + ")";
    return WalkResult::interrupt();
  });
  return name;
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

CheckSites::CheckSites(ModuleOp module) : module(module) {
  if (auto texts = module->getAttrOfType<ArrayAttr>(kSitesAttr))
    for (Attribute text : texts)
      sites.insert({text, sites.size()});
}

void CheckSites::replace(CheckOp check, Value context) {
  ImplicitLocOpBuilder b(check.getLoc(), check);
  Attribute text = b.getDictionaryAttr(
      {{"message", check.getMessageAttr()}, {"node", check.getNodeAttr()}});
  int64_t number = sites.insert({text, sites.size()}).first->second;
  callRuntime(b, "moe_rt_check", {},
              ValueRange{context, check.getCondition(),
                         arith::ConstantIntOp::create(b, number, 32),
                         check.getFound(), check.getLimit()});
  check->erase();
}

void CheckSites::record() {
  if (sites.empty())
    return;
  SmallVector<Attribute> texts(llvm::make_first_range(sites));
  module->setAttr(kSitesAttr, ArrayAttr::get(module.getContext(), texts));
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

Value moe::saturatingProduct(ImplicitLocOpBuilder &b, ValueRange factors) {
  Type i64 = b.getI64Type();
  Value product, most;
  for (Value factor : factors) {
    if (factor.getType().isIndex())
      factor = arith::IndexCastOp::create(b, i64, factor);
    if (!product) {
      product = factor;
      continue;
    }
    if (!most)
      most = arith::ConstantIntOp::create(b, i64, INT64_MAX);
    auto wide = arith::MulSIExtendedOp::create(b, product, factor);
    // It fits when the upper half only repeats the sign of the lower one.
    Value sign = arith::ShRSIOp::create(
        b, wide.getLow(), arith::ConstantIntOp::create(b, i64, 63));
    Value fits = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                       wide.getHigh(), sign);
    product = arith::SelectOp::create(b, fits, wide.getLow(), most);
  }
  return product ? product : Value(arith::ConstantIntOp::create(b, i64, 1));
}

/// What `size` was multiplied from: merged dimensions are products too, and one
/// that has wrapped looks like any size.
static void collectFactors(Value size, SmallVectorImpl<Value> &factors) {
  auto product = size.getDefiningOp<arith::MulIOp>();
  if (!product)
    return factors.push_back(size);
  collectFactors(product.getLhs(), factors);
  collectFactors(product.getRhs(), factors);
}

Value moe::allocate(ImplicitLocOpBuilder &b, Value context, MemRefType type,
                    ValueRange dynamicSizes) {
  int64_t fixed = elementBytes(type.getElementType());
  for (int64_t size : type.getShape())
    if (!ShapedType::isDynamic(size) && llvm::MulOverflow(fixed, size, fixed))
      fixed = INT64_MAX;
  SmallVector<Value> factors;
  for (Value size : dynamicSizes)
    collectFactors(size, factors);
  if (fixed != 1 || factors.empty())
    factors.push_back(arith::ConstantIntOp::create(b, b.getI64Type(), fixed));
  Value pointer = callRuntime(
      b, "moe_rt_alloc", TypeRange{LLVM::LLVMPointerType::get(b.getContext())},
      ValueRange{context, saturatingProduct(b, factors)});
  return memrefFromPointer(b, pointer, type, dynamicSizes);
}
