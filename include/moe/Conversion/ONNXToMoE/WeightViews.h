//===- WeightViews.h - strided views of weight symbols ----------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A transposed, sliced or reshaped weight is a new symbol over the same bytes,
// never a copy: the bytes are read once, when the weight file is written. Small
// constants, whose elements are in the module, can be viewed in the same way.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_ONNXTOMOE_WEIGHTVIEWS_H
#define MOE_CONVERSION_ONNXTOMOE_WEIGHTVIEWS_H

#include "mlir/IR/BuiltinOps.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::moe {

/// Which elements of the file, or of a constant, a tensor consists of. The
/// methods return the view that the operation on the tensor would give.
struct WeightView {
  WeightOp weight;
  /// In the place of a weight.
  DenseElementsAttr constant;
  Type elementType;
  /// Of element [0, 0, ...], in bytes of the file or of the constant.
  int64_t offset;
  SmallVector<int64_t> shape;
  /// In elements.
  SmallVector<int64_t> strides;
  /// Where in the byte at `offset` an element of less than 8 bits begins.
  int64_t bitOffset = 0;

  static WeightView of(WeightOp weight);
  /// Of numbers, no booleans.
  static WeightView of(DenseElementsAttr constant);

  /// `[.., begin : begin + size * step : step, ..]` of dimension `dim`. Two
  /// halves are slices of step 1, interleaved ones slices of step 2.
  WeightView slice(int64_t dim, int64_t begin, int64_t size,
                   int64_t step = 1) const;
  WeightView transpose(ArrayRef<int64_t> permutation) const;
  /// Swaps the last two dimensions.
  WeightView transposeMatrix() const;
  WeightView insertUnitDim(int64_t dim) const;
  /// Dimension `dim` must have size 1.
  WeightView dropUnitDim(int64_t dim) const;
  /// Splits dimension `dim` of size `n` into `[n / inner, inner]`.
  WeightView splitDim(int64_t dim, int64_t inner) const;
  /// Any shape with as many elements; none when the strides do not allow it.
  std::optional<WeightView> reshape(ArrayRef<int64_t> shape) const;
  /// Bytes that lie side by side in the last dimension as integers of `bits`
  /// bits, the lowest bits first; none when they do not.
  std::optional<WeightView> unpack(int64_t bits) const;

  RankedTensorType getType() const;
  /// The bits between neighbours of stride 1: in constants at least a byte.
  int64_t fileBits() const;
};

/// The `moe.weight` symbols of a module; makes one for a view unless the module
/// has it already.
class WeightSymbols {
public:
  explicit WeightSymbols(ModuleOp module);

  /// The symbol that `value` reads; null when `value` is not the result of a
  /// `moe.get_weight` of a `moe.weight` that views can be made of.
  WeightOp lookup(Value value) const;
  /// The same of any `moe.weight`.
  WeightOp lookupAny(Value value) const;
  /// The same for a `moe.weight_stack`, and what it consists of.
  WeightStackOp lookupStack(Value value) const;
  SmallVector<WeightOp> slices(WeightStackOp stack) const;
  /// The `moe.weight` that `value` reads, or those of the stack; empty for what
  /// is made of anything else.
  SmallVector<WeightOp> parts(Value value) const;
  /// The view that is all of `value`: of a weight or a constant.
  std::optional<WeightView> view(Value value) const;
  /// The symbol for `view`: an existing one, or `@name__view` next to it.
  WeightOp getOrCreate(const WeightView &view);
  /// The same bytes as elements of another type with as many bits.
  WeightOp withElements(WeightOp weight, Type elementType);
  /// The symbol for weights of one type stacked along a new first dimension.
  WeightStackOp getOrCreateStack(ArrayRef<WeightOp> slices);
  /// `moe.get_weight` of `symbol`.
  Value read(OpBuilder &builder, Location loc, WeightSymbolOpInterface symbol);
  /// `moe.get_weight` of the symbol for `view`, or a constant.
  Value read(OpBuilder &builder, Location loc, const WeightView &view);

private:
  SymbolTable symbols;
  llvm::StringMap<WeightOp> byContent;
  llvm::DenseMap<Attribute, WeightStackOp> stacks;
  llvm::DenseMap<std::pair<Operation *, Type>, WeightOp> retyped;
};

} // namespace mlir::moe

#endif // MOE_CONVERSION_ONNXTOMOE_WEIGHTVIEWS_H
