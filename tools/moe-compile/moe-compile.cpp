//===- moe-compile.cpp - Compiles a model ---------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Driver/Driver.h"

#include "moe/Driver/ModelInfo.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir::moe;
namespace cl = llvm::cl;

static cl::OptionCategory category("Options");

static cl::opt<std::string>
    input(cl::Positional, cl::Required,
          cl::desc("<model.onnx, folder or module.mlir>"), cl::cat(category));
static cl::opt<std::string>
    output("o", cl::value_desc("name"), cl::cat(category),
           cl::desc("Results are <name>.so, <name>.weights, <name>.h and "
                    "<name>.json; '-' writes text to standard output"));
static cl::opt<EmitKind> emitKind(
    "emit", cl::init(EmitKind::Library), cl::cat(category),
    cl::desc("What to make:"),
    cl::values(clEnumValN(EmitKind::Library, "lib",
                          "shared library with weight file, header and "
                          "description (default)"),
               clEnumValN(EmitKind::Executable, "exe",
                          "program that runs the model on .npy files"),
               clEnumValN(EmitKind::Object, "obj",
                          "object file, to be linked with libMoERuntime.a"),
               clEnumValN(EmitKind::Assembly, "asm", "assembly text"),
               clEnumValN(EmitKind::LLVM, "llvm", "optimized LLVM IR"),
               clEnumValN(EmitKind::PTX, "ptx", "text of the GPU's kernels"),
               clEnumValN(EmitKind::Cubin, "cubin",
                          "the GPU's kernels, assembled by ptxas"),
               clEnumValN(EmitKind::MLIR, "mlir",
                          "the llvm dialect, as phase 'lower' leaves it")));

/// Options that name a phase; the list comes from the one enum there is.
static void addPhases(cl::parser<Phase> &parser) {
  for (const PhaseInfo &info : getPhases())
    parser.addLiteralOption(info.name, info.phase, info.description);
}
static cl::opt<Phase>
    compileTo("compile-to", cl::cat(category),
              cl::desc("Stop after a phase and write the module (to standard "
                       "output without -o):"));
static cl::opt<Phase> compileFrom(
    "compile-from", cl::cat(category),
    cl::desc("The input is what this phase left; go on with the next one:"));
static cl::opt<std::string>
    dumpPhases("dump-phases", cl::value_desc("folder"), cl::cat(category),
               cl::desc("Write the module after each phase as "
                        "<folder>/01-import.mlir and so on"));
static cl::opt<std::string>
    sourceDir("source-dir", cl::value_desc("folder"), cl::cat(category),
              cl::desc("Where the files with the weights lie (default: beside "
                       "the model)"));

static cl::opt<std::string> weights(
    "weights", cl::value_desc("folder or file"), cl::cat(category),
    cl::desc("Take the initializers from a checkpoint: a safetensors file, an "
             "index of several, or a folder with either. Names, types and "
             "shapes must agree"));
static cl::opt<bool>
    partialWeights("partial-weights", cl::cat(category),
                   cl::desc("Allow the checkpoint to lack initializers, and to "
                            "hold tensors that are none"));

static cl::opt<std::string>
    targetCPU("target-cpu", cl::value_desc("cpu"), cl::cat(category),
              cl::desc("CPU to compile for: native (default), x86-64-v3, "
                       "znver4, ..."));
static cl::opt<std::string>
    targetFeatures("target-features", cl::value_desc("+a,-b"),
                   cl::cat(category),
                   cl::desc("Further instruction set extensions to use or to "
                            "avoid"));
static cl::opt<std::string>
    targetTriple("target", cl::value_desc("triple"), cl::cat(category),
                 cl::desc("Machine to compile for (default: this one); "
                          "cuda:sm_80, ...: this one with a GPU"));

static cl::opt<std::string> quantize(
    "quantize", cl::value_desc("type[:option...]"), cl::cat(category),
    cl::desc("Round the experts' float weights to int8, int4 or int2. Options: "
             "block=<n> (default 32) or block=row elements of K share a scale; "
             "scales=bf16 (default), f16 or f32; asymmetric for zero points; "
             "dense for all matrix products but routers"));

static cl::opt<bool> timing("time", cl::cat(category),
                            cl::desc("Print the time of each phase"));
static cl::opt<bool>
    remarks("remarks", cl::cat(category),
            cl::desc("Print remarks, such as why a layer was not recognized"));
static cl::opt<std::string>
    messagesFile("messages", cl::value_desc("file"), cl::cat(category),
                 cl::desc("Write errors, warnings and remarks to <file>, one "
                          "JSON object per line (-: standard output)"));

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  addPhases(compileTo.getParser());
  addPhases(compileFrom.getParser());
  cl::HideUnrelatedOptions(category);
  cl::SetVersionPrinter([](llvm::raw_ostream &os) {
    os << compilerVersion() << " (LLVM " LLVM_VERSION_STRING ")\n";
  });
  cl::ParseCommandLineOptions(
      argc, argv,
      "Compiles a mixture-of-experts model, an ONNX file or a Hugging Face "
      "folder (config.json and safetensors), to a native library\n");

  if (output.getNumOccurrences() && output.empty()) {
    llvm::errs() << "moe-compile: error: -o expects a file name, got ''\n";
    return 1;
  }
  DriverOptions options;
  options.input = input;
  options.output = output;
  options.emit = emitKind;
  if (compileTo.getNumOccurrences())
    options.compileTo = compileTo;
  if (compileFrom.getNumOccurrences())
    options.compileFrom = compileFrom;
  options.dumpPhases = dumpPhases;
  options.sourceDir = sourceDir;
  options.weights = weights;
  options.partialWeights = partialWeights;
  if (targetCPU.getNumOccurrences())
    options.compile.cpu.cpu = targetCPU;
  options.compile.cpu.features = targetFeatures;
  llvm::StringRef target = targetTriple;
  if (target.consume_front("cuda:"))
    options.compile.gpu.arch = target.empty() ? "?" : target.str();
  else
    options.compile.cpu.triple = targetTriple;
  options.targetGiven = targetCPU.getNumOccurrences() ||
                        targetFeatures.getNumOccurrences() ||
                        targetTriple.getNumOccurrences();
  if (quantize.getNumOccurrences()) {
    std::string error;
    options.compile.quantize = parseQuantizeOptions(quantize, error);
    if (!options.compile.quantize) {
      llvm::errs() << "moe-compile: error: --quantize " << error << "\n";
      return 1;
    }
  }
  options.time = timing;
  options.remarks = remarks;
  options.messagesFile = messagesFile;
  return compileModel(options) ? 0 : 1;
}
