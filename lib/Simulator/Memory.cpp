//===- Memory.cpp - Memory and its shadow ---------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>

using namespace mlir::moe::sim;

Cell *Allocation::getCell(uint64_t offset, uint32_t launch) {
  Page &page = pages[offset / pageBytes];
  if (!page.cells)
    page.cells.reset(new Cell[pageBytes]);
  else if (page.launch != launch)
    std::fill(page.cells.get(), page.cells.get() + pageBytes, Cell());
  page.launch = launch;
  return &page.cells[offset % pageBytes];
}

uint64_t Memory::allocate(uint64_t bytes) {
  if (bytes == 0 || bytes > uint64_t(1) << 38)
    return 0;
  Allocation allocation;
  allocation.address = next;
  allocation.size = bytes;
  allocation.data.reset(new (std::nothrow) uint8_t[bytes]);
  allocation.written.reset(new (std::nothrow) uint8_t[bytes]());
  if (!allocation.data || !allocation.written)
    return 0;
  // Not zero, so that results cannot depend on what was never written.
  std::fill(allocation.data.get(), allocation.data.get() + bytes, 0xcd);
  allocation.pages.resize((bytes + Allocation::pageBytes - 1) /
                          Allocation::pageBytes);
  uint64_t address = next;
  next += (bytes + 4096 + 511) / 512 * 512;
  allocations.emplace(address, std::move(allocation));
  return address;
}

bool Memory::free(uint64_t address) {
  last = nullptr;
  return allocations.erase(address) != 0;
}

Allocation *Memory::find(uint64_t address) {
  if (last && address - last->address < last->size)
    return last;
  auto it = allocations.upper_bound(address);
  if (it == allocations.begin())
    return nullptr;
  --it;
  if (address - it->second.address >= it->second.size)
    return nullptr;
  return last = &it->second;
}

const Allocation *Memory::below(uint64_t address) const {
  auto it = allocations.upper_bound(address);
  return it == allocations.begin() ? nullptr : &std::prev(it)->second;
}
