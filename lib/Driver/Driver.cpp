//===- Driver.cpp - From a model file to a compiled model -----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Driver/Driver.h"

#include "Messages.h"
#include "OutputFiles.h"
#include "Progress.h"
#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/ONNX/IR/ONNXOps.h"
#include "moe/Driver/ModelInfo.h"
#include "moe/InitAll.h"
#include "moe/Target/CPU/CPUTarget.h"
#include "moe/Target/CPU/Linker.h"
#include "moe/Target/CPU/MachineCode.h"
#include "moe/Target/GPU/Assembler.h"
#include "moe/Target/GPU/GPUTarget.h"
#include "moe/Target/LLVM/CodeGen.h"
#include "moe/Target/Weights/PackWeights.h"
#include "moe/Target/Weights/WeightFile.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#ifdef MOE_ENABLE_ONNX
#include "moe/Conversion/ONNXToMoE/Operators.h"
#include "moe/Import/ONNX/Import.h"
#endif

using namespace mlir;
using namespace mlir::moe;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace {
/// One compilation.
class Compilation {
public:
  Compilation(const DriverOptions &options);
  bool run();
  /// The messages of `run` as a file, if one was asked for.
  LogicalResult writeMessages();

private:
  LogicalResult load();
  LogicalResult chooseTarget();
  LogicalResult runPhases();
  LogicalResult emit();

  LogicalResult checkOptions();
  LogicalResult importModel();
  LogicalResult parseModule();
  LogicalResult packModel(ModelDescriptor &descriptor);
  LogicalResult writeMachineCode(llvm::Module &code,
                                 llvm::TargetMachine &machine);
  LogicalResult linkModel(const std::string &object);
  LogicalResult writeKernels();
  LogicalResult writeDescription(const ModelDescriptor &descriptor);
  LogicalResult writeModule(StringRef file);
  LogicalResult checkOverwrites();

  /// Prints one line about the input or an output.
  LogicalResult fail(const Twine &message);
  void report(Diagnostic &diagnostic);
  LogicalResult write(const std::string &file,
                      llvm::function_ref<void(llvm::raw_pwrite_stream &)> body);

  bool writesText() const {
    return options.emit == EmitKind::LLVM ||
           options.emit == EmitKind::Assembly || options.emit == EmitKind::PTX;
  }
  bool writesKernels() const {
    return options.emit == EmitKind::PTX || options.emit == EmitKind::Cubin;
  }
  StringRef suffix() const;
  /// The last phase whose passes run.
  Phase lastPhase() const;
  std::string outputName(StringRef suffix) const {
    return prefix == "-" ? prefix : prefix + suffix.str();
  }
  /// The file for the module's text, when a phase's text is the result.
  std::string moduleFile() const;

  DriverOptions options;
  /// Output names without suffix; "-" for standard output.
  std::string prefix, name;
  DialectRegistry registry;
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  Phase reached = Phase::Import;
  OutputFiles files;
  Progress progress;
  /// All messages, one JSON object per line.
  std::string recorded;
};
} // namespace

static DialectRegistry makeRegistry() {
  DialectRegistry registry;
  registerAllMoEDialects(registry);
  return registry;
}

Compilation::Compilation(const DriverOptions &options)
    : options(options), registry(makeRegistry()), context(registry) {
  // A message is a line; the operation is found by its location.
  context.printOpOnDiagnostic(false);
  context.printStackTraceOnDiagnostic(false);
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

LogicalResult Compilation::fail(const Twine &message) {
  progress.clearLine();
  llvm::errs() << "moe-compile: error: " << message << "\n";
  recorded += recordOf("error", message.str()) + "\n";
  return failure();
}

void Compilation::report(Diagnostic &diagnostic) {
  recorded += recordOf(diagnostic, options.input) + "\n";
  if (diagnostic.getSeverity() == DiagnosticSeverity::Remark &&
      !options.remarks)
    return;
  progress.clearLine();
  printMessage(diagnostic, options.input, llvm::errs());
}

LogicalResult Compilation::writeMessages() {
  if (options.messagesFile.empty())
    return success();
  std::string file = std::move(options.messagesFile), error;
  options.messagesFile.clear(); // once, and without a second complaint
  if (!OutputFiles::writeNow(
          file, [&](llvm::raw_ostream &os) { os << recorded; }, error))
    return fail(error);
  return success();
}

LogicalResult
Compilation::write(const std::string &file,
                   llvm::function_ref<void(llvm::raw_pwrite_stream &)> body) {
  std::string error;
  if (!files.write(file, body, error))
    return fail(error);
  return success();
}

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

StringRef Compilation::suffix() const {
  switch (options.emit) {
  case EmitKind::MLIR:
    return ".mlir";
  case EmitKind::LLVM:
    return ".ll";
  case EmitKind::Assembly:
    return ".s";
  case EmitKind::PTX:
    return ".ptx";
  case EmitKind::Cubin:
    return ".cubin";
  case EmitKind::Object:
    return ".o";
  case EmitKind::Library:
    return ".so";
  case EmitKind::Executable:
    return "";
  }
  llvm_unreachable("all kinds are handled");
}

Phase Compilation::lastPhase() const {
  Phase last = options.compileTo.value_or(Phase::Emit);
  return options.emit == EmitKind::MLIR ? std::min(last, Phase::Lower) : last;
}

std::string Compilation::moduleFile() const {
  if (!options.output.empty())
    return options.output;
  bool toFile = options.emit == EmitKind::MLIR && !options.compileTo;
  return toFile ? outputName(".mlir") : "-";
}

LogicalResult Compilation::checkOptions() {
  StringRef extension = path::extension(options.input);
  bool isText = extension == ".mlir" || options.input == "-";
  if (options.compileFrom && !isText)
    return fail("--compile-from expects MLIR text (.mlir), got '" +
                options.input + "'");
  if (options.compileFrom && *options.compileFrom > lastPhase())
    return fail("--compile-from=" + stringifyPhase(*options.compileFrom) +
                " comes after --compile-to=" + stringifyPhase(lastPhase()));
  // Weights meet their layout in the phase after `fuse`.
  Phase from = options.compileFrom.value_or(Phase::Import);
  if (options.compile.quantize &&
      (from >= Phase::Fuse || lastPhase() < Phase::Fuse))
    return fail("--quantize takes effect in phase fuse, which does not run");
  if (options.emit != EmitKind::Library && options.compileTo &&
      *options.compileTo < Phase::Emit)
    return fail("--emit takes effect in the last phase, got --compile-to=" +
                stringifyPhase(*options.compileTo));
  if (options.partialWeights && options.weights.empty())
    return fail("--partial-weights expects --weights");
  if (fs::equivalent(options.input, options.messagesFile)) {
    options.messagesFile.clear();
    return fail("--messages expects another file than the model's");
  }
  if (isText && !options.weights.empty())
    return fail("--weights expects an ONNX model, got '" + options.input + "'");
  if (options.compileFrom == Phase::Emit)
    return fail("--compile-from expects a phase before 'emit'");

  if (writesKernels() && options.compile.gpu.arch.empty() &&
      !options.compileFrom)
    return fail("--emit=ptx and --emit=cubin expect --target=cuda:<arch>");
  StringRef output = options.output;
  if (output == "-" && lastPhase() == Phase::Emit && !writesText())
    return fail("only text can be written to standard output, not what "
                "--emit asks for");
  prefix = output.empty() ? path::stem(options.input).str() : output.str();
  if (options.input == "-" && output.empty())
    prefix = "model";
  if (lastPhase() == Phase::Emit && !suffix().empty())
    prefix = StringRef(prefix).ends_with(suffix())
                 ? StringRef(prefix).drop_back(suffix().size()).str()
                 : prefix;
  name = path::filename(prefix).str();
  if (name == "-")
    name = path::stem(options.input).str();
  if (name.empty() || name == "." || name == "..")
    return fail("-o expects a file name, got '" + options.output + "'");
  if (output == "-")
    return success();
  StringRef folder = path::parent_path(prefix);
  if (!folder.empty() && !fs::is_directory(folder))
    return fail("cannot write to '" + folder + "': no such folder");
  return success();
}

//===----------------------------------------------------------------------===//
// Input
//===----------------------------------------------------------------------===//

LogicalResult Compilation::importModel() {
#ifdef MOE_ENABLE_ONNX
  registerONNXImportDialects(registry);
  context.appendDialectRegistry(registry);
  ONNXImportOptions importOptions;
  importOptions.supportsOperator = isSupportedOperator;
  importOptions.weights = options.weights;
  importOptions.partialWeights = options.partialWeights;
  module = importONNX(options.input, context, importOptions);
  return success(static_cast<bool>(module));
#else
  return fail("'" + options.input +
              "': this compiler was built without support for ONNX");
#endif
}

LogicalResult Compilation::parseModule() {
  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(options.input,
                                                   /*IsText=*/true);
  if (!buffer)
    return emitError(UnknownLoc::get(&context))
           << "cannot be opened: " << buffer.getError().message();
  // Files come from anywhere, and the reader of bytecode trusts what it reads.
  if (isBytecode(**buffer))
    return emitError(UnknownLoc::get(&context))
           << "is MLIR bytecode, expects text";
  auto sources = std::make_shared<llvm::SourceMgr>();
  sources->AddNewSourceBuffer(std::move(*buffer), llvm::SMLoc());
  module = parseSourceFile<ModuleOp>(sources, ParserConfig(&context));
  if (!module)
    return failure();
  // Relative to the text's own folder, for modules that are moved with their
  // weights.
  auto given = (*module)->getAttrOfType<StringAttr>(kSourceDirAttr);
  SmallString<256> folder(
      options.input == "-" ? StringRef() : path::parent_path(options.input));
  if (given && path::is_absolute(given.getValue()))
    folder = given.getValue();
  else if (given)
    path::append(folder, given.getValue());
  fs::make_absolute(folder);
  (*module)->setAttr(kSourceDirAttr, StringAttr::get(&context, folder));
  return success();
}

/// The last phase that leaves operations like `op`.
static Phase lastPhaseWith(Operation *op) {
  if (isa<onnx::ONNXDialect>(op->getDialect()))
    return Phase::Import;
  if (isa<RouteOp, DispatchOp, GroupedMatmulOp, CombineOp>(op))
    return Phase::Fuse;
  auto function = dyn_cast<func::FuncOp>(op);
  if (function &&
      llvm::any_of(function.getArgumentTypes(), llvm::IsaPred<TensorType>))
    return Phase::Schedule;
  return Phase::Lower;
}

/// Whether `from` can have left the module: a phase does not know what the
/// phases before it replace, and text that was lowered has no use for phases
/// that would drop what it refers to by address.
static LogicalResult checkPhase(ModuleOp module, Phase from) {
  auto fail = [&](Operation *found, const Twine &phases) {
    InFlightDiagnostic diagnostic =
        emitError(UnknownLoc::get(module.getContext()));
    diagnostic << "expects --compile-from=" << phases << ", found "
               << found->getName();
    if (auto symbol = dyn_cast<SymbolOpInterface>(found))
      diagnostic << " @" << symbol.getName();
    return WalkResult(diagnostic);
  };
  WalkResult walk = module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (auto function = dyn_cast<LLVM::LLVMFuncOp>(op);
        function && !function.isExternal() && from < Phase::Lower)
      return fail(op, "lower for a module that was lowered");
    Phase last = lastPhaseWith(op);
    if (last == Phase::Import && from > last)
      return fail(op, "import");
    if (from > last)
      return fail(op, stringifyPhase(last) + " or an earlier phase");
    return WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

/// A result must not take the place of what it is made from.
LogicalResult Compilation::checkOverwrites() {
  SmallVector<std::string> outputs;
  if (lastPhase() != Phase::Emit)
    outputs.push_back(moduleFile());
  else if (prefix != "-")
    for (StringRef end :
         {suffix(), StringRef(".weights"), StringRef(".json"), StringRef(".h")})
      outputs.push_back(outputName(end));

  llvm::StringSet<> sources;
  sources.insert(options.input);
  for (auto weight : module->getOps<WeightOp>()) {
    SmallString<256> file(recordedFolder(*module, weight.getCheckpoint()));
    path::append(file, weight.getFile());
    sources.insert(file);
  }
  std::string messages = std::move(options.messagesFile);
  options.messagesFile.clear(); // unless it is none of the sources
  if (!messages.empty())
    outputs.push_back(messages);
  for (const std::string &output : outputs)
    for (StringRef source : sources.keys())
      if (output != "-" && fs::equivalent(output, source))
        return fail("cannot write '" + output + "': the model is read from it");
  options.messagesFile = std::move(messages);
  return success();
}

LogicalResult Compilation::load() {
  progress.begin("import");
  if (fs::is_directory(options.input) &&
      !fs::exists(options.input + "/config.json"))
    return emitError(UnknownLoc::get(&context))
           << "is a folder without a config.json";
  bool isText =
      path::extension(options.input) == ".mlir" || options.input == "-";
  if (failed(isText ? parseModule() : importModel()))
    return failure();
  if (!options.sourceDir.empty()) {
    SmallString<256> folder(options.sourceDir);
    fs::make_absolute(folder);
    (*module)->setAttr(kSourceDirAttr, StringAttr::get(&context, folder));
  }
  reached = options.compileFrom.value_or(Phase::Import);
  if (failed(checkPhase(*module, reached)))
    return failure();
  return checkOverwrites();
}

LogicalResult Compilation::chooseTarget() {
  std::optional<CPUOptions> recorded = readTarget(*module);
  if (recorded && !options.targetGiven)
    options.compile.cpu = *recorded;
  std::string error;
  if (!resolveCPUOptions(options.compile.cpu, error))
    return fail(error);
  recordTarget(*module, options.compile.cpu);

  std::string &arch = options.compile.gpu.arch;
  auto recordedArch = (*module)->getAttrOfType<StringAttr>(kGPUTargetAttr);
  if (recordedArch && !options.targetGiven)
    arch = recordedArch.getValue();
  if (arch.empty())
    return success();
  if (!describeGPU(arch))
    return fail("--target=cuda: expects one of " + listGPUs() + ", got '" +
                arch + "'");
  (*module)->setAttr(kGPUTargetAttr, StringAttr::get(&context, arch));
  return success();
}

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

/// With locations: they carry the names of the model's nodes, which messages
/// and model.json need after the text has been read again.
static void printModule(ModuleOp module, llvm::raw_ostream &os) {
  OpPrintingFlags flags;
  flags.enableDebugInfo(true, /*prettyForm=*/false);
  module.print(os, flags);
  os << "\n";
}

LogicalResult Compilation::writeModule(StringRef file) {
  return write(file.str(),
               [&](llvm::raw_ostream &os) { printModule(*module, os); });
}

LogicalResult Compilation::runPhases() {
  auto dump = [&](Phase phase) -> LogicalResult {
    if (options.dumpPhases.empty())
      return success();
    SmallString<256> file(options.dumpPhases);
    if (std::error_code ec = fs::create_directories(file))
      return fail("cannot create folder '" + file + "': " + ec.message());
    path::append(file, "0" + Twine(static_cast<unsigned>(phase) + 1) + "-" +
                           stringifyPhase(phase) + ".mlir");
    // Right away and not with the results: dumps are for looking at failures.
    std::string error;
    if (!OutputFiles::writeNow(
            file.str().str(),
            [&](llvm::raw_ostream &os) { printModule(*module, os); }, error))
      return fail(error);
    return success();
  };
  if (reached == Phase::Import && failed(dump(Phase::Import)))
    return failure();
  for (const PhaseInfo &info : getPhases()) {
    if (info.phase <= reached || info.phase > lastPhase() ||
        info.phase == Phase::Emit)
      continue;
    progress.begin(info.name);
    PassManager passes(&context);
    buildPhase(info.phase, passes, options.compile);
    if (failed(passes.run(*module)))
      return failure();
    reached = info.phase;
    if (failed(dump(info.phase)))
      return failure();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

LogicalResult Compilation::packModel(ModelDescriptor &descriptor) {
  if (!hasWeightSections(*module) || prefix == "-")
    return success();
  progress.begin("weights");
  PackOptions pack;
  pack.source.path = recordedFolder(*module, /*checkpoint=*/false);
  if (fs::is_directory(options.input))
    pack.source.linked = linkedFolder(options.input + "/config.json");
  else if (options.input != "-")
    pack.source.linked = linkedFolder(options.input);
  pack.checkpoint.path = recordedFolder(*module, /*checkpoint=*/true);
#ifdef MOE_ENABLE_ONNX
  if (!options.weights.empty())
    pack.checkpoint.linked = linkedFolder(checkpointFile(options.weights));
#endif
  pack.progress = [&](uint64_t done, uint64_t total) {
    progress.update(done, total);
  };
  SmallVector<Attribute> quantized;
  Builder b(&context);
  pack.quantized = [&](QuantizedWeightOp weight, double relativeError) {
    weight.emitRemark("weight '")
        << weight.getSource() << "' rounded to " << weight.getBits()
        << " bits: relative error " << llvm::formatv("{0:e2}", relativeError);
    quantized.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("weight", b.getStringAttr(weight.getSource())),
         b.getNamedAttr("bits", weight.getBitsAttr()),
         b.getNamedAttr("block_size", weight.getBlockSizeAttr()),
         b.getNamedAttr("relative_error", b.getF64FloatAttr(relativeError))}));
  };
  WeightFileIdentity identity;
  if (failed(packWeights(*module, files.add(outputName(".weights")), pack,
                         identity)))
    return failure();
  if (options.compile.quantize && quantized.empty())
    module->emitWarning("--quantize: no float weights of ")
        << (options.compile.quantize->dense ? "products" : "experts")
        << " found to round";
  if (!quantized.empty())
    (*module)->setAttr(kQuantizedAttr, b.getArrayAttr(quantized));
  descriptor.weightsSize = identity.size;
  descriptor.weightsHash = identity.hash;
  return success();
}

LogicalResult Compilation::linkModel(const std::string &object) {
  progress.begin("link");
  LinkJob job;
  job.triple = options.compile.cpu.triple;
  job.executable = options.emit == EmitKind::Executable;
  job.inputs = {object};
  for (const char *archive : {"libMoEProgram.a", "libMoERuntime.a"}) {
    if (!job.executable && archive == StringRef("libMoEProgram.a"))
      continue;
    std::string found = findProjectLibrary(archive);
    if (found.empty())
      return fail(Twine("cannot find ") + archive +
                  " in the lib folder beside this program's");
    job.inputs.push_back(found);
  }
  job.soname = name + ".so";
  job.exports = {"moe_get_api", entryPrefix(name) + "_get_api"};
  std::string file = outputName(suffix());
  job.output = files.add(file);
  std::string error;
  if (!link(job, error))
    return fail("cannot link '" + file + "': " + error);
  return success();
}

LogicalResult Compilation::writeMachineCode(llvm::Module &code,
                                            llvm::TargetMachine &machine) {
  std::string file = outputName(suffix());
  if (writesText())
    return write(file, [&](llvm::raw_pwrite_stream &os) {
      if (options.emit == EmitKind::LLVM)
        code.print(os, nullptr);
      else
        emitMachineCode(code, machine, /*assembly=*/true, os);
    });
  if (options.emit == EmitKind::Object)
    return write(file, [&](llvm::raw_pwrite_stream &os) {
      emitMachineCode(code, machine, /*assembly=*/false, os);
    });
  // The object of a linked model is not among the results: never committed.
  OutputFiles intermediate;
  std::string object, error;
  if (!intermediate.write(
          file + ".o",
          [&](llvm::raw_pwrite_stream &os) {
            emitMachineCode(code, machine, /*assembly=*/false, os);
          },
          error, &object))
    return fail(error);
  return linkModel(object);
}

LogicalResult Compilation::writeDescription(const ModelDescriptor &descriptor) {
  if (writesText())
    return success();
  if (failed(write(outputName(".json"), [&](llvm::raw_ostream &os) {
        writeJSON(*module, descriptor, options.compile.cpu, os);
      })))
    return failure();
  if (options.emit == EmitKind::Executable)
    return success();
  return write(outputName(".h"),
               [&](llvm::raw_ostream &os) { writeHeader(descriptor, os); });
}

/// The kernels alone: their text is a constant of the lowered module.
LogicalResult Compilation::writeKernels() {
  auto global = module->lookupSymbol<LLVM::GlobalOp>(kDeviceCodeName);
  auto text = global ? dyn_cast_or_null<StringAttr>(global.getValueOrNull())
                     : StringAttr();
  if (!text)
    return fail("'" + options.input + "' has nothing that runs on a GPU");
  StringRef ptx = text.getValue().rtrim('\0');
  std::string file = outputName(suffix());
  if (options.emit == EmitKind::PTX) {
    return write(file, [&](llvm::raw_ostream &os) { os << ptx; });
  }
  progress.begin("ptxas");
  std::string error;
  auto cubin = assemblePTX(ptx, options.compile.gpu.arch, error);
  if (!cubin)
    return fail(error);
  return write(file,
               [&](llvm::raw_ostream &os) { os << (*cubin)->getBuffer(); });
}

LogicalResult Compilation::emit() {
  if (writesKernels())
    return writeKernels();
  ModelDescriptor descriptor;
  descriptor.name = name;
  if (failed(describeModel(*module, descriptor)))
    return failure();
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(options.compile.cpu, error);
  if (!machine)
    return fail(error);
  descriptor.cpuFeatures = requiredFeatures(*machine);
  descriptor.metadata = {{"compiler", compilerVersion().str()},
                         {"target", options.compile.cpu.triple},
                         {"cpu", options.compile.cpu.cpu}};
  if (!options.compile.gpu.arch.empty())
    descriptor.metadata.push_back({"gpu", options.compile.gpu.arch});
  // The weights before the code, which names them by their hash.
  if (failed(packModel(descriptor)) || failed(writeDescription(descriptor)))
    return failure();
  for (Operation &op : llvm::make_early_inc_range(*module->getBody()))
    if (isa<WeightSymbolOpInterface>(op))
      op.erase();

  progress.begin("translate");
  llvm::LLVMContext llvmContext;
  std::vector<uint8_t> bytes = descriptor.serialize();
  std::string entry = entryPrefix(name);
  std::unique_ptr<llvm::Module> code =
      translateModel(*module, {entry, bytes}, *machine, llvmContext);
  if (!code)
    return failure();
  progress.begin("optimize");
  optimizeModel(*code, *machine);
  progress.begin("codegen");
  return writeMachineCode(*code, *machine);
}

bool Compilation::run() {
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    report(diagnostic);
    return success();
  });
  if (failed(checkOptions()) || failed(load()) || failed(chooseTarget()) ||
      failed(runPhases()))
    return false;
  if (lastPhase() == Phase::Emit) {
    if (failed(emit()))
      return false;
  } else {
    if (failed(writeModule(moduleFile())))
      return false;
  }
  if (failed(writeMessages()))
    return false;
  progress.begin("rename");
  std::string error;
  if (!files.commit(error)) {
    (void)fail(error);
    return false;
  }
  progress.finish();
  if (options.time)
    progress.printTimes(llvm::errs());
  return true;
}

bool moe::compileModel(const DriverOptions &options) {
  Compilation compilation(options);
  bool compiled = compilation.run();
  // On success they were written together with the results.
  if (!compiled)
    (void)compilation.writeMessages();
  return compiled;
}
