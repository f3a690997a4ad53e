// RUN: moe-opt %s --convert-onnx-to-moe --canonicalize --cse | FileCheck %s

// CHECK-DAG: #[[ID:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[ROW:.*]] = affine_map<(d0, d1) -> (d1)>
// CHECK-DAG: #[[UNIT:.*]] = affine_map<(d0, d1) -> (d0, 0)>
// CHECK-DAG: #[[SCALAR:.*]] = affine_map<(d0, d1) -> ()>

// Broadcasts are maps.
// CHECK-LABEL: func.func @broadcast
// CHECK: linalg.generic {indexing_maps = [#[[ID]], #[[ROW]], #[[ID]]]
// CHECK: linalg.generic {indexing_maps = [#[[ID]], #[[UNIT]], #[[ID]]]
// CHECK: linalg.generic {indexing_maps = [#[[ID]], #[[SCALAR]], #[[ID]]], {{.*}} ins(%{{.*}}, %{{.*}} : tensor<?x4xf32>, f32)
// CHECK-NOT: moe.check
// CHECK: return {{.*}} : tensor<?x4xf32>
func.func @broadcast(%x: tensor<?x4xf32>, %r: tensor<4xf32>, %c: tensor<?x1xf32>) -> tensor<*xf32> {
  %one = onnx.constant dense<2.5> : tensor<f32>
  %n = onnx.constant dense<1> : tensor<1xi64>
  %0 = onnx.node "Add"(%x, %r) opset 14 : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<*xf32>
  %m = onnx.node "ReduceMean"(%x, %n) opset 18 : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %1 = onnx.node "Sub"(%0, %m) opset 14 : (tensor<*xf32>, tensor<?x1xf32>) -> tensor<*xf32>
  %2 = onnx.node "Mul"(%1, %one) opset 14 : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  return %2 : tensor<*xf32>
}

// Two sizes of which nothing is known: one may be 1, anything else is an error.
// CHECK-LABEL: func.func @undecided
// CHECK: moe.check %{{.*}} {message = "expects shapes that broadcast, got sizes {found} and {limit}", node = "node 'n' (Add)"}
// CHECK: linalg.generic
// CHECK: arith.select %{{.*}}, %{{.*}}, %{{.*}} : index
// CHECK: tensor.extract
func.func @undecided(%x: tensor<?xf32>, %y: tensor<?xf32>) -> tensor<*xf32> {
  %0 = onnx.node "Add"(%x, %y) name "n" opset 14 : (tensor<?xf32>, tensor<?xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// 16 bits are computed in f32, and rounded by each operator.
// CHECK-LABEL: func.func @half
// CHECK: ^bb0(%[[X:.*]]: bf16, %[[Y:.*]]: bf16, %{{.*}}: bf16):
// CHECK-DAG: %[[A:.*]] = arith.extf %[[X]] : bf16 to f32
// CHECK-DAG: %[[B:.*]] = arith.extf %[[Y]] : bf16 to f32
// CHECK: %[[S:.*]] = arith.addf %[[A]], %[[B]] : f32
// CHECK: arith.truncf %[[S]] : f32 to bf16
func.func @half(%x: tensor<4xbf16>, %y: tensor<4xbf16>) -> tensor<4xbf16> {
  %0 = onnx.node "Add"(%x, %y) opset 14 : (tensor<4xbf16>, tensor<4xbf16>) -> tensor<4xbf16>
  return %0 : tensor<4xbf16>
}

// Integer division: by zero is checked, and the one overflow wraps.
// CHECK-LABEL: func.func @divide
// CHECK: moe.check %{{.*}} {message = "expects no integer division by {limit}, got {found} of them"
// CHECK: ^bb0(%[[X:.*]]: i32, %[[Y:.*]]: i32, %{{.*}}: i32):
// CHECK: %[[FLIP:.*]] = arith.cmpi eq, %[[Y]], %c-1
// CHECK: %[[SAFE:.*]] = arith.select %[[FLIP]]
// CHECK: arith.divsi %[[X]], %[[SAFE]]
func.func @divide(%x: tensor<?xi32>, %y: tensor<?xi32>) -> tensor<*xi32> {
  %0 = onnx.node "Div"(%x, %y) opset 14 : (tensor<?xi32>, tensor<?xi32>) -> tensor<*xi32>
  return %0 : tensor<*xi32>
}

// Unsigned tensors are signless; the signature keeps what they are.
// CHECK-LABEL: func.func @unsigned
// CHECK-SAME: (%{{.*}}: tensor<4xi8> {moe.unsigned}) -> (tensor<4xi8> {moe.unsigned}, tensor<4xf32>)
// CHECK: arith.maxui
// CHECK: arith.uitofp
func.func @unsigned(%x: tensor<4xui8>) -> (tensor<4xui8>, tensor<4xf32>) {
  %c = onnx.constant dense<200> : tensor<ui8>
  %0 = onnx.node "Max"(%x, %c) opset 13 : (tensor<4xui8>, tensor<ui8>) -> tensor<4xui8>
  %1 = onnx.node "Cast"(%x) {to = 1 : i64} opset 13 : (tensor<4xui8>) -> tensor<4xf32>
  return %0, %1 : tensor<4xui8>, tensor<4xf32>
}

// All outputs named, the mean among them, which there is not: only the sum is used.
// CHECK-LABEL: func.func @skip_norm
// CHECK: return %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?x?x8xf32>
func.func @skip_norm(%x: tensor<?x?x8xf32>, %s: tensor<?x?x8xf32>, %g: tensor<8xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %0:4 = onnx.node "com.microsoft::SkipSimplifiedLayerNormalization"(%x, %s, %g) opset 1
    : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %0#0, %0#3 : tensor<*xf32>, tensor<*xf32>
}
