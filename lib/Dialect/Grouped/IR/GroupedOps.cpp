//===- GroupedOps.cpp - grouped dialect and operations -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Verifiers carry the numbers of the constraints in docs/Spec.md.

#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Dialect/MoE/IR/RouteRecipe.h"

using namespace mlir;
using namespace mlir::grouped;

static ParseResult parseEpilogue(OpAsmParser &parser, Region &epilogue,
                                 ArrayRef<Type> outs);
static void printEpilogue(OpAsmPrinter &printer, Operation *op,
                          Region &epilogue, TypeRange outs);

#include "moe/Dialect/Grouped/IR/GroupedOpsDialect.cpp.inc"
#define GET_OP_CLASSES
#include "moe/Dialect/Grouped/IR/GroupedOps.cpp.inc"

void GroupedDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "moe/Dialect/Grouped/IR/GroupedOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

int64_t grouped::panelInterleave(Type type) { return type.isBF16() ? 2 : 1; }

int64_t grouped::interleaveOf(ShapedType panels) {
  return panels.getDimSize(3) / kPanelColumns;
}

/// The interleave that panels like `found` must have: a GPU's if they have
/// that, the element type's otherwise.
static int64_t requiredInterleave(ShapedType found) {
  int64_t device = kDeviceInterleaveBytes * 8 / found.getElementTypeBitWidth();
  return found.getDimSize(3) == device * kPanelColumns
             ? device
             : panelInterleave(found.getElementType());
}

SmallVector<int64_t> grouped::panelShape(ArrayRef<int64_t> weightShape,
                                         Type elementType, int64_t numWeights,
                                         int64_t interleave) {
  if (interleave == 0)
    interleave = panelInterleave(elementType);
  return {weightShape[0],
          numWeights * llvm::divideCeilSigned(weightShape[1], kPanelColumns),
          llvm::divideCeilSigned(weightShape[2], interleave),
          kPanelColumns * interleave};
}

RankedTensorType grouped::panelType(RankedTensorType weight, int64_t numWeights,
                                    bool isParameter, int64_t interleaveBytes) {
  SmallVector<int64_t> shape(weight.getShape());
  Type element = weight.getElementType();
  if (isa<IntegerType>(element)) {
    int64_t width = isParameter ? 8 : kWordBits;
    if (!isParameter)
      shape[2] = llvm::divideCeilSigned(
          shape[2] * weight.getElementTypeBitWidth(), kWordBits);
    element = IntegerType::get(weight.getContext(), width);
  }
  int64_t interleave = interleaveBytes * 8 / element.getIntOrFloatBitWidth();
  return RankedTensorType::get(
      panelShape(shape, element, numWeights, interleave), element);
}

/// A packing of `numWeights` weights of type `weight` has panels of type
/// `type`.
static LogicalResult verifyPanels(Operation *op, RankedTensorType weight,
                                  int64_t numWeights, Type type) {
  auto panels = cast<ShapedType>(type);
  int64_t rows, bits, width = weight.getElementTypeBitWidth();
  if (llvm::MulOverflow(weight.getDimSize(1), numWeights, rows) ||
      llvm::MulOverflow(weight.getDimSize(2), width, bits)) // G1
    return op->emitOpError("expects fewer than 2^63 rows, and bits in each, "
                           "got ")
           << numWeights << " weights of type " << weight;
  RankedTensorType required = panelType(
      weight, numWeights, panels.getElementType().isInteger(8),
      requiredInterleave(panels) * panels.getElementTypeBitWidth() / 8);
  if (panels != required) // G1
    return op->emitOpError("expects panels of type ")
           << required << ", got " << panels;
  return success();
}

static bool dimsAgree(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

static ShapedType shaped(Value value) {
  return cast<ShapedType>(value.getType());
}

/// A kernel's results are the new values of its tensor operands in `outs`, and
/// there are none once these are memrefs.
template <typename KernelOp>
static LogicalResult verifyOuts(KernelOp op, unsigned expected) {
  if (op.getOuts().size() != expected) // G4
    return op.emitOpError("expects ")
           << expected << " outs, got " << op.getOuts().size();
  SmallVector<Type> tensors;
  for (Value out : op.getOuts())
    if (isa<TensorType>(out.getType()))
      tensors.push_back(out.getType());
  if (!llvm::equal(tensors, op->getResultTypes())) // G4
    return op.emitOpError("expects the results to have the types of the "
                          "tensors in outs");
  return success();
}

/// A kernel reads its memref inputs and writes its memref outs.
template <typename KernelOp>
static void kernelEffects(
    KernelOp op,
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    if (op.isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand,
                           SideEffects::DefaultResource::get());
    else
      effects.emplace_back(MemoryEffects::Read::get(), &operand,
                           SideEffects::DefaultResource::get());
  }
}

void GateOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &e) {
  kernelEffects(*this, e);
}
void PlanOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &e) {
  kernelEffects(*this, e);
}
void MatmulOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &e) {
  kernelEffects(*this, e);
}
void CombineOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &e) {
  kernelEffects(*this, e);
}

//===----------------------------------------------------------------------===//
// PackedWeightOp, PackOp
//===----------------------------------------------------------------------===//

RankedTensorType PackedWeightOp::getWeightType() {
  return cast<RankedTensorType>(getType());
}

LogicalResult PackedWeightOp::verify() {
  if (getSources().empty()) // G1
    return emitOpError("expects at least one source");
  return success();
}

LogicalResult
PackedWeightOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  RankedTensorType first;
  for (Attribute ref : getSources()) {
    auto symbol =
        symbolTable.lookupNearestSymbolFrom<moe::WeightSymbolOpInterface>(
            *this, cast<FlatSymbolRefAttr>(ref));
    if (!symbol) // G1
      return emitOpError("expects ") << ref << " to name a weight";
    RankedTensorType source = symbol.getWeightType();
    if (source.getRank() != 3 || !source.hasStaticShape() ||
        !source.getElementType().isIntOrFloat()) // G1
      return emitOpError("expects ")
             << ref << " to be [E, N, K] of integers or floats, got " << source;
    if (!first)
      first = source;
    if (source != first) // G1
      return emitOpError("expects sources of one type, got ")
             << source << " and " << first;
  }
  return verifyPanels(*this, first, getSources().size(), getType());
}

LogicalResult PackOp::verify() {
  if (getWeights().empty()) // G1
    return emitOpError("expects at least one weight");
  auto first = cast<RankedTensorType>(getWeights().front().getType());
  if (!first.hasStaticShape()) // G1
    return emitOpError("expects weights of static shape, got ") << first;
  for (Value weight : getWeights())
    if (weight.getType() != first) // G1
      return emitOpError("expects weights of one type, got ")
             << weight.getType() << " and " << first;
  return verifyPanels(*this, first, getWeights().size(), getPanels().getType());
}

//===----------------------------------------------------------------------===//
// GateOp, PlanOp, CombineOp
//===----------------------------------------------------------------------===//

LogicalResult GateOp::verify() {
  if (failed(verifyOuts(*this, 2)) || failed(moe::verifyRecipe(*this)))
    return failure();
  int64_t k = getK();
  ShapedType logits = shaped(getLogits());
  for (Value out : getOuts())
    if (!dimsAgree(shaped(out).getDimSize(0), logits.getDimSize(0)) ||
        shaped(out).getDimSize(1) != k) // C2
      return emitOpError("expects outs of shape [T, k] with k = ")
             << k << ", got " << out.getType();
  if (shaped(getOuts()[0]).getElementType() != logits.getElementType() ||
      !shaped(getOuts()[1]).getElementType().isInteger(32)) // C2
    return emitOpError("expects outs of weights like the logits and of i32 "
                       "experts");
  return success();
}

LogicalResult PlanOp::verify() {
  if (failed(verifyOuts(*this, 3)))
    return failure();
  ShapedType experts = shaped(getExperts()), offsets = shaped(getOuts()[0]),
             map = shaped(getOuts()[1]), token = shaped(getOuts()[2]);
  if (experts.isDynamicDim(1)) // C5
    return emitOpError("expects a static number of choices");
  if (offsets.getRank() != 1 || !offsets.hasStaticShape() ||
      offsets.getDimSize(0) < 1 ||
      !offsets.getElementType().isInteger(64)) // C5
    return emitOpError("expects offsets of type i64 and shape [E + 1], got ")
           << getOuts()[0].getType();
  if (map.getRank() != 2 ||
      !dimsAgree(map.getDimSize(0), experts.getDimSize(0)) ||
      map.getDimSize(1) != experts.getDimSize(1) ||
      !map.getElementType().isInteger(32)) // C5
    return emitOpError("expects a row map of type i32 and shape [T, k], got ")
           << getOuts()[1].getType();
  int64_t choices =
      experts.isDynamicDim(0) ? ShapedType::kDynamic : experts.getNumElements();
  if (token.getRank() != 1 || !dimsAgree(token.getDimSize(0), choices) ||
      !token.getElementType().isInteger(32)) // C5
    return emitOpError("expects row tokens of type i32 and shape [T * k], got ")
           << getOuts()[2].getType();
  if (getSegment() && !getCapacity()) // C17
    return emitOpError("expects no segment without a capacity");
  return success();
}

LogicalResult CombineOp::verify() {
  if (failed(verifyOuts(*this, 1)))
    return failure();
  ShapedType rows = shaped(getRows()), weights = shaped(getWeights()),
             map = shaped(getRowMap()), out = shaped(getOuts()[0]);
  if (map.isDynamicDim(1) || weights.getDimSize(1) != map.getDimSize(1) ||
      !dimsAgree(weights.getDimSize(0), map.getDimSize(0))) // C10
    return emitOpError("expects weights and row map of one shape [T, k], got ")
           << weights << " and " << map;
  if (!dimsAgree(out.getDimSize(0), map.getDimSize(0)) ||
      !dimsAgree(out.getDimSize(1), rows.getDimSize(1)) ||
      out.getElementType() != rows.getElementType()) // C10
    return emitOpError("expects outs [T, N] of the rows' type, got ") << out;
  return success();
}

//===----------------------------------------------------------------------===//
// MatmulOp
//===----------------------------------------------------------------------===//

void grouped::buildIdentityEpilogue(OpBuilder &b, Location loc,
                                    Region &epilogue, Type outElement) {
  OpBuilder::InsertionGuard guard(b);
  Type compute = outElement.isF64() ? outElement : b.getF32Type();
  Block *body = b.createBlock(&epilogue, {}, {compute}, {loc});
  YieldOp::create(b, loc, body->getArguments());
}

/// The region is never left out, only its text: patterns of other dialects that
/// clone operations do not expect an empty region.
static ParseResult parseEpilogue(OpAsmParser &parser, Region &epilogue,
                                 ArrayRef<Type> outs) {
  if (succeeded(parser.parseOptionalKeyword("epilogue")))
    return parser.parseRegion(epilogue);
  SMLoc loc = parser.getCurrentLocation();
  auto out = outs.empty() ? ShapedType() : dyn_cast<ShapedType>(outs.front());
  if (!out)
    return parser.emitError(loc, "expects outs of shaped type");
  OpBuilder b(parser.getContext());
  buildIdentityEpilogue(b, parser.getEncodedSourceLoc(loc), epilogue,
                        out.getElementType());
  return success();
}

static void printEpilogue(OpAsmPrinter &printer, Operation *, Region &epilogue,
                          TypeRange) {
  Block &body = epilogue.front();
  Operation &last = body.back();
  if (body.getNumArguments() == 1 && &body.front() == &last &&
      last.getNumOperands() == 1 && last.getOperand(0) == body.getArgument(0))
    return;
  printer << " epilogue ";
  printer.printRegion(epilogue);
}

int64_t MatmulOp::getNumWeights() {
  return getEpilogue().front().getNumArguments() -
         static_cast<int64_t>(getExtras().size());
}

/// What the lowering reads of a schedule.
static constexpr StringLiteral kScheduleKeys[] = {
    "accumulators", "k_block",   "panel_block",      "row_block",
    "tile_panels",  "tile_rows", "vectors_per_panel"};

static LogicalResult verifySchedule(MatmulOp op) {
  DictionaryAttr schedule = op.getScheduleAttr();
  if (!schedule)
    return success();
  for (StringRef key : kScheduleKeys) {
    auto size = schedule.getAs<IntegerAttr>(key);
    if (!size || !size.getType().isSignlessInteger(64) ||
        size.getInt() < 1) // G5
      return op.emitOpError("expects a schedule with an i64 of at least 1 as '")
             << key << "', got " << schedule;
  }
  return success();
}

/// G6: scales, and the attributes that say how panels of words are read.
static LogicalResult verifyQuantization(MatmulOp op) {
  bool isQuantized = shaped(op.getPanels()).getElementType().isInteger();
  if (!isQuantized) {
    if (op.getScales() || op.getZeroPoints() || op.getBits() ||
        op.getBlockSize() || op.getEncoding() != moe::Encoding::Unsigned)
      return op.emitOpError("expects panels of i32 for scales, zero points, "
                            "bits, a block size or an encoding");
    return success();
  }
  std::optional<int64_t> bits = op.getBits(), blockSize = op.getBlockSize();
  if (!op.getScales() || !bits || !llvm::is_contained({2, 4, 8}, *bits) ||
      !blockSize || *blockSize < 1)
    return op.emitOpError("expects scales, 2, 4 or 8 bits and a block size of "
                          "at least 1 for panels of i32");
  if (op.getEncoding() == moe::Encoding::E2M1 &&
      (*bits != 4 || op.getZeroPoints()))
    return op.emitOpError("expects 4 bits and no zero points for the encoding "
                          "e2m1, got ")
           << *bits << " bits";
  int64_t depth = shaped(op.getRows()).getDimSize(1);
  if (*blockSize < depth && *blockSize % (kWordBits / *bits) != 0)
    return op.emitOpError("expects a block size of K or of a multiple of ")
           << kWordBits / *bits << ", got " << *blockSize;
  int64_t blocks = llvm::divideCeilSigned(depth, *blockSize);
  int64_t columns = shaped(op.getOuts()[0]).getDimSize(1);
  for (Value value : {op.getScales(), op.getZeroPoints()}) {
    if (!value)
      continue;
    ShapedType type = shaped(value);
    SmallVector<int64_t> required =
        panelShape({shaped(op.getPanels()).getDimSize(0), columns, blocks},
                   type.getElementType(), op.getNumWeights());
    if (type.getShape() != ArrayRef(required)) {
      InFlightDiagnostic diag =
          op.emitOpError("expects scales and zero points of shape [");
      llvm::interleaveComma(required, diag);
      return diag << "], got " << type;
    }
    if (type.getElementType().isF64())
      return op.emitOpError("expects scales and zero points of at most 32 "
                            "bits, got ")
             << type;
  }
  return success();
}

LogicalResult MatmulOp::verify() {
  if (failed(verifyOuts(*this, 1)) || failed(verifySchedule(*this)))
    return failure();
  ShapedType rows = shaped(getRows()), panels = shaped(getPanels()),
             out = shaped(getOuts()[0]);
  int64_t weights = getNumWeights();
  if (weights < 1) // G3
    return emitOpError("expects an epilogue with an argument per weight and "
                       "per extra");
  if (getRowToken() && !dimsAgree(shaped(getRowToken()).getDimSize(0),
                                  out.getDimSize(0))) // G2
    return emitOpError("expects a row token per row of outs, got ")
           << getRowToken().getType() << " for " << out;
  if (!getRowToken() && !dimsAgree(rows.getDimSize(0), out.getDimSize(0))) // G2
    return emitOpError("expects as many rows as outs has, got ")
           << rows << " and " << out;
  if (!panels.hasStaticShape() || rows.isDynamicDim(1) ||
      out.isDynamicDim(1)) // G2
    return emitOpError("expects static expert, column and row widths");
  if (failed(verifyQuantization(*this))) // G6
    return failure();
  int64_t depth = rows.getDimSize(1);
  if (getBits())
    depth = llvm::divideCeilSigned(depth * *getBits(), kWordBits);
  SmallVector<int64_t> required =
      panelShape({panels.getDimSize(0), out.getDimSize(1), depth},
                 panels.getElementType(), weights, requiredInterleave(panels));
  if (panels.getShape() != ArrayRef(required)) { // G1
    InFlightDiagnostic diag = emitOpError("expects panels of shape [");
    llvm::interleaveComma(required, diag);
    return diag << "], got " << panels;
  }
  if (shaped(getOffsets()).getDimSize(0) != panels.getDimSize(0) + 1) // G2
    return emitOpError("expects ")
           << panels.getDimSize(0) + 1 << " offsets, got "
           << getOffsets().getType();
  if (!getBiases().empty() &&
      static_cast<int64_t>(getBiases().size()) != weights) // G2
    return emitOpError("expects no bias or one per weight, got ")
           << getBiases().size();
  for (Value bias : getBiases())
    if (shaped(bias).getShape() !=
        ArrayRef({panels.getDimSize(0), out.getDimSize(1)})) // G2
      return emitOpError("expects biases of shape [E, N], got ")
             << bias.getType();
  for (Value extra : getExtras())
    if (!dimsAgree(shaped(extra).getDimSize(0), out.getDimSize(0)) ||
        shaped(extra).getDimSize(1) != out.getDimSize(1)) // G2
      return emitOpError("expects extras of the shape of outs, got ")
             << extra.getType();
  bool wide = out.getElementType().isF64();
  if (rows.getElementType().isF64() != wide ||
      panels.getElementType().isF64() != wide) // C11
    return emitOpError("expects rows, panels and outs to be f64 all or none, "
                       "got ")
           << rows.getElementType() << ", " << panels.getElementType()
           << " and " << out.getElementType();
  return success();
}

LogicalResult MatmulOp::verifyRegions() {
  Type stored = shaped(getOuts()[0]).getElementType();
  Type compute = stored.isF64() ? stored : Float32Type::get(getContext());
  Block &body = getEpilogue().front();
  for (BlockArgument arg : body.getArguments())
    if (arg.getType() != compute) // G3
      return emitOpError("expects epilogue arguments of type ")
             << compute << ", got " << arg.getType();
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (!yield || yield.getNumOperands() != 1 ||
      yield.getOperand(0).getType() != compute) // G3
    return emitOpError("expects the epilogue to yield one ") << compute;
  for (Operation &inner : body.without_terminator())
    if (!OpTrait::hasElementwiseMappableTraits(&inner) &&
        !inner.hasTrait<OpTrait::ConstantLike>()) // G3
      return inner.emitOpError(
          "expects only elementwise operations in an epilogue");
  return success();
}
