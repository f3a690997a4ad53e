// RUN: moe-opt %s --canonicalize --cse --split-input-file | FileCheck %s

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 16 : i64} : tensor<4xf32>
moe.weight @v {file = "w.bin", offset = 16 : i64, length = 16 : i64} : tensor<4xf32>

// Values of one weight are one constant, in front of everything.
// CHECK-LABEL: func @weights(
// CHECK-NEXT:    %[[W:.*]] = moe.get_weight @w
// CHECK-NEXT:    %[[V:.*]] = moe.get_weight @v
// CHECK-NEXT:    %[[IF:.*]] = arith.select %{{.*}}, %[[V]], %[[W]]
// CHECK:         return %[[W]], %[[IF]], %[[W]]
func.func @weights(%c: i1) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %0 = moe.get_weight @w : tensor<4xf32>
  %unused = moe.get_weight @v : tensor<4xf32>
  %1 = scf.if %c -> tensor<4xf32> {
    %2 = moe.get_weight @v : tensor<4xf32>
    scf.yield %2 : tensor<4xf32>
  } else {
    %2 = moe.get_weight @w : tensor<4xf32>
    scf.yield %2 : tensor<4xf32>
  }
  %3 = moe.get_weight @w : tensor<4xf32>
  return %0, %1, %3 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// A check that is known to hold goes; one that fails stays, as does one that is
// not known.
// CHECK-LABEL: func @checks(
// CHECK-NEXT:    %[[FALSE:.*]] = arith.constant false
// CHECK-NEXT:    moe.check %[[FALSE]], {{.*}}message = "stays"
// CHECK-NEXT:    moe.check %{{.*}}message = "unknown"
// CHECK-NEXT:    return
func.func @checks(%c: i1, %n: i64) {
  %true = arith.constant true
  %false = arith.constant false
  %same = arith.cmpi eq, %n, %n : i64
  moe.check %true, %n, %n {node = "n", message = "goes"}
  moe.check %same, %n, %n {node = "n", message = "goes"}
  moe.check %false, %n, %n {node = "n", message = "stays"}
  moe.check %c, %n, %n {node = "n", message = "unknown"}
  return
}

// -----

// What has no user goes, although it is checked when it runs.
// CHECK-LABEL: func @unused(
// CHECK-NEXT:    return
func.func @unused(%l: tensor<?x8xf32>, %x: tensor<?x16xf32>, %w: tensor<8x16x16xf32>) {
  %wt, %e = moe.route %l {k = 2 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  %r, %s, %m = moe.dispatch %x, %e : tensor<?x16xf32>, tensor<?x2xi32> -> tensor<?x16xf32>, tensor<8xi64>, tensor<?x2xi32>
  %h = moe.grouped_matmul %r, %s weights(%w) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x16x16xf32>) -> tensor<?x16xf32>
  %y = moe.combine %h, %wt, %m : tensor<?x16xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x16xf32>
  return
}

// -----

// A branch may be there to keep a dispatch from values that it would refuse.
// CHECK-LABEL: func @guarded(
// CHECK:         scf.for
// CHECK:           moe.dispatch
func.func @guarded(%x: tensor<?x16xf32>, %e: tensor<?x2xi32>, %n: index, %i: tensor<?x2xi32>) -> tensor<?x2xi32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %0 = scf.for %k = %c0 to %n step %c1 iter_args(%a = %i) -> tensor<?x2xi32> {
    %r, %s, %m = moe.dispatch %x, %e : tensor<?x16xf32>, tensor<?x2xi32> -> tensor<?x16xf32>, tensor<8xi64>, tensor<?x2xi32>
    scf.yield %m : tensor<?x2xi32>
  }
  return %0 : tensor<?x2xi32>
}

// -----

// Epilogues: equal and unused operands go, and then the epilogue.
// CHECK-LABEL: func @epilogue(
// CHECK-SAME:    %[[X:.*]]: tensor<?x16xf32>, %[[S:.*]]: tensor<8xi64>, %[[W:.*]]: tensor<8x24x16xf32>, %[[V:.*]]: tensor<8x24x16xf32>, %[[A:.*]]: tensor<8x24xf32>, %[[B:.*]]: tensor<8x24xf32>, %[[P:.*]]: tensor<?x24xf32>, %[[Q:.*]]: tensor<?x24xf32>)
func.func @epilogue(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>, %v: tensor<8x24x16xf32>, %a: tensor<8x24xf32>, %b: tensor<8x24xf32>, %p: tensor<?x24xf32>, %q: tensor<?x24xf32>)
    -> (tensor<?x24xf32>, tensor<?x24xf32>, tensor<?x24xf32>, tensor<?x24xf32>) {
  // CHECK: moe.grouped_matmul %[[X]], %[[S]] weights(%[[W]]) biases(%[[A]] : tensor<8x24xf32>) : {{.*}} -> tensor<?x24xf32>{{$}}
  %0 = moe.grouped_matmul %x, %s weights(%w, %v) biases(%a, %b : tensor<8x24xf32>, tensor<8x24xf32>) extras(%p : tensor<?x24xf32>) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>, tensor<8x24x16xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%e0: f32, %e1: f32, %e2: f32):
    moe.yield %e0 : f32
  }
  // CHECK: moe.grouped_matmul %[[X]], %[[S]] weights(%[[W]]) extras(%[[P]], %[[Q]] : {{.*}} epilogue {
  // CHECK-NEXT: ^bb0(%[[C:.*]]: f32, %[[D:.*]]: f32, %[[E:.*]]: f32):
  // CHECK-NEXT:   %[[F:.*]] = arith.mulf %[[C]], %[[C]]
  // CHECK-NEXT:   %[[G:.*]] = arith.addf %[[F]], %[[D]]
  // CHECK-NEXT:   %[[H:.*]] = arith.addf %[[G]], %[[E]]
  // CHECK-NEXT:   %[[I:.*]] = arith.addf %[[H]], %[[D]]
  // CHECK-NEXT:   moe.yield %[[I]]
  %1 = moe.grouped_matmul %x, %s weights(%w, %w) extras(%p, %q, %p : tensor<?x24xf32>, tensor<?x24xf32>, tensor<?x24xf32>) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>, tensor<8x24x16xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%e0: f32, %e1: f32, %e2: f32, %e3: f32, %e4: f32):
    %e5 = arith.mulf %e0, %e1 : f32
    %e6 = arith.addf %e5, %e2 : f32
    %e7 = arith.addf %e6, %e3 : f32
    %e8 = arith.addf %e7, %e4 : f32
    moe.yield %e8 : f32
  }
  // Equal weights with other biases are two accumulators.
  // CHECK: moe.grouped_matmul %[[X]], %[[S]] weights(%[[W]], %[[W]]) biases(%[[A]], %[[B]] :
  %2 = moe.grouped_matmul %x, %s weights(%w, %w) biases(%a, %b : tensor<8x24xf32>, tensor<8x24xf32>) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>, tensor<8x24x16xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%e0: f32, %e1: f32):
    %e3 = arith.mulf %e0, %e1 : f32
    moe.yield %e3 : f32
  }
  // One weight stays whatever the epilogue reads.
  // CHECK: moe.grouped_matmul %[[X]], %[[S]] weights(%[[W]]) extras(%[[Q]] : {{.*}} epilogue {
  // CHECK-NEXT: ^bb0(%{{.*}}: f32, %[[J:.*]]: f32):
  // CHECK-NEXT:   moe.yield %[[J]]
  %3 = moe.grouped_matmul %x, %s weights(%w, %v) extras(%q : tensor<?x24xf32>) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>, tensor<8x24x16xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%e0: f32, %e1: f32, %e2: f32):
    moe.yield %e2 : f32
  }
  return %0, %1, %2, %3 : tensor<?x24xf32>, tensor<?x24xf32>, tensor<?x24xf32>, tensor<?x24xf32>
}
