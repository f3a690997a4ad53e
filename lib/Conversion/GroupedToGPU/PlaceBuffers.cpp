//===- PlaceBuffers.cpp - which buffers lie on the device -----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Decided per buffer, not per use: what only kernels touch never visits the
// host, so that between the kernels of a layer nothing is copied.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/GroupedToGPU/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

#include "moe/Dialect/Grouped/IR/Grouped.h"

#include "KernelBuilder.h"

#define DEBUG_TYPE "gpu-place-buffers"

namespace mlir::grouped {
#define GEN_PASS_DEF_PLACEBUFFERSPASS
#include "moe/Conversion/GroupedToGPU/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;
using namespace mlir::grouped;

static bool isKernel(Operation *op) {
  return isa<GateOp, PlanOp, MatmulOp, CombineOp>(op);
}

/// `type` in the device's memory, contiguous.
static MemRefType onDevice(MemRefType type) {
  Builder b(type.getContext());
  return MemRefType::get(type.getShape(), type.getElementType(),
                         MemRefLayoutAttrInterface(),
                         b.getI64IntegerAttr(kGlobalSpace));
}

static bool isOnDevice(Value memref) {
  return cast<MemRefType>(memref.getType()).getMemorySpaceAsInt() ==
         kGlobalSpace;
}

/// Whether kernels alone read and write `buffer` and its casts.
static bool servesKernels(Value buffer) {
  for (Operation *user : buffer.getUsers()) {
    if (isKernel(user) || isa<memref::DimOp, memref::DeallocOp>(user))
      continue;
    auto cast = dyn_cast<memref::CastOp>(user);
    if (!cast || !isa<MemRefType>(cast.getType()) ||
        !mlir::cast<MemRefType>(cast.getType()).getLayout().isIdentity() ||
        !servesKernels(cast))
      return false;
  }
  return true;
}

static void moveToDevice(Value buffer) {
  buffer.setType(onDevice(cast<MemRefType>(buffer.getType())));
  for (Operation *user : buffer.getUsers())
    if (auto cast = dyn_cast<memref::CastOp>(user))
      moveToDevice(cast.getResult());
}

namespace {
class KernelOperands {
public:
  explicit KernelOperands(Operation *op) : op(op), b(op->getLoc(), op) {}

  void place() {
    auto kernel = cast<DestinationStyleOpInterface>(op);
    for (OpOperand &operand : op->getOpOperands()) {
      if (!isa<MemRefType>(operand.get().getType()) ||
          isOnDevice(operand.get()))
        continue;
      if (auto weight = operand.get().getDefiningOp<moe::GetWeightOp>())
        operand.set(deviceWeight(weight));
      else
        operand.set(kernel.isDpsInit(&operand) ? download(operand.get())
                                               : upload(operand.get()));
    }
  }

private:
  /// The weight in the device's copy of the weight file.
  Value deviceWeight(moe::GetWeightOp weight) {
    return moe::GetWeightOp::create(
        b, onDevice(cast<MemRefType>(weight.getType())),
        weight.getWeightAttr());
  }

  Value allocate(MemRefType type, Value like) {
    SmallVector<Value> sizes;
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      if (type.isDynamicDim(dim))
        sizes.push_back(memref::DimOp::create(b, like, dim));
    return memref::AllocOp::create(b, type, sizes);
  }

  void freeAfter(Value buffer) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointAfter(last ? last : op);
    last = memref::DeallocOp::create(b, buffer);
  }

  /// `memref`, or a contiguous buffer of the host with its shape.
  Value contiguous(Value memref) {
    auto type = cast<MemRefType>(memref.getType());
    if (type.getLayout().isIdentity())
      return memref;
    return allocate(MemRefType::get(type.getShape(), type.getElementType()),
                    memref);
  }

  Value upload(Value memref) {
    Value &device = uploads[memref];
    if (device)
      return device;
    Value source = contiguous(memref);
    if (source != memref)
      linalg::CopyOp::create(b, memref, source);
    device = allocate(onDevice(cast<MemRefType>(source.getType())), memref);
    memref::CopyOp::create(b, source, device);
    if (source != memref)
      freeAfter(source);
    freeAfter(device);
    return device;
  }

  Value download(Value memref) {
    Value target = contiguous(memref);
    Value device =
        allocate(onDevice(cast<MemRefType>(target.getType())), memref);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointAfter(last ? last : op);
    last = memref::CopyOp::create(b, device, target);
    if (target != memref) {
      last = linalg::CopyOp::create(b, target, memref);
      freeAfter(target);
    }
    freeAfter(device);
    return device;
  }

  Operation *op;
  ImplicitLocOpBuilder b;
  /// What was put behind the kernel last.
  Operation *last = nullptr;
  llvm::SmallDenseMap<Value, Value> uploads;
};

struct PlaceBuffers : grouped::impl::PlaceBuffersPassBase<PlaceBuffers> {
  void runOnOperation() override {
    SmallVector<Operation *> kernels;
    getOperation().walk([&](Operation *op) {
      auto alloc = dyn_cast<memref::AllocOp>(op);
      if (alloc && !alloc->use_empty() && servesKernels(alloc))
        moveToDevice(alloc);
      if (isKernel(op))
        kernels.push_back(op);
    });
    for (Operation *op : kernels)
      KernelOperands(op).place();
  }
};
} // namespace
