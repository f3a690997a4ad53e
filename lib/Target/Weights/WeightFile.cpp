//===- WeightFile.cpp - Writes weight files -------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Weights/WeightFile.h"
#include "moe/Runtime/WeightFormat.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

using namespace mlir::moe;

static uint64_t alignTo(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

uint64_t WeightLayout::add(uint64_t size) {
  uint64_t offset = alignTo(end, size >= MOE_WEIGHTS_LARGE_SECTION
                                     ? MOE_WEIGHTS_LARGE_ALIGNMENT
                                     : MOE_WEIGHTS_ALIGNMENT);
  end = offset + size;
  return offset;
}

std::unique_ptr<WeightFileWriter>
WeightFileWriter::create(const std::string &path, std::string &error) {
  // Beside the target, for rename() to be atomic; unique, so that two compilers
  // writing the same file do not mix their bytes.
  static std::atomic<unsigned> counter{0};
  std::string temporary = path + ".tmp-" + std::to_string(::getpid()) + "-" +
                          std::to_string(counter++);
  int file =
      ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) {
    error = "cannot create weight file '" + path + "': " + std::strerror(errno);
    return nullptr;
  }
  return std::unique_ptr<WeightFileWriter>(
      new WeightFileWriter(path, std::move(temporary), file));
}

WeightFileWriter::~WeightFileWriter() {
  if (file >= 0)
    ::close(file);
  if (!committed)
    ::unlink(temporary.c_str());
}

std::string WeightFileWriter::describe(const char *what) const {
  return "cannot write weight file '" + path + "': " + what;
}

bool WeightFileWriter::writeAt(uint64_t position, const void *data, size_t size,
                               std::string &error) {
  const char *bytes = static_cast<const char *>(data);
  while (size) {
    ssize_t done = ::pwrite(file, bytes, size, static_cast<off_t>(position));
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0) {
      error = describe(std::strerror(done < 0 ? errno : ENOSPC));
      return false;
    }
    bytes += done;
    position += static_cast<uint64_t>(done);
    size -= static_cast<size_t>(done);
  }
  return true;
}

unsigned WeightFileWriter::addSection(const std::string &name, uint64_t size) {
  Section section{name, layout.add(size), size, 0, {}};
  moe_hash_init(&section.hash);
  sections.push_back(std::move(section));
  return static_cast<unsigned>(sections.size() - 1);
}

bool WeightFileWriter::append(unsigned index, const void *data, size_t size,
                              std::string &error) {
  Section &section = sections[index];
  if (size > section.size - section.written) {
    error =
        describe(("more bytes than reserved for section '" + section.name + "'")
                     .c_str());
    return false;
  }
  uint64_t position =
      MOE_WEIGHTS_DATA_OFFSET + section.offset + section.written;
  if (!writeAt(position, data, size, error))
    return false;
  moe_hash_update(&section.hash, data, size);
  section.written += size;
  return true;
}

bool WeightFileWriter::addSection(const std::string &name, uint64_t size,
                                  size_t chunk, const Producer &next,
                                  std::string &error) {
  unsigned section = addSection(name, size);
  std::vector<uint8_t> buffer(static_cast<size_t>(size < chunk ? size : chunk));
  for (uint64_t position = 0; position < size;) {
    uint64_t left = size - position;
    size_t count = left < chunk ? static_cast<size_t>(left) : chunk;
    if (!next(position, buffer.data(), count, error) ||
        !append(section, buffer.data(), count, error))
      return false;
    position += count;
  }
  return true;
}

bool WeightFileWriter::commit(WeightFileIdentity &identity,
                              std::string &error) {
  std::string names;
  std::vector<moe_weights_section> table;
  for (const Section &section : sections) {
    if (section.written != section.size) {
      error =
          describe(("section '" + section.name + "' is incomplete").c_str());
      return false;
    }
    table.push_back({section.offset, section.size,
                     moe_hash_final(&section.hash), names.size()});
    names.append(section.name.c_str(), section.name.size() + 1);
  }

  moe_weights_header header = {};
  std::memcpy(header.magic, MOE_WEIGHTS_MAGIC, sizeof header.magic);
  header.version = MOE_WEIGHTS_VERSION;
  header.header_size = sizeof header;
  header.data_size = layout.size();
  header.num_sections = table.size();
  header.table_offset =
      alignTo(MOE_WEIGHTS_DATA_OFFSET + layout.size(), MOE_WEIGHTS_ALIGNMENT);
  size_t tableSize = table.size() * sizeof(moe_weights_section);
  header.names_offset = header.table_offset + tableSize;
  header.names_size = names.size();
  header.file_size = header.names_offset + header.names_size;

  moe_hash_state content;
  moe_hash_init(&content);
  moe_hash_update(&content, table.data(), tableSize);
  moe_hash_update(&content, names.data(), names.size());
  header.content_hash = moe_hash_final(&content);
  header.header_hash =
      moe_hash(&header, offsetof(moe_weights_header, header_hash));

  // Also when there are no sections: the file must reach its full size.
  if (::ftruncate(file, static_cast<off_t>(header.file_size)) != 0) {
    error = describe(std::strerror(errno));
    return false;
  }
  if (!writeAt(header.table_offset, table.data(), tableSize, error) ||
      !writeAt(header.names_offset, names.data(), names.size(), error) ||
      !writeAt(0, &header, sizeof header, error))
    return false;

  int closed = ::close(file);
  file = -1;
  if (closed != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
    error = describe(std::strerror(errno));
    return false;
  }
  committed = true;
  identity.size = header.file_size;
  identity.hash = header.content_hash;
  return true;
}
