//===- GraphWriter.h - Writes nodes of an ONNX graph ------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_HUGGINGFACE_GRAPHWRITER_H
#define MOE_LIB_IMPORT_HUGGINGFACE_GRAPHWRITER_H

#include "onnx/onnx_pb.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <map>
#include <string>
#include <variant>
#include <vector>

namespace mlir::moe {

/// Values are their names.
using Name = std::string;

class GraphWriter {
public:
  struct Attribute {
    const char *name;
    std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
  };
  using Attributes = std::initializer_list<Attribute>;

  explicit GraphWriter(::onnx::GraphProto &graph) : graph(graph) {}

  /// What the names of the nodes to come begin with: "model.layers.0.mlp".
  std::string scope;

  std::vector<Name> nodes(llvm::StringRef type, llvm::ArrayRef<Name> inputs,
                          unsigned outputs, Attributes attributes = {},
                          llvm::StringRef domain = "");
  Name node(llvm::StringRef type, llvm::ArrayRef<Name> inputs,
            Attributes attributes = {}, llvm::StringRef domain = "") {
    return nodes(type, inputs, 1, attributes, domain).front();
  }
  /// A node that computes the output `name` of the graph.
  void rename(const Name &value, const Name &name);

  Name integers(llvm::ArrayRef<int64_t> values);
  Name integer(int64_t value); // of rank 0
  /// Numbers of an element type, of any shape.
  Name reals(llvm::ArrayRef<double> values, llvm::ArrayRef<int64_t> shape,
             int32_t type);
  Name real(double value, int32_t type) { return reals(value, {}, type); }

  struct Dim {
    std::string name;
    int64_t size;
    Dim(const char *name) : name(name), size(-1) {}
    Dim(int64_t size) : size(size) {}
  };
  Name input(const Name &name, int32_t type, llvm::ArrayRef<Dim> dims);
  void output(const Name &name, int32_t type, llvm::ArrayRef<Dim> dims);

private:
  Name constant(::onnx::TensorProto tensor);

  ::onnx::GraphProto &graph;
  std::map<std::string, unsigned> counts;
  std::map<std::string, Name> constants;
};

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_HUGGINGFACE_GRAPHWRITER_H
