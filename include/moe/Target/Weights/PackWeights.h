//===- PackWeights.h - Writes a module's weights ----------------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_WEIGHTS_PACKWEIGHTS_H
#define MOE_TARGET_WEIGHTS_PACKWEIGHTS_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <functional>
#include <string>

namespace mlir {
class ModuleOp;

namespace moe {
class QuantizedWeightOp;
struct WeightFileIdentity;

/// Where files of weights lie.
struct WeightFolder {
  /// What their names are relative to.
  std::string path;
  /// A second folder that links in `path` may lead to, if not empty.
  std::string linked;
};

/// Where `module` says that the model's files lie, or the checkpoint's; empty
/// if it does not.
StringRef recordedFolder(ModuleOp module, bool checkpoint);

/// The folder that `file` lies in when links are followed: download caches have
/// folders of links into folders of blobs. Empty if there is no such file.
std::string linkedFolder(const Twine &file);

struct PackOptions {
  /// Of the model, and of the checkpoint that has replaced its weights.
  WeightFolder source, checkpoint;
  /// 0: as many as the machine has, up to a few (packing is bound by memory).
  unsigned threads = 0;
  /// Called now and then, from any thread but one at a time.
  std::function<void(uint64_t done, uint64_t total)> progress;
  /// Called at the end for each weight that was rounded to integers, with the
  /// norm of the differences divided by the norm of the weight.
  std::function<void(QuantizedWeightOp weight, double relativeError)> quantized;
};

/// Writes every weight symbol of `module` that has a `section` to a new weight
/// file at `path`. Sources are mapped and streamed: memory stays at a few MB
/// per thread. Fails after a diagnostic, and leaves no file, when a source is
/// missing, lies outside of its folder, is too short, or when the sections
/// are not those that `moe-assign-weight-sections` gives.
LogicalResult packWeights(ModuleOp module, StringRef path,
                          const PackOptions &options,
                          WeightFileIdentity &identity);

/// Whether the module has any weight to write.
bool hasWeightSections(ModuleOp module);

} // namespace moe
} // namespace mlir

#endif // MOE_TARGET_WEIGHTS_PACKWEIGHTS_H
