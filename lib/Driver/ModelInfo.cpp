//===- ModelInfo.cpp - What a compiled model says about itself ------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Driver/ModelInfo.h"

#include "mlir/IR/BuiltinOps.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Runtime/Descriptor.h"
#include "moe/Runtime/moe.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace mlir::moe;

StringRef moe::compilerVersion() { return "MoE-MLIR " MOE_VERSION; }

std::string moe::entryPrefix(StringRef name) {
  std::string prefix;
  for (char c : name)
    prefix += llvm::isAlnum(c) ? c : '_';
  if (prefix.empty() || llvm::isDigit(prefix[0]))
    prefix = "model_" + prefix;
  // `moe_get_api` and `moe_rt_get_api` are taken.
  if (prefix == "moe" || prefix == "moe_rt")
    prefix += "_model";
  return prefix;
}

/// The ABI's code of an element type, 0 for a type it has no code for.
static int32_t dtypeOf(Type type) {
  if (type.isF32())
    return MOE_F32;
  if (type.isF16())
    return MOE_F16;
  if (type.isBF16())
    return MOE_BF16;
  if (type.isF64())
    return MOE_F64;
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return 0;
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1:
    return MOE_BOOL;
  case 8:
    return isUnsigned ? MOE_U8 : MOE_I8;
  case 16:
    return isUnsigned ? MOE_U16 : MOE_I16;
  case 32:
    return isUnsigned ? MOE_U32 : MOE_I32;
  case 64:
    return isUnsigned ? MOE_U64 : MOE_I64;
  }
  return 0;
}

static LogicalResult describeValues(ModuleOp module, ArrayAttr values,
                                    std::vector<ModelDescriptor::Value> &out) {
  for (Attribute attribute : values) {
    auto entry = dyn_cast<DictionaryAttr>(attribute);
    auto name = entry ? entry.getAs<StringAttr>("name") : StringAttr();
    auto typeAttr = entry ? entry.getAs<TypeAttr>("type") : TypeAttr();
    auto dims = entry ? entry.getAs<ArrayAttr>("dims") : ArrayAttr();
    auto type = typeAttr ? dyn_cast<RankedTensorType>(typeAttr.getValue())
                         : RankedTensorType();
    if (!name || !type || !dims ||
        static_cast<int64_t>(dims.size()) != type.getRank())
      return module.emitError("expects every value of '")
             << kSignatureAttr << "' to have a name, a ranked tensor type and "
             << "a name per dimension, got " << attribute;
    ModelDescriptor::Value value;
    value.name = name.str();
    value.dtype = dtypeOf(type.getElementType());
    if (!value.dtype)
      return module.emitError("value '")
             << value.name << "' has element type " << type.getElementType()
             << ", which compiled models cannot take or return";
    if (type.getRank() > MOE_MAX_RANK)
      return module.emitError("value '")
             << value.name << "' has rank " << type.getRank()
             << ", expects at most " << MOE_MAX_RANK;
    for (auto [size, dim] : llvm::zip_equal(type.getShape(), dims)) {
      auto text = dyn_cast<StringAttr>(dim);
      bool dynamic = ShapedType::isDynamic(size);
      value.dims.push_back(
          {dynamic ? -1 : size, dynamic && text ? text.str() : ""});
    }
    out.push_back(std::move(value));
  }
  return success();
}

static int64_t integerOr(DictionaryAttr entry, StringRef name,
                         int64_t otherwise) {
  auto value = entry.getAs<IntegerAttr>(name);
  return value ? value.getInt() : otherwise;
}

static void describeCaches(ArrayAttr caches, ModelDescriptor &descriptor) {
  for (Attribute attribute : caches) {
    auto entry = dyn_cast<DictionaryAttr>(attribute);
    if (!entry)
      continue;
    int64_t input = integerOr(entry, "input", -1),
            output = integerOr(entry, "output", -1),
            axis = integerOr(entry, "axis", -1);
    if (input < 0 || input >= static_cast<int64_t>(descriptor.inputs.size()) ||
        output < 0 || output >= static_cast<int64_t>(descriptor.outputs.size()))
      continue;
    // What the runtime requires of a pair.
    const ModelDescriptor::Value &past = descriptor.inputs[input];
    const ModelDescriptor::Value &present = descriptor.outputs[output];
    if (axis < 0 || axis >= static_cast<int64_t>(past.dims.size()) ||
        past.dims.size() != present.dims.size() || past.dtype != present.dtype)
      continue;
    descriptor.caches.push_back({static_cast<uint32_t>(input),
                                 static_cast<uint32_t>(output),
                                 static_cast<uint32_t>(axis)});
  }
}

/// Splits "node 'n3' (Gather)"; other texts are kept as what failed.
static ModelDescriptor::Site describeSite(StringRef node, StringRef message) {
  ModelDescriptor::Site site;
  StringRef rest = node;
  if (rest.consume_front("node '")) {
    auto [name, op] = rest.rsplit("' (");
    if (op.consume_back(")")) {
      site.node = name.str();
      site.op = op.str();
    } else if (rest.consume_back("'")) {
      site.node = rest.str();
    } else {
      site.op = node.str();
    }
  } else {
    site.op = node.str();
  }
  site.message = message.str();
  if (!message.contains("{found}") && !message.contains("{limit}"))
    site.message += ", got {found} for {limit}";
  return site;
}

LogicalResult moe::describeModel(ModuleOp module, ModelDescriptor &descriptor) {
  auto signature = module->getAttrOfType<DictionaryAttr>(kSignatureAttr);
  if (!signature)
    return module.emitError("expects a function @main with a body, or the "
                            "attribute '")
           << kSignatureAttr << "' that 'moe-record-signature' makes of it";
  auto list = [&](StringRef name) {
    auto values = signature.getAs<ArrayAttr>(name);
    return values ? values : ArrayAttr::get(module.getContext(), {});
  };
  if (failed(describeValues(module, list("inputs"), descriptor.inputs)) ||
      failed(describeValues(module, list("outputs"), descriptor.outputs)))
    return failure();
  describeCaches(list("caches"), descriptor);
  if (auto layers = module->getAttrOfType<ArrayAttr>(kLayersAttr))
    for (auto entry : layers.getAsRange<DictionaryAttr>()) {
      auto name = entry.getAs<StringAttr>("name");
      descriptor.expertLayers.push_back(
          {name ? name.str() : "",
           static_cast<uint32_t>(integerOr(entry, "experts", 0)),
           static_cast<uint32_t>(integerOr(entry, "k", 0)),
           static_cast<uint64_t>(integerOr(entry, "bytes_per_expert", 0))});
    }
  if (auto sites = module->getAttrOfType<ArrayAttr>(kSitesAttr))
    for (auto entry : sites.getAsRange<DictionaryAttr>()) {
      auto node = entry.getAs<StringAttr>("node");
      auto message = entry.getAs<StringAttr>("message");
      // One entry per site, whatever it holds: code refers to them by index.
      descriptor.sites.push_back(
          describeSite(node ? node.getValue() : StringRef(),
                       message ? message.getValue() : StringRef()));
    }
  if (auto regions = module->getAttrOfType<ArrayAttr>(kRegionsAttr))
    for (auto name : regions.getAsRange<StringAttr>())
      descriptor.regions.push_back(name.str());
  return success();
}
