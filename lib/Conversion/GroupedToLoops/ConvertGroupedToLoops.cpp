//===- ConvertGroupedToLoops.cpp - grouped kernels to loops ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/GroupedToLoops/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"

#include "Kernels.h"

#define DEBUG_TYPE "convert-grouped-to-loops"

namespace mlir::grouped {
#define GEN_PASS_DEF_CONVERTGROUPEDTOLOOPSPASS
#include "moe/Conversion/GroupedToLoops/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;
using namespace mlir::grouped;

Type grouped::computeType(Type elementType) {
  return elementType.isF64() ? elementType
                             : Float32Type::get(elementType.getContext());
}

static Type withElement(Type type, Type element) {
  if (auto vector = dyn_cast<VectorType>(type))
    return vector.clone(element);
  return element;
}

Value grouped::convertTo(LoopBuilder &b, Value value, Type element) {
  Type from = getElementTypeOrSelf(value);
  if (from == element)
    return value;
  Type to = withElement(value.getType(), element);
  unsigned width = element.getIntOrFloatBitWidth();
  if (from.getIntOrFloatBitWidth() < width)
    return arith::ExtFOp::create(b, to, value);
  assert(from.getIntOrFloatBitWidth() > width && "f16 and bf16 go through f32");
  return arith::TruncFOp::create(b, to, value);
}

namespace {
struct ConvertGroupedToLoops
    : grouped::impl::ConvertGroupedToLoopsPassBase<ConvertGroupedToLoops> {
  void runOnOperation() override {
    SmallVector<Operation *> kernels;
    getOperation().walk([&](Operation *op) {
      if (isa<GateOp, PlanOp, MatmulOp, CombineOp>(op))
        kernels.push_back(op);
    });
    for (Operation *op : kernels)
      if (failed(lower(op)))
        return signalPassFailure();
  }

  static LogicalResult lower(Operation *op) {
    for (Value operand : op->getOperands())
      if (isa<TensorType>(operand.getType()))
        return op->emitOpError("expects memref operands (bufferize first)");
    Value context = moe::getSessionContext(op);
    if (!context)
      return failure();
    LogicalResult lowered =
        TypeSwitch<Operation *, LogicalResult>(op)
            .Case([&](GateOp gate) { return lowerGate(gate, context); })
            .Case([&](PlanOp plan) { return lowerPlan(plan, context); })
            .Case([&](MatmulOp matmul) { return lowerMatmul(matmul, context); })
            .Case([&](CombineOp sum) { return lowerCombine(sum, context); });
    if (succeeded(lowered))
      op->erase();
    return lowered;
  }
};
} // namespace
