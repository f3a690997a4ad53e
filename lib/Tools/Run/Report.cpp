//===- Report.cpp - What moe-run prints -----------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Report.h"
#include "moe/Tools/Run/Array.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

using namespace mlir::moe;

static size_t nameWidth(const moe_model *model) {
  size_t width = 0;
  for (int32_t i = 0; i < moe_num_inputs(model); ++i)
    width = std::max(width, std::string(moe_input_info(model, i)->name).size());
  for (int32_t i = 0; i < moe_num_outputs(model); ++i)
    width =
        std::max(width, std::string(moe_output_info(model, i)->name).size());
  return width;
}

static void printValue(const char *kind, const moe_value_info *info,
                       size_t width, const std::string &shape) {
  std::printf("%-6s %-*s  %-4s %s\n", kind, static_cast<int>(width), info->name,
              getDTypeName(info->dtype), shape.c_str());
}

void mlir::moe::printSignature(const moe_model *model) {
  size_t width = nameWidth(model);
  std::printf("model  %s\n", moe_model_name(model));
  auto print = [&](const char *kind, const moe_value_info *info) {
    printValue(kind, info, width,
               formatShape(info->rank, info->dims, info->dim_names));
  };
  for (int32_t i = 0; i < moe_num_inputs(model); ++i)
    print("input", moe_input_info(model, i));
  for (int32_t i = 0; i < moe_num_outputs(model); ++i)
    print("output", moe_output_info(model, i));
}

void mlir::moe::printShapes(const moe_model *model,
                            const std::vector<moe_tensor> &inputs,
                            const std::vector<moe_tensor> &outputs) {
  size_t width = nameWidth(model);
  for (size_t i = 0; i < inputs.size(); ++i)
    printValue("input", moe_input_info(model, static_cast<int32_t>(i)), width,
               formatShape(inputs[i].rank, inputs[i].shape));
  for (size_t i = 0; i < outputs.size(); ++i)
    printValue("output", moe_output_info(model, static_cast<int32_t>(i)), width,
               formatShape(outputs[i].rank, outputs[i].shape));
}

bool mlir::moe::printStats(const moe_model *model, moe_session *session,
                           std::string &error) {
  int32_t layers = moe_num_expert_layers(model);
  size_t width = 5;
  for (int32_t l = 0; l < layers; ++l)
    width = std::max(
        width, std::string(moe_get_expert_layer_info(model, l)->name).size());
  if (layers)
    std::printf("%-*s  rows per expert (busiest / mean)\n",
                static_cast<int>(width), "layer");
  for (int32_t l = 0; l < layers; ++l) {
    const moe_expert_layer_info *info = moe_get_expert_layer_info(model, l);
    std::vector<int64_t> loads(static_cast<size_t>(info->num_experts));
    if (moe_get_expert_loads(session, l, loads.data(), info->num_experts) !=
        MOE_OK) {
      error = moe_session_error(session);
      return false;
    }
    std::printf("%-*s ", static_cast<int>(width), info->name);
    int64_t total = 0, busiest = 0;
    for (int64_t load : loads) {
      std::printf(" %" PRId64, load);
      total += load;
      busiest = std::max(busiest, load);
    }
    if (total)
      std::printf("  (%.2f)", static_cast<double>(busiest) *
                                  static_cast<double>(loads.size()) /
                                  static_cast<double>(total));
    std::printf("\n");
  }
  moe_counters counters = {};
  counters.struct_size = sizeof counters;
  if (moe_get_counters(session, &counters) != MOE_OK) {
    error = moe_session_error(session);
    return false;
  }
  std::printf("runs %" PRId64 ", rows routed %" PRId64
              ", active experts %" PRId64 ", their weights %" PRId64
              " bytes of %" PRId64 ", working memory %" PRId64 " bytes\n",
              counters.runs, counters.expert_rows, counters.active_experts,
              counters.active_expert_bytes, moe_weights_bytes(model),
              counters.arena_peak_bytes);
  return true;
}

//===----------------------------------------------------------------------===//
// Profile
//===----------------------------------------------------------------------===//

Profile::Profile(const moe_model *model)
    : model(model), regions(static_cast<size_t>(moe_num_regions(model))) {}

void Profile::attach(moe_session *session) {
  moe_set_profile(session, callback, this);
}

void Profile::callback(void *user, int32_t index, int32_t begin) {
  auto &regions = static_cast<Profile *>(user)->regions;
  if (index < 0 || static_cast<size_t>(index) >= regions.size())
    return;
  Region &region = regions[static_cast<size_t>(index)];
  if (begin) {
    region.begin = Clock::now();
    return;
  }
  region.milliseconds +=
      std::chrono::duration<double, std::milli>(Clock::now() - region.begin)
          .count();
  ++region.count;
}

void Profile::print() const {
  if (regions.empty())
    std::printf("the model was compiled without profiled regions\n");
  for (size_t i = 0; i < regions.size(); ++i)
    if (regions[i].count)
      std::printf("%10.3f ms %8" PRId64 " x  %s\n", regions[i].milliseconds,
                  regions[i].count,
                  moe_region_name(model, static_cast<int32_t>(i)));
}
