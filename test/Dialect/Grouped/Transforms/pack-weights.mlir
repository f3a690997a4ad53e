// RUN: moe-opt %s --grouped-pack-weights --canonicalize --cse --split-input-file | FileCheck %s

// Packs of weights become symbols, equal packs the same one; a pack that was
// there before is found again.
// CHECK:       moe.weight @gate
// CHECK-NEXT:  grouped.packed_weight @gate__panels [@gate, @up] : tensor<8x4x32x16xf32>
// CHECK-NEXT:  moe.weight @up
// CHECK-NEXT:  grouped.packed_weight @known [@up] : tensor<8x2x32x16xf32>
moe.weight @gate {file = "m.data", offset = 0 : i64, length = 24576 : i64} : tensor<8x24x32xf32>
moe.weight @up {file = "m.data", offset = 0 : i64, length = 24576 : i64} : tensor<8x24x32xf32>
grouped.packed_weight @known [@up] : tensor<8x2x32x16xf32>
// CHECK-LABEL: func @weights(
// CHECK-DAG:     %[[P:.*]] = moe.get_weight @gate__panels : tensor<8x4x32x16xf32>
// CHECK-DAG:     %[[Q:.*]] = moe.get_weight @known : tensor<8x2x32x16xf32>
// CHECK-NOT:     grouped.pack
// CHECK:         return %[[P]], %[[P]], %[[Q]]
func.func @weights() -> (tensor<8x4x32x16xf32>, tensor<8x4x32x16xf32>, tensor<8x2x32x16xf32>) {
  %g = moe.get_weight @gate : tensor<8x24x32xf32>
  %u = moe.get_weight @up : tensor<8x24x32xf32>
  %0 = grouped.pack %g, %u : tensor<8x24x32xf32>, tensor<8x24x32xf32> -> tensor<8x4x32x16xf32>
  %1 = grouped.pack %g, %u : tensor<8x24x32xf32>, tensor<8x24x32xf32> -> tensor<8x4x32x16xf32>
  %2 = grouped.pack %u : tensor<8x24x32xf32> -> tensor<8x2x32x16xf32>
  return %0, %1, %2 : tensor<8x4x32x16xf32>, tensor<8x4x32x16xf32>, tensor<8x2x32x16xf32>
}

// -----

// Packs in another order, or of some of the same weights, are other packs.
moe.weight @a {file = "m.data", offset = 0 : i64, length = 1024 : i64} : tensor<1x16x16xf32>
moe.weight @b {file = "m.data", offset = 0 : i64, length = 1024 : i64} : tensor<1x16x16xf32>
// CHECK-DAG: grouped.packed_weight @[[AB:.*]] [@a, @b]
// CHECK-DAG: grouped.packed_weight @[[BA:.*]] [@b, @a]
// CHECK-DAG: grouped.packed_weight @[[A:.*]] [@a] :
// CHECK-LABEL: func @order(
// CHECK-DAG:     %[[X:.*]] = moe.get_weight @[[AB]]
// CHECK-DAG:     %[[Y:.*]] = moe.get_weight @[[BA]]
// CHECK-DAG:     %[[Z:.*]] = moe.get_weight @[[A]] :
// CHECK:         return %[[X]], %[[Y]], %[[Z]]
func.func @order() -> (tensor<1x2x16x16xf32>, tensor<1x2x16x16xf32>, tensor<1x1x16x16xf32>) {
  %a = moe.get_weight @a : tensor<1x16x16xf32>
  %b = moe.get_weight @b : tensor<1x16x16xf32>
  %0 = grouped.pack %a, %b : tensor<1x16x16xf32>, tensor<1x16x16xf32> -> tensor<1x2x16x16xf32>
  %1 = grouped.pack %b, %a : tensor<1x16x16xf32>, tensor<1x16x16xf32> -> tensor<1x2x16x16xf32>
  %2 = grouped.pack %a : tensor<1x16x16xf32> -> tensor<1x1x16x16xf32>
  return %0, %1, %2 : tensor<1x2x16x16xf32>, tensor<1x2x16x16xf32>, tensor<1x1x16x16xf32>
}

// -----

// Values of a run are packed by loops: [E, panel, k / 2, lane], where a lane of
// bf16 is a column and the parity of k; outside of the weight it is zero.
// CHECK-LABEL: func @values(
// CHECK-SAME:    %[[W:.*]]: tensor<8x24x33xbf16>, %[[V:.*]]: tensor<8x24x33xbf16>)
// CHECK-DAG:     %[[ZERO:.*]] = arith.constant 0.000000e+00 : bf16
// CHECK:         linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel", "parallel"]} outs(%{{.*}} : tensor<8x4x17x32xbf16>)
// CHECK-DAG:       %[[E:.*]] = linalg.index 0
// CHECK-DAG:       %[[PANEL:.*]] = linalg.index 1
// CHECK-DAG:       %[[STEP:.*]] = linalg.index 2
// CHECK-DAG:       %[[LANE:.*]] = linalg.index 3
// CHECK-DAG:       %[[UNIT:.*]] = arith.divui %[[PANEL]], %c2
// CHECK-DAG:       %[[FIRST:.*]] = arith.muli %[[UNIT]], %c16
// CHECK-DAG:       %[[COLUMN:.*]] = arith.divui %[[LANE]], %c2
// CHECK-DAG:       %[[N:.*]] = arith.addi %[[FIRST]], %[[COLUMN]]
// CHECK-DAG:       %[[EVEN:.*]] = arith.muli %[[STEP]], %c2
// CHECK-DAG:       %[[PARITY:.*]] = arith.remui %[[LANE]], %c2
// CHECK-DAG:       %[[K:.*]] = arith.addi %[[EVEN]], %[[PARITY]]
// CHECK-DAG:       %[[IN:.*]] = arith.minui %[[N]], %c23
// CHECK-DAG:       %[[IK:.*]] = arith.minui %[[K]], %c32
// CHECK-DAG:       tensor.extract %[[W]][%[[E]], %[[IN]], %[[IK]]]
// CHECK-DAG:       tensor.extract %[[V]][%[[E]], %[[IN]], %[[IK]]]
// CHECK:           %[[LAST:.*]] = arith.select %{{.*}}, %{{.*}}, %[[ZERO]] : bf16
// CHECK-NEXT:      linalg.yield %[[LAST]]
func.func @values(%w: tensor<8x24x33xbf16>, %v: tensor<8x24x33xbf16>) -> tensor<8x4x17x32xbf16> {
  %0 = grouped.pack %w, %v : tensor<8x24x33xbf16>, tensor<8x24x33xbf16> -> tensor<8x4x17x32xbf16>
  return %0 : tensor<8x4x17x32xbf16>
}

// -----

// Quantized weights as words, their zero points as bytes, even if both are the
// same symbol.
moe.weight @q {file = "m.data", offset = 0 : i64, length = 3072 : i64} : tensor<8x24x32xi4>
// CHECK-DAG: grouped.packed_weight @[[WORDS:.*]] [@q] : tensor<8x2x4x16xi32>
// CHECK-DAG: grouped.packed_weight @[[BYTES:.*]] [@q] : tensor<8x2x32x16xi8>
// CHECK-LABEL: func @integers(
// CHECK-DAG:     moe.get_weight @[[WORDS]] : tensor<8x2x4x16xi32>
// CHECK-DAG:     moe.get_weight @[[BYTES]] : tensor<8x2x32x16xi8>
func.func @integers() -> (tensor<8x2x4x16xi32>, tensor<8x2x32x16xi8>) {
  %q = moe.get_weight @q : tensor<8x24x32xi4>
  %0 = grouped.pack %q : tensor<8x24x32xi4> -> tensor<8x2x4x16xi32>
  %1 = grouped.pack %q : tensor<8x24x32xi4> -> tensor<8x2x32x16xi8>
  return %0, %1 : tensor<8x2x4x16xi32>, tensor<8x2x32x16xi8>
}

// -----

// At run time a word is put together from four bytes, the first one lowest.
// CHECK-LABEL: func @words(
// CHECK:         linalg.generic {{.*}} outs(%{{.*}} : tensor<1x1x2x16xi32>)
// CHECK:           %[[WORD:.*]] = linalg.index 2
// CHECK:           %[[FIRST:.*]] = arith.muli %[[WORD]], %c4
// CHECK:           %[[B0:.*]] = arith.extui %{{.*}} : i8 to i32
// CHECK:           %[[B1:.*]] = arith.extui %{{.*}} : i8 to i32
// CHECK:           %[[S1:.*]] = arith.shli %[[B1]], %c8_i32
// CHECK:           %[[O1:.*]] = arith.ori %[[B0]], %[[S1]]
// CHECK:           arith.shli %{{.*}}, %c16_i32
// CHECK:           arith.shli %{{.*}}, %c24_i32
// CHECK:           %[[LAST:.*]] = arith.ori
// CHECK-NEXT:      linalg.yield %[[LAST]] : i32
func.func @words(%w: tensor<1x3x6xi8>) -> tensor<1x1x2x16xi32> {
  %0 = grouped.pack %w : tensor<1x3x6xi8> -> tensor<1x1x2x16xi32>
  return %0 : tensor<1x1x2x16xi32>
}
