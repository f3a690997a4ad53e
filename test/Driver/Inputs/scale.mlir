// y = x * scale, scale = [2, 3, 4] in scale.bin.
moe.weight @scale {file = "scale.bin", offset = 0 : i64, length = 12 : i64} : tensor<3xf32>
func.func @main(%x: tensor<?x3xf32> {moe.name = "x", moe.dims = ["n", ""]})
    -> (tensor<?x3xf32> {moe.name = "y", moe.dims = ["n", ""]}) {
  %s = moe.get_weight @scale : tensor<3xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x3xf32>
  %e = tensor.empty(%n) : tensor<?x3xf32>
  %y = linalg.generic {
      indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d1)>, affine_map<(d0, d1) -> (d0, d1)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%x, %s : tensor<?x3xf32>, tensor<3xf32>) outs(%e : tensor<?x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    linalg.yield %m : f32
  } -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
