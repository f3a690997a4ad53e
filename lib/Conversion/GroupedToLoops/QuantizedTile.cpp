//===- QuantizedTile.cpp - kernels over quantized panels ------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A word holds several consecutive k of one column, so a row of a panel (16
// words, a cache line) becomes as many vectors of 16 columns without a move
// between lanes. Per vector:
//
//   integers    and, convert
//   e2m1        shr, and, shr, and, convert; the sign by shl, and, xor
//
// Scales are not applied to weights but to sums of products: of a block in K
// (of the part of it that is processed at a time, if it is long)
//
//   acc += s * (offset + sum of q * x),  offset = -z * sum of x
//
// The sum of x is computed once per row. The chain of multiply-adds starts from
// the offset and is in ascending k, in whichever kernel: results do not depend
// on which of them the number of rows selects.
//
// Where few rows use a vector, integers stay where they are in the word and
// are converted as q * 2^(i * bits); their x is divided by that power of two,
// which is exact down to 2^-98. Numbers with a sign lose it by a xor of the
// words, which adds half the range, and that much to their zero point. The
// magnitudes of e2m1 are twice as great as integers from 0 to 12, which a word
// of 8 nibbles lists.
//
//===----------------------------------------------------------------------===//

#include "QuantizedTile.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/FormatVariadic.h"

#include "Kernels.h"

#include <cmath>

using namespace mlir;
using namespace mlir::grouped;

int64_t Quantization::perWord() const { return kWordBits / bits; }

static std::string describe(const Quantization &quantization) {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (quantization.encoding != moe::Encoding::Unsigned)
    os << moe::stringifyEncoding(quantization.encoding) << '_';
  os << 'b' << quantization.blockSize << '_' << quantization.scale;
  if (quantization.zeroPoint)
    os << '_' << quantization.zeroPoint;
  if (quantization.sumBlock != quantization.blockSize)
    os << "_s" << quantization.sumBlock;
  if (!quantization.wholeSums)
    os << "_part";
  return text;
}

static VectorType lanes(Type element) {
  return VectorType::get({kPanelColumns}, element);
}

/// `value` in all lanes, as a constant.
static Value splat(LoopBuilder &b, int64_t value) {
  APInt bits(kWordBits, static_cast<uint64_t>(value), /*isSigned=*/false,
             /*implicitTrunc=*/true);
  return b.constant(DenseElementsAttr::get(lanes(b.getI32Type()), bits));
}

static Value splatFloat(LoopBuilder &b, float value) {
  return b.constant(DenseElementsAttr::get(lanes(b.getF32Type()), value));
}

namespace {
/// One panel with its scales and zero points.
class QuantizedPanel {
public:
  QuantizedPanel(const Quantization &quantization) : q(quantization) {}

  Value words, word0, scales, scale0, zeroPoints, zero0;

  /// Of a sum block, counted from the first of K.
  Value scale(LoopBuilder &b, Value sumBlock);
  Value zeroPoint(LoopBuilder &b, Value sumBlock);
  /// Loads word row `step` of the panel.
  void loadWords(LoopBuilder &b, Value step);
  /// The numbers of the i-th k of the loaded words, as f32.
  Value values(LoopBuilder &b, int64_t i);
  /// Integers times 2^(i * bits), but the last as it is.
  Value valuesInPlace(LoopBuilder &b, int64_t i);

private:
  Value block(LoopBuilder &b, Value sumBlock) {
    return q.blockSize == 0 ? b.index(0)
                            : b.div(sumBlock, q.blockSize / q.sumBlock);
  }
  Value loadParameters(LoopBuilder &b, Value memref, Value base, Value block);
  Value loadScales(LoopBuilder &b, Value block);
  Value loadZeroPoints(LoopBuilder &b, Value block);
  Value floatValues(LoopBuilder &b, int64_t i);

  Quantization q;
  Value row;
};
} // namespace

/// 16 scales or zero points of a block: floats as f32, bytes as i32.
Value QuantizedPanel::loadParameters(LoopBuilder &b, Value memref, Value base,
                                     Value block) {
  Type stored = cast<MemRefType>(memref.getType()).getElementType();
  int64_t interleave = panelInterleave(stored);
  auto type = VectorType::get({kPanelColumns * interleave}, stored);
  Value at =
      b.add(base, b.mul(b.div(block, interleave), type.getNumElements()));
  Value loaded = vector::LoadOp::create(b, type, memref, ValueRange{at});
  if (isa<IntegerType>(stored))
    return arith::ExtUIOp::create(b, lanes(b.getI32Type()), loaded);
  if (interleave == 1)
    return convertTo(b, loaded, b.getF32Type());
  // Even blocks are the lower halves of the lanes; an f32 is a bf16 with 16
  // zero bits below.
  Value pairs = vector::BitCastOp::create(b, lanes(b.getI32Type()), loaded);
  Value odd = b.fromIndex(b.getI32Type(), b.rem(block, b.index(2)));
  Value sixteen = arith::ConstantIntOp::create(b, 16, 32);
  Value shift =
      arith::SubIOp::create(b, sixteen, arith::MulIOp::create(b, odd, sixteen));
  Value bits = arith::ShLIOp::create(
      b, pairs, vector::BroadcastOp::create(b, pairs.getType(), shift));
  bits = arith::AndIOp::create(b, bits, splat(b, 0xFFFF0000));
  return vector::BitCastOp::create(b, lanes(b.getF32Type()), bits);
}

/// A shift by a constant.
template <typename Shift>
static Value shift(LoopBuilder &b, Value value, int64_t by) {
  return by == 0 ? value : Shift::create(b, value, splat(b, by)).getResult();
}

static Value toFloat(LoopBuilder &b, Value value) {
  return arith::SIToFPOp::create(b, lanes(b.getF32Type()), value);
}

Value QuantizedPanel::loadScales(LoopBuilder &b, Value block) {
  Value loaded = loadParameters(b, scales, scale0, block);
  auto floats = lanes(b.getF32Type());
  if (q.scale.isInteger()) {
    // An exponent is that of an f32, but for 2^-127, which has the highest bit
    // of the fraction alone, and NaN.
    Value bits = shift<arith::ShLIOp>(b, loaded, 23);
    Value odd = arith::OrIOp::create(
        b,
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, loaded, splat(b, 0)),
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, loaded,
                              splat(b, 255)));
    Value fraction = arith::OrIOp::create(b, bits, splat(b, 1 << 22));
    bits = arith::SelectOp::create(b, odd, fraction, bits);
    loaded = vector::BitCastOp::create(b, floats, bits);
  }
  if (q.encoding != moe::Encoding::E2M1)
    return loaded;
  return arith::MulFOp::create(b, loaded, splatFloat(b, 0.5f));
}

/// As f32; of numbers with a sign, what belongs to them without it.
Value QuantizedPanel::loadZeroPoints(LoopBuilder &b, Value block) {
  Value loaded = loadParameters(b, zeroPoints, zero0, block);
  bool isSigned = q.encoding == moe::Encoding::Signed;
  int64_t half = int64_t(1) << (q.bits - 1);
  if (!q.zeroPoint.isInteger())
    return isSigned ? arith::AddFOp::create(
                          b, loaded, splatFloat(b, static_cast<float>(half)))
                          .getResult()
                    : loaded;
  if (isSigned)
    loaded = arith::XOrIOp::create(b, loaded, splat(b, half));
  return toFloat(b, loaded);
}

Value QuantizedPanel::scale(LoopBuilder &b, Value sumBlock) {
  return loadScales(b, block(b, sumBlock));
}

Value QuantizedPanel::zeroPoint(LoopBuilder &b, Value sumBlock) {
  return loadZeroPoints(b, block(b, sumBlock));
}

void QuantizedPanel::loadWords(LoopBuilder &b, Value step) {
  row = vector::LoadOp::create(
      b, lanes(b.getI32Type()), words,
      ValueRange{b.add(word0, b.mul(step, kPanelColumns))});
  if (q.encoding != moe::Encoding::Signed)
    return;
  uint64_t highest = 0;
  for (int64_t i = 1; i <= q.perWord(); ++i)
    highest |= uint64_t(1) << (i * q.bits - 1);
  row = arith::XOrIOp::create(b, row, splat(b, highest));
}

/// Twice the e2m1 numbers of the i-th k.
Value QuantizedPanel::floatValues(LoopBuilder &b, int64_t i) {
  // Nibble by nibble the magnitudes 0, 1, 2, 3, 4, 6, 8 and 12.
  constexpr int64_t kMagnitudes = 0xC8643210;
  Value place = i == 0 ? shift<arith::ShLIOp>(b, row, 2)
                       : shift<arith::ShRUIOp>(b, row, i * q.bits - 2);
  place = arith::AndIOp::create(b, place, splat(b, 7 << 2));
  Value magnitude = arith::AndIOp::create(
      b, arith::ShRUIOp::create(b, splat(b, kMagnitudes), place), splat(b, 15));
  Value sign = shift<arith::ShLIOp>(b, row, kWordBits - (i + 1) * q.bits);
  sign = arith::AndIOp::create(b, sign, splat(b, int64_t(1) << 31));
  Value bits = vector::BitCastOp::create(b, lanes(b.getI32Type()),
                                         toFloat(b, magnitude));
  return vector::BitCastOp::create(b, lanes(b.getF32Type()),
                                   arith::XOrIOp::create(b, bits, sign));
}

Value QuantizedPanel::values(LoopBuilder &b, int64_t i) {
  if (q.encoding == moe::Encoding::E2M1)
    return floatValues(b, i);
  Value value = shift<arith::ShRUIOp>(b, row, i * q.bits);
  if (i + 1 != q.perWord())
    value = arith::AndIOp::create(b, value, splat(b, (1 << q.bits) - 1));
  return toFloat(b, value);
}

Value QuantizedPanel::valuesInPlace(LoopBuilder &b, int64_t i) {
  if (q.encoding == moe::Encoding::E2M1 || i + 1 == q.perWord())
    return values(b, i);
  int64_t mask = (int64_t(1) << q.bits) - 1;
  return toFloat(b,
                 arith::AndIOp::create(b, row, splat(b, mask << i * q.bits)));
}

/// `body` for each sum block in `depth` words, with its first and last + 1.
static void forSumBlocks(
    LoopBuilder &b, const Quantization &q, Value depth,
    llvm::function_ref<void(LoopBuilder &, Value block, Value begin, Value end)>
        body) {
  int64_t words = q.sumBlock / q.perWord();
  b.loop(b.ceilDiv(depth, words), [&](LoopBuilder &b, Value block) {
    Value begin = b.mul(block, words);
    Value end = b.add(begin, words);
    body(b, block, begin, q.wholeSums ? end : b.min(end, depth));
  });
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

namespace {
/// Names the arguments of a function one after the other.
class Signature {
public:
  explicit Signature(LoopBuilder &b) : b(b) {}

  void buffer(Type element) {
    types.push_back(MemRefType::get({ShapedType::kDynamic}, element));
  }
  void index(int64_t count = 1) { types.append(count, b.getIndexType()); }
  /// Words, scales and zero points, with `indices` indices each.
  void panels(const Quantization &q, int64_t indices) {
    for (Type element : {Type(b.getI32Type()), q.scale, q.zeroPoint})
      if (element) {
        buffer(element);
        index(indices);
      }
  }

  func::FuncOp create(ModuleOp module, StringRef name) {
    b.setInsertionPointToEnd(module.getBody());
    auto function = func::FuncOp::create(b, name, b.getFunctionType(types, {}));
    function.setPrivate();
    // As for register tiles: inlined copies would differ from call to call.
    function->setAttr("passthrough",
                      b.getArrayAttr(b.getStringAttr("noinline")));
    b.setInsertionPointToStart(function.addEntryBlock());
    arguments = function.getArguments();
    return function;
  }
  Value next() {
    Value value = arguments.front();
    arguments = arguments.drop_front();
    return value;
  }

private:
  LoopBuilder &b;
  SmallVector<Type> types;
  ArrayRef<BlockArgument> arguments;
};
} // namespace

func::FuncOp grouped::getQuantizedTile(ModuleOp module,
                                       const QuantizedTile &tile) {
  const Quantization &q = tile.quantization;
  std::string name =
      llvm::formatv("moe_tile_i{0}_{1}x{2}_{3}_a{4}_c{5}", q.bits, tile.rows,
                    tile.panels * kPanelColumns, describe(q), tile.rowStride,
                    tile.tileStride);
  if (auto known = module.lookupSymbol<func::FuncOp>(name))
    return known;
  LoopBuilder b(module.getLoc(), module.getContext());
  Signature signature(b);
  signature.buffer(b.getF32Type());
  signature.index();
  if (q.hasOffset()) {
    signature.buffer(b.getF32Type());
    signature.index(2);
  }
  signature.panels(q, 2);
  signature.buffer(b.getF32Type());
  signature.index(2);
  func::FuncOp function = signature.create(module, name);

  Value a = signature.next(), a0 = signature.next(), offsets, offset0,
        offsetDistance;
  if (q.hasOffset())
    offsets = signature.next(), offset0 = signature.next(),
    offsetDistance = signature.next();
  SmallVector<QuantizedPanel> panels(tile.panels, QuantizedPanel(q));
  auto readPanels = [&](Value QuantizedPanel::*memref,
                        Value QuantizedPanel::*base) {
    Value buffer = signature.next(), at = signature.next(),
          distance = signature.next();
    for (QuantizedPanel &panel : panels) {
      panel.*memref = buffer;
      panel.*base = at;
      at = b.add(at, distance);
    }
  };
  readPanels(&QuantizedPanel::words, &QuantizedPanel::word0);
  readPanels(&QuantizedPanel::scales, &QuantizedPanel::scale0);
  if (q.zeroPoint)
    readPanels(&QuantizedPanel::zeroPoints, &QuantizedPanel::zero0);
  Value c = signature.next(), c0 = signature.next(), depth = signature.next();

  auto sumType = lanes(b.getF32Type());
  auto broadcast = [&](LoopBuilder &b, Value scalar) -> Value {
    return vector::BroadcastOp::create(b, sumType, scalar);
  };
  Value none = splatFloat(b, 0);
  forSumBlocks(
      b, q, depth, [&](LoopBuilder &b, Value block, Value begin, Value end) {
        SmallVector<Value> sums;
        SmallVector<Value> zeroPoints;
        for (QuantizedPanel &panel : panels)
          zeroPoints.push_back(q.zeroPoint ? panel.zeroPoint(b, block)
                                           : Value());
        for (int64_t row = 0; row < tile.rows; ++row) {
          Value offset = none;
          if (q.hasOffset())
            offset = broadcast(
                b, b.load(offsets, b.add(b.add(offset0, block),
                                         b.mul(offsetDistance, row))));
          for (Value zero : zeroPoints)
            sums.push_back(
                zero ? arith::MulFOp::create(b, offset, zero).getResult()
                     : offset);
        }
        sums =
            b.loop(begin, end, 1, sums,
                   [&](LoopBuilder &b, Value step, ValueRange carried) {
                     SmallVector<Value> next(carried);
                     for (QuantizedPanel &panel : panels)
                       panel.loadWords(b, step);
                     Value k = b.add(a0, b.mul(step, q.perWord()));
                     for (int64_t i = 0; i < q.perWord(); ++i) {
                       SmallVector<Value> rows;
                       for (int64_t row = 0; row < tile.rows; ++row)
                         rows.push_back(broadcast(
                             b, b.load(a, b.add(k, row * tile.rowStride + i))));
                       for (auto [p, panel] : llvm::enumerate(panels)) {
                         Value values = panel.valuesInPlace(b, i);
                         for (int64_t row = 0; row < tile.rows; ++row) {
                           Value &sum = next[row * tile.panels + p];
                           sum =
                               vector::FMAOp::create(b, rows[row], values, sum);
                         }
                       }
                     }
                     return next;
                   });
        b.forgetMemory();
        SmallVector<Value> scales;
        for (QuantizedPanel &panel : panels)
          scales.push_back(panel.scale(b, block));
        for (int64_t row = 0; row < tile.rows; ++row)
          for (auto [p, panel] : llvm::enumerate(panels)) {
            Value at = b.add(c0, row * tile.tileStride + p * kPanelColumns);
            Value before = vector::LoadOp::create(b, sumType, c, at);
            Value sum = vector::FMAOp::create(
                b, scales[p], sums[row * tile.panels + p], before);
            vector::StoreOp::create(b, sum, c, at);
          }
      });
  func::ReturnOp::create(b);
  return function;
}

func::FuncOp grouped::getDequantizer(ModuleOp module, const Quantization &q) {
  std::string name =
      llvm::formatv("moe_dequantize_i{0}_{1}", q.bits, describe(q));
  if (auto known = module.lookupSymbol<func::FuncOp>(name))
    return known;
  LoopBuilder b(module.getLoc(), module.getContext());
  Signature signature(b);
  signature.panels(q, 1);
  signature.buffer(b.getF32Type());
  signature.index();
  signature.buffer(b.getF32Type());
  signature.index(3);
  func::FuncOp function = signature.create(module, name);

  QuantizedPanel panel(q);
  panel.words = signature.next(), panel.word0 = signature.next();
  panel.scales = signature.next(), panel.scale0 = signature.next();
  if (q.zeroPoint)
    panel.zeroPoints = signature.next(), panel.zero0 = signature.next();
  Value out = signature.next(), out0 = signature.next(),
        scales = signature.next(), scales0 = signature.next(),
        first = signature.next(), depth = signature.next();
  int64_t parameters = (q.zeroPoint ? 2 : 1) * kPanelColumns;
  Value firstBlock = b.div(first, q.sumBlock / q.perWord());
  forSumBlocks(
      b, q, depth, [&](LoopBuilder &b, Value block, Value begin, Value end) {
        Value sumBlock = b.add(firstBlock, block);
        Value at = b.add(scales0, b.mul(block, parameters));
        vector::StoreOp::create(b, panel.scale(b, sumBlock), scales,
                                ValueRange{at});
        if (q.zeroPoint)
          vector::StoreOp::create(b, panel.zeroPoint(b, sumBlock), scales,
                                  ValueRange{b.add(at, kPanelColumns)});
        b.loop(begin, end, 1, [&](LoopBuilder &b, Value step) {
          panel.loadWords(b, step);
          Value at = b.add(out0, b.mul(step, q.perWord() * kPanelColumns));
          for (int64_t i = 0; i < q.perWord(); ++i)
            vector::StoreOp::create(b, panel.values(b, i), out,
                                    ValueRange{b.add(at, i * kPanelColumns)});
        });
      });
  func::ReturnOp::create(b);
  return function;
}

func::FuncOp grouped::getRowOffsets(ModuleOp module, const Quantization &q) {
  // A zero point that the encoding implies is half the range.
  int64_t factor = q.zeroPoint ? 1 : int64_t(1) << (q.bits - 1);
  std::string name = llvm::formatv("moe_offsets_{0}_{1}", q.sumBlock, factor);
  if (auto known = module.lookupSymbol<func::FuncOp>(name))
    return known;
  LoopBuilder b(module.getLoc(), module.getContext());
  Signature signature(b);
  signature.buffer(b.getF32Type());
  signature.index();
  signature.buffer(b.getF32Type());
  signature.index(2);
  func::FuncOp function = signature.create(module, name);
  Value a = signature.next(), a0 = signature.next(), out = signature.next(),
        out0 = signature.next(), count = signature.next();
  Value zero = b.constant(b.getF32FloatAttr(0));
  Value scale = b.constant(b.getF32FloatAttr(static_cast<float>(-factor)));
  b.loop(b.ceilDiv(count, q.sumBlock), [&](LoopBuilder &b, Value block) {
    Value begin = b.mul(block, q.sumBlock);
    Value size = b.min(b.index(q.sumBlock), b.sub(count, begin));
    Value whole = b.mul(b.div(size, kPanelColumns), kPanelColumns);
    Value from = b.add(a0, begin);
    SmallVector<Value> wide = b.loop(
        b.index(0), whole, kPanelColumns, splatFloat(b, 0),
        [&](LoopBuilder &b, Value k, ValueRange sum) -> SmallVector<Value> {
          Value row = vector::LoadOp::create(b, lanes(b.getF32Type()), a,
                                             ValueRange{b.add(from, k)});
          return {arith::AddFOp::create(b, sum[0], row)};
        });
    // Of a vector in any order, but one and the same for all callers.
    Value sum =
        vector::ReductionOp::create(b, vector::CombiningKind::ADD, wide[0],
                                    zero, arith::FastMathFlags::reassoc);
    sum = b.loop(
        whole, size, 1, sum,
        [&](LoopBuilder &b, Value k, ValueRange sum) -> SmallVector<Value> {
          return {arith::AddFOp::create(b, sum[0], b.load(a, b.add(from, k)))};
        })[0];
    b.store(arith::MulFOp::create(b, sum, scale), out, b.add(out0, block));
  });
  func::ReturnOp::create(b);
  return function;
}

void grouped::scaleRow(LoopBuilder &b, const Quantization &q, Value row,
                       Value row0, Value words) {
  if (q.encoding == moe::Encoding::E2M1)
    return;
  int64_t perWord = q.perWord();
  SmallVector<float> factors;
  for (int64_t i = 0; i < perWord; ++i)
    factors.push_back(i + 1 == perWord ? 1 : std::ldexp(1.0f, -i * q.bits));
  auto type = VectorType::get({perWord}, b.getF32Type());
  Value factor = b.constant(DenseElementsAttr::get(type, ArrayRef(factors)));
  b.loop(words, [&](LoopBuilder &b, Value word) {
    Value at = b.add(row0, b.mul(word, perWord));
    Value values = vector::LoadOp::create(b, type, row, at);
    vector::StoreOp::create(b, arith::MulFOp::create(b, values, factor), row,
                            at);
  });
}
