//===- ExpandFunctions.cpp - operators by their definition ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The standard defines many operators by a graph of simpler ones. That graph
// takes the place of a node which the compiler has no converter for. It is
// written for some version of the operator set: it is taken only if the
// operators in it still have the parameters that they had then.
//
//===----------------------------------------------------------------------===//

#include "OnnxLibrary.h"
#include "ProtoWalk.h"

#include "onnx/defs/schema.h"
#include "onnx/shape_inference/attribute_binder.h"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <unordered_set>

using namespace ::onnx;
using namespace mlir::moe::onnx_import;

/// Sets the attributes that `node` leaves to the schema.
static void addDefaults(NodeProto &node, const OpSchema &schema) {
  std::unordered_set<std::string> given;
  for (const AttributeProto &attribute : node.attribute())
    given.insert(attribute.name());
  for (const auto &[name, attribute] : schema.attributes())
    if (!given.count(name) && attribute.default_value.has_type()) {
      AttributeProto &value = *node.add_attribute();
      value = attribute.default_value;
      value.set_name(name);
    }
}

namespace {

class Expander {
public:
  Expander(ModelProto &model, const SupportsOperator &supports);

  /// Expands what needs it, one level.
  bool run() { return expand(*model.mutable_graph()); }

private:
  using Types = std::unordered_map<std::string, const TypeProto *>;

  bool expand(GraphProto &graph);
  void setType(const std::string &name, const TypeProto *type, Types &hidden);
  const OpSchema *schemaOf(const NodeProto &node) const;
  bool isUsable(const NodeProto &node, int since) const;
  bool definition(const NodeProto &node, FunctionProto &body) const;
  void inlineBody(const NodeProto &call, FunctionProto &body,
                  google::protobuf::RepeatedPtrField<NodeProto> &nodes);
  std::string fresh(const std::string &wanted);

  ModelProto &model;
  const SupportsOperator &supports;
  std::unordered_map<std::string, int> versions;
  /// Of the values that are visible in the current graph.
  Types types;
  std::deque<TypeProto> initializerTypes;
  std::unordered_set<std::string> taken;
};

} // namespace

Expander::Expander(ModelProto &model, const SupportsOperator &supports)
    : model(model), supports(supports) {
  for (const OperatorSetIdProto &import : model.opset_import())
    versions[import.domain()] = static_cast<int>(import.version());
  walkGraphs(*model.mutable_graph(), [&](GraphProto &graph) {
    for (auto *values : {&graph.input(), &graph.value_info(), &graph.output()})
      for (const ValueInfoProto &value : *values)
        taken.insert(value.name());
    for (const TensorProto &tensor : graph.initializer())
      taken.insert(tensor.name());
    for (const NodeProto &node : graph.node()) {
      taken.insert(node.name());
      taken.insert(node.output().begin(), node.output().end());
    }
  });
}

const OpSchema *Expander::schemaOf(const NodeProto &node) const {
  auto version = versions.find(node.domain());
  if (version == versions.end())
    return nullptr;
  return OpSchemaRegistry::Instance()->GetSchema(
      node.op_type(), version->second, node.domain());
}

/// Whether `node`, written for `then`, says the same to `now`.
static bool isCompatible(const NodeProto &node, const OpSchema *then,
                         const OpSchema *now) {
  if (then == now)
    return true;
  if (!then || !now || now->max_input() < node.input_size())
    return false;
  std::unordered_set<std::string> given;
  for (const AttributeProto &attribute : node.attribute())
    given.insert(attribute.name());
  for (const auto &[name, attribute] : then->attributes()) {
    auto found = now->attributes().find(name);
    bool isSame = found == now->attributes().end()
                      ? !given.count(name)
                      : given.count(name) ||
                            found->second.default_value.SerializeAsString() ==
                                attribute.default_value.SerializeAsString();
    if (!isSame)
      return false;
  }
  return true;
}

/// Whether a node of a definition from version `since` can be compiled, here or
/// in a later round.
bool Expander::isUsable(const NodeProto &node, int since) const {
  for (const AttributeProto &attribute : node.attribute())
    if (attribute.has_g() || attribute.graphs_size())
      return false;
  auto version = versions.find(node.domain());
  if (version == versions.end())
    return false;
  const OpSchema *schema = schemaOf(node);
  if (!isCompatible(node,
                    OpSchemaRegistry::Instance()->GetSchema(
                        node.op_type(), since, node.domain()),
                    schema))
    return false;
  if (supports(node.domain(), node.op_type(), version->second))
    return true;
  return schema &&
         (schema->HasFunction() || schema->HasContextDependentFunction());
}

/// The greatest of `versions` up to `version`.
static int latest(const std::vector<int> &versions, int version) {
  int result = 0;
  for (int v : versions)
    if (v <= version)
      result = std::max(result, v);
  return result;
}

/// The definition of `node` in this version with these types.
bool Expander::definition(const NodeProto &node, FunctionProto &body) const {
  const OpSchema *schema = schemaOf(node);
  if (!schema)
    return false;
  int version = versions.at(node.domain()), since;
  if (const FunctionProto *function = schema->GetFunction(version)) {
    since = latest(schema->function_opset_versions(), version);
    body = *function;
  } else if (schema->HasContextDependentFunction()) {
    since =
        latest(schema->context_dependent_function_opset_versions(), version);
    std::vector<TypeProto> inputs;
    for (const std::string &input : node.input()) {
      auto found = types.find(input);
      if ((found == types.end() || !found->second) && !input.empty())
        return false;
      inputs.push_back(input.empty() ? TypeProto() : *found->second);
    }
    FunctionBodyBuildContextImpl context(node, inputs);
    if (!schema->BuildContextDependentFunction(context, body, version))
      return false;
  } else {
    return false;
  }
  // The library keeps no record of the version of its own domain.
  std::unordered_map<std::string, int> written = versions;
  for (const OperatorSetIdProto &import : body.opset_import())
    written[import.domain()] = static_cast<int>(import.version());
  written[node.domain()] = since;
  for (const NodeProto &inner : body.node())
    if (!isUsable(inner, written[inner.domain()]))
      return false;
  return true;
}

std::string Expander::fresh(const std::string &wanted) {
  std::string name = wanted;
  for (int i = 2; !taken.insert(name).second; ++i)
    name = wanted + "_" + std::to_string(i);
  return name;
}

/// Appends the nodes of `body`, with the values of `call` for its parameters.
void Expander::inlineBody(
    const NodeProto &call, FunctionProto &body,
    google::protobuf::RepeatedPtrField<NodeProto> &nodes) {
  NodeProto complete = call;
  addDefaults(complete, *schemaOf(call));
  internal::AttributeBinder::BindAttributes(complete, body);

  std::unordered_map<std::string, std::string> names;
  for (int i = 0; i < body.input_size(); ++i)
    names[body.input(i)] = i < call.input_size() ? call.input(i) : "";
  for (int i = 0; i < body.output_size(); ++i)
    if (i < call.output_size() && !call.output(i).empty())
      names[body.output(i)] = call.output(i);
  for (NodeProto &inner : *body.mutable_node()) {
    // Messages about it lead to the node that the model has.
    inner.set_name(fresh(call.name() + "." + inner.op_type()));
    *inner.mutable_metadata_props() = call.metadata_props();
    for (std::string &input : *inner.mutable_input())
      if (!input.empty())
        input = names[input];
    for (std::string &output : *inner.mutable_output())
      if (!output.empty()) {
        auto [entry, isNew] = names.try_emplace(output);
        if (isNew)
          entry->second = fresh(call.name() + "." + output);
        output = entry->second;
      }
    nodes.Add()->Swap(&inner);
  }
}

/// `hidden` keeps what the name means in the graphs around this one.
void Expander::setType(const std::string &name, const TypeProto *type,
                       Types &hidden) {
  const TypeProto *&current = types[name];
  hidden.try_emplace(name, current);
  current = type;
}

bool Expander::expand(GraphProto &graph) {
  Types hidden;
  for (auto *values : {&graph.input(), &graph.value_info(), &graph.output()})
    for (const ValueInfoProto &value : *values)
      if (value.has_type())
        setType(value.name(), &value.type(), hidden);
  for (const TensorProto &tensor : graph.initializer()) {
    TypeProto &type = initializerTypes.emplace_back();
    type.mutable_tensor_type()->set_elem_type(tensor.data_type());
    for (int64_t dim : tensor.dims())
      type.mutable_tensor_type()->mutable_shape()->add_dim()->set_dim_value(
          dim);
    setType(tensor.name(), &type, hidden);
  }
  bool changed = false;
  google::protobuf::RepeatedPtrField<NodeProto> nodes;
  for (NodeProto &node : *graph.mutable_node()) {
    for (AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_g())
        changed |= expand(*attribute.mutable_g());
      for (GraphProto &inner : *attribute.mutable_graphs())
        changed |= expand(inner);
    }
    FunctionProto body;
    auto version = versions.find(node.domain());
    if (version == versions.end() ||
        supports(node.domain(), node.op_type(), version->second) ||
        !definition(node, body)) {
      nodes.Add()->Swap(&node);
      continue;
    }
    inlineBody(node, body, nodes);
    changed = true;
  }
  graph.mutable_node()->Swap(&nodes);
  for (const auto &[name, type] : hidden)
    types[name] = type;
  return changed;
}

bool mlir::moe::onnx_import::expandFunctions(ModelProto &model,
                                             const SupportsOperator &supports) {
  ModelProto original = model;
  try {
    return Expander(model, supports).run();
  } catch (const std::exception &) {
    // A definition that cannot be built: the raise phase reports its node.
    model.Swap(&original);
    return false;
  }
}

/// A model of one node, with inputs of floats of rank `rank` and the attributes
/// that it must have.
static ModelProto modelOf(const OpSchema &schema, int version, int rank) {
  ModelProto model;
  model.set_ir_version(static_cast<int>(maxIRVersion()));
  model.add_opset_import()->set_version(version);
  GraphProto &graph = *model.mutable_graph();
  NodeProto &node = *graph.add_node();
  node.set_op_type(schema.Name());
  node.set_name("node");
  for (int i = 0; i < schema.min_input(); ++i) {
    ValueInfoProto &value = *graph.add_input();
    value.set_name("input" + std::to_string(i));
    TypeProto_Tensor &type = *value.mutable_type()->mutable_tensor_type();
    type.set_elem_type(TensorProto::FLOAT);
    TensorShapeProto &shape = *type.mutable_shape();
    for (int dim = 0; dim < rank; ++dim)
      shape.add_dim()->set_dim_value(1);
    node.add_input(value.name());
  }
  for (const auto &[name, attribute] : schema.attributes())
    if (attribute.required && attribute.type == AttributeProto::INT) {
      AttributeProto &value = *node.add_attribute();
      value.set_name(name);
      value.set_type(AttributeProto::INT);
      value.set_i(1);
    }
  node.add_output("output");
  return model;
}

std::vector<std::pair<std::string, int>>
mlir::moe::onnx_import::definedOperators(const SupportsOperator &supports) {
  int version = opsetRange("")->second;
  std::vector<std::pair<std::string, int>> operators;
  for (const OpSchema &schema : OpSchemaRegistry::get_all_schemas()) {
    bool defined = schema.HasFunction() || schema.HasContextDependentFunction();
    if (!schema.domain().empty() || !defined || schema.deprecated() ||
        supports("", schema.Name(), version))
      continue;
    for (int rank : {4, 1, 0}) {
      ModelProto model = modelOf(schema, version, rank);
      if (!expandFunctions(model, supports))
        continue;
      operators.emplace_back(schema.Name(), schema.SinceVersion());
      break;
    }
  }
  std::sort(operators.begin(), operators.end());
  return operators;
}

void mlir::moe::onnx_import::completeAttributes(ModelProto &model) {
  std::unordered_map<std::string, int> versions;
  for (const OperatorSetIdProto &import : model.opset_import())
    versions[import.domain()] = static_cast<int>(import.version());
  walkNodes(model, [&](NodeProto &node) {
    auto version = versions.find(node.domain());
    if (version == versions.end())
      return;
    const OpSchema *schema = OpSchemaRegistry::Instance()->GetSchema(
        node.op_type(), version->second, node.domain());
    if (schema && schema->HasFunction() &&
        !schema->has_type_and_shape_inference_function())
      addDefaults(node, *schema);
  });
}
