//===- ModelDescriptor.cpp - Descriptor of a compiled model ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/CPU/ModelDescriptor.h"
#include "moe/Runtime/Descriptor.h"

#include <cstring>
#include <unordered_map>

using namespace mlir::moe;

int32_t ModelDescriptor::addSite(const std::string &node, const std::string &op,
                                 const std::string &message) {
  for (size_t i = 0; i < sites.size(); ++i)
    if (sites[i].node == node && sites[i].op == op &&
        sites[i].message == message)
      return static_cast<int32_t>(i);
  sites.push_back({node, op, message});
  return static_cast<int32_t>(sites.size() - 1);
}

namespace {
/// Collects strings, each once, and the tables that refer to them.
class Serializer {
public:
  Serializer() : strings(1, '\0') { offsets[""] = 0; }

  uint32_t string(const std::string &text) {
    auto [it, inserted] =
        offsets.try_emplace(text, static_cast<uint32_t>(strings.size()));
    if (inserted)
      strings.append(text.c_str(), text.size() + 1);
    return it->second;
  }

  template <typename Record>
  moe_desc_table table(const std::vector<Record> &records) {
    return append(records.data(), records.size() * sizeof(Record),
                  records.size());
  }

  std::vector<uint8_t> finish(moe_desc_header header) {
    header.strings = append(strings.data(), strings.size(), strings.size());
    header.total_size = bytes.size();
    std::memcpy(bytes.data(), &header, sizeof header);
    return std::move(bytes);
  }

private:
  moe_desc_table append(const void *data, size_t size, size_t count) {
    moe_desc_table where = {static_cast<uint32_t>(bytes.size()),
                            static_cast<uint32_t>(count)};
    const auto *begin = static_cast<const uint8_t *>(data);
    bytes.insert(bytes.end(), begin, begin + size);
    bytes.resize((bytes.size() + 7) / 8 * 8);
    return where;
  }

  std::vector<uint8_t> bytes =
      std::vector<uint8_t>((sizeof(moe_desc_header) + 7) / 8 * 8);
  std::string strings;
  std::unordered_map<std::string, uint32_t> offsets;
};
} // namespace

std::vector<uint8_t> ModelDescriptor::serialize() const {
  Serializer out;
  moe_desc_header header = {};
  std::memcpy(header.magic, MOE_DESCRIPTOR_MAGIC, sizeof header.magic);
  header.version = MOE_DESCRIPTOR_VERSION;
  header.header_size = sizeof header;
  header.weights_size = weightsSize;
  header.weights_hash = weightsHash;
  header.name = out.string(name);
  header.cpu_features = out.string(cpuFeatures);

  std::vector<moe_desc_dim> dimRecords;
  auto valueTable = [&](const std::vector<Value> &values) {
    std::vector<moe_desc_value> records;
    for (const Value &value : values) {
      records.push_back({out.string(value.name), value.dtype,
                         static_cast<uint32_t>(value.dims.size()),
                         static_cast<uint32_t>(dimRecords.size())});
      for (const Dim &dim : value.dims)
        dimRecords.push_back({dim.size, out.string(dim.name), 0});
    }
    return out.table(records);
  };
  header.inputs = valueTable(inputs);
  header.outputs = valueTable(outputs);
  header.dims = out.table(dimRecords);

  std::vector<moe_desc_cache> cacheRecords;
  for (const CacheBinding &cache : caches)
    cacheRecords.push_back({cache.input, cache.output, cache.axis, 0});
  header.caches = out.table(cacheRecords);

  std::vector<moe_desc_expert_layer> layerRecords;
  for (const ExpertLayer &layer : expertLayers)
    layerRecords.push_back({out.string(layer.name), layer.numExperts,
                            layer.topK, 0, layer.bytesPerExpert});
  header.expert_layers = out.table(layerRecords);

  std::vector<moe_desc_site> siteRecords;
  for (const Site &site : sites)
    siteRecords.push_back({out.string(site.node), out.string(site.op),
                           out.string(site.message), 0});
  header.sites = out.table(siteRecords);

  std::vector<moe_desc_region> regionRecords;
  for (const std::string &region : regions)
    regionRecords.push_back({out.string(region), 0});
  header.regions = out.table(regionRecords);

  std::vector<moe_desc_metadata> metadataRecords;
  for (const auto &[key, value] : metadata)
    metadataRecords.push_back({out.string(key), out.string(value)});
  header.metadata = out.table(metadataRecords);
  return out.finish(header);
}
