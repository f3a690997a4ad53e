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
//   integers                       and, convert, fma
//   zero points that are floats,   shr, and, convert, sub, mul
//   or integers with f32 scales
//   e2m1                           shr, and, shr, and, convert; the sign by
//                                  shl, and, xor; mul
//
// Integers stay where they are in the word: the i-th is converted as
// q * 2^(i * bits), and its scale is divided by that power of two. With the
// zero point's share c = -z * s, which a block computes once, the weight is
// fma(q * 2^.., s / 2^.., c). All but that operation is exact (a zero point
// that is no power of two has at most 8 bits, a scale of 16 bits at most 11),
// so the weight is (q - z) * s, rounded once, as long as the scale is not
// within 2^30 of the limits of f32. Numbers with a sign lose it by a xor of the
// words, which adds half the range, and that much to their zero point.
//
// The magnitudes of e2m1 are twice as great as integers from 0 to 12, which a
// word of 8 nibbles lists.
//
// The tile and the dequantizer followed by the f32 tile compute the same f32
// weights and add in the same order, so that results do not depend on which of
// them the number of rows selects.
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

  /// Loads what the words of a block have in common.
  void loadBlock(LoopBuilder &b, Value block);
  /// Loads word row `step` of the panel, which is in that block.
  void loadWords(LoopBuilder &b, Value step);
  /// The f32 weights of the i-th k of the loaded words.
  Value weights(LoopBuilder &b, int64_t i);

private:
  /// Whether weights are fma(q, scale, share of the zero point).
  bool isFused() const {
    if (q.encoding == moe::Encoding::E2M1)
      return false;
    return !q.zeroPoint || (q.zeroPoint.isInteger() && !q.scale.isF32());
  }
  Value loadParameters(LoopBuilder &b, Value memref, Value base, Value block);
  Value loadScales(LoopBuilder &b, Value block);
  Value loadZeroPoints(LoopBuilder &b, Value block);
  Value floatWeights(LoopBuilder &b, int64_t i);

  Quantization q;
  Value row;
  /// Of each k in a word if `isFused`, otherwise one.
  SmallVector<Value> scale;
  /// The zero point, or its share if `isFused`.
  Value zero;
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

/// As f32; integers with a sign as what belongs to numbers without it.
Value QuantizedPanel::loadZeroPoints(LoopBuilder &b, Value block) {
  bool isSigned = q.encoding == moe::Encoding::Signed;
  int64_t half = int64_t(1) << (q.bits - 1);
  if (!q.zeroPoint)
    return splatFloat(b, static_cast<float>(half));
  Value loaded = loadParameters(b, zeroPoints, zero0, block);
  if (!q.zeroPoint.isInteger())
    return loaded;
  if (isSigned)
    loaded = arith::XOrIOp::create(b, loaded, splat(b, half));
  return toFloat(b, loaded);
}

void QuantizedPanel::loadBlock(LoopBuilder &b, Value block) {
  scale.assign(1, loadScales(b, block));
  if (q.encoding != moe::Encoding::E2M1)
    zero = loadZeroPoints(b, block);
  if (!isFused())
    return;
  Value share = arith::NegFOp::create(b, zero);
  zero = arith::MulFOp::create(b, share, scale[0]);
  for (int64_t i = 1; i + 1 < q.perWord(); ++i)
    scale.push_back(arith::MulFOp::create(
        b, scale[0], splatFloat(b, std::ldexp(1.0f, -i * q.bits))));
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

/// Twice the e2m1 weights of the i-th k.
Value QuantizedPanel::floatWeights(LoopBuilder &b, int64_t i) {
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

Value QuantizedPanel::weights(LoopBuilder &b, int64_t i) {
  if (q.encoding == moe::Encoding::E2M1)
    return arith::MulFOp::create(b, floatWeights(b, i), scale[0]);
  int64_t mask = (int64_t(1) << q.bits) - 1;
  bool isLast = i + 1 == q.perWord();
  if (isFused()) {
    Value value =
        isLast ? shift<arith::ShRUIOp>(b, row, i * q.bits)
               : arith::AndIOp::create(b, row, splat(b, mask << i * q.bits));
    return vector::FMAOp::create(b, toFloat(b, value), scale[isLast ? 0 : i],
                                 zero);
  }
  Value value = shift<arith::ShRUIOp>(b, row, i * q.bits);
  if (!isLast)
    value = arith::AndIOp::create(b, value, splat(b, mask));
  if (q.encoding == moe::Encoding::Signed && !q.zeroPoint.isInteger())
    value = arith::SubIOp::create(b, value, splat(b, (mask + 1) / 2));
  Value difference = arith::SubFOp::create(b, toFloat(b, value), zero);
  return arith::MulFOp::create(b, difference, scale[0]);
}

/// `body` for words [0, depth) of panels that begin with word `first` of K,
/// block by block; it returns the values to carry.
static SmallVector<Value> forWords(
    LoopBuilder &b, const Quantization &q,
    MutableArrayRef<QuantizedPanel> panels, Value first, Value depth,
    ValueRange init,
    llvm::function_ref<SmallVector<Value>(LoopBuilder &, Value, ValueRange)>
        body) {
  auto forBlock = [&](LoopBuilder &b, Value block, Value begin, Value end,
                      ValueRange init) {
    for (QuantizedPanel &panel : panels)
      panel.loadBlock(b, block);
    return b.loop(begin, end, 1, init,
                  [&](LoopBuilder &b, Value step, ValueRange carried) {
                    for (QuantizedPanel &panel : panels)
                      panel.loadWords(b, step);
                    return body(b, step, carried);
                  });
  };
  if (q.blockSize == 0)
    return forBlock(b, b.index(0), b.index(0), depth, init);
  int64_t perBlock = q.blockSize / q.perWord();
  Value end = b.add(first, depth);
  return b.loop(b.div(first, perBlock), b.ceilDiv(end, perBlock), 1, init,
                [&](LoopBuilder &b, Value block, ValueRange carried) {
                  Value from = b.max(b.mul(block, perBlock), first);
                  Value to = b.min(b.mul(b.add(block, 1), perBlock), end);
                  return forBlock(b, block, b.sub(from, first),
                                  b.sub(to, first), carried);
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
  signature.panels(q, 2);
  signature.buffer(b.getF32Type());
  signature.index(2);
  func::FuncOp function = signature.create(module, name);

  Value a = signature.next(), a0 = signature.next();
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
  SmallVector<Value> sums(tile.rows * tile.panels,
                          b.constant(cast<TypedAttr>(b.getZeroAttr(sumType))));
  sums = forWords(
      b, q, panels, b.index(0), depth, sums,
      [&](LoopBuilder &b, Value step, ValueRange carried) {
        SmallVector<Value> next(carried);
        Value k = b.add(a0, b.mul(step, q.perWord()));
        for (int64_t i = 0; i < q.perWord(); ++i) {
          SmallVector<Value> rows;
          for (int64_t row = 0; row < tile.rows; ++row) {
            Value element = b.load(a, b.add(k, row * tile.rowStride + i));
            rows.push_back(vector::BroadcastOp::create(b, sumType, element));
          }
          for (auto [p, panel] : llvm::enumerate(panels)) {
            Value weights = panel.weights(b, i);
            for (int64_t row = 0; row < tile.rows; ++row) {
              Value &sum = next[row * tile.panels + p];
              sum = vector::FMAOp::create(b, rows[row], weights, sum);
            }
          }
        }
        return next;
      });
  for (int64_t row = 0; row < tile.rows; ++row)
    for (int64_t panel = 0; panel < tile.panels; ++panel)
      vector::StoreOp::create(
          b, sums[row * tile.panels + panel], c,
          ValueRange{b.add(c0, row * tile.tileStride + panel * kPanelColumns)});
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
  signature.index(3);
  func::FuncOp function = signature.create(module, name);

  QuantizedPanel panel(q);
  panel.words = signature.next(), panel.word0 = signature.next();
  panel.scales = signature.next(), panel.scale0 = signature.next();
  if (q.zeroPoint)
    panel.zeroPoints = signature.next(), panel.zero0 = signature.next();
  Value out = signature.next(), out0 = signature.next(),
        first = signature.next(), depth = signature.next();
  forWords(b, q, panel, first, depth, ValueRange(),
           [&](LoopBuilder &b, Value step, ValueRange) -> SmallVector<Value> {
             Value at = b.add(out0, b.mul(step, q.perWord() * kPanelColumns));
             for (int64_t i = 0; i < q.perWord(); ++i)
               vector::StoreOp::create(
                   b, panel.weights(b, i), out,
                   ValueRange{b.add(at, i * kPanelColumns)});
             return {};
           });
  func::ReturnOp::create(b);
  return function;
}
