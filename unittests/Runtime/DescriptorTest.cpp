//===- DescriptorTest.cpp - Descriptors written and read ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Runtime/Descriptor.h"
#include "Runtime/Signature.h"
#include "moe/Target/CPU/ModelDescriptor.h"
#include "gtest/gtest.h"

#include <cstring>
#include <random>

using namespace mlir::moe;

namespace {
ModelDescriptor example() {
  ModelDescriptor model;
  model.name = "tiny";
  model.cpuFeatures = "avx2,fma";
  model.weightsSize = 123456;
  model.weightsHash = 0xfedcba9876543210u;
  model.inputs = {{"ids", MOE_I64, {{-1, "batch"}, {-1, "seq"}}},
                  {"past", MOE_BF16, {{-1, "batch"}, {-1, "past"}, {8, ""}}}};
  model.outputs = {{"logits", MOE_F32, {{-1, "batch"}, {-1, ""}, {96, ""}}},
                   {"present", MOE_BF16, {{-1, "batch"}, {-1, ""}, {8, ""}}},
                   {"loss", MOE_F64, {}}};
  model.caches = {{1, 1, 1}};
  model.expertLayers = {{"layers.0", 8, 2, 4096}, {"layers.1", 16, 0, 0}};
  EXPECT_EQ(model.addSite("n0", "Gather", "got {found}"), 0);
  EXPECT_EQ(model.addSite("n1", "Gather", "got {found}"), 1);
  EXPECT_EQ(model.addSite("n0", "Gather", "got {found}"), 0);
  model.regions = {"attention", "experts"};
  model.metadata = {{"producer", "pytorch"}, {"", "empty key"}};
  return model;
}

/// The bytes at an 8-aligned address, of exactly their size so that a sanitizer
/// sees a read beyond them.
class Bytes {
public:
  explicit Bytes(const std::vector<uint8_t> &from)
      : size(from.size()), words(new uint64_t[(from.size() + 7) / 8]) {
    std::memcpy(data(), from.data(), from.size());
  }
  uint8_t *data() { return reinterpret_cast<uint8_t *>(words.get()); }
  moe_desc_header &header() {
    return *reinterpret_cast<moe_desc_header *>(words.get());
  }

  moe_status read(moe_signature &signature) {
    return moe_signature_read(data(), size, &signature, {error, sizeof error});
  }
  std::string refuse() {
    moe_signature signature;
    error[0] = 0;
    moe_status status = read(signature);
    if (status == MOE_OK)
      moe_signature_release(&signature);
    EXPECT_EQ(status, MOE_ERROR_MODEL);
    return error;
  }

  size_t size;
  char error[256];

private:
  std::unique_ptr<uint64_t[]> words;
};
} // namespace

TEST(DescriptorTest, RoundTrip) {
  Bytes bytes(example().serialize());
  moe_signature s;
  ASSERT_EQ(bytes.read(s), MOE_OK) << bytes.error;
  EXPECT_STREQ(s.name, "tiny");
  EXPECT_STREQ(s.cpu_features, "avx2,fma");
  EXPECT_EQ(s.weights_size, 123456u);
  EXPECT_EQ(s.weights_hash, 0xfedcba9876543210u);
  ASSERT_EQ(s.num_inputs, 2);
  EXPECT_STREQ(s.inputs[1].name, "past");
  EXPECT_EQ(s.inputs[1].dtype, MOE_BF16);
  ASSERT_EQ(s.inputs[1].rank, 3);
  EXPECT_EQ(s.inputs[1].dims[0], -1);
  EXPECT_STREQ(s.inputs[1].dim_names[0], "batch");
  EXPECT_EQ(s.inputs[1].dims[2], 8);
  EXPECT_STREQ(s.inputs[1].dim_names[2], "");
  ASSERT_EQ(s.num_outputs, 3);
  EXPECT_EQ(s.outputs[0].dims[2], 96);
  EXPECT_STREQ(s.outputs[2].name, "loss");
  EXPECT_EQ(s.outputs[2].rank, 0);
  ASSERT_EQ(s.num_caches, 1);
  EXPECT_EQ(s.caches[0].input, 1);
  EXPECT_EQ(s.caches[0].axis, 1);
  ASSERT_EQ(s.num_layers, 2);
  EXPECT_STREQ(s.layers[0].name, "layers.0");
  EXPECT_EQ(s.layers[0].bytes_per_expert, 4096);
  EXPECT_EQ(s.layers[1].num_experts, 16);
  ASSERT_EQ(s.num_sites, 2);
  EXPECT_STREQ(s.sites[1].node, "n1");
  EXPECT_STREQ(s.sites[1].message, "got {found}");
  ASSERT_EQ(s.num_regions, 2);
  EXPECT_STREQ(s.regions[1], "experts");
  ASSERT_EQ(s.num_metadata, 2);
  EXPECT_STREQ(s.metadata[1], "pytorch");
  EXPECT_STREQ(s.metadata[2], "");
  EXPECT_EQ(s.num_symbols, 3); // batch, seq, past
  moe_signature_release(&s);
}

TEST(DescriptorTest, EmptyModel) {
  Bytes bytes(ModelDescriptor().serialize());
  moe_signature s;
  ASSERT_EQ(bytes.read(s), MOE_OK) << bytes.error;
  EXPECT_EQ(s.num_inputs, 0);
  EXPECT_STREQ(s.name, "");
  moe_signature_release(&s);
}

TEST(DescriptorTest, RefusesWhatDoesNotFit) {
  std::vector<uint8_t> good = example().serialize();
  auto with = [&](auto change) {
    Bytes bytes(good);
    change(bytes);
    return bytes.refuse();
  };
  const std::string damaged = "the compiled model's descriptor is damaged: ";
  EXPECT_EQ(with([](Bytes &b) { b.data()[0] = 'X'; }),
            damaged + "it has no header");
  EXPECT_EQ(with([](Bytes &b) { b.header().version = 9; }),
            damaged + "its version is not the runtime's");
  EXPECT_EQ(with([](Bytes &b) { b.header().total_size += 8; }),
            damaged + "its size is wrong");
  EXPECT_EQ(with([](Bytes &b) { b.header().strings.count = 0; }),
            damaged + "its string table is not terminated");
  EXPECT_EQ(with([](Bytes &b) { b.header().inputs.count = 1u << 30; }),
            damaged + "inputs lie outside");
  EXPECT_EQ(with([](Bytes &b) { b.header().outputs.offset += 4; }),
            damaged + "outputs lie outside");
  EXPECT_EQ(with([](Bytes &b) { b.header().name = 1u << 20; }),
            damaged + "a string lies outside the string table");
  auto input = [](Bytes &b) {
    return reinterpret_cast<moe_desc_value *>(b.data() +
                                              b.header().inputs.offset);
  };
  EXPECT_EQ(with([&](Bytes &b) { input(b)->dtype = 99; }),
            damaged + "a value has an unknown dtype");
  EXPECT_EQ(with([&](Bytes &b) { input(b)->rank = 1000; }),
            damaged + "a value's dimensions lie outside their table");
  EXPECT_EQ(with([&](Bytes &b) { input(b)->first_dim = 0xffffffffu; }),
            damaged + "a value's dimensions lie outside their table");
  auto cache = [](Bytes &b) {
    return reinterpret_cast<moe_desc_cache *>(b.data() +
                                              b.header().caches.offset);
  };
  EXPECT_EQ(with([&](Bytes &b) { cache(b)->input = 2; }),
            damaged + "a cache binding names a value that does not exist");
  EXPECT_EQ(with([&](Bytes &b) { cache(b)->axis = 3; }),
            damaged + "a cache binding joins values that do not fit");
  EXPECT_EQ(with([&](Bytes &b) { cache(b)->flags = 1; }),
            damaged + "a cache binding joins values that do not fit");
}

// Whatever the damage, reading ends with a status and inside the array; the
// sanitizers watch.
TEST(DescriptorTest, SurvivesRandomDamage) {
  std::vector<uint8_t> good = example().serialize();
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> bad = good;
    for (unsigned n = random() % 4 + 1; n; --n)
      bad[random() % bad.size()] = static_cast<uint8_t>(random());
    bad.resize(i % 3 ? bad.size() : random() % bad.size());
    Bytes bytes(bad);
    moe_signature s;
    if (bytes.read(s) == MOE_OK)
      moe_signature_release(&s);
  }
}
