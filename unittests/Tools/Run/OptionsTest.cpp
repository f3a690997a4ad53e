//===- OptionsTest.cpp - Command line of moe-run --------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Run.h"
#include "gtest/gtest.h"

using namespace mlir::moe;

namespace {
std::string parse(std::vector<const char *> arguments, RunOptions &options) {
  arguments.insert(arguments.begin(), "moe-run");
  bool help;
  std::string error;
  EXPECT_EQ(parseRunOptions(static_cast<int>(arguments.size()),
                            arguments.data(), options, help, error),
            error.empty());
  return error;
}
std::string parse(std::vector<const char *> arguments) {
  RunOptions options;
  return parse(std::move(arguments), options);
}
} // namespace

TEST(OptionsTest, Parses) {
  RunOptions options;
  ASSERT_EQ(
      parse({"m.so", "--input", "x=@a.npy", "--input=y=@b=@c.npy", "--inputs",
             "c.npz", "--expected-outputs=c.npz", "--output", "z=@z.npy",
             "-threads=3", "--tolerance", "1e-5", "--benchmark", "--json",
             "--runs=7", "--verify-weights", "--weights", "w"},
            options),
      "");
  EXPECT_EQ(options.model, "m.so");
  ASSERT_EQ(options.inputs.size(), 2u);
  EXPECT_EQ(options.inputs[0], RunOptions::NamedPath("x", "a.npy"));
  EXPECT_EQ(options.inputs[1], RunOptions::NamedPath("y=@b", "c.npy"));
  EXPECT_EQ(options.inputFiles, std::vector<std::string>{"c.npz"});
  EXPECT_EQ(options.expectedFiles, std::vector<std::string>{"c.npz"});
  EXPECT_EQ(options.threads, 3);
  EXPECT_EQ(options.tolerance, 1e-5);
  EXPECT_EQ(options.runs, 7);
  EXPECT_TRUE(options.benchmark && options.json && options.verifyWeights);
  EXPECT_EQ(options.weights, "w");
}

TEST(OptionsTest, RefusesWithOneLine) {
  EXPECT_EQ(parse({}), "expects a compiled model (see --help)");
  EXPECT_EQ(parse({"a", "b"}), "expects one model, got 'a' and 'b'");
  EXPECT_EQ(parse({"m", "--frob=1"}), "unknown option '--frob=1' (see --help)");
  EXPECT_EQ(parse({"m", "--input", "x=a"}),
            "option '--input' expects <name>=@<file>, got 'x=a'");
  EXPECT_EQ(parse({"m", "--input"}), "option '--input' expects a value");
  EXPECT_EQ(parse({"m", "--stats=1"}), "option '--stats' takes no value");
  EXPECT_EQ(parse({"m", "--threads", "0"}),
            "option '--threads' expects a number of at least 1, got '0'");
  EXPECT_EQ(parse({"m", "--tolerance=nan"}),
            "option '--tolerance' expects a number of at least 0, got 'nan'");
  EXPECT_EQ(parse({"m", "--json"}), "option '--json' expects '--benchmark'");
  EXPECT_EQ(parse({"m", "--runs=3"}), "option '--runs' expects '--benchmark'");
  EXPECT_EQ(parse({"m", "--inputs=a", "--inputs=b", "--outputs=c"}),
            "cannot write the outputs of several --inputs");
  EXPECT_EQ(parse({"m", "--inputs=a", "--inputs=b", "--expected-outputs=a"}),
            "expects one --expected-outputs for each of the 2 --inputs");
}
