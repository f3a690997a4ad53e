//===- KernelBuilder.cpp - short names for device code --------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

#include "Kernels.h"

using namespace mlir;
using namespace mlir::grouped;

Value KernelBuilder::convertFloat(Value value, Type type) {
  Type from = getElementTypeOrSelf(value);
  if (from == type)
    return value;
  Type to = type;
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    to = vector.clone(type);
  unsigned have = from.getIntOrFloatBitWidth(),
           want = type.getIntOrFloatBitWidth();
  if (have == want)
    return convertFloat(convertFloat(value, getF32Type()), type);
  if (have < want)
    return arith::ExtFOp::create(*this, to, value);
  return arith::TruncFOp::create(*this, to, value);
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

static Value toI32(KernelBuilder &b, Value index) {
  return arith::IndexCastOp::create(b, b.getI32Type(), index);
}

Value KernelBuilder::thread() {
  return toI32(*this, gpu::ThreadIdOp::create(*this, gpu::Dimension::x));
}

Value KernelBuilder::block(gpu::Dimension dimension) {
  return toI32(*this, gpu::BlockIdOp::create(*this, dimension));
}

Value KernelBuilder::gridSize(gpu::Dimension dimension) {
  return toI32(*this, gpu::GridDimOp::create(*this, dimension));
}

Value KernelBuilder::shuffle(NVVM::ShflKind kind, Value value, Value offset) {
  Value clamp = i32(kind == NVVM::ShflKind::up ? 0 : kWarpSize - 1);
  return NVVM::ShflOp::create(*this, value.getType(), fullMask(), value, offset,
                              clamp, kind, UnitAttr());
}

Value KernelBuilder::sumOfLanes(Value value) {
  for (int64_t distance = kWarpSize / 2; distance; distance /= 2)
    value = addF(value, shuffle(NVVM::ShflKind::bfly, value, i32(distance)));
  return value;
}

Value KernelBuilder::maxOfLanes(Value value) {
  for (int64_t distance = kWarpSize / 2; distance; distance /= 2)
    value = arith::MaximumFOp::create(
        *this, value, shuffle(NVVM::ShflKind::bfly, value, i32(distance)));
  return value;
}

Value KernelBuilder::prefixSumOfLanes(Value value) {
  Value lane = this->lane();
  for (int64_t distance = 1; distance < kWarpSize; distance *= 2) {
    Value below = shuffle(NVVM::ShflKind::up, value, i32(distance));
    value = add(value, select(less(lane, distance), i32(0), below));
  }
  return value;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value KernelBuilder::sharedMemory() {
  return LLVM::AddressOfOp::create(
      *this, LLVM::LLVMPointerType::get(getContext(), kSharedSpace),
      kSharedMemoryName);
}

Value KernelBuilder::at(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(*this, pointer.getType(), getI8Type(), pointer,
                             LLVM::GEPArg(bytes));
}

Value KernelBuilder::at(Value pointer, int64_t bytes) {
  if (bytes == 0)
    return pointer;
  return LLVM::GEPOp::create(*this, pointer.getType(), getI8Type(), pointer,
                             LLVM::GEPArg(static_cast<int32_t>(bytes)));
}

Value KernelBuilder::element(Value pointer, Value index, Type type) {
  if (index.getType().isInteger(32))
    index = widen(index);
  return at(pointer, mul(index, (type.getIntOrFloatBitWidth() + 7) / 8));
}

void KernelBuilder::copyAsync(Value target, Value source, int64_t bytes,
                              Value valid) {
  // Only whole chunks can pass by the first-level cache.
  auto cache = bytes == kChunkBytes ? NVVM::LoadCacheModifierKind::CG
                                    : NVVM::LoadCacheModifierKind::CA;
  NVVM::CpAsyncOp::create(*this, target, source, bytes, cache, valid);
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

SmallVector<Value> KernelBuilder::loop(Value begin, Value end, Value step,
                                       ValueRange init, Body body) {
  auto op = scf::ForOp::create(
      *this, begin, end, step, init,
      [&](OpBuilder &nested, Location loc, Value i, ValueRange carried) {
        KernelBuilder b(loc, nested);
        scf::YieldOp::create(b, body(b, i, carried));
      });
  return op.getResults();
}

void KernelBuilder::loop(
    Value begin, Value end, Value step,
    llvm::function_ref<void(KernelBuilder &, Value)> body) {
  loop(begin, end, step, ValueRange(),
       [&](KernelBuilder &b, Value i, ValueRange) -> SmallVector<Value> {
         body(b, i);
         return {};
       });
}

void KernelBuilder::when(Value condition,
                         llvm::function_ref<void(KernelBuilder &)> body) {
  scf::IfOp::create(*this, condition, [&](OpBuilder &nested, Location loc) {
    KernelBuilder b(loc, nested);
    body(b);
    scf::YieldOp::create(b);
  });
}

SmallVector<Value> KernelBuilder::ifElse(
    Value condition,
    llvm::function_ref<SmallVector<Value>(KernelBuilder &)> then,
    llvm::function_ref<SmallVector<Value>(KernelBuilder &)> otherwise) {
  auto branch = [](llvm::function_ref<SmallVector<Value>(KernelBuilder &)> f) {
    return [f](OpBuilder &nested, Location loc) {
      KernelBuilder b(loc, nested);
      scf::YieldOp::create(b, f(b));
    };
  };
  return scf::IfOp::create(*this, condition, branch(then), branch(otherwise))
      .getResults();
}
