//===- ConvertONNXToMoE.cpp - give every ONNX node its meaning ------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One pass over each function in program order. It is not a dialect conversion:
// a converter needs what is known about its operands' sizes, and that is known
// exactly when all nodes before it have been converted.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/ONNXToMoE/Passes.h"

#include "Registry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "convert-onnx-to-moe"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTONNXTOMOE
#include "moe/Conversion/ONNXToMoE/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

/// Reports every node without a converter, so that nobody has to fix a model
/// one message at a time.
static LogicalResult checkOperators(ModuleOp module) {
  bool complete = true;
  module.walk([&](onnx::NodeOp node) {
    std::string why;
    if (Registry::get().lookup(node, why))
      return;
    complete = false;
    node.emitError() << node.describe() << ": " << why;
  });
  return success(complete);
}

//===----------------------------------------------------------------------===//
// Values that do not come from nodes
//===----------------------------------------------------------------------===//

/// The symbolic names of an argument's dimensions.
static SmallVector<StringRef> dimNames(func::FuncOp func, unsigned argument,
                                       int64_t rank) {
  SmallVector<StringRef> names(rank);
  if (auto dims = func.getArgAttrOfType<ArrayAttr>(argument, kDimsAttr))
    for (auto [i, name] : llvm::enumerate(dims.getAsRange<StringAttr>()))
      if (static_cast<int64_t>(i) < rank)
        names[i] = name.getValue();
  return names;
}

static LogicalResult mapArguments(func::FuncOp func, Lowering &l) {
  for (BlockArgument argument : func.getArguments()) {
    auto error = [&] {
      auto name =
          func.getArgAttrOfType<StringAttr>(argument.getArgNumber(), kNameAttr);
      InFlightDiagnostic diagnostic = func.emitError() << "input ";
      if (name)
        return std::move(diagnostic << "'" << name.getValue() << "': ");
      return std::move(diagnostic << argument.getArgNumber() << ": ");
    };
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      return error() << "expects a tensor of known rank, got "
                     << argument.getType();
    Type element = type.getElementType();
    if (!isa<IntegerType, FloatType>(element))
      return error() << "expects integer or float elements, got " << element;
    // Tensors are signless from here on; the attribute is for the signature.
    if (element.isUnsignedInteger())
      func.setArgAttr(argument.getArgNumber(), "moe.unsigned",
                      l.b.getUnitAttr());
    argument.setType(type.clone(Lowering::storageType(element)));
    Dims dims;
    for (auto [i, name] : llvm::enumerate(
             dimNames(func, argument.getArgNumber(), type.getRank())))
      dims.push_back(l.sizes.inputDim(name, argument, i));
    l.map(argument, l.tensor(argument, element, dims));
  }
  return success();
}

/// What is known about the sizes of a result of an operation that was in the
/// graph already.
static Dims foreignDims(OpResult result, Lowering &l) {
  auto type = cast<RankedTensorType>(result.getType());
  Dims dims;
  for (int64_t i = 0; i < type.getRank(); ++i)
    dims.push_back(l.sizes.dimOf(result, i));
  auto rowsOf = [&](Value operand) {
    if (type.isDynamicDim(0))
      if (Tensor t = l.lookup(operand))
        dims[0] = t->dims[0];
  };
  Operation *op = result.getOwner();
  if (auto route = dyn_cast<RouteOp>(op))
    rowsOf(route.getLogits());
  else if (auto dispatch = dyn_cast<DispatchOp>(op);
           dispatch && result == dispatch.getRowMap())
    rowsOf(dispatch.getExperts());
  else if (auto matmul = dyn_cast<GroupedMatmulOp>(op))
    rowsOf(matmul.getRows());
  else if (auto combine = dyn_cast<CombineOp>(op))
    rowsOf(combine.getWeights());
  else if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    if (Tensor t = l.lookup(collapse.getSrc()))
      for (auto [dim, group] :
           llvm::zip_equal(dims, collapse.getReassociationIndices())) {
        dim = 1;
        for (int64_t i : group)
          dim = dim * t->dims[i];
      }
  } else if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    for (auto [dim, size] : llvm::zip_equal(dims, expand.getMixedOutputShape()))
      if (auto value = dyn_cast<Value>(size))
        if (auto known = l.indices.find(value); known != l.indices.end())
          dim = known->second;
  } else if (auto generic = dyn_cast<linalg::GenericOp>(op);
             generic && op->getNumOperands() > 0) {
    // An elementwise operation: the sizes of the operand of the same rank.
    if (!generic.getMatchingIndexingMap(generic.getDpsInitOperand(0))
             .isIdentity() ||
        !generic.getIndexingMapsArray().front().isIdentity())
      return dims;
    if (Tensor t = l.lookup(op->getOperand(0));
        t && t->rank() == type.getRank())
      for (int64_t i = 0; i < type.getRank(); ++i)
        if (type.isDynamicDim(i))
          dims[i] = t->dims[i];
  }
  return dims;
}

/// What `operand` is required to have in dimension `dim`.
static std::string describeSize(OpOperand &operand, int64_t dim) {
  unsigned number = operand.getOperandNumber();
  if (isa<RouteOp>(operand.getOwner()) && number == 0 && dim == 1)
    return "expects router logits of {limit} experts, got {found}";
  if (isa<DispatchOp>(operand.getOwner()) && number == 0 && dim == 1)
    return "expects tokens of {limit} elements, got {found}";
  return ("expects a size of {limit} in dimension " + Twine(dim) +
          " of operand " + Twine(number) + ", got {found}")
      .str();
}

/// `t` as `operand` requires it: what its type says beyond what is known is a
/// declaration, which the run may break, so it is checked there.
static FailureOr<Value> operandValue(OpOperand &operand, Tensor t,
                                     Lowering &l) {
  Value value = l.value(t);
  Type expected = operand.get().getType();
  if (value.getType() == expected)
    return value;
  Operation *op = operand.getOwner();
  if (!tensor::CastOp::areCastCompatible(value.getType(), expected))
    return op->emitError() << "expects an operand of type " << expected
                           << ", got " << value.getType();
  if (auto type = dyn_cast<RankedTensorType>(expected))
    for (int64_t i = 0; i < type.getRank(); ++i)
      if (!type.isDynamicDim(i))
        l.checkEqual(t->dims[i], type.getDimSize(i), describeSize(operand, i));
  return Value(tensor::CastOp::create(l.b, expected, value));
}

/// Converts the operands of `op`, whose results take the places of `results`.
static LogicalResult keepOperation(Operation *op, ValueRange results,
                                   Lowering &l) {
  l.kept = op;
  llvm::scope_exit done([&] { l.kept = nullptr; });
  SmallVector<Dims> allDims;
  // The sizes are read off the ONNX operands, before these are replaced.
  for (OpResult result : op->getResults())
    allDims.push_back(isa<RankedTensorType>(result.getType())
                          ? foreignDims(result, l)
                          : Dims());
  if (auto dim = dyn_cast<tensor::DimOp>(op))
    if (Tensor t = l.lookup(dim.getSource()))
      if (std::optional<int64_t> i = dim.getConstantIndex())
        l.indices[dim] = t->dims[*i];
  WalkResult walk = op->walk([&](Operation *nested) {
    for (OpOperand &operand : nested->getOpOperands()) {
      Tensor t = l.lookup(operand.get());
      if (!t)
        continue;
      FailureOr<Value> value = operandValue(operand, t, l);
      if (failed(value))
        return WalkResult::interrupt();
      operand.set(*value);
    }
    return WalkResult::advance();
  });
  if (walk.wasInterrupted())
    return failure();
  for (auto [place, result, dims] :
       llvm::zip_equal(results, op->getResults(), allDims)) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type)
      continue;
    if (op->hasTrait<OpTrait::ConstantLike>() || dims.empty()) {
      l.map(place, l.foreign(result));
      continue;
    }
    // The type may say less than the operands' sizes do.
    l.b.setInsertionPointAfter(op);
    l.map(place, l.tensor(l.cast(result, dims), type.getElementType(), dims));
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

static LogicalResult convertNode(onnx::NodeOp node, Lowering &l) {
  l.node = node;
  LDBG() << node.describe();
  std::string why;
  const Converter *converter = Registry::get().lookup(node, why);
  for (auto [i, input] : llvm::enumerate(node.getInputs())) {
    bool isSequence = l.sequences.count(input);
    if (node.input(i) && !l.lookup(input) &&
        !(isSequence && converter->takesSequences))
      return l.error() << "expects input " << i
                       << " to be a tensor of integers or floats, got "
                       << input.getType();
  }
  if (failed(converter->convert(l)))
    return failure();
  for (auto [i, output] : llvm::enumerate(node.getOutputs()))
    if (node.output(i) && !l.lookup(output) && !l.sequences.count(output) &&
        !output.use_empty())
      return l.error() << "output " << i << " is not supported";
  return success();
}

/// Takes the names of input dimensions from those of a result's dimensions that
/// can be of another size: equal names promise equal sizes.
static void dropWrongNames(func::FuncOp func, unsigned result, Tensor t,
                           Lowering &l) {
  auto dims = func.getResultAttrOfType<ArrayAttr>(result, kDimsAttr);
  if (!dims || static_cast<int64_t>(dims.size()) != t->rank())
    return;
  SmallVector<Attribute> names(dims.getValue());
  for (auto [name, dim] : llvm::zip_equal(names, t->dims))
    if (l.sizes.differsFromInputDim(dim, cast<StringAttr>(name).getValue()))
      name = l.b.getStringAttr("");
  func.setResultAttr(result, kDimsAttr, l.b.getArrayAttr(names));
}

/// Refines the results' types to those of the returned values.
static LogicalResult convertReturn(func::ReturnOp op, func::FuncOp func,
                                   Lowering &l) {
  SmallVector<Type> types;
  for (OpOperand &operand : op->getOpOperands()) {
    Tensor t = l.lookup(operand.get());
    if (!t)
      return op.emitError()
             << "output " << operand.getOperandNumber() << ": expects a tensor";
    operand.set(l.value(t));
    dropWrongNames(func, operand.getOperandNumber(), t, l);
    if (t->isUnsigned())
      func.setResultAttr(operand.getOperandNumber(), "moe.unsigned",
                         l.b.getUnitAttr());
    types.push_back(operand.get().getType());
  }
  func.setType(FunctionType::get(func.getContext(),
                                 func.getBody().getArgumentTypes(), types));
  return success();
}

/// What `op` casts. A cast adds nothing to what is known: what reads its result
/// requires of the operand itself what its type says.
static Tensor castOperand(Operation *op, Lowering &l) {
  auto cast = dyn_cast<tensor::CastOp>(op);
  return cast && isa<RankedTensorType>(cast.getType())
             ? l.lookup(cast.getSource())
             : nullptr;
}

/// Converts `op` if it is of the onnx dialect.
static LogicalResult convertONNX(Operation *op, Lowering &l) {
  if (auto node = dyn_cast<onnx::NodeOp>(op))
    return convertNode(node, l);
  // An error only where something uses elements of another kind.
  if (auto constant = dyn_cast<onnx::ConstantOp>(op))
    if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
        dense && isa<IntegerType, FloatType>(dense.getElementType()))
      l.map(constant, l.tensor(dense));
  return success();
}

LogicalResult raise::convertGraph(Region &graph, Lowering &l) {
  IRMapping indices;
  for (Operation &op : graph.front().without_terminator()) {
    l.b.setLoc(op.getLoc());
    if (isa<onnx::ONNXDialect>(op.getDialect())) {
      if (failed(convertONNX(&op, l)))
        return failure();
      continue;
    }
    if (Tensor source = castOperand(&op, l)) {
      l.map(op.getResult(0), source);
      continue;
    }
    // Only tensors are mapped by the lowering.
    Operation *copy = l.b.clone(op, indices);
    for (auto [from, to] : llvm::zip_equal(op.getResults(), copy->getResults()))
      if (isa<RankedTensorType>(from.getType()))
        indices.erase(from);
    OpBuilder::InsertionGuard guard(l.b);
    l.b.setInsertionPoint(copy);
    if (failed(keepOperation(copy, op.getResults(), l)))
      return failure();
  }
  return success();
}

static LogicalResult convertFunction(func::FuncOp func,
                                     WeightSymbols &weights) {
  if (func.isExternal())
    return success();
  if (!func.getBody().hasOneBlock())
    return func.emitError() << "expects a body of one block";
  Lowering l(func.getContext(), weights);
  if (failed(mapArguments(func, l)))
    return failure();
  Block &body = func.getBody().front();
  SmallVector<Operation *> erase;
  SmallVector<Operation *> original(
      llvm::make_pointer_range(body.getOperations()));
  for (Operation *op : original) {
    l.b.setInsertionPoint(op);
    l.b.setLoc(op->getLoc());
    if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      if (failed(convertReturn(ret, func, l)))
        return failure();
    } else if (isa<onnx::ONNXDialect>(op->getDialect())) {
      if (failed(convertONNX(op, l)))
        return failure();
      erase.push_back(op);
    } else if (Tensor source = castOperand(op, l)) {
      l.map(op->getResult(0), source);
      erase.push_back(op);
    } else if (failed(keepOperation(op, op->getResults(), l))) {
      return failure();
    }
  }
  l.eraseDiscarded();
  for (Operation *op : llvm::reverse(erase))
    op->erase();
  return success();
}

namespace {
struct ConvertONNXToMoE
    : public mlir::moe::impl::ConvertONNXToMoEBase<ConvertONNXToMoE> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (failed(checkOperators(module)))
      return signalPassFailure();
    WeightSymbols weights(module);
    for (auto func : module.getOps<func::FuncOp>())
      if (failed(convertFunction(func, weights)))
        return signalPassFailure();
  }
};
} // namespace
