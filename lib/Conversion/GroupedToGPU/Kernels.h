//===- Kernels.h - one lowering per grouped operation -----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each lowering takes an operation whose operands are buffers of the device,
// adds kernels to the device module and puts their launches in the operation's
// place.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_GROUPEDTOGPU_KERNELS_H
#define MOE_LIB_CONVERSION_GROUPEDTOGPU_KERNELS_H

#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Target/GPU/GPUTarget.h"

#include "../GroupedToLoops/LoopBuilder.h"
#include "KernelBuilder.h"

namespace mlir::grouped {

inline constexpr StringLiteral kDeviceModuleName = "moe_kernels";
/// Dynamic shared memory of the block.
inline constexpr StringLiteral kSharedMemoryName = "moe_shared";

/// The operands of a kernel: on the host, and in the kernel while it is built.
class KernelArguments {
public:
  /// The address of a buffer; in the kernel a pointer to global memory.
  unsigned addBuffer(LoopBuilder &host, Value memref);
  unsigned addScalar(Value value);
  ArrayRef<Value> values() const { return hostValues; }
  SmallVector<Type> types() const {
    return llvm::to_vector(ValueRange(hostValues).getTypes());
  }

private:
  SmallVector<Value> hostValues;
};

/// The module of all kernels.
class DeviceModule {
public:
  DeviceModule(ModuleOp host, const moe::GPUDescription &target)
      : target(target), host(host) {}

  /// A kernel of `threads` threads; `body` gets the kernel's arguments.
  gpu::GPUFuncOp
  addKernel(Location loc, const Twine &name, TypeRange arguments,
            int64_t threads,
            llvm::function_ref<void(KernelBuilder &, ValueRange)> body);

  const moe::GPUDescription target;

private:
  ModuleOp host;
  gpu::GPUModuleOp module;
};

/// Launches `kernel` on `gridX * gridY` blocks (index values).
void launch(LoopBuilder &host, gpu::GPUFuncOp kernel, Value gridX, Value gridY,
            int64_t threads, int64_t sharedBytes,
            const KernelArguments &arguments);

LogicalResult lowerGate(GateOp op, DeviceModule &device, StringRef name);
LogicalResult lowerPlan(PlanOp op, DeviceModule &device, StringRef name,
                        Value context);
LogicalResult lowerMatmul(MatmulOp op, DeviceModule &device, StringRef name,
                          Value context);
LogicalResult lowerCombine(CombineOp op, DeviceModule &device, StringRef name);

} // namespace mlir::grouped

#endif // MOE_LIB_CONVERSION_GROUPEDTOGPU_KERNELS_H
