//===- LoopBuilder.h - short names for loops and threads --------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_GROUPEDTOLOOPS_LOOPBUILDER_H
#define MOE_LIB_CONVERSION_GROUPEDTOLOOPS_LOOPBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlir::grouped {

/// Index arithmetic and loops in the notation of the algorithms.
class LoopBuilder : public ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;
  using Body = llvm::function_ref<void(LoopBuilder &, Value)>;

  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(*this, value);
  }
  Value add(Value a, Value b) { return arith::AddIOp::create(*this, a, b); }
  Value add(Value a, int64_t b) { return b == 0 ? a : add(a, index(b)); }
  Value sub(Value a, Value b) { return arith::SubIOp::create(*this, a, b); }
  Value mul(Value a, Value b) { return arith::MulIOp::create(*this, a, b); }
  Value mul(Value a, int64_t b) { return b == 1 ? a : mul(a, index(b)); }
  Value div(Value a, Value b) { return arith::DivUIOp::create(*this, a, b); }
  Value div(Value a, int64_t b) { return b == 1 ? a : div(a, index(b)); }
  Value rem(Value a, Value b) { return arith::RemUIOp::create(*this, a, b); }
  Value ceilDiv(Value a, Value b) {
    return arith::CeilDivUIOp::create(*this, a, b);
  }
  Value ceilDiv(Value a, int64_t b) {
    return b == 1 ? a : ceilDiv(a, index(b));
  }
  Value min(Value a, Value b) { return arith::MinUIOp::create(*this, a, b); }
  Value max(Value a, Value b) { return arith::MaxUIOp::create(*this, a, b); }
  Value select(Value c, Value a, Value b) {
    return arith::SelectOp::create(*this, c, a, b);
  }
  Value cmp(arith::CmpIPredicate p, Value a, Value b) {
    return arith::CmpIOp::create(*this, p, a, b);
  }
  Value constant(TypedAttr value) {
    return arith::ConstantOp::create(*this, value);
  }
  Value toIndex(Value integer) {
    return arith::IndexCastOp::create(*this, getIndexType(), integer);
  }
  Value fromIndex(Type type, Value value) {
    return arith::IndexCastOp::create(*this, type, value);
  }
  Value load(Value memref, ValueRange at) {
    return memref::LoadOp::create(*this, memref, at);
  }
  void store(Value value, Value memref, ValueRange at) {
    memref::StoreOp::create(*this, value, memref, at);
  }
  Value dim(Value memref, int64_t i) {
    return memref::DimOp::create(*this, memref, i);
  }

  /// for (i = begin; i < end; i += step) body(i)
  void loop(Value begin, Value end, int64_t step, Body body);
  void loop(Value end, Body body) { loop(index(0), end, 1, body); }

  /// A loop that carries values: `body` returns the next ones.
  SmallVector<Value>
  loop(Value begin, Value end, int64_t step, ValueRange init,
       llvm::function_ref<SmallVector<Value>(LoopBuilder &, Value, ValueRange)>
           body);

  void when(Value condition, llvm::function_ref<void(LoopBuilder &)> body);
  void ifElse(Value condition, llvm::function_ref<void(LoopBuilder &)> then,
              llvm::function_ref<void(LoopBuilder &)> otherwise);

  /// Runs `body(i, thread)` for i in [0, end) on the session's threads when
  /// `worthwhile`, on the calling thread otherwise. Iterations are handed out
  /// one by one: whichever thread is free takes the next.
  void parallelLoop(
      Value context, Value end, Value worthwhile,
      llvm::function_ref<void(LoopBuilder &, Value i, Value thread)> body);
};

} // namespace mlir::grouped

#endif // MOE_LIB_CONVERSION_GROUPEDTOLOOPS_LOOPBUILDER_H
