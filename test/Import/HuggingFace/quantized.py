# GPTQ and AWQ checkpoints compute what their integers, zero points and scales stand for, which stay packed; what cannot be
# read so is refused.
# REQUIRES: python-onnx, python-numpy, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s moe-compile %t

import os
import unittest

import numpy as np
from decoder_reference import checkpoint_of
from decoder_testing import COMMON, DecoderCase

MIXTRAL = dict(COMMON, model_type="mixtral", num_local_experts=5)
QWEN2 = dict(COMMON, model_type="qwen2_moe", num_experts=7, norm_topk_prob=False, num_experts_per_tok=3)
QWEN3 = dict(COMMON, model_type="qwen3_moe", num_experts=6, norm_topk_prob=True)
GPTQ = dict(quant_method="gptq", bits=4, group_size=16, desc_act=False, sym=False, damp_percent=0.1)
AWQ = dict(quant_method="awq", bits=4, group_size=16, zero_point=True, version="gemm", modules_to_not_convert=None)
SIZES = dict(hidden_size=32, intermediate_size=48)
UNORDERED = ": groups of columns that are not consecutive (desc_act) are not supported, expects "


def model(family, quantization, **more):
    return dict(family, **SIZES, **more, quantization_config=quantization)


MODELS = [
    ("gptq", model(QWEN3, GPTQ, moe_intermediate_size=16, head_dim=16)),
    # The last group is shorter than the others.
    ("gptq_v2_8_bits", model(MIXTRAL, dict(GPTQ, bits=8, group_size=32, checkpoint_format="gptq_v2"))),
    ("gptq_8_bits_one_group", model(MIXTRAL, dict(GPTQ, bits=8, group_size=-1), num_hidden_layers=1)),
    ("gptq_shared_expert", model(QWEN2, dict(GPTQ, group_size=128), moe_intermediate_size=24,
                                 shared_expert_intermediate_size=40, mlp_only_layers=[1])),
    ("awq", model(QWEN3, AWQ, moe_intermediate_size=16, head_dim=16, num_experts=9)),
    ("awq_one_group", model(MIXTRAL, dict(AWQ, group_size=-1, version="GEMM"), num_local_experts=1, num_experts_per_tok=1)),
    ("awq_short_group", model(QWEN2, dict(AWQ, group_size=32), moe_intermediate_size=24,
                              shared_expert_intermediate_size=40)),
]  # fmt: skip


class Quantized(DecoderCase):
    def test_f16(self):
        self.check(model(MIXTRAL, GPTQ, torch_dtype="float16", num_experts_per_tok=5), 2, shards=2)

    def test_stays_packed(self):
        config = model(MIXTRAL, AWQ, num_hidden_layers=1, vocab_size=8)
        self.save(config, checkpoint_of(config).tensors)
        self.assertEqual(self.compile().returncode, 0)
        packed = os.path.getsize(os.path.join(self.folder, "out.weights"))
        numbers = sum(matrix.size for matrix in checkpoint_of(config).matrices.values())
        self.assertLess(packed, 1.5 * numbers)

    def test_refused(self):
        def config(**more):
            return model(MIXTRAL, dict(GPTQ, **more), num_hidden_layers=1)

        key = "key 'quantization_config."
        tensors = checkpoint_of(config()).tensors
        cases = [
            (dict(bits=3), [key + "bits' expects 4 or 8, got 3"]),
            (dict(bits="4"), [key + "bits' expects 4 or 8"]),
            (dict(group_size=12), [key + "group_size' expects -1 or a multiple of 8, got 12"]),
            (dict(group_size=0), [key + "group_size' expects -1 or a multiple of 8, got 0"]),
            (dict(group_size=2**40), [key + f"group_size' expects -1 or a multiple of 8, got {2**40}"]),
            (dict(group_size=None), [key + "group_size' expects -1 or a multiple of 8"]),
            (dict(desc_act=1), [key + "desc_act' expects true or false"]),
            (dict(checkpoint_format="marlin"), [key + "checkpoint_format' expects gptq or gptq_v2, got 'marlin'"]),
            (dict(dynamic={"+:gate": {"bits": 8}}),
             [key + "dynamic' expects to be empty: matrices that are quantized differently are not supported"]),
            (dict(pack_dtype="int16"), [key + "pack_dtype' expects int32"]),
            (dict(odd=1), ["keys that this compiler does not know, and that might change the result: "
                           "'quantization_config.odd'"]),
        ]  # fmt: skip
        for more, expected in cases:
            self.refuse(config(**more), expected, tensors)
        for more, expected in [(dict(version="gemv"), key + "version' expects gemm, got 'gemv'"),
                               (dict(zero_point=False), key + "zero_point' expects true"),
                               (dict(bits=8), key + "bits' expects 4, got 8")]:  # fmt: skip
            self.refuse(model(MIXTRAL, dict(AWQ, **more)), [expected], tensors)

    def test_tensors(self):
        config = model(MIXTRAL, GPTQ, num_hidden_layers=1)
        tensors = checkpoint_of(config).tensors
        name = "model.layers.0.block_sparse_moe.experts.3.w2"
        for part in ("qweight", "qzeros", "scales"):
            rest = {n: t for n, t in tensors.items() if n != f"{name}.{part}"}
            self.refuse(config, [f"tensor '{name}.{part}' is missing"], rest)
        for part, change, expected in [
            ("qweight", lambda t: t.T, "has shape [32, 6], expects [6, 32]"),
            ("qweight", lambda t: t[:, :-1], "has shape [6, 31], expects [6, 32]"),
            ("qweight", lambda t: t[None], "has shape [1, 6, 32], expects [6, 32]"),
            ("qweight", lambda t: t.astype(np.float32), "is of type F32, expects I32"),
            ("qzeros", lambda t: t[:2], "has shape [2, 4], expects [3, 4]"),
            ("qzeros", lambda t: t.reshape(-1), "has shape [12], expects [3, 4]"),
            ("qzeros", lambda t: t.astype(np.int64), "is of type I64, expects I32"),
            ("scales", lambda t: t[:, ::2], "has shape [3, 16], expects [3, 32]"),
            ("scales", lambda t: t[:0], "has shape [0, 32], expects [3, 32]"),
            ("scales", lambda t: t.astype(np.float32), "is of type F32, expects F16"),
            ("g_idx", lambda t: t[:, None], "has shape [48, 1], expects [48]"),
            ("g_idx", lambda t: t.astype(np.int64), "is of type I64, expects I32"),
            ("g_idx", lambda t: t - 1, "puts column 0 into group -1, expects groups from 0 to 2"),
            ("g_idx", lambda t: t * 2, "puts column 16 into group 2" + UNORDERED + "group 1"),
            ("g_idx", lambda t: t // 2 * 9, "puts column 16 into group 0" + UNORDERED + "group 1"),
            ("g_idx", lambda t: np.where(t == 2, 3, t).astype(np.int32), "puts column 32 into group 3, expects groups from 0 to 2"),
            ("g_idx", lambda t: t[np.r_[:3, 20, 4:20, 3, 21:48]], "puts column 3 into group 1" + UNORDERED + "group 0"),
        ]:  # fmt: skip
            part = f"{name}.{part}"
            self.refuse(config, [f"tensor '{part}' {expected}"], {**tensors, part: change(tensors[part])})
        rest = {n: t for n, t in tensors.items() if n != name + ".g_idx"}
        self.refuse(dict(config, quantization_config=dict(GPTQ, desc_act=True)), [f"tensor '{name}.g_idx' is missing"], rest)
        first = "model.layers.0.block_sparse_moe.experts.0.w1.scales"
        self.refuse(config, [f"tensor '{first}' is of type F64, expects F32, F16 or BF16"],
                    {n: t.astype(np.float64) if n.endswith("w1.scales") else t for n, t in tensors.items()})  # fmt: skip
        # Groups of another size than the tensors': not more than the first of them are listed.
        self.save(dict(config, quantization_config=dict(GPTQ, group_size=-1)), tensors)
        lines = self.compile().stderr.splitlines()
        self.assertIn("tensor 'model.layers.0.self_attn.q_proj.qzeros' has shape [2, 4], expects [1, 4]", lines[0])
        self.assertIn(len(lines), range(21, 25))

    def test_truncated(self):
        config = model(MIXTRAL, GPTQ, num_hidden_layers=1)
        tensors = checkpoint_of(config).tensors
        self.save(config, tensors)
        path = os.path.join(self.folder, "model.safetensors")
        size, data = os.path.getsize(path), sum(tensor.nbytes for tensor in tensors.values())
        for length in (0, 7, 8, 100, size - data, size - data // 2, size - 1):
            os.truncate(path, length) if length else open(path, "wb").close()
            done = self.compile()
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
            self.assertIn("error: the folder's 'model.safetensors' ", done.stderr)
            self.save(config, tensors)

    def test_biases(self):
        # Writers give every matrix one, whether the model has biases or not.
        config = model(MIXTRAL, GPTQ, num_hidden_layers=1)
        tensors = checkpoint_of(config).tensors
        zeros = {n.replace("qweight", "bias"): np.zeros(t.shape[1], np.float16) for n, t in tensors.items() if "experts" in n and "qweight" in n}
        self.save(config, {**tensors, **zeros})
        self.assertEqual(self.compile().stderr, "")
        name = "model.layers.0.block_sparse_moe.experts.3.w2.bias"
        self.refuse(config, [f"tensor '{name}' expects zeros: experts of a model of type 'mixtral' have no biases"],
                    {**tensors, **zeros, name: np.array([0] * 31 + [1], np.float16)})  # fmt: skip
        self.refuse(config, [f"tensor '{name}' has shape [31], expects [32]"], {**tensors, **zeros, name: zeros[name][1:]})

    def test_floats(self):
        config = model(MIXTRAL, GPTQ, num_hidden_layers=1)
        tensors = checkpoint_of(config).tensors
        # Some matrices are floats, and the order of groups may be left out.
        floats = {n: t for n, t in tensors.items() if not n.endswith(".g_idx") and ".q_proj." not in n}
        floats["model.layers.0.self_attn.q_proj.weight"] = np.ones((32, 32), np.float32)
        self.save(config, floats)
        self.assertEqual(self.compile().stderr, "")
        self.save(dict(config, hidden_size=36, num_attention_heads=6, num_key_value_heads=2), tensors)
        self.assertIn("error: matrix 'model.layers.0.self_attn.q_proj' of shape [36, 36] cannot consist of words of 8 integers\n",
                      self.compile().stderr)  # fmt: skip


Quantized.add([(name, config, config["num_hidden_layers"] - len(config.get("mlp_only_layers", []))) for name, config in MODELS])
unittest.main(argv=["quantized"])
