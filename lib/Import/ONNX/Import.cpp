//===- Import.cpp - ONNX model to onnx dialect ----------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Import/ONNX/Import.h"

#include "Checkpoint.h"
#include "ElementTypes.h"
#include "Errors.h"
#include "GraphBuilder.h"
#include "ModelChecks.h"
#include "OnnxLibrary.h"
#include "SourceFiles.h"
#include "Tensors.h"
#include "WireScan.h"
#include "onnx/onnx_pb.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/ONNX/IR/ONNXOps.h"

#include "moe/Import/HuggingFace/Decoder.h"
#include "moe/Import/Safetensors/JSONText.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/DebugLog.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#define DEBUG_TYPE "import-onnx"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::onnx_import;

static constexpr llvm::StringLiteral kConfigFile = "config.json";

void mlir::moe::registerONNXImportDialects(DialectRegistry &registry) {
  registry.insert<func::FuncDialect, MoEDialect, onnx::ONNXDialect>();
}

namespace {
/// One import: the steps in order, each ending it with a diagnostic.
class Importer {
public:
  Importer(StringRef path, MLIRContext &context,
           const ONNXImportOptions &options)
      : path(path), context(context), options(options), tensors(files) {}

  OwningOpRef<ModuleOp> run();

private:
  LogicalResult load();
  /// The same for a folder with a config.json.
  LogicalResult loadFolder();
  /// Takes the initializers from `options.weights`.
  LogicalResult replaceWeights();
  LogicalResult check();
  /// Infers all types; expands operators by their definition.
  std::vector<std::string> inferAndExpand();
  LogicalResult prepare();

  LogicalResult report(const Twine &message) {
    return emitError(FileLineColLoc::get(&context, path, 0, 0))
           << oneLine(message.str());
  }
  LogicalResult report(llvm::Error error) {
    return error ? report(Twine(llvm::toString(std::move(error)))) : success();
  }
  LogicalResult report(Problem problem) {
    return problem ? report(Twine(*problem)) : success();
  }

  StringRef path;
  MLIRContext &context;
  const ONNXImportOptions &options;
  SourceFiles files, checkpointFiles;
  TensorTable tensors;
  ::onnx::ModelProto model;
  DecoderWeights weights; // of a folder; the table points to their layouts
};
} // namespace

LogicalResult Importer::load() {
  if (failed(report(files.open(path))))
    return failure();
  llvm::Expected<ScannedModel> scanned = scanModel(files.model());
  if (!scanned)
    return report(scanned.takeError());
  LDBG() << files.model().size() << " bytes scanned, "
         << scanned->payloads.size() << " payloads cut out, "
         << scanned->bytes.size() << " bytes left";
  if (failed(report(
          parseModel(scanned->bytes.data(), scanned->bytes.size(), model))))
    return failure();
  if (failed(report(checkFormat(model))))
    return failure();
  normalizeDomains(model);
  nameNodes(model);
  if (failed(report(checkStructure(model))))
    return failure();
  if (!options.weights.empty() && failed(replaceWeights()))
    return failure();
  return report(tensors.resolve(model, scanned->payloads));
}

LogicalResult Importer::loadFolder() {
  if (!options.weights.empty())
    return report(Twine("has weights beside it, expects no others"));
  if (failed(report(files.open(path, "a config.json"))))
    return failure();
  // Deep enough for what models are configured with.
  constexpr unsigned kMaxDepth = 16;
  llvm::Expected<llvm::json::Value> config =
      parseJSONText(files.model(), kMaxDepth);
  if (!config)
    return report(config.takeError());
  const llvm::json::Object *object = config->getAsObject();
  if (!object)
    return report(Twine("is no JSON object, expects a model's configuration"));

  Checkpoint checkpoint(files);
  llvm::Expected<std::string> index = findCheckpoint(files.directory());
  if (!index)
    return report(Twine("the folder " + llvm::toString(index.takeError())));
  StringRef name = llvm::sys::path::filename(*index);
  if (llvm::Error error = checkpoint.read(name))
    return report("the folder's '" + name + "' " +
                  llvm::toString(std::move(error)));
  CheckpointTensors names;
  for (const auto &[name, tensor] : checkpoint.all())
    names[name] = &tensor.header;
  auto read =
      [&](const SafetensorsTensor &tensor) -> llvm::Expected<std::string> {
    TensorRange range = checkpoint.range(*checkpoint.find(tensor.name));
    std::string bytes(range.length, '\0');
    if (llvm::Error error = range.source->read(range.file, range.offset,
                                               {bytes.data(), bytes.size()}))
      return error;
    return bytes;
  };
  std::vector<std::string> problems =
      buildDecoder(*object, names, read, model, weights);
  for (const std::string &problem : problems)
    (void)report(Twine(problem));
  if (!problems.empty())
    return failure();
  for (const auto &[name, slices] : weights.slices) {
    SmallVector<TensorRange> parts;
    for (const std::string &slice : slices) {
      const Checkpoint::Tensor &tensor = *checkpoint.find(slice);
      parts.push_back(checkpoint.range(tensor));
      if (auto layout = weights.layouts.find(name);
          layout != weights.layouts.end())
        parts.back().layout = &layout->second;
      if (tensor.header.type->name != "F8_E4M3")
        continue;
      const Checkpoint::Tensor &scales =
          *checkpoint.find(slice + DecoderWeights::kScales.str());
      parts.back().scales = std::make_shared<TensorScales>(TensorScales{
          checkpoint.range(scales), fromSafetensors(scales.header.type->name),
          weights.blockRows, weights.blockColumns});
    }
    tensors.bind(name, parts);
  }
  return report(tensors.resolve(model, {}));
}

LogicalResult Importer::replaceWeights() {
  Checkpoint checkpoint(checkpointFiles);
  if (llvm::Error error = checkpoint.open(options.weights))
    return emitError(FileLineColLoc::get(&context, options.weights, 0, 0))
           << oneLine(llvm::toString(std::move(error)));
  std::vector<std::string> problems =
      bindInitializers(model, checkpoint, options.partialWeights, tensors);
  for (const std::string &problem : problems)
    (void)report(Twine(problem));
  return success(problems.empty());
}

LogicalResult Importer::check() {
  if (failed(report(checkModel(model))) ||
      failed(report(inlineFunctions(model))))
    return failure();
  nameNodes(model);
  return success();
}

std::vector<std::string> Importer::inferAndExpand() {
  std::vector<std::string> problems = inferTypes(model);
  // Definitions refer to others, a few levels deep. Each level may know more
  // types: the library infers none for some operators that have a definition.
  constexpr int kMaxLevels = 8;
  for (int level = 0; options.supportsOperator && level < kMaxLevels; ++level) {
    if (!expandFunctions(model, options.supportsOperator))
      break;
    nameNodes(model);
    problems = inferTypes(model);
  }
  return problems;
}

LogicalResult Importer::prepare() {
  completeAttributes(model);
  std::vector<std::string> problems = inferAndExpand();
  for (const std::string &problem : problems)
    (void)report(Twine(problem));
  if (!problems.empty())
    return failure();

  if (options.targetOpset == 0)
    return success();
  // Conversion needs types, and may change some.
  if (Problem problem = convertVersion(model, options.targetOpset)) {
    LDBG() << "operator set version kept: " << *problem;
    return success();
  }
  nameNodes(model);
  // An operator may have its definition in the new version only.
  for (const std::string &problem : inferAndExpand())
    if (failed(report(Twine("after conversion to operator set " +
                            Twine(options.targetOpset) + ": " + problem))))
      return failure();
  return success();
}

OwningOpRef<ModuleOp> Importer::run() {
  bool isFolder = llvm::sys::path::filename(path) == kConfigFile;
  if (failed(isFolder ? loadFolder() : load()) || failed(check()) ||
      failed(prepare()))
    return nullptr;
  OwningOpRef<ModuleOp> module =
      buildModule(model, tensors, files, path, context);
  if (module && failed(verify(*module)))
    return nullptr;
  return module;
}

OwningOpRef<ModuleOp> mlir::moe::importONNX(StringRef path,
                                            MLIRContext &context,
                                            const ONNXImportOptions &options) {
  DialectRegistry registry;
  registerONNXImportDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  SmallString<256> file(path);
  llvm::sys::path::append(file, kConfigFile);
  if (!llvm::sys::fs::exists(file))
    file = path;
  return Importer(file, context, options).run();
}

//===----------------------------------------------------------------------===//
// What can be imported
//===----------------------------------------------------------------------===//

std::vector<std::string> mlir::moe::operatorElementTypes(StringRef domain,
                                                         StringRef opType,
                                                         int64_t version) {
  std::vector<std::string> types;
  for (StringRef type : allowedTypes(domain.str(), opType.str(), version))
    if (type.consume_front("tensor(") && type.consume_back(")"))
      types.push_back(type.str());
  return types;
}

int64_t mlir::moe::latestOperatorSet(StringRef domain) {
  auto range = opsetRange(domain.str());
  return range ? range->second : 1;
}

std::vector<std::pair<std::string, int64_t>> mlir::moe::operatorsByDefinition(
    const std::function<bool(StringRef, StringRef, int64_t)> &supports) {
  std::vector<std::pair<std::string, int64_t>> result;
  for (auto &[name, since] : definedOperators(supports))
    result.emplace_back(name, since);
  return result;
}
