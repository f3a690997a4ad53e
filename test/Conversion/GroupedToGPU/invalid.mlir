// RUN: moe-opt %s --convert-grouped-to-gpu --split-input-file --verify-diagnostics

func.func @host(%context: !llvm.ptr {moe.context}, %rows: memref<?x24xf16>, %w: memref<?x2xf32>, %m: memref<?x2xi32>, %y: memref<?x24xf16>) {
  // expected-error @+1 {{expects operands in memory space 1 (run gpu-place-buffers first), got 'memref<?x24xf16>'}}
  grouped.combine %rows, %w, %m outs(%y : memref<?x24xf16>) : memref<?x24xf16>, memref<?x2xf32>, memref<?x2xi32>
  return
}

// -----

func.func @f64(%context: !llvm.ptr {moe.context}, %rows: memref<?x24xf64, 1>, %w: memref<?x2xf64, 1>, %m: memref<?x2xi32, 1>, %y: memref<?x24xf64, 1>) {
  // expected-error @+1 {{expects elements of at most 32 bits for a GPU, got f64}}
  grouped.combine %rows, %w, %m outs(%y : memref<?x24xf64, 1>) : memref<?x24xf64, 1>, memref<?x2xf64, 1>, memref<?x2xi32, 1>
  return
}

// -----

func.func @experts(%context: !llvm.ptr {moe.context}, %logits: memref<?x1025xf32, 1>, %w: memref<?x2xf32, 1>, %e: memref<?x2xi32, 1>) {
  // expected-error @+1 {{expects at most 1024 experts for a GPU, got 'memref<?x1025xf32, 1>'}}
  grouped.gate %logits outs(%w, %e : memref<?x2xf32, 1>, memref<?x2xi32, 1>) {k = 2 : i64} : memref<?x1025xf32, 1>
  return
}

// -----

func.func @layout(%context: !llvm.ptr {moe.context}, %x: memref<?x64xf16, 1>, %o: memref<2xi64, 1>, %p: memref<1x3x64x16xf16, 1>, %y: memref<?x48xf16, 1>) {
  // expected-error @+1 {{expects panels of 16-byte chunks for a GPU, got 'memref<1x3x64x16xf16, 1>'}}
  grouped.matmul %x offsets(%o : memref<2xi64, 1>) panels(%p : memref<1x3x64x16xf16, 1>) outs(%y : memref<?x48xf16, 1>) : memref<?x64xf16, 1>
  return
}

// -----

func.func @types(%context: !llvm.ptr {moe.context}, %x: memref<?x64xf32, 1>, %o: memref<2xi64, 1>, %p: memref<1x3x8x128xf16, 1>, %y: memref<?x48xf16, 1>) {
  // expected-error @+1 {{expects rows and weights of one type for a GPU, got 'f32' and 'f16'}}
  grouped.matmul %x offsets(%o : memref<2xi64, 1>) panels(%p : memref<1x3x8x128xf16, 1>) outs(%y : memref<?x48xf16, 1>) : memref<?x64xf32, 1>
  return
}
