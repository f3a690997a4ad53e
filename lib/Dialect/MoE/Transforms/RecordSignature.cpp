//===- RecordSignature.cpp - The signature as a module attribute ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Function arguments lose names, dimensions and element types on their way to
// the llvm dialect; the descriptor of the compiled model needs them at its end.
// Hence they are copied while they are still there.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "moe-record-signature"

namespace mlir::moe {
#define GEN_PASS_DEF_RECORDSIGNATURE
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The type as the model's user sees it: ranked, and with its sign.
static Type userType(Type type, DictionaryAttr attrs) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return {};
  Type element = tensor.getElementType();
  if (attrs && attrs.contains(kUnsignedAttr) && element.isSignlessInteger())
    element =
        IntegerType::get(type.getContext(), element.getIntOrFloatBitWidth(),
                         IntegerType::Unsigned);
  return RankedTensorType::get(tensor.getShape(), element);
}

static DictionaryAttr describeValue(Builder &b, Type type, DictionaryAttr attrs,
                                    StringRef kind, unsigned index) {
  auto name = attrs ? attrs.getAs<StringAttr>(kNameAttr) : StringAttr();
  if (!name)
    name = b.getStringAttr(kind + Twine(index));
  int64_t rank = cast<RankedTensorType>(type).getRank();
  auto dims = attrs ? attrs.getAs<ArrayAttr>(kDimsAttr) : ArrayAttr();
  if (!dims || static_cast<int64_t>(dims.size()) != rank)
    dims = b.getStrArrayAttr(SmallVector<StringRef>(rank, ""));
  return b.getDictionaryAttr({b.getNamedAttr("name", name),
                              b.getNamedAttr("type", TypeAttr::get(type)),
                              b.getNamedAttr("dims", dims)});
}

/// The cache binding that `result` is the present of, if it is
/// `concat(past, new)` along a dynamic axis and `past` is an input.
static DictionaryAttr describeCache(Builder &b, Value result, unsigned output) {
  // A cast only forgets or restores static sizes.
  while (auto cast = result.getDefiningOp<tensor::CastOp>())
    result = cast.getSource();
  auto concat = result.getDefiningOp<tensor::ConcatOp>();
  if (!concat || concat.getInputs().size() != 2)
    return {};
  Value past = concat.getInputs().front();
  while (auto cast = past.getDefiningOp<tensor::CastOp>())
    past = cast.getSource();
  auto input = dyn_cast<BlockArgument>(past);
  if (!input || !isa<func::FuncOp>(input.getOwner()->getParentOp()))
    return {};
  int64_t axis = concat.getDim();
  if (!cast<RankedTensorType>(input.getType()).isDynamicDim(axis))
    return {};
  return b.getDictionaryAttr(
      {b.getNamedAttr("input", b.getI64IntegerAttr(input.getArgNumber())),
       b.getNamedAttr("output", b.getI64IntegerAttr(output)),
       b.getNamedAttr("axis", b.getI64IntegerAttr(axis))});
}

namespace {
struct RecordSignature
    : public moe::impl::RecordSignatureBase<RecordSignature> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto main = module.lookupSymbol<func::FuncOp>("main");
    if (!main || main.isDeclaration() || module->hasAttr(kSignatureAttr))
      return;
    Builder b(&getContext());
    SmallVector<Attribute> inputs, outputs, caches;
    for (unsigned i = 0, e = main.getNumArguments(); i != e; ++i) {
      DictionaryAttr attrs = main.getArgAttrDict(i);
      Type type = userType(main.getArgumentTypes()[i], attrs);
      if (!type) {
        main.emitError("expects every input to be a ranked tensor, got ")
            << main.getArgumentTypes()[i];
        return signalPassFailure();
      }
      inputs.push_back(describeValue(b, type, attrs, "input", i));
    }
    for (unsigned i = 0, e = main.getNumResults(); i != e; ++i) {
      DictionaryAttr attrs = main.getResultAttrDict(i);
      Type type = userType(main.getResultTypes()[i], attrs);
      if (!type) {
        main.emitError("expects every output to be a ranked tensor, got ")
            << main.getResultTypes()[i];
        return signalPassFailure();
      }
      outputs.push_back(describeValue(b, type, attrs, "output", i));
    }
    if (auto ret = dyn_cast<func::ReturnOp>(main.back().getTerminator()))
      for (auto [i, value] : llvm::enumerate(ret.getOperands()))
        if (DictionaryAttr cache = describeCache(b, value, i))
          caches.push_back(cache);
    LDBG() << inputs.size() << " inputs, " << outputs.size() << " outputs, "
           << caches.size() << " caches";
    module->setAttr(kSignatureAttr,
                    b.getDictionaryAttr(
                        {b.getNamedAttr("inputs", b.getArrayAttr(inputs)),
                         b.getNamedAttr("outputs", b.getArrayAttr(outputs)),
                         b.getNamedAttr("caches", b.getArrayAttr(caches))}));
  }
};
} // namespace
