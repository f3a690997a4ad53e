//===- Rotary.cpp - Frequencies of rotary embeddings ----------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Rotary.h"

#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace mlir::moe;

static constexpr double kPi = 3.14159265358979323846;

/// How much longer texts may be than those of `length` tokens that the
/// frequencies were made for.
static double stretch(double length, Config &scaling, Config &config) {
  return scaling.has("factor")
             ? scaling.positive("factor")
             : config.positive("max_position_embeddings") / length;
}

/// Llama 3.1: long waves are stretched, short ones kept, with a ramp between.
static void scaleLlama3(std::vector<double> &frequencies, Config &scaling) {
  double factor = scaling.positive("factor");
  double low = scaling.positive("low_freq_factor");
  double high = scaling.positive("high_freq_factor");
  double length = scaling.positive("original_max_position_embeddings");
  for (double &frequency : frequencies) {
    double turns = length * frequency / (2 * kPi);
    if (turns < low) {
      frequency /= factor;
    } else if (turns <= high) {
      double smooth = (turns - low) / (high - low);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }
}

/// YaRN: the same between two numbers of turns, along the dimension; and scores
/// become sharper.
static void scaleYaRN(Rotary &rotary, double base, Config &scaling,
                      Config &config) {
  if (base == 1)
    config.problem("key 'rope_theta' expects another number than 1 with yarn");
  double length = scaling.positive("original_max_position_embeddings");
  double factor = stretch(length, scaling, config);
  auto sharpening = [&](double scale) {
    return factor <= 1 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0;
  };
  double mscale = scaling.real("mscale", 0),
         all = scaling.real("mscale_all_dim", 0);
  rotary.factor = mscale != 0 && all != 0 ? sharpening(mscale) / sharpening(all)
                                          : sharpening(1);
  if (all != 0)
    rotary.scoreFactor = sharpening(all) * sharpening(all);
  if (scaling.has("attention_factor"))
    rotary.factor = scaling.positive("attention_factor");

  double dim = 2.0 * static_cast<double>(rotary.frequencies.size());
  auto dimension = [&](double turns) {
    return dim * std::log(length / (turns * 2 * kPi)) / (2 * std::log(base));
  };
  double fast = scaling.positive("beta_fast", 32),
         slow = scaling.positive("beta_slow", 1);
  double low = dimension(fast), high = dimension(slow);
  if (scaling.flag("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high)
    high += 0.001;
  for (auto [i, frequency] : enumerate(rotary.frequencies)) {
    double ramp =
        std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequency = frequency / factor * ramp + frequency * (1 - ramp);
  }
}

/// LongRoPE: a divisor for each frequency, others for long texts.
static void scaleLongRoPE(Rotary &rotary, Config &scaling, Config &config) {
  constexpr StringLiteral kLength = "original_max_position_embeddings";
  bool inside = scaling.has(kLength);
  rotary.length = (inside ? scaling : config).size(kLength, {}, /*least=*/2);
  config.ignore({kLength});
  auto divided = [&](const char *key) {
    std::vector<double> divisors =
        scaling.reals(key, rotary.frequencies.size());
    for (auto [divisor, frequency] : zip(divisors, rotary.frequencies))
      divisor = frequency / divisor;
    return divisors;
  };
  rotary.longFrequencies = divided("long_factor");
  rotary.frequencies = divided("short_factor");
  double length = static_cast<double>(rotary.length);
  double factor = stretch(length, scaling, config);
  double sharpness =
      factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(length));
  sharpness = scaling.positive("attention_factor", sharpness);
  rotary.factor = scaling.positive("short_mscale", sharpness);
  rotary.longFactor = scaling.positive("long_mscale", sharpness);
}

Rotary mlir::moe::readRotary(Config &config, int64_t headSize,
                             std::vector<std::string> &problems) {
  // rope_parameters has all in one object, of old it was two keys.
  static const json::Object none;
  const char *key =
      config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  config.ignore({"rope_scaling", "rope_parameters"});
  const json::Value *value = config.get(key);
  const json::Object *object = value ? value->getAsObject() : &none;
  if (!object) {
    config.problem("key '" + Twine(key) + "' expects an object");
    return {};
  }
  Config scaling(*object, problems, std::string(key) + ".");
  double base = scaling.has("rope_theta") ? scaling.positive("rope_theta")
                                          : config.positive("rope_theta");
  config.ignore({"rope_theta"});
  double part = scaling.has("partial_rotary_factor")
                    ? scaling.real("partial_rotary_factor")
                    : config.real("partial_rotary_factor", 1.0);

  Rotary rotary;
  int64_t dim = static_cast<int64_t>(static_cast<double>(headSize) * part);
  if (dim < 2 || dim > headSize || dim % 2 != 0) {
    config.problem("rotary embeddings of " + Twine(dim) + " of a head's " +
                   Twine(headSize) + " elements are not possible");
    return {};
  }
  for (int64_t i = 0; i < dim; i += 2)
    rotary.frequencies.push_back(
        std::pow(base, -static_cast<double>(i) / static_cast<double>(dim)));
  std::string type = scaling.string("type", "default");
  type = scaling.string("rope_type", type);
  if (type == "linear")
    for (double &frequency : rotary.frequencies)
      frequency /= scaling.positive("factor");
  else if (type == "llama3")
    scaleLlama3(rotary.frequencies, scaling);
  else if (type == "yarn")
    scaleYaRN(rotary, base, scaling, config);
  else if (type == "longrope")
    scaleLongRoPE(rotary, scaling, config);
  else if (type != "default")
    config.problem("rotary embeddings of type '" + type +
                   "' are not supported");
  scaling.refuseUnknown();
  return rotary;
}
