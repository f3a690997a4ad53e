// Nodes of operators without a converter become the graphs that the standard defines them by.
// REQUIRES: python-onnx
// RUN: %python %S/Inputs/models.py definitions %t
// RUN: moe-compile %t/model.onnx --compile-to=import -o - | FileCheck %s

// CHECK: func.func @main(%[[X:[^:]*]]: tensor<?x4x6xf32>
// CHECK-NOT: "GroupNormalization"
// CHECK: onnx.node "Reshape"(%{{.*}}, %{{.*}}) name "groups.Reshape" opset 28
// CHECK: %[[G:.*]] = onnx.node "Reshape"{{.*}} name "groups.Reshape_7" opset 28 {{.*}} -> tensor<?x4x6xf32>
// What has a converter stays, although it has a definition.
// CHECK: %[[L:.*]] = onnx.node "LayerNormalization"(%[[G]]
// A definition that needs another one; attributes that the node leaves out have the schema's value.
// CHECK: onnx.node "LogSoftmax"({{.*}} name "loss.LogSoftmax"
// CHECK-NOT: onnx.node "NegativeLogLikelihoodLoss"
// CHECK: onnx.node "ReduceMean"{{.*}} name "loss.NegativeLogLikelihoodLoss.ReduceMean"
// A definition that leads nowhere: the node itself is what the raise phase reports.
// CHECK: onnx.node "Bernoulli"(%[[L]]) name "random"
// CHECK: %[[S:.*]] = onnx.node "Swish"(%[[L]]) {alpha = 1.000000e+00 : f32} name "gate.Swish"
// CHECK: onnx.node "Mul"(%[[S]], %[[G]]) name "gate.Mul"
