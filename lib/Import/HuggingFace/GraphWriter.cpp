//===- GraphWriter.cpp - Writes nodes of an ONNX graph --------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GraphWriter.h"

#include "llvm/ADT/APFloat.h"

using namespace mlir::moe;
using ::onnx::AttributeProto;
using ::onnx::NodeProto;
using ::onnx::TensorProto;

std::vector<Name> GraphWriter::nodes(llvm::StringRef type,
                                     llvm::ArrayRef<Name> inputs,
                                     unsigned outputs, Attributes attributes,
                                     llvm::StringRef domain) {
  NodeProto &node = *graph.add_node();
  node.set_op_type(type.str());
  node.set_domain(domain.str());
  std::string name = scope + (scope.empty() ? "" : ".") + type.str();
  if (unsigned count = counts[name]++)
    name += "_" + std::to_string(count + 1);
  node.set_name(name);
  if (!scope.empty()) {
    auto &space = *node.add_metadata_props();
    space.set_key("namespace");
    space.set_value(scope);
  }
  for (const Name &input : inputs)
    node.add_input(input);
  for (const Attribute &given : attributes) {
    AttributeProto &attribute = *node.add_attribute();
    attribute.set_name(given.name);
    if (auto *integer = std::get_if<int64_t>(&given.value)) {
      attribute.set_type(AttributeProto::INT);
      attribute.set_i(*integer);
    } else if (auto *real = std::get_if<float>(&given.value)) {
      attribute.set_type(AttributeProto::FLOAT);
      attribute.set_f(*real);
    } else if (auto *list = std::get_if<std::vector<int64_t>>(&given.value)) {
      attribute.set_type(AttributeProto::INTS);
      for (int64_t element : *list)
        attribute.add_ints(element);
    } else {
      attribute.set_type(AttributeProto::STRING);
      attribute.set_s(std::get<std::string>(given.value));
    }
  }
  std::vector<Name> results;
  for (unsigned i = 0; i < outputs; ++i) {
    results.push_back(outputs == 1 ? name : name + "." + std::to_string(i));
    node.add_output(results.back());
  }
  return results;
}

void GraphWriter::rename(const Name &value, const Name &name) {
  NodeProto &node = *graph.add_node();
  node.set_op_type("Identity");
  node.set_name(name);
  node.add_input(value);
  node.add_output(name);
}

Name GraphWriter::constant(TensorProto tensor) {
  Name &name = constants[tensor.SerializeAsString()];
  if (!name.empty())
    return name;
  name = "constant." + std::to_string(constants.size());
  tensor.set_name(name);
  *graph.add_initializer() = std::move(tensor);
  return name;
}

Name GraphWriter::integers(llvm::ArrayRef<int64_t> values) {
  TensorProto tensor;
  tensor.set_data_type(TensorProto::INT64);
  tensor.add_dims(values.size());
  for (int64_t value : values)
    tensor.add_int64_data(value);
  return constant(std::move(tensor));
}

Name GraphWriter::integer(int64_t value) {
  TensorProto tensor;
  tensor.set_data_type(TensorProto::INT64);
  tensor.add_int64_data(value);
  return constant(std::move(tensor));
}

Name GraphWriter::reals(llvm::ArrayRef<double> values,
                        llvm::ArrayRef<int64_t> shape, int32_t type) {
  TensorProto tensor;
  tensor.set_data_type(type);
  for (int64_t dim : shape)
    tensor.add_dims(dim);
  for (double value : values) {
    if (type == TensorProto::FLOAT) {
      tensor.add_float_data(static_cast<float>(value));
      continue;
    }
    llvm::APFloat rounded(value);
    bool loses;
    rounded.convert(type == TensorProto::BFLOAT16 ? llvm::APFloat::BFloat()
                                                  : llvm::APFloat::IEEEhalf(),
                    llvm::APFloat::rmNearestTiesToEven, &loses);
    tensor.add_int32_data(
        static_cast<int32_t>(rounded.bitcastToAPInt().getZExtValue()));
  }
  return constant(std::move(tensor));
}

static void setType(::onnx::ValueInfoProto &value, const Name &name,
                    int32_t type, llvm::ArrayRef<GraphWriter::Dim> dims) {
  value.set_name(name);
  auto &tensor = *value.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(type);
  for (const GraphWriter::Dim &dim : dims) {
    auto &made = *tensor.mutable_shape()->add_dim();
    if (dim.size < 0)
      made.set_dim_param(dim.name);
    else
      made.set_dim_value(dim.size);
  }
}

Name GraphWriter::input(const Name &name, int32_t type,
                        llvm::ArrayRef<Dim> dims) {
  setType(*graph.add_input(), name, type, dims);
  return name;
}

void GraphWriter::output(const Name &name, int32_t type,
                         llvm::ArrayRef<Dim> dims) {
  setType(*graph.add_output(), name, type, dims);
}
