// Every element type, every place a payload can lie in, and which stay outside.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py tensors %t
// RUN: moe-translate --import-onnx %t/model.onnx -o %t/model.mlir
// RUN: FileCheck %s < %t/model.mlir
// RUN: moe-opt %t/model.mlir | diff %t/model.mlir -
// RUN: %python %S/Inputs/check_weights.py %t

// The bytes that weights name are compared with the tensors by the script.
// CHECK: moe.weight @inline {file = "model.onnx", length = 2048 : i64,
// CHECK-NEXT: moe.weight @typed_floats {file = "model.onnx", length = 1200 : i64,
// CHECK-NEXT: moe.weight @outside {file = "weights.bin", length = 2048 : i64, offset = 64 : i64} : tensor<16x32xf32>
// CHECK-NEXT: moe.weight @same_bytes {file = "weights.bin", length = 2048 : i64, offset = 64 : i64} : tensor<512xf32>
// CHECK-NEXT: moe.weight @whole {file = "sub/more.bin", length = 2400 : i64, offset = 0 : i64} : tensor<600xf32>
// CHECK-NOT: moe.weight

// CHECK: onnx.constant dense<[1.500000e+00, -2.000000e+00]> : tensor<2xf32>
// CHECK: onnx.constant dense<[1.500000e+00, 0x7FF0000000000000]> : tensor<2xf64>
// CHECK: onnx.constant dense<[1.500000e+00, -2.000000e+00]> : tensor<2xf16>
// CHECK: onnx.constant dense<[1.500000e+00, -2.000000e+00]> : tensor<2xbf16>
// CHECK: onnx.constant dense<[-3, 7, 5]> : tensor<3xi8>
// CHECK: onnx.constant dense<[-3, 7, 5]> : tensor<3xi16>
// CHECK: onnx.constant dense<[-3, 7, 5]> : tensor<3xi32>
// CHECK: onnx.constant dense<[-3, 7, 5]> : tensor<3xi64>
// CHECK: onnx.constant dense<[-3, 7, 5]> : tensor<3xi4>
// CHECK: onnx.constant dense<[3, 15, 1]> : tensor<3xui8>
// CHECK: onnx.constant dense<[3, 15, 1]> : tensor<3xui16>
// CHECK: onnx.constant dense<[3, 15, 1]> : tensor<3xui32>
// CHECK: onnx.constant dense<[3, 15, 1]> : tensor<3xui64>
// CHECK: onnx.constant dense<[3, 15, 1]> : tensor<3xui4>
// CHECK: onnx.constant dense<[true, false, true]> : tensor<3xi1>
// CHECK: onnx.constant dense<["a", "bc"]> : tensor<2x!onnx.string>
// CHECK: onnx.constant dense<[(1.000000e+00,2.000000e+00), (3.000000e+00,-4.000000e+00)]> : tensor<2xcomplex<f32>>
// CHECK: onnx.constant dense<[1.500000e+00, -2.000000e+00]> : tensor<2xf8E4M3FN>
// CHECK: onnx.constant dense<[1.500000e+00, -2.000000e+00]> : tensor<2xf8E5M2>
// CHECK: onnx.constant dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf8E8M0FNU>
// CHECK: onnx.constant dense<[5.000000e-01, 1.000000e+00, -6.000000e+00]> : tensor<3xf4E2M1FN>
// CHECK: onnx.constant dense<[0, 1, 2, 3, 2]> : tensor<5xui2>
// CHECK: onnx.constant dense<[-3, 7, -8]> : tensor<3xi4>
// CHECK: onnx.constant dense<> : tensor<0x4xf32>
// CHECK: moe.get_weight @inline : tensor<16x32xf32>
// CHECK: moe.get_weight @typed_floats : tensor<300xf32>
// CHECK: onnx.constant dense<"0x9CFFFFFFFFFFFFFF9DFFFFFFFFFFFFFF{{.*}}6300000000000000"> : tensor<200xi64>
// CHECK: onnx.constant dense<5.000000e-01> : tensor<600xf16>
// CHECK: moe.get_weight @outside : tensor<16x32xf32>
// One file range, one symbol, however its path is spelled.
// CHECK: moe.get_weight @outside : tensor<16x32xf32>
// CHECK: moe.get_weight @same_bytes : tensor<512xf32>
// CHECK: moe.get_weight @whole : tensor<600xf32>
// CHECK: onnx.constant dense<3.000000e+00> : tensor<f32>
// CHECK: onnx.constant dense<> : tensor<0xf32>
