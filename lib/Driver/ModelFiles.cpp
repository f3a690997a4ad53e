//===- ModelFiles.cpp - The header and description of a model -------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Driver/ModelInfo.h"

#include "Messages.h"
#include "mlir/IR/BuiltinOps.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Pipelines/Options.h"
#include "moe/Runtime/moe.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace mlir::moe;

/// The text of moe/Runtime/moe.h.
static constexpr char kABIText[] =
#include "moe/Runtime/HeaderText.inc"
    ;

static StringRef dtypeName(int32_t dtype) {
  static constexpr StringLiteral names[] = {"",    "f32", "f16", "bf16", "f64",
                                            "i8",  "i16", "i32", "i64",  "u8",
                                            "u16", "u32", "u64", "bool"};
  return static_cast<size_t>(dtype) < std::size(names) ? names[dtype] : "?";
}

//===----------------------------------------------------------------------===//
// Header
//===----------------------------------------------------------------------===//

static std::string shapeText(const ModelDescriptor::Value &value) {
  std::string text = "[";
  for (auto [i, dim] : llvm::enumerate(value.dims)) {
    if (i)
      text += ", ";
    text += dim.size >= 0      ? std::to_string(dim.size)
            : dim.name.empty() ? "?"
                               : dim.name;
  }
  return text + "]";
}

/// Text from a model inside of a C comment: nothing that ends the comment, or
/// the line.
static std::string commentText(StringRef text) {
  std::string out;
  for (char c : text)
    out += llvm::isPrint(c) || (c & 0x80) ? c : ' ';
  for (size_t at; (at = out.find("*/")) != std::string::npos;)
    out[at] = '+';
  for (size_t at; (at = out.find("/*")) != std::string::npos;)
    out[at + 1] = '+';
  return out;
}

static void writeValues(StringRef title,
                        const std::vector<ModelDescriptor::Value> &values,
                        llvm::raw_ostream &os) {
  os << " * " << title << "\n";
  size_t width = 0;
  for (const ModelDescriptor::Value &value : values)
    width = std::max(width, commentText(value.name).size());
  for (auto [i, value] : llvm::enumerate(values))
    os << " *   " << llvm::formatv("{0,3}", i) << "  "
       << llvm::left_justify(commentText(value.name), width) << "  "
       << llvm::left_justify(dtypeName(value.dtype), 4) << "  "
       << commentText(shapeText(value)) << "\n";
}

void moe::writeHeader(const ModelDescriptor &descriptor,
                      llvm::raw_ostream &os) {
  std::string prefix = entryPrefix(descriptor.name);
  std::string guard = "MOE_MODEL_" + StringRef(prefix).upper() + "_H";
  os << kABIText << "\n/* The model '" << commentText(descriptor.name)
     << "', compiled by " << compilerVersion() << ".\n *\n";
  writeValues("Inputs", descriptor.inputs, os);
  writeValues("Outputs", descriptor.outputs, os);
  if (!descriptor.caches.empty()) {
    os << " * Caches (past input, present output, dimension of positions)\n";
    for (const ModelDescriptor::CacheBinding &cache : descriptor.caches)
      os << " *   " << commentText(descriptor.inputs[cache.input].name) << ", "
         << commentText(descriptor.outputs[cache.output].name) << ", "
         << cache.axis << "\n";
  }
  os << " */\n#ifndef " << guard << "\n#define " << guard << "\n\n"
     << "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
     << "const moe_api *" << prefix << "_get_api(uint32_t abi_version);\n\n"
     << "#ifdef __cplusplus\n} /* extern \"C\" */\n#endif\n\n#endif /* "
     << guard << " */\n";
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

static llvm::json::Array
valuesToJSON(const std::vector<ModelDescriptor::Value> &values) {
  llvm::json::Array array;
  for (const ModelDescriptor::Value &value : values) {
    llvm::json::Array shape;
    for (const ModelDescriptor::Dim &dim : value.dims)
      if (dim.size >= 0)
        shape.push_back(dim.size);
      else if (dim.name.empty())
        shape.push_back(nullptr);
      else
        shape.push_back(llvm::json::fixUTF8(dim.name));
    array.push_back(
        llvm::json::Object{{"name", llvm::json::fixUTF8(value.name)},
                           {"dtype", dtypeName(value.dtype)},
                           {"shape", std::move(shape)}});
  }
  return array;
}

void moe::writeJSON(ModuleOp module, const ModelDescriptor &descriptor,
                    const CPUOptions &target, llvm::raw_ostream &os) {
  llvm::json::Array caches;
  for (const ModelDescriptor::CacheBinding &cache : descriptor.caches)
    caches.push_back(llvm::json::Object{
        {"past", llvm::json::fixUTF8(descriptor.inputs[cache.input].name)},
        {"present", llvm::json::fixUTF8(descriptor.outputs[cache.output].name)},
        {"axis", static_cast<int64_t>(cache.axis)}});
  auto layers = module->getAttrOfType<ArrayAttr>(kLayersAttr);
  llvm::json::Object model{
      {"name", llvm::json::fixUTF8(descriptor.name)},
      {"compiler", compilerVersion()},
      {"abi_version", static_cast<int64_t>(MOE_ABI_VERSION)},
      {"entry_point", entryPrefix(descriptor.name) + "_get_api"},
      {"target", llvm::json::Object{{"triple", target.triple},
                                    {"cpu", target.cpu},
                                    {"features", descriptor.cpuFeatures}}},
      {"inputs", valuesToJSON(descriptor.inputs)},
      {"outputs", valuesToJSON(descriptor.outputs)},
      {"caches", std::move(caches)},
      {"layers",
       layers ? toJSON(layers) : llvm::json::Value(llvm::json::Array())},
  };
  if (auto quantized = module->getAttrOfType<ArrayAttr>(kQuantizedAttr))
    model["quantized"] = toJSON(quantized);
  // A string, because JSON readers keep 53 bits of a number.
  if (descriptor.weightsSize)
    model["weights"] = llvm::json::Object{
        {"size", static_cast<int64_t>(descriptor.weightsSize)},
        {"hash", llvm::formatv("{0:x-16}", descriptor.weightsHash).str()}};
  os << llvm::formatv("{0:2}", llvm::json::Value(std::move(model))) << "\n";
}
