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

// A buffer that each iteration makes anew: the one before is freed when it has
// been read, the last one with the result.
// CHECK-LABEL: func @moved(
// CHECK-NOT:     dealloc
// CHECK:         %[[R:.*]] = scf.for {{.*}} iter_args(%[[B:.*]] = %{{.*}})
// CHECK:           memref.alloc
// CHECK:           call @use(%[[B]])
// CHECK-NEXT:      memref.dealloc %[[B]]
// CHECK-NEXT:      scf.yield
// CHECK:         call @use(%[[R]])
// CHECK-NEXT:    memref.dealloc %[[R]]
// CHECK-NOT:     dealloc
// CHECK:         return
func.func @moved(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc(%c0) : memref<?xf32>
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%b = %a) -> memref<?xf32> {
    %d = memref.alloc(%i) : memref<?xf32>
    func.call @use(%b) : (memref<?xf32>) -> ()
    scf.yield %d : memref<?xf32>
  }
  func.call @use(%r) : (memref<?xf32>) -> ()
  return
}

// The same of a while loop, and a branch that makes the buffer.
// CHECK-LABEL: func @movedByWhile(
// CHECK-NOT:     dealloc
// CHECK:         %[[R:.*]]:2 = scf.while
// CHECK:         ^bb0(%{{.*}}: index, %[[B:.*]]: memref<?xf32>):
// CHECK:           %[[E:.*]] = scf.if
// CHECK-NOT:         dealloc
// CHECK:           call @use(%[[B]])
// CHECK:           memref.dealloc %[[B]]
// CHECK-NEXT:      scf.yield %{{.*}}, %[[E]]
// CHECK:         call @use(%[[R]]#1)
// CHECK-NEXT:    memref.dealloc %[[R]]#1
func.func @movedByWhile(%n: index, %c: i1) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc(%c0) : memref<?xf32>
  %r:2 = scf.while (%i = %c0, %b = %a) : (index, memref<?xf32>) -> (index, memref<?xf32>) {
    %below = arith.cmpi slt, %i, %n : index
    scf.condition(%below) %i, %b : index, memref<?xf32>
  } do {
  ^bb0(%i: index, %b: memref<?xf32>):
    %e = scf.if %c -> memref<?xf32> {
      %d = memref.alloc(%i) : memref<?xf32>
      scf.yield %d : memref<?xf32>
    } else {
      %d = memref.alloc(%n) : memref<?xf32>
      scf.yield %d : memref<?xf32>
    }
    func.call @use(%b) : (memref<?xf32>) -> ()
    %j = arith.addi %i, %c1 : index
    scf.yield %j, %e : index, memref<?xf32>
  }
  func.call @use(%r#1) : (memref<?xf32>) -> ()
  return
}

// A view of the carried value is a slice of its own result: nothing is freed
// inside.
// CHECK-LABEL: func @viewOfCarried(
// CHECK:         scf.for
// CHECK-NOT:       dealloc
// CHECK:           scf.yield
func.func @viewOfCarried(%n: index, %x: memref<4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc() : memref<4xf32>
  %b = memref.alloc() : memref<4xf32>
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%p = %a, %q = %b) -> (memref<4xf32>, memref<4xf32>) {
    %d = memref.alloc() : memref<4xf32>
    scf.yield %d, %p : memref<4xf32>, memref<4xf32>
  }
  %v = memref.cast %r#1 : memref<4xf32> to memref<?xf32>
  func.call @use(%v) : (memref<?xf32>) -> ()
  return
}
