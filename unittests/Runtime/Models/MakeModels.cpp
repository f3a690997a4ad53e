//===- MakeModels.cpp - Descriptors and weights of the test models --------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Plays the compiler's back end for the hand-written models: writes
// <folder>/<model>.weights and <folder>/<model>.c with the descriptor.
//
//===----------------------------------------------------------------------===//

#include "moe/Runtime/moe.h"
#include "moe/Target/CPU/ModelDescriptor.h"
#include "moe/Target/Weights/WeightFile.h"

#include <cstdio>
#include <cstdlib>

using namespace mlir::moe;

static void fail(const std::string &error) {
  std::fprintf(stderr, "%s\n", error.c_str());
  std::exit(1);
}

static void writeDescriptor(const std::string &folder,
                            const ModelDescriptor &model) {
  std::string path = folder + "/" + model.name + ".c";
  std::FILE *file = std::fopen(path.c_str(), "w");
  if (!file)
    fail("cannot write " + path);
  std::fprintf(file, "#include <stdint.h>\n_Alignas(8) const uint8_t "
                     "moe_compiled_descriptor[] = {");
  for (uint8_t byte : model.serialize())
    std::fprintf(file, "%u,", byte);
  std::fprintf(file, "};\n");
  if (std::fclose(file) != 0)
    fail("cannot write " + path);
}

static WeightFileIdentity writeWeights(const std::string &path,
                                       const std::vector<float> &w) {
  std::string error;
  WeightFileIdentity identity;
  auto writer = WeightFileWriter::create(path, error);
  if (!writer)
    fail(error);
  unsigned section = writer->addSection("w", w.size() * sizeof(float));
  if (!writer->append(section, w.data(), w.size() * sizeof(float), error) ||
      !writer->commit(identity, error))
    fail(error);
  return identity;
}

static ModelDescriptor makeDecoder(const std::string &folder) {
  ModelDescriptor model;
  model.name = "decoder";
  model.inputs = {
      {"x", MOE_F32, {{-1, "batch"}, {-1, "seq"}, {4, ""}}},
      {"ids", MOE_I64, {{-1, "batch"}, {-1, "seq"}}},
      {"mask", MOE_BOOL, {{-1, "seq"}}},
      {"past", MOE_F32, {{-1, "batch"}, {2, ""}, {-1, "past"}, {3, ""}}}};
  model.outputs = {
      {"y", MOE_F32, {{-1, "batch"}, {-1, "seq"}, {4, ""}}},
      {"present", MOE_F32, {{-1, "batch"}, {2, ""}, {-1, "total"}, {3, ""}}},
      {"picked", MOE_I64, {{-1, ""}}}};
  model.caches = {{3, 1, 2}};
  model.expertLayers = {{"layers.0.mlp", 4, 2, 64}};
  model.addSite("/embed/Gather", "Gather",
                "expects indices below {limit}, got {found}");
  model.addSite("/embed/Gather_1", "Gather",
                "expects indices of at least {limit}, got {found}");
  model.regions = {"decoder"};
  model.metadata = {{"producer", "by hand"}, {"target", "any"}};
  WeightFileIdentity identity =
      writeWeights(folder + "/decoder.weights", {1.0f, 2.0f, 3.0f, 4.0f});
  model.weightsSize = identity.size;
  model.weightsHash = identity.hash;
  // A valid weight file that is not the decoder's, for the test of refusal.
  writeWeights(folder + "/other.weights", {1.0f, 2.0f, 3.0f, 5.0f});
  return model;
}

static ModelDescriptor makeEcho() {
  static const char *const names[] = {"f32", "f16", "bf16", "f64", "i8",
                                      "i16", "i32", "i64",  "u8",  "u16",
                                      "u32", "u64", "bool"};
  ModelDescriptor model;
  model.name = "echo";
  for (int32_t dtype = MOE_F32; dtype <= MOE_BOOL; ++dtype) {
    std::string name = names[dtype - 1];
    model.inputs.push_back({name, dtype, {{-1, ""}, {-1, ""}}});
    model.outputs.push_back({name + "_out", dtype, {{-1, ""}, {-1, ""}}});
  }
  model.inputs.push_back({"scalar", MOE_F32, {}});
  model.outputs.push_back({"scalar_out", MOE_F32, {}});
  return model;
}

static ModelDescriptor makeCounter() {
  ModelDescriptor model;
  model.name = "counter";
  model.inputs = {{"input_ids", MOE_I64, {{-1, "batch"}, {-1, "seq"}}},
                  {"past", MOE_F32, {{-1, "batch"}, {-1, "past"}}}};
  model.outputs = {{"logits", MOE_F32, {{-1, "batch"}, {-1, "seq"}, {10, ""}}},
                   {"present", MOE_F32, {{-1, "batch"}, {-1, "total"}}}};
  model.caches = {{1, 1, 1}};
  model.addSite("embed", "Gather",
                "expects indices below {limit}, got {found}");
  return model;
}

int main(int argc, char **argv) {
  if (argc != 2)
    fail("expects a folder");
  writeDescriptor(argv[1], makeDecoder(argv[1]));
  writeDescriptor(argv[1], makeEcho());
  writeDescriptor(argv[1], makeCounter());
  return 0;
}
