//===- LaunchesToRuntime.cpp - launches and device buffers to calls -------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/GroupedToGPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "KernelBuilder.h"

#define DEBUG_TYPE "gpu-launches-to-runtime"

namespace mlir::grouped {
#define GEN_PASS_DEF_LAUNCHESTORUNTIMEPASS
#include "moe/Conversion/GroupedToGPU/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;
using namespace mlir::grouped;

static bool isOnDevice(Value memref) {
  auto type = dyn_cast<MemRefType>(memref.getType());
  return type && type.getMemorySpaceAsInt() == kGlobalSpace;
}

static Value i32(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIntOp::create(b, value, 32);
}

static Value toI64(ImplicitLocOpBuilder &b, Value index) {
  if (index.getType().isInteger(64))
    return index;
  return arith::IndexCastOp::create(b, b.getI64Type(), index);
}

/// The bytes of a contiguous memref; a size that does not fit saturates.
static Value byteSize(ImplicitLocOpBuilder &b, Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<Value> factors;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    factors.push_back(memref::DimOp::create(b, memref, dim));
  factors.push_back(arith::ConstantIntOp::create(
      b, moe::elementBytes(type.getElementType()), 64));
  return moe::saturatingProduct(b, factors);
}

/// A device address is a number to the host.
static Value address(ImplicitLocOpBuilder &b, Value memref) {
  return toI64(b, memref::ExtractAlignedPointerAsIndexOp::create(b, memref));
}

static Value deviceMemref(ImplicitLocOpBuilder &b, Value bits, MemRefType type,
                          ValueRange sizes) {
  Value pointer = LLVM::IntToPtrOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext(), kGlobalSpace), bits);
  return moe::memrefFromPointer(b, pointer, type, sizes);
}

namespace {
struct LaunchesToRuntime
    : grouped::impl::LaunchesToRuntimePassBase<LaunchesToRuntime> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<Operation *> ops;
    module.walk([&](Operation *op) {
      if (isa<gpu::LaunchFuncOp>(op) ||
          (isa<memref::AllocOp, memref::DeallocOp, memref::CopyOp,
               moe::GetWeightOp>(op) &&
           (llvm::any_of(op->getOperands(), isOnDevice) ||
            llvm::any_of(op->getResults(), isOnDevice))))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      ImplicitLocOpBuilder b(op->getLoc(), op);
      Value context = moe::getSessionContext(op);
      if (!context)
        return signalPassFailure();
      LogicalResult converted =
          TypeSwitch<Operation *, LogicalResult>(op)
              .Case<gpu::LaunchFuncOp, memref::AllocOp, memref::DeallocOp,
                    memref::CopyOp, moe::GetWeightOp>(
                  [&](auto op) { return convert(b, op, context); });
      if (failed(converted))
        return signalPassFailure();
      op->erase();
    }
    if (failed(embedCode()))
      return signalPassFailure();
    module->removeAttr(gpu::GPUDialect::getContainerModuleAttrName());
  }

private:
  LogicalResult convert(ImplicitLocOpBuilder &b, memref::AllocOp alloc,
                        Value context) {
    SmallVector<Value> factors;
    MemRefType type = alloc.getType();
    int64_t fixed = moe::elementBytes(type.getElementType());
    for (int64_t size : type.getShape())
      if (!ShapedType::isDynamic(size) && llvm::MulOverflow(fixed, size, fixed))
        fixed = INT64_MAX;
    llvm::append_range(factors, alloc.getDynamicSizes());
    factors.push_back(arith::ConstantIntOp::create(b, fixed, 64));
    Value bits = moe::callRuntime(
        b, "moe_rt_gpu_alloc", TypeRange{b.getI64Type()},
        ValueRange{context, moe::saturatingProduct(b, factors)});
    alloc.getResult().replaceAllUsesWith(
        deviceMemref(b, bits, type, alloc.getDynamicSizes()));
    return success();
  }

  LogicalResult convert(ImplicitLocOpBuilder &b, memref::DeallocOp dealloc,
                        Value context) {
    moe::callRuntime(b, "moe_rt_gpu_free", {},
                     ValueRange{context, address(b, dealloc.getMemref())});
    return success();
  }

  LogicalResult convert(ImplicitLocOpBuilder &b, memref::CopyOp copy,
                        Value context) {
    bool up = isOnDevice(copy.getTarget());
    if (up == isOnDevice(copy.getSource()))
      return copy.emitOpError("expects to copy to or from the device");
    Value device = up ? copy.getTarget() : copy.getSource();
    Value host = up ? copy.getSource() : copy.getTarget();
    moe::callRuntime(b, up ? "moe_rt_gpu_upload" : "moe_rt_gpu_download", {},
                     ValueRange{context, address(b, device),
                                moe::pointerFromMemref(b, host),
                                byteSize(b, device)});
    return success();
  }

  LogicalResult convert(ImplicitLocOpBuilder &b, moe::GetWeightOp get,
                        Value context) {
    Operation *symbol = getOperation().lookupSymbol(get.getWeight());
    auto section = symbol->getAttrOfType<IntegerAttr>("section");
    if (!section)
      return get.emitOpError("expects ")
             << get.getWeightAttr()
             << " to have a section (run moe-assign-weight-sections first)";
    auto type = cast<MemRefType>(get.getResult().getType());
    int64_t bytes =
        type.getNumElements() * moe::elementBytes(type.getElementType());
    Value bits = moe::callRuntime(
        b, "moe_rt_gpu_weight", TypeRange{b.getI64Type()},
        ValueRange{context,
                   arith::ConstantIntOp::create(b, section.getInt(), 64),
                   arith::ConstantIntOp::create(b, bytes, 64)});
    get.getResult().replaceAllUsesWith(deviceMemref(b, bits, type, {}));
    return success();
  }

  /// moe_rt_gpu_launch(context, id, name, grid x, grid y, threads, shared
  /// memory, values, count); each value takes 8 bytes.
  LogicalResult convert(ImplicitLocOpBuilder &b, gpu::LaunchFuncOp launch,
                        Value context) {
    StringRef name = launch.getKernelName().getValue();
    int64_t id = kernels.insert({name, kernels.size()}).first->second;
    Type pointer = context.getType();
    unsigned count = launch.getNumKernelOperands();
    Value slots;
    {
      // In the entry: a launch may stand in a loop.
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(
          &launch->getParentOfType<func::FuncOp>().getBody().front());
      slots = LLVM::AllocaOp::create(b, pointer, b.getI64Type(),
                                     arith::ConstantIntOp::create(b, count, 64),
                                     /*alignment=*/8);
    }
    for (unsigned i = 0; i < count; ++i) {
      Value value = launch.getKernelOperand(i);
      if (value.getType().isIndex())
        value = toI64(b, value);
      Value slot = LLVM::GEPOp::create(b, pointer, b.getI64Type(), slots,
                                       LLVM::GEPArg(static_cast<int32_t>(i)));
      LLVM::StoreOp::create(b, value, slot);
    }
    gpu::KernelDim3 grid = launch.getGridSizeOperandValues(),
                    block = launch.getBlockSizeOperandValues();
    Value shared = launch.getDynamicSharedMemorySize();
    Value text = LLVM::AddressOfOp::create(b, pointer, nameGlobal(b, name));
    moe::callRuntime(b, "moe_rt_gpu_launch", {},
                     ValueRange{context, i32(b, id), text, toI64(b, grid.x),
                                toI64(b, grid.y), toI64(b, block.x),
                                shared ? shared : i32(b, 0), slots,
                                i32(b, count)});
    return success();
  }

  /// A constant string, with its end.
  StringRef stringGlobal(ImplicitLocOpBuilder &b, const Twine &name,
                         StringRef text) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(getOperation().getBody());
    std::string bytes = text.str();
    bytes.push_back('\0');
    auto type = LLVM::LLVMArrayType::get(b.getI8Type(), bytes.size());
    auto global = LLVM::GlobalOp::create(
        b, type, /*isConstant=*/true, LLVM::Linkage::Internal, name.str(),
        b.getStringAttr(bytes), /*alignment=*/8);
    return global.getSymName();
  }

  StringRef nameGlobal(ImplicitLocOpBuilder &b, StringRef kernel) {
    StringRef &global = names[kernel];
    if (global.empty())
      global = stringGlobal(b, "moe_kernel_name_" + kernel, kernel);
    return global;
  }

  /// The kernels' text becomes a constant, which the entry hands over.
  LogicalResult embedCode() {
    ModuleOp module = getOperation();
    for (auto binary :
         llvm::make_early_inc_range(module.getOps<gpu::BinaryOp>())) {
      auto main = module.lookupSymbol<func::FuncOp>(moe::kEntryFunction);
      if (!main)
        return binary.emitOpError("expects @") << moe::kEntryFunction;
      auto object = cast<gpu::ObjectAttr>(binary.getObjects()[0]);
      ImplicitLocOpBuilder b(binary.getLoc(), &getContext());
      StringRef text =
          stringGlobal(b, moe::kDeviceCodeName, object.getObject().getValue());
      b.setInsertionPointToStart(&main.getBody().front());
      Value code = LLVM::AddressOfOp::create(
          b, LLVM::LLVMPointerType::get(&getContext()), text);
      moe::callRuntime(b, "moe_rt_gpu_begin", {},
                       ValueRange{main.getArgument(0), code});
      binary.erase();
    }
    return success();
  }

  llvm::MapVector<StringRef, int64_t> kernels;
  llvm::StringMap<StringRef> names;
};
} // namespace
