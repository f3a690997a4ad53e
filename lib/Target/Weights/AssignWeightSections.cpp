//===- AssignWeightSections.cpp - Places weights in the weight file -------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two symbols share a section when they describe the same bytes: the same
// ranges of the same files in the same order. The description is an attribute,
// so uniquing makes comparing two descriptions a comparison of pointers.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Weights/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Target/Weights/WeightFile.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "moe-assign-weight-sections"

namespace mlir::moe {
#define GEN_PASS_DEF_ASSIGNWEIGHTSECTIONS
#include "moe/Target/Weights/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Shape and strides of a plain weight without what makes no difference to its
/// bytes: dimensions of size 1, and splits of contiguous dimensions.
static void canonicalExtent(WeightOp weight, SmallVector<int64_t> &shape,
                            SmallVector<int64_t> &strides) {
  SmallVector<int64_t> given = weight.getElementStrides();
  for (auto [size, stride] : llvm::zip_equal(weight.getExtents(), given)) {
    if (size == 1)
      continue;
    if (!shape.empty() && strides.back() == size * stride) {
      shape.back() *= size;
      strides.back() = stride;
      continue;
    }
    shape.push_back(size);
    strides.push_back(stride);
  }
}

namespace {
class Sections {
public:
  Sections(ModuleOp module) : symbols(module), b(module.getContext()) {}

  /// Gives the symbol that `ref` names a section, that of the same bytes if
  /// there is one.
  void assign(FlatSymbolRefAttr ref) {
    Operation *op = symbols.lookup(ref.getValue());
    auto [it, isNew] = sections.try_emplace(describe(ref), 0);
    if (isNew)
      it->second = layout.add(byteSize(op));
    op->setAttr("section", b.getI64IntegerAttr(it->second));
  }

  /// The symbol and those that it is made of.
  void markNeeded(FlatSymbolRefAttr ref, DenseSet<Operation *> &needed) {
    Operation *op = symbols.lookup(ref.getValue());
    if (!needed.insert(op).second)
      return;
    for (Attribute source : sources(op))
      markNeeded(cast<FlatSymbolRefAttr>(source), needed);
  }

private:
  SmallVector<Attribute> sources(Operation *op) {
    if (auto stack = dyn_cast<WeightStackOp>(op))
      return llvm::to_vector(stack.getWeights());
    if (auto packed = dyn_cast<grouped::PackedWeightOp>(op))
      return llvm::to_vector(packed.getSources());
    if (auto quantized = dyn_cast<QuantizedWeightOp>(op))
      return {quantized.getSourceAttr()};
    if (auto weight = dyn_cast<WeightOp>(op); weight && weight.getScaled())
      return {weight.getScaledAttr().getScales()};
    return {};
  }

  static int64_t byteSize(Operation *op) {
    RankedTensorType type = cast<WeightSymbolOpInterface>(op).getWeightType();
    return llvm::divideCeil(
        type.getNumElements() * storedBits(type.getElementType()), 8);
  }

  /// Equal for symbols with the same bytes.
  Attribute describe(FlatSymbolRefAttr ref) {
    auto [it, isNew] = descriptions.try_emplace(ref);
    if (!isNew)
      return it->second;
    Operation *op = symbols.lookup(ref.getValue());
    RankedTensorType type = cast<WeightSymbolOpInterface>(op).getWeightType();
    Attribute bits = b.getI64IntegerAttr(storedBits(type.getElementType()));
    Attribute description;
    if (auto weight = dyn_cast<WeightOp>(op)) {
      SmallVector<int64_t> shape, strides;
      canonicalExtent(weight, shape, strides);
      description = b.getArrayAttr(
          {bits, weight.getFileAttr(), weight.getOffsetAttr(),
           b.getI64IntegerAttr(weight.getBitOffset().value_or(0)),
           b.getI64IntegerAttr(weight.getIncrement().value_or(0)),
           b.getDenseI64ArrayAttr(shape), b.getDenseI64ArrayAttr(strides)});
      // Scaled to floats of one type or another.
      if (BlockScalesAttr scaled = weight.getScaledAttr())
        description = b.getArrayAttr({description, scaled,
                                      TypeAttr::get(type.getElementType()),
                                      describe(scaled.getScales())});
    } else if (auto quantized = dyn_cast<QuantizedWeightOp>(op)) {
      description = b.getArrayAttr(
          {quantized.getPartAttr(), quantized.getBitsAttr(),
           quantized.getBlockSizeAttr(), quantized.getScaleTypeAttr(),
           b.getBoolAttr(quantized.getAsymmetric()),
           TypeAttr::get(
               symbols.lookup<WeightSymbolOpInterface>(quantized.getSource())
                   .getWeightType()),
           describe(quantized.getSourceAttr())});
    } else {
      // A packing depends on the shape and element type of its sources, a stack
      // on nothing but its slices.
      SmallVector<Attribute> parts{isa<grouped::PackedWeightOp>(op)
                                       ? Attribute(TypeAttr::get(type))
                                       : bits};
      for (Attribute source : sources(op))
        parts.push_back(describe(cast<FlatSymbolRefAttr>(source)));
      if (isa<grouped::PackedWeightOp>(op))
        for (Attribute source : sources(op))
          parts.push_back(
              TypeAttr::get(symbols
                                .lookup<WeightSymbolOpInterface>(
                                    cast<FlatSymbolRefAttr>(source).getValue())
                                .getWeightType()));
      description = b.getArrayAttr(parts);
    }
    return descriptions[ref] = description;
  }

  SymbolTable symbols;
  Builder b;
  WeightLayout layout;
  DenseMap<Attribute, Attribute> descriptions; // by symbol reference
  DenseMap<Attribute, int64_t> sections;       // by description
};

struct AssignWeightSections
    : public moe::impl::AssignWeightSectionsBase<AssignWeightSections> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    Sections sections(module);
    DenseSet<Operation *> needed;
    SetVector<Attribute> used;
    module.walk([&](GetWeightOp get) { used.insert(get.getWeightAttr()); });
    for (Attribute symbol : used) {
      auto ref = cast<FlatSymbolRefAttr>(symbol);
      sections.markNeeded(ref, needed);
      sections.assign(ref);
    }
    for (Operation &op :
         llvm::make_early_inc_range(module.getBody()->getOperations())) {
      if (!isa<WeightSymbolOpInterface>(op) || needed.contains(&op))
        continue;
      LDBG() << "no use of " << op;
      op.erase();
    }
  }
};
} // namespace
