//===- WeightValues.h - the elements of weights --------------- -*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Recognition goes by how values are computed, and what weights hold is none of
// its business but for two questions: what large integer constants are, that
// ids are compared with or that are written to; and whether experts are equal.
// Then the files are mapped, and no more is read than the answer takes.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_ONNXTOMOE_WEIGHTVALUES_H
#define MOE_LIB_CONVERSION_ONNXTOMOE_WEIGHTVALUES_H

#include "moe/Conversion/ONNXToMoE/WeightViews.h"
#include "moe/Target/Weights/WeightSources.h"

namespace mlir::moe {

class WeightValues {
public:
  explicit WeightValues(ModuleOp module);

  /// What `value`, a weight or a constant, holds. None for other values, for
  /// files that cannot be read (packing the weights will say why), for elements
  /// of less than a byte, and for those that scales multiply.
  std::optional<StridedBytes> bytes(Value value);
  /// A weight of at most `most` elements as a constant; null otherwise.
  DenseElementsAttr constant(Value value, int64_t most);

private:
  WeightSymbols symbols;
  WeightSources sources;
};

/// Whether the two, of one shape and element type, hold the same bytes.
bool equalBytes(const StridedBytes &a, const StridedBytes &b);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_ONNXTOMOE_WEIGHTVALUES_H
