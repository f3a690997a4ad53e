//===- moe-translate.cpp - Translates other formats to MLIR ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Driver/OperatorTable.h"
#include "moe/Import/ONNX/Import.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
namespace cl = llvm::cl;

static cl::OptionCategory category("Translation");
static cl::opt<bool> importONNXFlag("import-onnx",
                                    cl::desc("Import an ONNX model"),
                                    cl::cat(category));
static cl::opt<int64_t>
    targetOpset("target-opset",
                cl::desc("Operator set that older models are converted to, "
                         "0 for none"),
                cl::init(moe::ONNXImportOptions().targetOpset),
                cl::cat(category));
static cl::opt<std::string> inputFile(cl::Positional, cl::desc("<model>"),
                                      cl::Required, cl::cat(category));
static cl::opt<std::string> outputFile("o", cl::desc("Output file"),
                                       cl::value_desc("file"), cl::init("-"),
                                       cl::cat(category));

static cl::opt<bool> listOperators(
    "list-operators", cl::cat(category), cl::ValueDisallowed,
    cl::desc("Print a table of the ONNX operators that can be compiled "
             "(docs/Operators.md), and exit"),
    // While options are parsed, since no model need be given.
    cl::callback([](const bool &) {
      moe::printOperatorTable(llvm::outs());
      llvm::outs().flush();
      std::exit(0);
    }));

/// "file: error: message": a model has no lines to point at.
static LogicalResult printDiagnostic(Diagnostic &diagnostic) {
  if (auto loc = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
    llvm::errs() << loc.getFilename().getValue() << ": ";
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    llvm::errs() << "error: ";
    break;
  case DiagnosticSeverity::Warning:
    llvm::errs() << "warning: ";
    break;
  default:
    break;
  }
  llvm::errs() << diagnostic << "\n";
  return success();
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  registerAsmPrinterCLOptions();
  registerMLIRContextCLOptions();
  cl::ParseCommandLineOptions(argc, argv, "MoE-MLIR translation\n");
  if (!importONNXFlag) {
    llvm::errs() << "moe-translate: error: expects --import-onnx\n";
    return 1;
  }

  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.getDiagEngine().registerHandler(printDiagnostic);
  moe::ONNXImportOptions options;
  options.targetOpset = targetOpset;
  OwningOpRef<ModuleOp> module = moe::importONNX(inputFile, context, options);
  if (!module)
    return 1;

  std::string message;
  std::unique_ptr<llvm::ToolOutputFile> output =
      openOutputFile(outputFile, &message);
  if (!output) {
    llvm::errs() << "moe-translate: error: " << message << "\n";
    return 1;
  }
  module->print(output->os());
  output->os() << "\n";
  output->keep();
  return 0;
}
