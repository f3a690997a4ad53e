//===- ParallelToThreads.cpp - outermost parallel loops on threads --------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The loops of everything that is not a grouped kernel: elementwise operations,
// reductions, attention products. All but the innermost dimension of an
// outermost scf.parallel are flattened and cut into equal blocks, a few per
// thread; the innermost stays a plain loop that LLVM vectorises. An element is
// computed by one thread in a fixed order, so results do not depend on the
// number of threads.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/GroupedToLoops/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Runtime/Context.h"

#include "LoopBuilder.h"

#define DEBUG_TYPE "moe-parallel-to-threads"

namespace mlir::grouped {
#define GEN_PASS_DEF_PARALLELTOTHREADSPASS
#include "moe/Conversion/GroupedToLoops/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;
using namespace mlir::grouped;

namespace {
/// Operations of a loop body below which waking threads does not pay.
constexpr int64_t kParallelThreshold = 1 << 16;
/// Blocks per thread: room to even out, few enough to cost nothing.
constexpr int64_t kBlocksPerThread = 4;
/// Iterations assumed of an inner loop whose bounds are not known outside.
constexpr int64_t kUnknownTrips = 16;
} // namespace

/// Copies the body of `loop` to the insertion point, with `ivs` for its
/// induction variables. Parallel loops inside become plain loops.
static void copyBody(LoopBuilder &b, scf::ParallelOp loop, ValueRange ivs);

/// Loops over the dimensions `first` and on of `loop`.
static void copyLoops(LoopBuilder &b, scf::ParallelOp loop,
                      SmallVector<Value> ivs, unsigned first) {
  if (first == loop.getNumLoops())
    return copyBody(b, loop, ivs);
  scf::ForOp::create(
      b, loop.getLowerBound()[first], loop.getUpperBound()[first],
      loop.getStep()[first], ValueRange(),
      [&](OpBuilder &nested, Location loc, Value iv, ValueRange) {
        LoopBuilder body(loc, nested);
        SmallVector<Value> inner(ivs);
        inner.push_back(iv);
        copyLoops(body, loop, inner, first + 1);
        scf::YieldOp::create(body);
      });
}

static void copyBody(LoopBuilder &b, scf::ParallelOp loop, ValueRange ivs) {
  IRMapping map;
  map.map(loop.getInductionVars(), ivs);
  for (Operation &op : loop.getBody()->without_terminator())
    b.clone(op, map);
}

/// Replaces a parallel loop by nested plain ones.
static void makeSequential(scf::ParallelOp loop) {
  LoopBuilder b(loop.getLoc(), loop.getContext());
  b.setInsertionPoint(loop);
  copyLoops(b, loop, {}, 0);
  loop.erase();
}

/// How often the body of `loop` runs, as a product of values that are defined
/// outside of `root`; other loops count `kUnknownTrips`.
static Value tripCount(LoopBuilder &b, Value lower, Value upper, Value step,
                       Operation *root) {
  SmallVector<Value> bounds;
  for (Value bound : {lower, upper, step}) {
    IntegerAttr known;
    if (matchPattern(bound, m_Constant(&known)))
      bounds.push_back(b.index(known.getInt()));
    else if (!root->isAncestor(bound.getParentBlock()->getParentOp()))
      bounds.push_back(bound);
    else
      return b.index(kUnknownTrips);
  }
  return b.ceilDiv(b.sub(bounds[1], bounds[0]), bounds[2]);
}

/// The operations that `loop` executes, roughly: those of the innermost bodies
/// times the iterations around them.
static Value estimateWork(LoopBuilder &b, scf::ParallelOp loop) {
  Value work = b.index(1);
  for (unsigned i = 0; i < loop.getNumLoops(); ++i)
    work = b.mul(work,
                 tripCount(b, loop.getLowerBound()[i], loop.getUpperBound()[i],
                           loop.getStep()[i], loop));
  int64_t bodyOps = 0;
  loop.getBody()->walk([&](Operation *op) {
    if (auto inner = dyn_cast<scf::ForOp>(op))
      work =
          b.mul(work, tripCount(b, inner.getLowerBound(), inner.getUpperBound(),
                                inner.getStep(), loop));
    else if (auto inner = dyn_cast<scf::ParallelOp>(op))
      for (unsigned i = 0; i < inner.getNumLoops(); ++i)
        work = b.mul(work, tripCount(b, inner.getLowerBound()[i],
                                     inner.getUpperBound()[i],
                                     inner.getStep()[i], loop));
    else
      ++bodyOps;
  });
  return b.mul(work, std::max<int64_t>(bodyOps, 1));
}

/// Distributes `loop` over the session's threads.
static void makeThreaded(scf::ParallelOp loop, Value context) {
  LoopBuilder b(loop.getLoc(), loop.getContext());
  b.setInsertionPoint(loop);
  Value worthwhile = b.cmp(arith::CmpIPredicate::uge, estimateWork(b, loop),
                           b.index(kParallelThreshold));
  unsigned outer = std::max<unsigned>(loop.getNumLoops() - 1, 1);
  SmallVector<Value> sizes;
  Value total = b.index(1);
  for (unsigned i = 0; i < outer; ++i) {
    sizes.push_back(tripCount(b, loop.getLowerBound()[i],
                              loop.getUpperBound()[i], loop.getStep()[i],
                              loop));
    total = b.mul(total, sizes.back());
  }
  Value threads = b.toIndex(moe::loadContextField(
      b, context, MOE_CONTEXT_NUM_THREADS_OFFSET, b.getI32Type()));
  Value blocks =
      b.min(total,
            b.select(worthwhile, b.mul(threads, kBlocksPerThread), b.index(1)));
  b.parallelLoop(context, blocks, worthwhile,
                 [&](LoopBuilder &b, Value block, Value) {
                   Value begin = b.div(b.mul(block, total), blocks);
                   Value end = b.div(b.mul(b.add(block, 1), total), blocks);
                   b.loop(begin, end, 1, [&](LoopBuilder &b, Value flat) {
                     SmallVector<Value> ivs(outer);
                     for (unsigned i = outer; i-- > 0;) {
                       Value position = i == 0 ? flat : b.rem(flat, sizes[i]);
                       if (i > 0)
                         flat = b.div(flat, sizes[i]);
                       ivs[i] = b.add(loop.getLowerBound()[i],
                                      b.mul(position, loop.getStep()[i]));
                     }
                     copyLoops(b, loop, ivs, outer);
                   });
                 });
  loop.erase();
}

namespace {
struct ParallelToThreads
    : grouped::impl::ParallelToThreadsPassBase<ParallelToThreads> {
  void runOnOperation() override {
    SmallVector<scf::ParallelOp> outermost, inner;
    getOperation().walk([&](scf::ParallelOp loop) {
      if (loop->getParentOfType<scf::ParallelOp>() ||
          loop->getParentOfType<omp::ParallelOp>() ||
          loop.getNumReductions() > 0)
        inner.push_back(loop);
      else
        outermost.push_back(loop);
    });
    // Post order: what is inside is sequential before it is copied.
    for (scf::ParallelOp loop : inner) {
      if (loop.getNumReductions() > 0) {
        loop.emitOpError("expects no reductions");
        return signalPassFailure();
      }
      makeSequential(loop);
    }
    for (scf::ParallelOp loop : outermost) {
      Value context = moe::getSessionContext(loop);
      if (!context)
        return signalPassFailure();
      makeThreaded(loop, context);
    }
  }
};
} // namespace
