//===- GraphBuilder.cpp - Checked ONNX model to module --------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GraphBuilder.h"

#include "ElementTypes.h"
#include "Errors.h"
#include "SourceFiles.h"
#include "Tensors.h"
#include "onnx/onnx_pb.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/ONNX/IR/ONNXOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringSet.h"

#include <map>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::onnx_import;
using mlir::onnx::ConstantOp;
using mlir::onnx::NodeOp;
using mlir::onnx::NoneOp;
using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::NodeProto;
using ::onnx::TensorProto;
using ::onnx::TypeProto;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

/// The ONNX notation of a type that is no dense tensor.
static std::string notation(const TypeProto &type) {
  auto element = [](int32_t dataType) {
    const ElementType *known = elementType(dataType);
    return known ? known->name.lower() : std::string("unknown");
  };
  switch (type.value_case()) {
  case TypeProto::kTensorType:
    return "tensor(" + element(type.tensor_type().elem_type()) + ")";
  case TypeProto::kSparseTensorType:
    return "sparse_tensor(" + element(type.sparse_tensor_type().elem_type()) +
           ")";
  case TypeProto::kSequenceType:
    return "seq(" + notation(type.sequence_type().elem_type()) + ")";
  case TypeProto::kOptionalType:
    return "optional(" + notation(type.optional_type().elem_type()) + ")";
  case TypeProto::kMapType:
    return "map(" + element(type.map_type().key_type()) + "," +
           notation(type.map_type().value_type()) + ")";
  default:
    return "unknown";
  }
}

static Type convertType(const TypeProto &type, MLIRContext *context) {
  if (!type.has_tensor_type() || !elementType(type.tensor_type().elem_type()))
    return mlir::onnx::OpaqueType::get(context, notation(type));
  Type element = convertElementType(type.tensor_type().elem_type(), context);
  if (!type.tensor_type().has_shape())
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> shape;
  for (const auto &dim : type.tensor_type().shape().dim())
    shape.push_back(dim.has_dim_value() && dim.dim_value() >= 0
                        ? dim.dim_value()
                        : ShapedType::kDynamic);
  return RankedTensorType::get(shape, element);
}

/// Attributes of a function argument or result.
static DictionaryAttr interfaceAttrs(Builder &builder, StringRef name,
                                     const TypeProto &type, Type converted) {
  SmallVector<NamedAttribute> attrs;
  attrs.push_back(builder.getNamedAttr(kNameAttr, builder.getStringAttr(name)));
  auto ranked = dyn_cast<RankedTensorType>(converted);
  if (ranked && type.tensor_type().shape().dim_size() == ranked.getRank()) {
    SmallVector<StringRef> dims;
    for (const auto &dim : type.tensor_type().shape().dim()) {
      StringRef symbol = dim.has_dim_param() ? StringRef(dim.dim_param()) : "";
      // What inference names anew means nothing to a reader.
      dims.push_back(symbol.starts_with("unk__") ? "" : symbol);
    }
    attrs.push_back(
        builder.getNamedAttr(kDimsAttr, builder.getStrArrayAttr(dims)));
  }
  return builder.getDictionaryAttr(attrs);
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

namespace {

/// The names of one graph. An initializer becomes an operation at its first
/// use, in the graph that holds it.
struct Scope {
  Scope(Scope *parent, const GraphProto &graph, OpBuilder builder);

  Scope *parent;
  OpBuilder builder;
  llvm::DenseMap<StringRef, Value> values;
  llvm::DenseMap<StringRef, const TensorProto *> initializers;
  llvm::DenseMap<StringRef, const TypeProto *> types;
  Value none;
};

Scope::Scope(Scope *parent, const GraphProto &graph, OpBuilder builder)
    : parent(parent), builder(builder) {
  for (const TensorProto &tensor : graph.initializer())
    initializers[tensor.name()] = &tensor;
  for (const auto &value : graph.value_info())
    types[value.name()] = &value.type();
  for (const auto &value : graph.output())
    if (value.type().value_case() != TypeProto::VALUE_NOT_SET)
      types[value.name()] = &value.type();
}

class ModuleBuilder {
public:
  ModuleBuilder(const ::onnx::ModelProto &model, const TensorTable &tensors,
                const SourceFiles &files, StringRef path, MLIRContext *context)
      : model(model), tensors(tensors), files(files), context(context),
        fileLoc(FileLineColLoc::get(context, path, 0, 0)), topBuilder(context) {
  }

  OwningOpRef<ModuleOp> build();

private:
  LogicalResult buildMain();
  LogicalResult buildNodes(const GraphProto &graph, Scope &scope);
  LogicalResult buildNode(const NodeProto &node, Scope &scope);
  LogicalResult buildConstant(const NodeProto &node, Scope &scope);
  LogicalResult buildSubgraph(const GraphProto &graph, Region &region,
                              Scope &parent, Location loc);
  FailureOr<Value> lookup(StringRef name, Scope &scope);
  FailureOr<Value> buildTensor(const TensorProto &tensor, StringRef name,
                               OpBuilder &builder, Location loc);
  std::string uniqueSymbol(StringRef name);
  FailureOr<FlatSymbolRefAttr> weightSymbol(RankedTensorType type,
                                            StringRef name, TensorRange range);
  FailureOr<FlatSymbolRefAttr> weightSymbol(const TensorProto &tensor,
                                            StringRef name,
                                            ArrayRef<TensorRange> parts);
  FailureOr<Attribute> convertAttribute(const AttributeProto &attribute,
                                        const NodeProto &node);

  Type typeOf(StringRef name, Scope &scope) {
    if (name.empty())
      return NoneType::get(context);
    if (const TypeProto *type = scope.types.lookup(name))
      return convertType(*type, context);
    return mlir::onnx::OpaqueType::get(context, "unknown");
  }
  Location locationOf(const NodeProto &node) {
    Location loc = fileLoc;
    for (const auto &entry : node.metadata_props())
      if (entry.key() == "namespace" && !entry.value().empty())
        loc = NameLoc::get(StringAttr::get(context, entry.value()), loc);
    return NameLoc::get(StringAttr::get(context, node.name()), loc);
  }
  LogicalResult error(const Twine &message) {
    return emitError(fileLoc) << oneLine(message.str());
  }

  const ::onnx::ModelProto &model;
  const TensorTable &tensors;
  const SourceFiles &files;
  MLIRContext *context;
  Location fileLoc;
  ModuleOp topModule;
  OpBuilder topBuilder; // at the module's end, where weights are declared
  llvm::StringMap<int64_t> opsets;
  /// Weights that lie in the same bytes are one symbol.
  std::map<std::tuple<const SourceFiles *, unsigned, uint64_t, uint64_t,
                      const void *, const TensorLayout *>,
           FlatSymbolRefAttr>
      weights;
  llvm::StringSet<> symbols;
};

} // namespace

OwningOpRef<ModuleOp> ModuleBuilder::build() {
  OwningOpRef<ModuleOp> module = ModuleOp::create(fileLoc);
  (*module)->setAttr(kSourceDirAttr,
                     StringAttr::get(context, files.directory()));
  topModule = *module;
  topBuilder.setInsertionPointToEnd(module->getBody());
  symbols.insert("main");
  for (const auto &import : model.opset_import())
    opsets[import.domain()] = import.version();
  if (failed(buildMain()))
    return nullptr;
  return module;
}

LogicalResult ModuleBuilder::buildMain() {
  const GraphProto &graph = model.graph();
  // Weights are declared in front of the function, in order of use.
  OpBuilder functionBuilder(topBuilder);
  auto function = func::FuncOp::create(functionBuilder, fileLoc, "main",
                                       topBuilder.getFunctionType({}, {}));
  topBuilder.setInsertionPoint(function);
  Block *body = function.addEntryBlock();
  Scope scope(nullptr, graph, OpBuilder::atBlockEnd(body));

  SmallVector<Type> inputTypes, resultTypes;
  SmallVector<DictionaryAttr> inputAttrs, resultAttrs;
  for (const auto &input : graph.input()) {
    // An initializer of the same name is a default that a caller might
    // override; deployed models never do, and constants compile better.
    if (scope.initializers.contains(input.name()))
      continue;
    Type type = convertType(input.type(), context);
    inputTypes.push_back(type);
    inputAttrs.push_back(
        interfaceAttrs(topBuilder, input.name(), input.type(), type));
    scope.values[input.name()] = body->addArgument(type, fileLoc);
  }
  if (failed(buildNodes(graph, scope)))
    return failure();

  SmallVector<Value> results;
  for (const auto &output : graph.output()) {
    FailureOr<Value> value = lookup(output.name(), scope);
    if (failed(value))
      return failure();
    results.push_back(*value);
    resultTypes.push_back(value->getType());
    resultAttrs.push_back(interfaceAttrs(topBuilder, output.name(),
                                         output.type(), value->getType()));
  }
  func::ReturnOp::create(scope.builder, fileLoc, results);
  function.setType(topBuilder.getFunctionType(inputTypes, resultTypes));
  function.setAllArgAttrs(inputAttrs);
  function.setAllResultAttrs(resultAttrs);
  return success();
}

LogicalResult ModuleBuilder::buildNodes(const GraphProto &graph, Scope &scope) {
  for (const NodeProto &node : graph.node())
    if (failed(node.domain().empty() && node.op_type() == "Constant"
                   ? buildConstant(node, scope)
                   : buildNode(node, scope)))
      return failure();
  return success();
}

FailureOr<Value> ModuleBuilder::lookup(StringRef name, Scope &scope) {
  for (Scope *at = &scope; at; at = at->parent) {
    if (Value value = at->values.lookup(name))
      return value;
    const TensorProto *tensor = at->initializers.lookup(name);
    if (!tensor)
      continue;
    FailureOr<Value> value =
        buildTensor(*tensor, name, at->builder,
                    NameLoc::get(StringAttr::get(context, name), fileLoc));
    if (succeeded(value))
      at->values[name] = *value;
    return value;
  }
  return error("value '" + name + "' is used before it is computed");
}

LogicalResult ModuleBuilder::buildNode(const NodeProto &node, Scope &scope) {
  SmallVector<Value> inputs;
  int inputCount = node.input_size();
  while (inputCount > 0 && node.input(inputCount - 1).empty())
    --inputCount;
  for (int i = 0; i < inputCount; ++i) {
    if (node.input(i).empty()) {
      if (!scope.none)
        scope.none = NoneOp::create(scope.builder, fileLoc);
      inputs.push_back(scope.none);
      continue;
    }
    FailureOr<Value> value = lookup(node.input(i), scope);
    if (failed(value))
      return failure();
    inputs.push_back(*value);
  }

  SmallVector<NamedAttribute> attributes;
  SmallVector<std::string> names;
  SmallVector<const GraphProto *> graphs;
  for (const AttributeProto &attribute : node.attribute()) {
    if (attribute.type() == AttributeProto::GRAPH) {
      names.push_back(attribute.name());
      graphs.push_back(&attribute.g());
    } else if (attribute.type() == AttributeProto::GRAPHS) {
      for (int i = 0; i < attribute.graphs_size(); ++i) {
        names.push_back(attribute.name() + "[" + std::to_string(i) + "]");
        graphs.push_back(&attribute.graphs(i));
      }
    } else {
      FailureOr<Attribute> value = convertAttribute(attribute, node);
      if (failed(value))
        return failure();
      attributes.emplace_back(StringAttr::get(context, attribute.name()),
                              *value);
    }
  }

  SmallVector<Type> types;
  int outputCount = node.output_size();
  while (outputCount > 0 && node.output(outputCount - 1).empty())
    --outputCount;
  for (int i = 0; i < outputCount; ++i)
    types.push_back(typeOf(node.output(i), scope));

  Location loc = locationOf(node);
  auto op = NodeOp::create(scope.builder, loc, types, node.op_type(),
                           node.domain(), opsets.lookup(node.domain()),
                           node.name(), inputs, attributes,
                           SmallVector<StringRef>(names.begin(), names.end()));
  // What a subgraph takes from this graph must come before the node.
  scope.builder.setInsertionPoint(op);
  for (auto [graph, region] : llvm::zip(graphs, op.getGraphs()))
    if (failed(buildSubgraph(*graph, region, scope, loc)))
      return failure();
  scope.builder.setInsertionPointAfter(op);
  for (int i = 0; i < outputCount; ++i)
    if (!node.output(i).empty())
      scope.values[node.output(i)] = op.getResult(i);
  return success();
}

LogicalResult ModuleBuilder::buildSubgraph(const GraphProto &graph,
                                           Region &region, Scope &parent,
                                           Location loc) {
  Block &body = region.emplaceBlock();
  Scope scope(&parent, graph, OpBuilder::atBlockEnd(&body));
  for (const auto &input : graph.input())
    scope.values[input.name()] =
        body.addArgument(convertType(input.type(), context), loc);
  if (failed(buildNodes(graph, scope)))
    return failure();
  SmallVector<Value> results;
  for (const auto &output : graph.output()) {
    FailureOr<Value> value = lookup(output.name(), scope);
    if (failed(value))
      return failure();
    results.push_back(*value);
  }
  mlir::onnx::YieldOp::create(scope.builder, loc, results);
  return success();
}

//===----------------------------------------------------------------------===//
// Tensors and attributes
//===----------------------------------------------------------------------===//

std::string ModuleBuilder::uniqueSymbol(StringRef name) {
  std::string unique = name.empty() ? "weight" : name.str();
  for (unsigned i = 2; !symbols.insert(unique).second; ++i)
    unique = (name + "_" + Twine(i)).str();
  return unique;
}

FailureOr<FlatSymbolRefAttr> ModuleBuilder::weightSymbol(RankedTensorType type,
                                                         StringRef name,
                                                         TensorRange range) {
  if (isa<ComplexType>(type.getElementType())) {
    return error("tensor '" + name + "' has complex elements and " +
                 Twine(range.length) + " bytes, expects at most " +
                 Twine(kMaxDenseBytes));
  }
  auto key =
      std::make_tuple(range.source, range.file, range.offset, range.length,
                      type.getAsOpaquePointer(), range.layout);
  if (FlatSymbolRefAttr known = weights[key])
    return known;
  BlockScalesAttr scaled;
  if (const TensorScales *scales = range.scales.get()) {
    auto extent = [&](int64_t dim, int64_t block) {
      return llvm::divideCeilSigned(type.getDimSize(dim), block);
    };
    FailureOr<FlatSymbolRefAttr> values = weightSymbol(
        RankedTensorType::get(
            {extent(0, scales->blockRows), extent(1, scales->blockColumns)},
            convertElementType(scales->dataType, context)),
        (name + ".scales").str(), scales->range);
    if (failed(values))
      return failure();
    scaled = BlockScalesAttr::get(
        context, *values, static_cast<int64_t>(range.offset),
        type.getDimSize(1), scales->blockRows, scales->blockColumns);
  }
  std::string unique = uniqueSymbol(name);
  FlatSymbolRefAttr symbol = FlatSymbolRefAttr::get(context, unique);
  weights[key] = symbol;
  WeightOp::Properties weight;
  weight.setSymName(topBuilder.getStringAttr(unique));
  weight.setFile(topBuilder.getStringAttr(range.source->name(range.file)));
  if (range.source != &files) {
    weight.setCheckpoint(topBuilder.getUnitAttr());
    topModule->setAttr(kCheckpointDirAttr,
                       topBuilder.getStringAttr(range.source->directory()));
  }
  weight.setOffset(topBuilder.getI64IntegerAttr(range.offset));
  weight.setLength(topBuilder.getI64IntegerAttr(range.length));
  if (scaled)
    weight.setScaled(scaled);
  weight.setType(TypeAttr::get(type));
  if (const TensorLayout *layout = range.layout) {
    weight.setStrides(topBuilder.getDenseI64ArrayAttr(layout->strides));
    if (!layout->sizes.empty())
      weight.setSizes(topBuilder.getDenseI64ArrayAttr(layout->sizes));
    if (layout->increment != 0)
      weight.setIncrement(topBuilder.getI64IntegerAttr(layout->increment));
  }
  WeightOp::create(topBuilder, fileLoc, TypeRange(), ValueRange(), weight);
  return symbol;
}

FailureOr<FlatSymbolRefAttr>
ModuleBuilder::weightSymbol(const TensorProto &tensor, StringRef name,
                            ArrayRef<TensorRange> parts) {
  RankedTensorType type = tensorType(tensor, context);
  // Layouts are those of matrices: even one alone can be a slice.
  bool isSlice = parts.front().layout && type.getRank() > 2;
  if (parts.size() == 1 && !isSlice)
    return weightSymbol(type, name, parts.front());
  RankedTensorType slice = RankedTensorType::get(type.getShape().drop_front(),
                                                 type.getElementType());
  SmallVector<Attribute> slices;
  for (auto [i, part] : llvm::enumerate(parts)) {
    FailureOr<FlatSymbolRefAttr> symbol =
        weightSymbol(slice, (name + "." + Twine(i)).str(), part);
    if (failed(symbol))
      return failure();
    slices.push_back(*symbol);
  }
  std::string unique = uniqueSymbol(name);
  WeightStackOp::create(topBuilder, fileLoc, topBuilder.getStringAttr(unique),
                        topBuilder.getArrayAttr(slices),
                        /*section=*/IntegerAttr(), TypeAttr::get(type));
  return FlatSymbolRefAttr::get(context, unique);
}

FailureOr<Value> ModuleBuilder::buildTensor(const TensorProto &tensor,
                                            StringRef name, OpBuilder &builder,
                                            Location loc) {
  ArrayRef<TensorRange> parts = tensors.find(tensor);
  if (parts.empty())
    return ConstantOp::create(builder, loc, tensorValue(tensor, context))
        .getResult();
  FailureOr<FlatSymbolRefAttr> symbol = weightSymbol(tensor, name, parts);
  if (failed(symbol))
    return failure();
  return GetWeightOp::create(builder, loc, tensorType(tensor, context), *symbol)
      .getResult();
}

/// A Constant node is the tensor that it stands for.
LogicalResult ModuleBuilder::buildConstant(const NodeProto &node,
                                           Scope &scope) {
  const AttributeProto *only =
      node.attribute_size() == 1 ? &node.attribute(0) : nullptr;
  StringRef kind = only ? StringRef(only->name()) : "";
  Location loc = locationOf(node);
  Builder &builder = scope.builder;
  auto vectorOf = [](int64_t size, Type element) {
    return RankedTensorType::get({size}, element);
  };
  auto scalarOf = [](Type element) {
    return RankedTensorType::get({}, element);
  };
  auto stringType = mlir::onnx::StringType::get(context);
  DenseElementsAttr value;
  if (kind == "value" && only->has_t()) {
    FailureOr<Value> tensor =
        buildTensor(only->t(), node.output(0), scope.builder, loc);
    if (failed(tensor))
      return failure();
    scope.values[node.output(0)] = *tensor;
    return success();
  }
  if (kind == "value_float")
    value = DenseElementsAttr::get(scalarOf(builder.getF32Type()),
                                   ArrayRef<float>(only->f()));
  else if (kind == "value_int")
    value = DenseElementsAttr::get(scalarOf(builder.getI64Type()),
                                   ArrayRef<int64_t>(only->i()));
  else if (kind == "value_string")
    value = DenseStringElementsAttr::get(scalarOf(stringType),
                                         {StringRef(only->s())});
  else if (kind == "value_floats")
    value = DenseElementsAttr::get(
        vectorOf(only->floats_size(), builder.getF32Type()),
        ArrayRef<float>(only->floats().data(), only->floats_size()));
  else if (kind == "value_ints")
    value = DenseElementsAttr::get(
        vectorOf(only->ints_size(), builder.getI64Type()),
        ArrayRef<int64_t>(only->ints().data(), only->ints_size()));
  else if (kind == "value_strings")
    value = DenseStringElementsAttr::get(
        vectorOf(only->strings_size(), stringType),
        SmallVector<StringRef>(only->strings().begin(), only->strings().end()));
  if (!value) {
    return error(describe(node) +
                 ": expects one attribute that gives the value");
  }
  scope.values[node.output(0)] = ConstantOp::create(scope.builder, loc, value);
  return success();
}

FailureOr<Attribute>
ModuleBuilder::convertAttribute(const AttributeProto &attribute,
                                const NodeProto &node) {
  Builder builder(context);
  switch (attribute.type()) {
  case AttributeProto::FLOAT:
    return Attribute(builder.getF32FloatAttr(attribute.f()));
  case AttributeProto::INT:
    return Attribute(builder.getI64IntegerAttr(attribute.i()));
  case AttributeProto::STRING:
    return Attribute(builder.getStringAttr(attribute.s()));
  case AttributeProto::FLOATS:
    return Attribute(builder.getDenseF32ArrayAttr(
        ArrayRef<float>(attribute.floats().data(), attribute.floats_size())));
  case AttributeProto::INTS:
    return Attribute(builder.getDenseI64ArrayAttr(
        ArrayRef<int64_t>(attribute.ints().data(), attribute.ints_size())));
  case AttributeProto::STRINGS:
    return Attribute(builder.getStrArrayAttr(SmallVector<StringRef>(
        attribute.strings().begin(), attribute.strings().end())));
  case AttributeProto::TYPE_PROTO:
    return Attribute(TypeAttr::get(convertType(attribute.tp(), context)));
  case AttributeProto::TENSOR: {
    if (!attribute.has_t())
      return error(describe(node) + ": attribute '" + attribute.name() +
                   "' has kind TENSOR, but holds none");
    ArrayRef<TensorRange> parts = tensors.find(attribute.t());
    if (parts.empty())
      return Attribute(tensorValue(attribute.t(), context));
    FailureOr<FlatSymbolRefAttr> symbol = weightSymbol(
        attribute.t(), node.name() + "." + attribute.name(), parts);
    if (failed(symbol))
      return failure();
    return Attribute(*symbol);
  }
  default:
    return error(describe(node) + ": attribute '" + attribute.name() +
                 "' has kind " +
                 AttributeProto::AttributeType_Name(attribute.type()) +
                 ", which is not supported");
  }
}

OwningOpRef<ModuleOp> mlir::moe::onnx_import::buildModule(
    const ::onnx::ModelProto &model, const TensorTable &tensors,
    const SourceFiles &files, StringRef path, MLIRContext &context) {
  return ModuleBuilder(model, tensors, files, path, &context).build();
}
