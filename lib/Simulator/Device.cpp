//===- Device.cpp - A GPU made of software --------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Simulator/Device.h"

#include "Machine.h"

#include <algorithm>

using namespace mlir::moe::sim;

Kernel::Kernel() : program(std::make_unique<Program>()) {}
Kernel::~Kernel() = default;

Kernel *LoadedModule::find(const std::string &name) {
  for (std::unique_ptr<Kernel> &kernel : kernels)
    if (kernel->name == name)
      return kernel.get();
  return nullptr;
}

Device::Device() : memory(std::make_unique<Memory>()) {}
Device::~Device() = default;

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

uint64_t Device::allocate(uint64_t bytes) { return memory->allocate(bytes); }
bool Device::free(uint64_t address) { return memory->free(address); }

void *Device::access(uint64_t address, uint64_t bytes, bool write) {
  Allocation *allocation = memory->find(address);
  if (!allocation)
    return nullptr;
  uint64_t offset = address - allocation->address;
  if (bytes > allocation->size - offset)
    return nullptr;
  if (write)
    std::fill_n(allocation->written.get() + offset, bytes, 1);
  return allocation->data.get() + offset;
}

bool Device::getRange(uint64_t address, uint64_t &base, uint64_t &bytes) const {
  Allocation *allocation = memory->find(address);
  if (!allocation)
    return false;
  base = allocation->address;
  bytes = allocation->size;
  return true;
}

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

/// Gives the module's variables memory and their initial values.
static bool placeVariables(Device &device, LoadedModule &loaded,
                           std::string &error) {
  Module &module = loaded.module;
  for (Symbol &symbol : module.symbols) {
    if (symbol.isFunction ||
        (symbol.space != Space::Global && symbol.space != Space::Const))
      continue;
    uint64_t bytes = std::max<uint64_t>(symbol.size, 1);
    symbol.offset = device.allocate(bytes);
    void *to =
        symbol.offset ? device.access(symbol.offset, bytes, true) : nullptr;
    if (!to) {
      error = module.file + ":" + std::to_string(symbol.line) +
              ": found variable '" + symbol.name + "' of " +
              std::to_string(bytes) + " bytes, expected it to fit in memory";
      return false;
    }
    loaded.allocations.push_back(symbol.offset);
    // What has no initializer is zero.
    std::memset(to, 0, bytes);
    std::memcpy(to, symbol.init.data(),
                std::min<uint64_t>(symbol.init.size(), bytes));
  }
  for (const Symbol &symbol : module.symbols) {
    for (const Symbol::Relocation &relocation : symbol.relocations) {
      const Symbol &target = module.symbols[relocation.symbol];
      uint64_t address = target.offset + relocation.addend;
      if (void *to = device.access(symbol.offset + relocation.at, 8, true))
        std::memcpy(to, &address, 8);
    }
  }
  return true;
}

LoadedModule *Device::load(const std::string &file, const std::string &text,
                           std::string &error) {
  auto loaded = std::make_unique<LoadedModule>();
  auto drop = [&] {
    for (uint64_t address : loaded->allocations)
      memory->free(address);
    return nullptr;
  };
  Module &module = loaded->module;
  if (!parseModule(file, text, module, error) ||
      !placeVariables(*this, *loaded, error))
    return drop();
  for (size_t i = 0; i < module.functions.size(); ++i) {
    if (!module.functions[i].isEntry || !module.functions[i].hasBody)
      continue;
    auto kernel = std::make_unique<Kernel>();
    Function expanded;
    if (!expandCalls(module, module.functions[i], expanded, error))
      return drop();
    kernel->name = expanded.name;
    for (uint32_t param : expanded.params)
      kernel->params.push_back(
          {module.symbols[param].offset, module.symbols[param].size});
    kernel->paramBytes = expanded.paramBytes;
    kernel->staticShared = expanded.sharedBytes;
    if (!decodeProgram(module, std::move(expanded), *kernel->program, error))
      return drop();
    loaded->kernels.push_back(std::move(kernel));
  }
  modules.push_back(std::move(loaded));
  return modules.back().get();
}

void Device::unload(LoadedModule *module) {
  for (size_t i = 0; i < modules.size(); ++i) {
    if (modules[i].get() != module)
      continue;
    for (uint64_t address : module->allocations)
      memory->free(address);
    modules.erase(modules.begin() + static_cast<ptrdiff_t>(i));
    return;
  }
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

static std::string format(const Dim3 &dim) {
  return "(" + std::to_string(dim.x) + "," + std::to_string(dim.y) + "," +
         std::to_string(dim.z) + ")";
}

bool Device::launch(Kernel &kernel, const LaunchConfig &config,
                    const std::vector<uint8_t> &params, LaunchReport &report,
                    std::string &error) {
  const Function &function = kernel.program->function;
  report = LaunchReport();
  auto fail = [&](const std::string &what) {
    error = "kernel '" + kernel.name + "': " + what;
    return false;
  };
  uint64_t threads = config.block.count();
  if (config.block.x > 1024 || config.block.y > 1024 || config.block.z > 64 ||
      threads == 0 || threads > 1024)
    return fail("found a block of " + format(config.block) +
                " threads, expected 1 to 1024");
  if (config.grid.x == 0 || config.grid.y == 0 || config.grid.z == 0 ||
      config.grid.x > INT32_MAX || config.grid.y > 65535 ||
      config.grid.z > 65535 ||
      config.grid.count() > (uint64_t(1) << 27) / ((threads + 31) / 32))
    return fail("found a grid of " + format(config.grid) +
                " blocks, expected at least one and at most 2^27 warps");
  const uint32_t *required = function.requiredThreads;
  if (required[0] &&
      (required[0] != config.block.x || required[1] != config.block.y ||
       required[2] != config.block.z))
    return fail("found a block of " + format(config.block) +
                " threads, expected .reqntid " +
                format({required[0], required[1], required[2]}));
  const uint32_t *most = function.maxThreads;
  if (most[0] && threads > uint64_t(most[0]) * most[1] * most[2])
    return fail("found a block of " + std::to_string(threads) +
                " threads, expected at most .maxntid " +
                format({most[0], most[1], most[2]}));
  if (kernel.staticShared + config.dynamicShared > 227 << 10)
    return fail("found " +
                std::to_string(kernel.staticShared + config.dynamicShared) +
                " bytes of shared memory, expected at most 232448");
  if (config.dynamicShared > kernel.maxDynamicShared)
    return fail("found " + std::to_string(config.dynamicShared) +
                " bytes of dynamic shared memory, expected at most " +
                std::to_string(kernel.maxDynamicShared) +
                " (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)");
  if (params.size() < kernel.paramBytes)
    return fail("found " + std::to_string(params.size()) +
                " bytes of parameters, expected " +
                std::to_string(kernel.paramBytes));
  static uint32_t launches = 0;
  Grid grid(*this, *memory, kernel, config, params, report, ++launches);
  grid.run();
  return true;
}
