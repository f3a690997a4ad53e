//===- PackWeights.cpp - Writes a module's weights ------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One task per section, taken in order by a few threads; within a task a buffer
// of a few MB is filled and written, again and again, so that no weight is ever
// in memory as a whole.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Weights/PackWeights.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "moe/Dialect/Grouped/IR/Grouped.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Target/Weights/Quantize.h"
#include "moe/Target/Weights/WeightFile.h"
#include "moe/Target/Weights/WeightSources.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/DebugLog.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Signals.h"

#include <atomic>
#include <cmath>
#include <mutex>
#include <thread>

#define DEBUG_TYPE "moe-pack-weights"

using namespace mlir;
using namespace mlir::moe;

/// Fits the second-level caches of today's CPUs together with what is read.
static constexpr int64_t kChunkBytes = 1 << 20;
/// So many `k` of neighbouring panels are packed before the next ones: a page
/// of each source row then serves all of its panels.
static constexpr int64_t kDepthBlock = 32;

namespace {
/// What a section is made of: a tensor in files, possibly rounded on the way.
struct Source {
  WeightBytes bytes;
  QuantizedWeightOp quantized; // null for a tensor as it is
  double squaredError = 0, squaredSum = 0;
};

/// What becomes one section: a tensor as it is, or panels of several.
struct Section {
  Operation *symbol;
  uint64_t offset, size;
  SmallVector<Source, 2> sources;
  unsigned index = 0;
};

/// Rounds the columns of a chunk of panels, and keeps the results of one part.
class PartQuantizer {
public:
  PartQuantizer(Source &source, QuantizationScheme scheme, FloatKind floats,
                int64_t depth)
      : source(source),
        quantizer(scheme, floats, depth,
                  source.quantized.getPart() == QuantizedPart::Integers) {}
  ~PartQuantizer() {
    source.squaredError += quantizer.getSquaredError();
    source.squaredSum += quantizer.getSquaredSum();
  }

  void beginChunk(int64_t maxColumns) {
    used = 0;
    results.resize(maxColumns * part().size());
  }
  /// Puts results that are `stride` apart, of bits or bytes as for any other
  /// source, in the place of the floats.
  bool replace(PanelColumn &column, int64_t stride, std::string &error) {
    if (!quantizer.run(column, error)) {
      error = "weight '" + source.quantized.getSource().str() + "': " + error +
              " for quantization";
      return false;
    }
    uint8_t *out = results.data() + used;
    llvm::copy(part(), out);
    used += part().size();
    column = {out, stride};
    return true;
  }

private:
  ArrayRef<uint8_t> part() const {
    switch (source.quantized.getPart()) {
    case QuantizedPart::Integers:
      return quantizer.getIntegers();
    case QuantizedPart::Scales:
      return quantizer.getScales();
    case QuantizedPart::ZeroPoints:
      return quantizer.getZeroPoints();
    }
    llvm_unreachable("all parts are handled");
  }

  Source &source;
  ColumnQuantizer quantizer;
  std::vector<uint8_t> results;
  size_t used = 0;
};

/// Copies of columns that do not lie at one stride.
class ColumnGatherer {
public:
  void beginChunk(int64_t maxColumns, const StridedBytes &leaf) {
    bits = leaf.elementBits < 8 ? leaf.elementBits : 8 * leaf.elementSize;
    bytes = llvm::divideCeil(leaf.dims().back() * bits, 8);
    used = 0;
    results.assign(maxColumns * bytes, 0);
  }
  PanelColumn gather(const StridedBytes &leaf, ArrayRef<int64_t> index) {
    uint8_t *out = results.data() + used;
    used += bytes;
    gatherRow(leaf, index, out);
    return {out, bits < 8 ? bits : bits / 8};
  }

private:
  std::vector<uint8_t> results;
  int64_t bits = 0, bytes = 0, used = 0;
};

class Packer {
public:
  Packer(WeightFileWriter &writer, const PackOptions &options,
         MutableArrayRef<Section> sections)
      : writer(writer), options(options), sections(sections) {
    for (const Section &section : sections)
      total += section.size;
  }

  /// False with `error` when a write failed.
  bool run(std::string &error);

private:
  bool pack(Section &section, std::string &error);
  bool copy(const Section &section, std::string &error);
  bool copyScaled(const Section &section, const StridedBytes &tensor,
                  const BlockScaledMatrix &scaled, std::string &error);
  bool packPanels(Section &section, std::string &error);
  bool append(const Section &section, const void *data, int64_t size,
              std::string &error);

  WeightFileWriter &writer;
  const PackOptions &options;
  MutableArrayRef<Section> sections;
  uint64_t total = 0, done = 0;
  std::atomic<size_t> next{0};
  std::mutex mutex; // of `done` and `progress`
};
} // namespace

bool Packer::append(const Section &section, const void *data, int64_t size,
                    std::string &error) {
  if (!writer.append(section.index, data, static_cast<size_t>(size), error))
    return false;
  std::lock_guard<std::mutex> lock(mutex);
  done += static_cast<uint64_t>(size);
  if (options.progress)
    options.progress(done, total);
  return true;
}

bool Packer::copyScaled(const Section &section, const StridedBytes &tensor,
                        const BlockScaledMatrix &scaled, std::string &error) {
  if (tensor.getNumElements() == 0)
    return true;
  size_t rank = tensor.shape.size();
  int64_t count = rank ? tensor.shape.back() : 1;
  std::vector<uint8_t> row(count * byteSize(scaled.result));
  SmallVector<int64_t> index(std::max<size_t>(rank, 1) - 1, 0);
  PanelColumn column{tensor.data, rank ? tensor.strides.back() : 0};
  while (true) {
    scaled.read(column, count, row.data());
    if (!append(section, row.data(), static_cast<int64_t>(row.size()), error))
      return false;
    // The next row.
    size_t i = index.size();
    while (i > 0) {
      --i;
      column.data += tensor.strides[i];
      if (++index[i] < tensor.shape[i])
        break;
      column.data -= index[i] * tensor.strides[i];
      index[i] = 0;
      if (i == 0)
        return true;
    }
    if (index.empty())
      return true;
  }
}

bool Packer::copy(const Section &section, std::string &error) {
  std::vector<uint8_t> buffer;
  const WeightBytes &bytes = section.sources.front().bytes;
  for (auto [i, leaf] : llvm::enumerate(bytes.leaves)) {
    if (const BlockScaledMatrix *scaled = bytes.scalesOf(i)) {
      if (!copyScaled(section, leaf, *scaled, error))
        return false;
      WeightSources::release(leaf);
      continue;
    }
    StridedBytes tensor = leaf.canonical();
    int64_t count = tensor.getNumElements(), size = tensor.elementSize;
    int64_t chunk = std::max<int64_t>(kChunkBytes / size, 1);
    // Whole rows, for transposed matrices to be read along their memory.
    if (!tensor.shape.empty() && tensor.shape.back() > 0 &&
        tensor.shape.back() < chunk)
      chunk -= chunk % tensor.shape.back();
    bool contiguous = tensor.isContiguous();
    if (!contiguous)
      buffer.resize(std::min(chunk, count) * size);
    for (int64_t begin = 0; begin < count; begin += chunk) {
      int64_t end = std::min(begin + chunk, count);
      const uint8_t *data = tensor.data + begin * size;
      if (!contiguous) {
        gatherElements(tensor, begin, end, buffer.data());
        data = buffer.data();
      }
      if (!append(section, data, (end - begin) * size, error))
        return false;
    }
    WeightSources::release(leaf);
  }
  return true;
}

/// Column `n` of expert `e` of a weight [E, N, K], and the matrix of scaled
/// floats that it lies in, if it does.
static std::pair<PanelColumn, const BlockScaledMatrix *>
findColumn(const WeightBytes &weight, int64_t rows, int64_t e, int64_t n,
           ColumnGatherer &gatherer) {
  // A stack has its slices of rank 2 (experts) or 1 (columns) as leaves.
  auto columnAt = [&](size_t index, int64_t offset) {
    const StridedBytes &leaf = weight.leaves[index];
    const BlockScaledMatrix *scaled = weight.scalesOf(index);
    int64_t stride = leaf.strides.back();
    if (leaf.elementBits >= 8)
      return std::pair(PanelColumn{leaf.data + offset, stride}, scaled);
    offset += leaf.bitOffset;
    return std::pair(PanelColumn{leaf.data + offset / 8, stride, offset % 8},
                     scaled);
  };
  size_t rank = weight.leaves.front().dims().size();
  size_t at = rank == 3 ? 0 : (rank == 2 ? e : e * rows + n);
  const StridedBytes &leaf = weight.leaves[at];
  int64_t index[] = {e, n};
  if (leaf.needsGather())
    return {gatherer.gather(leaf, ArrayRef(index).drop_front(3 - rank)),
            nullptr};
  if (rank == 3)
    return columnAt(at, e * leaf.strides[0] + n * leaf.strides[1]);
  return columnAt(at, rank == 2 ? n * leaf.strides[0] : 0);
}

/// Null for a source that stays as it is.
static std::unique_ptr<PartQuantizer> makeQuantizer(Source &source) {
  QuantizedWeightOp op = source.quantized;
  if (!op)
    return nullptr;
  RankedTensorType floats =
      SymbolTable::lookupNearestSymbolFrom<WeightSymbolOpInterface>(
          op, op.getSourceAttr())
          .getWeightType();
  QuantizationScheme scheme;
  scheme.bits = op.getBits();
  scheme.blockSize = op.getBlockSize();
  scheme.scale = floatKind(op.getScaleType());
  scheme.asymmetric = op.getAsymmetric();
  return std::make_unique<PartQuantizer>(
      source, scheme, floatKind(floats.getElementType()), floats.getDimSize(2));
}

bool Packer::packPanels(Section &section, std::string &error) {
  auto packed = cast<grouped::PackedWeightOp>(section.symbol);
  RankedTensorType panels = packed.getWeightType();
  auto source = SymbolTable::lookupNearestSymbolFrom<WeightSymbolOpInterface>(
                    packed, cast<FlatSymbolRefAttr>(packed.getSources()[0]))
                    .getWeightType();
  int64_t experts = source.getDimSize(0), columns = source.getDimSize(1),
          depth = source.getDimSize(2);
  int64_t bits = source.getElementTypeBitWidth();
  bool isQuantized = source.getElementType().isInteger();
  int64_t numWeights = static_cast<int64_t>(section.sources.size());
  int64_t numPanels = panels.getDimSize(1);
  int64_t interleave = grouped::interleaveOf(panels);
  int64_t size = panels.getElementTypeBitWidth() / 8;
  int64_t panelBytes = panels.getDimSize(2) * panels.getDimSize(3) * size;
  bool gathersBits =
      isQuantized && size > 1 &&
      section.sources.front().bytes.leaves.front().elementBits < 8;
  if (isQuantized && size > 1) { // words, as so many bytes side by side
    depth = llvm::divideCeilSigned(depth * bits, 8);
    interleave *= size;
    size = 1;
  }
  bool expandsBits = isQuantized && size == 1 && interleave == 1 && bits < 8;
  int64_t rowBytes = grouped::kPanelColumns * size;
  if (panelBytes == 0)
    return true;
  // Whole multiples of the number of weights, so that a group of panels reads
  // the same columns of each.
  int64_t group = std::max<int64_t>(kChunkBytes / panelBytes, 1);
  group = std::max(group / numWeights * numWeights, numWeights);
  group = std::min(group, std::max<int64_t>(numPanels, 1));
  std::vector<uint8_t> buffer(group * panelBytes);
  SmallVector<PanelColumn> all(group * grouped::kPanelColumns);
  int64_t floatBytes = 0; // of a column of floats that were scaled
  for (const Source &source : section.sources)
    if (!source.bytes.scaled.empty())
      floatBytes =
          source.bytes.leaves.front().shape.back() * byteSize(FloatKind::F32);
  std::vector<uint8_t> floats(group * grouped::kPanelColumns * floatBytes);
  SmallVector<ColumnGatherer> gatherers(section.sources.size());
  SmallVector<std::unique_ptr<PartQuantizer>> quantizers;
  for (Source &source : section.sources)
    quantizers.push_back(makeQuantizer(source));
  int64_t stride = expandsBits ? bits : size; // of rounded columns

  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t p0 = 0; p0 < numPanels; p0 += group) {
      int64_t p1 = std::min(p0 + group, numPanels);
      bool alongColumns = true;
      for (auto [gatherer, source] : llvm::zip(gatherers, section.sources))
        if (llvm::any_of(source.bytes.leaves, [](const StridedBytes &leaf) {
              return leaf.needsGather();
            }))
          gatherer.beginChunk(group * grouped::kPanelColumns,
                              source.bytes.leaves.front());
      for (std::unique_ptr<PartQuantizer> &quantizer : quantizers)
        if (quantizer)
          quantizer->beginChunk(group * grouped::kPanelColumns);
      for (int64_t p = p0; p < p1; ++p)
        for (int64_t c = 0; c < grouped::kPanelColumns; ++c) {
          int64_t n = p / numWeights * grouped::kPanelColumns + c;
          PanelColumn &column = all[(p - p0) * grouped::kPanelColumns + c];
          column = PanelColumn();
          if (n < columns) {
            const WeightBytes &bytes = section.sources[p % numWeights].bytes;
            const BlockScaledMatrix *scaled;
            std::tie(column, scaled) =
                findColumn(bytes, columns, e, n, gatherers[p % numWeights]);
            if (scaled) {
              uint8_t *out =
                  floats.data() +
                  ((p - p0) * grouped::kPanelColumns + c) * floatBytes;
              scaled->read(column, bytes.leaves.front().shape.back(), out);
              column = {out, byteSize(scaled->result)};
            }
          }
          PartQuantizer *quantizer = quantizers[p % numWeights].get();
          if (quantizer && column.data &&
              !quantizer->replace(column, stride, error))
            return false;
          alongColumns &= !column.data || column.stride == size;
        }
      // Columns are read to their end before the next panel's; rows only so far
      // as they stay in the cache for the neighbouring panels.
      bool whole = alongColumns || expandsBits || gathersBits;
      int64_t block = whole ? depth : kDepthBlock;
      for (int64_t k = 0; k < depth; k += block)
        for (int64_t p = p0; p < p1; ++p) {
          PanelColumn columnsAtK[grouped::kPanelColumns];
          for (int64_t c = 0; c < grouped::kPanelColumns; ++c) {
            columnsAtK[c] = all[(p - p0) * grouped::kPanelColumns + c];
            if (columnsAtK[c].data)
              columnsAtK[c].data += k * columnsAtK[c].stride;
          }
          uint8_t *out = buffer.data() + (p - p0) * panelBytes + k * rowBytes;
          if (expandsBits)
            packBytes(columnsAtK, depth, bits, out);
          else if (gathersBits)
            packWords(columnsAtK, source.getDimSize(2), bits, out);
          else
            packPanel(columnsAtK, std::min(block, depth - k), size, interleave,
                      out);
        }
      if (!append(section, buffer.data(), (p1 - p0) * panelBytes, error))
        return false;
    }
    for (const Source &source : section.sources) {
      const WeightBytes &weight = source.bytes;
      StridedBytes slice = weight.leaves.front();
      size_t rank = slice.dims().size();
      if (rank == 3 && slice.needsGather()) {
        if (e + 1 != experts)
          continue;
      } else if (rank == 3) {
        slice.data += e * slice.strides[0] / (slice.elementBits < 8 ? 8 : 1);
        slice.shape[0] = 1;
      } else if (rank == 2) {
        slice = weight.leaves[e];
      }
      WeightSources::release(slice);
    }
  }
  return true;
}

bool Packer::pack(Section &section, std::string &error) {
  LDBG() << "section " << section.offset << ": " << section.size << " bytes";
  return isa<grouped::PackedWeightOp>(section.symbol)
             ? packPanels(section, error)
             : copy(section, error);
}

bool Packer::run(std::string &error) {
  unsigned threads = options.threads;
  if (threads == 0)
    threads = std::clamp(std::thread::hardware_concurrency(), 1u, 4u);
  std::atomic<bool> failed{false};
  auto work = [&] {
    for (size_t i = next++; i < sections.size() && !failed; i = next++) {
      std::string mine;
      if (pack(sections[i], mine))
        continue;
      std::lock_guard<std::mutex> lock(mutex);
      if (!failed.exchange(true))
        error = mine;
    }
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < threads && i < sections.size(); ++i)
    helpers.emplace_back(work);
  work();
  for (std::thread &helper : helpers)
    helper.join();
  return !failed;
}

//===----------------------------------------------------------------------===//
// The module
//===----------------------------------------------------------------------===//

static IntegerAttr sectionOf(Operation &op) {
  return isa<WeightSymbolOpInterface>(op)
             ? op.getAttrOfType<IntegerAttr>("section")
             : IntegerAttr();
}

bool moe::hasWeightSections(ModuleOp module) {
  return llvm::any_of(*module.getBody(), sectionOf);
}

/// The sources of a section as bytes, if all of them lie so.
static void useBytes(Section &section) {
  auto whole = section.sources;
  for (Source &source : whole)
    for (StridedBytes &leaf : source.bytes.leaves) {
      std::optional<StridedBytes> bytes = leaf.asBytes();
      if (!bytes)
        return;
      leaf = *bytes;
    }
  section.sources = std::move(whole);
}

/// One section per distinct offset, in the order of the file.
static LogicalResult collectSections(ModuleOp module, WeightSources &sources,
                                     std::vector<Section> &sections) {
  for (Operation &op : *module.getBody()) {
    IntegerAttr offset = sectionOf(op);
    if (!offset)
      continue;
    RankedTensorType type = cast<WeightSymbolOpInterface>(op).getWeightType();
    int64_t bits = type.getElementTypeBitWidth();
    Section section{
        &op,
        static_cast<uint64_t>(offset.getInt()),
        llvm::divideCeil(static_cast<uint64_t>(type.getNumElements()) *
                             (bits == 1 ? 8 : bits),
                         8),
        {}};
    auto packed = dyn_cast<grouped::PackedWeightOp>(op);
    auto resolve = [&](Operation *symbol) -> LogicalResult {
      auto quantized = dyn_cast<QuantizedWeightOp>(symbol);
      if (quantized && !packed)
        return symbol->emitOpError("expects to be used in panels only");
      if (quantized)
        symbol = sources.lookup(quantized.getSourceAttr());
      FailureOr<WeightBytes> bytes = sources.resolve(symbol);
      if (failed(bytes))
        return failure();
      // Only panels are made of single bits.
      if (!packed)
        for (StridedBytes &leaf : bytes->leaves) {
          if (leaf.increment != 0)
            return symbol->emitOpError("expects to be used in panels only");
          std::optional<StridedBytes> whole = leaf.asContiguousBytes();
          if (!whole)
            return symbol->emitOpError("expects elements of ")
                   << leaf.elementBits << " bits to lie side by side";
          leaf = *whole;
        }
      section.sources.push_back({*bytes, quantized});
      return success();
    };
    if (packed) {
      for (Attribute ref : packed.getSources())
        if (failed(resolve(sources.lookup(ref))))
          return failure();
    } else if (failed(resolve(&op))) {
      return failure();
    }
    // Bits in the order of the panel's words are packed as bytes.
    if (packed && !type.getElementType().isInteger(8))
      useBytes(section);
    sections.push_back(std::move(section));
  }
  llvm::sort(sections, [](const Section &a, const Section &b) {
    return std::pair(a.offset, a.size) < std::pair(b.offset, b.size);
  });
  // Symbols of equal content share a section, of which the first one is kept.
  sections.erase(llvm::unique(sections,
                              [](const Section &a, const Section &b) {
                                return a.offset == b.offset && a.size == b.size;
                              }),
                 sections.end());
  return success();
}

LogicalResult moe::packWeights(ModuleOp module, StringRef path,
                               const PackOptions &options,
                               WeightFileIdentity &identity) {
  WeightSources sources(module, options.source, options.checkpoint);
  std::vector<Section> sections;
  if (failed(collectSections(module, sources, sections)))
    return failure();
  std::string error;
  std::unique_ptr<WeightFileWriter> writer =
      WeightFileWriter::create(path.str(), error);
  if (!writer)
    return emitError(UnknownLoc::get(module.getContext())) << error;
  // The writer removes it on every other way out.
  std::string temporary = writer->getTemporaryPath();
  llvm::sys::RemoveFileOnSignal(temporary);
  llvm::scope_exit done([&] { llvm::sys::DontRemoveFileOnSignal(temporary); });
  for (Section &section : sections) {
    section.index = writer->addSection(
        SymbolTable::getSymbolName(section.symbol).str(), section.size);
    if (writer->getOffset(section.index) != section.offset)
      return section.symbol->emitOpError("expects section ")
             << writer->getOffset(section.index) << ", got " << section.offset
             << "; was 'moe-assign-weight-sections' run?";
  }
  if (!Packer(*writer, options, sections).run(error) ||
      !writer->commit(identity, error))
    return emitError(UnknownLoc::get(module.getContext())) << error;
  if (options.quantized)
    for (Section &section : sections)
      for (Source &source : section.sources)
        if (source.quantized &&
            source.quantized.getPart() == QuantizedPart::Integers)
          options.quantized(
              source.quantized,
              source.squaredSum > 0
                  ? std::sqrt(source.squaredError / source.squaredSum)
                  : 0);
  return success();
}
