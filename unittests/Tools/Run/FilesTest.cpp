//===- FilesTest.cpp - NumPy files, well-formed and hostile ---------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Run/Files.h"
#include "gtest/gtest.h"

#include <cstring>
#include <dirent.h>
#include <random>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

using namespace mlir::moe;

namespace {
/// A .npy file of version `major` with this header and these element bytes.
std::string npy(const std::string &header, const std::string &elements,
                int major = 1) {
  std::string file = "\x93NUMPY";
  file += static_cast<char>(major);
  file += '\0';
  size_t length = header.size();
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i, length >>= 8)
    file += static_cast<char>(length & 0xff);
  return file + header + elements;
}

std::string header(const std::string &type, const std::string &shape,
                   const std::string &fortran = "False") {
  return "{'descr': '" + type + "', 'fortran_order': " + fortran +
         ", 'shape': " + shape + ", }   \n";
}

std::string parseError(const std::string &file) {
  Array array;
  std::string error;
  EXPECT_FALSE(parseNpy(file.data(), file.size(), array, error));
  return error;
}

template <typename T> std::vector<T> elements(const Array &array) {
  const T *data = reinterpret_cast<const T *>(array.data.data());
  return std::vector<T>(data, data + array.data.size() / sizeof(T));
}

std::string rawDeflate(const std::string &bytes) {
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef *>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// A zip archive as simple tools write it: 32-bit sizes.
class ZipMaker {
public:
  ZipMaker &add(const std::string &name, const std::string &contents,
                bool deflated, uint64_t claimedSize = UINT64_MAX) {
    std::string data = deflated ? rawDeflate(contents) : contents;
    uint32_t crc = static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef *>(contents.data()),
              static_cast<uInt>(contents.size())));
    uint64_t size = claimedSize == UINT64_MAX ? contents.size() : claimedSize;
    uint64_t local = file.size();
    auto common = [&](std::string &to) {
      put(to, 20, 2);
      put(to, 0, 2);
      put(to, deflated ? 8 : 0, 2);
      put(to, 0, 4);
      put(to, crc, 4);
      put(to, data.size(), 4);
      put(to, size, 4);
      put(to, name.size(), 2);
      put(to, 0, 2);
    };
    put(file, 0x04034b50, 4);
    common(file);
    file += name + data;
    put(directory, 0x02014b50, 4);
    put(directory, 20, 2);
    common(directory);
    put(directory, 0, 10);
    put(directory, local, 4);
    directory += name;
    ++count;
    return *this;
  }
  std::string finish(const std::string &comment = "") {
    std::string out = file + directory;
    put(out, 0x06054b50, 4);
    put(out, 0, 4);
    put(out, count, 2);
    put(out, count, 2);
    put(out, directory.size(), 4);
    put(out, file.size(), 4);
    put(out, comment.size(), 2);
    return out + comment;
  }

private:
  static void put(std::string &to, uint64_t value, int width) {
    for (; width; --width, value = width > 8 ? value : value >> 8)
      to += static_cast<char>(value & 0xff);
  }
  std::string file, directory;
  uint64_t count = 0;
};

std::string zipError(const std::string &file) {
  std::vector<NamedArray> arrays;
  std::string error;
  EXPECT_FALSE(parseNpz(file.data(), file.size(), arrays, error));
  return error;
}

const std::string oneToSix("\1\0\2\0\3\0\4\0\5\0\6\0", 12);
} // namespace

TEST(NpyTest, ParsesEveryVersionAndType) {
  for (int version : {1, 2, 3}) {
    Array array;
    std::string error, file = npy(header("<i2", "(2, 3)"), oneToSix, version);
    ASSERT_TRUE(parseNpy(file.data(), file.size(), array, error)) << error;
    EXPECT_EQ(array.dtype, MOE_I16);
    EXPECT_EQ(array.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(elements<int16_t>(array),
              (std::vector<int16_t>{1, 2, 3, 4, 5, 6}));
  }
  const std::pair<const char *, moe_dtype> types[] = {
      {"<f4", MOE_F32}, {"<f2", MOE_F16}, {"<V2", MOE_BF16}, {"|V2", MOE_BF16},
      {"<f8", MOE_F64}, {"|i1", MOE_I8},  {"<i2", MOE_I16},  {"<i4", MOE_I32},
      {"<i8", MOE_I64}, {"|u1", MOE_U8},  {"<u2", MOE_U16},  {"<u4", MOE_U32},
      {"<u8", MOE_U64}, {"|b1", MOE_BOOL}};
  for (auto [type, dtype] : types) {
    std::string bytes(static_cast<size_t>(moe_dtype_bytes(dtype)), '\1');
    for (const char *shape : {"()", "(1,)", "(1, 1)"}) {
      Array array;
      std::string error, file = npy(header(type, shape), bytes);
      ASSERT_TRUE(parseNpy(file.data(), file.size(), array, error))
          << type << error;
      EXPECT_EQ(array.dtype, dtype);
    }
  }
}

TEST(NpyTest, FortranOrderIsTransposed) {
  Array array;
  std::string error, file = npy(header("<i2", "(2, 3)", "True"), oneToSix);
  ASSERT_TRUE(parseNpy(file.data(), file.size(), array, error)) << error;
  EXPECT_EQ(elements<int16_t>(array), (std::vector<int16_t>{1, 3, 5, 2, 4, 6}));
  file = npy(header("<i2", "(0, 3)", "True"), "");
  ASSERT_TRUE(parseNpy(file.data(), file.size(), array, error)) << error;
}

TEST(NpyTest, RefusesWithOneLine) {
  std::string good = npy(header("<i2", "(6,)"), oneToSix);
  EXPECT_EQ(parseError(""), "not a .npy file");
  EXPECT_EQ(parseError("PK\3\4 something else"), "not a .npy file");
  EXPECT_EQ(parseError(npy(header("<i2", "(6,)"), oneToSix, 4)),
            "unsupported .npy version 4");
  EXPECT_EQ(parseError(good.substr(0, 20)), "the file ends within its header");
  EXPECT_EQ(parseError(good.substr(0, good.size() - 1)),
            "the shape [6] of i16 does not fit the 11 bytes of elements");
  EXPECT_EQ(parseError(good + "x"),
            "the shape [6] of i16 does not fit the 13 bytes of elements");
  EXPECT_EQ(parseError(npy(header(">i2", "(6,)"), oneToSix)),
            "big-endian elements ('>i2') are not supported, expected "
            "little-endian ones");
  EXPECT_EQ(parseError(npy(header("<c8", "(1,)"), "12345678")),
            "unsupported element type '<c8'");
  EXPECT_EQ(parseError(npy(header("|O", "(1,)"), "12345678")),
            "unsupported element type '|O'");
  EXPECT_EQ(parseError(npy("{'descr': [('a', '<f4')], 'fortran_order': False, "
                           "'shape': (1,), }\n",
                           "1234")),
            "structured element types are not supported");
  EXPECT_EQ(
      parseError(npy(header("<i8", "(4611686018427387904, 4, 4)"), "")),
      "the shape [4611686018427387904, 4, 4] of i64 does not fit the 0 bytes "
      "of elements");
  for (const char *bad :
       {"", "{", "{}", "{'descr': '<f4'}", "[1]",
        "{'descr': '<f4', "
        "'fortran_order': Maybe, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': "
        "(99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': "
        "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}"})
    EXPECT_EQ(parseError(npy(bad, "1234")), "the header is malformed") << bad;
}

TEST(NpyTest, SurvivesRandomDamage) {
  std::string good = npy(header("<i2", "(2, 3)", "True"), oneToSix);
  std::mt19937 random(3);
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (unsigned n = random() % 3 + 1; n; --n)
      bad[random() % bad.size()] = static_cast<char>(random());
    bad.resize(i % 3 ? bad.size() : random() % bad.size());
    Buffer exact; // its own allocation: a sanitizer sees every overrun
    ASSERT_TRUE(exact.allocate(bad.size()));
    std::memcpy(exact.data(), bad.data(), bad.size());
    Array array;
    std::string error;
    if (!parseNpy(exact.data(), exact.size(), array, error)) {
      EXPECT_FALSE(error.empty());
    }
  }
}

TEST(NpzTest, StoredDeflatedAndComments) {
  std::string file = npy(header("<i2", "(6,)"), oneToSix);
  std::string zip = ZipMaker()
                        .add("in:a.npy", file, false)
                        .add("b.npy", file, true)
                        .add("readme.txt", "not an array", false)
                        .finish("a comment PK\5\6 of its own");
  std::vector<NamedArray> arrays;
  std::string error;
  ASSERT_TRUE(parseNpz(zip.data(), zip.size(), arrays, error)) << error;
  ASSERT_EQ(arrays.size(), 2u);
  EXPECT_EQ(arrays[0].name, "in:a");
  EXPECT_EQ(arrays[1].name, "b");
  EXPECT_EQ(elements<int16_t>(arrays[1].array),
            (std::vector<int16_t>{1, 2, 3, 4, 5, 6}));
}

TEST(NpzTest, RefusesWithOneLine) {
  std::string file = npy(header("<i2", "(6,)"), oneToSix);
  std::string zip = ZipMaker().add("a.npy", file, true).finish();
  EXPECT_EQ(zipError(""), "not a .npz file");
  EXPECT_EQ(zipError(std::string(100, 'x')), "not a .npz file, or truncated");
  EXPECT_EQ(zipError(zip.substr(0, zip.size() - 3)),
            "not a .npz file, or truncated");
  std::string bad = zip;
  bad[14] ^= 1; // the local copy of the checksum is not the one that counts
  std::vector<NamedArray> arrays;
  std::string error;
  EXPECT_TRUE(parseNpz(bad.data(), bad.size(), arrays, error));
  EXPECT_EQ(zipError(ZipMaker().add("a.npy", file, true, 1000).finish()),
            "the compressed data of 'a.npy' is damaged");
  EXPECT_EQ(zipError(ZipMaker().add("a.npy", file, true, 0xfffffff0).finish()),
            "'a.npy' claims an impossible size");
  EXPECT_EQ(zipError(ZipMaker().add("a.npy", file, false, 7).finish()),
            "'a.npy' has contradictory sizes");
  EXPECT_EQ(zipError(ZipMaker()
                         .add("a.npy", file, false)
                         .add("a.npy", file, false)
                         .finish()),
            "'a.npy' occurs twice");
  EXPECT_EQ(zipError(ZipMaker().add("a.npy", "junk", false).finish()),
            "'a.npy': not a .npy file");
  bad = ZipMaker().add("a.npy", file, false).finish();
  bad[30 + 5 + file.size() - 1] ^= 1; // the last element
  EXPECT_EQ(zipError(bad), "'a.npy' is damaged: its checksum differs");
}

TEST(NpzTest, SurvivesRandomDamage) {
  std::string file = npy(header("<i2", "(2, 3)"), oneToSix);
  std::string good =
      ZipMaker().add("a.npy", file, true).add("b.npy", file, false).finish();
  std::mt19937 random(4);
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (unsigned n = random() % 3 + 1; n; --n)
      bad[random() % bad.size()] = static_cast<char>(random());
    bad.resize(i % 3 ? bad.size() : random() % bad.size());
    Buffer exact;
    ASSERT_TRUE(exact.allocate(bad.size()));
    std::memcpy(exact.data(), bad.data(), bad.size());
    std::vector<NamedArray> arrays;
    std::string error;
    if (!parseNpz(exact.data(), exact.size(), arrays, error)) {
      EXPECT_FALSE(error.empty());
    }
  }
}

namespace {
class OutputFilesTest : public ::testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/moe-files-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
  }
  void TearDown() override {
    for (const std::string &file : list())
      unlink((folder + "/" + file).c_str());
    rmdir(folder.c_str());
  }
  std::vector<std::string> list() {
    std::vector<std::string> names;
    DIR *dir = opendir(folder.c_str());
    while (dirent *entry = readdir(dir))
      if (entry->d_name[0] != '.')
        names.push_back(entry->d_name);
    closedir(dir);
    return names;
  }

  std::string folder, error;
  float data[3] = {1.5f, -2, 3};
  int64_t shape[2] = {3, 1};
  moe_tensor tensor = {data, MOE_F32, 2, shape, nullptr, 0};
};
} // namespace

TEST_F(OutputFilesTest, RoundTrips) {
  int64_t none[1] = {0};
  moe_tensor empty = {nullptr, MOE_BF16, 1, none, nullptr, 0};
  moe_tensor scalar = {data, MOE_F32, 0, nullptr, nullptr, 0};
  OutputFiles files;
  ASSERT_TRUE(files.addNpy(folder + "/a.npy", tensor, error)) << error;
  ASSERT_TRUE(files.addNpz(folder + "/b.npz", {"x", "e", "s"},
                           {tensor, empty, scalar}, error))
      << error;
  ASSERT_TRUE(files.commit(error)) << error;
  Array array;
  ASSERT_TRUE(readNpy(folder + "/a.npy", array, error)) << error;
  EXPECT_EQ(array.shape, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(elements<float>(array), (std::vector<float>{1.5f, -2, 3}));
  std::vector<NamedArray> arrays;
  ASSERT_TRUE(readNpz(folder + "/b.npz", arrays, error)) << error;
  ASSERT_EQ(arrays.size(), 3u);
  EXPECT_EQ(arrays[0].name, "x");
  EXPECT_EQ(elements<float>(arrays[0].array),
            (std::vector<float>{1.5f, -2, 3}));
  EXPECT_EQ(arrays[1].array.dtype, MOE_BF16);
  EXPECT_EQ(arrays[1].array.shape, std::vector<int64_t>{0});
  EXPECT_TRUE(arrays[2].array.shape.empty());
}

TEST_F(OutputFilesTest, LeavesNothingWithoutCommit) {
  {
    OutputFiles files;
    ASSERT_TRUE(files.addNpy(folder + "/a.npy", tensor, error));
    EXPECT_EQ(list().size(), 1u);
    EXPECT_FALSE(files.addNpy(folder + "/none/b.npy", tensor, error));
    EXPECT_EQ(error, "cannot write '" + folder +
                         "/none/b.npy': No such file or directory");
  }
  EXPECT_TRUE(list().empty());
}

TEST_F(OutputFilesTest, ReadingSaysWhich) {
  Array array;
  EXPECT_FALSE(readNpy(folder + "/x.npy", array, error));
  EXPECT_EQ(error,
            "cannot open '" + folder + "/x.npy': No such file or directory");
  EXPECT_FALSE(readNpy(folder, array, error));
  EXPECT_EQ(error, "'" + folder + "' is not a regular file");
}
