//===- CombineToGPU.cpp - weighted sum of a token's rows ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A thread owns up to 16 bytes of a token's row and adds its choices in order:
// no atomics, and the same bits whatever the grid. Bound by the bandwidth of
// reading k rows per token.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "Kernels.h"

#include <numeric>

using namespace mlir;
using namespace mlir::grouped;

static constexpr int64_t kThreads = 256;

LogicalResult grouped::lowerCombine(CombineOp op, DeviceModule &device,
                                    StringRef name) {
  auto rowsType = cast<MemRefType>(op.getRows().getType());
  auto outType = cast<MemRefType>(op.getOuts()[0].getType());
  Type rowElement = rowsType.getElementType(),
       outElement = outType.getElementType();
  Type weightElement = getElementTypeOrSelf(op.getWeights().getType());
  int64_t columns = outType.getDimSize(1);
  int64_t choices = cast<MemRefType>(op.getRowMap().getType()).getDimSize(1);
  if (ShapedType::isDynamic(columns))
    return op.emitOpError("expects rows of static width for a GPU");
  int64_t widest = std::max(rowElement.getIntOrFloatBitWidth(),
                            outElement.getIntOrFloatBitWidth()) /
                   8;
  int64_t width = std::gcd(columns, kChunkBytes / widest);
  int64_t chunks = columns / std::max<int64_t>(width, 1);

  LoopBuilder host(op.getLoc(), op.getContext());
  host.setInsertionPoint(op);
  KernelArguments arguments;
  unsigned rows = arguments.addBuffer(host, op.getRows()),
           weights = arguments.addBuffer(host, op.getWeights()),
           rowMap = arguments.addBuffer(host, op.getRowMap()),
           out = arguments.addBuffer(host, op.getOuts()[0]);
  Value tokens = host.dim(op.getRowMap(), 0);
  Value total = host.mul(tokens, chunks);
  unsigned count =
      arguments.addScalar(host.fromIndex(host.getI64Type(), total));

  auto body = [&](KernelBuilder &b, ValueRange args) {
    Value item = b.add(b.mul(b.widen(b.block(gpu::Dimension::x)), kThreads),
                       b.widen(b.thread()));
    b.when(b.less(item, args[count]), [&](KernelBuilder &b) {
      Value token = b.div(item, chunks);
      Value column = b.mul(b.rem(item, chunks), width);
      auto vector = [&](Type element) {
        return VectorType::get({width}, element);
      };
      auto sumType = vector(b.getF32Type());
      Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
      Value first = b.mul(token, choices);
      auto rowAlignment =
          static_cast<unsigned>(width * rowElement.getIntOrFloatBitWidth() / 8);
      Value sum = b.loop(
          b.i32(0), b.i32(choices), b.i32(1), zero,
          [&](KernelBuilder &b, Value j,
              ValueRange carried) -> SmallVector<Value> {
            Value slot = b.add(first, b.widen(j));
            Value row = b.load(b.getI32Type(),
                               b.element(args[rowMap], slot, b.getI32Type()));
            return b.ifElse(
                b.isNegative(row),
                [&](KernelBuilder &) -> SmallVector<Value> {
                  return {carried[0]};
                },
                [&](KernelBuilder &b) -> SmallVector<Value> {
                  Value weight = b.convertFloat(
                      b.load(weightElement,
                             b.element(args[weights], slot, weightElement)),
                      b.getF32Type());
                  Value at = b.add(b.mul(b.widen(row), columns), column);
                  Value part = b.convertFloat(
                      b.load(vector(rowElement),
                             b.element(args[rows], at, rowElement),
                             rowAlignment),
                      b.getF32Type());
                  Value spread =
                      vector::BroadcastOp::create(b, sumType, weight);
                  return {math::FmaOp::create(b, spread, part, carried[0])};
                });
          })[0];
      Value at = b.add(b.mul(token, columns), column);
      b.store(b.convertFloat(sum, outElement),
              b.element(args[out], at, outElement),
              static_cast<unsigned>(width * outElement.getIntOrFloatBitWidth() /
                                    8));
    });
  };
  gpu::GPUFuncOp kernel =
      device.addKernel(op.getLoc(), name, arguments.types(), kThreads, body);
  launch(host, kernel, host.ceilDiv(total, kThreads), host.index(1), kThreads,
         0, arguments);
  return success();
}
