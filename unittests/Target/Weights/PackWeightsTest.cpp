//===- PackWeightsTest.cpp - Weight files against naive packing -----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Weights/PackWeights.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Runtime/WeightFormat.h"
#include "moe/Target/Weights/Passes.h"
#include "moe/Target/Weights/WeightFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "gtest/gtest.h"

#include <cstring>
#include <fstream>

using namespace mlir;
using namespace mlir::moe;
namespace fs = llvm::sys::fs;

namespace {
class PackWeightsTest : public ::testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(fs::createUniqueDirectory("pack", folder));
    context.loadDialect<MoEDialect, grouped::GroupedDialect>();
    data.resize(1 << 20);
    for (size_t i = 0; i < data.size(); ++i)
      data[i] = static_cast<uint8_t>(1 + (i * 7 + i / 251 * 13) % 255);
    writeFile("m.data", data);
  }
  void TearDown() override { fs::remove_directories(folder); }

  std::string at(StringRef name) {
    SmallString<128> path = folder;
    llvm::sys::path::append(path, name);
    return path.str().str();
  }
  void writeFile(StringRef name, const std::vector<uint8_t> &bytes) {
    std::ofstream(at(name), std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  }

  /// Parses, assigns sections if asked, packs. The diagnostics lie in `text`.
  bool pack(const std::string &ir, bool assign = true, unsigned threads = 2) {
    text.clear();
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      text += diagnostic.str() + "\n";
      return success();
    });
    module = parseSourceString<ModuleOp>(ir, &context);
    if (!module)
      return false;
    if (assign) {
      PassManager passes(&context);
      passes.addPass(createAssignWeightSections());
      if (failed(passes.run(*module)))
        return false;
    }
    PackOptions options;
    options.source.path = folder.str();
    options.threads = threads;
    options.progress = [&](uint64_t done, uint64_t total) {
      lastDone = done;
      lastTotal = total;
    };
    return succeeded(
        packWeights(*module, at("out.weights"), options, identity));
  }

  /// The bytes of the section of `symbol`.
  std::vector<uint8_t> section(StringRef symbol, size_t size) {
    auto buffer = llvm::MemoryBuffer::getFile(at("out.weights"));
    if (!buffer)
      return {};
    auto offset =
        module->lookupSymbol(symbol)->getAttrOfType<IntegerAttr>("section");
    StringRef bytes = (*buffer)->getBuffer().substr(
        MOE_WEIGHTS_DATA_OFFSET + offset.getInt(), size);
    return std::vector<uint8_t>(bytes.begin(), bytes.end());
  }

  MLIRContext context;
  SmallString<128> folder;
  std::vector<uint8_t> data;
  OwningOpRef<ModuleOp> module;
  std::string text;
  WeightFileIdentity identity;
  uint64_t lastDone = 0, lastTotal = 0;
};

/// A weight [E, N, K] in m.data.
struct Source {
  int64_t offset;
  int64_t strides[3]; // in elements
};
} // namespace

static std::string weightText(const std::string &name, const Source &source,
                              ArrayRef<int64_t> shape, const std::string &type,
                              int64_t size) {
  int64_t last = 0;
  for (int d = 0; d < 3; ++d)
    last += (shape[d] - 1) * source.strides[d];
  std::string s;
  llvm::raw_string_ostream os(s);
  os << "moe.weight @" << name
     << " {file = \"m.data\", offset = " << source.offset
     << " : i64, length = " << (last + 1) * size
     << " : i64, strides = array<i64: " << source.strides[0] << ", "
     << source.strides[1] << ", " << source.strides[2] << ">} : tensor<"
     << shape[0] << "x" << shape[1] << "x" << shape[2] << "x" << type << ">\n";
  return s;
}

TEST_F(PackWeightsTest, PacksEveryLayoutTypeAndOddSize) {
  struct Type {
    const char *name;
    int64_t size, interleave;
  };
  for (Type type : {Type{"f32", 4, 1}, Type{"bf16", 2, 2}, Type{"f16", 2, 1},
                    Type{"f64", 8, 1}})
    for (auto [n, k] :
         {std::pair<int64_t, int64_t>{16, 16}, {24, 33}, {1, 1}, {50, 70}})
      for (int64_t weights : {1, 2, 3})
        for (int kind = 0; kind < 4; ++kind) {
          const int64_t e = 3;
          std::string ir;
          std::vector<Source> sources;
          std::string names;
          for (int64_t w = 0; w < weights; ++w) {
            Source source{64 + w * 16, {}};
            switch (kind) {
            case 0: // [E, N, K]
              source = {w * 64, {n * k, k, 1}};
              break;
            case 1: // [E, K, N]
              source = {w * 64, {n * k, 1, n}};
              break;
            case 2: // [E, N, weights, K]
              source = {w * k * type.size, {n * k * weights, k * weights, 1}};
              break;
            default: // [E, K, N, weights]
              source = {w * type.size, {n * k * weights, weights, n * weights}};
            }
            sources.push_back(source);
            std::string name = "w" + std::to_string(w);
            ir += weightText(name, source, {e, n, k}, type.name, type.size);
            names += (w ? ", @" : "@") + name;
          }
          int64_t panels = weights * ((n + 15) / 16);
          int64_t rows = (k + type.interleave - 1) / type.interleave;
          std::string shape = std::to_string(e) + "x" + std::to_string(panels) +
                              "x" + std::to_string(rows) + "x" +
                              std::to_string(16 * type.interleave) + "x" +
                              type.name;
          ir += "grouped.packed_weight @p [" + names + "] : tensor<" + shape +
                ">\n%0 = moe.get_weight @p : tensor<" + shape + ">\n";
          ASSERT_TRUE(pack(ir)) << ir << text;

          std::vector<uint8_t> want(e * panels * rows * 16 * type.interleave *
                                    type.size);
          for (int64_t x = 0; x < e; ++x)
            for (int64_t p = 0; p < panels; ++p)
              for (int64_t c = 0; c < 16; ++c)
                for (int64_t i = 0; i < k; ++i) {
                  int64_t column = p / weights * 16 + c;
                  if (column >= n)
                    continue;
                  const Source &s = sources[p % weights];
                  int64_t from =
                      s.offset + (x * s.strides[0] + column * s.strides[1] +
                                  i * s.strides[2]) *
                                     type.size;
                  int64_t to =
                      (((x * panels + p) * rows + i / type.interleave) * 16 +
                       c) *
                          type.interleave +
                      i % type.interleave;
                  std::memcpy(&want[to * type.size], &data[from], type.size);
                }
          ASSERT_EQ(section("p", want.size()), want) << ir;
          EXPECT_EQ(lastDone, want.size());
          EXPECT_EQ(lastTotal, want.size());
        }
}

TEST_F(PackWeightsTest, PacksStacksOfMatricesAndOfColumns) {
  // Expert 0 as it is, expert 1 transposed, of [N = 3, K = 5].
  std::string matrices = R"(
    moe.weight @a {file = "m.data", offset = 0 : i64, length = 60 : i64} : tensor<3x5xf32>
    moe.weight @b {file = "m.data", offset = 100 : i64, length = 60 : i64, strides = array<i64: 1, 3>} : tensor<3x5xf32>
    moe.weight_stack @s [@a, @b] : tensor<2x3x5xf32>
    grouped.packed_weight @p [@s] : tensor<2x1x5x16xf32>
    %0 = moe.get_weight @p : tensor<2x1x5x16xf32>
    %1 = moe.get_weight @s : tensor<2x3x5xf32>
  )";
  ASSERT_TRUE(pack(matrices)) << text;
  std::vector<uint8_t> packed(2 * 5 * 16 * 4), plain(2 * 3 * 5 * 4);
  for (int e = 0; e < 2; ++e)
    for (int n = 0; n < 3; ++n)
      for (int k = 0; k < 5; ++k) {
        int from = e == 0 ? (n * 5 + k) * 4 : 100 + (n + k * 3) * 4;
        std::memcpy(&packed[((e * 5 + k) * 16 + n) * 4], &data[from], 4);
        std::memcpy(&plain[((e * 3 + n) * 5 + k) * 4], &data[from], 4);
      }
  EXPECT_EQ(section("p", packed.size()), packed);
  EXPECT_EQ(section("s", plain.size()), plain);

  // Two experts of two columns each.
  std::string columns = R"(
    moe.weight @a {file = "m.data", offset = 0 : i64, length = 12 : i64} : tensor<3xf32>
    moe.weight @b {file = "m.data", offset = 20 : i64, length = 20 : i64, strides = array<i64: 2>} : tensor<3xf32>
    moe.weight_stack @e0 [@a, @b] : tensor<2x3xf32>
    moe.weight_stack @e1 [@b, @a] : tensor<2x3xf32>
    moe.weight_stack @s [@e0, @e1] : tensor<2x2x3xf32>
    grouped.packed_weight @p [@s] : tensor<2x1x3x16xf32>
    %0 = moe.get_weight @p : tensor<2x1x3x16xf32>
  )";
  ASSERT_TRUE(pack(columns)) << text;
  packed.assign(2 * 3 * 16 * 4, 0);
  for (int e = 0; e < 2; ++e)
    for (int n = 0; n < 2; ++n)
      for (int k = 0; k < 3; ++k)
        std::memcpy(&packed[((e * 3 + k) * 16 + n) * 4],
                    &data[n == e ? k * 4 : 20 + k * 8], 4);
  EXPECT_EQ(section("p", packed.size()), packed);
}

TEST_F(PackWeightsTest, CopiesPlainAndStridedAcrossChunks) {
  // 600 KiB contiguous and the same transposed: more than a chunk's half.
  std::string ir = R"(
    moe.weight @a {file = "m.data", offset = 3 : i64, length = 614400 : i64} : tensor<480x320xf32>
    moe.weight @t {file = "m.data", offset = 3 : i64, length = 614400 : i64, strides = array<i64: 1, 320>} : tensor<320x480xf32>
    moe.weight @b {file = "m.data", offset = 7 : i64, length = 5 : i64} : tensor<5xi1>
    moe.weight @n {file = "m.data", offset = 8 : i64, length = 3 : i64} : tensor<5xi4>
    moe.weight @z {file = "m.data", offset = 0 : i64, length = 0 : i64} : tensor<0x4xf32>
    %0 = moe.get_weight @a : tensor<480x320xf32>
    %1 = moe.get_weight @t : tensor<320x480xf32>
    %2 = moe.get_weight @b : tensor<5xi1>
    %3 = moe.get_weight @n : tensor<5xi4>
    %4 = moe.get_weight @z : tensor<0x4xf32>
  )";
  for (unsigned threads : {1, 3}) {
    ASSERT_TRUE(pack(ir, true, threads)) << text;
    EXPECT_EQ(section("a", 614400),
              std::vector<uint8_t>(data.begin() + 3, data.begin() + 614403));
    std::vector<uint8_t> transposed(614400);
    for (int r = 0; r < 320; ++r)
      for (int c = 0; c < 480; ++c)
        std::memcpy(&transposed[(r * 480 + c) * 4],
                    &data[3 + (r + c * 320) * 4], 4);
    EXPECT_EQ(section("t", 614400), transposed);
    EXPECT_EQ(section("b", 5),
              std::vector<uint8_t>(data.begin() + 7, data.begin() + 12));
    EXPECT_EQ(section("n", 3),
              std::vector<uint8_t>(data.begin() + 8, data.begin() + 11));
    uint64_t size = 0;
    ASSERT_FALSE(fs::file_size(at("out.weights"), size));
    EXPECT_EQ(identity.size, size);
    EXPECT_NE(identity.hash, 0u);
  }
}

TEST_F(PackWeightsTest, RefusesWhatIsNotThere) {
  auto plain = [](const char *file, int offset = 0) {
    return std::string("moe.weight @a {file = \"") + file +
           "\", offset = " + std::to_string(offset) +
           " : i64, length = 40 : i64} : tensor<10xf32>\n"
           "%0 = moe.get_weight @a : tensor<10xf32>\n";
  };
  auto refuses = [&](const std::string &ir, const char *reason) {
    EXPECT_FALSE(pack(ir));
    EXPECT_NE(text.find(reason), std::string::npos) << text;
    EXPECT_FALSE(fs::exists(at("out.weights")));
  };
  refuses(plain("none.data"), "file 'none.data' cannot be opened");
  refuses(plain("../m.data"), "lies outside of the model's folder");
  refuses(plain("/etc/passwd"), "lies outside of the model's folder");
  refuses(plain(""), "lies outside of the model's folder");
  ASSERT_FALSE(fs::create_directory(at("sub")));
  refuses(plain("sub"), "is not a regular file");
  ASSERT_FALSE(fs::create_link("/etc/passwd", at("link")));
  refuses(plain("link"), "lies outside of the model's folder");
  writeFile("short", std::vector<uint8_t>(39));
  refuses(plain("short"), "expects at least 40 bytes, got 39");
  refuses(plain("short", 1000), "expects at least 1040 bytes, got 39");
  writeFile("empty", {});
  refuses(plain("empty"), "expects at least 40 bytes, got 0");
  // A link inside of the folder is fine.
  ASSERT_FALSE(fs::create_link(at("m.data"), at("inside")));
  EXPECT_TRUE(pack(plain("inside"))) << text;
}

TEST_F(PackWeightsTest, RefusesSectionsThatNobodyAssigned) {
  EXPECT_FALSE(pack("moe.weight @a {file = \"m.data\", offset = 0 : i64, "
                    "length = 40 : i64, section = 64 : i64} : tensor<10xf32>",
                    /*assign=*/false));
  EXPECT_NE(text.find("expects section 0, got 64"), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(at("out.weights")));
}
