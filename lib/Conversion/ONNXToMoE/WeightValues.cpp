//===- WeightValues.cpp - the elements of weights -------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightValues.h"

#include "moe/Conversion/ONNXToMoE/Matchers.h"

using namespace mlir;
using namespace mlir::moe;

/// That of the file that the model may be a link to.
static std::string linkedModelFolder(ModuleOp module) {
  std::string folder;
  module.getLoc()->walk([&](Location loc) {
    auto file = dyn_cast<FileLineColLoc>(loc);
    if (!file)
      return WalkResult::advance();
    folder = linkedFolder(file.getFilename().getValue());
    return WalkResult::interrupt();
  });
  return folder;
}

WeightValues::WeightValues(ModuleOp module)
    : symbols(module),
      sources(module,
              {recordedFolder(module, /*checkpoint=*/false).str(),
               linkedModelFolder(module)},
              // Values that matter here are the graph's own, so that links of
              // the checkpoint need not be followed.
              {recordedFolder(module, /*checkpoint=*/true).str(), ""}) {}

std::optional<StridedBytes> WeightValues::bytes(Value value) {
  if (WeightOp weight = symbols.lookup(value)) {
    std::optional<WeightBytes> found = sources.find(weight);
    if (!found || found->leaves[0].elementBits < 8 || !found->scaled.empty())
      return std::nullopt;
    return found->leaves[0];
  }
  DenseElementsAttr constant = constantOf(value);
  if (!constant || constant.getType().getElementTypeBitWidth() % 8 != 0)
    return std::nullopt;
  StridedBytes tensor;
  tensor.data = reinterpret_cast<const uint8_t *>(constant.getRawData().data());
  tensor.elementSize = constant.getType().getElementTypeBitWidth() / 8;
  llvm::append_range(tensor.shape, constant.getType().getShape());
  for (int64_t stride : rowMajorStrides(tensor.shape))
    tensor.strides.push_back(constant.isSplat() ? 0
                                                : stride * tensor.elementSize);
  return tensor;
}

DenseElementsAttr WeightValues::constant(Value value, int64_t most) {
  WeightOp weight = symbols.lookup(value);
  if (!weight || weight.getWeightType().getNumElements() > most ||
      weight.getWeightType().getElementTypeBitWidth() % 8 != 0)
    return {};
  std::optional<StridedBytes> tensor = bytes(value);
  if (!tensor)
    return {};
  std::vector<char> elements(tensor->getNumElements() * tensor->elementSize);
  gatherElements(tensor->canonical(), 0, tensor->getNumElements(),
                 reinterpret_cast<uint8_t *>(elements.data()));
  return DenseElementsAttr::getFromRawBuffer(weight.getWeightType(), elements);
}

bool moe::equalBytes(const StridedBytes &a, const StridedBytes &b) {
  StridedBytes first = a.canonical(), second = b.canonical();
  int64_t count = first.getNumElements();
  // What differs mostly differs at once.
  constexpr int64_t kChunk = 1024;
  uint8_t left[kChunk * 16], right[kChunk * 16];
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    int64_t end = std::min(begin + kChunk, count);
    gatherElements(first, begin, end, left);
    gatherElements(second, begin, end, right);
    if (!std::equal(left, left + (end - begin) * first.elementSize, right))
      return false;
  }
  return true;
}
