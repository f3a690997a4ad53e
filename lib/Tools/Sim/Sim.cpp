//===- Sim.cpp - Kernels from the command line ----------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Sim/Sim.h"
#include "moe/Tools/Run/Files.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace mlir::moe;
using namespace mlir::moe::sim;

const char *const mlir::moe::simUsage =
    R"(usage: moe-sim FILE.ptx [options] [argument...]

Executes a kernel of a PTX file on the CPU and reports its defects: races,
copies not waited for, wrong addresses, uninitialized data, deadlocks.

options:
  --list             list the kernels, with their parameters, and exit
  --kernel=NAME      the kernel to run (default: the only one)
  --grid=X[,Y[,Z]]   blocks (default 1)
  --block=X[,Y[,Z]]  threads of a block (default 32)
  --shared=BYTES     dynamic shared memory (default 0)
  --counters         print what each instruction did
  --ignore=KIND      do not report race, unwaited-copy, misaligned,
                     out-of-bounds, uninitialized, barrier, deadlock,
                     proxy-fence or trap; may be repeated
  --limit=N          stop after N warp instructions
  --help             print this

arguments, one per parameter of the kernel:
  in:FILE.npy                a buffer with the elements of a file
  inout:FILE.npy[=OUT.npy]   the same, and written or printed afterwards
  out:TYPE[SIZES][=OUT.npy]  an uninitialized buffer, written or printed
  zero:TYPE[SIZES][=OUT.npy] the same, filled with zeros
  TYPE:VALUE                 a scalar
TYPE is f16, bf16, f32, f64, i8 to i64, or u8 to u64; scalars have no f16, bf16.
Example: moe-sim add.ptx --grid=4 --block=256 in:a.npy in:b.npy out:f32[1000] i32:1000

Exit status: 0, or 1 after an error or a finding. See docs/Simulator.md.
)";

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

static bool parseNumber(const std::string &text, uint64_t limit,
                        uint64_t &value) {
  if (text.empty() || text.size() > 19 ||
      text.find_first_not_of("0123456789") != std::string::npos)
    return false;
  value = std::strtoull(text.c_str(), nullptr, 10);
  return value <= limit;
}

static bool parseDim(const std::string &text, Dim3 &dim) {
  uint32_t *parts[] = {&dim.x, &dim.y, &dim.z};
  size_t at = 0;
  for (uint32_t *part : parts) {
    size_t comma = text.find(',', at);
    uint64_t value;
    if (!parseNumber(text.substr(at, comma - at), UINT32_MAX, value) ||
        value == 0)
      return false;
    *part = static_cast<uint32_t>(value);
    if (comma == std::string::npos)
      return true;
    at = comma + 1;
  }
  return false;
}

bool mlir::moe::parseSimOptions(int argc, char **argv, SimOptions &options,
                                bool &help, std::string &error) {
  help = false;
  options.config.block = {32, 1, 1};
  for (int i = 1; i < argc; ++i) {
    std::string text = argv[i];
    if (text == "--help" || text == "-h") {
      help = true;
      return true;
    }
    if (text.compare(0, 2, "--") != 0) {
      if (options.file.empty())
        options.file = text;
      else
        options.arguments.push_back(text);
      continue;
    }
    size_t equals = text.find('=');
    std::string name = text.substr(2, equals - 2), value;
    if (equals != std::string::npos)
      value = text.substr(equals + 1);
    bool ok = true;
    uint64_t number = 0;
    if (text == "--list") {
      options.list = true;
    } else if (text == "--counters") {
      options.counters = true;
    } else if (name == "kernel" && !value.empty()) {
      options.kernel = value;
    } else if (name == "grid") {
      ok = parseDim(value, options.config.grid);
    } else if (name == "block") {
      ok = parseDim(value, options.config.block);
    } else if (name == "shared") {
      ok = parseNumber(value, 1 << 20, number);
      options.config.dynamicShared = number;
    } else if (name == "limit") {
      ok = parseNumber(value, UINT32_MAX - 64, number);
      options.device.maxInstructions = number;
    } else if (name == "ignore") {
      ok = false;
      for (unsigned k = 0; k < static_cast<unsigned>(Finding::Kind::Limit);
           ++k) {
        if (value != getKindName(static_cast<Finding::Kind>(k)))
          continue;
        options.device.ignoredKinds |= 1u << k;
        ok = true;
      }
    } else {
      error = "unknown option '" + text + "'; see --help";
      return false;
    }
    if (!ok) {
      error = "found '" + text + "', expected what --help says";
      return false;
    }
  }
  if (options.file.empty()) {
    error = "expected a PTX file; see --help";
    return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

namespace {
struct Argument {
  std::vector<uint8_t> bits; ///< as the kernel sees it
  bool isBuffer = false, isOutput = false;
  uint64_t address = 0;
  Array array;
  std::string path;
};
} // namespace

static bool findType(const std::string &name, moe_dtype &dtype) {
  for (int type = 0; type < 64; ++type) {
    if (name == getDTypeName(static_cast<moe_dtype>(type)) && name != "bool") {
      dtype = static_cast<moe_dtype>(type);
      return true;
    }
  }
  return false;
}

static bool parseScalar(const std::string &type, const std::string &value,
                        Argument &argument) {
  moe_dtype dtype;
  if (value.empty() || !findType(type, dtype) || type == "f16" ||
      type == "bf16")
    return false;
  size_t bytes = static_cast<size_t>(moe_dtype_bytes(dtype));
  char *end = nullptr;
  argument.bits.resize(bytes);
  if (type[0] == 'f') {
    double number = std::strtod(value.c_str(), &end);
    float single = static_cast<float>(number);
    std::memcpy(argument.bits.data(),
                bytes == 8 ? static_cast<const void *>(&number) : &single,
                bytes);
  } else {
    int64_t number =
        type[0] == 'u'
            ? static_cast<int64_t>(std::strtoull(value.c_str(), &end, 0))
            : std::strtoll(value.c_str(), &end, 0);
    std::memcpy(argument.bits.data(), &number, bytes);
  }
  return *end == '\0';
}

/// TYPE[SIZES]
static bool parseBufferType(const std::string &text, Array &array) {
  size_t open = text.find('[');
  if (open == std::string::npos || text.back() != ']' ||
      !findType(text.substr(0, open), array.dtype))
    return false;
  std::string sizes = text.substr(open + 1, text.size() - open - 2);
  uint64_t elements = 1;
  for (size_t at = 0; !sizes.empty() && at != std::string::npos;) {
    size_t comma = sizes.find(',', at);
    uint64_t size;
    if (!parseNumber(sizes.substr(at, comma - at), uint64_t(1) << 36, size) ||
        __builtin_mul_overflow(elements, size, &elements))
      return false;
    array.shape.push_back(static_cast<int64_t>(size));
    at = comma == std::string::npos ? comma : comma + 1;
  }
  return elements <= uint64_t(1) << 36 &&
         array.data.allocate(
             elements * static_cast<uint64_t>(moe_dtype_bytes(array.dtype)));
}

static bool parseArgument(Device &device, const std::string &text,
                          Argument &argument, std::string &error) {
  size_t colon = text.find(':');
  std::string kind = text.substr(0, colon);
  std::string value = colon == std::string::npos ? "" : text.substr(colon + 1);
  bool isFile = kind == "in" || kind == "inout";
  bool isNew = kind == "out" || kind == "zero";
  if (!isFile && !isNew) {
    if (parseScalar(kind, value, argument))
      return true;
    error = "found argument '" + text +
            "', expected in:, inout:, out:, "
            "zero: or TYPE:VALUE; see --help";
    return false;
  }
  argument.isBuffer = true;
  argument.isOutput = kind != "in";
  size_t equals = value.find('=');
  if (argument.isOutput && equals != std::string::npos) {
    argument.path = value.substr(equals + 1);
    value.resize(equals);
  }
  Array &array = argument.array;
  if (isFile && !readNpy(value, array, error))
    return false;
  if (isNew && !parseBufferType(value, array)) {
    error = "found argument '" + text + "', expected " + kind +
            ":TYPE[SIZES] with sizes that fit in memory";
    return false;
  }
  uint64_t bytes = array.data.size();
  argument.address = device.allocate(std::max<uint64_t>(bytes, 1));
  if (!argument.address) {
    error = "out of memory for argument '" + text + "'";
    return false;
  }
  if (isFile && bytes)
    std::memcpy(device.access(argument.address, bytes, true), array.data.data(),
                bytes);
  if (kind == "zero" && bytes)
    std::memset(device.access(argument.address, bytes, true), 0, bytes);
  argument.bits.resize(8);
  std::memcpy(argument.bits.data(), &argument.address, 8);
  return true;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

static std::string printElement(const Array &array, uint64_t index) {
  size_t bytes = static_cast<size_t>(moe_dtype_bytes(array.dtype));
  uint64_t bits = 0;
  std::memcpy(&bits, array.data.data() + index * bytes, bytes);
  std::string type = getDTypeName(array.dtype);
  char text[64];
  if (type == "f64")
    std::snprintf(text, sizeof text, "%.17g", asDouble(bits));
  else if (type == "f32")
    std::snprintf(text, sizeof text, "%.9g", asFloat(bits));
  else if (type == "f16" || type == "bf16")
    std::snprintf(text, sizeof text, "%g",
                  decodeFloat(static_cast<uint32_t>(bits),
                              type == "f16" ? Type::F16 : Type::BF16));
  else if (type[0] == 'u' || type == "bool")
    std::snprintf(text, sizeof text, "%" PRIu64, bits);
  else
    std::snprintf(text, sizeof text, "%" PRId64,
                  static_cast<int64_t>(bits << (64 - 8 * bytes)) >>
                      (64 - 8 * bytes));
  return text;
}

static void print(size_t number, const Array &array) {
  int64_t elements = 1;
  for (int64_t size : array.shape)
    elements *= size;
  std::printf(
      "argument %zu: %s%s:", number, getDTypeName(array.dtype),
      formatShape(static_cast<int32_t>(array.shape.size()), array.shape.data())
          .c_str());
  constexpr int64_t most = 16;
  for (int64_t i = 0; i < std::min(elements, most); ++i)
    std::printf(" %s", printElement(array, static_cast<uint64_t>(i)).c_str());
  std::printf(elements > most ? " ...\n" : "\n");
}

static bool writeOutputs(Device &device, std::vector<Argument> &arguments,
                         std::string &error) {
  OutputFiles files;
  for (size_t i = 0; i < arguments.size(); ++i) {
    Argument &argument = arguments[i];
    if (!argument.isOutput)
      continue;
    uint64_t bytes = argument.array.data.size();
    if (bytes)
      std::memcpy(argument.array.data.data(),
                  device.access(argument.address, bytes, false), bytes);
    if (argument.path.empty())
      print(i, argument.array);
    else if (!files.addNpy(argument.path, argument.array.tensor(), error))
      return false;
  }
  return files.commit(error);
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

static int fail(const std::string &error) {
  std::fprintf(stderr, "moe-sim: error: %s\n", error.c_str());
  return 1;
}

static void list(const LoadedModule &module) {
  for (const std::unique_ptr<Kernel> &kernel : module.kernels) {
    std::printf("%s: parameters of", kernel->name.c_str());
    for (auto &[offset, bytes] : kernel->params)
      std::printf(" %" PRIu64, bytes);
    std::printf(" bytes, %" PRIu64 " bytes of static shared memory\n",
                kernel->staticShared);
  }
}

static Kernel *choose(LoadedModule &module, const std::string &name,
                      std::string &error) {
  std::string names;
  for (const std::unique_ptr<Kernel> &kernel : module.kernels) {
    if (kernel->name == name || (name.empty() && module.kernels.size() == 1))
      return kernel.get();
    names += (names.empty() ? "" : ", ") + kernel->name;
  }
  error = (name.empty() ? "expected --kernel=NAME"
                        : "found --kernel=" + name + ", expected one") +
          " of " + (names.empty() ? "a file with kernels" : names);
  return nullptr;
}

int mlir::moe::runSim(const SimOptions &options) {
  Buffer text;
  std::string error;
  if (!readFile(options.file, text, error))
    return fail(error);
  Device device;
  device.options = options.device;
  LoadedModule *module =
      device.load(options.file, std::string(text.data(), text.size()), error);
  if (!module)
    return fail(error);
  if (options.list) {
    list(*module);
    return 0;
  }
  Kernel *kernel = choose(*module, options.kernel, error);
  if (!kernel)
    return fail(error);
  // The command line is the host that would have allowed it.
  kernel->maxDynamicShared = options.config.dynamicShared;
  if (options.arguments.size() != kernel->params.size())
    return fail("found " + std::to_string(options.arguments.size()) +
                " arguments, expected the " +
                std::to_string(kernel->params.size()) + " of kernel '" +
                kernel->name + "'");
  std::vector<Argument> arguments(options.arguments.size());
  std::vector<uint8_t> params(kernel->paramBytes);
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!parseArgument(device, options.arguments[i], arguments[i], error))
      return fail(error);
    auto [offset, bytes] = kernel->params[i];
    if (arguments[i].bits.size() != bytes)
      return fail("found argument '" + options.arguments[i] + "' of " +
                  std::to_string(arguments[i].bits.size()) +
                  " bytes, expected " + std::to_string(bytes));
    std::copy(arguments[i].bits.begin(), arguments[i].bits.end(),
              params.begin() + static_cast<ptrdiff_t>(offset));
  }
  LaunchReport report;
  if (!device.launch(*kernel, options.config, params, report, error))
    return fail(error);
  for (const Finding &finding : report.findings)
    std::fprintf(stderr, "%s\n", finding.format().c_str());
  if (!writeOutputs(device, arguments, error))
    return fail(error);
  if (options.counters)
    std::fputs(formatCounters(*kernel, report).c_str(), stdout);
  return report.findings.empty() ? 0 : 1;
}
