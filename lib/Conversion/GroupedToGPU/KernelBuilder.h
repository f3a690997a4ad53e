//===- KernelBuilder.h - short names for device code ------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels address memory by pointer and byte offset: tiles of shared memory are
// reinterpreted and swizzled, which memrefs cannot say. Numbers are i32
// wherever they count elements of a tile, i64 where they are offsets into
// global memory.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_GROUPEDTOGPU_KERNELBUILDER_H
#define MOE_LIB_CONVERSION_GROUPEDTOGPU_KERNELBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlir::grouped {

/// Memory spaces of pointers, as PTX and LLVM number them.
inline constexpr unsigned kGlobalSpace = 1, kSharedSpace = 3;
inline constexpr int64_t kWarpSize = 32;
/// The largest transaction of one thread.
inline constexpr int64_t kChunkBytes = 16;

class KernelBuilder : public ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;

  //===--- Values ---------------------------------------------------------===//
  Value i1(bool value) { return arith::ConstantIntOp::create(*this, value, 1); }
  Value i32(int64_t value) {
    return arith::ConstantIntOp::create(*this, value, 32);
  }
  Value i64(int64_t value) {
    return arith::ConstantIntOp::create(*this, value, 64);
  }
  Value f32(float value) {
    return arith::ConstantFloatOp::create(*this, getF32Type(), APFloat(value));
  }
  Type globalPointer() {
    return LLVM::LLVMPointerType::get(getContext(), kGlobalSpace);
  }

  /// A constant of the type of `like`.
  Value like(Value like, int64_t value) {
    return arith::ConstantOp::create(*this,
                                     getIntegerAttr(like.getType(), value));
  }
  Value add(Value a, Value b) { return arith::AddIOp::create(*this, a, b); }
  Value add(Value a, int64_t b) { return b == 0 ? a : add(a, like(a, b)); }
  Value sub(Value a, Value b) { return arith::SubIOp::create(*this, a, b); }
  Value mul(Value a, Value b) { return arith::MulIOp::create(*this, a, b); }
  Value mul(Value a, int64_t b) { return b == 1 ? a : mul(a, like(a, b)); }
  Value div(Value a, int64_t b) {
    return b == 1 ? a
                  : arith::DivUIOp::create(*this, a, like(a, b)).getResult();
  }
  Value rem(Value a, int64_t b) {
    return arith::RemUIOp::create(*this, a, like(a, b));
  }
  Value shiftRight(Value a, int64_t b) {
    return arith::ShRUIOp::create(*this, a, like(a, b));
  }
  Value bitAnd(Value a, Value b) { return arith::AndIOp::create(*this, a, b); }
  Value bitAnd(Value a, int64_t b) { return bitAnd(a, like(a, b)); }
  Value bitOr(Value a, Value b) { return arith::OrIOp::create(*this, a, b); }
  Value bitXor(Value a, Value b) { return arith::XOrIOp::create(*this, a, b); }
  Value negate(Value condition) { return bitXor(condition, i1(true)); }
  Value ceilDiv(Value a, int64_t b) { return div(add(a, b - 1), b); }
  Value min(Value a, Value b) { return arith::MinUIOp::create(*this, a, b); }
  Value max(Value a, Value b) { return arith::MaxUIOp::create(*this, a, b); }
  Value select(Value c, Value a, Value b) {
    return arith::SelectOp::create(*this, c, a, b);
  }
  Value cmp(arith::CmpIPredicate p, Value a, Value b) {
    return arith::CmpIOp::create(*this, p, a, b);
  }
  Value eq(Value a, Value b) { return cmp(arith::CmpIPredicate::eq, a, b); }
  Value ne(Value a, Value b) { return cmp(arith::CmpIPredicate::ne, a, b); }
  Value less(Value a, Value b) { return cmp(arith::CmpIPredicate::ult, a, b); }
  Value less(Value a, int64_t b) { return less(a, like(a, b)); }
  Value signedLess(Value a, Value b) {
    return cmp(arith::CmpIPredicate::slt, a, b);
  }
  Value isNegative(Value a) { return signedLess(a, like(a, 0)); }
  Value widen(Value a) {
    return arith::ExtUIOp::create(*this, getI64Type(), a);
  }
  Value narrow(Value a) {
    return arith::TruncIOp::create(*this, getI32Type(), a);
  }
  Value bitcast(Type type, Value a) {
    return LLVM::BitcastOp::create(*this, type, a);
  }
  Value addF(Value a, Value b) { return arith::AddFOp::create(*this, a, b); }

  /// Between floating point types; f16 and bf16 go through f32.
  Value convertFloat(Value value, Type type);

  //===--- Threads --------------------------------------------------------===//
  Value thread();
  Value block(gpu::Dimension dimension);
  Value gridSize(gpu::Dimension dimension);
  Value lane() { return bitAnd(thread(), kWarpSize - 1); }
  Value warp() { return div(thread(), kWarpSize); }

  void barrier() { gpu::BarrierOp::create(*this); }
  /// Orders the memory accesses of a warp's lanes.
  void syncWarp() { NVVM::SyncWarpOp::create(*this, fullMask()); }
  Value fullMask() { return i32(-1); }

  Value shuffle(NVVM::ShflKind kind, Value value, Value offset);
  /// The value that `lane` has.
  Value broadcast(Value value, Value lane) {
    return shuffle(NVVM::ShflKind::idx, value, lane);
  }
  Value reduce(NVVM::ReduxKind kind, Value value) {
    return NVVM::ReduxOp::create(*this, value.getType(), value, kind,
                                 fullMask());
  }
  /// All lanes get the sum or the maximum; in a fixed order.
  Value sumOfLanes(Value value);
  Value maxOfLanes(Value value);
  /// The sum of an i32 over this and all lower lanes.
  Value prefixSumOfLanes(Value value);
  Value ballot(Value condition) {
    return NVVM::VoteSyncOp::create(*this, getI32Type(), fullMask(), condition,
                                    NVVM::VoteSyncKind::ballot);
  }
  /// The lanes that have the same value.
  Value matchingLanes(Value value) {
    return NVVM::MatchSyncOp::create(*this, getI32Type(), fullMask(), value,
                                     NVVM::MatchSyncKind::any);
  }
  Value countBits(Value value) {
    return LLVM::CtPopOp::create(*this, value.getType(), value);
  }
  /// The number of the lowest bit set; 32 if there is none.
  Value lowestBit(Value value) {
    return LLVM::CountTrailingZerosOp::create(*this, value.getType(), value,
                                              false);
  }

  //===--- Memory ---------------------------------------------------------===//
  /// The block's dynamic shared memory.
  Value sharedMemory();
  Value at(Value pointer, Value bytes);
  Value at(Value pointer, int64_t bytes);
  /// Element `index` of type `type`; an i32 index is unsigned.
  Value element(Value pointer, Value index, Type type);
  Value load(Type type, Value pointer, unsigned alignment = 0) {
    return LLVM::LoadOp::create(*this, type, pointer, alignment);
  }
  void store(Value value, Value pointer, unsigned alignment = 0) {
    LLVM::StoreOp::create(*this, value, pointer, alignment);
  }

  /// Copies `bytes` (4, 8 or 16) to shared memory, of which `valid` come from
  /// `source` and the rest are zero.
  void copyAsync(Value target, Value source, int64_t bytes, Value valid);
  void commitCopies() { NVVM::CpAsyncCommitGroupOp::create(*this); }
  void waitForCopies(int64_t pending) {
    NVVM::CpAsyncWaitGroupOp::create(*this, pending);
  }

  //===--- Control flow ---------------------------------------------------===//
  using Body = llvm::function_ref<SmallVector<Value>(KernelBuilder &, Value,
                                                     ValueRange)>;
  SmallVector<Value> loop(Value begin, Value end, Value step, ValueRange init,
                          Body body);
  void loop(Value begin, Value end, Value step,
            llvm::function_ref<void(KernelBuilder &, Value)> body);
  void when(Value condition, llvm::function_ref<void(KernelBuilder &)> body);
  SmallVector<Value>
  ifElse(Value condition,
         llvm::function_ref<SmallVector<Value>(KernelBuilder &)> then,
         llvm::function_ref<SmallVector<Value>(KernelBuilder &)> otherwise);
};

} // namespace mlir::grouped

#endif // MOE_LIB_CONVERSION_GROUPEDTOGPU_KERNELBUILDER_H
