//===- MatmulToLoops.cpp - grouped.matmul as tasks of register tiles ------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A task is a block of one group's rows times a block of panels:
//
//   for each block of k
//     copy the task's rows (through row_token) into scratch, as f32
//     for each register tile of the task: accumulate in scratch
//   for each row and column: epilogue(accumulators) -> outs
//
// Of quantized weights, each block of a panel becomes f32 in scratch before the
// tiles use it. With so few rows that one tile takes them all, that would cost
// more than it saves: then the tiles dequantize in registers, and go over all
// of K at once, so that each panel is one stream from the memory.
//
// Tasks are numbered group by group, then by panel block, then by row block, so
// that consecutive tasks share panels. The rows' copy is one vector load and
// store per 16 elements against 16 * panel_block multiply-adds; it gathers,
// converts to f32 and gives the tiles a constant row distance that keeps rows
// of equal alignment from competing for the same cache sets.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/Support/MathExtras.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Runtime/Context.h"

#include "Kernels.h"
#include "QuantizedTile.h"
#include "RegisterTile.h"

using namespace mlir;
using namespace mlir::grouped;

namespace {

/// Multiply-adds below which waking another thread costs more than it saves.
constexpr int64_t kParallelThreshold = 1 << 18;

/// How many tasks per thread even out unequal ones.
constexpr int64_t kTasksPerThread = 4;

class MatmulLowering {
public:
  MatmulLowering(MatmulOp op, Value context)
      : op(op), context(context), b(op.getLoc(), op.getContext()) {
    b.setInsertionPoint(op);
  }

  LogicalResult run();

private:
  void readShapes();
  void readSchedule();

  /// The register tile for `rows` rows: as many panels as accumulators allow.
  int64_t panelsFor(int64_t rows) const;

  /// A static buffer for each thread, as one flat memref.
  Value allocateScratch(int64_t elementsPerThread);

  void makeTaskTable();
  void emitTask(LoopBuilder &b, Value task, Value thread);
  void copyRows(LoopBuilder &b, Value scratch, Value base, int64_t stride,
                Value kBegin, Value kCount);
  void emitBlocks(LoopBuilder &b);
  void emitTiles(LoopBuilder &b, Value kBegin, Value kCount);
  void byHeight(LoopBuilder &b, Value rows, int64_t least, int64_t most,
                llvm::function_ref<void(LoopBuilder &, int64_t)> body);
  void forPanels(LoopBuilder &b, int64_t side,
                 llvm::function_ref<void(LoopBuilder &, int64_t, Value)> body);
  /// Where the task's first panel begins among panels of so many elements.
  Value firstElement(LoopBuilder &b, int64_t elementsPerPanel) {
    return b.mul(b.add(b.mul(group, panels), firstPanel), elementsPerPanel);
  }
  /// The most panels side by side in a tile.
  int64_t maxPanels() const;
  void emitTilesOfHeight(LoopBuilder &b, int64_t rows, Value highRows,
                         Value depth, Value first, Value panelBase);
  void callTile(LoopBuilder &b, int64_t rows, int64_t panels, Value row,
                Value panel, Value depth, Value first, Value panelBase);

  // Quantized weights.
  void readQuantization();
  int64_t quantizedPanelsFor(int64_t rows) const;
  void emitQuantizedTiles(LoopBuilder &b, Value thread);
  void callQuantizedTile(LoopBuilder &b, int64_t rows, int64_t panels,
                         Value panel, Value rowsAt);
  void dequantize(LoopBuilder &b, int64_t panels, Value panel, Value depth,
                  Value panelBase);

  void emitEpilogue(LoopBuilder &b);
  void emitEpilogueVector(LoopBuilder &b, Value row, Value unit, Value column,
                          Value mask);
  Value applyRegion(LoopBuilder &b, ArrayRef<Value> arguments);

  MatmulOp op;
  Value context;
  LoopBuilder b;

  // Shapes.
  int64_t experts, columns, depthK, panels, panelDepth, interleave, weights;
  int64_t panelRow; // elements of one row of a panel
  Type compute, element;
  std::optional<Quantization> quantization;
  int64_t scaleElements = 0, zeroElements = 0; // of one panel

  // Schedule.
  int64_t tileRows, tilePanels, accumulators, vectorsPerPanel, kBlock,
      panelBlock, rowBlock;
  int64_t registers;     // vectors that a tile may keep
  int64_t quantizedRows; // up to here in registers

  // Per call.
  Value taskEnd; // memref<(E + 1) x index>: tasks up to and with group e
  Value taskCount, panelBlockNow, columnBlocks, worthwhile;
  Value rowScratch, sumScratch, flatPanels;
  Value flatScales, flatZeros, weightScratch, wholeRowScratch;

  // Per task.
  Value group, firstRow, rowCount, firstPanel, panelCount, rowBase, sumBase;
  Value weightBase;

  // Per block of k: of the next panel, what each row prefetches; the row of a
  // panel where it begins.
  Value aheadPerRow, kRow;
};

} // namespace

//===----------------------------------------------------------------------===//
// Shapes and schedule
//===----------------------------------------------------------------------===//

void MatmulLowering::readShapes() {
  auto panelType = cast<MemRefType>(op.getPanels().getType());
  auto outType = cast<MemRefType>(op.getOuts()[0].getType());
  experts = panelType.getDimSize(0);
  panels = panelType.getDimSize(1);
  panelDepth = panelType.getDimSize(2);
  columns = outType.getDimSize(1);
  depthK = cast<MemRefType>(op.getRows().getType()).getDimSize(1);
  element = panelType.getElementType();
  panelRow = panelType.getDimSize(3);
  interleave = panelInterleave(element);
  weights = op.getNumWeights();
  compute = computeType(outType.getElementType());
  if (op.getScales())
    readQuantization();
}

void MatmulLowering::readQuantization() {
  auto elementOf = [](Value panels, int64_t &perPanel) {
    auto type = cast<MemRefType>(panels.getType());
    perPanel = type.getDimSize(2) * type.getDimSize(3);
    return type.getElementType();
  };
  int64_t blockSize = static_cast<int64_t>(*op.getBlockSize());
  quantization =
      Quantization{static_cast<int64_t>(*op.getBits()), op.getEncoding(),
                   blockSize < depthK ? blockSize : 0,
                   elementOf(op.getScales(), scaleElements), Type()};
  if (Value zeroPoints = op.getZeroPoints())
    quantization->zeroPoint = elementOf(zeroPoints, zeroElements);
  interleave = quantization->perWord();
}

void MatmulLowering::readSchedule() {
  DictionaryAttr schedule = op.getScheduleAttr();
  auto read = [&](StringRef name) {
    return cast<IntegerAttr>(schedule.get(name)).getInt();
  };
  tileRows = read("tile_rows");
  tilePanels = read("tile_panels");
  accumulators = read("accumulators");
  vectorsPerPanel = read("vectors_per_panel");
  if (compute.isF64()) { // twice the registers per panel
    vectorsPerPanel *= 2;
    tileRows = std::max<int64_t>(tileRows / 2, 1);
  }
  int64_t wholeK = llvm::alignTo(std::max<int64_t>(depthK, 1), interleave);
  kBlock = std::max<int64_t>(read("k_block") / interleave, 1) * interleave;
  kBlock = std::min<int64_t>(kBlock, wholeK);
  panelBlock = std::max<int64_t>(read("panel_block") / weights, 1) * weights;
  panelBlock = std::min(panelBlock, std::max(panels, weights));
  rowBlock = llvm::alignTo(std::max(read("row_block"), tileRows), tileRows);
  registers = accumulators + vectorsPerPanel * tilePanels - 1;
  quantizedRows = 1;
  while (quantization && quantizedRows < tileRows &&
         quantizedPanelsFor(quantizedRows + 1) > 0)
    ++quantizedRows;
}

int64_t MatmulLowering::panelsFor(int64_t rows) const {
  if (rows == tileRows)
    return std::min(tilePanels, panels);
  int64_t fit = std::max<int64_t>(accumulators / (rows * vectorsPerPanel), 1);
  fit = llvm::bit_floor<uint64_t>(std::min<int64_t>(fit, 4));
  return std::min<int64_t>(fit, llvm::bit_floor<uint64_t>(panels));
}

int64_t MatmulLowering::maxPanels() const {
  int64_t most = 1;
  for (int64_t rows = 1; rows <= tileRows; ++rows)
    most = std::max(most, panelsFor(rows));
  return most;
}

/// The same for tiles that dequantize: besides the accumulators they keep the
/// words, scales and zero points of each panel, and what several panels are
/// multiplied with. 0 when not even one panel fits.
int64_t MatmulLowering::quantizedPanelsFor(int64_t rows) const {
  int64_t perPanel =
      (rows + (quantization->zeroPoint ? 3 : 2)) * vectorsPerPanel;
  for (int64_t side = 4; side > 1; side /= 2)
    if (side <= panels && side * perPanel + rows <= registers)
      return side;
  return perPanel <= registers;
}

//===----------------------------------------------------------------------===//
// Around the tasks
//===----------------------------------------------------------------------===//

Value MatmulLowering::allocateScratch(int64_t elementsPerThread) {
  Value threads = b.toIndex(moe::loadContextField(
      b, context, MOE_CONTEXT_NUM_THREADS_OFFSET, b.getI32Type()));
  auto type = MemRefType::get({ShapedType::kDynamic}, compute);
  return memref::AllocOp::create(b, type, b.mul(threads, elementsPerThread));
}

/// Fills `taskEnd` and chooses the panels per task: fewer when there are too
/// few tasks for the threads.
void MatmulLowering::makeTaskTable() {
  Value offsets = op.getOffsets();
  auto rowsOf = [&](LoopBuilder &b, Value e) {
    Value begin = b.toIndex(b.load(offsets, e));
    Value end = b.toIndex(b.load(offsets, b.add(e, 1)));
    return b.sub(end, begin);
  };
  SmallVector<Value> rowBlocks = b.loop(
      b.index(0), b.index(experts), 1, ValueRange{b.index(0)},
      [&](LoopBuilder &b, Value e, ValueRange sum) -> SmallVector<Value> {
        return {b.add(sum[0], b.ceilDiv(rowsOf(b, e), rowBlock))};
      });
  Value threads = b.toIndex(moe::loadContextField(
      b, context, MOE_CONTEXT_NUM_THREADS_OFFSET, b.getI32Type()));
  Value wanted = b.mul(threads, kTasksPerThread);

  SmallVector<int64_t> choices{panelBlock};
  for (int64_t size = panelBlock / 2; size >= std::max<int64_t>(4, weights);
       size /= 2) {
    int64_t aligned = size / weights * weights;
    if (aligned < choices.back())
      choices.push_back(aligned);
  }
  panelBlockNow = b.index(choices.back());
  for (int64_t size : llvm::drop_begin(llvm::reverse(choices))) {
    Value tasks = b.mul(rowBlocks[0], llvm::divideCeilSigned(panels, size));
    Value enough = b.cmp(arith::CmpIPredicate::uge, tasks, wanted);
    panelBlockNow = b.select(enough, b.index(size), panelBlockNow);
  }
  columnBlocks = b.ceilDiv(b.index(panels), panelBlockNow);

  taskEnd = memref::AllocOp::create(
      b, MemRefType::get({experts + 1}, b.getIndexType()));
  b.store(b.index(0), taskEnd, b.index(0));
  taskCount = b.loop(
      b.index(0), b.index(experts), 1, ValueRange{b.index(0)},
      [&](LoopBuilder &b, Value e, ValueRange sum) -> SmallVector<Value> {
        Value blocks = b.ceilDiv(rowsOf(b, e), rowBlock);
        Value next = b.add(sum[0], b.mul(blocks, columnBlocks));
        b.store(next, taskEnd, b.add(e, 1));
        return {next};
      })[0];
  Value rows = b.toIndex(b.load(offsets, b.index(experts)));
  Value work =
      b.mul(rows, std::max<int64_t>(depthK, 1) * panels * kPanelColumns);
  worthwhile =
      b.cmp(arith::CmpIPredicate::uge, work, b.index(kParallelThreshold));
}

LogicalResult MatmulLowering::run() {
  if (!op.getScheduleAttr())
    return op.emitOpError("expects a schedule (run grouped-schedule first)");
  readShapes();
  if (columns == 0 || experts == 0)
    return success(); // nothing to write
  readSchedule();
  makeTaskTable();
  rowScratch = allocateScratch(rowBlock * kBlock);
  sumScratch = allocateScratch(rowBlock * panelBlock * kPanelColumns);
  SmallVector<Value> scratches{taskEnd, rowScratch, sumScratch};
  auto flatten = [&](Value panels) -> Value {
    Value flat = memref::CollapseShapeOp::create(
        b, panels, SmallVector<ReassociationIndices>{{0, 1, 2, 3}});
    Type element = cast<MemRefType>(panels.getType()).getElementType();
    return memref::CastOp::create(
        b, MemRefType::get({ShapedType::kDynamic}, element), flat);
  };
  flatPanels = flatten(op.getPanels());
  if (quantization) {
    flatScales = flatten(op.getScales());
    if (op.getZeroPoints())
      flatZeros = flatten(op.getZeroPoints());
    weightScratch = allocateScratch(maxPanels() * kBlock * kPanelColumns);
    wholeRowScratch = allocateScratch(quantizedRows * panelDepth * interleave);
    scratches.append({weightScratch, wholeRowScratch});
  }
  b.parallelLoop(context, taskCount, worthwhile,
                 [&](LoopBuilder &b, Value task, Value thread) {
                   emitTask(b, task, thread);
                 });
  for (Value scratch : scratches)
    memref::DeallocOp::create(b, scratch);
  return success();
}

//===----------------------------------------------------------------------===//
// One task
//===----------------------------------------------------------------------===//

void MatmulLowering::emitTask(LoopBuilder &b, Value task, Value thread) {
  // The group: the first e with task < taskEnd[e + 1], by bisection.
  Value low = b.index(0);
  for (int64_t span = llvm::bit_ceil<uint64_t>(experts) / 2; span > 0;
       span /= 2) {
    Value middle = b.min(b.add(low, span), b.index(experts));
    Value before =
        b.cmp(arith::CmpIPredicate::ule, b.load(taskEnd, middle), task);
    Value inRange = b.cmp(arith::CmpIPredicate::ult, middle, b.index(experts));
    low = b.select(arith::AndIOp::create(b, before, inRange), middle, low);
  }
  group = low;
  Value groupBegin = b.toIndex(b.load(op.getOffsets(), group));
  Value groupEnd = b.toIndex(b.load(op.getOffsets(), b.add(group, 1)));
  Value groupRows = b.sub(groupEnd, groupBegin);
  Value blocks = b.ceilDiv(groupRows, rowBlock);
  Value local = b.sub(task, b.load(taskEnd, group));

  // Row blocks of one group have equal sizes, whole tiles each.
  Value size =
      b.mul(b.ceilDiv(b.ceilDiv(groupRows, blocks), tileRows), tileRows);
  Value before = b.mul(b.rem(local, blocks), size);
  firstRow = b.add(groupBegin, before);
  rowCount = b.min(size, b.sub(groupRows, before));
  firstPanel = b.mul(b.div(local, blocks), panelBlockNow);
  panelCount = b.min(panelBlockNow, b.sub(b.index(panels), firstPanel));
  rowBase = b.mul(thread, rowBlock * kBlock);
  sumBase = b.mul(thread, rowBlock * panelBlock * kPanelColumns);

  if (quantization) {
    weightBase = b.mul(thread, maxPanels() * kBlock * kPanelColumns);
    b.ifElse(
        b.cmp(arith::CmpIPredicate::ule, rowCount, b.index(quantizedRows)),
        [&](LoopBuilder &b) { emitQuantizedTiles(b, thread); },
        [&](LoopBuilder &b) { emitBlocks(b); });
  } else {
    emitBlocks(b);
  }
  emitEpilogue(b);
}

void MatmulLowering::emitBlocks(LoopBuilder &b) {
  if (depthK <= kBlock)
    return emitTiles(b, b.index(0), b.index(depthK));
  b.loop(b.index(0), b.index(depthK), kBlock, [&](LoopBuilder &b, Value k) {
    emitTiles(b, k, b.min(b.index(kBlock), b.sub(b.index(depthK), k)));
  });
}

/// rows[token, kBegin ...] -> scratch, one scratch row per row of the task.
void MatmulLowering::copyRows(LoopBuilder &b, Value scratch, Value base,
                              int64_t stride, Value kBegin, Value kCount) {
  Type stored = cast<MemRefType>(op.getRows().getType()).getElementType();
  b.loop(rowCount, [&](LoopBuilder &b, Value r) {
    Value source = b.add(firstRow, r);
    if (Value token = op.getRowToken())
      source = b.toIndex(b.load(token, source));
    Value target = b.add(base, b.mul(r, stride));
    bool whole = depthK % kPanelColumns == 0 && stride % kPanelColumns == 0;
    Value vectorEnd =
        whole ? kCount : b.mul(b.div(kCount, kPanelColumns), kPanelColumns);
    b.loop(b.index(0), vectorEnd, kPanelColumns, [&](LoopBuilder &b, Value k) {
      Value row = vector::LoadOp::create(
          b, VectorType::get({kPanelColumns}, stored), op.getRows(),
          ValueRange{source, b.add(kBegin, k)});
      vector::StoreOp::create(b, convertTo(b, row, compute), scratch,
                              ValueRange{b.add(target, k)});
    });
    if (whole)
      return;
    b.loop(vectorEnd, kCount, 1, [&](LoopBuilder &b, Value k) {
      Value value = b.load(op.getRows(), {source, b.add(kBegin, k)});
      b.store(convertTo(b, value, compute), scratch, b.add(target, k));
    });
    if (depthK % interleave == 0)
      return;
    // The panels end with zero rows; what they are multiplied with must be
    // finite.
    Value padded = b.mul(b.ceilDiv(kCount, interleave), interleave);
    b.loop(kCount, padded, 1, [&](LoopBuilder &b, Value k) {
      Value zero = b.constant(cast<TypedAttr>(b.getZeroAttr(compute)));
      b.store(zero, scratch, b.add(target, k));
    });
  });
}

void MatmulLowering::emitTiles(LoopBuilder &b, Value kBegin, Value kCount) {
  copyRows(b, rowScratch, rowBase, kBlock, kBegin, kCount);
  Value depth = b.ceilDiv(kCount, interleave);
  Value first = b.cmp(arith::CmpIPredicate::eq, kBegin, b.index(0));
  // Element of this block's first k in panel `firstPanel` of the group.
  kRow = b.div(kBegin, interleave);
  Value panelBase =
      b.add(firstElement(b, panelDepth * panelRow), b.mul(kRow, panelRow));

  // While the rows use a panel, each prefetches its share of the next one: the
  // memory then works all the time, not in bursts that the first row waits for.
  aheadPerRow = b.ceilDiv(b.mul(depth, panelRow), rowCount);

  // The rows split into equally high tiles, `high` rows or one less: 8 rows are
  // 4 + 4, never 6 + 2, whose short tile would leave multipliers idle.
  Value tiles = b.ceilDiv(rowCount, tileRows);
  Value high = b.ceilDiv(rowCount, tiles);
  Value highRows =
      b.mul(b.sub(rowCount, b.mul(tiles, b.sub(high, b.index(1)))), high);
  // Fewer rows of quantized weights have a tile of their own; of two tiles the
  // higher one is more than half as high as the highest.
  int64_t least = quantization ? std::min(quantizedRows, tileRows / 2) + 1 : 1;
  byHeight(b, high, least, tileRows, [&](LoopBuilder &b, int64_t rows) {
    emitTilesOfHeight(b, rows, highRows, depth, first, panelBase);
  });
}

/// `body` for the value of `rows`, from `least` to `most`.
void MatmulLowering::byHeight(
    LoopBuilder &b, Value rows, int64_t least, int64_t most,
    llvm::function_ref<void(LoopBuilder &, int64_t)> body) {
  auto heights = llvm::to_vector(llvm::seq_inclusive<int64_t>(least, most));
  auto branch =
      scf::IndexSwitchOp::create(b, TypeRange(), rows, heights, heights.size());
  OpBuilder::InsertionGuard guard(b);
  b.createBlock(&branch.getDefaultRegion());
  scf::YieldOp::create(b);
  for (auto [height, region] :
       llvm::zip_equal(heights, branch.getCaseRegions())) {
    b.createBlock(&region);
    body(b, height);
    scf::YieldOp::create(b);
  }
}

/// `body` for every `side` panels of the task, then for each of the rest.
void MatmulLowering::forPanels(
    LoopBuilder &b, int64_t side,
    llvm::function_ref<void(LoopBuilder &, int64_t, Value)> body) {
  auto loop = [&](Value begin, Value end, int64_t step) {
    b.loop(begin, end, step,
           [&](LoopBuilder &b, Value panel) { body(b, step, panel); });
  };
  if (side == 1)
    return loop(b.index(0), panelCount, 1);
  Value sideEnd = b.mul(b.div(panelCount, side), side);
  loop(b.index(0), sideEnd, side);
  loop(sideEnd, panelCount, 1);
}

/// Tiles of `rows` rows up to `highRows`, of one row less from there on, for
/// all panels of the task: the panels are the outer loop, so that all rows use
/// a panel while it is in the first-level cache.
void MatmulLowering::emitTilesOfHeight(LoopBuilder &b, int64_t rows,
                                       Value highRows, Value depth, Value first,
                                       Value panelBase) {
  // Two tiles are at least half as high as the highest.
  bool hasLower = rows > 1 && 2 * rows > tileRows;
  forPanels(b, panelsFor(rows), [&](LoopBuilder &b, int64_t side, Value panel) {
    if (quantization)
      dequantize(b, side, panel, depth, panelBase);
    b.loop(b.index(0), highRows, rows, [&](LoopBuilder &b, Value row) {
      callTile(b, rows, side, row, panel, depth, first, panelBase);
    });
    if (!hasLower)
      return;
    b.loop(highRows, rowCount, rows - 1, [&](LoopBuilder &b, Value row) {
      callTile(b, rows - 1, side, row, panel, depth, first, panelBase);
    });
  });
}

void MatmulLowering::callTile(LoopBuilder &b, int64_t rows, int64_t side,
                              Value row, Value panel, Value depth, Value first,
                              Value panelBase) {
  int64_t sumStride = panelBlock * kPanelColumns;
  RegisterTile shape{rows,
                     side,
                     compute,
                     element,
                     kBlock,
                     sumStride,
                     /*prefetch=*/2 * rows >= tileRows};
  Value a0 = b.add(rowBase, b.mul(row, kBlock));
  Value c0 =
      b.add(b.add(sumBase, b.mul(row, sumStride)), b.mul(panel, kPanelColumns));
  auto module = op->getParentOfType<ModuleOp>();
  if (quantization) { // f32 in scratch, so that nothing is left to prefetch
    shape.element = compute;
    shape.prefetch = false;
    func::CallOp::create(b, getRegisterTile(module, shape),
                         ValueRange{rowScratch, a0, weightScratch, weightBase,
                                    b.index(kBlock * kPanelColumns), sumScratch,
                                    c0, b.mul(depth, interleave), first,
                                    b.index(0), b.index(0)});
    return;
  }
  int64_t panelElements = panelDepth * panelRow;
  Value p0 = b.add(panelBase, b.mul(panel, panelElements));
  Value ahead = b.add(b.add(p0, side * panelElements), b.mul(row, aheadPerRow));
  Value aheadStep = b.ceilDiv(b.index(rows * panelRow), rowCount);
  func::CallOp::create(b, getRegisterTile(module, shape),
                       ValueRange{rowScratch, a0, flatPanels, p0,
                                  b.index(panelElements), sumScratch, c0, depth,
                                  first, ahead, aheadStep});
}

//===----------------------------------------------------------------------===//
// Quantized weights
//===----------------------------------------------------------------------===//

/// All rows of the task in one tile, whose weights are dequantized in
/// registers, over all of K.
void MatmulLowering::emitQuantizedTiles(LoopBuilder &b, Value thread) {
  int64_t stride = panelDepth * interleave;
  Value base = b.mul(thread, quantizedRows * stride);
  copyRows(b, wholeRowScratch, base, stride, b.index(0), b.index(depthK));
  byHeight(b, rowCount, 1, quantizedRows, [&](LoopBuilder &b, int64_t rows) {
    int64_t side = std::max<int64_t>(quantizedPanelsFor(rows), 1);
    forPanels(b, side, [&](LoopBuilder &b, int64_t count, Value panel) {
      callQuantizedTile(b, rows, count, panel, base);
    });
  });
}

void MatmulLowering::callQuantizedTile(LoopBuilder &b, int64_t rows,
                                       int64_t count, Value panel,
                                       Value rowsAt) {
  int64_t sumStride = panelBlock * kPanelColumns;
  func::FuncOp tile =
      getQuantizedTile(op->getParentOfType<ModuleOp>(),
                       QuantizedTile{rows, count, *quantization,
                                     panelDepth * interleave, sumStride});
  SmallVector<Value> arguments{wholeRowScratch, rowsAt};
  auto addPanels = [&](Value flat, int64_t elements) {
    arguments.append({flat,
                      b.add(firstElement(b, elements), b.mul(panel, elements)),
                      b.index(elements)});
  };
  addPanels(flatPanels, panelDepth * panelRow);
  addPanels(flatScales, scaleElements);
  if (flatZeros)
    addPanels(flatZeros, zeroElements);
  arguments.append({sumScratch, b.add(sumBase, b.mul(panel, kPanelColumns)),
                    b.index(panelDepth)});
  func::CallOp::create(b, tile, arguments);
}

/// This block of `count` panels from `panel` on -> f32 in scratch.
void MatmulLowering::dequantize(LoopBuilder &b, int64_t count, Value panel,
                                Value depth, Value panelBase) {
  func::FuncOp function =
      getDequantizer(op->getParentOfType<ModuleOp>(), *quantization);
  for (int64_t i = 0; i < count; ++i) {
    Value which = b.add(panel, i);
    auto at = [&](int64_t elements) {
      return b.add(firstElement(b, elements), b.mul(which, elements));
    };
    SmallVector<Value> arguments{
        flatPanels, b.add(panelBase, b.mul(which, panelDepth * panelRow)),
        flatScales, at(scaleElements)};
    if (flatZeros)
      arguments.append({flatZeros, at(zeroElements)});
    arguments.append({weightScratch,
                      b.add(weightBase, i * kBlock * kPanelColumns), kRow,
                      depth});
    func::CallOp::create(b, function, arguments);
  }
}

//===----------------------------------------------------------------------===//
// Epilogue
//===----------------------------------------------------------------------===//

void MatmulLowering::emitEpilogue(LoopBuilder &b) {
  Value units = b.div(panelCount, weights);
  Value firstColumn = b.mul(b.div(firstPanel, weights), kPanelColumns);
  b.loop(rowCount, [&](LoopBuilder &b, Value row) {
    b.loop(units, [&](LoopBuilder &b, Value unit) {
      Value column = b.add(firstColumn, b.mul(unit, kPanelColumns));
      if (columns % kPanelColumns == 0)
        return emitEpilogueVector(b, row, unit, column, Value());
      Value left = b.sub(b.index(columns), column);
      b.ifElse(
          b.cmp(arith::CmpIPredicate::uge, left, b.index(kPanelColumns)),
          [&](LoopBuilder &b) {
            emitEpilogueVector(b, row, unit, column, Value());
          },
          [&](LoopBuilder &b) {
            Value mask = vector::CreateMaskOp::create(
                b, VectorType::get({kPanelColumns}, b.getI1Type()), left);
            emitEpilogueVector(b, row, unit, column, mask);
          });
    });
  });
}

/// 16 columns of one row, those of `mask` if it is given.
void MatmulLowering::emitEpilogueVector(LoopBuilder &b, Value row, Value unit,
                                        Value column, Value mask) {
  Value outRow = b.add(firstRow, row);
  auto read = [&](Value memref, ValueRange at) -> Value {
    Type stored = cast<MemRefType>(memref.getType()).getElementType();
    auto type = VectorType::get({kPanelColumns}, stored);
    Value loaded;
    if (mask) {
      Value zero = b.constant(cast<TypedAttr>(b.getZeroAttr(type)));
      loaded = vector::MaskedLoadOp::create(b, type, memref, at, mask, zero);
    } else {
      loaded = vector::LoadOp::create(b, type, memref, at);
    }
    return convertTo(b, loaded, compute);
  };

  SmallVector<Value> arguments;
  Value sumRow = b.add(sumBase, b.mul(row, panelBlock * kPanelColumns));
  Value sumUnit = b.add(sumRow, b.mul(unit, weights * kPanelColumns));
  for (int64_t w = 0; w < weights; ++w) {
    Value sum = vector::LoadOp::create(
        b, VectorType::get({kPanelColumns}, compute), sumScratch,
        ValueRange{b.add(sumUnit, w * kPanelColumns)});
    if (!op.getBiases().empty())
      sum = arith::AddFOp::create(
          b, sum, read(op.getBiases()[w], ValueRange{group, column}));
    arguments.push_back(sum);
  }
  for (Value extra : op.getExtras())
    arguments.push_back(read(extra, ValueRange{outRow, column}));

  Value out = op.getOuts()[0];
  Value result = convertTo(b, applyRegion(b, arguments),
                           cast<MemRefType>(out.getType()).getElementType());
  if (mask)
    vector::MaskedStoreOp::create(b, out, ValueRange{outRow, column}, mask,
                                  result);
  else
    vector::StoreOp::create(b, result, out, ValueRange{outRow, column});
}

/// The epilogue region on vectors: its operations are elementwise, so each is
/// created again with vector operands.
Value MatmulLowering::applyRegion(LoopBuilder &b, ArrayRef<Value> arguments) {
  Block &body = op.getEpilogue().front();
  IRMapping map;
  map.map(body.getArguments(), arguments);
  auto vectorOf = [](Type type) {
    return VectorType::get({kPanelColumns}, type);
  };
  auto lookup = [&](Value value) -> Value {
    if (Value known = map.lookupOrNull(value))
      return known;
    // Defined outside the region, or a constant inside: the same in all lanes.
    Value splat =
        vector::BroadcastOp::create(b, vectorOf(value.getType()), value);
    map.map(value, splat);
    return splat;
  };
  for (Operation &inner : body.without_terminator()) {
    if (inner.hasTrait<OpTrait::ConstantLike>()) {
      Value scalar = b.clone(inner)->getResult(0);
      map.map(inner.getResult(0),
              vector::BroadcastOp::create(b, vectorOf(scalar.getType()), scalar)
                  .getResult());
      continue;
    }
    SmallVector<Value> operands;
    for (Value operand : inner.getOperands())
      operands.push_back(lookup(operand));
    SmallVector<Type> types;
    for (Type type : inner.getResultTypes())
      types.push_back(vectorOf(type));
    OperationState state(inner.getLoc(), inner.getName(), operands, types,
                         inner.getAttrs());
    map.map(inner.getResults(), b.create(state)->getResults());
  }
  return lookup(body.getTerminator()->getOperand(0));
}

LogicalResult grouped::lowerMatmul(MatmulOp op, Value context) {
  auto panels = cast<MemRefType>(op.getPanels().getType());
  if (interleaveOf(panels) != panelInterleave(panels.getElementType()))
    return op.emitOpError("expects panels in a CPU's layout, got ") << panels;
  return MatmulLowering(op, context).run();
}
