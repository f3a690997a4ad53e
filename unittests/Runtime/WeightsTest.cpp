//===- WeightsTest.cpp - The weight file, written and read ----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"
#include "moe/Runtime/Hash.h"
#include "moe/Runtime/WeightFormat.h"
#include "moe/Target/Weights/WeightFile.h"
#include "llvm/Support/xxhash.h"

#include <cstring>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir::moe;

namespace {
std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A folder that goes away with its files.
class WeightsTest : public ::testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/moe-weights-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
    path = folder + "/w.weights";
  }
  void TearDown() override {
    unlink(path.c_str());
    EXPECT_EQ(rmdir(folder.c_str()), 0) << "a file was left behind";
  }

  std::string folder, path, error;
};
} // namespace

TEST(HashTest, IsXXH64) {
  std::string bytes;
  for (int i = 0; i < 1000; ++i)
    bytes.push_back(static_cast<char>(i * 37 + i / 7));
  for (size_t size : {0, 1, 3, 4, 7, 8, 15, 31, 32, 33, 63, 64, 100, 1000}) {
    uint64_t expected = llvm::xxHash64(llvm::StringRef(bytes.data(), size));
    EXPECT_EQ(moe_hash(bytes.data(), size), expected) << size;
    for (size_t step : {1, 5, 32, 33}) {
      moe_hash_state state;
      moe_hash_init(&state);
      for (size_t at = 0; at < size; at += step)
        moe_hash_update(&state, bytes.data() + at, std::min(step, size - at));
      EXPECT_EQ(moe_hash_final(&state), expected) << size << " by " << step;
    }
  }
}

TEST(WeightLayoutTest, Aligns) {
  WeightLayout layout;
  EXPECT_EQ(layout.add(10), 0u);
  EXPECT_EQ(layout.add(1), 64u);
  EXPECT_EQ(layout.add(0), 128u);
  EXPECT_EQ(layout.add(1 << 20), 4096u);
  EXPECT_EQ(layout.add(64), 4096u + (1 << 20));
  EXPECT_EQ(layout.size(), 4096u + (1 << 20) + 64);
}

TEST_F(WeightsTest, WritesTheFormat) {
  auto writer = WeightFileWriter::create(path, error);
  ASSERT_NE(writer, nullptr) << error;
  unsigned a = writer->addSection("a", 10), b = writer->addSection("bee", 3);
  // Out of order, in pieces.
  ASSERT_TRUE(writer->append(b, "xyz", 3, error));
  ASSERT_TRUE(writer->append(a, "01234", 5, error));
  ASSERT_TRUE(writer->append(a, "56789", 5, error));
  std::string big(3 << 20, '\0');
  for (size_t i = 0; i < big.size(); ++i)
    big[i] = static_cast<char>(i % 251);
  ASSERT_TRUE(writer->addSection(
      "big", big.size(), 1 << 18,
      [&](uint64_t at, uint8_t *buffer, size_t size, std::string &) {
        std::memcpy(buffer, big.data() + at, size);
        return true;
      },
      error))
      << error;
  EXPECT_EQ(access(path.c_str(), F_OK), -1); // not before commit
  WeightFileIdentity identity;
  ASSERT_TRUE(writer->commit(identity, error)) << error;
  writer.reset();

  std::string bytes = readFile(path);
  ASSERT_EQ(bytes.size(), identity.size);
  moe_weights_header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  EXPECT_STREQ(header.magic, MOE_WEIGHTS_MAGIC);
  EXPECT_EQ(header.file_size, bytes.size());
  EXPECT_EQ(header.content_hash, identity.hash);
  ASSERT_EQ(header.num_sections, 3u);
  std::vector<moe_weights_section> table(3);
  std::memcpy(table.data(), bytes.data() + header.table_offset,
              3 * sizeof table[0]);
  EXPECT_STREQ(bytes.data() + header.names_offset + table[1].name, "bee");
  EXPECT_EQ(bytes.substr(4096 + table[0].offset, 10), "0123456789");
  EXPECT_EQ(bytes.substr(4096 + table[1].offset, 3), "xyz");
  EXPECT_EQ(table[2].offset % 4096, 0u);
  EXPECT_EQ(bytes.substr(4096 + table[2].offset, big.size()), big);
  EXPECT_EQ(table[2].hash, llvm::xxHash64(big));
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(info.st_mode & 0777, 0666 & ~mask);
}

TEST_F(WeightsTest, LeavesNothingBehind) {
  WeightFileIdentity identity;
  {
    auto writer = WeightFileWriter::create(path, error);
    unsigned a = writer->addSection("a", 4);
    EXPECT_FALSE(writer->append(a, "12345", 5, error));
    EXPECT_EQ(error, "cannot write weight file '" + path +
                         "': more bytes than reserved for section 'a'");
    ASSERT_TRUE(writer->append(a, "123", 3, error));
    EXPECT_FALSE(writer->commit(identity, error));
    EXPECT_EQ(error, "cannot write weight file '" + path +
                         "': section 'a' is incomplete");
  }
  {
    auto writer = WeightFileWriter::create(path, error);
    EXPECT_FALSE(writer->addSection(
        "a", 10, 4,
        [](uint64_t at, uint8_t *, size_t, std::string &error) {
          error = "no more";
          return at == 0;
        },
        error));
    EXPECT_EQ(error, "no more");
  }
  EXPECT_EQ(WeightFileWriter::create("/nowhere/x", error), nullptr);
  EXPECT_EQ(
      error,
      "cannot create weight file '/nowhere/x': No such file or directory");
}

TEST_F(WeightsTest, DamageIsRefused) {
  const moe_api *api = loadApi(testModelPath("decoder.so"));
  ASSERT_NE(api, nullptr);
  std::string good = readFile(testModelPath("decoder.weights"));
  auto open = [&](const std::string &bytes, uint32_t flags) {
    writeFile(path, bytes);
    char text[512] = "";
    moe_model *model = nullptr;
    moe_status status =
        moe_open(api, path.c_str(), flags, &model, text, sizeof text);
    moe_close(model);
    if (status == MOE_OK)
      return std::string();
    EXPECT_EQ(status, MOE_ERROR_WEIGHTS);
    EXPECT_EQ(model, nullptr);
    return std::string(text);
  };
  auto changed = [&](size_t at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    return bytes;
  };
  std::string file = "weight file '" + path + "' ";
  EXPECT_EQ(open(good, MOE_OPEN_VERIFY), "");
  EXPECT_EQ(open(good.substr(0, 100), 0),
            file + "is not a weight file: it has 100 bytes, expected at least "
                   "4096");
  EXPECT_EQ(open(changed(0), 0), file + "is not a weight file");
  EXPECT_EQ(open(changed(8), 0),
            file + "has format version 0, expected version 1");
  EXPECT_EQ(open(good.substr(0, good.size() - 1), 0),
            file + "is truncated or extended: it has " +
                std::to_string(good.size() - 1) + " bytes, its header says " +
                std::to_string(good.size()));
  EXPECT_EQ(open(changed(40), 0), file + "has a damaged header");
  EXPECT_EQ(open(changed(good.size() - 1), 0), file + "has a damaged table");
  // Damage in the weights themselves is what verification is for.
  EXPECT_EQ(open(changed(4096 + 5), 0), "");
  EXPECT_EQ(open(changed(4096 + 5), MOE_OPEN_VERIFY),
            file + "is damaged: the contents of 'w' do not have the recorded "
                   "hash");

  // A header that lies consistently: the hash fits, the numbers do not.
  for (size_t field = 12; field < 72; field += 4) {
    std::string bytes = good;
    moe_weights_header header;
    bytes[field] = static_cast<char>(0xff);
    bytes[field + 3] = static_cast<char>(0x7f);
    std::memcpy(&header, bytes.data(), sizeof header);
    header.header_hash =
        moe_hash(&header, offsetof(moe_weights_header, header_hash));
    std::memcpy(bytes.data(), &header, sizeof header);
    EXPECT_NE(open(bytes, MOE_OPEN_VERIFY), "") << field;
  }
}
