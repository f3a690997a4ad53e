// RUN: moe-opt %s --split-input-file --verify-diagnostics

// One case per diagnostic; the numbers are those of docs/Spec.md.

// G1: the panels of weights.

// expected-error@+1 {{'grouped.packed_weight' op expects at least one source}}
grouped.packed_weight @p [] : tensor<8x2x16x16xf32>

// -----

// expected-error@+1 {{'grouped.packed_weight' op expects @w to name a weight}}
grouped.packed_weight @p [@w] : tensor<8x2x16x16xf32>

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 16 : i64} : tensor<2x2xf32>
// expected-error@+1 {{'grouped.packed_weight' op expects @w to be [E, N, K] of integers or floats, got 'tensor<2x2xf32>'}}
grouped.packed_weight @p [@w] : tensor<8x2x16x16xf32>

// -----

// Both have two panels.
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 12288 : i64} : tensor<8x24x16xf32>
moe.weight @v {file = "w.bin", offset = 0 : i64, length = 10240 : i64} : tensor<8x20x16xf32>
// expected-error@+1 {{'grouped.packed_weight' op expects sources of one type, got 'tensor<8x20x16xf32>' and 'tensor<8x24x16xf32>'}}
grouped.packed_weight @p [@w, @v] : tensor<8x4x16x16xf32>

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 12288 : i64} : tensor<8x24x16xf32>
// expected-error@+1 {{'grouped.packed_weight' op expects panels of type 'tensor<8x2x16x16xf32>', got 'tensor<8x4x16x16xf32>'}}
grouped.packed_weight @p [@w] : tensor<8x4x16x16xf32>

// -----

// Two consecutive k of a column share 32 bits.
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 6528 : i64} : tensor<8x24x17xbf16>
// expected-error@+1 {{'grouped.packed_weight' op expects panels of type 'tensor<8x2x9x32xbf16>', got 'tensor<8x2x17x16xbf16>'}}
grouped.packed_weight @p [@w] : tensor<8x2x17x16xbf16>

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 12288 : i64} : tensor<8x24x16xf32>
// expected-error@+1 {{'grouped.packed_weight' op attribute 'type' failed to satisfy constraint: type attribute of 4D tensor of}}
grouped.packed_weight @p [@w] : tensor<8x24x16xf32>

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 0 : i64} : tensor<0x24x288230376151711744xf32>
// expected-error@+1 {{'grouped.packed_weight' op expects fewer than 2^63 rows, and bits in each, got 1 weights of type 'tensor<0x24x288230376151711744xf32>'}}
grouped.packed_weight @p [@w] : tensor<0x2x16x16xf32>

// -----

func.func @f() {
  // expected-error@+1 {{'grouped.pack' op expects at least one weight}}
  %p = "grouped.pack"() : () -> tensor<8x2x16x16xf32>
  return
}

// -----

func.func @f(%w: tensor<?x24x16xf32>) {
  // expected-error@+1 {{'grouped.pack' op expects weights of static shape, got 'tensor<?x24x16xf32>'}}
  %p = grouped.pack %w : tensor<?x24x16xf32> -> tensor<8x2x16x16xf32>
  return
}

// -----

func.func @f(%w: tensor<8x24x16xf32>, %v: tensor<8x20x16xf32>) {
  // expected-error@+1 {{'grouped.pack' op expects weights of one type, got 'tensor<8x20x16xf32>' and 'tensor<8x24x16xf32>'}}
  %p = grouped.pack %w, %v : tensor<8x24x16xf32>, tensor<8x20x16xf32> -> tensor<8x4x16x16xf32>
  return
}

// -----

func.func @f(%w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'grouped.pack' op expects panels of type 'tensor<8x2x16x16xf32>', got 'tensor<8x1x16x16xf32>'}}
  %p = grouped.pack %w : tensor<8x24x16xf32> -> tensor<8x1x16x16xf32>
  return
}

// -----

// Integers are packed as words, their zero points as bytes.
func.func @f(%w: tensor<8x24x17xi4>) {
  // expected-error@+1 {{'grouped.pack' op expects panels of type 'tensor<8x2x3x16xi32>', got 'tensor<8x2x2x16xi32>'}}
  %p = grouped.pack %w : tensor<8x24x17xi4> -> tensor<8x2x2x16xi32>
  return
}

// -----

func.func @f(%w: tensor<8x24x17xi4>) {
  // expected-error@+1 {{'grouped.pack' op expects panels of type 'tensor<8x2x17x16xi8>', got 'tensor<8x2x9x16xi8>'}}
  %p = grouped.pack %w : tensor<8x24x17xi4> -> tensor<8x2x9x16xi8>
  return
}

// -----

// G4: the outs of a kernel.

func.func @f(%l: tensor<?x8xf32>, %w: tensor<?x2xf32>) {
  // expected-error@+1 {{'grouped.gate' op expects 2 outs, got 1}}
  %0 = grouped.gate %l outs(%w : tensor<?x2xf32>) {k = 2 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects the results to have the types of the tensors in outs}}
  %0 = grouped.gate %l outs(%w, %e : tensor<?x2xf32>, tensor<?x2xi32>) {k = 2 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>
  return
}

// -----

func.func @f(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %e: memref<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects the results to have the types of the tensors in outs}}
  %0:2 = grouped.gate %l outs(%w, %e : memref<?x2xf32>, memref<?x2xi32>) {k = 2 : i64} : memref<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%e: memref<?x2xi32>, %o: memref<9xi64>) {
  // expected-error@+1 {{'grouped.plan' op expects 3 outs, got 1}}
  grouped.plan %e outs(%o : memref<9xi64>) : memref<?x2xi32>
  return
}

// -----

func.func @f(%r: memref<?x16xf32>, %w: memref<?x2xf32>, %m: memref<?x2xi32>) {
  // expected-error@+1 {{'grouped.combine' op expects 1 outs, got 0}}
  "grouped.combine"(%r, %w, %m) : (memref<?x16xf32>, memref<?x2xf32>, memref<?x2xi32>) -> ()
  return
}

// -----

// C1 to C4: the recipe, as for moe.route.

func.func @f(%l: memref<?x?xf32>, %w: memref<?x2xf32>, %e: memref<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects a static number of experts}}
  grouped.gate %l outs(%w, %e : memref<?x2xf32>, memref<?x2xi32>) {k = 2 : i64} : memref<?x?xf32>
  return
}

// -----

func.func @f(%l: memref<?x8xf32>, %w: memref<?x9xf32>, %e: memref<?x9xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects k to be at most the number of experts, got 9 > 8}}
  grouped.gate %l outs(%w, %e : memref<?x9xf32>, memref<?x9xi32>) {k = 9 : i64} : memref<?x8xf32>
  return
}

// -----

func.func @f(%l: memref<?x8xf32>, %w: memref<?x3xf32>, %e: memref<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects outs of shape [T, k] with k = 2, got 'memref<?x3xf32>'}}
  grouped.gate %l outs(%w, %e : memref<?x3xf32>, memref<?x2xi32>) {k = 2 : i64} : memref<?x8xf32>
  return
}

// -----

func.func @f(%l: memref<4x8xf32>, %w: memref<4x2xf32>, %e: memref<5x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects outs of shape [T, k] with k = 2, got 'memref<5x2xi32>'}}
  grouped.gate %l outs(%w, %e : memref<4x2xf32>, memref<5x2xi32>) {k = 2 : i64} : memref<4x8xf32>
  return
}

// -----

func.func @f(%l: memref<?x8xf32>, %w: memref<?x2xf16>, %e: memref<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects outs of weights like the logits and of i32 experts}}
  grouped.gate %l outs(%w, %e : memref<?x2xf16>, memref<?x2xi32>) {k = 2 : i64} : memref<?x8xf32>
  return
}

// -----

func.func @f(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %e: memref<?x2xi32>, %b: memref<7xf32>) {
  // expected-error@+1 {{'grouped.gate' op expects a bias of 8 elements, got 'memref<7xf32>'}}
  grouped.gate %l bias(%b : memref<7xf32>) outs(%w, %e : memref<?x2xf32>, memref<?x2xi32>) {k = 2 : i64} : memref<?x8xf32>
  return
}

// -----

func.func @f(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %e: memref<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects n_group to divide the number of experts, got 3 and 8}}
  grouped.gate %l outs(%w, %e : memref<?x2xf32>, memref<?x2xi32>) {k = 2 : i64, n_group = 3 : i64} : memref<?x8xf32>
  return
}

// -----

// C15, C16: groups and the sparse mixer.

func.func @f(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %e: memref<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects no group_fill without groups}}
  grouped.gate %l outs(%w, %e : memref<?x2xf32>, memref<?x2xi32>) {k = 2 : i64, group_fill = 0.0 : f32} : memref<?x8xf32>
  return
}

// -----

func.func @f(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %e: memref<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects mixer_threshold for the score sparse_mixer and for no other}}
  grouped.gate %l outs(%w, %e : memref<?x2xf32>, memref<?x2xi32>) {k = 2 : i64, score = #moe.score<sparse_mixer>} : memref<?x8xf32>
  return
}

// -----

// C20: the floor of the sum.

func.func @f(%l: memref<?x8xf32>, %w: memref<?x2xf32>, %e: memref<?x2xi32>) {
  // expected-error@+1 {{'grouped.gate' op expects no renormalize_floor without renormalize}}
  grouped.gate %l outs(%w, %e : memref<?x2xf32>, memref<?x2xi32>) {k = 2 : i64, renormalize_floor = 1.0e-12 : f32} : memref<?x8xf32>
  return
}

// -----

// C17: the segments of a capacity.

func.func @f(%e: memref<?x2xi32>, %o: memref<9xi64>, %m: memref<?x2xi32>, %t: memref<?xi32>, %n: index) {
  // expected-error@+1 {{'grouped.plan' op expects no segment without a capacity}}
  grouped.plan %e segment(%n) outs(%o, %m, %t : memref<9xi64>, memref<?x2xi32>, memref<?xi32>) : memref<?x2xi32>
  return
}

// -----

// C5: the plan of a dispatch.

func.func @f(%e: memref<?x?xi32>, %o: memref<9xi64>, %m: memref<?x2xi32>, %t: memref<?xi32>) {
  // expected-error@+1 {{'grouped.plan' op expects a static number of choices}}
  grouped.plan %e outs(%o, %m, %t : memref<9xi64>, memref<?x2xi32>, memref<?xi32>) : memref<?x?xi32>
  return
}

// -----

func.func @f(%e: memref<?x2xi32>, %o: memref<9xi32>, %m: memref<?x2xi32>, %t: memref<?xi32>) {
  // expected-error@+1 {{'grouped.plan' op expects offsets of type i64 and shape [E + 1], got 'memref<9xi32>'}}
  grouped.plan %e outs(%o, %m, %t : memref<9xi32>, memref<?x2xi32>, memref<?xi32>) : memref<?x2xi32>
  return
}

// -----

func.func @f(%e: memref<?x2xi32>, %o: memref<0xi64>, %m: memref<?x2xi32>, %t: memref<?xi32>) {
  // expected-error@+1 {{'grouped.plan' op expects offsets of type i64 and shape [E + 1], got 'memref<0xi64>'}}
  grouped.plan %e outs(%o, %m, %t : memref<0xi64>, memref<?x2xi32>, memref<?xi32>) : memref<?x2xi32>
  return
}

// -----

func.func @f(%e: memref<?x2xi32>, %o: memref<9xi64>, %m: memref<?x3xi32>, %t: memref<?xi32>) {
  // expected-error@+1 {{'grouped.plan' op expects a row map of type i32 and shape [T, k], got 'memref<?x3xi32>'}}
  grouped.plan %e outs(%o, %m, %t : memref<9xi64>, memref<?x3xi32>, memref<?xi32>) : memref<?x2xi32>
  return
}

// -----

func.func @f(%e: memref<?x2xi32>, %o: memref<9xi64>, %m: memref<?x2xi32>, %t: memref<?xi64>) {
  // expected-error@+1 {{'grouped.plan' op expects row tokens of type i32 and shape [T * k], got 'memref<?xi64>'}}
  grouped.plan %e outs(%o, %m, %t : memref<9xi64>, memref<?x2xi32>, memref<?xi64>) : memref<?x2xi32>
  return
}

// -----

func.func @f(%e: memref<4x2xi32>, %o: memref<9xi64>, %m: memref<4x2xi32>, %t: memref<7xi32>) {
  // expected-error@+1 {{'grouped.plan' op expects row tokens of type i32 and shape [T * k], got 'memref<7xi32>'}}
  grouped.plan %e outs(%o, %m, %t : memref<9xi64>, memref<4x2xi32>, memref<7xi32>) : memref<4x2xi32>
  return
}

// -----

// C10: the sum per token.

func.func @f(%r: memref<?x16xf32>, %w: memref<?x3xf32>, %m: memref<?x2xi32>, %y: memref<?x16xf32>) {
  // expected-error@+1 {{'grouped.combine' op expects weights and row map of one shape [T, k], got 'memref<?x3xf32>' and 'memref<?x2xi32>'}}
  grouped.combine %r, %w, %m outs(%y : memref<?x16xf32>) : memref<?x16xf32>, memref<?x3xf32>, memref<?x2xi32>
  return
}

// -----

func.func @f(%r: memref<?x16xf32>, %w: memref<?x2xf32>, %m: memref<?x2xi32>, %y: memref<?x17xf32>) {
  // expected-error@+1 {{'grouped.combine' op expects outs [T, N] of the rows' type, got 'memref<?x17xf32>'}}
  grouped.combine %r, %w, %m outs(%y : memref<?x17xf32>) : memref<?x16xf32>, memref<?x2xf32>, memref<?x2xi32>
  return
}

// -----

// G2: the shapes of grouped.matmul.

func.func @f(%x: memref<?x?xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects static expert, column and row widths}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<?x24xf32>) : memref<?x?xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x3x16x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects panels of shape [8, 2, 16, 16], got 'memref<8x3x16x16xf32>'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x3x16x16xf32>) outs(%y : memref<?x24xf32>) : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<8xi64>, %p: memref<8x2x16x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects 9 offsets, got 'memref<8xi64>'}}
  grouped.matmul %x offsets(%o : memref<8xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<?x24xf32>) : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %t: memref<7xi32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %y: memref<8x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects a row token per row of outs, got 'memref<7xi32>' for 'memref<8x24xf32>'}}
  grouped.matmul %x[%t : memref<7xi32>] offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<8x24xf32>) : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<7x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %y: memref<8x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects as many rows as outs has, got 'memref<7x16xf32>' and 'memref<8x24xf32>'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<8x24xf32>) : memref<7x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %b: memref<8x24xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects no bias or one per weight, got 2}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) biases(%b, %b : memref<8x24xf32>, memref<8x24xf32>) outs(%y : memref<?x24xf32>) : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %b: memref<8x23xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects biases of shape [E, N], got 'memref<8x23xf32>'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) biases(%b : memref<8x23xf32>) outs(%y : memref<?x24xf32>) : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %v: memref<?x23xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects extras of the shape of outs, got 'memref<?x23xf32>'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) extras(%v : memref<?x23xf32>) outs(%y : memref<?x24xf32>) : memref<?x16xf32> epilogue {
  ^bb0(%a: f32, %b: f32):
    grouped.yield %b : f32
  }
  return
}

// -----

// C11: element types.

func.func @f(%x: memref<?x16xf64>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %y: memref<?x24xf64>) {
  // expected-error@+1 {{'grouped.matmul' op expects rows, panels and outs to be f64 all or none, got 'f64', 'f32' and 'f64'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<?x24xf64>) : memref<?x16xf64>
  return
}

// -----

// G3: the epilogue.

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %v: memref<?x24xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects an epilogue with an argument per weight and per extra}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) extras(%v : memref<?x24xf32>) outs(%y : memref<?x24xf32>) : memref<?x16xf32> epilogue {
  ^bb0(%a: f32):
    grouped.yield %a : f32
  }
  return
}

// -----

func.func @f(%x: memref<?x16xbf16>, %o: memref<9xi64>, %p: memref<8x2x8x32xbf16>, %y: memref<?x24xbf16>) {
  // expected-error@+1 {{'grouped.matmul' op expects epilogue arguments of type 'f32', got 'bf16'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x8x32xbf16>) outs(%y : memref<?x24xbf16>) : memref<?x16xbf16> epilogue {
  ^bb0(%a: bf16):
    grouped.yield %a : bf16
  }
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects the epilogue to yield one 'f32'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<?x24xf32>) : memref<?x16xf32> epilogue {
  ^bb0(%a: f32):
    grouped.yield
  }
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %y: memref<?x24xf32>, %c: i1) {
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<?x24xf32>) : memref<?x16xf32> epilogue {
  ^bb0(%a: f32):
    // expected-error@+1 {{'scf.if' op expects only elementwise operations in an epilogue}}
    %0 = scf.if %c -> f32 {
      scf.yield %a : f32
    } else {
      scf.yield %a : f32
    }
    grouped.yield %0 : f32
  }
  return
}

// -----

// G5: the schedule.

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects a schedule with an i64 of at least 1 as 'accumulators', got {}}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<?x24xf32>) {schedule = {}} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects a schedule with an i64 of at least 1 as 'tile_rows', got {accumulators = 12 : i64, k_block = 256 : i64, panel_block = 16 : i64, row_block = 120 : i64, tile_panels = 1 : i64, tile_rows = 0 : i64, vectors_per_panel = 2 : i64}}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) outs(%y : memref<?x24xf32>) {schedule = {accumulators = 12 : i64, k_block = 256 : i64, panel_block = 16 : i64, row_block = 120 : i64, tile_panels = 1 : i64, tile_rows = 0 : i64, vectors_per_panel = 2 : i64}} : memref<?x16xf32>
  return
}

// -----

// G6: quantized weights.
func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x16x16xf32>, %c: memref<8x2x1x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects panels of i32 for scales, zero points, bits, a block size or an encoding}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x16x16xf32>) scales(%c : memref<8x2x1x16xf32>) outs(%y : memref<?x24xf32>) {bits = 4 : i64, block_size = 16 : i64} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x2x16xi32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects scales, 2, 4 or 8 bits and a block size of at least 1 for panels of i32}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x2x16xi32>) outs(%y : memref<?x24xf32>) {bits = 4 : i64, block_size = 16 : i64} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x2x16xi32>, %c: memref<8x2x1x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects scales, 2, 4 or 8 bits and a block size of at least 1 for panels of i32}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x2x16xi32>) scales(%c : memref<8x2x1x16xf32>) outs(%y : memref<?x24xf32>) {bits = 3 : i64, block_size = 16 : i64} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x2x16xi32>, %c: memref<8x2x1x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects scales, 2, 4 or 8 bits and a block size of at least 1 for panels of i32}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x2x16xi32>) scales(%c : memref<8x2x1x16xf32>) outs(%y : memref<?x24xf32>) {bits = 4 : i64} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x2x16xi32>, %c: memref<8x2x1x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects 4 bits and no zero points for the encoding e2m1, got 8 bits}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x2x16xi32>) scales(%c : memref<8x2x1x16xf32>) outs(%y : memref<?x24xf32>) {bits = 8 : i64, block_size = 16 : i64, encoding = #moe.encoding<e2m1>} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x2x16xi32>, %c: memref<8x2x1x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects a block size of K or of a multiple of 8, got 4}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x2x16xi32>) scales(%c : memref<8x2x1x16xf32>) outs(%y : memref<?x24xf32>) {bits = 4 : i64, block_size = 4 : i64} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x2x16xi32>, %c: memref<8x2x1x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects scales and zero points of shape [8, 2, 2, 16], got 'memref<8x2x1x16xf32>'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x2x16xi32>) scales(%c : memref<8x2x1x16xf32>) outs(%y : memref<?x24xf32>) {bits = 4 : i64, block_size = 8 : i64} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x2x16xi32>, %c: memref<8x2x1x16xbf16>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects scales and zero points of shape [8, 2, 1, 32], got 'memref<8x2x1x16xbf16>'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x2x16xi32>) scales(%c : memref<8x2x1x16xbf16>) outs(%y : memref<?x24xf32>) {bits = 4 : i64, block_size = 16 : i64} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x2x16xi32>, %c: memref<8x2x1x16xf32>, %z: memref<8x2x1x16xf64>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects scales and zero points of at most 32 bits, got 'memref<8x2x1x16xf64>'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x2x16xi32>) scales(%c : memref<8x2x1x16xf32>) zero_points(%z : memref<8x2x1x16xf64>) outs(%y : memref<?x24xf32>) {bits = 4 : i64, block_size = 16 : i64} : memref<?x16xf32>
  return
}

// -----

func.func @f(%x: memref<?x16xf32>, %o: memref<9xi64>, %p: memref<8x2x4x16xi32>, %c: memref<8x2x1x16xf32>, %y: memref<?x24xf32>) {
  // expected-error@+1 {{'grouped.matmul' op expects panels of shape [8, 2, 2, 16], got 'memref<8x2x4x16xi32>'}}
  grouped.matmul %x offsets(%o : memref<9xi64>) panels(%p : memref<8x2x4x16xi32>) scales(%c : memref<8x2x1x16xf32>) outs(%y : memref<?x24xf32>) {bits = 4 : i64, block_size = 16 : i64} : memref<?x16xf32>
  return
}
