# The decoders of DeepSeek: latent attention, whose cache is one vector per position; experts out of groups. Logits are
# those of a float64 reference that makes the keys and values of all heads.
# REQUIRES: python-onnx, python-numpy, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s moe-compile %t

import os
import unittest

import numpy as np
from decoder_reference import checkpoint_of
from decoder_testing import COMMON, UNKNOWN, YARN, DecoderCase

V3 = dict(COMMON, model_type="deepseek_v3", num_key_value_heads=4, n_routed_experts=12, num_experts_per_tok=3,
          moe_intermediate_size=18, n_shared_experts=2, first_k_dense_replace=1, q_lora_rank=20, kv_lora_rank=14,
          qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=8, scoring_func="sigmoid", topk_method="noaux_tc", n_group=4,
          topk_group=2, norm_topk_prob=True, routed_scaling_factor=2.5, num_nextn_predict_layers=1, moe_layer_freq=1)  # fmt: skip
V2 = dict(V3, model_type="deepseek_v2", scoring_func="softmax", topk_method="group_limited_greedy", norm_topk_prob=False,
          routed_scaling_factor=16.0, num_nextn_predict_layers=None, aux_loss_alpha=0.001, seq_aux=True)  # fmt: skip

MODELS = [
    ("v2_groups", dict(V2, rope_scaling=dict(YARN, mscale=0.7, mscale_all_dim=0.7)), 1),
    ("v2_lite", dict(V2, topk_method="greedy", n_group=1, topk_group=1, q_lora_rank=None, routed_scaling_factor=1.0,
                     num_hidden_layers=3, moe_layer_freq=2, first_k_dense_replace=0), 2),
    ("v3_yarn", dict(V3, num_hidden_layers=3, rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=0.7)), 2),
    ("v3_small", dict(V3, q_lora_rank=None, n_group=1, topk_group=1, n_routed_experts=5, norm_topk_prob=False,
                      first_k_dense_replace=0, n_shared_experts=None, rope_interleave=False, attention_bias=True), 2),
]  # fmt: skip


class DeepSeek(DecoderCase):
    def test_v3_bf16(self):
        # With all experts chosen no rounding can choose others.
        self.check(dict(V3, torch_dtype="bfloat16", num_experts_per_tok=12, topk_group=4), 1)

    def test_v3_extra_layers(self):
        """Layers that predict further tokens are left out; the bias of the selection may be in f32."""
        config = dict(V3, torch_dtype="float16")
        tensors = checkpoint_of(config).tensors
        extra = {name.replace("layers.1", "layers.2"): tensor for name, tensor in tensors.items() if "layers.1" in name}
        bias = "model.layers.1.mlp.gate.e_score_correction_bias"
        self.save(config, {**tensors, **extra, bias: tensors[bias].astype(np.float32)})
        done = self.compile("--compile-to=raise")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(os.path.join(self.folder, "out")) as file:
            text = file.read()
        route = [line for line in text.splitlines() if "= moe.route" in line]
        self.assertEqual(len(route), 1)
        for part in ["tensor<?x12xf32>", "bias(", "k = 3", "n_group = 4", "topk_group = 2", "group_top = 2", "sigmoid",
                     "renormalize", "scale = 2.5"]:  # fmt: skip
            self.assertIn(part, route[0])
        # One vector and one rotated part of it for all heads.
        for name, size in [("key", 14), ("value", 6)]:
            self.assertRegex(text, rf'tensor<\?x1x\?x{size}xf16> {{[^}}]*moe.name = "past_key_values.1.{name}"}}')
        self.refuse(dict(config, num_nextn_predict_layers=0), [
            "tensors that a model of type 'deepseek_v3' does not have: "
            + ", ".join(f"'{n}'" for n in sorted(extra)[:10]) + f" and {len(extra) - 10} more"], {**tensors, **extra})  # fmt: skip

    def test_refused(self):
        for config, expected in [
            (dict(V2, norm_topk_prob=True), "key 'norm_topk_prob' expects false"),
            (dict(V2, topk_method="noaux_tc"),
             "key 'topk_method' expects greedy or group_limited_greedy, 'noaux_tc' is not supported"),
            (dict(V3, topk_method="greedy"), "key 'topk_method' expects noaux_tc, 'greedy' is not supported"),
            (dict(V3, scoring_func="softmax"), "key 'scoring_func' expects sigmoid, 'softmax' is not supported"),
            (dict(V3, n_group=5), "key 'n_group' expects a divisor of the 12 experts"),
            (dict(V3, n_group=12, topk_group=6), "key 'n_group' expects groups of at least 2 experts"),
            (dict(V3, topk_group=5), "key 'topk_group' expects at most the 4 groups"),
            (dict(V3, num_experts_per_tok=7),
             "key 'topk_group' expects groups that hold the 7 experts of a token, got 2 of 3"),
            (dict(V3, num_key_value_heads=2), "key 'num_key_value_heads' expects the 4 heads"),
            (dict(V3, qk_rope_head_dim=5),
             "rotary embeddings of 5 of a head's 5 elements are not possible"),
            (dict(V3, sliding_window=4), UNKNOWN + "'sliding_window'"),
        ]:  # fmt: skip
            self.refuse(config, [expected])


DeepSeek.add(MODELS)
unittest.main(argv=["deepseek"])
