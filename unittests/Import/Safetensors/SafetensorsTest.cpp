//===- SafetensorsTest.cpp - The header of a safetensors file -------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Safetensors/Safetensors.h"

#include "llvm/Support/Endian.h"
#include "gtest/gtest.h"

using namespace llvm;
using namespace mlir::moe;

namespace {

/// A file with `header` and `data` bytes behind it.
std::string file(StringRef header, size_t data) {
  char field[8];
  support::endian::write64le(field, header.size());
  return std::string(field, 8) + header.str() + std::string(data, '\1');
}

/// What is wrong with a file; "" for nothing.
std::string problem(StringRef bytes) {
  Expected<std::vector<SafetensorsTensor>> tensors = parseSafetensors(bytes);
  return tensors ? "" : toString(tensors.takeError());
}
std::string problem(StringRef header, size_t data) {
  return problem(file(header, data));
}

std::string entry(StringRef name, StringRef dtype, StringRef shape,
                  StringRef offsets) {
  return ("\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
          ",\"data_offsets\":" + offsets + "}")
      .str();
}
std::string one(StringRef dtype, StringRef shape, StringRef offsets) {
  return "{" + entry("w", dtype, shape, offsets) + "}";
}

TEST(SafetensorsTest, Tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," +
                       entry("b", "BF16", "[2,3]", "[4,16]") + "," +
                       entry("empty", "F32", "[0,7]", "[4,4]") + "," +
                       entry("a", "F32", "[]", "[0,4]") + "}    ";
  auto tensors = parseSafetensors(file(header, 16));
  ASSERT_TRUE(static_cast<bool>(tensors)) << toString(tensors.takeError());
  ASSERT_EQ(tensors->size(), 3u);
  EXPECT_EQ((*tensors)[0].name, "a");
  EXPECT_EQ((*tensors)[0].offset, 8 + header.size());
  EXPECT_EQ((*tensors)[1].name, "empty");
  EXPECT_EQ((*tensors)[2].name, "b");
  EXPECT_EQ((*tensors)[2].offset, 8 + header.size() + 4);
  EXPECT_EQ((*tensors)[2].length, 12u);
  EXPECT_EQ((*tensors)[2].type->bits, 16u);
  EXPECT_EQ(ArrayRef<int64_t>((*tensors)[2].shape), ArrayRef<int64_t>({2, 3}));
  EXPECT_EQ(problem("{}", 0), "");
  EXPECT_EQ(problem(one("F4", "[3,2]", "[0,3]"), 3), "");
}

TEST(SafetensorsTest, EveryType) {
  for (const SafetensorsType &type : safetensorsTypes())
    EXPECT_EQ(
        problem(one(type.name, "[8]", "[0," + std::to_string(type.bits) + "]"),
                type.bits),
        "")
        << type.name.str();
}

TEST(SafetensorsTest, Length) {
  EXPECT_EQ(problem(""), "has 0 bytes, expects at least the 8 of a safetensors "
                         "file's header length");
  EXPECT_NE(problem("1234567"), "");
  EXPECT_EQ(problem(StringRef("\x03\0\0\0\0\0\0\0{}", 10)),
            "is truncated: its header has 3 bytes, of which 2 are there");
  EXPECT_EQ(problem("\xff\xff\xff\xff\xff\xff\xff\xff{}"),
            "is no safetensors file: its header would have "
            "18446744073709551615 bytes, expects at most 100000000");
}

TEST(SafetensorsTest, Header) {
  EXPECT_EQ(problem(" {}", 0), "is no safetensors file: its header does not "
                               "begin with '{'");
  EXPECT_NE(problem("{", 0).find("no valid JSON"), std::string::npos);
  EXPECT_NE(problem("{\"\xff\":1}", 0).find("no valid JSON"),
            std::string::npos);
  EXPECT_EQ(problem("{" + std::string(100000, '['), 0),
            "has a header that is JSON that nests 100001 deep, expects at most "
            "3");
  EXPECT_EQ(problem("{" + entry("w", "U8", "[0]", "[0,0]") + "," +
                        entry("w", "U8", "[0]", "[0,0]") + "}",
                    0),
            "has a header that is JSON in which an object has a key twice");
  EXPECT_EQ(problem("{\"__metadata__\":[]}", 0),
            "has a __metadata__ that is no object");
  EXPECT_EQ(problem("{\"__metadata__\":{\"a\":1}}", 0),
            "has a __metadata__ with a value that is no string: 'a'");
}

TEST(SafetensorsTest, Entry) {
  EXPECT_EQ(problem("{\"w\":1}", 0),
            "tensor 'w' is no object with dtype, shape and data_offsets");
  EXPECT_EQ(problem("{\"w\":{}}", 0), "tensor 'w' has no dtype");
  EXPECT_EQ(problem("{\"w\":{\"x\":1}}", 0),
            "tensor 'w' has the unknown key 'x'");
  EXPECT_EQ(problem(one("F31", "[1]", "[0,4]"), 4),
            "tensor 'w' has dtype 'F31', which is none that safetensors "
            "defines");
  for (const char *shape : {"1", "[-1]", "[1.5]", "[\"1\"]", "[1e30]", "null"})
    EXPECT_EQ(problem(one("U8", shape, "[0,1]"), 1),
              "tensor 'w' has no shape of numbers of at least 0")
        << shape;
  for (const char *offsets : {"[0]", "[0,1,2]", "[-1,0]", "{}", "[0,1.5]"})
    EXPECT_EQ(problem(one("U8", "[1]", offsets), 1),
              "tensor 'w' has no data_offsets of two numbers")
        << offsets;
  EXPECT_EQ(problem(one("U8", "[1]", "[1,0]"), 1),
            "tensor 'w' ends at 0, before its begin 1");
  EXPECT_EQ(problem(one("F32", "[2]", "[0,4]"), 4),
            "tensor 'w' has 4 bytes, expects 8 for its dtype and shape");
  EXPECT_EQ(problem(one("F4", "[3]", "[0,1]"), 1),
            "tensor 'w' has 12 bits, expects whole bytes");
  EXPECT_EQ(problem(one("F32", "[4294967296,4294967296]", "[0,0]"), 0),
            "tensor 'w' has a shape whose size exceeds 2^64 bits");
  EXPECT_EQ(problem(one("F32", "[18446744073709551615]", "[0,0]"), 0),
            "tensor 'w' has a dimension of 18446744073709551615");
  std::string ones = "[1";
  for (int i = 0; i < 64; ++i)
    ones += ",1";
  EXPECT_EQ(problem(one("U8", ones + "]", "[0,1]"), 1),
            "tensor 'w' has 65 dimensions, expects at most 64");
}

TEST(SafetensorsTest, Data) {
  EXPECT_EQ(problem(one("U8", "[4]", "[0,4]"), 3),
            "tensor 'w' ends at byte 0 + 4 of the data, which has 3 bytes");
  EXPECT_EQ(problem(one("U8", "[4]", "[0,4]"), 5),
            "has 1 bytes behind its last tensor");
  EXPECT_EQ(problem(one("U8", "[4]", "[1,5]"), 5),
            "tensor 'w' begins at byte 1 of the data, expects 0, where the "
            "tensor before it ends");
  auto two = [](StringRef first, StringRef second) {
    return "{" + entry("a", "U8", "[4]", first) + "," +
           entry("b", "U8", "[4]", second) + "}";
  };
  EXPECT_EQ(problem(two("[4,8]", "[0,4]"), 8), "");
  EXPECT_NE(problem(two("[0,4]", "[3,7]"), 7), ""); // overlap
  EXPECT_NE(problem(two("[0,4]", "[5,9]"), 9), ""); // gap
  EXPECT_NE(problem(two("[0,4]", "[0,4]"), 4), ""); // the same bytes
}

} // namespace
