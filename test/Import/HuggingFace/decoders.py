# Folders with a config.json and safetensors compile to decoders whose logits are those of a float64 reference, at once
# and in steps with a cache; every sparse layer is recognised; what could change the result is honoured or refused.
# REQUIRES: python-onnx, python-numpy, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s moe-compile %t

import json
import os
import unittest

import numpy as np
from decoder_reference import checkpoint_of
from decoder_testing import COMMON, UNKNOWN, YARN, DecoderCase

MIXTRAL = dict(COMMON, model_type="mixtral", num_local_experts=5)
QWEN2 = dict(COMMON, model_type="qwen2_moe", num_experts=7, moe_intermediate_size=18, shared_expert_intermediate_size=22,
             norm_topk_prob=False, num_experts_per_tok=3)  # fmt: skip
QWEN3 = dict(COMMON, model_type="qwen3_moe", num_experts=6, moe_intermediate_size=18, norm_topk_prob=True, head_dim=10)
OLMOE = dict(COMMON, model_type="olmoe", num_experts=8, norm_topk_prob=False, num_key_value_heads=4)
GRANITE = dict(COMMON, model_type="granitemoe", num_local_experts=4, embedding_multiplier=3.0, logits_scaling=2.0,
               residual_multiplier=0.5, attention_multiplier=0.3)  # fmt: skip
LLAMA3 = dict(type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)

MODELS = [
    ("mixtral", MIXTRAL, 2),
    ("mixtral_window_tied", dict(MIXTRAL, sliding_window=3, tie_word_embeddings=True), 2),
    ("mixtral_one_expert", dict(MIXTRAL, num_local_experts=1, num_experts_per_tok=1,
                                rope_scaling=dict(type="linear", factor=2.0)), 2),
    ("qwen2_window", dict(QWEN2, use_sliding_window=True, sliding_window=2, max_window_layers=1, norm_topk_prob=True,
                          rope_theta=None, rope_parameters=dict(LLAMA3, rope_theta=100.0)), 2),
    ("qwen3_dense", dict(QWEN3, num_hidden_layers=3, decoder_sparse_step=2, rope_scaling=YARN), 1),
    ("olmoe_clip", dict(OLMOE, clip_qkv=0.4, mlp_only_layers=[0]), 1),
    ("granite", GRANITE, 2),
]  # fmt: skip


class Decoders(DecoderCase):
    def test_types(self):
        self.check(dict(MIXTRAL, torch_dtype="float16", num_experts_per_tok=5), 2, shards=2)

    def test_bf16(self):
        # With all experts chosen no rounding can choose others.
        self.check(dict(QWEN2, torch_dtype="bfloat16", num_experts_per_tok=7), 2, shards=3)

    def test_refused(self):
        cases = [
            (dict(MIXTRAL, logit_cap=3, other=[1]), UNKNOWN + "'logit_cap', 'other'"),
            (dict(MIXTRAL, rope_scaling=dict(YARN, odd=1)), UNKNOWN + "'rope_scaling.odd'"),
            (dict(MIXTRAL, rope_scaling=dict(type="dynamic")), "rotary embeddings of type 'dynamic' are not supported"),
            (dict(MIXTRAL, hidden_act="gelu"), "key 'hidden_act' expects silu, 'gelu' is not supported"),
            (dict(MIXTRAL, num_experts_per_tok=6), "key 'num_experts_per_tok' expects at most the 5 experts"),
            (dict(MIXTRAL, num_experts=4), "key 'num_local_experts' expects the 4 experts that there are elsewhere, got 5"),
            (dict(MIXTRAL, num_key_value_heads=3), "key 'num_key_value_heads' expects a divisor of the 4 heads"),
            (dict(MIXTRAL, hidden_size=-1, head_dim=6), "key 'hidden_size' expects a whole number from 1 to 2147483647"),
            (dict(MIXTRAL, num_hidden_layers=2**31 - 1), "key 'num_hidden_layers' expects a whole number from 1 to 65536"),
            (dict(MIXTRAL, num_hidden_layers=2**16, num_local_experts=2**16),
             "has 65536 layers of 65536 experts, expects at most 4194304 in all"),
            (dict(MIXTRAL, rms_norm_eps="x"), "key 'rms_norm_eps' expects a number above 0"),
            (dict(MIXTRAL, rope_theta=-1.0), "key 'rope_theta' expects a number above 0"),
            (dict(MIXTRAL, rope_scaling=dict(YARN, factor=0)), "key 'rope_scaling.factor' expects a number above 0"),
            (dict(MIXTRAL, rope_theta=1, rope_scaling=YARN), "key 'rope_theta' expects another number than 1 with yarn"),
            (dict(MIXTRAL, layer_types=["sliding_attention"] * 2),
             "key 'layer_types' expects a type for each layer, in agreement with the sliding window"),
            (dict(MIXTRAL, quantization_config={"bits": 4}),
             "key 'quantization_config.quant_method' expects fp8, mxfp4, gptq or awq, '' is not supported"),
            (dict(MIXTRAL, model_type="llama"),
             "key 'model_type' expects one of mixtral, qwen2_moe, qwen3_moe, olmoe, granitemoe, deepseek_v2, "
             "deepseek_v3, phimoe, gpt_oss, got 'llama'"),
            ([], "is no JSON object, expects a model's configuration"),
        ]  # fmt: skip
        for config, expected in cases:
            self.refuse(config, [expected])
        self.refuse(dict(MIXTRAL, head_dim=2**31 - 2), [
            "key 'head_dim' expects a whole number from 1 to 65536",
            "rotary embeddings of 1 of a head's 1 elements are not possible"])  # fmt: skip
        self.refuse(MIXTRAL, ["has weights beside it, expects no others"], None, "--weights=x")

    def test_tensors(self):
        tensors = checkpoint_of(MIXTRAL).tensors
        name = "model.layers.1.block_sparse_moe.experts.3.w2.weight"
        self.refuse(MIXTRAL, [f"tensor '{name}' is missing"], {n: t for n, t in tensors.items() if n != name})
        self.refuse(MIXTRAL, [f"tensor '{name}' has shape [20, 24], expects [24, 20]"], {**tensors, name: tensors[name].T})
        self.refuse(MIXTRAL, [f"tensor '{name}' is of type F16, expects F32 like the embeddings"],
                    {**tensors, name: tensors[name].astype(np.float16)})  # fmt: skip
        self.refuse(MIXTRAL, ["tensors that a model of type 'mixtral' does not have: 'model.layers.0.self_attn.q_norm.weight'"],
                    {**tensors, "model.layers.0.self_attn.q_norm.weight": tensors["model.norm.weight"]})  # fmt: skip
        self.refuse(dict(MIXTRAL, num_hidden_layers=1), [
            "tensors that a model of type 'mixtral' does not have: "
            + ", ".join(f"'{n}'" for n in sorted(n for n in tensors if "layers.1." in n)[:10]) + " and 12 more"],
            tensors)  # fmt: skip

    def test_folder(self):
        done = self.compile()
        self.assertEqual((done.returncode, done.stderr),
                         (1, f"{self.folder}: error: is a folder without a config.json\n"))  # fmt: skip
        with open(os.path.join(self.folder, "config.json"), "w") as file:
            json.dump(MIXTRAL, file)
        self.assertIn("error: the folder has no .safetensors file", self.compile().stderr)


Decoders.add(MODELS)
unittest.main(argv=["decoders"])
