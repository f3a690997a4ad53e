//===- ProtoWalk.h - Visits every node and tensor of a model ---*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ONNX_PROTOWALK_H
#define MOE_LIB_IMPORT_ONNX_PROTOWALK_H

#include "onnx/onnx_pb.h"

namespace mlir::moe::onnx_import {

/// Calls `visit(NodeProto &)` for `node` and the nodes of its subgraphs, outer
/// ones first. The scan of the file has bounded the depth.
template <typename Visit>
void walkNodes(::onnx::NodeProto &node, const Visit &visit) {
  visit(node);
  for (::onnx::AttributeProto &attribute : *node.mutable_attribute()) {
    if (attribute.has_g())
      for (::onnx::NodeProto &inner : *attribute.mutable_g()->mutable_node())
        walkNodes(inner, visit);
    for (::onnx::GraphProto &graph : *attribute.mutable_graphs())
      for (::onnx::NodeProto &inner : *graph.mutable_node())
        walkNodes(inner, visit);
  }
}

template <typename Visit>
void walkNodes(::onnx::ModelProto &model, const Visit &visit) {
  for (::onnx::NodeProto &node : *model.mutable_graph()->mutable_node())
    walkNodes(node, visit);
  for (::onnx::FunctionProto &function : *model.mutable_functions())
    for (::onnx::NodeProto &node : *function.mutable_node())
      walkNodes(node, visit);
}

template <typename Visit>
void walkGraphs(::onnx::NodeProto &node, const Visit &visit);

/// Calls `visit(GraphProto &)` for `graph` and all graphs inside it.
template <typename Visit>
void walkGraphs(::onnx::GraphProto &graph, const Visit &visit) {
  visit(graph);
  for (::onnx::NodeProto &node : *graph.mutable_node())
    walkGraphs(node, visit);
}

/// The same for the graphs inside `node`.
template <typename Visit>
void walkGraphs(::onnx::NodeProto &node, const Visit &visit) {
  for (::onnx::AttributeProto &attribute : *node.mutable_attribute()) {
    if (attribute.has_g())
      walkGraphs(*attribute.mutable_g(), visit);
    for (::onnx::GraphProto &inner : *attribute.mutable_graphs())
      walkGraphs(inner, visit);
  }
}

/// Calls `visit(TensorProto &, const NodeProto *)` for the tensors of `graph`,
/// with the node for one that is an attribute. Stops when `visit` says false.
template <typename Visit>
bool walkTensors(::onnx::GraphProto &graph, const Visit &visit);

template <typename Visit>
bool walkTensors(::onnx::AttributeProto &attribute,
                 const ::onnx::NodeProto *node, const Visit &visit) {
  if (attribute.has_t() && !visit(*attribute.mutable_t(), node))
    return false;
  for (::onnx::TensorProto &tensor : *attribute.mutable_tensors())
    if (!visit(tensor, node))
      return false;
  if (attribute.has_g() && !walkTensors(*attribute.mutable_g(), visit))
    return false;
  for (::onnx::GraphProto &graph : *attribute.mutable_graphs())
    if (!walkTensors(graph, visit))
      return false;
  return true;
}

template <typename Visit>
bool walkTensors(::onnx::GraphProto &graph, const Visit &visit) {
  for (::onnx::TensorProto &tensor : *graph.mutable_initializer())
    if (!visit(tensor, nullptr))
      return false;
  for (::onnx::NodeProto &node : *graph.mutable_node())
    for (::onnx::AttributeProto &attribute : *node.mutable_attribute())
      if (!walkTensors(attribute, &node, visit))
        return false;
  return true;
}

template <typename Visit>
bool walkTensors(::onnx::ModelProto &model, const Visit &visit) {
  if (!walkTensors(*model.mutable_graph(), visit))
    return false;
  for (::onnx::FunctionProto &function : *model.mutable_functions()) {
    for (::onnx::AttributeProto &attribute :
         *function.mutable_attribute_proto())
      if (!walkTensors(attribute, nullptr, visit))
        return false;
    for (::onnx::NodeProto &node : *function.mutable_node())
      for (::onnx::AttributeProto &attribute : *node.mutable_attribute())
        if (!walkTensors(attribute, &node, visit))
          return false;
  }
  return true;
}

} // namespace mlir::moe::onnx_import

#endif // MOE_LIB_IMPORT_ONNX_PROTOWALK_H
