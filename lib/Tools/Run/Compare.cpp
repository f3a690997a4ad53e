//===- Compare.cpp - Results against expectations -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Compare.h"
#include "moe/Tools/Run/Array.h"

#include <cmath>
#include <cstdio>
#include <cstring>

using namespace mlir::moe;

/// Holds every element type exactly where its mantissa has 64 bits (x86-64) or
/// more (AArch64).
using Value = long double;

template <typename T> static Value load(const void *data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char *>(data) + index * sizeof(T),
              sizeof(T));
  return static_cast<Value>(value);
}

static Value loadBF16(const void *data, int64_t index) {
  uint16_t bits;
  std::memcpy(&bits, static_cast<const char *>(data) + index * 2, 2);
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

/// IEEE 754 binary16, spelled out: not every C++ compiler has the type.
static Value loadF16(const void *data, int64_t index) {
  uint16_t bits;
  std::memcpy(&bits, static_cast<const char *>(data) + index * 2, 2);
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  Value value;
  if (exponent == 31)
    value = mantissa ? NAN : INFINITY;
  else if (exponent == 0)
    value = std::ldexp(static_cast<Value>(mantissa), -24);
  else
    value = std::ldexp(static_cast<Value>(mantissa + 1024), exponent - 25);
  return bits & 0x8000 ? -value : value;
}

static Value load(const moe_tensor &tensor, int64_t index) {
  switch (tensor.dtype) {
  case MOE_F32:
    return load<float>(tensor.data, index);
  case MOE_F16:
    return loadF16(tensor.data, index);
  case MOE_BF16:
    return loadBF16(tensor.data, index);
  case MOE_F64:
    return load<double>(tensor.data, index);
  case MOE_I8:
    return load<int8_t>(tensor.data, index);
  case MOE_I16:
    return load<int16_t>(tensor.data, index);
  case MOE_I32:
    return load<int32_t>(tensor.data, index);
  case MOE_I64:
    return load<int64_t>(tensor.data, index);
  case MOE_U8:
  case MOE_BOOL:
    return load<uint8_t>(tensor.data, index);
  case MOE_U16:
    return load<uint16_t>(tensor.data, index);
  case MOE_U32:
    return load<uint32_t>(tensor.data, index);
  case MOE_U64:
    return load<uint64_t>(tensor.data, index);
  }
  return NAN;
}

double mlir::moe::elementAsDouble(const moe_tensor &tensor, int64_t index) {
  return static_cast<double>(load(tensor, index));
}

static std::string formatIndex(const moe_tensor &tensor, int64_t position) {
  std::string text;
  for (int32_t d = tensor.rank; d-- > 0;) {
    text = std::to_string(position % tensor.shape[d]) +
           (text.empty() ? "" : ", ") + text;
    position /= tensor.shape[d];
  }
  return "[" + text + "]";
}

static std::string formatValue(Value value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.9Lg", value);
  return text;
}

Comparison mlir::moe::compareTensors(const moe_tensor &actual,
                                     const moe_tensor &expected,
                                     double tolerance) {
  if (actual.rank != expected.rank ||
      (actual.rank &&
       std::memcmp(actual.shape, expected.shape,
                   static_cast<size_t>(actual.rank) * sizeof(int64_t)) != 0))
    return {false, "has shape " + formatShape(actual.rank, actual.shape) +
                       ", expected " +
                       formatShape(expected.rank, expected.shape)};
  int64_t count = moe_tensor_elements(&actual), worst = -1;
  Value largest = 1, difference = 0;
  for (int64_t i = 0; i < count; ++i) {
    Value got = load(actual, i), want = load(expected, i);
    if (std::isfinite(want) && std::fabs(want) > largest)
      largest = std::fabs(want);
    Value d = std::fabs(got - want);
    if (got == want || (std::isnan(got) && std::isnan(want)))
      d = 0;
    else if (!std::isfinite(d))
      d = INFINITY;
    if (d > difference || worst < 0) {
      difference = d;
      worst = i;
    }
  }
  Value limit = static_cast<Value>(tolerance) * largest;
  bool success = difference <= limit;
  std::string text = "largest difference " + formatValue(difference);
  if (worst >= 0 && difference > 0)
    text += " at " + formatIndex(actual, worst) + " (" +
            formatValue(load(actual, worst)) + ", expected " +
            formatValue(load(expected, worst)) + ")";
  return {success, text + ", limit " + formatValue(limit)};
}
