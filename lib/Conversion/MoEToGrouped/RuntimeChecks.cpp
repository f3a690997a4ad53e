//===- RuntimeChecks.cpp - constraints that only a run can check ----------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RuntimeChecks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include "moe/Conversion/Utils/RuntimeCalls.h"
#include "moe/Dialect/MoE/IR/MoE.h"

using namespace mlir;
using namespace mlir::moe;

/// Greatest number of rows that i32 indices reach.
static constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max();

static Value sizeOf(ImplicitLocOpBuilder &b, Dim dim) {
  return getValueOrCreateConstantIndexOp(
      b, b.getLoc(),
      tensor::getMixedSize(b, b.getLoc(), dim.tensor, dim.index));
}

static Value toI64(ImplicitLocOpBuilder &b, Value value) {
  if (value.getType().isIndex())
    return arith::IndexCastOp::create(b, b.getI64Type(), value);
  if (value.getType() == b.getI64Type())
    return value;
  return arith::ExtSIOp::create(b, b.getI64Type(), value);
}

static void check(ImplicitLocOpBuilder &b, Operation *op,
                  arith::CmpIPredicate predicate, Value found, Value limit,
                  const Twine &message) {
  found = toI64(b, found);
  limit = toI64(b, limit);
  Value holds = arith::CmpIOp::create(b, predicate, found, limit);
  CheckOp::create(b, holds, found, limit,
                  b.getStringAttr(describeOperation(op)),
                  b.getStringAttr(message));
}

void moe::checkEqual(ImplicitLocOpBuilder &b, Operation *op, Dim found,
                     Dim required, StringRef what) {
  auto known = [](Dim dim) {
    return cast<RankedTensorType>(dim.tensor.getType()).getDimSize(dim.index);
  };
  bool isStatic = !ShapedType::isDynamic(known(found)) &&
                  !ShapedType::isDynamic(known(required));
  if (isStatic ||
      (found.tensor == required.tensor && found.index == required.index))
    return;
  check(b, op, arith::CmpIPredicate::eq, sizeOf(b, found), sizeOf(b, required),
        "expects " + what + " {limit}, got {found}");
}

void moe::checkRowCount(ImplicitLocOpBuilder &b, Operation *op, Value rows) {
  Value most = arith::ConstantIntOp::create(b, kMostRows, 64);
  check(b, op, arith::CmpIPredicate::ule, rows, most,
        "expects at most {limit} rows, got {found}");
}

void moe::checkSegment(ImplicitLocOpBuilder &b, Operation *op, Value segment,
                       Dim tokens) {
  Value one = arith::ConstantIndexOp::create(b, 1);
  Value least = arith::MinUIOp::create(b, sizeOf(b, tokens), one);
  check(b, op, arith::CmpIPredicate::sge, segment, least,
        "expects segments of at least {limit} tokens, got {found}");
}

/// The last of `values` that is greater than `limit`, taken as unsigned
/// integers after `bias` is added; `fallback`, which is none, if there is none.
static Value lastAbove(ImplicitLocOpBuilder &b, Value values, Value limit,
                       int64_t bias, Value fallback) {
  auto type = cast<RankedTensorType>(values.getType());
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value one = arith::ConstantIndexOp::create(b, 1);
  std::function<Value(ImplicitLocOpBuilder &, SmallVector<Value>, Value)> nest =
      [&](ImplicitLocOpBuilder &b, SmallVector<Value> at, Value worst) {
        int64_t dim = static_cast<int64_t>(at.size());
        if (dim == type.getRank()) {
          Value element = tensor::ExtractOp::create(b, values, at);
          Value shifted = arith::AddIOp::create(
              b, element,
              arith::ConstantIntOp::create(b, element.getType(), bias));
          Value bad = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt,
                                            shifted, limit);
          return arith::SelectOp::create(b, bad, element, worst).getResult();
        }
        auto loop = scf::ForOp::create(
            b, zero, sizeOf(b, {values, dim}), one, worst,
            [&](OpBuilder &nested, Location loc, Value i, ValueRange carried) {
              ImplicitLocOpBuilder nb(loc, nested);
              SmallVector<Value> inner(at);
              inner.push_back(i);
              scf::YieldOp::create(nb, nest(nb, inner, carried[0]));
            });
        return loop.getResult(0);
      };
  return nest(b, {}, fallback);
}

Value moe::checkedPrefixSums(ImplicitLocOpBuilder &b, Operation *op,
                             Value sizes) {
  int64_t groups = cast<RankedTensorType>(sizes.getType()).getDimSize(0);
  Type i64 = b.getI64Type();
  Value none = arith::ConstantIntOp::create(b, 0, 64);
  Value most = arith::ConstantIntOp::create(b, kMostRows, 64);
  check(b, op, arith::CmpIPredicate::ule, lastAbove(b, sizes, most, 0, none),
        most, "expects group sizes from 0 to {limit}, got {found}");
  Value c0 = arith::ConstantIndexOp::create(b, 0);
  if (groups == 1) {
    Value size = tensor::ExtractOp::create(b, sizes, c0);
    return tensor::FromElementsOp::create(b, ValueRange{none, size});
  }
  Value c1 = arith::ConstantIndexOp::create(b, 1);
  Value end = arith::ConstantIndexOp::create(b, groups);
  Value init = tensor::EmptyOp::create(b, {groups + 1}, i64);
  init = tensor::InsertOp::create(b, none, init, c0);
  auto loop = scf::ForOp::create(
      b, c0, end, c1, ValueRange{init, none},
      [&](OpBuilder &nested, Location loc, Value e, ValueRange carried) {
        ImplicitLocOpBuilder nb(loc, nested);
        Value size = tensor::ExtractOp::create(nb, sizes, e);
        Value sum = arith::AddIOp::create(nb, carried[1], size);
        Value next = arith::AddIOp::create(nb, e, c1);
        Value offsets = tensor::InsertOp::create(nb, sum, carried[0], next);
        scf::YieldOp::create(nb, ValueRange{offsets, sum});
      });
  return loop.getResult(0);
}

void moe::checkGroupsEnd(ImplicitLocOpBuilder &b, Operation *op, Value offsets,
                         Dim rows, bool atMost) {
  int64_t groups = cast<RankedTensorType>(offsets.getType()).getDimSize(0) - 1;
  Value last = arith::ConstantIndexOp::create(b, groups);
  Value end = tensor::ExtractOp::create(b, offsets, last);
  check(b, op, atMost ? arith::CmpIPredicate::ule : arith::CmpIPredicate::eq,
        end, sizeOf(b, rows),
        Twine("expects group sizes that sum to ") + (atMost ? "at most " : "") +
            "the number of rows, {limit}, got {found}");
}

void moe::checkRowMap(ImplicitLocOpBuilder &b, Operation *op, Value rowMap,
                      Dim rows) {
  Value count = sizeOf(b, rows);
  checkRowCount(b, op, count);
  Value none = arith::ConstantIntOp::create(b, -1, 32);
  Value limit = arith::IndexCastOp::create(b, b.getI32Type(), count);
  // -1 becomes 0 and -2 the greatest value: one comparison.
  Value worst = lastAbove(b, rowMap, limit, 1, none);
  check(b, op, arith::CmpIPredicate::slt, worst, limit,
        "expects rows below {limit} and at least -1, got {found}");
  check(b, op, arith::CmpIPredicate::sge, worst, none,
        "expects rows of at least {limit}, got {found}");
}
