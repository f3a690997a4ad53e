# Folders with a config.json and safetensors compile to decoders whose logits are those of a float64 reference, at once
# and in steps with a cache; every sparse layer is recognised; what could change the result is honoured or refused.
# REQUIRES: python-onnx, python-numpy, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s moe-compile %t

import json
import os
import subprocess
import sys
import unittest

import moe_mlir
import numpy as np
from safetensors_files import dtype, save_folder

ROOT = sys.argv.pop()
TOOL = sys.argv.pop()

COMMON = dict(vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              intermediate_size=20, rms_norm_eps=1e-5, hidden_act="silu", num_experts_per_tok=2, rope_theta=10000.0,
              tie_word_embeddings=False, torch_dtype="float32", bos_token_id=1, use_cache=True, sliding_window=None)  # fmt: skip
MIXTRAL = dict(COMMON, model_type="mixtral", num_local_experts=5)
QWEN2 = dict(COMMON, model_type="qwen2_moe", num_experts=7, moe_intermediate_size=18, shared_expert_intermediate_size=22,
             norm_topk_prob=False, num_experts_per_tok=3)  # fmt: skip
QWEN3 = dict(COMMON, model_type="qwen3_moe", num_experts=6, moe_intermediate_size=18, norm_topk_prob=True, head_dim=10)
OLMOE = dict(COMMON, model_type="olmoe", num_experts=8, norm_topk_prob=False, num_key_value_heads=4)
GRANITE = dict(COMMON, model_type="granitemoe", num_local_experts=4, embedding_multiplier=3.0, logits_scaling=2.0,
               residual_multiplier=0.5, attention_multiplier=0.3)  # fmt: skip
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
LLAMA3 = dict(type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)

# (name, config, number of sparse layers)
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


class Checkpoint:
    """Random weights for a config, and what the model computes with them."""

    def __init__(self, config, seed=0):
        self.config, self.random, self.tensors = config, np.random.default_rng(seed), {}
        c, self.kind = config, config["model_type"]
        h, self.heads, self.keys = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
        self.size = c.get("head_dim", h // self.heads)
        self.experts = c.get("num_experts") or c.get("num_local_experts")
        inner = c.get("moe_intermediate_size", c["intermediate_size"])
        self.make("model.embed_tokens.weight", c["vocab_size"], h)
        for i in range(c["num_hidden_layers"]):
            layer = f"model.layers.{i}."
            for part, n in [("q", self.heads), ("k", self.keys), ("v", self.keys)]:
                self.make(layer + f"self_attn.{part}_proj.weight", n * self.size, h)
                if self.kind == "qwen2_moe":
                    self.make(layer + f"self_attn.{part}_proj.bias", n * self.size)
                if part != "v" and self.kind == "qwen3_moe":
                    self.make(layer + f"self_attn.{part}_norm.weight", self.size)
                if part != "v" and self.kind == "olmoe":
                    self.make(layer + f"self_attn.{part}_norm.weight", n * self.size)
            self.make(layer + "self_attn.o_proj.weight", h, self.heads * self.size)
            for norm in ("input", "post_attention"):
                self.make(layer + norm + "_layernorm.weight", h)
            if not self.sparse(i):
                self.make_mlp(layer + "mlp", h, c["intermediate_size"])
            elif self.kind == "mixtral":
                self.make(layer + "block_sparse_moe.gate.weight", self.experts, h)
                for e in range(self.experts):
                    self.make_mlp(layer + f"block_sparse_moe.experts.{e}", h, inner, ("w1", "w3", "w2"))
            elif self.kind == "granitemoe":
                self.make(layer + "block_sparse_moe.router.layer.weight", self.experts, h)
                self.make(layer + "block_sparse_moe.input_linear.weight", self.experts, 2 * inner, h)
                self.make(layer + "block_sparse_moe.output_linear.weight", self.experts, h, inner)
            else:
                self.make(layer + "mlp.gate.weight", self.experts, h)
                for e in range(self.experts):
                    self.make_mlp(layer + f"mlp.experts.{e}", h, inner)
                if self.kind == "qwen2_moe":
                    self.make_mlp(layer + "mlp.shared_expert", h, c["shared_expert_intermediate_size"])
                    self.make(layer + "mlp.shared_expert_gate.weight", 1, h)
        self.make("model.norm.weight", h)
        if not c["tie_word_embeddings"]:
            self.make("lm_head.weight", c["vocab_size"], h)

    def make(self, name, *shape):
        values = self.random.standard_normal(shape) * 0.3 + ("norm" in name)
        self.tensors[name] = values.astype(dtype(self.config["torch_dtype"]))

    def make_mlp(self, prefix, h, inner, names=("gate_proj", "up_proj", "down_proj")):
        for name, shape in zip(names, [(inner, h), (inner, h), (h, inner)]):
            self.make(f"{prefix}.{name}.weight", *shape)

    def sparse(self, layer):
        return (layer + 1) % self.config.get("decoder_sparse_step", 1) == 0 and layer not in self.config.get("mlp_only_layers", [])

    # ---- The reference, one token of one sequence after the other ----
    def get(self, name):
        return self.tensors[name].astype(np.float64)

    def linear(self, x, name):
        bias = self.tensors.get(name + ".bias")
        return self.get(name + ".weight") @ x + (0 if bias is None else bias.astype(np.float64))

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.config["rms_norm_eps"]) * self.get(name + ".weight")

    def mlp(self, x, prefix, names=("gate_proj", "up_proj", "down_proj")):
        gate, up, down = (self.get(f"{prefix}.{name}.weight") for name in names)
        return self.glu(x, gate, up, down)

    @staticmethod
    def glu(x, gate, up, down):
        g = gate @ x
        return down @ (g / (1 + np.exp(-g)) * (up @ x))

    def frequencies(self):
        rope = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        base = self.config.get("rope_theta") or rope["rope_theta"]
        f = base ** (-np.arange(0, self.size, 2) / self.size)
        kind, sharp = rope.get("rope_type", rope.get("type", "default")), 1.0
        if kind == "linear":
            f = f / rope["factor"]
        elif kind == "llama3":
            for i, turns in enumerate(rope["original_max_position_embeddings"] * f / (2 * np.pi)):
                low, high = rope["low_freq_factor"], rope["high_freq_factor"]
                keep = np.clip((turns - low) / (high - low), 0, 1)
                f[i] = f[i] * keep + f[i] / rope["factor"] * (1 - keep)
        elif kind == "yarn":
            length, scale = rope["original_max_position_embeddings"], rope["factor"]
            at = lambda turns: self.size * np.log(length / (turns * 2 * np.pi)) / (2 * np.log(base))
            low, high = max(np.floor(at(32)), 0), min(np.ceil(at(1)), self.size - 1)
            ramp = np.clip((np.arange(self.size // 2) - low) / max(high - low, 0.001), 0, 1)
            f, sharp = f / scale * ramp + f * (1 - ramp), 0.1 * np.log(scale) + 1
        return f, sharp

    def rotate(self, x, position):
        f, sharp = self.frequencies()
        cos, sin = np.cos(position * f) * sharp, np.sin(position * f) * sharp
        a, b = np.split(x, 2, -1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def window(self, layer):
        c = self.config
        if c["sliding_window"] is None or (self.kind.startswith("qwen") and not c.get("use_sliding_window")):
            return None
        return c["sliding_window"] if layer >= c.get("max_window_layers", 0) else None

    def attention(self, xs, layer, kept):
        c, prefix, k_all, v_all, out = self.config, f"model.layers.{layer}.self_attn.", [], [], []
        for position, x in enumerate(xs):
            q, k, v = (self.linear(x, prefix + part + "_proj") for part in "qkv")
            if self.kind == "olmoe":
                q, k = self.norm(q, prefix + "q_norm"), self.norm(k, prefix + "k_norm")
            if c.get("clip_qkv"):
                q, k, v = (np.clip(t, -c["clip_qkv"], c["clip_qkv"]) for t in (q, k, v))
            q, k, v = (t.reshape(-1, self.size) for t in (q, k, v))
            if self.kind == "qwen3_moe":
                q, k = self.norm(q, prefix + "q_norm"), self.norm(k, prefix + "k_norm")
            k_all.append(self.rotate(k, position))
            v_all.append(v)
            q = self.rotate(q, position)
            window = self.window(layer)
            seen = [j for j in range(position + 1) if kept[j] and (window is None or position - j < window)]
            result = np.zeros((self.heads, self.size))
            for head in range(self.heads):
                g = head // (self.heads // self.keys)
                scores = np.array([q[head] @ k_all[j][g] for j in seen]) * c.get("attention_multiplier", self.size**-0.5)
                if seen:
                    p = np.exp(scores - scores.max())
                    result[head] = (p / p.sum()) @ np.array([v_all[j][g] for j in seen])
            out.append(self.linear(result.reshape(-1), prefix + "o_proj"))
        return out

    def feed_forward(self, x, layer):
        c, prefix = self.config, f"model.layers.{layer}."
        if not self.sparse(layer):
            return self.mlp(x, prefix + "mlp")
        k, block = c["num_experts_per_tok"], prefix + ("block_sparse_moe" if self.kind in ("mixtral", "granitemoe") else "mlp")
        logits = self.linear(x, block + (".router.layer" if self.kind == "granitemoe" else ".gate"))
        p = np.exp(logits - logits.max())
        p /= p.sum()
        best = np.argsort(-logits, kind="stable")[:k]
        weights = p[best]
        if self.kind in ("mixtral", "granitemoe") or c.get("norm_topk_prob"):
            weights = weights / weights.sum()
        y = 0
        for e, weight in zip(best, weights):
            if self.kind == "granitemoe":
                gate, up = np.split(self.get(block + ".input_linear.weight")[e], 2)
                y = y + weight * self.glu(x, gate, up, self.get(block + ".output_linear.weight")[e])
            else:
                names = ("w1", "w3", "w2") if self.kind == "mixtral" else ("gate_proj", "up_proj", "down_proj")
                y = y + weight * self.mlp(x, f"{block}.experts.{e}", names)
        if self.kind == "qwen2_moe":
            y = y + self.mlp(x, block + ".shared_expert") / (1 + np.exp(-self.linear(x, block + ".shared_expert_gate")))
        return y

    def logits(self, ids, kept=None):
        c, kept = self.config, np.ones(len(ids)) if kept is None else kept
        xs = [self.get("model.embed_tokens.weight")[i] * c.get("embedding_multiplier", 1) for i in ids]
        scale = c.get("residual_multiplier", 1)
        for layer in range(c["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            ys = self.attention([self.norm(x, prefix + "input_layernorm") for x in xs], layer, kept)
            xs = [x + scale * y for x, y in zip(xs, ys)]
            xs = [x + scale * self.feed_forward(self.norm(x, prefix + "post_attention_layernorm"), layer) for x in xs]
        head = "model.embed_tokens" if c["tie_word_embeddings"] else "lm_head"
        return np.array([self.linear(self.norm(x, "model.norm"), head) for x in xs]) / c.get("logits_scaling", 1)


class Decoders(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.join(ROOT, self._testMethodName)
        os.makedirs(self.folder)

    def save(self, config, tensors, shards=1):
        save_folder(self.folder, tensors, shards)
        with open(os.path.join(self.folder, "config.json"), "w") as file:
            json.dump(config, file)

    def compile(self, *options):
        return subprocess.run([TOOL, self.folder, "-o", os.path.join(self.folder, "out"), *options], capture_output=True, text=True)

    def check(self, config, sparse, tolerance=1e-5, shards=1):
        checkpoint = Checkpoint(config)
        self.save(config, checkpoint.tensors, shards)
        done = self.compile("--remarks")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        model = moe_mlir.Model(os.path.join(self.folder, "out.so"))
        self.assertEqual(len(model.expert_layers), sparse)
        session = model.session(2)
        ids = np.random.default_rng(1).integers(0, config["vocab_size"], (2, 7))
        want = np.array([checkpoint.logits(row) for row in ids])

        def near(got, want, what):
            difference = np.abs(got.astype(np.float64) - want).max(initial=0)
            self.assertLessEqual(difference, tolerance * max(1, np.abs(want).max(initial=0)), what)

        for pieces in ([7], [3, 1, 1, 2], [1] * 7):
            cache, begin = model.cache(16), 0
            for piece in pieces:
                end = begin + piece
                feeds = {"input_ids": ids[:, begin:end], "attention_mask": np.ones((2, end), np.int64)}
                got = session.run_with_cache(cache, feeds, outputs=["logits"])["logits"]
                near(got, want[:, begin:end], f"{begin} to {end} of {pieces}")
                begin = end
        # A sequence that begins later than the other: its padding is not looked at.
        kept = np.array([[1] * 7, [0, 0, 1, 1, 1, 1, 1]])
        got = session.run_with_cache(model.cache(8), {"input_ids": ids, "attention_mask": kept}, outputs=["logits"])["logits"]
        near(got[1, 2:], checkpoint.logits(ids[1], kept[1])[2:], "padding")
        near(got[0], want[0], "beside padding")

    def test_types(self):
        self.check(dict(MIXTRAL, torch_dtype="float16", num_experts_per_tok=5), 2, 5e-3, shards=2)

    def test_bf16(self):
        # With all experts chosen no rounding can choose others.
        self.check(dict(QWEN2, torch_dtype="bfloat16", num_experts_per_tok=7), 2, 5e-2, shards=3)

    def refuse(self, config, expected, tensors=None, *options):
        self.save(config, Checkpoint(MIXTRAL).tensors if tensors is None else tensors)
        done = self.compile(*options)
        self.assertEqual(done.returncode, 1)
        where = os.path.join(self.folder, "config.json")
        self.assertEqual(done.stderr.splitlines(), [f"{where}: error: {line}" for line in expected])

    def test_refused(self):
        unknown = "keys that this compiler does not know, and that might change the result: "
        cases = [
            (dict(MIXTRAL, logit_cap=3, other=[1]), unknown + "'logit_cap', 'other'"),
            (dict(MIXTRAL, rope_scaling=dict(YARN, odd=1)), unknown + "'rope_scaling.odd'"),
            (dict(MIXTRAL, rope_scaling=dict(type="longrope")), "rotary embeddings of type 'longrope' are not supported"),
            (dict(MIXTRAL, hidden_act="gelu"), "key 'hidden_act' expects silu, 'gelu' is not supported"),
            (dict(MIXTRAL, num_experts_per_tok=6), "key 'num_experts_per_tok' expects at most the 5 experts"),
            (dict(MIXTRAL, num_experts=4), "key 'num_local_experts' expects the 4 experts that there are elsewhere, got 5"),
            (dict(MIXTRAL, num_key_value_heads=3), "key 'num_key_value_heads' expects a divisor of the 4 heads"),
            (dict(MIXTRAL, hidden_size=-1, head_dim=6), "key 'hidden_size' expects a whole number from 1 to 2147483647"),
            (dict(MIXTRAL, num_hidden_layers=2**31 - 1), "key 'num_hidden_layers' expects a whole number from 1 to 65536"),
            (dict(MIXTRAL, num_hidden_layers=2**16, num_local_experts=2**16),
             "has 65536 layers of 65536 experts, expects at most 4194304 in all"),
            (dict(MIXTRAL, rms_norm_eps="x"), "key 'rms_norm_eps' expects a number"),
            (dict(MIXTRAL, layer_types=["sliding_attention"] * 2),
             "key 'layer_types' expects a type for each layer, in agreement with the sliding window"),
            (dict(MIXTRAL, quantization_config={"bits": 4}),
             "quantized checkpoints (key 'quantization_config') are not supported"),
            (dict(MIXTRAL, model_type="llama"),
             "key 'model_type' expects one of mixtral, qwen2_moe, qwen3_moe, olmoe, granitemoe, got 'llama'"),
            ([], "is no JSON object, expects a model's configuration"),
        ]  # fmt: skip
        for config, expected in cases:
            self.refuse(config, [expected])
        self.refuse(dict(MIXTRAL, head_dim=2**31 - 2), [
            "key 'head_dim' expects a whole number from 1 to 65536",
            "rotary embeddings of 1 of a head's 1 elements are not possible"])  # fmt: skip
        self.refuse(MIXTRAL, ["has weights beside it, expects no others"], None, "--weights=x")

    def test_tensors(self):
        tensors = Checkpoint(MIXTRAL).tensors
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


for name, config, sparse in MODELS:
    setattr(Decoders, f"test_{name}", lambda self, config=config, sparse=sparse: self.check(config, sparse))
unittest.main(argv=["decoders"])
