//===- MatmulToGPU.cpp - grouped products on tensor cores -----------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One block computes tiles of rows of one group by panels of 16 columns. It
// keeps its panels and walks over the tiles of rows of all groups, whose list
// is never written: a warp finds tile t in the offsets by a prefix sum.
//
//   shared memory, per stage    rows [rows][depthBytes], then
//                               panels [panels][depthBytes / 16][16
//                               columns][16]
//
// A *step* is `depthBytes` of k. Copies of `stages - 1` steps are under way
// while one is multiplied. Rows are gathered by index, 16 bytes per thread; the
// 16-byte chunks of a row are exchanged by the number of the row, so that eight
// rows of a fragment lie in different banks. Panels are copied as they are:
// eight columns of a chunk are 128 consecutive bytes, which is what ldmatrix
// reads at a time.
//
// The panels of a gated product alternate between gate and up, so that a thread
// has the accumulators of both for its elements, and the epilogue runs in
// registers.
//
// f32 runs as three products of tf32 (high and low parts; low times low is
// below the last place), so that the result is f32's.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/RegionUtils.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Target/GPU/TileModel.h"

#include "Kernels.h"

#include <numeric>

using namespace mlir;
using namespace mlir::grouped;
using mlir::moe::GPUProduct;
using mlir::moe::GPUTile;

/// A fragment of mma.sync: 16 rows by 8 columns by 32 bytes of k.
static constexpr int64_t kFragmentRows = 16, kFragmentColumns = 8,
                         kFragmentBytes = 32;
/// 16 columns of a chunk of k.
static constexpr int64_t kPanelChunkBytes = kPanelColumns * kChunkBytes;

namespace {
/// Where the operands are among the kernel's arguments.
struct Arguments {
  unsigned rows, offsets, panels, out;
  std::optional<unsigned> rowToken;
  SmallVector<unsigned> biases, extras;
  SmallVector<std::pair<Value, unsigned>> scalars; ///< of the epilogue
};

class MatmulKernel {
public:
  MatmulKernel(MatmulOp op, const GPUTile &tile, const GPUProduct &product,
               const Arguments &names)
      : op(op), tile(tile), product(product), names(names) {
    auto panelType = cast<MemRefType>(op.getPanels().getType());
    element = panelType.getElementType();
    groups = panelType.getDimSize(0);
    depthChunks = panelType.getDimSize(2);
    columns = cast<MemRefType>(op.getOuts()[0].getType()).getDimSize(1);
    steps = llvm::divideCeil(depthChunks, tile.depthBytes / kChunkBytes);
  }

  void emit(KernelBuilder &b, ValueRange args);

private:
  struct Tile {
    Value group, first, rows; ///< first row of the tile, rows in it
  };
  SmallVector<Value> findTile(KernelBuilder &b, Value tile);
  void emitTile(KernelBuilder &b, const Tile &at);

  void prepareRows(KernelBuilder &b, const Tile &at);
  void preparePanels(KernelBuilder &b, const Tile &at);
  void copyStep(KernelBuilder &b, Value step, Value stage);
  void copyRows(KernelBuilder &b, Value step, Value stage);
  void copyPanels(KernelBuilder &b, Value step, Value stage);

  SmallVector<Value> multiplyStep(KernelBuilder &b, Value stage,
                                  ArrayRef<Value> sums);
  SmallVector<Value> loadFragment(KernelBuilder &b, Value address);
  void multiply(KernelBuilder &b, ArrayRef<Value> a, ArrayRef<Value> w,
                MutableArrayRef<Value> sums);

  void emitEpilogue(KernelBuilder &b, const Tile &at, ArrayRef<Value> sums);
  void emitPair(KernelBuilder &b, Value group, Value row, Value column,
                ArrayRef<SmallVector<Value>> accumulators);
  Value applyEpilogue(KernelBuilder &b, ArrayRef<Value> arguments);

  Value swizzle(KernelBuilder &b, Value row) {
    // Rows that share 128 bytes keep their order.
    int64_t chunks = tile.depthBytes / kChunkBytes;
    return b.bitAnd(b.shiftRight(row, chunks == 8 ? 0 : 1), chunks - 1);
  }
  int64_t sumsIndex(int64_t rowFragment, int64_t panel, int64_t half) const {
    return ((rowFragment * tile.panelsOfWarp() + panel) * 2 + half) * 4;
  }

  MatmulOp op;
  const GPUTile &tile;
  const GPUProduct &product;
  const Arguments &names;
  Type element;
  int64_t groups, depthChunks, columns, steps;

  ValueRange args;
  Value shared, thread, lane, warpRow, warpColumn, firstPanel;

  // What a thread copies of each step.
  struct RowCopy {
    Value source, valid;
  };
  SmallVector<RowCopy> rowCopies;
  Value rowUnit, rowTarget;
  Tile rowTile;
  Value panelSource, panelTarget, panelChunk, panelNumber;
};
} // namespace

//===----------------------------------------------------------------------===//
// The list of tiles
//===----------------------------------------------------------------------===//

/// Whether there is a tile `tile`, its group, first row and number of rows.
SmallVector<Value> MatmulKernel::findTile(KernelBuilder &b, Value tile) {
  auto offset = [&](KernelBuilder &b, Value e) {
    return b.narrow(b.load(b.getI64Type(),
                           b.element(args[names.offsets], e, b.getI64Type())));
  };
  int64_t height = this->tile.rows;
  auto finish = [&](Value found, Value group, Value begin, Value end,
                    Value local) -> SmallVector<Value> {
    Value first = b.add(begin, b.mul(local, height));
    Value rows = b.min(b.sub(end, first), b.i32(height));
    return {found, group, first, rows};
  };
  if (groups == 1) {
    Value begin = offset(b, b.i32(0)), end = offset(b, b.i32(1));
    Value found = b.less(tile, b.ceilDiv(b.sub(end, begin), height));
    return finish(found, b.i32(0), begin, end, tile);
  }
  Value zero = b.i32(0);
  // 32 groups at a time: found, group, begin, end, tile in the group; tiles so
  // far.
  SmallVector<Value> init{b.i1(false), zero, zero, zero, zero, zero};
  SmallVector<Value> state = b.loop(
      zero, b.i32(groups), b.i32(kWarpSize), init,
      [&](KernelBuilder &b, Value first,
          ValueRange carried) -> SmallVector<Value> {
        Value e = b.min(b.add(first, lane), b.i32(groups - 1));
        Value begin = offset(b, e), end = offset(b, b.add(e, 1));
        Value tiles = b.select(b.less(b.add(first, lane), groups),
                               b.ceilDiv(b.sub(end, begin), height), zero);
        Value upTo = b.add(b.prefixSumOfLanes(tiles), carried[5]);
        Value mask = b.ballot(b.less(tile, upTo));
        Value winner = b.bitAnd(b.lowestBit(mask), kWarpSize - 1);
        Value isNew = b.bitAnd(b.ne(mask, zero), b.negate(carried[0]));
        Value local = b.sub(tile, b.broadcast(b.sub(upTo, tiles), winner));
        return {b.bitOr(carried[0], isNew),
                b.select(isNew, b.add(first, winner), carried[1]),
                b.select(isNew, b.broadcast(begin, winner), carried[2]),
                b.select(isNew, b.broadcast(end, winner), carried[3]),
                b.select(isNew, local, carried[4]),
                b.broadcast(upTo, b.i32(kWarpSize - 1))};
      });
  return finish(state[0], state[1], state[2], state[3], state[4]);
}

//===----------------------------------------------------------------------===//
// Copies to shared memory
//===----------------------------------------------------------------------===//

/// Each thread takes unit `thread % units` of a row, and every
/// `threads / units`-th row. Whole chunks have their source addresses in
/// registers for all steps.
void MatmulKernel::prepareRows(KernelBuilder &b, const Tile &at) {
  int64_t units = tile.depthBytes / product.copyBytes;
  rowTile = at;
  rowUnit = b.rem(thread, units);
  rowCopies.clear();
  if (product.copyBytes != kChunkBytes)
    return;
  Value row0 = b.div(thread, units);
  rowTarget = b.add(b.mul(row0, tile.depthBytes),
                    b.mul(b.bitXor(rowUnit, swizzle(b, row0)), kChunkBytes));
  int64_t rowsAtOnce = tile.threads() / units;
  for (int64_t done = 0; done < tile.rows; done += rowsAtOnce) {
    Value row = b.add(row0, done);
    Value valid = b.less(row, at.rows);
    // A row that does not exist repeats the tile's first one, of no bytes.
    Value source = b.add(at.first, b.select(valid, row, b.i32(0)));
    if (names.rowToken)
      source = b.load(b.getI32Type(),
                      b.element(args[*names.rowToken], source, b.getI32Type()));
    Value offset = b.mul(b.widen(source), product.depthBytes);
    Value address = b.at(args[names.rows],
                         b.add(offset, b.widen(b.mul(rowUnit, kChunkBytes))));
    rowCopies.push_back(
        {address, b.select(valid, b.i32(kChunkBytes), b.i32(0))});
  }
}

/// A step of a panel is consecutive in memory; so are, in shared memory, the
/// panels of a block.
void MatmulKernel::preparePanels(KernelBuilder &b, const Tile &at) {
  int64_t units = tile.depthBytes / kChunkBytes * kPanelColumns;
  Value unit = b.rem(thread, units), panel0 = b.div(thread, units);
  panelNumber = b.add(firstPanel, panel0);
  panelChunk = b.div(unit, kPanelColumns);
  panelTarget = b.add(b.mul(thread, kChunkBytes), tile.rowBytesOfStage());
  Value index =
      b.add(b.mul(b.widen(at.group), product.panels), b.widen(panelNumber));
  Value offset = b.add(b.mul(index, depthChunks * kPanelChunkBytes),
                       b.widen(b.mul(unit, kChunkBytes)));
  panelSource = b.at(args[names.panels], offset);
}

void MatmulKernel::copyRows(KernelBuilder &b, Value step, Value stage) {
  int64_t units = tile.depthBytes / product.copyBytes;
  int64_t rowsAtOnce = tile.threads() / units;
  Value position = b.mul(step, tile.depthBytes);
  bool hasTail = product.depthBytes % tile.depthBytes != 0;
  Value inside; // of the row
  if (hasTail)
    inside = b.less(b.add(position, b.mul(rowUnit, product.copyBytes)),
                    product.depthBytes);
  if (product.copyBytes == kChunkBytes) {
    Value target = b.at(b.at(shared, stage), rowTarget);
    for (auto [i, copy] : llvm::enumerate(rowCopies)) {
      Value valid =
          hasTail ? b.select(inside, copy.valid, b.i32(0)) : copy.valid;
      int64_t offset = i * rowsAtOnce * tile.depthBytes;
      b.copyAsync(b.at(target, offset), b.at(copy.source, b.widen(position)),
                  kChunkBytes, valid);
    }
    return;
  }
  // Rows that begin anywhere: as many bytes at a time as are aligned.
  b.loop(
      b.div(thread, units), b.i32(tile.rows), b.i32(rowsAtOnce),
      [&](KernelBuilder &b, Value row) {
        Value exists = b.less(row, rowTile.rows);
        Value valid = hasTail ? b.bitAnd(exists, inside) : exists;
        Value source = b.add(rowTile.first, b.select(exists, row, b.i32(0)));
        if (names.rowToken)
          source = b.load(b.getI32Type(), b.element(args[*names.rowToken],
                                                    source, b.getI32Type()));
        Value column = b.add(position, b.mul(rowUnit, product.copyBytes));
        Value address = b.at(
            args[names.rows],
            b.add(b.mul(b.widen(source), product.depthBytes), b.widen(column)));
        Value byte = b.mul(rowUnit, product.copyBytes);
        Value chunk = b.bitXor(b.div(byte, kChunkBytes), swizzle(b, row));
        Value target =
            b.add(b.mul(row, tile.depthBytes),
                  b.add(b.mul(chunk, kChunkBytes), b.rem(byte, kChunkBytes)));
        target = b.at(b.at(shared, stage), target);
        if (product.copyBytes >= 4) {
          b.copyAsync(target, address, product.copyBytes,
                      b.select(valid, b.i32(product.copyBytes), b.i32(0)));
          return;
        }
        Type unit = b.getIntegerType(8 * product.copyBytes);
        Value zero = arith::ConstantIntOp::create(b, unit, 0);
        Value value = b.ifElse(
            valid,
            [&](KernelBuilder &b) -> SmallVector<Value> {
              return {b.load(unit, address)};
            },
            [&](KernelBuilder &) -> SmallVector<Value> { return {zero}; })[0];
        b.store(value, target);
      });
}

void MatmulKernel::copyPanels(KernelBuilder &b, Value step, Value stage) {
  int64_t chunks = tile.depthBytes / kChunkBytes;
  int64_t panelsAtOnce = tile.threads() / (chunks * kPanelColumns);
  Value source =
      b.at(panelSource, b.mul(b.widen(step), chunks * kPanelChunkBytes));
  Value target = b.at(b.at(shared, stage), panelTarget);
  Value inside;
  if (depthChunks % chunks != 0)
    inside = b.less(b.add(b.mul(step, chunks), panelChunk), depthChunks);
  for (int64_t done = 0; done < tile.panels; done += panelsAtOnce) {
    Value valid = inside;
    if (product.panels % tile.panels != 0) {
      Value exists = b.less(b.add(panelNumber, done), product.panels);
      valid = valid ? b.bitAnd(valid, exists) : exists;
    }
    Value bytes = valid ? b.select(valid, b.i32(kChunkBytes), b.i32(0))
                        : b.i32(kChunkBytes);
    b.copyAsync(b.at(target, done * chunks * kPanelChunkBytes),
                b.at(source, done * depthChunks * kPanelChunkBytes),
                kChunkBytes, bytes);
  }
}

void MatmulKernel::copyStep(KernelBuilder &b, Value step, Value stage) {
  copyRows(b, step, stage);
  copyPanels(b, step, stage);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Four 8 x 16 byte matrices; lane l has the address of row l % 8 of matrix
/// l / 8.
SmallVector<Value> MatmulKernel::loadFragment(KernelBuilder &b, Value address) {
  Type i32 = b.getI32Type();
  auto type =
      LLVM::LLVMStructType::getLiteral(b.getContext(), {i32, i32, i32, i32});
  auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
  Value loaded =
      NVVM::LdMatrixOp::create(b, type, address, 4, NVVM::MMALayout::row, shape,
                               NVVM::LdStMatrixEltType::B16);
  SmallVector<Value> registers;
  for (int64_t i = 0; i < 4; ++i)
    registers.push_back(LLVM::ExtractValueOp::create(b, loaded, i));
  return registers;
}

static void mma(KernelBuilder &b, Type element, ValueRange a, ValueRange w,
                MutableArrayRef<Value> sums) {
  Type f32 = b.getF32Type();
  auto type =
      LLVM::LLVMStructType::getLiteral(b.getContext(), {f32, f32, f32, f32});
  int64_t depth = kFragmentBytes * 8 / element.getIntOrFloatBitWidth();
  auto kind = element.isF32()    ? NVVM::MMATypes::tf32
              : element.isBF16() ? NVVM::MMATypes::bf16
                                 : NVVM::MMATypes::f16;
  SmallVector<Value> left(a), right(w);
  if (element.isF16()) {
    auto pair = VectorType::get({2}, element);
    for (Value &value : left)
      value = b.bitcast(pair, value);
    for (Value &value : right)
      value = b.bitcast(pair, value);
  }
  Value result = NVVM::MmaOp::create(
      b, type, left, right, sums,
      ArrayRef<int64_t>{kFragmentRows, kFragmentColumns, depth}, std::nullopt,
      std::nullopt, std::array<NVVM::MMATypes, 2>{kind, kind},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                     NVVM::MMALayout::col});
  for (auto [i, sum] : llvm::enumerate(sums))
    sum = LLVM::ExtractValueOp::create(b, result, i);
}

/// An f32 as the sum of two tf32.
static std::pair<Value, Value> split(KernelBuilder &b, Value bits) {
  auto round = [&](Value value) -> Value {
    return NVVM::ConvertFloatToTF32Op::create(
        b, b.getI32Type(), value, NVVM::FPRoundingMode::RNA,
        NVVM::SaturationMode::NONE, false);
  };
  Value value = b.bitcast(b.getF32Type(), bits);
  Value high = round(value);
  Value rest = arith::SubFOp::create(b, value, b.bitcast(b.getF32Type(), high));
  return {high, round(rest)};
}

/// A step of all fragments of the warp. `sums` has four accumulators per
/// fragment: two columns of row lane / 4, and of the row 8 below.
SmallVector<Value> MatmulKernel::multiplyStep(KernelBuilder &b, Value stage,
                                              ArrayRef<Value> carried) {
  SmallVector<Value> sums(carried);
  int64_t rowFragments = tile.rowsOfWarp() / kFragmentRows;
  int64_t panels = tile.panelsOfWarp();
  Value base = b.at(shared, stage);
  Value row = b.bitAnd(lane, kFragmentRows - 1);
  Value rowBase =
      b.at(base, b.mul(b.add(b.mul(warpRow, tile.rowsOfWarp()), row),
                       tile.depthBytes));
  Value upper = b.div(lane, kFragmentRows), exchange = swizzle(b, row);
  // Matrices of a panel: two chunks of columns 0 to 7, then of 8 to 15.
  Value lower = b.bitAnd(b.shiftRight(lane, 3), 1);
  Value panelBase =
      b.at(base, b.add(b.add(b.mul(lower, kPanelChunkBytes), b.mul(upper, 128)),
                       b.add(b.mul(b.bitAnd(lane, 7), kChunkBytes),
                             b.mul(warpColumn,
                                   panels * kPanelColumns * tile.depthBytes))));
  panelBase = b.at(panelBase, tile.rowBytesOfStage());
  bool splits = product.splitsRegisters;
  using Registers = SmallVector<Value>;
  auto lows = [&](Registers &registers) {
    Registers low;
    for (Value &value : registers) {
      auto [high, rest] = split(b, value);
      value = high;
      low.push_back(rest);
    }
    return low;
  };
  for (int64_t k = 0; k < tile.depthBytes / kFragmentBytes; ++k) {
    Value chunk = b.bitXor(b.add(upper, 2 * k), exchange);
    Value rowAddress = b.at(rowBase, b.mul(chunk, kChunkBytes));
    SmallVector<Registers> a, aLow, w, wLow;
    for (int64_t m = 0; m < rowFragments; ++m) {
      a.push_back(loadFragment(
          b, b.at(rowAddress, m * kFragmentRows * tile.depthBytes)));
      if (splits)
        aLow.push_back(lows(a.back()));
    }
    for (int64_t p = 0; p < panels; ++p) {
      w.push_back(
          loadFragment(b, b.at(panelBase, p * kPanelColumns * tile.depthBytes +
                                              2 * k * kPanelChunkBytes)));
      if (splits)
        wLow.push_back(lows(w.back()));
    }
    for (int64_t m = 0; m < rowFragments; ++m)
      for (int64_t p = 0; p < panels; ++p)
        for (int64_t half = 0; half < 2; ++half) {
          auto sum = MutableArrayRef(sums).slice(sumsIndex(m, p, half), 4);
          auto part = [half](const Registers &panel) {
            return ArrayRef(panel).slice(2 * half, 2);
          };
          if (splits) {
            mma(b, element, aLow[m], part(w[p]), sum);
            mma(b, element, a[m], part(wLow[p]), sum);
          }
          mma(b, element, a[m], part(w[p]), sum);
        }
  }
  return sums;
}

//===----------------------------------------------------------------------===//
// Epilogue
//===----------------------------------------------------------------------===//

/// The epilogue region on one element.
Value MatmulKernel::applyEpilogue(KernelBuilder &b, ArrayRef<Value> arguments) {
  Block &body = op.getEpilogue().front();
  IRMapping map;
  map.map(body.getArguments(), arguments);
  for (auto [value, index] : names.scalars)
    map.map(value, args[index]);
  for (Operation &inner : body.without_terminator()) {
    for (Value operand : inner.getOperands())
      if (Operation *definition = operand.getDefiningOp();
          definition && definition->hasTrait<OpTrait::ConstantLike>() &&
          !map.contains(operand))
        map.map(operand, b.clone(*definition)->getResult(0));
    b.clone(inner, map);
  }
  Value result = body.getTerminator()->getOperand(0);
  if (!map.contains(result)) // a constant from outside
    return b.clone(*result.getDefiningOp())->getResult(0);
  return map.lookup(result);
}

/// Two neighbouring columns of one row: `accumulators[column][weight]`.
void MatmulKernel::emitPair(KernelBuilder &b, Value group, Value row,
                            Value column,
                            ArrayRef<SmallVector<Value>> accumulators) {
  auto typeOf = [](Value memref) {
    return getElementTypeOrSelf(memref.getType());
  };
  Value rowStart = b.mul(b.widen(row), columns);
  auto emitColumn = [&](KernelBuilder &b, int64_t i) {
    SmallVector<Value> arguments;
    Value at = b.add(column, i);
    for (auto [w, sum] : llvm::enumerate(accumulators[i])) {
      Value value = sum;
      if (!names.biases.empty()) {
        Type type = typeOf(op.getBiases()[w]);
        Value index = b.add(b.mul(b.widen(group), columns), b.widen(at));
        Value bias =
            b.load(type, b.element(args[names.biases[w]], index, type));
        value = b.addF(value, b.convertFloat(bias, b.getF32Type()));
      }
      arguments.push_back(value);
    }
    for (auto [i, extra] : llvm::enumerate(op.getExtras())) {
      Type type = typeOf(extra);
      Value value = b.load(type, b.element(args[names.extras[i]],
                                           b.add(rowStart, b.widen(at)), type));
      arguments.push_back(b.convertFloat(value, b.getF32Type()));
    }
    return applyEpilogue(b, arguments);
  };
  Type stored = typeOf(op.getOuts()[0]);
  Value address =
      b.element(args[names.out], b.add(rowStart, b.widen(column)), stored);
  if (columns % 2 == 0) {
    auto store = [&](KernelBuilder &b) {
      auto pairType = VectorType::get({2}, b.getF32Type());
      Value pair = arith::ConstantOp::create(b, b.getZeroAttr(pairType));
      for (int64_t i = 0; i < 2; ++i)
        pair =
            LLVM::InsertElementOp::create(b, pair, emitColumn(b, i), b.i32(i));
      b.store(b.convertFloat(pair, stored), address,
              stored.getIntOrFloatBitWidth() / 4);
    };
    if (product.panels * kPanelColumns == columns * product.weights &&
        product.panels % tile.panels == 0)
      return store(b);
    return b.when(b.less(column, columns), store);
  }
  for (int64_t i = 0; i < 2; ++i)
    b.when(b.less(b.add(column, i), columns), [&](KernelBuilder &b) {
      b.store(b.convertFloat(emitColumn(b, i), stored),
              b.at(address, i * stored.getIntOrFloatBitWidth() / 8));
    });
}

void MatmulKernel::emitEpilogue(KernelBuilder &b, const Tile &at,
                                ArrayRef<Value> sums) {
  int64_t weights = product.weights;
  Value firstColumn =
      b.mul(b.add(b.div(firstPanel, weights),
                  b.mul(warpColumn, tile.panelsOfWarp() / weights)),
            kPanelColumns);
  Value pairColumn = b.add(firstColumn, b.mul(b.bitAnd(lane, 3), 2));
  Value row0 = b.add(b.mul(warpRow, tile.rowsOfWarp()), b.div(lane, 4));
  for (int64_t m = 0; m < tile.rowsOfWarp() / kFragmentRows; ++m)
    for (int64_t low = 0; low < 2; ++low) {
      Value inTile = b.add(row0, m * kFragmentRows + low * 8);
      b.when(b.less(inTile, at.rows), [&](KernelBuilder &b) {
        Value row = b.add(at.first, inTile);
        for (int64_t unit = 0; unit < tile.panelsOfWarp() / weights; ++unit)
          for (int64_t half = 0; half < 2; ++half) {
            SmallVector<SmallVector<Value>> pair(2);
            for (int64_t i = 0; i < 2; ++i)
              for (int64_t w = 0; w < weights; ++w)
                pair[i].push_back(
                    sums[sumsIndex(m, unit * weights + w, half) + 2 * low + i]);
            emitPair(b, at.group, row,
                     b.add(pairColumn, unit * kPanelColumns + half * 8), pair);
          }
      });
    }
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

void MatmulKernel::emitTile(KernelBuilder &b, const Tile &at) {
  int64_t count =
      tile.rowsOfWarp() / kFragmentRows * tile.panelsOfWarp() * 2 * 4;
  SmallVector<Value> state(count, b.f32(0));
  if (steps > 0) {
    prepareRows(b, at);
    preparePanels(b, at);
    for (int64_t stage = 0; stage < tile.stages - 1; ++stage) {
      if (stage < steps)
        copyStep(b, b.i32(stage), b.i32(stage * tile.stageBytes()));
      b.commitCopies();
    }
    auto next = [&](KernelBuilder &b, Value stage) {
      Value after = b.add(stage, tile.stageBytes());
      return b.select(b.eq(after, b.i32(tile.sharedBytes())), b.i32(0), after);
    };
    state.push_back(b.i32(0));
    state.push_back(b.i32((tile.stages - 1) * tile.stageBytes()));
    state = b.loop(b.i32(0), b.i32(steps), b.i32(1), state,
                   [&](KernelBuilder &b, Value step,
                       ValueRange carried) -> SmallVector<Value> {
                     Value reads = carried[count], writes = carried[count + 1];
                     // This thread's copies of the step have come; after the
                     // barrier those of all, and nobody reads the stage that is
                     // filled next.
                     b.waitForCopies(tile.stages - 2);
                     b.barrier();
                     Value ahead = b.add(step, tile.stages - 1);
                     b.when(b.less(ahead, steps), [&](KernelBuilder &b) {
                       copyStep(b, ahead, writes);
                     });
                     b.commitCopies();
                     SmallVector<Value> sums = multiplyStep(
                         b, reads, llvm::to_vector(carried.take_front(count)));
                     sums.push_back(next(b, reads));
                     sums.push_back(next(b, writes));
                     return sums;
                   });
  }
  emitEpilogue(b, at, ArrayRef(state).take_front(count));
}

void MatmulKernel::emit(KernelBuilder &b, ValueRange arguments) {
  args = arguments;
  shared = b.sharedMemory();
  thread = b.thread();
  lane = b.lane();
  Value warp = b.warp();
  warpRow = b.rem(warp, tile.warpRows);
  warpColumn = b.div(warp, tile.warpRows);
  firstPanel = b.mul(b.block(gpu::Dimension::y), tile.panels);
  Value stride = b.gridSize(gpu::Dimension::x);
  SmallVector<Value> start = findTile(b, b.block(gpu::Dimension::x));
  start.push_back(b.block(gpu::Dimension::x));
  SmallVector<Type> types = llvm::to_vector(ValueRange(start).getTypes());
  scf::WhileOp::create(
      b, types, start,
      [&](OpBuilder &nested, Location loc, ValueRange state) {
        scf::ConditionOp::create(nested, loc, state[0], state);
      },
      [&](OpBuilder &nested, Location loc, ValueRange state) {
        KernelBuilder b(loc, nested);
        emitTile(b, {state[1], state[2], state[3]});
        Value tile = b.add(state[4], stride);
        SmallVector<Value> next = findTile(b, tile);
        next.push_back(tile);
        // Nobody reads shared memory any more when the next tile fills it.
        b.barrier();
        scf::YieldOp::create(b, next);
      });
}

//===----------------------------------------------------------------------===//
// The launch
//===----------------------------------------------------------------------===//

static LogicalResult checkMatmul(MatmulOp op) {
  auto rows = cast<MemRefType>(op.getRows().getType());
  auto panels = cast<MemRefType>(op.getPanels().getType());
  if (op.getBits())
    return op.emitOpError("expects weights of floating point for a GPU, got ")
           << *op.getBits() << "-bit integers";
  if (rows.getElementType() != panels.getElementType())
    return op.emitOpError("expects rows and weights of one type for a GPU, "
                          "got ")
           << rows.getElementType() << " and " << panels.getElementType();
  int64_t interleave = panels.getDimSize(3) / kPanelColumns;
  if (interleave * panels.getElementTypeBitWidth() != kChunkBytes * 8)
    return op.emitOpError("expects panels of 16-byte chunks for a GPU, got ")
           << panels;
  return success();
}

LogicalResult grouped::lowerMatmul(MatmulOp op, DeviceModule &device,
                                   StringRef name, Value context) {
  if (failed(checkMatmul(op)))
    return failure();
  auto panels = cast<MemRefType>(op.getPanels().getType());
  auto rows = cast<MemRefType>(op.getRows().getType());
  int64_t elementBytes = panels.getElementTypeBitWidth() / 8;
  GPUProduct product;
  product.weights = op.getNumWeights();
  product.panels = panels.getDimSize(1);
  product.depthBytes = rows.getDimSize(1) * elementBytes;
  product.copyBytes = std::gcd(product.depthBytes, kChunkBytes);
  product.splitsRegisters = panels.getElementType().isF32();
  SmallVector<GPUTile> tiles = moe::chooseTiles(device.target, product);
  if (tiles.empty())
    return op.emitOpError("expects fewer weights in one product for a GPU, "
                          "got ")
           << product.weights;

  LoopBuilder host(op.getLoc(), op.getContext());
  host.setInsertionPoint(op);
  KernelArguments arguments;
  Arguments names;
  names.rows = arguments.addBuffer(host, op.getRows());
  names.offsets = arguments.addBuffer(host, op.getOffsets());
  names.panels = arguments.addBuffer(host, op.getPanels());
  names.out = arguments.addBuffer(host, op.getOuts()[0]);
  if (op.getRowToken())
    names.rowToken = arguments.addBuffer(host, op.getRowToken());
  for (Value bias : op.getBiases())
    names.biases.push_back(arguments.addBuffer(host, bias));
  for (Value extra : op.getExtras())
    names.extras.push_back(arguments.addBuffer(host, extra));
  SetVector<Value> outside;
  getUsedValuesDefinedAbove(op.getEpilogue(), outside);
  for (Value value : outside)
    if (Operation *definition = value.getDefiningOp();
        !definition || !definition->hasTrait<OpTrait::ConstantLike>())
      names.scalars.push_back({value, arguments.addScalar(value)});

  // The rows of all groups; how many of a group's there are only the device
  // knows.
  Value count = host.dim(op.getOuts()[0], 0);
  int64_t groups = panels.getDimSize(0);
  auto emit = [&](LoopBuilder &host, const GPUTile &tile) {
    std::string kernelName = (name + "_" + Twine(tile.rows) + "x" +
                              Twine(tile.panels * kPanelColumns))
                                 .str();
    MatmulKernel matmul(op, tile, product, names);
    gpu::GPUFuncOp kernel = device.addKernel(
        op.getLoc(), kernelName, arguments.types(), tile.threads(),
        [&](KernelBuilder &b, ValueRange args) { matmul.emit(b, args); });
    int64_t across = llvm::divideCeil(product.panels, tile.panels);
    int64_t resident =
        moe::blocksPerMultiprocessor(device.target, tile, product) *
        device.target.multiprocessors;
    // No more blocks than run at once: each walks over several tiles.
    Value most = host.add(host.div(count, tile.rows),
                          host.min(host.index(groups), count));
    int64_t down = std::max<int64_t>(
        llvm::divideCeil(resident, std::max<int64_t>(across, 1)), 1);
    launch(host, kernel, host.min(most, host.index(down)), host.index(across),
           tile.threads(), tile.sharedBytes(), arguments);
  };
  if (tiles.size() == 1) {
    emit(host, tiles[0]);
    return success();
  }
  // The mean group decides.
  Value isSmall = host.cmp(arith::CmpIPredicate::ule, count,
                           host.index(groups * tiles[0].rows));
  host.ifElse(
      isSmall, [&](LoopBuilder &b) { emit(b, tiles[0]); },
      [&](LoopBuilder &b) { emit(b, tiles[1]); });
  return success();
}
