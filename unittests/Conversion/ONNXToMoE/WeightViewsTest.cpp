//===- WeightViewsTest.cpp - strided views of weight symbols --------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/ONNXToMoE/WeightViews.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::moe;

namespace {
class WeightViewsTest : public ::testing::Test {
protected:
  WeightViewsTest() {
    context.loadDialect<MoEDialect>();
    module = parseSourceString<ModuleOp>(
        R"(moe.weight @w {file = "m", offset = 64 : i64, length = 96 : i64}
             : tensor<2x4x3xf32>)",
        &context);
    view = WeightView::of(*module->getOps<WeightOp>().begin());
  }

  /// The byte at which element `index` of `view` lies.
  static int64_t at(const WeightView &view, ArrayRef<int64_t> index) {
    int64_t element = 0;
    for (auto [i, stride] : llvm::zip_equal(index, view.strides))
      element += i * stride;
    return view.offset + 4 * element;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  WeightView view;
};
} // namespace

TEST_F(WeightViewsTest, NamesTheElementsThatTheTensorOperationGives) {
  EXPECT_EQ(at(view, {1, 2, 1}), 64 + 4 * (12 + 6 + 1));
  WeightView odd = view.slice(1, 1, 2, 2);
  EXPECT_EQ(odd.shape, (SmallVector<int64_t>{2, 2, 3}));
  EXPECT_EQ(at(odd, {1, 1, 2}), at(view, {1, 3, 2}));
  WeightView transposed = view.transposeMatrix();
  EXPECT_EQ(transposed.shape, (SmallVector<int64_t>{2, 3, 4}));
  EXPECT_EQ(at(transposed, {1, 2, 3}), at(view, {1, 3, 2}));
  WeightView split = view.splitDim(1, 2);
  EXPECT_EQ(split.shape, (SmallVector<int64_t>{2, 2, 2, 3}));
  EXPECT_EQ(at(split, {1, 1, 0, 2}), at(view, {1, 2, 2}));
  WeightView unit = view.insertUnitDim(1);
  EXPECT_EQ(unit.strides, rowMajorStrides(unit.shape));
  EXPECT_EQ(unit.dropUnitDim(1).strides, view.strides);
}

TEST_F(WeightViewsTest, ReshapesWhatTheStridesAllow) {
  std::optional<WeightView> flat = view.reshape({8, 3});
  ASSERT_TRUE(flat);
  EXPECT_EQ(at(*flat, {7, 2}), at(view, {1, 3, 2}));
  EXPECT_FALSE(view.transposeMatrix().reshape({24}));
  EXPECT_FALSE(view.reshape({5, 5}));
  std::optional<WeightView> outer =
      view.transposeMatrix().reshape({2, 1, 3, 4});
  ASSERT_TRUE(outer);
  EXPECT_EQ(at(*outer, {1, 0, 2, 3}), at(view, {1, 3, 2}));
  // Halves of a row lie apart: they cannot become one dimension.
  EXPECT_FALSE(view.slice(2, 0, 2).reshape({2, 8}));
}

TEST_F(WeightViewsTest, MakesOneSymbolPerView) {
  WeightSymbols symbols(*module);
  WeightOp base = view.weight;
  EXPECT_EQ(symbols.getOrCreate(view), base);
  WeightOp up = symbols.getOrCreate(view.slice(1, 2, 2));
  EXPECT_NE(up, base);
  EXPECT_EQ(symbols.getOrCreate(view.slice(1, 2, 2)), up);
  EXPECT_EQ(up.getSymName(), "w__view");
  EXPECT_EQ(up.getLength(), (12 + 3 + 3) * 4u);
  WeightOp down = symbols.getOrCreate(view.transposeMatrix());
  EXPECT_NE(down.getSymName(), up.getSymName());
  EXPECT_TRUE(succeeded(module->verify()));
  // A second pass over the module finds them again.
  EXPECT_EQ(WeightSymbols(*module).getOrCreate(view.slice(1, 2, 2)), up);
}

TEST_F(WeightViewsTest, UnpacksBytes) {
  module = parseSourceString<ModuleOp>(
      R"(moe.weight @w {file = "m", offset = 64 : i64, length = 24 : i64}
           : tensor<2x4x3xui8>)",
      &context);
  WeightView bytes = WeightView::of(*module->getOps<WeightOp>().begin());
  std::optional<WeightView> integers = bytes.unpack(4);
  ASSERT_TRUE(integers);
  EXPECT_EQ(integers->getType(),
            RankedTensorType::get({2, 4, 6}, IntegerType::get(&context, 4)));
  EXPECT_FALSE(bytes.transposeMatrix().unpack(4));
  // Element [0, 1, 3] is the high half of byte 4.
  WeightView odd = integers->slice(1, 1, 2, 2).slice(2, 3, 2);
  EXPECT_EQ(odd.offset, 64 + 4);
  EXPECT_EQ(odd.bitOffset, 4);
  WeightSymbols symbols(*module);
  WeightOp symbol = symbols.getOrCreate(odd);
  ASSERT_TRUE(symbol);
  EXPECT_EQ(symbol.getBitOffset(), 4u);
  EXPECT_TRUE(succeeded(module->verify()));
  EXPECT_EQ(WeightSymbols(*module).getOrCreate(odd), symbol);
  // An element starts at another bit: another symbol.
  EXPECT_NE(symbols.getOrCreate(integers->slice(1, 1, 2, 2).slice(2, 2, 2)),
            symbol);
}

TEST_F(WeightViewsTest, ViewsConstants) {
  context.loadDialect<arith::ArithDialect>();
  Type byte = IntegerType::get(&context, 8, IntegerType::Unsigned);
  auto type = RankedTensorType::get({2, 2}, byte);
  WeightSymbols symbols(*module);
  auto elementsOf = [&](ArrayRef<uint8_t> bytes) {
    auto constant = DenseElementsAttr::getFromRawBuffer(
        type, ArrayRef(reinterpret_cast<const char *>(bytes.data()), 4));
    OpBuilder b(&context);
    b.setInsertionPointToEnd(module->getBody());
    Value value = symbols.read(b, b.getUnknownLoc(),
                               WeightView::of(constant)
                                   .unpack(4)
                                   ->slice(1, 1, 2, 2)
                                   .transpose({1, 0}));
    auto made = value.getDefiningOp<arith::ConstantOp>();
    EXPECT_EQ(made.getType(),
              RankedTensorType::get({2, 2}, IntegerType::get(&context, 4)));
    SmallVector<uint64_t> elements;
    for (const APInt &element :
         cast<DenseElementsAttr>(made.getValue()).getValues<APInt>())
      elements.push_back(element.getZExtValue());
    return elements;
  };
  EXPECT_EQ(elementsOf({0x12, 0x34, 0x56, 0x78}),
            (SmallVector<uint64_t>{1, 5, 3, 7}));
  EXPECT_EQ(elementsOf({0x9A, 0x9A, 0x9A, 0x9A}), // kept as one element
            (SmallVector<uint64_t>{9, 9, 9, 9}));
}
