//===- MoEOps.cpp - moe operations -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Verifiers carry the numbers of the constraints in docs/Spec.md.

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/IR/RouteRecipe.h"

using namespace mlir;
using namespace mlir::moe;

#define GET_OP_CLASSES
#include "moe/Dialect/MoE/IR/MoEOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

SmallVector<int64_t> moe::rowMajorStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * std::max<int64_t>(shape[i + 1], 1);
  return strides;
}

int64_t moe::storedBits(Type type) {
  if (!type.isIntOrFloat())
    return 0;
  unsigned bits = type.getIntOrFloatBitWidth();
  return bits == 1 ? 8 : bits;
}

/// The module that a node belongs to: the exporter's namespace is a path of
/// "name: class" steps that ends with the node itself, and names are full ones.
/// "" for what is no such namespace.
static StringRef moduleOf(StringRef space) {
  auto [path, node] = space.rsplit('/');
  StringRef last = path.contains('/') ? path.rsplit('/').second : path;
  return node.empty() || !last.contains(": ") ? "" : last.split(": ").first;
}

StringRef moe::sourceName(Location loc) {
  StringRef node, module;
  loc->walk([&](Location inner) {
    if (auto name = dyn_cast<NameLoc>(inner)) {
      if (node.empty())
        node = name.getName();
      else if (module.empty())
        module = moduleOf(name.getName());
    }
    return WalkResult::advance();
  });
  return module.empty() ? node : module;
}

/// Two dimensions agree unless both are static and differ.
static bool dimsAgree(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

/// The run-time size of dimension `dim` of `value` as a folded result.
static OpFoldResult dimOf(OpBuilder &b, Location loc, Value value,
                          int64_t dim) {
  return tensor::getMixedSize(b, loc, value, dim);
}

static OpFoldResult staticDim(OpBuilder &b, int64_t size) {
  return b.getIndexAttr(size);
}

//===----------------------------------------------------------------------===//
// WeightOp
//===----------------------------------------------------------------------===//

RankedTensorType WeightOp::getWeightType() {
  return cast<RankedTensorType>(getType());
}

SmallVector<int64_t> WeightOp::getElementStrides() {
  if (std::optional<ArrayRef<int64_t>> strides = getStrides())
    return SmallVector<int64_t>(*strides);
  return rowMajorStrides(getExtents());
}

/// Whether consecutive `sizes` multiply to each of `shape`.
static bool splits(ArrayRef<int64_t> shape, ArrayRef<int64_t> sizes) {
  for (int64_t dim : shape)
    for (int64_t product = 1; product != dim;) {
      if (sizes.empty() || sizes.front() < 1 ||
          llvm::MulOverflow(product, sizes.front(), product) || product > dim)
        return false;
      sizes = sizes.drop_front();
    }
  return llvm::all_of(sizes, [](int64_t size) { return size == 1; });
}

int64_t WeightOp::getFileBits() {
  return getScaled() ? 8 : storedBits(getWeightType().getElementType());
}

LogicalResult WeightOp::verify() {
  RankedTensorType type = getWeightType();
  if (!type.hasStaticShape()) // W1
    return emitOpError("expects a static shape, got ") << type;
  int64_t bits = getFileBits();
  if (bits == 0) // W1
    return emitOpError("expects integer or float elements, got ")
           << type.getElementType();
  if (static_cast<int64_t>(getOffset()) < 0 ||
      static_cast<int64_t>(getLength()) < 0) // W2
    return emitOpError("expects offset and length to be at least 0");
  int64_t last = 0, count = 1;
  bool empty = false;
  std::optional<ArrayRef<int64_t>> strides = getStrides();
  for (int64_t size : type.getShape())
    if (!strides && llvm::MulOverflow(count, std::max<int64_t>(size, 1),
                                      count)) // W3
      return emitOpError("expects an extent below 2^63 elements");
  if (getSizes() && !splits(type.getShape(), *getSizes())) // W3
    return emitOpError("expects sizes that split the dimensions of ")
           << type << ", got [" << *getSizes() << "]";
  if (strides && strides->size() != getExtents().size()) // W3
    return emitOpError("expects one stride per dimension, got ")
           << strides->size() << " for rank " << getExtents().size();
  if (getIncrement() && (!type.getElementType().isInteger() || bits > 8)) // W9
    return emitOpError("expects integers of at most 8 bits to increment, got ")
           << type;
  if (getScaled() && !isStrided()) // W9
    return emitOpError("expects neither sizes nor an increment with scales");
  for (auto [size, stride] :
       llvm::zip_equal(getExtents(), getElementStrides())) {
    if (stride < 0) // W3
      return emitOpError("expects strides to be at least 0, got ") << stride;
    empty |= size == 0;
    int64_t extent;
    if (llvm::MulOverflow(std::max<int64_t>(size - 1, 0), stride, extent) ||
        llvm::AddOverflow(last, extent, last)) // W3
      return emitOpError("expects an extent below 2^63 elements");
  }
  int64_t end;
  if (llvm::AddOverflow(static_cast<int64_t>(getOffset()),
                        static_cast<int64_t>(getLength()), end)) // W2
    return emitOpError("expects the end of the bytes to lie below 2^63");
  int64_t bitOffset = static_cast<int64_t>(getBitOffset().value_or(0));
  if (bitOffset < 0 || bitOffset >= 8 || bitOffset % bits != 0) // W6
    return emitOpError("expects a bit offset of whole elements and less than a "
                       "byte, got ")
           << bitOffset;
  int64_t extentBits = 0;
  if (!empty && (llvm::AddOverflow<int64_t>(last, 1, extentBits) ||
                 llvm::MulOverflow(extentBits, bits, extentBits) ||
                 llvm::AddOverflow(extentBits, bitOffset, extentBits))) // W3
    return emitOpError("expects an extent below 2^63 bits");
  int64_t required = llvm::divideCeil(extentBits, 8);
  if (static_cast<int64_t>(getLength()) != required) // W2
    return emitOpError("expects a length of ")
           << required << " bytes for " << type << ", got " << getLength();
  BlockScalesAttr scaled = getScaledAttr();
  if (!scaled)
    return success();
  Type element = type.getElementType();
  if (!element.isF32() && !element.isF16() && !element.isBF16()) // W8
    return emitOpError("expects f32, f16 or bf16 elements with scales, got ")
           << element;
  if (scaled.getColumns() < 1 || scaled.getBlockRows() < 1 ||
      scaled.getBlockColumns() < 1) // W8
    return emitOpError("expects at least 1 column, and 1 row and column of a "
                       "block of scales");
  return success();
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  BlockScalesAttr scaled = getScaledAttr();
  if (!scaled)
    return success();
  auto scales =
      symbolTable.lookupNearestSymbolFrom<WeightOp>(*this, scaled.getScales());
  RankedTensorType type = scales ? scales.getWeightType() : RankedTensorType();
  Type element = type ? type.getElementType() : Type();
  if (!type || type.getRank() != 2 || !type.hasStaticShape() ||
      scales.getStrides() || scales.getScaled() ||
      !(element.isF32() || element.isF16() || element.isBF16())) // W8
    return emitOpError("expects ")
           << scaled.getScales() << " to name a contiguous weight of rank 2 "
           << "with f32, f16 or bf16 elements";
  int64_t columns =
      llvm::divideCeilSigned(scaled.getColumns(), scaled.getBlockColumns());
  if (type.getDimSize(1) != columns) // W8
    return emitOpError("expects ") << scaled.getScales() << " to have "
                                   << columns << " columns, got " << type;
  // No place without a scale.
  int64_t first = scaled.getOffset(), bytes;
  int64_t begin = static_cast<int64_t>(getOffset());
  int64_t size = begin + static_cast<int64_t>(getLength()) - first;
  if (first < 0 || begin < first ||
      (!llvm::MulOverflow(type.getDimSize(0), scaled.getBlockRows(), bytes) &&
       !llvm::MulOverflow(bytes, scaled.getColumns(), bytes) &&
       size > bytes)) // W8
    return emitOpError("expects bytes of the matrix that ")
           << scaled.getScales() << " has scales for";
  return success();
}

//===----------------------------------------------------------------------===//
// WeightStackOp
//===----------------------------------------------------------------------===//

RankedTensorType WeightStackOp::getWeightType() {
  return cast<RankedTensorType>(getType());
}

LogicalResult WeightStackOp::verify() {
  RankedTensorType type = getWeightType();
  if (!type.hasStaticShape() || type.getRank() == 0) // W4
    return emitOpError("expects a static shape of rank 1 or more, got ")
           << type;
  if (type.getDimSize(0) != static_cast<int64_t>(getWeights().size())) // W4
    return emitOpError("expects ")
           << type.getDimSize(0) << " weights, got " << getWeights().size();
  return success();
}

LogicalResult
WeightStackOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  RankedTensorType type = getWeightType();
  auto slice = RankedTensorType::get(type.getShape().drop_front(),
                                     type.getElementType());
  for (Attribute ref : getWeights()) {
    auto symbol = symbolTable.lookupNearestSymbolFrom<WeightSymbolOpInterface>(
        *this, cast<FlatSymbolRefAttr>(ref));
    if (!symbol) // W4
      return emitOpError("expects ") << ref << " to name a weight";
    if (symbol.getWeightType() != slice) // W4
      return emitOpError("expects ")
             << ref << " to be " << slice << ", got " << symbol.getWeightType();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// QuantizedWeightOp
//===----------------------------------------------------------------------===//

RankedTensorType QuantizedWeightOp::getWeightType() {
  return cast<RankedTensorType>(getType());
}

LogicalResult QuantizedWeightOp::verify() {
  int64_t bits = getBits();
  if (bits != 2 && bits != 4 && bits != 8) // W7
    return emitOpError("expects 2, 4 or 8 bits, got ") << bits;
  if (getPart() == QuantizedPart::ZeroPoints && !getAsymmetric()) // W7
    return emitOpError("expects zero points with asymmetric only");
  RankedTensorType type = getWeightType();
  Type element = getPart() == QuantizedPart::Scales
                     ? getScaleType()
                     : IntegerType::get(getContext(), bits);
  if (type.getRank() != 3 || !type.hasStaticShape() ||
      type.getElementType() != element) // W7
    return emitOpError("expects a static shape of rank 3 with elements ")
           << element << ", got " << type;
  return success();
}

LogicalResult
QuantizedWeightOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  auto symbol = symbolTable.lookupNearestSymbolFrom<WeightSymbolOpInterface>(
      *this, getSourceAttr());
  if (!symbol) // W7
    return emitOpError("expects ") << getSourceAttr() << " to name a weight";
  RankedTensorType source = symbol.getWeightType();
  Type element = source.getElementType();
  if (source.getRank() != 3 ||
      !(element.isF32() || element.isF16() || element.isBF16())) // W7
    return emitOpError("expects ")
           << getSourceAttr() << " to have rank 3 and f32, f16 or bf16 "
           << "elements, got " << source;
  SmallVector<int64_t> shape(source.getShape());
  if (getPart() != QuantizedPart::Integers)
    shape.back() = llvm::divideCeilSigned(shape.back(), getBlockSize());
  if (getWeightType().getShape() != ArrayRef(shape)) // W7
    return emitOpError("expects the shape of ")
           << RankedTensorType::get(shape, getWeightType().getElementType())
           << " for " << getSourceAttr() << ", got " << getWeightType();
  return success();
}

//===----------------------------------------------------------------------===//
// GetWeightOp
//===----------------------------------------------------------------------===//

OpFoldResult GetWeightOp::fold(FoldAdaptor) { return getWeightAttr(); }

LogicalResult
GetWeightOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  auto symbol = symbolTable.lookupNearestSymbolFrom<WeightSymbolOpInterface>(
      *this, getWeightAttr());
  if (!symbol) // W5
    return emitOpError("expects ") << getWeightAttr() << " to name a weight";
  auto type = cast<ShapedType>(getResult().getType());
  RankedTensorType declared = symbol.getWeightType();
  if (type.getShape() != declared.getShape() ||
      type.getElementType() != declared.getElementType()) // W5
    return emitOpError("expects the type of ")
           << getWeightAttr() << ", " << declared << ", got " << type;
  return success();
}

//===----------------------------------------------------------------------===//
// RouteOp
//===----------------------------------------------------------------------===//

LogicalResult RouteOp::verify() {
  if (failed(verifyRecipe(*this)))
    return failure();
  auto logits = getLogits().getType();
  for (Value result : getResults()) {
    auto type = cast<RankedTensorType>(result.getType());
    if (!dimsAgree(type.getDimSize(0), logits.getDimSize(0)) ||
        type.getDimSize(1) != static_cast<int64_t>(getK())) // C2
      return emitOpError("expects results of shape [T, k] with k = ")
             << getK() << ", got " << type;
  }
  if (getWeights().getType().getElementType() != logits.getElementType()) // C2
    return emitOpError("expects weights of the logits' element type, got ")
           << getWeights().getType().getElementType();
  return success();
}

LogicalResult RouteOp::reifyResultShapes(OpBuilder &b,
                                         ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult tokens = dimOf(b, getLoc(), getLogits(), 0);
  shapes.assign(2, {tokens, staticDim(b, getK())});
  return success();
}

//===----------------------------------------------------------------------===//
// DispatchOp
//===----------------------------------------------------------------------===//

LogicalResult DispatchOp::verify() {
  auto tokens = getTokens().getType();
  auto experts = getExperts().getType();
  if (!dimsAgree(tokens.getDimSize(0), experts.getDimSize(0))) // C5
    return emitOpError("expects as many rows of experts as tokens, got ")
           << experts.getDimSize(0) << " and " << tokens.getDimSize(0);
  if (ShapedType::isDynamic(experts.getDimSize(1))) // C5
    return emitOpError("expects a static number of choices");
  if (getRows().getType().getElementType() != tokens.getElementType() ||
      !dimsAgree(getRows().getType().getDimSize(1),
                 tokens.getDimSize(1))) // C5
    return emitOpError("expects rows of the tokens' width and type, got ")
           << getRows().getType();
  int64_t choices = experts.getNumDynamicDims() == 0 ? experts.getNumElements()
                                                     : ShapedType::kDynamic;
  if (!dimsAgree(getRows().getType().getDimSize(0), choices)) // C5
    return emitOpError("expects a row per choice, got ")
           << getRows().getType() << " for " << experts;
  if (!getGroupSizes().getType().hasStaticShape()) // C5
    return emitOpError("expects a static number of experts");
  if (!dimsAgree(getRowMap().getType().getDimSize(0), experts.getDimSize(0)) ||
      getRowMap().getType().getDimSize(1) != experts.getDimSize(1)) // C5
    return emitOpError("expects a row map of the experts' shape, got ")
           << getRowMap().getType();
  if (getSegment() && !getCapacity()) // C17
    return emitOpError("expects no segment without a capacity");
  return success();
}

LogicalResult
DispatchOp::reifyResultShapes(OpBuilder &b,
                              ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult tokens = dimOf(b, getLoc(), getExperts(), 0);
  int64_t k = getExperts().getType().getDimSize(1);
  OpFoldResult rows;
  if (std::optional<int64_t> known = getConstantIntValue(tokens)) {
    rows = staticDim(b, *known * k);
  } else {
    Value count = arith::ConstantIndexOp::create(b, getLoc(), k);
    rows = arith::MulIOp::create(b, getLoc(), cast<Value>(tokens), count)
               .getResult();
  }
  shapes.clear();
  shapes.push_back({rows, dimOf(b, getLoc(), getTokens(), 1)});
  shapes.push_back({staticDim(b, getGroupSizes().getType().getDimSize(0))});
  shapes.push_back({tokens, staticDim(b, k)});
  return success();
}

//===----------------------------------------------------------------------===//
// GroupedMatmulOp
//===----------------------------------------------------------------------===//

void GroupedMatmulOp::build(OpBuilder &b, OperationState &state, Type result,
                            Value rows, Value groupSizes,
                            ArrayRef<ExpertMatrix> matrices,
                            ValueRange extras) {
  SmallVector<Value> weights, scales, zeroPoints, biases;
  for (const ExpertMatrix &matrix : matrices) {
    weights.push_back(matrix.weight);
    if (matrix.scales)
      scales.push_back(matrix.scales);
    if (matrix.zeroPoints)
      zeroPoints.push_back(matrix.zeroPoints);
    if (matrix.bias)
      biases.push_back(matrix.bias);
  }
  build(b, state, result, rows, groupSizes, weights, scales, zeroPoints, biases,
        extras,
        scales.empty() ? IntegerAttr()
                       : b.getI64IntegerAttr(matrices.front().blockSize),
        matrices.front().encoding);
}

SmallVector<ExpertMatrix> GroupedMatmulOp::getMatrices() {
  SmallVector<ExpertMatrix> matrices;
  auto at = [](OperandRange values, size_t i) {
    return values.empty() ? Value() : values[i];
  };
  for (auto [i, weight] : llvm::enumerate(getWeights()))
    matrices.push_back(
        {weight, at(getBiases(), i), at(getScales(), i), at(getZeroPoints(), i),
         static_cast<int64_t>(getBlockSize().value_or(0)), getEncoding()});
  return matrices;
}

void GroupedMatmulOp::setMatrices(ArrayRef<ExpertMatrix> matrices) {
  auto assign = [&](MutableOperandRange range, Value ExpertMatrix::*member) {
    SmallVector<Value> values;
    for (const ExpertMatrix &matrix : matrices)
      if (matrix.*member)
        values.push_back(matrix.*member);
    range.assign(values);
  };
  assign(getWeightsMutable(), &ExpertMatrix::weight);
  assign(getScalesMutable(), &ExpertMatrix::scales);
  assign(getZeroPointsMutable(), &ExpertMatrix::zeroPoints);
  assign(getBiasesMutable(), &ExpertMatrix::bias);
  removeBlockSizeAttr();
  if (int64_t blockSize = matrices.front().blockSize)
    setBlockSize(blockSize);
}

/// C19: what quantized weights need, and float weights must not have.
static LogicalResult verifyQuantization(GroupedMatmulOp op) {
  auto weight = cast<RankedTensorType>(op.getWeights().front().getType());
  std::optional<int64_t> blockSize = op.getBlockSize();
  if (isa<FloatType>(weight.getElementType())) {
    if (blockSize || op.getEncoding() != Encoding::Unsigned ||
        !op.getScales().empty() || !op.getZeroPoints().empty())
      return op.emitOpError("expects integer weights for scales, zero points, "
                            "a block size or an encoding, got ")
             << weight;
    return success();
  }
  int64_t depth = weight.getDimSize(2);
  if (!blockSize || *blockSize < 1)
    return op.emitOpError("expects a block size of at least 1 for integer "
                          "weights");
  bool isFloat = op.getEncoding() == Encoding::E2M1;
  if (isFloat &&
      (weight.getElementTypeBitWidth() != 4 || !op.getZeroPoints().empty()))
    return op.emitOpError(
               "expects weights of 4 bits and no zero points for the "
               "encoding e2m1, got ")
           << weight;
  int64_t perWord = 32 / weight.getElementTypeBitWidth();
  if (*blockSize < depth && *blockSize % perWord != 0)
    return op.emitOpError("expects a block size of K or of a multiple of ")
           << perWord << ", got " << *blockSize;
  SmallVector<int64_t> shape{weight.getDimSize(0), weight.getDimSize(1),
                             llvm::divideCeilSigned(depth, *blockSize)};
  auto verifyAll = [&](OperandRange values, StringRef what,
                       Type integer) -> LogicalResult {
    if (values.size() != op.getWeights().size())
      return op.emitOpError("expects one tensor of ")
             << what << " per weight, got " << values.size() << " for "
             << op.getWeights().size() << " weights";
    auto first = cast<RankedTensorType>(values.front().getType());
    for (Value value : values) {
      auto type = cast<RankedTensorType>(value.getType());
      if (type.getShape() != ArrayRef(shape) || type != first) {
        InFlightDiagnostic diag = op.emitOpError("expects ")
                                  << what << " of one type and of shape [";
        llvm::interleaveComma(shape, diag);
        return diag << "], got " << type;
      }
    }
    Type element = first.getElementType();
    if (element.isF64() || (isa<IntegerType>(element) && element != integer))
      return op.emitOpError("expects ")
             << what << " of floats of at most 32 bits or of type " << integer
             << ", got " << element;
    return success();
  };
  if (failed(verifyAll(op.getScales(), "scales",
                       IntegerType::get(op.getContext(), 8))))
    return failure();
  return op.getZeroPoints().empty()
             ? success()
             : verifyAll(op.getZeroPoints(), "zero points",
                         weight.getElementType());
}

LogicalResult GroupedMatmulOp::verify() {
  auto rows = getRows().getType();
  auto result = getResult().getType();
  if (getWeights().empty()) // C7
    return emitOpError("expects at least one weight");
  if (!getBiases().empty() && getBiases().size() != getWeights().size()) // C7
    return emitOpError("expects no bias or one per weight, got ")
           << getBiases().size() << " for " << getWeights().size()
           << " weights";
  auto first = cast<RankedTensorType>(getWeights().front().getType());
  for (Value weight : getWeights()) {
    auto type = cast<RankedTensorType>(weight.getType());
    if (!type.hasStaticShape() || type != first) // C7
      return emitOpError("expects weights of one static shape, got ")
             << type << " and " << first;
  }
  if (getGroupSizes().getType().getDimSize(0) != first.getDimSize(0)) // C7
    return emitOpError("expects as many group sizes as experts, got ")
           << getGroupSizes().getType() << " for " << first;
  if (!dimsAgree(rows.getDimSize(1), first.getDimSize(2))) // C7
    return emitOpError("expects rows of width ")
           << first.getDimSize(2) << ", got " << rows.getDimSize(1);
  if (result.getDimSize(1) != first.getDimSize(1) ||
      !dimsAgree(result.getDimSize(0), rows.getDimSize(0))) // C7
    return emitOpError("expects a result of shape [R, ")
           << first.getDimSize(1) << "], got " << result;
  for (Value bias : getBiases()) {
    auto type = cast<RankedTensorType>(bias.getType());
    if (type.getShape() != first.getShape().take_front(2)) // C7
      return emitOpError("expects biases of shape [E, N], got ") << type;
  }
  for (Value extra : getExtras()) {
    auto type = cast<RankedTensorType>(extra.getType());
    if (!dimsAgree(type.getDimSize(0), result.getDimSize(0)) ||
        type.getDimSize(1) != result.getDimSize(1)) // C8
      return emitOpError("expects extras of the result's shape, got ") << type;
  }
  if (getEpilogue().empty() &&
      (getWeights().size() != 1 || !getExtras().empty())) // C8
    return emitOpError(
        "expects an epilogue for more than one weight or for extras");
  if (failed(verifyQuantization(*this))) // C19
    return failure();
  bool wide = result.getElementType().isF64();
  if (rows.getElementType().isF64() != wide ||
      first.getElementType().isF64() != wide) // C11
    return emitOpError("expects rows, weights and result to be f64 all or "
                       "none, got ")
           << rows.getElementType() << ", " << first.getElementType() << " and "
           << result.getElementType();
  return success();
}

LogicalResult GroupedMatmulOp::verifyRegions() {
  if (getEpilogue().empty())
    return success();
  Block &body = getEpilogue().front();
  if (body.getNumArguments() != getWeights().size() + getExtras().size()) // C8
    return emitOpError("expects an epilogue of ")
           << getWeights().size() + getExtras().size() << " arguments, got "
           << body.getNumArguments();
  Type stored = getResult().getType().getElementType();
  Type compute = stored.isF64() ? stored : Float32Type::get(getContext());
  for (BlockArgument arg : body.getArguments())
    if (arg.getType() != compute) // C8
      return emitOpError("expects epilogue arguments of type ")
             << compute << ", got " << arg.getType();
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (!yield || yield.getNumOperands() != 1 ||
      yield.getOperand(0).getType() != compute) // C8
    return emitOpError("expects the epilogue to yield one ") << compute;
  for (Operation &inner : body.without_terminator())
    if (!OpTrait::hasElementwiseMappableTraits(&inner) &&
        !inner.hasTrait<OpTrait::ConstantLike>()) // C8
      return inner.emitOpError(
          "expects only elementwise operations in an epilogue");
  return success();
}

LogicalResult
GroupedMatmulOp::reifyResultShapes(OpBuilder &b,
                                   ReifiedRankedShapedTypeDims &shapes) {
  shapes.assign(1, {dimOf(b, getLoc(), getRows(), 0),
                    staticDim(b, getResult().getType().getDimSize(1))});
  return success();
}

//===----------------------------------------------------------------------===//
// CombineOp
//===----------------------------------------------------------------------===//

LogicalResult CombineOp::verify() {
  auto weights = getWeights().getType();
  auto map = getRowMap().getType();
  auto result = getResult().getType();
  if (!dimsAgree(weights.getDimSize(0), map.getDimSize(0)) ||
      !dimsAgree(weights.getDimSize(1), map.getDimSize(1)) ||
      ShapedType::isDynamic(map.getDimSize(1))) // C10
    return emitOpError("expects weights and row map of one shape [T, k], got ")
           << weights << " and " << map;
  if (!dimsAgree(result.getDimSize(0), map.getDimSize(0)) ||
      !dimsAgree(result.getDimSize(1), getRows().getType().getDimSize(1)) ||
      result.getElementType() != getRows().getType().getElementType()) // C10
    return emitOpError("expects a result [T, N] of the rows' type, got ")
           << result;
  return success();
}

LogicalResult
CombineOp::reifyResultShapes(OpBuilder &b,
                             ReifiedRankedShapedTypeDims &shapes) {
  shapes.assign(1, {dimOf(b, getLoc(), getRowMap(), 0),
                    dimOf(b, getLoc(), getRows(), 1)});
  return success();
}
