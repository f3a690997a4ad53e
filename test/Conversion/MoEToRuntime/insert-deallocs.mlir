// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(moe-insert-deallocs))' | FileCheck %s

func.func private @use(memref<?xf32>)

// Behind the last use, of the buffer or of a view of a view.
// CHECK-LABEL: func @views(
// CHECK:         %[[A:.*]] = memref.alloc
// CHECK:         %[[B:.*]] = memref.alloc
// CHECK:         call @use(%[[B]])
// CHECK-NEXT:    memref.dealloc %[[B]]
// CHECK:         memref.subview
// CHECK:         memref.cast
// CHECK:         call @use
// CHECK-NEXT:    memref.dealloc %[[A]]
// CHECK:         call @use
func.func @views(%n: index, %x: memref<?xf32>) {
  %a = memref.alloc(%n) : memref<?xf32>
  %b = memref.alloc(%n) : memref<?xf32>
  func.call @use(%b) : (memref<?xf32>) -> ()
  %v = memref.subview %a[0][8][1] : memref<?xf32> to memref<8xf32, strided<[1]>>
  %w = memref.cast %v : memref<8xf32, strided<[1]>> to memref<?xf32>
  func.call @use(%w) : (memref<?xf32>) -> ()
  func.call @use(%x) : (memref<?xf32>) -> ()
  return
}

// A use in a loop lasts as long as the loop; a buffer made in the loop is freed
// in each iteration; one without a use at once.
// CHECK-LABEL: func @loops(
// CHECK:         %[[A:.*]] = memref.alloc
// CHECK:         scf.for
// CHECK:           %[[B:.*]] = memref.alloc
// CHECK:           memref.store %{{.*}}, %[[A]]
// CHECK:           memref.store %{{.*}}, %[[B]]
// CHECK-NEXT:      memref.dealloc %[[B]]
// CHECK-NEXT:    }
// CHECK-NEXT:    memref.dealloc %[[A]]
// CHECK-NEXT:    %[[C:.*]] = memref.alloc
// CHECK-NEXT:    memref.dealloc %[[C]]
func.func @loops(%n: index, %f: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc(%n) : memref<?xf32>
  scf.for %i = %c0 to %n step %c1 {
    %b = memref.alloc(%n) : memref<?xf32>
    memref.store %f, %a[%i] : memref<?xf32>
    memref.store %f, %b[%i] : memref<?xf32>
  }
  %c = memref.alloc(%n) : memref<?xf32>
  return
}

// What leaves its block, itself or through what may be a name of it, is left to
// the arena.
// CHECK-LABEL: func @leaves(
// CHECK-NOT:     memref.dealloc
// CHECK:         return
func.func @leaves(%n: index, %c: i1, %x: memref<?xf32>) -> (memref<?xf32>, memref<?xf32>) {
  %a = memref.alloc(%n) : memref<?xf32>
  %b = memref.alloc(%n) : memref<?xf32>
  %r = scf.if %c -> memref<?xf32> {
    %d = memref.alloc(%n) : memref<?xf32>
    scf.yield %d : memref<?xf32>
  } else {
    scf.yield %b : memref<?xf32>
  }
  %s = arith.select %c, %r, %x : memref<?xf32>
  return %a, %s : memref<?xf32>, memref<?xf32>
}

// A loop that carries a buffer: the first one lives as long as the results.
// CHECK-LABEL: func @carried(
// CHECK:         %[[A:.*]] = memref.alloc
// CHECK:         %[[R:.*]] = scf.for
// CHECK-NOT:     dealloc
// CHECK:         call @use(%[[R]])
// CHECK-NEXT:    memref.dealloc %[[A]]
func.func @carried(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc(%n) : memref<?xf32>
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%b = %a) -> memref<?xf32> {
    func.call @use(%b) : (memref<?xf32>) -> ()
    scf.yield %b : memref<?xf32>
  }
  func.call @use(%r) : (memref<?xf32>) -> ()
  return
}
