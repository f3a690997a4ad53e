//===- ModelInfoTest.cpp - What models say about themselves ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Driver/ModelInfo.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Pipelines/Options.h"
#include "moe/Runtime/moe.h"
#include "llvm/Support/JSON.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::moe;

namespace {
class ModelInfoTest : public ::testing::Test {
protected:
  bool describe(StringRef attributes) {
    text.clear();
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      text = diagnostic.str();
      return success();
    });
    module = parseSourceString<ModuleOp>(
        ("module attributes {" + attributes + "} {}").str(), &context);
    descriptor = ModelDescriptor();
    descriptor.name = "m";
    return module && succeeded(describeModel(*module, descriptor));
  }
  std::string header() {
    std::string out;
    llvm::raw_string_ostream os(out);
    writeHeader(descriptor, os);
    return out;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  ModelDescriptor descriptor;
  std::string text;
};
} // namespace

TEST_F(ModelInfoTest, EntryPrefixIsAnIdentifierOfItsOwn) {
  EXPECT_EQ(entryPrefix("mixtral"), "mixtral");
  EXPECT_EQ(entryPrefix("my-model.v2"), "my_model_v2");
  EXPECT_EQ(entryPrefix("7b"), "model_7b");
  EXPECT_EQ(entryPrefix(""), "model_");
  // What the runtime itself calls its functions.
  EXPECT_EQ(entryPrefix("moe"), "moe_model");
  EXPECT_EQ(entryPrefix("moe_rt"), "moe_rt_model");
}

TEST_F(ModelInfoTest, ReadsSignatureLayersAndSites) {
  ASSERT_TRUE(describe(R"mlir(
    moe.signature = {
      inputs = [{name = "x", type = tensor<?x4xui8>, dims = ["n", "four"]},
                {name = "past", type = tensor<2x?xf16>, dims = ["", "past"]}],
      outputs = [{name = "present", type = tensor<2x?xf16>, dims = ["", ""]},
                 {name = "flag", type = tensor<i1>, dims = []}],
      caches = [{input = 1 : i64, output = 0 : i64, axis = 1 : i64}]},
    moe.layers = [{name = "gate", experts = 8 : i64, k = 2 : i64, bytes_per_expert = 96 : i64}],
    moe.sites = [{node = "node 'n3' (Gather)", message = "expects less than {limit}, got {found}"},
                 {node = "node 'it's (odd)' (Op)", message = "bad"},
                 {node = "node 'n4'", message = "bad"},
                 {node = "dispatch", message = "bad"}]
  )mlir"))
      << text;
  ASSERT_EQ(descriptor.inputs.size(), 2u);
  EXPECT_EQ(descriptor.inputs[0].dtype, MOE_U8);
  EXPECT_EQ(descriptor.inputs[0].dims[0].size, -1);
  EXPECT_EQ(descriptor.inputs[0].dims[0].name, "n");
  // A static size needs no name.
  EXPECT_EQ(descriptor.inputs[0].dims[1].size, 4);
  EXPECT_EQ(descriptor.inputs[0].dims[1].name, "");
  ASSERT_EQ(descriptor.outputs.size(), 2u);
  EXPECT_EQ(descriptor.outputs[0].dtype, MOE_F16);
  EXPECT_EQ(descriptor.outputs[1].dtype, MOE_BOOL);
  EXPECT_TRUE(descriptor.outputs[1].dims.empty());
  ASSERT_EQ(descriptor.caches.size(), 1u);
  EXPECT_EQ(descriptor.caches[0].input, 1u);
  EXPECT_EQ(descriptor.caches[0].axis, 1u);
  ASSERT_EQ(descriptor.expertLayers.size(), 1u);
  EXPECT_EQ(descriptor.expertLayers[0].numExperts, 8u);
  EXPECT_EQ(descriptor.expertLayers[0].topK, 2u);
  EXPECT_EQ(descriptor.expertLayers[0].bytesPerExpert, 96u);
  ASSERT_EQ(descriptor.sites.size(), 4u);
  EXPECT_EQ(descriptor.sites[0].node, "n3");
  EXPECT_EQ(descriptor.sites[0].op, "Gather");
  EXPECT_EQ(descriptor.sites[0].message,
            "expects less than {limit}, got {found}");
  EXPECT_EQ(descriptor.sites[1].node, "it's (odd)");
  EXPECT_EQ(descriptor.sites[1].message, "bad, got {found} for {limit}");
  EXPECT_EQ(descriptor.sites[2].node, "n4");
  EXPECT_EQ(descriptor.sites[2].op, "");
  EXPECT_EQ(descriptor.sites[3].node, "");
  EXPECT_EQ(descriptor.sites[3].op, "dispatch");
}

TEST_F(ModelInfoTest, LeavesOutCachesThatTheRuntimeWouldRefuse) {
  const char *signature = R"(
    moe.signature = {
      inputs = [{name = "p", type = tensor<2x?xf16>, dims = ["", ""]}],
      outputs = [{name = "q", type = tensor<2x?xf32>, dims = ["", ""]},
                 {name = "r", type = tensor<2x?x1xf16>, dims = ["", "", ""]},
                 {name = "s", type = tensor<2x?xf16>, dims = ["", ""]}],
      caches = [{input = 0 : i64, output = 0 : i64, axis = 1 : i64},
                {input = 0 : i64, output = 1 : i64, axis = 1 : i64},
                {input = 0 : i64, output = 2 : i64, axis = 2 : i64},
                {input = 7 : i64, output = 2 : i64, axis = 1 : i64},
                {input = 0 : i64, output = 2 : i64, axis = 1 : i64}]})";
  ASSERT_TRUE(describe(signature)) << text;
  ASSERT_EQ(descriptor.caches.size(), 1u);
  EXPECT_EQ(descriptor.caches[0].output, 2u);
}

TEST_F(ModelInfoTest, RefusesWhatItCannotDescribe) {
  EXPECT_FALSE(describe(""));
  EXPECT_NE(text.find("expects a function @main with a body"),
            std::string::npos);
  EXPECT_FALSE(describe("moe.signature = {inputs = [1 : i64]}"));
  EXPECT_NE(text.find("expects every value"), std::string::npos);
  EXPECT_FALSE(describe("moe.signature = {inputs = [{name = \"x\", type = "
                        "tensor<?xf32>, dims = []}]}"));
  EXPECT_NE(text.find("expects every value"), std::string::npos);
  EXPECT_FALSE(describe("moe.signature = {inputs = [{name = \"x\", type = "
                        "tensor<?xi24>, dims = [\"\"]}]}"));
  EXPECT_NE(text.find("'x' has element type 'i24'"), std::string::npos);
}

TEST_F(ModelInfoTest, HeaderSurvivesHostileNames) {
  ASSERT_TRUE(
      describe("moe.signature = {inputs = [{name = \"a*/int x;/*\\0A#error\", "
               "type = tensor<?xf32>, dims = [\"*/\"]}]}"))
      << text;
  std::string out = header();
  size_t model = out.find("/* The model 'm'");
  ASSERT_NE(model, std::string::npos);
  size_t close = out.find("*/", model);
  // The comment ends where it should: right before the guard.
  EXPECT_EQ(out.substr(close, 10), "*/\n#ifndef");
  EXPECT_NE(out.find("a+/int x;/+ #error"), std::string::npos);
  EXPECT_NE(out.find("const moe_api *m_get_api(uint32_t abi_version);"),
            std::string::npos);
}

TEST_F(ModelInfoTest, JSONHoldsEverything) {
  ASSERT_TRUE(describe(R"(
    moe.signature = {
      inputs = [{name = "\FFbad", type = tensor<?x?x3xf32>, dims = ["n", "", ""]}],
      outputs = []},
    moe.layers = [{name = "gate", experts = 8 : i64, renormalize = true, scale = 2.5 : f32}]
  )")) << text;
  descriptor.weightsSize = 4196;
  descriptor.weightsHash = 0x0123456789abcdef;
  std::string out;
  llvm::raw_string_ostream os(out);
  writeJSON(*module, descriptor, {"x86_64-linux", "znver4", ""}, os);
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(out);
  ASSERT_TRUE(static_cast<bool>(parsed)) << llvm::toString(parsed.takeError());
  const llvm::json::Object &model = *parsed->getAsObject();
  EXPECT_EQ(model.getObject("weights")->getString("hash"), "0123456789abcdef");
  EXPECT_EQ(model.getObject("weights")->getInteger("size"), 4196);
  EXPECT_EQ(model.getObject("target")->getString("cpu"), "znver4");
  const llvm::json::Object &input =
      *(*model.getArray("inputs"))[0].getAsObject();
  const llvm::json::Array &shape = *input.getArray("shape");
  EXPECT_EQ(shape[0].getAsString(), "n");
  EXPECT_EQ(shape[1].kind(), llvm::json::Value::Null);
  EXPECT_EQ(shape[2].getAsInteger(), 3);
  const llvm::json::Object &layer =
      *(*model.getArray("layers"))[0].getAsObject();
  EXPECT_EQ(layer.getBoolean("renormalize"), true);
  EXPECT_EQ(layer.getNumber("scale"), 2.5);
}
