//===- ONNXOps.cpp - onnx dialect operations ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/ONNX/IR/ONNXOps.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::onnx;

#define GET_OP_CLASSES
#include "moe/Dialect/ONNX/IR/ONNXOps.cpp.inc"

//===----------------------------------------------------------------------===//
// ConstantOp, NoneOp
//===----------------------------------------------------------------------===//

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

OpFoldResult NoneOp::fold(FoldAdaptor) { return UnitAttr::get(getContext()); }

//===----------------------------------------------------------------------===//
// NodeOp: construction and access
//===----------------------------------------------------------------------===//

void NodeOp::build(OpBuilder &builder, OperationState &state, TypeRange outputs,
                   StringRef opType, StringRef domain, int64_t opset,
                   StringRef nodeName, ValueRange inputs,
                   ArrayRef<NamedAttribute> attributes,
                   ArrayRef<StringRef> regionNames) {
  Properties &properties = state.getOrAddProperties<Properties>();
  properties.setOpType(builder.getStringAttr(opType));
  properties.setDomain(builder.getStringAttr(domain));
  properties.setOpset(builder.getI64IntegerAttr(opset));
  if (!nodeName.empty())
    properties.setNodeName(builder.getStringAttr(nodeName));
  properties.setOnnxAttrs(builder.getDictionaryAttr(attributes));
  properties.setRegionNames(builder.getStrArrayAttr(regionNames));
  state.addOperands(inputs);
  state.addTypes(outputs);
  for (size_t i = 0; i < regionNames.size(); ++i)
    state.addRegion();
}

std::string NodeOp::getQualifiedOpType() {
  if (getDomain().empty())
    return getOpType().str();
  return (getDomain() + "::" + getOpType()).str();
}

std::string NodeOp::describe() {
  std::string subject = "node ";
  if (auto name = getNodeName())
    subject += ("'" + *name + "' ").str();
  return subject + "(" + getQualifiedOpType() + ")";
}

Attribute NodeOp::attr(StringRef name) { return getOnnxAttrs().get(name); }

std::optional<int64_t> NodeOp::getI64(StringRef name) {
  if (auto value = dyn_cast_or_null<IntegerAttr>(attr(name)))
    return value.getInt();
  return std::nullopt;
}

std::optional<ArrayRef<int64_t>> NodeOp::getI64s(StringRef name) {
  if (auto values = dyn_cast_or_null<DenseI64ArrayAttr>(attr(name)))
    return values.asArrayRef();
  return std::nullopt;
}

std::optional<float> NodeOp::getF32(StringRef name) {
  if (auto value = dyn_cast_or_null<FloatAttr>(attr(name)))
    return value.getValue().convertToFloat();
  return std::nullopt;
}

std::optional<ArrayRef<float>> NodeOp::getF32s(StringRef name) {
  if (auto values = dyn_cast_or_null<DenseF32ArrayAttr>(attr(name)))
    return values.asArrayRef();
  return std::nullopt;
}

StringRef NodeOp::getString(StringRef name, StringRef defaultValue) {
  if (auto value = dyn_cast_or_null<StringAttr>(attr(name)))
    return value.getValue();
  return defaultValue;
}

std::optional<SmallVector<StringRef>> NodeOp::getStrings(StringRef name) {
  auto values = dyn_cast_or_null<ArrayAttr>(attr(name));
  if (!values)
    return std::nullopt;
  return llvm::to_vector(values.getAsValueRange<StringAttr>());
}

ElementsAttr NodeOp::getTensorAttr(StringRef name) {
  return dyn_cast_or_null<ElementsAttr>(attr(name));
}

FlatSymbolRefAttr NodeOp::getWeightAttr(StringRef name) {
  return dyn_cast_or_null<FlatSymbolRefAttr>(attr(name));
}

Value NodeOp::input(unsigned i) {
  if (i >= getInputs().size() || isa<NoneType>(getInputs()[i].getType()))
    return nullptr;
  return getInputs()[i];
}

Value NodeOp::output(unsigned i) {
  if (i >= getOutputs().size() || isa<NoneType>(getOutputs()[i].getType()))
    return nullptr;
  return getOutputs()[i];
}

Region *NodeOp::graph(StringRef name) {
  for (auto [regionName, region] :
       llvm::zip(getRegionNames().getAsValueRange<StringAttr>(), getGraphs()))
    if (regionName == name)
      return &region;
  return nullptr;
}

//===----------------------------------------------------------------------===//
// NodeOp: effects and folding
//===----------------------------------------------------------------------===//

void NodeOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  // Every ONNX operator is a function of its inputs, except those that draw
  // random numbers: two of them must not be merged.
  bool draws =
      getDomain().empty() &&
      (getOpType().starts_with("Random") || getOpType() == "Bernoulli" ||
       getOpType() == "Multinomial" || getOpType() == "Dropout");
  bool drawsInside = getOperation()
                         ->walk([&](NodeOp inner) {
                           return inner != *this && !isMemoryEffectFree(inner)
                                      ? WalkResult::interrupt()
                                      : WalkResult::advance();
                         })
                         .wasInterrupted();
  if (draws || drawsInside) {
    effects.emplace_back(MemoryEffects::Read::get());
    effects.emplace_back(MemoryEffects::Write::get());
  }
}

LogicalResult NodeOp::fold(FoldAdaptor,
                           SmallVectorImpl<OpFoldResult> &results) {
  // Exporters leave Identity between a value and its name as a graph output.
  if (!is("Identity") || getInputs().size() != 1 || getNumResults() != 1 ||
      getInputs()[0].getType() != getResult(0).getType())
    return failure();
  results.push_back(getInputs()[0]);
  return success();
}

LogicalResult NodeOp::canonicalize(NodeOp op, PatternRewriter &rewriter) {
  // A trailing omitted input says the same as its absence.
  unsigned count = op.getInputs().size();
  while (count > 0 && isa<NoneType>(op.getInputs()[count - 1].getType()))
    --count;
  unsigned trailing = op.getInputs().size() - count;
  if (trailing == 0)
    return rewriter.notifyMatchFailure(op, "no trailing omitted input");
  rewriter.modifyOpInPlace(
      op, [&] { op.getInputsMutable().erase(count, trailing); });
  return success();
}

//===----------------------------------------------------------------------===//
// NodeOp: verification
//===----------------------------------------------------------------------===//

/// Whether `value` has one of the forms listed in the op's description.
static bool isONNXAttribute(Attribute value) {
  if (auto integer = dyn_cast<IntegerAttr>(value))
    return integer.getType().isSignlessInteger(64);
  if (auto number = dyn_cast<FloatAttr>(value))
    return number.getType().isF32();
  if (auto list = dyn_cast<ArrayAttr>(value))
    return llvm::all_of(list, llvm::IsaPred<StringAttr>);
  if (isa<DenseI64ArrayAttr, DenseF32ArrayAttr, StringAttr, FlatSymbolRefAttr,
          TypeAttr>(value))
    return true;
  auto elements = dyn_cast<ElementsAttr>(value);
  return elements && isa<RankedTensorType>(elements.getShapedType());
}

LogicalResult NodeOp::verify() {
  if (getOpType().empty())
    return emitOpError("expects an operator name, got an empty string");
  if (getOpType().contains("::"))
    return emitOpError("expects an operator name without '::', got '")
           << getOpType() << "'";
  if (getDomain() == "ai.onnx")
    return emitOpError("expects the default domain to be left out, got "
                       "'ai.onnx'");
  if (static_cast<int64_t>(getOpset()) < 1)
    return emitOpError("expects a positive operator set version, got ")
           << static_cast<int64_t>(getOpset());
  for (NamedAttribute attribute : getOnnxAttrs())
    if (!isONNXAttribute(attribute.getValue()))
      return emitOpError("expects attribute '")
             << attribute.getName().getValue()
             << "' to be an i64, f32, string, tensor, weight symbol, type, "
                "array<i64>, array<f32> or array of strings, got "
             << attribute.getValue();
  return success();
}

/// Region names and terminators, which `verify` cannot touch safely before the
/// regions themselves are verified.
LogicalResult NodeOp::verifyRegions() {
  if (getRegionNames().size() != getGraphs().size())
    return emitOpError("expects one name per subgraph, got ")
           << getRegionNames().size() << " names for " << getGraphs().size()
           << " subgraphs";
  llvm::StringSet<> seen;
  for (StringRef name : getRegionNames().getAsValueRange<StringAttr>()) {
    if (name.empty())
      return emitOpError("expects a name for every subgraph");
    if (hasAttr(name) || !seen.insert(name).second)
      return emitOpError("expects attribute names to be unique, got '")
             << name << "' twice";
  }
  for (auto [name, region] :
       llvm::zip(getRegionNames().getAsValueRange<StringAttr>(), getGraphs()))
    if (region.front().empty() || !isa<YieldOp>(region.front().back()))
      return emitOpError("expects subgraph '")
             << name << "' to end with onnx.yield";
  return success();
}

LogicalResult NodeOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  for (NamedAttribute attribute : getOnnxAttrs()) {
    auto symbol = dyn_cast<FlatSymbolRefAttr>(attribute.getValue());
    if (symbol && !symbolTable.lookupNearestSymbolFrom(*this, symbol))
      return emitOpError("expects attribute '")
             << attribute.getName().getValue()
             << "' to name a weight of the module, got " << symbol;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// NodeOp: text
//===----------------------------------------------------------------------===//

ParseResult NodeOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  Properties &properties = result.getOrAddProperties<Properties>();

  std::string qualified;
  if (parser.parseString(&qualified))
    return failure();
  StringRef domain, opType = qualified;
  if (size_t split = opType.rfind("::"); split != StringRef::npos) {
    domain = opType.take_front(split);
    opType = opType.drop_front(split + 2);
  }
  properties.setOpType(builder.getStringAttr(opType));
  properties.setDomain(builder.getStringAttr(domain));

  SmallVector<OpAsmParser::UnresolvedOperand> inputs;
  SMLoc inputsLoc = parser.getCurrentLocation();
  NamedAttrList attributes;
  if (parser.parseOperandList(inputs, OpAsmParser::Delimiter::Paren) ||
      parser.parseOptionalAttrDict(attributes))
    return failure();
  properties.setOnnxAttrs(attributes.getDictionary(parser.getContext()));

  if (succeeded(parser.parseOptionalKeyword("name"))) {
    std::string name;
    if (parser.parseString(&name))
      return failure();
    properties.setNodeName(builder.getStringAttr(name));
  }
  int64_t opset;
  FunctionType type;
  if (parser.parseKeyword("opset") || parser.parseInteger(opset) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.parseColonType(type) ||
      parser.resolveOperands(inputs, type.getInputs(), inputsLoc,
                             result.operands))
    return failure();
  properties.setOpset(builder.getI64IntegerAttr(opset));
  result.addTypes(type.getResults());

  SmallVector<Attribute> regionNames;
  while (succeeded(parser.parseOptionalKeyword("graph"))) {
    std::string name;
    if (parser.parseString(&name) || parser.parseRegion(*result.addRegion()))
      return failure();
    regionNames.push_back(builder.getStringAttr(name));
  }
  properties.setRegionNames(builder.getArrayAttr(regionNames));
  return success();
}

void NodeOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printString(getQualifiedOpType());
  printer << '(' << getInputs() << ')';
  printer.printOptionalAttrDict(getOnnxAttrs().getValue());
  if (auto name = getNodeName()) {
    printer << " name ";
    printer.printString(*name);
  }
  printer << " opset " << static_cast<int64_t>(getOpset());
  printer.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(), {"op_type", "domain", "opset", "node_name",
                            "onnx_attrs", "region_names"});
  printer << " : ";
  printer.printFunctionalType(getOperation());
  for (auto [name, region] :
       llvm::zip(getRegionNames().getAsValueRange<StringAttr>(), getGraphs())) {
    printer << " graph ";
    printer.printString(name);
    printer << ' ';
    printer.printRegion(region);
  }
}
