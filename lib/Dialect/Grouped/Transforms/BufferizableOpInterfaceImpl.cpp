//===- BufferizableOpInterfaceImpl.cpp - grouped kernels on memrefs -------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/DialectRegistry.h"

#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Dialect/Grouped/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::bufferization;

namespace {

/// Tensor operands become memrefs with an identity layout (the kernels address
/// whole rows); results are the buffers of the outs.
template <typename KernelOp>
struct KernelModel
    : DstBufferizableOpInterfaceExternalModel<KernelModel<KernelOp>, KernelOp> {
  /// A kernel overwrites its outs without reading them.
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand,
                              const AnalysisState &) const {
    return !cast<DestinationStyleOpInterface>(op).isDpsInit(&operand);
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(op);
    auto kernel = cast<DestinationStyleOpInterface>(op);
    SmallVector<Value> operands, results;
    for (OpOperand &operand : op->getOpOperands()) {
      if (!isa<TensorType>(operand.get().getType())) {
        operands.push_back(operand.get());
        continue;
      }
      FailureOr<Value> buffer =
          getBuffer(rewriter, operand.get(), options, state);
      if (failed(buffer))
        return failure();
      bool isOut = kernel.isDpsInit(&operand);
      FailureOr<Value> whole =
          contiguous(rewriter, op->getLoc(), *buffer, !isOut, options);
      if (failed(whole))
        return failure();
      operands.push_back(*whole);
      if (isOut)
        results.push_back(*whole);
    }
    OperationState created(op->getLoc(), op->getName(), operands,
                           /*types=*/TypeRange(), op->getAttrs());
    for (Region &region : op->getRegions())
      created.addRegion()->takeBody(region);
    rewriter.create(created);
    replaceOpWithBufferizedValues(rewriter, op, results);
    return success();
  }

private:
  /// The kernels take contiguous row-major memrefs. A view with another layout
  /// (a slice that bufferized in place) gets a stand-in: with the same values
  /// for an input, without values for an out, whose consumer copies them back
  /// into the slice.
  static FailureOr<Value> contiguous(RewriterBase &rewriter, Location loc,
                                     Value buffer, bool isInput,
                                     const BufferizationOptions &options) {
    auto type = cast<MemRefType>(buffer.getType());
    if (type.getLayout().isIdentity())
      return buffer;
    auto target = MemRefType::get(type.getShape(), type.getElementType());
    SmallVector<Value> sizes;
    for (int64_t i = 0; i < type.getRank(); ++i)
      if (type.isDynamicDim(i))
        sizes.push_back(
            memref::DimOp::create(rewriter, loc, buffer, i).getResult());
    FailureOr<Value> copy = options.createAlloc(rewriter, loc, target, sizes);
    if (failed(copy) ||
        (isInput && failed(options.createMemCpy(rewriter, loc, buffer, *copy))))
      return failure();
    return *copy;
  }
};

/// A weight is read-only memory.
struct GetWeightModel
    : BufferizableOpInterface::ExternalModel<GetWeightModel, moe::GetWeightOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const AnalysisState &) const {
    return false;
  }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const AnalysisState &) const {
    return false;
  }
  AliasingValueList getAliasingValues(Operation *, OpOperand &,
                                      const AnalysisState &) const {
    return {};
  }
  bool isWritable(Operation *, Value, const AnalysisState &) const {
    return false;
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &,
                          BufferizationState &) const {
    auto get = cast<moe::GetWeightOp>(op);
    auto type = cast<RankedTensorType>(get.getResult().getType());
    replaceOpWithNewBufferizedOp<moe::GetWeightOp>(
        rewriter, op, MemRefType::get(type.getShape(), type.getElementType()),
        get.getWeightAttr());
    return success();
  }
};

} // namespace

void grouped::registerBufferizableOpInterfaceModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *ctx, grouped::GroupedDialect *) {
    GateOp::attachInterface<KernelModel<GateOp>>(*ctx);
    PlanOp::attachInterface<KernelModel<PlanOp>>(*ctx);
    MatmulOp::attachInterface<KernelModel<MatmulOp>>(*ctx);
    CombineOp::attachInterface<KernelModel<CombineOp>>(*ctx);
  });
  registry.addExtension(+[](MLIRContext *ctx, moe::MoEDialect *) {
    moe::GetWeightOp::attachInterface<GetWeightModel>(*ctx);
  });
}
