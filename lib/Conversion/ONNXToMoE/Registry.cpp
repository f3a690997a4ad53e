//===- Registry.cpp - converters by operator ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Registry.h"

#include "moe/Conversion/ONNXToMoE/Operators.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::raise;

Registry::Registry() {
  addConstants(*this);
  addControlFlow(*this);
  addUnary(*this);
  addBinary(*this);
  addSequences(*this);
  addShapes(*this);
  addReshapes(*this);
  addIndexing(*this);
  addScatter(*this);
  addRecurrence(*this);
  addReductions(*this);
  addMatMul(*this);
  addEinsum(*this);
  addConvolution(*this);
  addNormalization(*this);
  addQuantization(*this);
  addSorting(*this);
  addAttention(*this);
  addContribAttention(*this);
  addRotaryEmbedding(*this);
}

const Registry &Registry::get() {
  static const Registry registry;
  return registry;
}

static std::string tableKey(StringRef domain, StringRef name) {
  // Both spellings of the default domain are in use.
  return ((domain == "ai.onnx" ? "" : domain) + "::" + name).str();
}

void Registry::add(ArrayRef<Converter> entries) {
  for (const Converter &entry : entries)
    table[tableKey(entry.domain, entry.name)].push_back(entry);
}

static bool understands(const Converter &entry, StringRef attribute) {
  SmallVector<StringRef> names;
  entry.attributes.split(names, ' ', -1, /*KeepEmpty=*/false);
  return llvm::is_contained(names, attribute);
}

const Converter *Registry::lookup(onnx::NodeOp node, std::string &why) const {
  auto position = [&] {
    StringRef domain = node.getDomain(); // "" is the default's short name
    return ("(domain '" + (domain.empty() ? "ai.onnx" : domain) + "', opset " +
            Twine(node.getOpset()) + ")")
        .str();
  };
  auto it = table.find(tableKey(node.getDomain(), node.getOpType()));
  if (it == table.end()) {
    why = "operator is not supported " + position();
    return nullptr;
  }
  int64_t opset = node.getOpset();
  auto entry = llvm::find_if(it->second, [&](const Converter &c) {
    return c.since <= opset && opset <= c.until;
  });
  if (entry == it->second.end()) {
    why = "operator is not supported in this version " + position();
    return nullptr;
  }
  for (NamedAttribute attribute : node.getOnnxAttrs())
    if (!understands(*entry, attribute.getName())) {
      why = ("attribute '" + attribute.getName().strref() +
             "' is not supported " + position())
                .str();
      return nullptr;
    }
  for (unsigned i = 0; i < entry->minInputs; ++i)
    if (!node.input(i)) {
      why = ("expects input " + Twine(i) + " " + position()).str();
      return nullptr;
    }
  if (node.getInputs().size() > entry->maxInputs) {
    why = ("expects at most " + Twine(entry->maxInputs) + " inputs, got " +
           Twine(node.getInputs().size()) + " " + position())
              .str();
    return nullptr;
  }
  return &*entry;
}

SmallVector<const Converter *> Registry::list() const {
  SmallVector<const Converter *> all;
  for (const auto &bucket : table)
    for (const Converter &entry : bucket.second)
      all.push_back(&entry);
  llvm::sort(all, [](const Converter *a, const Converter *b) {
    return std::tie(a->domain, a->name, a->since) <
           std::tie(b->domain, b->name, b->since);
  });
  return all;
}

//===----------------------------------------------------------------------===//
// The public list
//===----------------------------------------------------------------------===//

SmallVector<SupportedOperator> moe::supportedOperators() {
  // The operators that a recogniser takes, and that have no other meaning.
  SmallVector<SupportedOperator> operators{
      {"com.microsoft", "MoE", 1, 1, "constant weights"},
      {"com.microsoft", "QMoE", 1, 1, "constant weights; 2, 4 or 8 bits"}};
  for (const Converter *entry : Registry::get().list())
    operators.push_back({entry->domain, entry->name, entry->since, entry->until,
                         entry->limits});
  llvm::sort(operators,
             [](const SupportedOperator &a, const SupportedOperator &b) {
               return std::tie(a.domain, a.name, a.since) <
                      std::tie(b.domain, b.name, b.since);
             });
  return operators;
}

bool moe::isSupportedOperator(StringRef domain, StringRef name,
                              int64_t version) {
  static const SmallVector<SupportedOperator> operators = supportedOperators();
  return llvm::any_of(operators, [&](const SupportedOperator &op) {
    return op.domain == domain && op.name == name && op.since <= version &&
           version <= op.until;
  });
}
