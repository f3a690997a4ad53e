// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @empty_operator() {
  // expected-error @+1 {{expects an operator name, got an empty string}}
  onnx.node ""() opset 20 : () -> ()
  return
}

// -----

func.func @operator_with_separator() {
  // expected-error @+1 {{expects an operator name without '::', got 'a::b'}}
  "onnx.node"() <{op_type = "a::b", opset = 1 : i64, onnx_attrs = {}, region_names = []}> : () -> ()
  return
}

// -----

func.func @spelled_out_default_domain() {
  // expected-error @+1 {{expects the default domain to be left out, got 'ai.onnx'}}
  onnx.node "ai.onnx::Add"() opset 20 : () -> ()
  return
}

// -----

func.func @opset() {
  // expected-error @+1 {{expects a positive operator set version, got 0}}
  onnx.node "Add"() opset 0 : () -> ()
  return
}

// -----

func.func @attribute_kind() {
  // expected-error @+1 {{expects attribute 'axis' to be an i64, f32, string, tensor, weight symbol, type, array<i64>, array<f32> or array of strings, got 0 : i32}}
  onnx.node "Gather"() {axis = 0 : i32} opset 20 : () -> ()
  return
}

// -----

func.func @attribute_list_kind() {
  // expected-error @+1 {{expects attribute 'axes' to be}}
  onnx.node "Squeeze"() {axes = [0, 1]} opset 11 : () -> ()
  return
}

// -----

func.func @unknown_weight() {
  // expected-error @+1 {{expects attribute 'value' to name a weight of the module, got @w}}
  onnx.node "Constant"() {value = @w} opset 20 : () -> ()
  return
}

// -----

func.func @region_names() {
  // expected-error @+1 {{expects one name per subgraph, got 0 names for 1 subgraphs}}
  "onnx.node"() <{op_type = "If", opset = 1 : i64, onnx_attrs = {}, region_names = []}> ({
    onnx.yield
  }) : () -> ()
  return
}

// -----

func.func @unnamed_region() {
  // expected-error @+1 {{expects a name for every subgraph}}
  onnx.node "If"() opset 20 : () -> () graph "" {
    onnx.yield
  }
  return
}

// -----

func.func @duplicate_region() {
  // expected-error @+1 {{expects attribute names to be unique, got 'body' twice}}
  onnx.node "If"() opset 20 : () -> () graph "body" {
    onnx.yield
  } graph "body" {
    onnx.yield
  }
  return
}

// -----

func.func @region_named_as_attribute() {
  // expected-error @+1 {{expects attribute names to be unique, got 'body' twice}}
  onnx.node "If"() {body = 1 : i64} opset 20 : () -> () graph "body" {
    onnx.yield
  }
  return
}

// -----

func.func @terminator() {
  // expected-error @+1 {{expects subgraph 'body' to end with onnx.yield}}
  onnx.node "If"() opset 20 : () -> () graph "body" {
    ub.unreachable
  }
  return
}

// -----

func.func @operand_type(%x: memref<4xf32>) {
  // expected-error @+1 {{operand #0 must be variadic of tensor, none for an omitted value, or opaque}}
  onnx.node "Neg"(%x) opset 20 : (memref<4xf32>) -> ()
  return
}

// -----

func.func @constant_type() {
  // expected-error @+1 {{failed to verify that all of {value, output} have same type}}
  %0 = "onnx.constant"() <{value = dense<1> : tensor<2xi64>}> : () -> tensor<3xi64>
  return
}

// -----

func.func @stray_yield() {
  // expected-error @+1 {{expects parent op 'onnx.node'}}
  onnx.yield
}
