//===- ConvertGroupedToGPU.cpp - grouped kernels to gpu kernels -----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/GroupedToGPU/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"

#include "Kernels.h"

#define DEBUG_TYPE "convert-grouped-to-gpu"

namespace mlir::grouped {
#define GEN_PASS_DEF_CONVERTGROUPEDTOGPUPASS
#include "moe/Conversion/GroupedToGPU/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;
using namespace mlir::grouped;

//===----------------------------------------------------------------------===//
// Kernels and launches
//===----------------------------------------------------------------------===//

unsigned KernelArguments::addBuffer(LoopBuilder &host, Value memref) {
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(host, memref);
  Value bits = host.fromIndex(host.getI64Type(), address);
  hostValues.push_back(LLVM::IntToPtrOp::create(
      host, LLVM::LLVMPointerType::get(host.getContext(), kGlobalSpace), bits));
  return hostValues.size() - 1;
}

unsigned KernelArguments::addScalar(Value value) {
  hostValues.push_back(value);
  return hostValues.size() - 1;
}

gpu::GPUFuncOp DeviceModule::addKernel(
    Location loc, const Twine &name, TypeRange arguments, int64_t threads,
    llvm::function_ref<void(KernelBuilder &, ValueRange)> body) {
  KernelBuilder b(loc, host.getContext());
  if (!module) {
    host->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                  b.getUnitAttr());
    b.setInsertionPointToEnd(host.getBody());
    module = gpu::GPUModuleOp::create(b, kDeviceModuleName);
    b.setInsertionPointToStart(module.getBody());
    // Of no size: `.extern .shared`, whose bytes the launch gives. Any other
    // form becomes a variable of its own that overlaps it.
    LLVM::GlobalOp::create(b, LLVM::LLVMArrayType::get(b.getI8Type(), 0),
                           /*isConstant=*/false, LLVM::Linkage::External,
                           kSharedMemoryName, Attribute(),
                           /*alignment=*/1024, kSharedSpace);
  }
  b.setInsertionPointToEnd(module.getBody());
  auto kernel =
      gpu::GPUFuncOp::create(b, name.str(), b.getFunctionType(arguments, {}));
  kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
  kernel.setKnownBlockSizeAttr(
      b.getDenseI32ArrayAttr({static_cast<int32_t>(threads), 1, 1}));
  b.setInsertionPointToStart(&kernel.getBody().front());
  body(b, kernel.getArguments());
  gpu::ReturnOp::create(b);
  return kernel;
}

void grouped::launch(LoopBuilder &host, gpu::GPUFuncOp kernel, Value gridX,
                     Value gridY, int64_t threads, int64_t sharedBytes,
                     const KernelArguments &arguments) {
  Value one = host.index(1);
  gpu::LaunchFuncOp::create(host, kernel, gpu::KernelDim3{gridX, gridY, one},
                            gpu::KernelDim3{host.index(threads), one, one},
                            arith::ConstantIntOp::create(host, sharedBytes, 32),
                            arguments.values());
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

/// Element types that kernels compute with.
static LogicalResult checkTypes(Operation *op) {
  for (Value operand : op->getOperands()) {
    auto type = dyn_cast<MemRefType>(operand.getType());
    if (!type)
      continue;
    if (type.getMemorySpaceAsInt() != kGlobalSpace)
      return op->emitOpError("expects operands in memory space 1 (run "
                             "gpu-place-buffers first), got ")
             << type;
    if (type.getElementType().isF64())
      return op->emitOpError(
          "expects elements of at most 32 bits for a GPU, got f64");
  }
  return success();
}

namespace {
struct ConvertGroupedToGPU
    : grouped::impl::ConvertGroupedToGPUPassBase<ConvertGroupedToGPU> {
  using ConvertGroupedToGPUPassBase::ConvertGroupedToGPUPassBase;

  void runOnOperation() override {
    FailureOr<moe::GPUDescription> target =
        moe::describeGPU(arch, getOperation());
    if (failed(target))
      return signalPassFailure();
    DeviceModule device(getOperation(), *target);
    SmallVector<Operation *> kernels;
    getOperation().walk([&](Operation *op) {
      if (isa<GateOp, PlanOp, MatmulOp, CombineOp>(op))
        kernels.push_back(op);
    });
    for (auto [i, op] : llvm::enumerate(kernels)) {
      // The number in the name of an outlined kernel finds it in profiles.
      StringRef name = op->getParentOfType<func::FuncOp>().getSymName();
      std::string made =
          name.consume_front("moe_kernel_")
              ? name.str()
              : (op->getName().stripDialect() + "_" + Twine(i)).str();
      if (failed(lower(op, device, made)))
        return signalPassFailure();
    }
  }

  static LogicalResult lower(Operation *op, DeviceModule &device,
                             StringRef name) {
    Value context = moe::getSessionContext(op);
    if (!context || failed(checkTypes(op)))
      return failure();
    LogicalResult lowered =
        TypeSwitch<Operation *, LogicalResult>(op)
            .Case([&](GateOp gate) { return lowerGate(gate, device, name); })
            .Case([&](PlanOp plan) {
              return lowerPlan(plan, device, name, context);
            })
            .Case([&](MatmulOp matmul) {
              return lowerMatmul(matmul, device, name, context);
            })
            .Case(
                [&](CombineOp sum) { return lowerCombine(sum, device, name); });
    if (succeeded(lowered))
      op->erase();
    return lowered;
  }
};
} // namespace
