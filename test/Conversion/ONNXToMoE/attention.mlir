// RUN: moe-opt %s --convert-onnx-to-moe --canonicalize --cse | FileCheck %s

// CHECK-DAG: #[[KEY:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d4, d5)>
// CHECK-DAG: #[[QUERY:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d3, d1, d2, d4)>
// CHECK-DAG: #[[SCORES:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3, d5)>
// CHECK-DAG: #[[WEIGHTS:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3, d4)>
// CHECK-DAG: #[[RESULT:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d3, d1, d2, d5)>

// Four heads share two keys: a loop of their own instead of copies. Queries and
// the result are read and written where they lie.
// CHECK-LABEL: func.func @cached
// CHECK-SAME: (%[[Q:[^:]*]]: tensor<?x?x32xf32>
// CHECK-DAG: %[[SCALE:.*]] = arith.constant 0.353553385 : f32
// CHECK-DAG: %[[NONE:.*]] = arith.constant 0xFF800000 : f32
// CHECK: tensor.expand_shape %[[Q]] {{\[\[}}0], [1], [2, 3]]
// CHECK: %[[K:.*]] = tensor.concat dim(2)
// CHECK: %[[V:.*]] = tensor.concat dim(2)
// CHECK: arith.mulf %{{.*}}, %[[SCALE]]
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%[[K]] : tensor<?x2x?x8xf32>) outs(%{{.*}} : tensor<?x2x8x?xf32>)
// CHECK: linalg.generic {indexing_maps = [#[[QUERY]], #[[KEY]], #[[SCORES]]], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "parallel"]}
// One operation for all that masks.
// CHECK: linalg.generic
// CHECK: %[[KEYAT:.*]] = linalg.index 3
// CHECK: %[[QUERYAT:.*]] = linalg.index 2
// CHECK: %[[POSITION:.*]] = arith.addi %[[QUERYAT]]
// CHECK: %[[BEHIND:.*]] = arith.cmpi sgt, %[[KEYAT]], %[[POSITION]]
// CHECK: arith.select %[[BEHIND]], %[[NONE]]
// CHECK: arith.maximumf
// CHECK: math.exp
// CHECK: linalg.generic {indexing_maps = [#[[WEIGHTS]], #[[KEY]], #[[RESULT]]], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "parallel"]} ins(%{{.*}}, %[[V]] :
// The only division: of the result.
// CHECK: ins(%{{.*}}, %{{.*}} : tensor<?x?x4x8xf32>, tensor<?x4x?xf32>)
// CHECK: arith.divf
// CHECK-NOT: linalg.generic
// CHECK: return %{{.*}}, %[[K]], %[[V]]
func.func @cached(%q: tensor<?x?x32xf32> {moe.dims = ["b", "s", ""]}, %k: tensor<?x?x16xf32> {moe.dims = ["b", "s", ""]}, %v: tensor<?x?x16xf32> {moe.dims = ["b", "s", ""]},
                  %pk: tensor<?x2x?x8xf32> {moe.dims = ["b", "", "p", ""]}, %pv: tensor<?x2x?x8xf32> {moe.dims = ["b", "", "p", ""]}) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  %n = onnx.none : none
  %0:3 = onnx.node "Attention"(%q, %k, %v, %n, %pk, %pv) {is_causal = 1 : i64, q_num_heads = 4 : i64, kv_num_heads = 2 : i64} opset 23
      : (tensor<?x?x32xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>, none, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %0#0, %0#1, %0#2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// 16-bit floats are computed in f32 from the products to the one rounding.
// CHECK-LABEL: func.func @half
// CHECK-NOT: arith.truncf
// CHECK: arith.extf
// CHECK: math.tanh
// CHECK: math.exp %{{.*}} : f32
// CHECK: %[[Y:.*]] = arith.truncf %{{.*}} : f32 to f16
// CHECK: linalg.yield %[[Y]]
// CHECK: return
func.func @half(%x: tensor<2x3x5x8xf16>) -> tensor<*xf16> {
  %0 = onnx.node "Attention"(%x, %x, %x) {softcap = 2.0 : f32} opset 23 : (tensor<2x3x5x8xf16>, tensor<2x3x5x8xf16>, tensor<2x3x5x8xf16>) -> tensor<*xf16>
  return %0 : tensor<*xf16>
}

// New keys and values go into the buffers at each entry's own row; only the
// rows up to the total length take part.
// CHECK-LABEL: func.func @buffers
// CHECK-SAME: %[[PK:[^:]*]]: tensor<2x2x64x16xf32>
// CHECK: moe.check {{.*}}expects seqlens_k
// CHECK: %[[ALL:.*]] = tensor.insert_slice %[[PK]] into
// CHECK: %[[PADDED:.*]] = tensor.insert_slice %{{.*}} into %[[ALL]]
// CHECK: moe.check {{.*}}expects rows inside of a cache
// CHECK: %[[NEW:.*]] = scf.for {{.*}} iter_args(%[[ACC:.*]] = %[[PADDED]])
// CHECK: %[[ROWS:.*]] = tensor.extract_slice
// CHECK: tensor.insert_slice %[[ROWS]] into %[[ACC]]
// CHECK: tensor.extract_slice %[[NEW]][0, 0, 0, 0] [2, 2, %{{.*}}, 16]
func.func @buffers(%qkv: tensor<2x1x128xf32>, %pk: tensor<2x2x64x16xf32>, %pv: tensor<2x2x64x16xf32>, %len: tensor<2xi32>, %total: tensor<i32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  %n = onnx.none : none
  %0:3 = onnx.node "com.microsoft::GroupQueryAttention"(%qkv, %n, %n, %pk, %pv, %len, %total) {num_heads = 4 : i64, kv_num_heads = 2 : i64} opset 1
      : (tensor<2x1x128xf32>, none, none, tensor<2x2x64x16xf32>, tensor<2x2x64x16xf32>, tensor<2xi32>, tensor<i32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %0#0, %0#1, %0#2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// Halves are slices that are read in place; a batch of 1 broadcasts by its map.
// CHECK-LABEL: func.func @rotary
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x3x?x8xf32>
// CHECK: %[[PAIRS:.*]] = tensor.expand_shape %[[X]] {{\[\[}}0], [1], [2], [3, 4]]
// CHECK: %[[A:.*]] = tensor.extract_slice %[[PAIRS]][0, 0, 0, 0, 0]
// CHECK: %[[B:.*]] = tensor.extract_slice %[[PAIRS]][0, 0, 0, 1, 0]
// CHECK: arith.subf
// CHECK: arith.addf
// CHECK: tensor.concat dim(3)
func.func @rotary(%x: tensor<?x3x?x8xf32> {moe.dims = ["b", "", "s", ""]}, %c: tensor<1x?x4xf32> {moe.dims = ["", "s", ""]}) -> tensor<*xf32> {
  %0 = onnx.node "RotaryEmbedding"(%x, %c, %c) opset 23 : (tensor<?x3x?x8xf32>, tensor<1x?x4xf32>, tensor<1x?x4xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// CHECK-LABEL: func.func @scatter
// CHECK: moe.check {{.*}}expects rows inside of a cache of size {limit}
// CHECK: scf.for
// CHECK: %[[START:.*]] = arith.remsi
// CHECK: %[[ROOM:.*]] = arith.subi %{{.*}}, %[[START]]
// CHECK: arith.minsi
// CHECK-COUNT-2: tensor.insert_slice
func.func @scatter(%cache: tensor<2x9x4xf32>, %new: tensor<2x3x4xf32>, %at: tensor<2xi64>) -> tensor<*xf32> {
  %0 = onnx.node "TensorScatter"(%cache, %new, %at) {mode = "circular"} opset 24 : (tensor<2x9x4xf32>, tensor<2x3x4xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
