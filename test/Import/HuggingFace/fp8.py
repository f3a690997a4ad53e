# Checkpoints whose matrices are 8-bit floats with scales for blocks: logits are those of the floats that these stand for.
# REQUIRES: python-onnx, python-numpy, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s moe-compile %t

import unittest

import numpy as np
from decoder_reference import checkpoint_of, in_fp8
from decoder_testing import COMMON, DecoderCase

FP8 = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[16, 8])
# Blocks divide none of the sizes; the matrix of keys and values is split between them.
V3 = dict(COMMON, model_type="deepseek_v3", num_key_value_heads=4, n_routed_experts=8, num_experts_per_tok=3,
          moe_intermediate_size=18, n_shared_experts=1, first_k_dense_replace=1, q_lora_rank=20, kv_lora_rank=14,
          qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=8, n_group=2, topk_group=1, norm_topk_prob=True,
          routed_scaling_factor=2.5, topk_method="noaux_tc", quantization_config=FP8)  # fmt: skip
QWEN3 = dict(COMMON, model_type="qwen3_moe", num_experts=6, moe_intermediate_size=18, norm_topk_prob=True, head_dim=10,
             num_experts_per_tok=6, torch_dtype="bfloat16", quantization_config=FP8)  # fmt: skip


class FP8Checkpoints(DecoderCase):
    def test_f32(self):
        self.check(V3, 1, shards=2, fp8_scales="float32")

    def test_bf16(self):
        # With all experts chosen no rounding can choose others.
        self.check(QWEN3, 2, fp8_scales="bfloat16")

    def test_refused(self):
        def but(**changes):
            return dict(V3, quantization_config={**FP8, **changes})

        key = "key 'quantization_config"
        for config, expected in [
            (dict(V3, quantization_config=8), f"{key}' expects an object"),
            (but(quant_method="bitsandbytes"), f"{key}.quant_method' expects fp8, mxfp4, gptq or awq, 'bitsandbytes' is not supported"),
            (but(fmt="e5m2"), f"{key}.fmt' expects e4m3, 'e5m2' is not supported"),
            (but(weight_block_size=None), f"{key}.weight_block_size' expects two whole numbers from 1"),
            (but(weight_block_size=[128, 0]), f"{key}.weight_block_size' expects two whole numbers from 1"),
            (but(weight_block_size=[128, 2**40]), f"{key}.weight_block_size' expects two whole numbers from 1"),
            (but(outliers=3), "keys that this compiler does not know, and that might change the result: "
             "'quantization_config.outliers'"),
        ]:  # fmt: skip
            self.refuse(config, [expected])

    def test_tensors(self):
        tensors = in_fp8(checkpoint_of(V3), (16, 8))
        matrix = "model.layers.1.mlp.experts.5.down_proj.weight"
        scales = matrix + "_scale_inv"
        for changed, expected in [
            ({scales: None}, f"tensor '{scales}' is missing"),
            ({scales: tensors[scales].T}, f"tensor '{scales}' has shape [3, 2], expects [2, 3]"),
            ({scales: tensors[scales].astype(np.float64)}, f"tensor '{scales}' is of type F64, expects F32, F16 or BF16"),
            ({matrix: tensors[matrix].T}, f"tensor '{matrix}' has shape [18, 24], expects [24, 18]"),
            ({"model.norm.weight": tensors["model.norm.weight"].astype(tensors[matrix].dtype)},
             "tensor 'model.norm.weight' is of type F8_E4M3, expects F32 like the embeddings"),
        ]:  # fmt: skip
            self.refuse(V3, [expected], {n: t for n, t in {**tensors, **changed}.items() if t is not None})


unittest.main(argv=["fp8"])
