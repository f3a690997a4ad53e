// A decoder with a state of fixed size, [batch, 1], that counts tokens. After n of them the next one is 60 + n.
func.func @main(%ids: tensor<?x?xi64> {moe.name = "input_ids"}, %before: tensor<?x1xf32> {moe.name = "past.0.conv"})
    -> (tensor<?x?x96xf32> {moe.name = "logits"}, tensor<?x1xf32> {moe.name = "present.0.conv"}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %batch = tensor.dim %ids, %c0 : tensor<?x?xi64>
  %sequence = tensor.dim %ids, %c1 : tensor<?x?xi64>
  %count = arith.index_cast %sequence : index to i64
  %new = arith.sitofp %count : i64 to f32
  %state = tensor.empty(%batch) : tensor<?x1xf32>
  %after = linalg.generic {
      indexing_maps = [affine_map<(b, i) -> (b, i)>, affine_map<(b, i) -> (b, i)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%before : tensor<?x1xf32>) outs(%state : tensor<?x1xf32>) {
  ^bb0(%old: f32, %out: f32):
    %sum = arith.addf %old, %new : f32
    linalg.yield %sum : f32
  } -> tensor<?x1xf32>
  %scores = tensor.empty(%batch, %sequence) : tensor<?x?x96xf32>
  %logits = linalg.generic {
      indexing_maps = [affine_map<(b, s, v) -> (b, 0)>, affine_map<(b, s, v) -> (b, s, v)>],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%after : tensor<?x1xf32>) outs(%scores : tensor<?x?x96xf32>) {
  ^bb0(%n: f32, %out: f32):
    %base = arith.constant 60.0 : f32
    %index = linalg.index 2 : index
    %integer = arith.index_cast %index : index to i64
    %token = arith.sitofp %integer : i64 to f32
    %wanted = arith.addf %n, %base : f32
    %difference = arith.subf %token, %wanted : f32
    %square = arith.mulf %difference, %difference : f32
    %score = arith.negf %square : f32
    linalg.yield %score : f32
  } -> tensor<?x?x96xf32>
  return %logits, %after : tensor<?x?x96xf32>, tensor<?x1xf32>
}
