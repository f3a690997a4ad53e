//===- Registry.h - converters by operator ----------------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_REGISTRY_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_REGISTRY_H

#include "Lowering.h"

namespace mlir::moe::raise {

using ConvertFn = LogicalResult (*)(Lowering &);

struct Converter {
  StringRef name;
  /// The operator set versions whose semantics the converter has.
  int64_t since, until;
  ConvertFn convert;
  unsigned minInputs, maxInputs;
  /// The attributes it understands, separated by spaces.
  StringRef attributes;
  StringRef domain = "";
  /// What it requires beyond the standard, for the table of operators.
  StringRef limits = "";
  /// Whether inputs may be sequences.
  bool takesSequences = false;
};

inline constexpr int64_t kLatest = 28;
inline constexpr unsigned kVariadic = ~0u;

class Registry {
public:
  static const Registry &get();

  void add(ArrayRef<Converter> entries);
  /// Null, with the reason in `why`, when the node cannot be converted.
  const Converter *lookup(onnx::NodeOp node, std::string &why) const;
  /// Sorted by domain and name.
  SmallVector<const Converter *> list() const;

private:
  Registry();
  llvm::StringMap<SmallVector<Converter, 1>> table;
};

// One per family; each lies in the file of that name.
void addConstants(Registry &);
void addControlFlow(Registry &);
void addUnary(Registry &);
void addBinary(Registry &);
void addSequences(Registry &);
void addShapes(Registry &);
void addReshapes(Registry &);
void addIndexing(Registry &);
void addScatter(Registry &);
void addRecurrence(Registry &);
void addReductions(Registry &);
void addMatMul(Registry &);
void addEinsum(Registry &);
void addConvolution(Registry &);
void addNormalization(Registry &);
void addQuantization(Registry &);
void addSorting(Registry &);
void addAttention(Registry &);
void addContribAttention(Registry &);
void addRotaryEmbedding(Registry &);

} // namespace mlir::moe::raise

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_REGISTRY_H
