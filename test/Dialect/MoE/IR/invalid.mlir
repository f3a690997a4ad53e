// RUN: moe-opt %s --split-input-file --verify-diagnostics

// One case per diagnostic; the numbers are those of docs/Spec.md.

// W1: a weight has a static shape and elements that a file can hold.

// expected-error@+1 {{'moe.weight' op expects a static shape, got 'tensor<?x4xf32>'}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 16 : i64} : tensor<?x4xf32>

// -----

// expected-error@+1 {{'moe.weight' op expects integer or float elements, got 'index'}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 32 : i64} : tensor<4xindex>

// -----

// W2: offset and length.

// expected-error@+1 {{'moe.weight' op expects offset and length to be at least 0}}
moe.weight @w {file = "w.bin", offset = -4 : i64, length = 16 : i64} : tensor<4xf32>

// -----

// expected-error@+1 {{'moe.weight' op expects offset and length to be at least 0}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = -16 : i64} : tensor<4xf32>

// -----

// expected-error@+1 {{'moe.weight' op expects a length of 16 bytes for 'tensor<4xf32>', got 12}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 12 : i64} : tensor<4xf32>

// -----

// Strides 8, 1: the last element is the 11th.
// expected-error@+1 {{'moe.weight' op expects a length of 44 bytes for 'tensor<2x3xf32>', got 24}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 24 : i64, strides = array<i64: 8, 1>} : tensor<2x3xf32>

// -----

// A tensor without elements needs no bytes.
// expected-error@+1 {{'moe.weight' op expects a length of 0 bytes for 'tensor<0x3xf32>', got 4}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 4 : i64} : tensor<0x3xf32>

// -----

// expected-error@+1 {{'moe.weight' op expects the end of the bytes to lie below 2^63}}
moe.weight @w {file = "w.bin", offset = 9223372036854775800 : i64, length = 16 : i64} : tensor<4xf32>

// -----

// W6: where elements of less than a byte begin.

// expected-error@+1 {{'moe.weight' op expects a bit offset of whole elements and less than a byte, got 2}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 9 : i64, bit_offset = 2 : i64} : tensor<16xi4>

// -----

// expected-error@+1 {{'moe.weight' op expects a bit offset of whole elements and less than a byte, got 8}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 9 : i64, bit_offset = 8 : i64} : tensor<16xi4>

// -----

// expected-error@+1 {{'moe.weight' op expects a length of 9 bytes for 'tensor<16xi4>', got 8}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 8 : i64, bit_offset = 4 : i64} : tensor<16xi4>

// -----

// W3: sizes that split dimensions.
// expected-error @+1 {{expects sizes that split the dimensions of 'tensor<48x32xi4>', got [32, 6, 8]}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 768 : i64, sizes = array<i64: 32, 6, 8>} : tensor<48x32xi4>

// -----

// expected-error @+1 {{expects sizes that split the dimensions of 'tensor<48x32xi4>', got [48, 4, 8, 2]}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 768 : i64, sizes = array<i64: 48, 4, 8, 2>} : tensor<48x32xi4>

// -----

// expected-error @+1 {{expects one stride per dimension, got 2 for rank 3}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 768 : i64, sizes = array<i64: 48, 4, 8>, strides = array<i64: 32, 1>} : tensor<48x32xi4>

// -----

// W9: increments.
// expected-error @+1 {{expects integers of at most 8 bits to increment, got 'tensor<8xi16>'}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 16 : i64, increment = 1 : i64} : tensor<8xi16>

// -----

// W3: strides.

// expected-error@+1 {{'moe.weight' op expects one stride per dimension, got 1 for rank 2}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 24 : i64, strides = array<i64: 1>} : tensor<2x3xf32>

// -----

// expected-error@+1 {{'moe.weight' op expects strides to be at least 0, got -1}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 24 : i64, strides = array<i64: 3, -1>} : tensor<2x3xf32>

// -----

// expected-error@+1 {{'moe.weight' op expects an extent below 2^63 elements}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 24 : i64, strides = array<i64: 9223372036854775807, 1>} : tensor<3x3xf32>

// -----

// expected-error@+1 {{'moe.weight' op expects an extent below 2^63 bits}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 24 : i64, strides = array<i64: 4611686018427387904, 1>} : tensor<2x3xf32>

// -----

// expected-error@+1 {{'moe.weight' op expects an extent below 2^63 bits}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 8 : i64, strides = array<i64: 9223372036854775807>} : tensor<2xi1>

// -----

// expected-error@+1 {{'moe.weight' op expects an extent below 2^63 elements}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 0 : i64} : tensor<0x24x9223372036854775807xf32>

// -----

// W4: the slices of a stack.

// expected-error@+1 {{'moe.weight_stack' op expects a static shape of rank 1 or more, got 'tensor<f32>'}}
moe.weight_stack @s [] : tensor<f32>

// -----

// expected-error@+1 {{'moe.weight_stack' op expects a static shape of rank 1 or more, got 'tensor<?x4xf32>'}}
moe.weight_stack @s [] : tensor<?x4xf32>

// -----

moe.weight @w0 {file = "w.bin", offset = 0 : i64, length = 16 : i64} : tensor<4xf32>
// expected-error@+1 {{'moe.weight_stack' op expects 2 weights, got 1}}
moe.weight_stack @s [@w0] : tensor<2x4xf32>

// -----

// expected-error@+1 {{'moe.weight_stack' op expects @w0 to name a weight}}
moe.weight_stack @s [@w0] : tensor<1x4xf32>

// -----

func.func private @w0()
// expected-error@+1 {{'moe.weight_stack' op expects @w0 to name a weight}}
moe.weight_stack @s [@w0] : tensor<1x4xf32>

// -----

moe.weight @w0 {file = "w.bin", offset = 0 : i64, length = 16 : i64} : tensor<4xf32>
// expected-error@+1 {{'moe.weight_stack' op expects @w0 to be 'tensor<5xf32>', got 'tensor<4xf32>'}}
moe.weight_stack @s [@w0] : tensor<1x5xf32>

// -----

// W7: parts of quantized weights.

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 768 : i64} : tensor<2x3x32xf32>
// expected-error@+1 {{'moe.quantized_weight' op expects 2, 4 or 8 bits, got 3}}
moe.quantized_weight @q integers of @w {bits = 3 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<2x3x32xi3>

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 768 : i64} : tensor<2x3x32xf32>
// expected-error@+1 {{'moe.quantized_weight' op expects zero points with asymmetric only}}
moe.quantized_weight @q zero_points of @w {bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<2x3x2xi4>

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 768 : i64} : tensor<2x3x32xf32>
// expected-error@+1 {{'moe.quantized_weight' op expects a static shape of rank 3 with elements 'i4', got 'tensor<2x3x32xi8>'}}
moe.quantized_weight @q integers of @w {bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<2x3x32xi8>

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 768 : i64} : tensor<2x3x32xf32>
// expected-error@+1 {{'moe.quantized_weight' op expects a static shape of rank 3 with elements 'bf16', got 'tensor<6x2xbf16>'}}
moe.quantized_weight @q scales of @w {bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<6x2xbf16>

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 768 : i64} : tensor<2x3x32xf32>
// expected-error@+1 {{'moe.quantized_weight' op expects the shape of 'tensor<2x3x2xbf16>' for @w, got 'tensor<2x3x32xbf16>'}}
moe.quantized_weight @q scales of @w {bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<2x3x32xbf16>

// -----

// expected-error@+1 {{'moe.quantized_weight' op expects @nothing to name a weight}}
moe.quantized_weight @q integers of @nothing {bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<2x3x32xi4>

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 32 : i64} : tensor<4xf64>
// expected-error@+1 {{'moe.quantized_weight' op expects @w to have rank 3 and f32, f16 or bf16 elements, got 'tensor<4xf64>'}}
moe.quantized_weight @q integers of @w {bits = 4 : i64, block_size = 16 : i64, scale_type = bf16} : tensor<2x3x32xi4>

// -----

// W5: the symbol of a weight's value.

func.func @f() -> tensor<4xf32> {
  // expected-error@+1 {{'moe.get_weight' op expects @w to name a weight}}
  %0 = moe.get_weight @w : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 16 : i64} : tensor<4xf32>
func.func @f() -> tensor<2x2xf32> {
  // expected-error@+1 {{'moe.get_weight' op expects the type of @w, 'tensor<4xf32>', got 'tensor<2x2xf32>'}}
  %0 = moe.get_weight @w : tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}

// -----

moe.weight @w {file = "w.bin", offset = 0 : i64, length = 16 : i64} : tensor<4xf32>
func.func @f() -> tensor<4xi32> {
  // expected-error@+1 {{'moe.get_weight' op expects the type of @w, 'tensor<4xf32>', got 'tensor<4xi32>'}}
  %0 = moe.get_weight @w : tensor<4xi32>
  return %0 : tensor<4xi32>
}

// -----

// C1: k.

func.func @f(%l: tensor<?x?xf32>) {
  // expected-error@+1 {{'moe.route' op expects a static number of experts}}
  %w, %e = moe.route %l {k = 2 : i64} : tensor<?x?xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects k to be at most the number of experts, got 9 > 8}}
  %w, %e = moe.route %l {k = 9 : i64} : tensor<?x8xf32> -> tensor<?x9xf32>, tensor<?x9xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op attribute 'k' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %w, %e = moe.route %l {k = 0 : i64} : tensor<?x8xf32> -> tensor<?x0xf32>, tensor<?x0xi32>
  return
}

// -----

// C2: the results of moe.route.

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects results of shape [T, k] with k = 2, got 'tensor<?x3xf32>'}}
  %w, %e = moe.route %l {k = 2 : i64} : tensor<?x8xf32> -> tensor<?x3xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%l: tensor<4x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects results of shape [T, k] with k = 2, got 'tensor<5x2xi32>'}}
  %w, %e = moe.route %l {k = 2 : i64} : tensor<4x8xf32> -> tensor<4x2xf32>, tensor<5x2xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xbf16>) {
  // expected-error@+1 {{'moe.route' op expects weights of the logits' element type, got 'f32'}}
  %w, %e = moe.route %l {k = 2 : i64} : tensor<?x8xbf16> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

// C3: the bias.

func.func @f(%l: tensor<?x8xf32>, %b: tensor<4xf32>) {
  // expected-error@+1 {{'moe.route' op expects a bias of 8 elements, got 'tensor<4xf32>'}}
  %w, %e = moe.route %l bias(%b : tensor<4xf32>) {k = 2 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %b: tensor<?xf32>) {
  // expected-error@+1 {{'moe.route' op expects a bias of 8 elements, got 'tensor<?xf32>'}}
  %w, %e = moe.route %l bias(%b : tensor<?xf32>) {k = 2 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

// C4: groups.

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects n_group to divide the number of experts, got 3 and 8}}
  %w, %e = moe.route %l {k = 2 : i64, n_group = 3 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects topk_group to be at most n_group, got 5 > 4}}
  %w, %e = moe.route %l {k = 2 : i64, n_group = 4 : i64, topk_group = 5 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects group_top to be at most the group's size, got 3 > 2}}
  %w, %e = moe.route %l {k = 2 : i64, n_group = 4 : i64, topk_group = 2 : i64, group_top = 3 : i64} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects at least k experts in the kept groups, got 2 < 4}}
  %w, %e = moe.route %l {k = 4 : i64, n_group = 4 : i64, topk_group = 1 : i64} : tensor<?x8xf32> -> tensor<?x4xf32>, tensor<?x4xi32>
  return
}

// -----

// C15: the value of dropped groups.

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects no group_fill without groups}}
  %w, %e = moe.route %l {k = 2 : i64, group_fill = 0.0 : f32} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

// C16: the sparse mixer.

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects mixer_threshold for the score sparse_mixer and for no other}}
  %w, %e = moe.route %l {k = 2 : i64, score = #moe.score<sparse_mixer>} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects mixer_threshold for the score sparse_mixer and for no other}}
  %w, %e = moe.route %l {k = 2 : i64, mixer_threshold = 0.02 : f32} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects the score sparse_mixer to stand before selection, without bias, groups and weigh_by}}
  %w, %e = moe.route %l {k = 2 : i64, n_group = 2 : i64, score = #moe.score<sparse_mixer>, mixer_threshold = 0.02 : f32} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

// C20: the floor of the sum.

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{'moe.route' op expects no renormalize_floor without renormalize}}
  %w, %e = moe.route %l {k = 2 : i64, renormalize_floor = 1.0e-12 : f32} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// -----

// C5: the shapes of moe.dispatch.

func.func @f(%x: tensor<4x16xf32>, %e: tensor<5x2xi32>) {
  // expected-error@+1 {{'moe.dispatch' op expects as many rows of experts as tokens, got 5 and 4}}
  %r, %s, %m = moe.dispatch %x, %e : tensor<4x16xf32>, tensor<5x2xi32> -> tensor<?x16xf32>, tensor<8xi64>, tensor<5x2xi32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %e: tensor<?x?xi32>) {
  // expected-error@+1 {{'moe.dispatch' op expects a static number of choices}}
  %r, %s, %m = moe.dispatch %x, %e : tensor<?x16xf32>, tensor<?x?xi32> -> tensor<?x16xf32>, tensor<8xi64>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %e: tensor<?x2xi32>) {
  // expected-error@+1 {{'moe.dispatch' op expects rows of the tokens' width and type, got 'tensor<?x17xf32>'}}
  %r, %s, %m = moe.dispatch %x, %e : tensor<?x16xf32>, tensor<?x2xi32> -> tensor<?x17xf32>, tensor<8xi64>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %e: tensor<?x2xi32>) {
  // expected-error@+1 {{'moe.dispatch' op expects rows of the tokens' width and type, got 'tensor<?x16xf16>'}}
  %r, %s, %m = moe.dispatch %x, %e : tensor<?x16xf32>, tensor<?x2xi32> -> tensor<?x16xf16>, tensor<8xi64>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%x: tensor<4x16xf32>, %e: tensor<4x2xi32>) {
  // expected-error@+1 {{'moe.dispatch' op expects a row per choice, got 'tensor<7x16xf32>' for 'tensor<4x2xi32>'}}
  %r, %s, %m = moe.dispatch %x, %e : tensor<4x16xf32>, tensor<4x2xi32> -> tensor<7x16xf32>, tensor<8xi64>, tensor<4x2xi32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %e: tensor<?x2xi32>) {
  // expected-error@+1 {{'moe.dispatch' op expects a static number of experts}}
  %r, %s, %m = moe.dispatch %x, %e : tensor<?x16xf32>, tensor<?x2xi32> -> tensor<?x16xf32>, tensor<?xi64>, tensor<?x2xi32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %e: tensor<?x2xi32>) {
  // expected-error@+1 {{'moe.dispatch' op expects a row map of the experts' shape, got 'tensor<?x3xi32>'}}
  %r, %s, %m = moe.dispatch %x, %e : tensor<?x16xf32>, tensor<?x2xi32> -> tensor<?x16xf32>, tensor<8xi64>, tensor<?x3xi32>
  return
}

// -----

// C17: the segments of a capacity.

func.func @f(%x: tensor<?x16xf32>, %e: tensor<?x2xi32>, %n: index) {
  // expected-error@+1 {{'moe.dispatch' op expects no segment without a capacity}}
  %r, %s, %m = moe.dispatch %x, %e segment(%n) : tensor<?x16xf32>, tensor<?x2xi32> -> tensor<?x16xf32>, tensor<8xi64>, tensor<?x2xi32>
  return
}

// -----

// C7: the shapes of moe.grouped_matmul.

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects at least one weight}}
  %y = "moe.grouped_matmul"(%x, %s) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0>}> ({}) : (tensor<?x16xf32>, tensor<8xi64>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>, %b: tensor<8x24xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects no bias or one per weight, got 2 for 1 weights}}
  %y = moe.grouped_matmul %x, %s weights(%w) biases(%b, %b : tensor<8x24xf32>, tensor<8x24xf32>) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x?x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects weights of one static shape, got 'tensor<8x?x16xf32>' and 'tensor<8x?x16xf32>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x?x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>, %v: tensor<8x24x16xbf16>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects weights of one static shape, got 'tensor<8x24x16xbf16>' and 'tensor<8x24x16xf32>'}}
  %y = moe.grouped_matmul %x, %s weights(%w, %v) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>, tensor<8x24x16xbf16>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<7xi64>, %w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects as many group sizes as experts, got 'tensor<7xi64>' for 'tensor<8x24x16xf32>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xf32>, tensor<7xi64>, (tensor<8x24x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x17xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects rows of width 16, got 17}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x17xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects a result of shape [R, 24], got 'tensor<?x?xf32>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @f(%x: tensor<4x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects a result of shape [R, 24], got 'tensor<5x24xf32>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<4x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<5x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>, %b: tensor<8x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects biases of shape [E, N], got 'tensor<8x16xf32>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) biases(%b : tensor<8x16xf32>) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

// C19: quantized weights.

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>, %c: tensor<8x24x1xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects integer weights for scales, zero points, a block size or an encoding, got 'tensor<8x24x16xf32>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) scales(%c : tensor<8x24x1xf32>) {block_size = 16 : i64} : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xi4>, %c: tensor<8x24x1xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects a block size of at least 1 for integer weights}}
  %y = moe.grouped_matmul %x, %s weights(%w) scales(%c : tensor<8x24x1xf32>) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xi4>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xi4>, %c: tensor<8x24x4xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects a block size of K or of a multiple of 8, got 4}}
  %y = moe.grouped_matmul %x, %s weights(%w) scales(%c : tensor<8x24x4xf32>) {block_size = 4 : i64} : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xi4>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xi4>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects one tensor of scales per weight, got 0 for 1 weights}}
  %y = moe.grouped_matmul %x, %s weights(%w) {block_size = 16 : i64} : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xi4>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xi4>, %c: tensor<8x24x1xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects scales of one type and of shape [8, 24, 2], got 'tensor<8x24x1xf32>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) scales(%c : tensor<8x24x1xf32>) {block_size = 8 : i64} : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xi4>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xi4>, %c: tensor<8x24x1xf64>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects scales of floats of at most 32 bits or of type 'i8', got 'f64'}}
  %y = moe.grouped_matmul %x, %s weights(%w) scales(%c : tensor<8x24x1xf64>) {block_size = 16 : i64} : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xi4>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xi4>, %c: tensor<8x24x1xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects one tensor of zero points per weight, got 2 for 1 weights}}
  %y = moe.grouped_matmul %x, %s weights(%w) scales(%c : tensor<8x24x1xf32>) zero_points(%c, %c : tensor<8x24x1xf32>, tensor<8x24x1xf32>) {block_size = 16 : i64} : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xi4>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xi8>, %c: tensor<8x24x1xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects weights of 4 bits and no zero points for the encoding e2m1, got 'tensor<8x24x16xi8>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) scales(%c : tensor<8x24x1xf32>) {block_size = 16 : i64, encoding = #moe.encoding<e2m1>} : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xi8>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xi4>, %c: tensor<8x24x1xf32>, %z: tensor<8x24x1xi8>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects zero points of floats of at most 32 bits or of type 'i4', got 'i8'}}
  %y = moe.grouped_matmul %x, %s weights(%w) scales(%c : tensor<8x24x1xf32>) zero_points(%z : tensor<8x24x1xi8>) {block_size = 16 : i64} : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xi4>) -> tensor<?x24xf32>
  return
}

// -----

// C8: the epilogue.

func.func @f(%x: tensor<4x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>, %v: tensor<5x24xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects extras of the result's shape, got 'tensor<5x24xf32>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) extras(%v : tensor<5x24xf32>) : tensor<4x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<4x24xf32> epilogue {
  ^bb0(%a: f32, %b: f32):
    moe.yield %b : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects an epilogue for more than one weight or for extras}}
  %y = moe.grouped_matmul %x, %s weights(%w, %w) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>, tensor<8x24x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects an epilogue of 2 arguments, got 1}}
  %y = moe.grouped_matmul %x, %s weights(%w, %w) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>, tensor<8x24x16xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xbf16>, %s: tensor<8xi64>, %w: tensor<8x24x16xbf16>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects epilogue arguments of type 'f32', got 'bf16'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xbf16>, tensor<8xi64>, (tensor<8x24x16xbf16>) -> tensor<?x24xbf16> epilogue {
  ^bb0(%a: bf16):
    moe.yield %a : bf16
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf64>, %s: tensor<8xi64>, %w: tensor<8x24x16xf64>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects epilogue arguments of type 'f64', got 'f32'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xf64>, tensor<8xi64>, (tensor<8x24x16xf64>) -> tensor<?x24xf64> epilogue {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects the epilogue to yield one 'f32'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%a: f32):
    moe.yield %a, %a : f32, f32
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects the epilogue to yield one 'f32'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%a: f32):
    %0 = arith.truncf %a : f32 to f16
    moe.yield %0 : f16
  }
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>, %t: tensor<4xf32>) {
  %c0 = arith.constant 0 : index
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<?x24xf32> epilogue {
  ^bb0(%a: f32):
    // expected-error@+1 {{'tensor.extract' op expects only elementwise operations in an epilogue}}
    %0 = tensor.extract %t[%c0] : tensor<4xf32>
    %1 = arith.addf %a, %0 : f32
    moe.yield %1 : f32
  }
  return
}

// -----

// C10: the shapes of moe.combine.

func.func @f(%r: tensor<?x16xf32>, %w: tensor<?x3xf32>, %m: tensor<?x2xi32>) {
  // expected-error@+1 {{'moe.combine' op expects weights and row map of one shape [T, k], got 'tensor<?x3xf32>' and 'tensor<?x2xi32>'}}
  %y = moe.combine %r, %w, %m : tensor<?x16xf32>, tensor<?x3xf32>, tensor<?x2xi32> -> tensor<?x16xf32>
  return
}

// -----

func.func @f(%r: tensor<?x16xf32>, %w: tensor<5x2xf32>, %m: tensor<4x2xi32>) {
  // expected-error@+1 {{'moe.combine' op expects weights and row map of one shape [T, k], got 'tensor<5x2xf32>' and 'tensor<4x2xi32>'}}
  %y = moe.combine %r, %w, %m : tensor<?x16xf32>, tensor<5x2xf32>, tensor<4x2xi32> -> tensor<?x16xf32>
  return
}

// -----

func.func @f(%r: tensor<?x16xf32>, %w: tensor<?x?xf32>, %m: tensor<?x?xi32>) {
  // expected-error@+1 {{'moe.combine' op expects weights and row map of one shape [T, k], got 'tensor<?x?xf32>' and 'tensor<?x?xi32>'}}
  %y = moe.combine %r, %w, %m : tensor<?x16xf32>, tensor<?x?xf32>, tensor<?x?xi32> -> tensor<?x16xf32>
  return
}

// -----

func.func @f(%r: tensor<?x16xf32>, %w: tensor<4x2xf32>, %m: tensor<4x2xi32>) {
  // expected-error@+1 {{'moe.combine' op expects a result [T, N] of the rows' type, got 'tensor<5x16xf32>'}}
  %y = moe.combine %r, %w, %m : tensor<?x16xf32>, tensor<4x2xf32>, tensor<4x2xi32> -> tensor<5x16xf32>
  return
}

// -----

func.func @f(%r: tensor<?x16xf32>, %w: tensor<?x2xf32>, %m: tensor<?x2xi32>) {
  // expected-error@+1 {{'moe.combine' op expects a result [T, N] of the rows' type, got 'tensor<?x17xf32>'}}
  %y = moe.combine %r, %w, %m : tensor<?x16xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x17xf32>
  return
}

// -----

func.func @f(%r: tensor<?x16xf32>, %w: tensor<?x2xf32>, %m: tensor<?x2xi32>) {
  // expected-error@+1 {{'moe.combine' op expects a result [T, N] of the rows' type, got 'tensor<?x16xf16>'}}
  %y = moe.combine %r, %w, %m : tensor<?x16xf32>, tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x16xf16>
  return
}

// -----

// C11: element types.

func.func @f(%x: tensor<?x16xf8E5M2>, %s: tensor<8xi64>, %w: tensor<8x24x16xf32>) {
  // expected-error@+1 {{'moe.grouped_matmul' op operand #0 must be 2D tensor of 16-bit float or bfloat16 type or 32-bit float or 64-bit float values, but got 'tensor<?x16xf8E5M2>'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xf8E5M2>, tensor<8xi64>, (tensor<8x24x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %s: tensor<8xi64>, %w: tensor<8x24x16xf64>) {
  // expected-error@+1 {{'moe.grouped_matmul' op expects rows, weights and result to be f64 all or none, got 'f32', 'f64' and 'f32'}}
  %y = moe.grouped_matmul %x, %s weights(%w) : tensor<?x16xf32>, tensor<8xi64>, (tensor<8x24x16xf64>) -> tensor<?x24xf32>
  return
}

// -----

// W8: scales of 8-bit floats.

moe.weight @s {file = "w.bin", offset = 64 : i64, length = 16 : i64} : tensor<2x2xf32>
// expected-error@+1 {{'moe.weight' op expects f32, f16 or bf16 elements with scales, got 'i8'}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 64 : i64, scaled = #moe.block_scales<scales = @s, offset = 0, columns = 8, block_rows = 4, block_columns = 4>} : tensor<8x8xi8>

// -----

moe.weight @s {file = "w.bin", offset = 64 : i64, length = 16 : i64} : tensor<2x2xf32>
// expected-error@+1 {{'moe.weight' op expects at least 1 column, and 1 row and column of a block of scales}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 64 : i64, scaled = #moe.block_scales<scales = @s, offset = 0, columns = 8, block_rows = 4, block_columns = 0>} : tensor<8x8xbf16>

// -----

// expected-error@+1 {{'moe.weight' op expects @s to name a contiguous weight of rank 2 with f32, f16 or bf16 elements}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 64 : i64, scaled = #moe.block_scales<scales = @s, offset = 0, columns = 8, block_rows = 4, block_columns = 4>} : tensor<8x8xbf16>

// -----

moe.weight @s {file = "w.bin", offset = 64 : i64, length = 16 : i64, strides = array<i64: 1, 2>} : tensor<2x2xf32>
// expected-error@+1 {{'moe.weight' op expects @s to name a contiguous weight of rank 2 with f32, f16 or bf16 elements}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 64 : i64, scaled = #moe.block_scales<scales = @s, offset = 0, columns = 8, block_rows = 4, block_columns = 4>} : tensor<8x8xbf16>

// -----

moe.weight @s {file = "w.bin", offset = 64 : i64, length = 16 : i64} : tensor<2x2xf32>
// expected-error@+1 {{'moe.weight' op expects @s to have 3 columns, got 'tensor<2x2xf32>'}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 64 : i64, scaled = #moe.block_scales<scales = @s, offset = 0, columns = 8, block_rows = 4, block_columns = 3>} : tensor<8x8xbf16>

// -----

moe.weight @s {file = "w.bin", offset = 64 : i64, length = 16 : i64} : tensor<2x2xf32>
// expected-error@+1 {{'moe.weight' op expects bytes of the matrix that @s has scales for}}
moe.weight @w {file = "w.bin", offset = 1 : i64, length = 64 : i64, scaled = #moe.block_scales<scales = @s, offset = 0, columns = 8, block_rows = 4, block_columns = 4>} : tensor<8x8xbf16>

// -----

moe.weight @s {file = "w.bin", offset = 64 : i64, length = 16 : i64} : tensor<2x2xf32>
// expected-error@+1 {{'moe.weight' op expects bytes of the matrix that @s has scales for}}
moe.weight @w {file = "w.bin", offset = 0 : i64, length = 64 : i64, scaled = #moe.block_scales<scales = @s, offset = 1, columns = 8, block_rows = 4, block_columns = 4>} : tensor<8x8xbf16>
