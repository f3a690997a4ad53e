//===- WeightSources.h - The bytes behind weight symbols --------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Maps the files that weight symbols name and finds a symbol's elements in
// them. The IR may have been written by hand, so nothing it says about files is
// believed: names, sizes and offsets are checked before a byte is touched.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_WEIGHTS_WEIGHTSOURCES_H
#define MOE_TARGET_WEIGHTS_WEIGHTSOURCES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Target/Weights/BlockScales.h"
#include "moe/Target/Weights/PackWeights.h"
#include "moe/Target/Weights/PanelPacking.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"

#include <memory>
#include <string>

namespace mlir::moe {

/// A weight's tensors in memory, one after the other in row-major order: one
/// for a plain weight, as many as there are slices for a stack.
struct WeightBytes {
  SmallVector<StridedBytes, 1> leaves;
  /// What reads the leaves that are 8-bit floats: one for each leaf, without
  /// data for one that is as it is, or none at all.
  SmallVector<BlockScaledMatrix, 0> scaled;

  const BlockScaledMatrix *scalesOf(size_t leaf) const {
    return scaled.empty() || !scaled[leaf].data ? nullptr : &scaled[leaf];
  }
};

/// Of f32, f16 or bf16.
FloatKind floatKind(Type type);

class WeightSources {
public:
  WeightSources(ModuleOp module, WeightFolder source, WeightFolder checkpoint)
      : symbols(module), folders{std::move(source), std::move(checkpoint)} {}

  /// The elements of a `moe.weight` or `moe.weight_stack`; fails after a
  /// diagnostic at that symbol.
  FailureOr<WeightBytes> resolve(Operation *symbol);
  /// The same without a diagnostic.
  std::optional<WeightBytes> find(Operation *symbol);
  Operation *lookup(Attribute ref) {
    return symbols.lookup(cast<FlatSymbolRefAttr>(ref).getValue());
  }

  /// Gives pages of the source back to the system.
  static void release(const StridedBytes &tensor);

private:
  struct File {
    std::unique_ptr<llvm::sys::fs::mapped_file_region> region;
    uint64_t size = 0;
    std::string error;
  };
  /// `at` is the symbol that `error` is about.
  FailureOr<WeightBytes> find(Operation *symbol, std::string &error,
                              Operation *&at);
  const File &open(WeightOp weight);
  /// The bytes of `weight`, all of which are there; null of an empty file.
  FailureOr<const uint8_t *> bytesOf(WeightOp weight, std::string &error);
  static void map(const WeightFolder &folder, StringRef name, File &file);

  SymbolTable symbols;
  /// The second one is the checkpoint's.
  WeightFolder folders[2];
  llvm::StringMap<File> files[2];
};

} // namespace mlir::moe

#endif // MOE_TARGET_WEIGHTS_WEIGHTSOURCES_H
