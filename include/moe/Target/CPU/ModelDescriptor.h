//===- ModelDescriptor.h - Descriptor of a compiled model -------*- C++ -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the compiler tells the runtime about a model, and its serialization to
// the flat array `moe_compiled_descriptor` (moe/Runtime/Descriptor.h). Plain
// C++: used by the compiler's back end, and by tests that build models by hand.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_CPU_MODELDESCRIPTOR_H
#define MOE_TARGET_CPU_MODELDESCRIPTOR_H

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mlir::moe {

struct ModelDescriptor {
  struct Dim {
    int64_t size = -1; // -1: dynamic
    std::string name;  // symbolic name of a dynamic dimension, may be empty
  };
  struct Value {
    std::string name;
    int32_t dtype = 0; // moe_dtype
    std::vector<Dim> dims;
  };
  struct CacheBinding {
    uint32_t input, output, axis;
  };
  struct ExpertLayer {
    std::string name;
    uint32_t numExperts = 0;
    uint32_t topK = 0;           // 0: varies per token
    uint64_t bytesPerExpert = 0; // 0: unknown
  };
  struct Site {
    std::string node, op, message;
  };

  std::string name;
  /// LLVM names of the CPU features the code needs, separated by commas.
  std::string cpuFeatures;
  /// Identity of the weight file; size 0 when the model has none.
  uint64_t weightsSize = 0, weightsHash = 0;
  std::vector<Value> inputs, outputs;
  std::vector<CacheBinding> caches;
  std::vector<ExpertLayer> expertLayers;
  std::vector<Site> sites;
  std::vector<std::string> regions;
  std::vector<std::pair<std::string, std::string>> metadata;

  /// The index of a site, added unless an equal one exists: compiled code has
  /// many checks of few kinds.
  int32_t addSite(const std::string &node, const std::string &op,
                  const std::string &message);

  /// The flat array. Must be placed at an address that is a multiple of 8.
  /// Values must be consistent (ranks up to MOE_MAX_RANK, indices in range):
  /// the runtime refuses a model whose descriptor is not.
  std::vector<uint8_t> serialize() const;
};

} // namespace mlir::moe

#endif // MOE_TARGET_CPU_MODELDESCRIPTOR_H
