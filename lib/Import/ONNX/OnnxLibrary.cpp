//===- OnnxLibrary.cpp - Calls into the ONNX library ----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OnnxLibrary.h"

#include "ContribSchemas.h"
#include "ProtoWalk.h"

#include "onnx/checker.h"
#include "onnx/inliner/inliner.h"
#include "onnx/shape_inference/implementation.h"
#include "onnx/version_converter/convert.h"

#include <algorithm>
#include <google/protobuf/stubs/logging.h>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

using namespace ::onnx;
using namespace mlir::moe::onnx_import;

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

/// `text` on one line.
static std::string flatten(const std::string &text) {
  std::string out;
  for (char c : text) {
    bool space = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (!space)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  while (!out.empty() && out.back() == ' ')
    out.pop_back();
  return out;
}

static std::string quoteNode(const std::string &name, const std::string &op) {
  return "node '" + name + "' (" + op + ")";
}

/// Puts the node in front of what the checker says about it.
static std::string checkerMessage(const std::string &text) {
  static const std::string context =
      "==> Context: Bad node spec for node. Name: ";
  size_t at = text.find(context);
  if (at == std::string::npos)
    return flatten(text);
  std::string rest = flatten(text.substr(at + context.size()));
  std::string message = flatten(text.substr(0, at));
  // With nested subgraphs the outermost node comes first.
  size_t op = rest.find(" OpType: ");
  if (op == std::string::npos)
    return message;
  size_t end = rest.find(' ', op + 9);
  return quoteNode(rest.substr(0, op), rest.substr(op + 9, end - op - 9)) +
         ": " + message;
}

/// Runs `body`, which may throw anything.
template <typename Body> static Problem guarded(const Body &body) {
  try {
    body();
    return std::nullopt;
  } catch (const checker::ValidationError &error) {
    return checkerMessage(error.what());
  } catch (const std::bad_alloc &) {
    return std::string("needs more memory than there is");
  } catch (const std::exception &error) {
    return flatten(error.what());
  } catch (...) {
    return std::string("unknown failure of the ONNX library");
  }
}

//===----------------------------------------------------------------------===//
// Operator schemas
//===----------------------------------------------------------------------===//

namespace {

/// The standard's schemas and the contrib ones.
class Registry : public ISchemaRegistry {
public:
  const OpSchema *GetSchema(const std::string &opType, int version,
                            const std::string &domain) const override {
    if (const OpSchema *schema = findContribSchema(domain, opType))
      return schema;
    return OpSchemaRegistry::Instance()->GetSchema(opType, version, domain);
  }
};

/// For the checker: an operator of a standard domain that nobody knows is for
/// the raise phase to report, together with all others.
class LenientRegistry : public Registry {
public:
  const OpSchema *GetSchema(const std::string &opType, int version,
                            const std::string &domain) const override {
    const OpSchema *schema = Registry::GetSchema(opType, version, domain);
    return schema ? schema : &anySchema();
  }
};

/// Whether an equation of Einsum has terms of letters and at most one "...".
/// What the library infers of others reads dimensions that are not there.
bool isEquation(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  if (size_t arrow = text.find("->"); arrow != std::string::npos)
    text.replace(arrow, 2, ",");
  bool hasEllipsis = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == ',') {
      hasEllipsis = false;
    } else if (!hasEllipsis && text.compare(i, 3, "...") == 0) {
      hasEllipsis = true;
      i += 2;
    } else if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z')) {
      return false;
    }
  }
  return true;
}

/// For inference: what writes out one dimension per element of a shape operand
/// is kept from operands that claim 2^62 elements, what writes out the parts of
/// a split from numbers of parts that are not those of its results, what reads
/// an equation from what is none, and what counts dimensions from sizes below
/// 0.
class InferenceRegistry : public Registry {
public:
  const OpSchema *GetSchema(const std::string &opType, int version,
                            const std::string &domain) const override {
    const OpSchema *schema = Registry::GetSchema(opType, version, domain);
    if (!schema)
      return nullptr;
    // The other inference functions have a bound of their own.
    int since = schema->SinceVersion();
    bool unboundedInference = (opType == "Expand" && since < 13) ||
                              (opType == "Split" && since >= 18) ||
                              opType == "Einsum" || opType == "GatherND";
    if (!unboundedInference && !schema->has_data_propagation_function())
      return schema;
    // Copies of schemas are large, and made once for all imports.
    static std::mutex mutex;
    static std::unordered_map<const OpSchema *, std::unique_ptr<OpSchema>>
        bounded;
    std::lock_guard<std::mutex> lock(mutex);
    auto [entry, isNew] = bounded.try_emplace(schema, nullptr);
    if (isNew) {
      entry->second = std::make_unique<OpSchema>(*schema);
      bound(*entry->second, unboundedInference);
    }
    return entry->second.get();
  }

private:
  static bool isLong(const TypeProto *type) {
    constexpr int64_t kMaxElements = 1024;
    return type && type->tensor_type().shape().dim_size() == 1 &&
           type->tensor_type().shape().dim(0).dim_value() > kMaxElements;
  }

  template <typename Context> static bool hasLongInput(Context &ctx) {
    for (size_t i = 0; i < ctx.getNumInputs(); ++i)
      if (isLong(ctx.getInputType(i)))
        return true;
    return false;
  }

  static void bound(OpSchema &schema, bool inference) {
    if (schema.has_data_propagation_function()) {
      DataPropagationFunction propagate = schema.GetDataPropagationFunction();
      schema.PartialDataPropagationFunction(
          [propagate](DataPropagationContext &ctx) {
            if (!hasLongInput(ctx))
              propagate(ctx);
          });
    }
    if (!inference)
      return;
    InferenceFunction infer = schema.GetTypeAndShapeInferenceFunction();
    schema.TypeAndShapeInferenceFunction(
        schema.Name() == "Expand"   ? boundedExpand(std::move(infer))
        : schema.Name() == "Split"  ? boundedSplit(std::move(infer))
        : schema.Name() == "Einsum" ? checkedEinsum(std::move(infer))
                                    : checkedGatherND(std::move(infer)));
  }

  static InferenceFunction boundedExpand(InferenceFunction infer) {
    return [infer](InferenceContext &ctx) {
      if (!hasLongInput(ctx))
        infer(ctx);
    };
  }

  static InferenceFunction boundedSplit(InferenceFunction infer) {
    return [infer](InferenceContext &ctx) {
      const AttributeProto *parts = ctx.getAttribute("num_outputs");
      if (parts && parts->i() != static_cast<int64_t>(ctx.getNumOutputs()))
        fail_shape_inference("num_outputs is ", parts->i(), ", expected ",
                             ctx.getNumOutputs(), " as there are outputs");
      infer(ctx);
    };
  }

  static InferenceFunction checkedEinsum(InferenceFunction infer) {
    return [infer](InferenceContext &ctx) {
      if (isEquation(getAttribute(ctx, "equation", "")))
        infer(ctx);
      else
        propagateElemTypeFromInputToOutput(ctx, 0, 0);
    };
  }

  static InferenceFunction checkedGatherND(InferenceFunction infer) {
    return [infer](InferenceContext &ctx) {
      int64_t batch = getAttribute(ctx, "batch_dims", 0);
      if (batch < 0)
        fail_shape_inference("batch_dims is ", batch, ", expected at least 0");
      const TypeProto *ids = ctx.getInputType(1);
      const TensorShapeProto &shape =
          (ids ? *ids : TypeProto::default_instance()).tensor_type().shape();
      if (shape.dim_size() > 0 &&
          shape.dim(shape.dim_size() - 1).dim_value() < 0)
        propagateElemTypeFromInputToOutput(ctx, 0, 0);
      else
        infer(ctx);
    };
  }
};

} // namespace

int64_t mlir::moe::onnx_import::maxIRVersion() { return Version::IR_VERSION; }

std::optional<std::pair<int, int>>
mlir::moe::onnx_import::opsetRange(const std::string &domain) {
  const auto &ranges = OpSchemaRegistry::DomainToVersionRange::Instance().Map();
  auto found = ranges.find(domain);
  if (found == ranges.end())
    return std::nullopt;
  return found->second;
}

std::vector<std::string>
mlir::moe::onnx_import::allowedTypes(const std::string &domain,
                                     const std::string &opType, int version) {
  // The contrib schemas say nothing about types.
  const OpSchema *schema =
      OpSchemaRegistry::Instance()->GetSchema(opType, version, domain);
  if (!schema)
    return {};
  const auto &formals =
      schema->inputs().empty() ? schema->outputs() : schema->inputs();
  std::vector<std::string> most;
  for (const auto &formal : formals)
    if (formal.GetTypes().size() > most.size()) {
      most.clear();
      for (const std::string *type : formal.GetTypes())
        most.push_back(*type);
    }
  return most;
}

//===----------------------------------------------------------------------===//
// Parsing, checking, inlining
//===----------------------------------------------------------------------===//

Problem mlir::moe::onnx_import::parseModel(const char *bytes, size_t size,
                                           ModelProto &model) {
  // protobuf prints its own complaints to stderr.
  google::protobuf::LogSilencer silence;
  if (size > INT32_MAX)
    return std::string("has a graph of more than 2 GiB besides its tensors");
  bool parsed = false;
  if (Problem problem = guarded([&] {
        parsed = model.ParseFromArray(bytes, static_cast<int>(size));
      }))
    return problem;
  if (!parsed)
    return std::string("is damaged, expects an ONNX model");
  return std::nullopt;
}

namespace {

/// Lets pass the checker, for the time of a scope, what it would reject without
/// need: tensors that lie in files (it would look for the files) and inputs and
/// outputs without a shape (inference finds it, or the raise phase asks for
/// it).
class Concession {
public:
  explicit Concession(ModelProto &model) : graph(*model.mutable_graph()) {
    walkTensors(model, [&](TensorProto &tensor, const NodeProto *) {
      if (tensor.data_location() != TensorProto::EXTERNAL)
        return true;
      TensorProto &kept = hidden.emplace_back();
      kept.mutable_dims()->Swap(tensor.mutable_dims());
      kept.mutable_external_data()->Swap(tensor.mutable_external_data());
      tensor.clear_data_location();
      tensor.add_dims(0);
      order.push_back(&tensor);
      return true;
    });
    swapInterface();
  }
  ~Concession() {
    swapInterface();
    for (size_t i = 0; i < order.size(); ++i) {
      order[i]->mutable_dims()->Swap(hidden[i].mutable_dims());
      order[i]->mutable_external_data()->Swap(
          hidden[i].mutable_external_data());
      order[i]->set_data_location(TensorProto::EXTERNAL);
    }
  }

private:
  void swapInterface() {
    size_t i = 0;
    for (auto *values : {graph.mutable_input(), graph.mutable_output()})
      for (ValueInfoProto &value : *values) {
        if (i == interface.size()) {
          TypeProto &any = interface.emplace_back();
          any.mutable_tensor_type()->set_elem_type(TensorProto::FLOAT);
          any.mutable_tensor_type()->mutable_shape();
        }
        bool typed = value.has_type();
        interface[i].Swap(value.mutable_type());
        if (interface[i].value_case() == TypeProto::VALUE_NOT_SET && !typed)
          absent.insert(i);
        else if (absent.count(i))
          value.clear_type();
        ++i;
      }
  }

  GraphProto &graph;
  std::vector<TensorProto> hidden;
  std::vector<TensorProto *> order;
  std::vector<TypeProto> interface;
  std::unordered_set<size_t> absent;
};

} // namespace

Problem mlir::moe::onnx_import::checkModel(ModelProto &model) {
  Concession concession(model);
  return guarded([&] {
    LenientRegistry registry;
    checker::CheckerContext context;
    context.set_ir_version(static_cast<int>(model.ir_version()));
    context.set_schema_registry(&registry);
    // A function may follow another version of an operator: inlining converts
    // the body, or says that it cannot.
    context.set_skip_opset_compatibility_check(true);
    std::unordered_map<std::string, int> imports;
    for (const OperatorSetIdProto &import : model.opset_import())
      imports[import.domain()] = static_cast<int>(import.version());
    context.set_opset_imports(imports);
    checker::LexicalScopeContext scope;
    checker::check_graph(model.graph(), context, scope);
    checker::check_model_local_functions(model, context, scope);
  });
}

Problem mlir::moe::onnx_import::inlineFunctions(ModelProto &model) {
  if (model.functions_size() == 0)
    return std::nullopt;
  // With versions converted first: the plain form leaves calls of a function
  // whose operator sets differ from the model's.
  ModelProto converted = model;
  if (!guarded([&] { inliner::InlineLocalFunctions(converted, true); }) &&
      converted.functions_size() == 0) {
    model.Swap(&converted);
    return std::nullopt;
  }
  if (Problem problem =
          guarded([&] { inliner::InlineLocalFunctions(model, false); }))
    return "cannot inline the model's functions: " + *problem;
  if (model.functions_size() != 0)
    return "cannot inline function '" + model.functions(0).name() +
           "': its operator sets differ from the model's and cannot be "
           "converted";
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Version conversion
//===----------------------------------------------------------------------===//

Problem mlir::moe::onnx_import::convertVersion(ModelProto &model,
                                               int64_t target) {
  int64_t version = 0;
  for (const OperatorSetIdProto &import : model.opset_import())
    if (import.domain().empty())
      version = import.version();
  if (version == 0 || version >= target)
    return std::nullopt;

  ModelProto converted;
  if (Problem problem = guarded([&] {
        // Its tables take longer to build than most models to convert.
        static const version_conversion::DefaultVersionConverter converter;
        converted =
            converter.convert_version(model, OpSetID(version), OpSetID(target));
      }))
    return problem;
  if (Problem problem = checkModel(converted))
    return problem;
  // The adapter of Scan 8 takes the batch out of the model's own inputs.
  int inputs =
      std::min(model.graph().input_size(), converted.graph().input_size());
  for (int i = 0; i < inputs; ++i) {
    const auto &before = model.graph().input(i).type().tensor_type().shape();
    const auto &after = converted.graph().input(i).type().tensor_type().shape();
    if (before.dim_size() != after.dim_size())
      return "conversion changes the rank of input '" +
             model.graph().input(i).name() + "'";
  }

  // The converter's own graph has no place for a node's metadata.
  std::unordered_map<std::string, const NodeProto *> byOutput;
  walkNodes(model, [&](NodeProto &node) {
    if (node.metadata_props_size() && node.output_size())
      byOutput[node.output(0)] = &node;
  });
  walkNodes(converted, [&](NodeProto &node) {
    if (!node.output_size())
      return;
    auto found = byOutput.find(node.output(0));
    if (found != byOutput.end())
      *node.mutable_metadata_props() = found->second->metadata_props();
  });
  *converted.mutable_metadata_props() = model.metadata_props();
  model.Swap(&converted);
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Type inference
//===----------------------------------------------------------------------===//

namespace {

/// The element type of a declaration that says one.
int32_t elementOf(const TypeProto &type) {
  return type.has_tensor_type() ? type.tensor_type().elem_type() : 0;
}

/// Types that the file declares. They may be wrong, so inference does not see
/// those of values that it can find out itself.
class DeclaredTypes {
public:
  DeclaredTypes(ModelProto &model, const ISchemaRegistry &registry)
      : model(model) {
    std::unordered_map<std::string, int> imports;
    for (const OperatorSetIdProto &import : model.opset_import())
      imports[import.domain()] = static_cast<int>(import.version());
    walkGraphs(*model.mutable_graph(), [&](GraphProto &graph) {
      std::unordered_set<std::string> inferable;
      for (const NodeProto &node : graph.node()) {
        auto version = imports.find(node.domain());
        if (version == imports.end())
          continue;
        const OpSchema *schema =
            registry.GetSchema(node.op_type(), version->second, node.domain());
        if (schema && (schema->has_type_and_shape_inference_function() ||
                       schema->HasFunction()))
          inferable.insert(node.output().begin(), node.output().end());
      }
      std::unordered_map<std::string, int32_t> &declared =
          elements.emplace_back();
      for (const ValueInfoProto &info : graph.value_info())
        declared[info.name()] = elementOf(info.type());
      if (&graph == &model.graph())
        for (const ValueInfoProto &info : graph.output())
          declared[info.name()] = elementOf(info.type());
      std::vector<ValueInfoProto> &taken = values.emplace_back();
      google::protobuf::RepeatedPtrField<ValueInfoProto> kept;
      for (ValueInfoProto &info : *graph.mutable_value_info()) {
        if (inferable.count(info.name()))
          taken.emplace_back().Swap(&info);
        else
          kept.Add()->Swap(&info);
      }
      graph.mutable_value_info()->Swap(&kept);
    });
    for (ValueInfoProto &output : *model.mutable_graph()->mutable_output()) {
      outputs.emplace_back().Swap(output.mutable_type());
      output.clear_type();
    }
  }

  /// Puts declared types back where inference found no shape. Whether there
  /// were any, so that inference may now know more.
  bool fillGaps();

  /// Gives the outputs' dimensions the names that the file has for them.
  void finishOutputs();

  /// Declared element types that contradict those that were inferred: what the
  /// file says about its values and what its nodes compute cannot both hold.
  /// (Wrong shapes are common in exports, and not looked at.)
  std::vector<std::string> contradictions();

private:
  ModelProto &model;
  // By graph, as walked.
  std::vector<std::vector<ValueInfoProto>> values;
  std::vector<std::unordered_map<std::string, int32_t>> elements;
  std::vector<TypeProto> outputs;
};

/// Takes over a declared shape where there is none. Whether that was so.
bool complete(TypeProto &type, const TypeProto &declared) {
  if (type.value_case() == TypeProto::VALUE_NOT_SET) {
    type = declared;
    return type.value_case() != TypeProto::VALUE_NOT_SET;
  }
  if (!type.has_tensor_type() || type.tensor_type().has_shape() ||
      !declared.tensor_type().has_shape() ||
      type.tensor_type().elem_type() != declared.tensor_type().elem_type())
    return false;
  *type.mutable_tensor_type()->mutable_shape() = declared.tensor_type().shape();
  return true;
}

bool DeclaredTypes::fillGaps() {
  bool filled = false;
  size_t index = 0;
  walkGraphs(*model.mutable_graph(), [&](GraphProto &graph) {
    std::unordered_map<std::string, TypeProto *> known;
    for (ValueInfoProto &info : *graph.mutable_value_info())
      known[info.name()] = info.mutable_type();
    for (ValueInfoProto &output : *graph.mutable_output())
      if (output.has_type())
        known[output.name()] = output.mutable_type();
    if (index >= values.size())
      return;
    for (ValueInfoProto &declared : values[index++]) {
      auto found = known.find(declared.name());
      if (found != known.end()) {
        filled |= complete(*found->second, declared.type());
      } else if (declared.type().tensor_type().has_shape()) {
        graph.add_value_info()->Swap(&declared);
        filled = true;
      }
    }
  });
  GraphProto &graph = *model.mutable_graph();
  for (int i = 0; i < graph.output_size(); ++i)
    filled |= complete(*graph.mutable_output(i)->mutable_type(), outputs[i]);
  return filled;
}

void DeclaredTypes::finishOutputs() {
  GraphProto &graph = *model.mutable_graph();
  for (int i = 0; i < graph.output_size(); ++i) {
    TypeProto &type = *graph.mutable_output(i)->mutable_type();
    const TypeProto &declared = outputs[i];
    if (!type.has_tensor_type() || !declared.tensor_type().has_shape())
      continue;
    const TensorShapeProto &names = declared.tensor_type().shape();
    if (!type.tensor_type().has_shape() ||
        type.tensor_type().shape().dim_size() != names.dim_size())
      continue;
    TensorShapeProto &shape = *type.mutable_tensor_type()->mutable_shape();
    for (int d = 0; d < shape.dim_size(); ++d)
      if (!shape.dim(d).has_dim_value() && names.dim(d).has_dim_param())
        shape.mutable_dim(d)->set_dim_param(names.dim(d).dim_param());
  }
}

std::vector<std::string> DeclaredTypes::contradictions() {
  std::vector<std::string> problems;
  size_t index = 0;
  walkGraphs(*model.mutable_graph(), [&](GraphProto &graph) {
    if (index >= elements.size())
      return;
    std::unordered_map<std::string, const NodeProto *> producers;
    for (const NodeProto &node : graph.node())
      for (const std::string &output : node.output())
        producers[output] = &node;
    std::unordered_map<std::string, int32_t> &declared = elements[index++];
    auto compare = [&](const ValueInfoProto &value) {
      auto found = declared.find(value.name());
      auto producer = producers.find(value.name());
      int32_t computed = elementOf(value.type());
      if (found == declared.end() || producer == producers.end() ||
          found->second == 0 || computed == 0 || found->second == computed)
        return;
      problems.push_back(
          quoteNode(producer->second->name(), producer->second->op_type()) +
          ": computes '" + value.name() + "' of type " +
          TensorProto::DataType_Name(computed) +
          ", but the file declares it as " +
          TensorProto::DataType_Name(found->second));
      declared.erase(found); // outputs are listed twice
    };
    for (const ValueInfoProto &value : graph.value_info())
      compare(value);
    for (const ValueInfoProto &value : graph.output())
      compare(value);
  });
  return problems;
}

/// "(op_type:Op, node name: n): [Kind] message" as a message about the node.
std::string inferenceMessage(const std::string &line) {
  size_t op = line.find("(op_type:");
  size_t end = line.find("): ", op);
  if (op == std::string::npos || end == std::string::npos)
    return flatten(line);
  std::string head = line.substr(op + 9, end - op - 9);
  std::string name;
  if (size_t comma = head.find(", node name: "); comma != std::string::npos) {
    name = head.substr(comma + 13);
    head.resize(comma);
  }
  std::string message = line.substr(end + 3);
  if (!message.empty() && message.front() == '[')
    if (size_t close = message.find("] "); close != std::string::npos)
      message.erase(0, close + 2);
  return quoteNode(name, head) + ": " + flatten(message);
}

} // namespace

std::vector<std::string> mlir::moe::onnx_import::inferTypes(ModelProto &model) {
  InferenceRegistry registry;
  DeclaredTypes declared(model, registry);
  auto infer = [&](int errorMode) -> std::string {
    try {
      ShapeInferenceOptions options(/*check_type=*/false, errorMode,
                                    /*data_prop=*/true);
      std::unordered_map<std::string, TensorShapeProto> data;
      shape_inference::InferShapes(model, &registry, options, &data);
      return "";
    } catch (const std::exception &error) {
      return error.what();
    } catch (...) {
      return "unknown failure of the ONNX library";
    }
  };

  // Error mode 1 collects what nodes complain about and throws at the end,
  // when all nodes have been visited.
  // Nodes behind a faulty one complain that their input has no type; that is
  // worth saying only when nothing else is.
  std::vector<std::string> problems, consequences;
  std::string text = infer(/*errorMode=*/1);
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    // A shape that lies among the large tensors is merely unknown.
    if (flatten(line).empty() ||
        line.find("external tensors") != std::string::npos)
      continue;
    bool untyped = line.find("but instead is null") != std::string::npos;
    (untyped ? consequences : problems).push_back(inferenceMessage(line));
  }
  if (problems.empty())
    problems = std::move(consequences);
  // What this run says about wrong declarations is no problem of the model's.
  if (declared.fillGaps() || !text.empty())
    (void)infer(/*errorMode=*/0);
  declared.finishOutputs();
  if (problems.empty())
    problems = declared.contradictions();
  return problems;
}
