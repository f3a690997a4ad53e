//===- LoopBuilder.cpp - short names for loops and threads ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoopBuilder.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Runtime/Context.h"

using namespace mlir;
using namespace mlir::grouped;

void LoopBuilder::loop(Value begin, Value end, int64_t step, Body body) {
  scf::ForOp::create(*this, begin, end, index(step), ValueRange(),
                     [&](OpBuilder &nested, Location loc, Value i, ValueRange) {
                       LoopBuilder b(loc, nested);
                       body(b, i);
                       scf::YieldOp::create(b);
                     });
}

SmallVector<Value> LoopBuilder::loop(
    Value begin, Value end, int64_t step, ValueRange init,
    llvm::function_ref<SmallVector<Value>(LoopBuilder &, Value, ValueRange)>
        body) {
  auto made = scf::ForOp::create(
      *this, begin, end, index(step), init,
      [&](OpBuilder &nested, Location loc, Value i, ValueRange carried) {
        LoopBuilder b(loc, nested);
        scf::YieldOp::create(b, body(b, i, carried));
      });
  return SmallVector<Value>(made.getResults());
}

void LoopBuilder::when(Value condition,
                       llvm::function_ref<void(LoopBuilder &)> body) {
  scf::IfOp::create(*this, condition, [&](OpBuilder &nested, Location loc) {
    LoopBuilder b(loc, nested);
    body(b);
    scf::YieldOp::create(b);
  });
}

void LoopBuilder::ifElse(Value condition,
                         llvm::function_ref<void(LoopBuilder &)> then,
                         llvm::function_ref<void(LoopBuilder &)> otherwise) {
  auto branch = [](llvm::function_ref<void(LoopBuilder &)> body) {
    return [body](OpBuilder &nested, Location loc) {
      LoopBuilder b(loc, nested);
      body(b);
      scf::YieldOp::create(b);
    };
  };
  scf::IfOp::create(*this, condition, branch(then), branch(otherwise));
}

void LoopBuilder::parallelLoop(
    Value context, Value end, Value worthwhile,
    llvm::function_ref<void(LoopBuilder &, Value, Value)> body) {
  Value threads = moe::loadContextField(
      *this, context, MOE_CONTEXT_NUM_THREADS_OFFSET, getI32Type());
  // Not an omp.wsloop: its dynamic schedule asks the OpenMP runtime for every
  // iteration, which costs microseconds in a libomp with tracing built in, as
  // distributions ship it. A shared counter is one atomic addition.
  auto counterType = MemRefType::get({}, getI64Type());
  Value counter;
  {
    // In a loop the stack would grow with every iteration.
    OpBuilder::InsertionGuard guard(*this);
    auto function =
        getInsertionBlock()->getParentOp()->getParentOfType<func::FuncOp>();
    if (!function)
      function = cast<func::FuncOp>(getInsertionBlock()->getParentOp());
    setInsertionPointToStart(&function.getBody().front());
    counter = memref::AllocaOp::create(*this, counterType);
  }
  Value zero = arith::ConstantIntOp::create(*this, 0, 64);
  Value one = arith::ConstantIntOp::create(*this, 1, 64);
  store(zero, counter, {});

  OpBuilder::InsertionGuard guard(*this);
  omp::ParallelOperands clauses;
  clauses.numThreads = threads;
  clauses.ifExpr = worthwhile;
  auto parallel = omp::ParallelOp::create(*this, clauses);
  createBlock(&parallel.getRegion());
  Value thread = toIndex(moe::callRuntime(*this, "omp_get_thread_num",
                                          TypeRange{getI32Type()}, {}));
  scf::WhileOp::create(
      *this, TypeRange{getIndexType()}, ValueRange(),
      [&](OpBuilder &nested, Location loc, ValueRange) {
        LoopBuilder b(loc, nested);
        Value next = b.toIndex(memref::AtomicRMWOp::create(
            b, arith::AtomicRMWKind::addi, one, counter, ValueRange()));
        scf::ConditionOp::create(b, b.cmp(arith::CmpIPredicate::ult, next, end),
                                 next);
      },
      [&](OpBuilder &nested, Location loc, ValueRange next) {
        LoopBuilder b(loc, nested);
        body(b, next.front(), thread);
        scf::YieldOp::create(b);
      });
  omp::TerminatorOp::create(*this);
}
