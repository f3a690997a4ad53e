//===- ModelChecks.cpp - What the ONNX checker lets through ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ModelChecks.h"

#include "Errors.h"

#include "ElementTypes.h"
#include "OnnxLibrary.h"
#include "ProtoWalk.h"
#include "Tensors.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace mlir::moe::onnx_import;
using ::onnx::AttributeProto;
using ::onnx::FunctionProto;
using ::onnx::ModelProto;
using ::onnx::NodeProto;

/// The oldest format with operator sets.
static constexpr int64_t kMinIRVersion = 3;
/// Bounds on what a few bytes of nested calls may expand to.
static constexpr uint64_t kMaxInlinedNodes = 2'000'000;
static constexpr unsigned kMaxCallDepth = 100;

void mlir::moe::onnx_import::normalizeDomains(ModelProto &model) {
  auto normalize = [](auto &message) {
    if (message.domain() == "ai.onnx")
      message.set_domain("");
  };
  for (auto &import : *model.mutable_opset_import())
    normalize(import);
  for (FunctionProto &function : *model.mutable_functions()) {
    normalize(function);
    for (auto &import : *function.mutable_opset_import())
      normalize(import);
  }
  walkNodes(model, normalize);
}

void mlir::moe::onnx_import::nameNodes(ModelProto &model) {
  StringSet<> taken;
  std::vector<NodeProto *> unnamed;
  StringMap<unsigned> counts;
  // Given names go first: a generated one must not displace them.
  auto claim = [&](NodeProto &node, const std::string &wanted) {
    std::string name = wanted;
    while (!taken.insert(name).second)
      name = wanted + "_" + std::to_string(++counts[wanted] + 1);
    if (node.name() != name)
      node.set_name(name);
  };
  walkNodes(model, [&](NodeProto &node) {
    if (node.name().empty())
      unnamed.push_back(&node);
    else
      claim(node, node.name());
  });
  for (NodeProto *node : unnamed) {
    std::string name = node->op_type();
    for (const std::string &output : node->output())
      if (!output.empty()) {
        name += "_" + output;
        break;
      }
    claim(*node, name);
  }
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

/// The field of the first text in `message` that is not UTF-8, and the
/// innermost node that it belongs to. The scan of the file has bounded the
/// depth.
static const google::protobuf::FieldDescriptor *
findBadText(const google::protobuf::Message &message, const NodeProto *&node) {
  using google::protobuf::FieldDescriptor;
  const google::protobuf::Reflection *reflection = message.GetReflection();
  std::vector<const FieldDescriptor *> fields;
  reflection->ListFields(message, &fields);
  std::string buffer;
  for (const FieldDescriptor *field : fields) {
    int count =
        field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->type() == FieldDescriptor::TYPE_STRING) {
        const std::string &text =
            field->is_repeated()
                ? reflection->GetRepeatedStringReference(message, field, i,
                                                         &buffer)
                : reflection->GetStringReference(message, field, &buffer);
        if (!json::isUTF8(text))
          return field;
      } else if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
        const google::protobuf::Message &inner =
            field->is_repeated()
                ? reflection->GetRepeatedMessage(message, field, i)
                : reflection->GetMessage(message, field);
        const FieldDescriptor *bad = findBadText(inner, node);
        if (!bad)
          continue;
        if (!node && inner.GetDescriptor() == NodeProto::descriptor())
          node = static_cast<const NodeProto *>(&inner);
        return bad;
      } else {
        break; // numbers, or bytes of any kind
      }
    }
  }
  return nullptr;
}

/// Names end up in messages, in JSON and in C headers.
static Error checkText(const ModelProto &model) {
  const NodeProto *node = nullptr;
  const auto *field = findBadText(model, node);
  if (!field)
    return Error::success();
  return makeError((node ? describe(*node) + ": " : std::string()) + "field '" +
                   field->name() + "' of " + field->containing_type()->name() +
                   " is not UTF-8, expects UTF-8");
}

//===----------------------------------------------------------------------===//
// Operator sets
//===----------------------------------------------------------------------===//

template <typename Imports>
static Error checkImports(const Imports &imports, const Twine &owner) {
  StringSet<> seen;
  for (const ::onnx::OperatorSetIdProto &import : imports) {
    std::string domain = import.domain().empty() ? "ai.onnx" : import.domain();
    if (!seen.insert(domain).second)
      return makeError(owner + " imports operator set '" + domain + "' twice");
    std::optional<std::pair<int, int>> range = opsetRange(import.domain());
    int64_t least = range ? range->first : 1;
    int64_t most = range ? range->second : INT32_MAX;
    if (import.version() < least || import.version() > most)
      return makeError(owner + " imports version " + Twine(import.version()) +
                       " of operator set '" + domain +
                       "', expects a version from " + Twine(least) + " to " +
                       Twine(most));
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Interface
//===----------------------------------------------------------------------===//

static Error checkDeclaredType(const ::onnx::ValueInfoProto &value,
                               const Twine &subject, bool mayBeOpen = false) {
  if (!value.type().has_tensor_type())
    return Error::success();
  const auto &type = value.type().tensor_type();
  // Of a value inside some exporters leave the type open.
  bool open = mayBeOpen && type.elem_type() == 0;
  const ElementType *element = elementType(open ? 1 : type.elem_type());
  if (!element)
    return makeError(subject + " has element type " + Twine(type.elem_type()) +
                     ", which is none that ONNX defines");
  uint64_t elements = 1;
  bool overflow = false, empty = false;
  if (type.shape().dim_size() > 64)
    return makeError(subject + " has " + Twine(type.shape().dim_size()) +
                     " dimensions, expects at most 64");
  for (const auto &dim : type.shape().dim()) {
    // Some exporters write -1 for a dynamic dimension.
    if (dim.dim_value() < -1)
      return makeError(subject + " has the dimension " +
                       Twine(dim.dim_value()) + ", expects at least 0");
    if (!dim.has_dim_value() || dim.dim_value() < 0)
      continue;
    empty |= dim.dim_value() == 0;
    bool overflows = false;
    elements =
        SaturatingMultiply<uint64_t>(elements, dim.dim_value(), &overflows);
    overflow |= overflows;
  }
  if (!empty && (overflow || !packedBytes(elements, element->bits)))
    return makeError(subject + " has dimensions whose size exceeds 2^63 bits");
  return Error::success();
}

static Error checkInterface(const ::onnx::GraphProto &graph) {
  for (const auto &input : graph.input()) {
    std::string subject = "input '" + input.name() + "'";
    if (input.type().value_case() == ::onnx::TypeProto::VALUE_NOT_SET)
      return makeError(subject + " has no type");
    if (Error error = checkDeclaredType(input, subject))
      return error;
  }
  if (graph.output_size() == 0)
    return makeError("has no output");
  StringSet<> seen;
  for (const auto &output : graph.output()) {
    if (!seen.insert(output.name()).second)
      return makeError("has two outputs named '" + output.name() + "'");
    if (output.has_type())
      if (Error error =
              checkDeclaredType(output, "output '" + output.name() + "'"))
        return error;
  }
  return Error::success();
}

/// The types that a file declares for values of its graphs and functions.
static Error checkDeclaredTypes(ModelProto &model) {
  std::string message;
  auto check = [&](const auto &values) {
    for (const auto &value : values)
      if (message.empty())
        if (Error error = checkDeclaredType(
                value, "value '" + value.name() + "'", /*mayBeOpen=*/true))
          message = toString(std::move(error));
  };
  auto checkGraph = [&](::onnx::GraphProto &graph) {
    check(graph.value_info());
    if (&graph == &model.graph())
      return;
    check(graph.input());
    check(graph.output());
  };
  walkGraphs(*model.mutable_graph(), checkGraph);
  for (FunctionProto &function : *model.mutable_functions()) {
    check(function.value_info());
    for (NodeProto &node : *function.mutable_node())
      walkGraphs(node, checkGraph);
  }
  return message.empty() ? Error::success() : makeError(message);
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

namespace {
/// Bounds the work of inlining before it is done.
class CallGraph {
public:
  explicit CallGraph(ModelProto &model) : model(model) {}

  Error check();

private:
  static std::string key(StringRef domain, StringRef name, StringRef overload) {
    const StringRef separator("\0", 1);
    return (domain + separator + name + separator + overload).str();
  }
  FunctionProto *callee(const NodeProto &node) const {
    return functions.lookup(
        key(node.domain(), node.op_type(), node.overload()));
  }
  /// The number of nodes of `function` when all its calls are inlined.
  Expected<uint64_t> measure(FunctionProto &function, unsigned depth);
  Expected<uint64_t> measure(NodeProto &node, unsigned depth);

  ModelProto &model;
  StringMap<FunctionProto *> functions;
  DenseMap<FunctionProto *, uint64_t> measured;
};
} // namespace

Expected<uint64_t> CallGraph::measure(NodeProto &outer, unsigned depth) {
  uint64_t total = 0;
  std::string message;
  walkNodes(outer, [&](NodeProto &node) {
    if (!message.empty())
      return;
    FunctionProto *function = callee(node);
    Expected<uint64_t> size =
        function ? measure(*function, depth) : Expected<uint64_t>(1);
    if (!size)
      message = toString(size.takeError());
    else
      total = SaturatingAdd(total, *size);
  });
  if (!message.empty())
    return makeError(message);
  return total;
}

Expected<uint64_t> CallGraph::measure(FunctionProto &function, unsigned depth) {
  if (auto known = measured.find(&function); known != measured.end())
    return known->second;
  if (depth > kMaxCallDepth)
    return makeError("function '" + function.name() +
                     "' calls itself, or nests calls deeper than " +
                     Twine(kMaxCallDepth));
  uint64_t total = 0;
  for (NodeProto &node : *function.mutable_node()) {
    Expected<uint64_t> size = measure(node, depth + 1);
    if (!size)
      return size.takeError();
    total = SaturatingAdd(total, *size);
  }
  measured[&function] = total;
  return total;
}

Error CallGraph::check() {
  for (FunctionProto &function : *model.mutable_functions())
    if (!functions
             .try_emplace(
                 key(function.domain(), function.name(), function.overload()),
                 &function)
             .second)
      return makeError("has two functions '" + function.domain() +
                       "::" + function.name() + "'");
  uint64_t total = 0;
  for (FunctionProto &function : *model.mutable_functions())
    if (Expected<uint64_t> size = measure(function, 0); !size)
      return size.takeError();
  for (NodeProto &node : *model.mutable_graph()->mutable_node()) {
    Expected<uint64_t> size = measure(node, 0);
    if (!size)
      return size.takeError();
    total = SaturatingAdd(total, *size);
  }
  if (model.functions_size() != 0 && total > kMaxInlinedNodes)
    return makeError("has functions that expand to more than " +
                     Twine(kMaxInlinedNodes) + " nodes");
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Unsupported forms
//===----------------------------------------------------------------------===//

static Error checkForms(ModelProto &model) {
  std::string message;
  walkGraphs(*model.mutable_graph(), [&](::onnx::GraphProto &graph) {
    if (graph.sparse_initializer_size() != 0 && message.empty())
      message = "initializer '" + graph.sparse_initializer(0).values().name() +
                "' is sparse, expects dense ones";
    for (NodeProto &node : *graph.mutable_node())
      for (const AttributeProto &attribute : node.attribute())
        if (!attribute.ref_attr_name().empty() && message.empty())
          message = describe(node) + ": attribute '" + attribute.name() +
                    "' refers to a function's attribute, but the node is in "
                    "no function";
  });
  walkNodes(model, [&](NodeProto &node) {
    if (StringRef(node.op_type()).contains("::") && message.empty())
      message = describe(node) + ": expects an operator name without '::'";
    for (const AttributeProto &attribute : node.attribute()) {
      bool unsupported =
          attribute.has_sparse_tensor() || attribute.sparse_tensors_size() ||
          attribute.tensors_size() || attribute.type_protos_size();
      if (unsupported && message.empty())
        message = describe(node) + ": attribute '" + attribute.name() +
                  "' holds sparse tensors or a list of tensors or types, "
                  "which is not supported";
    }
  });
  return message.empty() ? Error::success() : makeError(message);
}

Error mlir::moe::onnx_import::checkFormat(const ModelProto &model) {
  if (!model.has_ir_version() || !model.has_graph())
    return makeError("is no ONNX model: it has no " +
                     Twine(model.has_graph() ? "IR version" : "graph"));
  if (model.ir_version() < kMinIRVersion || model.ir_version() > maxIRVersion())
    return makeError("has IR version " + Twine(model.ir_version()) +
                     ", expects a version from " + Twine(kMinIRVersion) +
                     " to " + Twine(maxIRVersion()));
  return Error::success();
}

Error mlir::moe::onnx_import::checkStructure(ModelProto &model) {
  if (Error error = checkText(model))
    return error;
  if (model.opset_import_size() == 0)
    return makeError("imports no operator set");
  if (Error error = checkImports(model.opset_import(), "the model"))
    return error;
  for (const FunctionProto &function : model.functions())
    if (Error error = checkImports(function.opset_import(),
                                   "function '" + function.name() + "'"))
      return error;
  if (Error error = checkInterface(model.graph()))
    return error;
  if (Error error = checkDeclaredTypes(model))
    return error;
  if (Error error = checkForms(model))
    return error;
  return CallGraph(model).check();
}
