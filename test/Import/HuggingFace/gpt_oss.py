# Folders of gpt-oss: sinks, windows by layer, biases, clamped activations.
# REQUIRES: python-onnx, python-numpy, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s moe-compile %t

import unittest

import numpy as np
from decoder_reference import checkpoint_of
from decoder_testing import COMMON, DecoderCase

GPT_OSS = dict(COMMON, model_type="gpt_oss", num_local_experts=5, num_experts_per_tok=3, sliding_window=3, head_dim=10,
               rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, truncate=False,
                                 beta_fast=32.0, beta_slow=1.0))  # fmt: skip
MXFP4 = dict(GPT_OSS, hidden_size=32, intermediate_size=64,
             quantization_config=dict(quant_method="mxfp4", modules_to_not_convert=["lm_head"]))  # fmt: skip

MODELS = [
    ("three_layers", dict(GPT_OSS, num_hidden_layers=3, swiglu_limit=0.5, experts_per_token=3, initial_context_length=16), 3),
    ("windows", dict(GPT_OSS, layer_types=["full_attention", "sliding_attention"], swiglu_alpha=1.5), 2),
    ("no_window", dict(GPT_OSS, sliding_window=None, attention_bias=False, num_key_value_heads=4,
                       layer_types=["full_attention"] * 2), 2),
    ("mxfp4", MXFP4, 2),
    ("mxfp4_wide", dict(MXFP4, hidden_size=96, intermediate_size=160, num_local_experts=9, num_experts_per_tok=1,
                        num_hidden_layers=1), 1),
]  # fmt: skip


class GptOss(DecoderCase):
    def test_bf16(self):
        # With all experts chosen no rounding can choose others.
        self.check(dict(GPT_OSS, torch_dtype="bfloat16", num_experts_per_tok=5), 2, shards=3)

    def test_mxfp4_bf16(self):
        self.check(dict(MXFP4, torch_dtype="bfloat16", num_experts_per_tok=5), 2)

    def test_mxfp4_refused(self):
        tensors = checkpoint_of(MXFP4).tensors
        blocks, scales = (f"model.layers.1.mlp.experts.down_proj_{part}" for part in ("blocks", "scales"))
        self.refuse(MXFP4, [f"tensor '{scales}' is missing"], {n: t for n, t in tensors.items() if n != scales})
        self.refuse(MXFP4, [f"tensor '{scales}' has shape [5, 32], expects [5, 32, 2]"],
                    {**tensors, scales: tensors[scales][:, :, 0]})  # fmt: skip
        self.refuse(MXFP4, [f"tensor '{blocks}' has shape [5, 32, 1, 32], expects [5, 32, 2, 16]"],
                    {**tensors, blocks: tensors[blocks].reshape(5, 32, 1, 32)})  # fmt: skip
        self.refuse(MXFP4, [f"tensor '{scales}' is of type F32, expects U8"],
                    {**tensors, scales: tensors[scales].astype(np.float32)})  # fmt: skip
        self.refuse(dict(MXFP4, num_hidden_layers=1, intermediate_size=40), [
            "tensor 'model.layers.0.mlp.experts.gate_up_proj_blocks' has shape [5, 128, 1, 16], expects [5, 80, 1, 16]",
            "tensor 'model.layers.0.mlp.experts.gate_up_proj_scales' has shape [5, 128, 1], expects [5, 80, 1]",
            "tensor 'model.layers.0.mlp.experts.gate_up_proj_bias' has shape [5, 128], expects [5, 80]",
            "matrices 'model.layers.0.mlp.experts.down_proj' of 40 columns cannot consist of MXFP4 blocks of 32"],
            {n: t for n, t in tensors.items() if "layers.1." not in n})  # fmt: skip
        self.refuse(dict(COMMON, model_type="mixtral", num_local_experts=5, quantization_config=dict(quant_method="mxfp4")),
                    ["key 'quantization_config.quant_method' is mxfp4, which a model of type 'mixtral' is not expected to have"])

    def test_refused(self):
        tensors = checkpoint_of(GPT_OSS).tensors
        for name in ("self_attn.sinks", "self_attn.o_proj.bias", "mlp.router.bias", "mlp.experts.down_proj_bias"):
            name = "model.layers.1." + name
            self.refuse(GPT_OSS, [f"tensor '{name}' is missing"], {n: t for n, t in tensors.items() if n != name})
        name = "model.layers.0.mlp.experts.gate_up_proj"
        self.refuse(GPT_OSS, [f"tensor '{name}' has shape [5, 40, 24], expects [5, 24, 40]"],
                    {**tensors, name: tensors[name].transpose(0, 2, 1)})  # fmt: skip
        windows = "key 'layer_types' expects a type for each layer, in agreement with the sliding window"
        for config, expected in [
            (dict(GPT_OSS, layer_types=["full_attention", "linear_attention"]), windows),
            (dict(GPT_OSS, layer_types=["full_attention"]), windows),
            (dict(GPT_OSS, swiglu_limit=0), "key 'swiglu_limit' expects a number above 0"),
            (dict(GPT_OSS, experts_per_token=2), "key 'experts_per_token' expects the 3 of 'num_experts_per_tok'"),
            (dict(GPT_OSS, rope_scaling=None), "key 'rope_parameters' is missing"),
        ]:  # fmt: skip
            self.refuse(config, [expected], tensors)


GptOss.add(MODELS)
unittest.main(argv=["gpt_oss"])
