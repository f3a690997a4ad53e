//===- ONNXLibraryTest.cpp - The parts of the ONNX library that we use ----===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The library is linked statically, and a linker drops what registers itself:
// these tests fail when schemas, converters or messages are missing.
//
//===----------------------------------------------------------------------===//

#include "onnx/checker.h"
#include "onnx/defs/parser.h"
#include "onnx/defs/schema.h"
#include "onnx/inliner/inliner.h"
#include "onnx/shape_inference/implementation.h"
#include "onnx/version_converter/convert.h"
#include "gtest/gtest.h"

#include <string>

using namespace onnx;

/// A model in ONNX's text form, by way of its serialized bytes.
static ModelProto parse(const char *text) {
  ModelProto model;
  auto status = OnnxParser::Parse(model, text);
  EXPECT_TRUE(status.IsOK()) << status.ErrorMessage();
  ModelProto copy;
  EXPECT_TRUE(copy.ParseFromString(model.SerializeAsString()));
  return copy;
}

static const char *const relu = R"(
<ir_version: 10, opset_import: ["" : 18]>
agraph (float[N, 4] x) => (float[M, 4] y)
{
  h = Relu(x)
  y = Add(h, x)
})";

TEST(ONNXLibraryTest, ChecksAValidModel) {
  ModelProto model = parse(relu);
  EXPECT_NO_THROW(checker::check_model(model));
  ASSERT_EQ(model.graph().node_size(), 2);
  EXPECT_EQ(model.graph().node(0).op_type(), "Relu");
}

TEST(ONNXLibraryTest, RefusesAnUndefinedValue) {
  ModelProto model = parse(relu);
  model.mutable_graph()->mutable_node(1)->set_input(0, "nowhere");
  try {
    checker::check_model(model);
    FAIL() << "the checker accepted an input that nothing defines";
  } catch (const checker::ValidationError &error) {
    EXPECT_NE(std::string(error.what()).find("nowhere"), std::string::npos)
        << error.what();
  }
}

TEST(ONNXLibraryTest, InfersSymbolicShapes) {
  ModelProto model = parse(relu);
  shape_inference::InferShapes(model);
  ASSERT_EQ(model.graph().value_info_size(), 1);
  const auto &shape = model.graph().value_info(0).type().tensor_type().shape();
  ASSERT_EQ(shape.dim_size(), 2);
  EXPECT_EQ(shape.dim(0).dim_param(), "N");
  EXPECT_EQ(shape.dim(1).dim_value(), 4);
}

TEST(ONNXLibraryTest, InlinesLocalFunctions) {
  ModelProto model = parse(R"(
<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
agraph (float[N] x) => (float[N] y) { y = local.twice(x) }
<opset_import: ["" : 18], domain: "local">
twice (a) => (b) { b = Add(a, a) })");
  inliner::InlineLocalFunctions(model);
  ASSERT_EQ(model.graph().node_size(), 1);
  EXPECT_EQ(model.graph().node(0).op_type(), "Add");
  EXPECT_EQ(model.functions_size(), 0);
}

TEST(ONNXLibraryTest, ConvertsBetweenOpsets) {
  ModelProto model = parse(relu);
  ModelProto converted = version_conversion::ConvertVersion(model, 21);
  EXPECT_EQ(converted.opset_import(0).version(), 21);
  EXPECT_NO_THROW(checker::check_model(converted));
}

TEST(ONNXLibraryTest, HasTheLatestSchemas) {
  for (const char *name : {"TopK", "ScatterND", "RMSNormalization",
                           "RotaryEmbedding", "Attention"})
    EXPECT_NE(OpSchemaRegistry::Schema(name), nullptr) << name;
  // Contrib operators are unknown to it; the importer registers its own.
  EXPECT_EQ(OpSchemaRegistry::Schema("MoE", 1, "com.microsoft"), nullptr);
}
