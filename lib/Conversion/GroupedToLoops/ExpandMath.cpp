//===- ExpandMath.cpp - math functions as vectorisable arithmetic ---------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A call to libm keeps a loop scalar. Polynomials in f32, the same for scalars
// and vectors, let LLVM vectorise the loop and give the same bits in its tail.
// They are right for every argument: upstream's approximations flush denormal
// results of exp to 0, take the log of denormals for that of the least normal,
// and are off by up to 4.3 units in the last place.
//
// sin and cos stay with libm: their argument (a position times a frequency) is
// large, and they run once per position, not per layer.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/GroupedToLoops/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <limits>

namespace mlir::grouped {
#define GEN_PASS_DEF_EXPANDMATHPASS
#include "moe/Conversion/GroupedToLoops/Passes.h.inc"
} // namespace mlir::grouped

using namespace mlir;

//===----------------------------------------------------------------------===//
// Arithmetic on f32 and vectors of it
//===----------------------------------------------------------------------===//

namespace {
class FloatBuilder : public ImplicitLocOpBuilder {
public:
  FloatBuilder(Location loc, OpBuilder &b, Type type)
      : ImplicitLocOpBuilder(loc, b), type(type) {}

  Value f(float value) { return splat(type, getF32FloatAttr(value)); }
  Value i(int32_t value) { return splat(bitsType(), getI32IntegerAttr(value)); }
  Value add(Value a, Value b) { return arith::AddFOp::create(*this, a, b); }
  Value sub(Value a, Value b) { return arith::SubFOp::create(*this, a, b); }
  Value mul(Value a, Value b) { return arith::MulFOp::create(*this, a, b); }
  Value div(Value a, Value b) { return arith::DivFOp::create(*this, a, b); }
  Value fma(Value a, Value b, Value c) {
    return math::FmaOp::create(*this, a, b, c);
  }
  Value less(Value a, Value b) {
    return arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT, a, b);
  }
  Value equal(Value a, Value b) {
    return arith::CmpFOp::create(*this, arith::CmpFPredicate::OEQ, a, b);
  }
  Value select(Value c, Value a, Value b) {
    return arith::SelectOp::create(*this, c, a, b);
  }
  Value toBits(Value a) {
    return arith::BitcastOp::create(*this, bitsType(), a);
  }
  Value fromBits(Value a) { return arith::BitcastOp::create(*this, type, a); }
  Value addBits(Value a, Value b) { return arith::AddIOp::create(*this, a, b); }
  Value subBits(Value a, Value b) { return arith::SubIOp::create(*this, a, b); }
  Value shiftLeft(Value a, int32_t n) {
    return arith::ShLIOp::create(*this, a, i(n));
  }
  Value shiftRight(Value a, int32_t n) {
    return arith::ShRSIOp::create(*this, a, i(n));
  }
  Value toFloat(Value a) { return arith::SIToFPOp::create(*this, type, a); }
  Value abs(Value a) { return math::AbsFOp::create(*this, a); }
  Value withSign(Value a, Value sign) {
    return math::CopySignOp::create(*this, a, sign);
  }

  /// c[0] x^n + c[1] x^(n-1) + ... + c[n]
  Value polynomial(Value x, ArrayRef<float> c) {
    Value sum = f(c.front());
    for (float next : c.drop_front())
      sum = fma(sum, x, f(next));
    return sum;
  }

private:
  Type bitsType() {
    if (auto vector = dyn_cast<VectorType>(type))
      return vector.clone(getI32Type());
    return getI32Type();
  }
  Value splat(Type type, TypedAttr value) {
    if (auto vector = dyn_cast<VectorType>(type))
      value = DenseElementsAttr::get(vector, Attribute(value));
    return arith::ConstantOp::create(*this, value);
  }

  Type type;
};
} // namespace

static constexpr float kInfinity = std::numeric_limits<float>::infinity();

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

/// exp(x) = 2^n exp(r), n the integer next to x / log(2).
/// Coefficients: S. Moshier, Cephes Math Library 2.2, expf.c.
static Value emitExp(FloatBuilder &b, Value x) {
  // Beyond these the result is infinite or 0 all the same, and 2^n in range.
  // A NaN passes both.
  x = b.select(b.less(x, b.f(-105.0f)), b.f(-105.0f), x);
  x = b.select(b.less(b.f(89.5f), x), b.f(89.5f), x);
  // Adding 1.5 * 2^23 leaves n in the low bits; a conversion to integer would
  // be undefined for NaN.
  Value magic = b.f(12582912.0f);
  Value shifted = b.fma(x, b.f(1.44269504088896341f), magic);
  Value n = b.subBits(b.toBits(shifted), b.toBits(magic));
  Value nf = b.sub(shifted, magic);
  // log(2) in two parts; the products with the first are exact.
  Value r = b.fma(nf, b.f(-0.693359375f), x);
  r = b.fma(nf, b.f(2.12194440e-4f), r);
  Value p =
      b.polynomial(r, {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                       4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f});
  p = b.add(b.fma(b.mul(r, r), p, r), b.f(1.0f));
  // In two steps, since 2^128 and 2^-149 have no exponent of their own. The
  // first is exact, so a denormal result is rounded once.
  Value half = b.shiftRight(n, 1);
  auto power = [&](Value n) {
    return b.fromBits(b.shiftLeft(b.addBits(n, b.i(127)), 23));
  };
  return b.mul(b.mul(p, power(half)), power(b.subBits(n, half)));
}

/// log(x) = e log(2) + log(m), m in [sqrt(1/2), sqrt(2)).
/// Coefficients: S. Moshier, Cephes Math Library 2.2, logf.c.
static Value emitLog(FloatBuilder &b, Value x) {
  Value isDenormal = b.less(x, b.f(1.17549435e-38f));
  Value bits =
      b.toBits(b.select(isDenormal, b.mul(x, b.f(8388608.0f)), x)); // 2^23
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  Value e = b.shiftRight(b.subBits(bits, b.i(kSqrtHalf)), 23);
  Value m = b.fromBits(b.subBits(bits, b.shiftLeft(e, 23)));
  e = b.toFloat(b.addBits(e, b.select(isDenormal, b.i(-23), b.i(0))));
  Value f = b.sub(m, b.f(1.0f)), square = b.mul(f, f);
  Value p =
      b.polynomial(f, {7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f,
                       -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f,
                       2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f});
  p = b.mul(b.mul(p, f), square);
  p = b.fma(e, b.f(-2.12194440e-4f), p);
  p = b.fma(square, b.f(-0.5f), p);
  Value result = b.fma(e, b.f(0.693359375f), b.add(f, p));
  // Infinity and NaN give themselves, negative numbers NaN, 0 minus infinity.
  result = b.select(b.less(x, b.f(kInfinity)), result, x);
  result = b.select(b.less(x, b.f(0.0f)),
                    b.f(std::numeric_limits<float>::quiet_NaN()), result);
  return b.select(b.equal(x, b.f(0.0f)), b.f(-kInfinity), result);
}

/// tanh(x) = x + x^3 P(x^2) for small x, 1 - 2 / (exp(2x) + 1) beyond.
/// Coefficients: S. Moshier, Cephes Math Library 2.2, tanhf.c.
static Value emitTanh(FloatBuilder &b, Value x) {
  Value square = b.mul(x, x), size = b.abs(x);
  Value p = b.polynomial(square, {-5.70498872745e-3f, 2.06390887954e-2f,
                                  -5.37397155531e-2f, 1.33314422036e-1f,
                                  -3.33332819422e-1f});
  Value near = b.fma(b.mul(p, square), x, x);
  Value e = emitExp(b, b.add(size, size));
  Value far = b.sub(b.f(1.0f), b.div(b.f(2.0f), b.add(e, b.f(1.0f))));
  return b.select(b.less(size, b.f(0.625f)), near, b.withSign(far, x));
}

/// erf(x) = x + x P(x^2) for small x, 1 - exp(Q(x)) beyond.
/// Coefficients: N. Juffa, "Efficient faithfully-rounded implementation of
/// error function erff()", https://stackoverflow.com/questions/35148198
static Value emitErf(FloatBuilder &b, Value x) {
  Value square = b.mul(x, x), size = b.abs(x);
  Value p =
      b.polynomial(square, {-5.96761703e-4f, 4.99119423e-3f, -2.67681349e-2f,
                            1.12819925e-1f, -3.76125336e-1f, 1.28379166e-1f});
  Value near = b.fma(p, x, x);
  Value q = b.polynomial(size, {-1.72853470e-5f, 3.83197126e-4f});
  q = b.fma(q, square, b.polynomial(size, {-3.88396438e-3f, 2.42546219e-2f}));
  for (float c : {-1.06777877e-1f, -6.34846687e-1f, -1.28717512e-1f})
    q = b.fma(q, size, b.f(c));
  q = b.fma(q, size, arith::NegFOp::create(b, size));
  Value far = b.sub(b.f(1.0f), emitExp(b, q));
  return b.select(b.less(b.f(0.927734375f), size), b.withSign(far, x), near);
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

static bool isFloat32(Type type) { return getElementTypeOrSelf(type).isF32(); }

namespace {
template <typename MathOp, Value (*emit)(FloatBuilder &, Value)>
struct Expand : OpRewritePattern<MathOp> {
  using OpRewritePattern<MathOp>::OpRewritePattern;

  LogicalResult matchAndRewrite(MathOp op,
                                PatternRewriter &rewriter) const override {
    if (!isFloat32(op.getType()) ||
        isa<ShapedType>(op.getType()) != isa<VectorType>(op.getType()))
      return rewriter.notifyMatchFailure(op, "not of f32 or a vector of it");
    FloatBuilder b(op.getLoc(), rewriter, op.getType());
    rewriter.replaceOp(op, emit(b, op.getOperand()));
    return success();
  }
};

struct SplitFMA : OpRewritePattern<math::FmaOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::FmaOp op,
                                PatternRewriter &rewriter) const override {
    if (!isFloat32(op.getType()))
      return rewriter.notifyMatchFailure(op, "not of f32");
    Value product =
        arith::MulFOp::create(rewriter, op.getLoc(), op.getA(), op.getB());
    rewriter.replaceOpWithNewOp<arith::AddFOp>(op, product, op.getC());
    return success();
  }
};

struct ExpandMath : grouped::impl::ExpandMathPassBase<ExpandMath> {
  using ExpandMathPassBase::ExpandMathPassBase;

  void runOnOperation() override {
    // Upstream's emulation of 16-bit arithmetic lets its conversions be
    // contracted away; then fusion would decide how often a value is rounded.
    getOperation()->walk([](Operation *op) {
      if (isa<arith::ExtFOp, arith::TruncFOp>(op))
        op->setAttr("fastmath",
                    arith::FastMathFlagsAttr::get(op->getContext(),
                                                  arith::FastMathFlags::none));
    });
    RewritePatternSet patterns(&getContext());
    patterns.add<Expand<math::ExpOp, emitExp>, Expand<math::LogOp, emitLog>,
                 Expand<math::TanhOp, emitTanh>, Expand<math::ErfOp, emitErf>>(
        &getContext());
    if (!fma)
      patterns.add<SplitFMA>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
  }
};
} // namespace
