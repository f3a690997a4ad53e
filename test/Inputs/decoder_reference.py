"""Decoders of Hugging Face checkpoints in float64: random weights for a config.json, and the logits of the model."""

import numpy as np
from safetensors_files import dtype


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6] + [-0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


class Checkpoint:
    """Random weights for a config, and what the model computes with them."""

    def __init__(self, config, seed=0):
        self.config, self.random, self.tensors = config, np.random.default_rng(seed), {}
        c, self.kind = config, config["model_type"]
        self.grouped = (config.get("quantization_config") or {}).get("quant_method") in ("gptq", "awq")
        self.matrices = {}  # what is stored in groups
        self.rounds = False
        h, self.heads, self.keys = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
        self.size = self.rotated = c.get("head_dim", h // self.heads)
        self.experts = c.get("num_experts") or c.get("num_local_experts") or c["n_routed_experts"]
        inner = c.get("moe_intermediate_size", c["intermediate_size"])
        if "qk_rope_head_dim" in c:
            self.rotated = c["qk_rope_head_dim"]
            self.size = c["qk_nope_head_dim"] + self.rotated
        self.make("model.embed_tokens.weight", c["vocab_size"], h)
        for i in range(c["num_hidden_layers"]):
            layer = f"model.layers.{i}."
            self.make_attention(layer + "self_attn.", h)
            for norm in ("input", "post_attention"):
                self.make(layer + norm + "_layernorm.weight", h)
            if self.sparse(i):
                self.make_experts(layer, h, inner)
            else:
                self.make_mlp(layer + "mlp", h, c["intermediate_size"])
        self.make("model.norm.weight", h)
        if not c["tie_word_embeddings"]:
            self.make("lm_head.weight", c["vocab_size"], h)

    def make_attention(self, prefix, h):
        for part, n in [("q", self.heads), ("k", self.keys), ("v", self.keys)]:
            self.make(prefix + f"{part}_proj.weight", n * self.size, h)
            if self.kind == "qwen2_moe" or self.has_biases():
                self.make(prefix + f"{part}_proj.bias", n * self.size)
            if part != "v" and self.kind == "qwen3_moe":
                self.make(prefix + f"{part}_norm.weight", self.size)
            if part != "v" and self.kind == "olmoe":
                self.make(prefix + f"{part}_norm.weight", n * self.size)
        self.make(prefix + "o_proj.weight", h, self.heads * self.size)
        if self.has_biases():
            self.make(prefix + "o_proj.bias", h)

    def has_biases(self):
        return False

    def make_experts(self, layer, h, inner):
        if self.kind == "granitemoe":
            self.make(layer + "block_sparse_moe.router.layer.weight", self.experts, h)
            self.make(layer + "block_sparse_moe.input_linear.weight", self.experts, 2 * inner, h)
            self.make(layer + "block_sparse_moe.output_linear.weight", self.experts, h, inner)
            return
        mixtral = self.kind in ("mixtral", "phimoe")
        block = layer + ("block_sparse_moe" if mixtral else "mlp")
        names = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
        self.make(block + ".gate.weight", self.experts, h)
        for e in range(self.experts):
            self.make_mlp(f"{block}.experts.{e}", h, inner, names)
        if self.kind == "qwen2_moe":
            self.make_mlp(layer + "mlp.shared_expert", h, self.config["shared_expert_intermediate_size"])
            self.make(layer + "mlp.shared_expert_gate.weight", 1, h)

    def make(self, name, *shape):
        if self.grouped and len(shape) == 2 and name.endswith(("_proj.weight", "w1.weight", "w2.weight", "w3.weight")):
            return self.make_grouped(name.removesuffix(".weight"), *shape)
        values = self.random.standard_normal(shape) * 0.3 + ("norm" in name)
        self.tensors[name] = values.astype(dtype(self.config["torch_dtype"]))

    def make_grouped(self, name, n, k):
        """A matrix as GPTQ or AWQ writes it."""
        q = self.config["quantization_config"]
        bits, per_word = q["bits"], 32 // q["bits"]
        group = k if q["group_size"] == -1 else q["group_size"]
        values = self.random.integers(0, 2**bits, (k, n))
        zeros = self.random.integers(0, 2**bits, (-(-k // group), n))
        scales = self.random.uniform(1, 2, zeros.shape).astype(np.float16) / np.float16(2 ** (bits + 1))
        self.matrices[name + ".weight"] = ((values - zeros[np.arange(k) // group]) * scales.astype(np.float64)[np.arange(k) // group]).T

        def pack(rows, order):
            """Words of neighbours in a row."""
            words = np.zeros((len(rows), rows.shape[1] // per_word), np.uint32)
            for i, source in enumerate(order):
                words |= rows[:, source::per_word].astype(np.uint32) << np.uint32(i * bits)
            return words.view(np.int32)

        if q["quant_method"] == "awq":
            order = [0, 2, 4, 6, 1, 3, 5, 7]
            self.tensors[name + ".qweight"], self.tensors[name + ".qzeros"] = pack(values, order), pack(zeros, order)
        else:
            order = range(per_word)
            self.tensors[name + ".qweight"] = np.ascontiguousarray(pack(values.T, order).T)
            stored = zeros if q.get("checkpoint_format") == "gptq_v2" else (zeros - 1) % 2**bits
            self.tensors[name + ".qzeros"] = pack(stored, order)
            self.tensors[name + ".g_idx"] = (np.arange(k) // group).astype(np.int32)
        self.tensors[name + ".scales"] = scales

    def make_mlp(self, prefix, h, inner, names=("gate_proj", "up_proj", "down_proj")):
        for name, shape in zip(names, [(inner, h), (inner, h), (h, inner)]):
            self.make(f"{prefix}.{name}.weight", *shape)

    def sparse(self, layer):
        if "first_k_dense_replace" in self.config:
            return layer >= self.config["first_k_dense_replace"] and layer % self.config.get("moe_layer_freq", 1) == 0
        return (layer + 1) % self.config.get("decoder_sparse_step", 1) == 0 and layer not in self.config.get("mlp_only_layers", [])

    # ---- The reference, one token of one sequence after the other ----
    def get(self, name):
        if name in self.matrices:
            return self.matrices[name]
        return self.tensors[name].astype(np.float64)

    def rounded(self, x):
        """What an operator passes on: numbers of the checkpoint's type, where the logits of such numbers are asked for."""
        return np.asarray(x).astype(dtype(self.config["torch_dtype"])).astype(np.float64) if self.rounds else x

    def linear(self, x, name):
        bias = self.tensors.get(name + ".bias")
        return self.rounded(self.get(name + ".weight") @ x + (0 if bias is None else bias.astype(np.float64)))

    def norm(self, x, name, epsilon=None):
        epsilon = epsilon or self.config["rms_norm_eps"]
        return self.rounded(x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * self.get(name + ".weight"))

    def mlp(self, x, prefix, names=("gate_proj", "up_proj", "down_proj")):
        gate, up, down = (self.get(f"{prefix}.{name}.weight") for name in names)
        return self.glu(x, gate, up, down)

    def glu(self, x, gate, up, down):
        g = self.rounded(gate @ x)
        return self.rounded(down @ self.rounded(g / (1 + np.exp(-g)) * self.rounded(up @ x)))

    def frequencies(self):
        rope = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        base = self.config.get("rope_theta") or rope["rope_theta"]
        size = self.rotated
        f = base ** (-np.arange(0, size, 2) / size)
        kind, sharp = rope.get("rope_type", rope.get("type", "default")), 1.0
        if kind == "linear":
            f = f / rope["factor"]
        elif kind == "llama3":
            for i, turns in enumerate(rope["original_max_position_embeddings"] * f / (2 * np.pi)):
                low, high = rope["low_freq_factor"], rope["high_freq_factor"]
                keep = np.clip((turns - low) / (high - low), 0, 1)
                f[i] = f[i] * keep + f[i] / rope["factor"] * (1 - keep)
        elif kind == "longrope":
            long = self.length > rope["original_max_position_embeddings"]
            f = f / rope["long_factor" if long else "short_factor"]
            growth = self.config["max_position_embeddings"] / rope["original_max_position_embeddings"]
            sharp = np.sqrt(1 + np.log(growth) / np.log(rope["original_max_position_embeddings"]))
            sharp = rope.get("long_mscale" if long else "short_mscale", sharp)
        elif kind == "yarn":
            length, scale = rope["original_max_position_embeddings"], rope["factor"]
            at = lambda turns: size * np.log(length / (turns * 2 * np.pi)) / (2 * np.log(base))
            low, high = (at(32), at(1)) if rope.get("truncate") is False else (np.floor(at(32)), np.ceil(at(1)))
            low, high = max(low, 0), min(high, size - 1)
            ramp = np.clip((np.arange(size // 2) - low) / max(high - low, 0.001), 0, 1)
            f, sharp = f / scale * ramp + f * (1 - ramp), 0.1 * np.log(scale) + 1
            if rope.get("mscale") and rope.get("mscale_all_dim"):
                sharp = (0.1 * rope["mscale"] * np.log(scale) + 1) / (0.1 * rope["mscale_all_dim"] * np.log(scale) + 1)
        return f, sharp

    def rotate(self, x, position):
        f, sharp = self.frequencies()
        cos, sin = np.cos(position * f) * sharp, np.sin(position * f) * sharp
        a, b = np.split(x, 2, -1)
        return self.rounded(np.concatenate([a * cos - b * sin, b * cos + a * sin], -1))

    def window(self, layer):
        c = self.config
        if c.get("sliding_window") is None or (self.kind.startswith("qwen") and not c.get("use_sliding_window")):
            return None
        return c["sliding_window"] if layer >= c.get("max_window_layers", 0) else None

    def heads_of(self, x, position, prefix):
        """Queries, keys and values [heads, size] of a token."""
        q, k, v = (self.linear(x, prefix + part + "_proj") for part in "qkv")
        if self.kind == "olmoe":
            q, k = self.norm(q, prefix + "q_norm"), self.norm(k, prefix + "k_norm")
        if limit := self.config.get("clip_qkv"):
            q, k, v = (np.clip(t, -limit, limit) for t in (q, k, v))
        q, k, v = (t.reshape(-1, self.size) for t in (q, k, v))
        if self.kind == "qwen3_moe":
            q, k = self.norm(q, prefix + "q_norm"), self.norm(k, prefix + "k_norm")
        return self.rotate(q, position), self.rotate(k, position), v

    def score_factor(self):
        return self.config.get("attention_multiplier", self.size**-0.5)

    def attention(self, xs, layer, kept):
        prefix, k_all, v_all, out = f"model.layers.{layer}.self_attn.", [], [], []
        for position, x in enumerate(xs):
            q, k, v = self.heads_of(x, position, prefix)
            k_all.append(k)
            v_all.append(v)
            window = self.window(layer)
            seen = [j for j in range(position + 1) if kept[j] and (window is None or position - j < window)]
            result = np.zeros((self.heads, v.shape[-1]))
            for head in range(self.heads):
                g = head // (self.heads // len(k))
                scores = np.array([q[head] @ k_all[j][g] for j in seen]) * self.score_factor()
                if seen:
                    p = np.exp(scores - scores.max())
                    result[head] = (p / (p.sum() + self.sink(prefix, head, scores.max()))) @ np.array([v_all[j][g] for j in seen])
            out.append(self.linear(self.rounded(result.reshape(-1)), prefix + "o_proj"))
        return out

    def sink(self, prefix, head, shift):
        return 0

    def chosen(self, logits, block):
        """Experts, and their weights."""
        p = np.exp(logits - logits.max())
        p /= p.sum()
        best = np.argsort(-logits, kind="stable")[: self.config["num_experts_per_tok"]]
        renormalize = self.kind in ("mixtral", "granitemoe") or self.config.get("norm_topk_prob")
        return best, p[best] / (p[best].sum() if renormalize else 1)

    def feed_forward(self, x, layer):
        c, prefix = self.config, f"model.layers.{layer}."
        if not self.sparse(layer):
            return self.mlp(x, prefix + "mlp")
        block = prefix + ("block_sparse_moe" if self.kind in ("mixtral", "granitemoe", "phimoe") else "mlp")
        logits = self.linear(x, block + (".router.layer" if self.kind == "granitemoe" else ".gate"))
        best, weights = self.chosen(logits, block)
        y = 0
        for e, weight in zip(best, weights):
            if self.kind == "granitemoe":
                gate, up = np.split(self.get(block + ".input_linear.weight")[e], 2)
                y = y + weight * self.glu(x, gate, up, self.get(block + ".output_linear.weight")[e])
            else:
                names = ("w1", "w3", "w2") if self.kind in ("mixtral", "phimoe") else ("gate_proj", "up_proj", "down_proj")
                y = y + weight * self.mlp(x, f"{block}.experts.{e}", names)
        if self.kind == "qwen2_moe":
            y = y + self.mlp(x, block + ".shared_expert") / (1 + np.exp(-self.linear(x, block + ".shared_expert_gate")))
        return y

    def logits(self, ids, kept=None, rounds=False):
        """In float64; with `rounds` everything that operators pass on has the checkpoint's type."""
        c, kept, self.length, self.rounds = self.config, np.ones(len(ids)) if kept is None else kept, len(ids), rounds
        xs = [self.get("model.embed_tokens.weight")[i] * c.get("embedding_multiplier", 1) for i in ids]
        scale = c.get("residual_multiplier", 1)
        for layer in range(c["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            ys = self.attention([self.norm(x, prefix + "input_layernorm") for x in xs], layer, kept)
            xs = [self.rounded(x + scale * y) for x, y in zip(xs, ys)]
            ys = [self.feed_forward(self.norm(x, prefix + "post_attention_layernorm"), layer) for x in xs]
            xs = [self.rounded(x + scale * y) for x, y in zip(xs, ys)]
        head = "model.embed_tokens" if c["tie_word_embeddings"] else "lm_head"
        return np.array([self.linear(self.norm(x, "model.norm"), head) for x in xs]) / c.get("logits_scaling", 1)


class DeepSeek(Checkpoint):
    """Latent attention, with the keys and values of every head made; experts out of groups."""

    def make_attention(self, prefix, h):
        c, latent = self.config, self.config["kv_lora_rank"]
        if rank := c["q_lora_rank"]:
            self.make(prefix + "q_a_proj.weight", rank, h)
            self.make(prefix + "q_a_layernorm.weight", rank)
            self.make(prefix + "q_b_proj.weight", self.heads * self.size, rank)
        else:
            self.make(prefix + "q_proj.weight", self.heads * self.size, h)
        self.make(prefix + "kv_a_proj_with_mqa.weight", latent + self.rotated, h)
        self.make(prefix + "kv_a_layernorm.weight", latent)
        self.make(prefix + "kv_b_proj.weight", self.heads * (c["qk_nope_head_dim"] + c["v_head_dim"]), latent)
        self.make(prefix + "o_proj.weight", h, self.heads * c["v_head_dim"])
        if c.get("attention_bias"):
            for name, size in [("q_a_proj", rank), ("kv_a_proj_with_mqa", latent + self.rotated), ("o_proj", h)]:
                if size:
                    self.make(prefix + name + ".bias", size)

    def make_experts(self, layer, h, inner):
        super().make_experts(layer, h, inner)
        if self.kind == "deepseek_v3":
            self.make(layer + "mlp.gate.e_score_correction_bias", self.experts)
        if shared := self.config["n_shared_experts"]:
            self.make_mlp(layer + "mlp.shared_experts", h, inner * shared)

    def rotate(self, x, position):
        if not self.config.get("rope_interleave", True):
            return super().rotate(x, position)
        f, sharp = self.frequencies()
        pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * sharp * np.exp(1j * position * f)
        return self.rounded(np.concatenate([pairs.real, pairs.imag], -1))

    def heads_of(self, x, position, prefix):
        c, plain, latent = self.config, self.config["qk_nope_head_dim"], self.config["kv_lora_rank"]
        if c["q_lora_rank"]:
            q = self.norm(self.linear(x, prefix + "q_a_proj"), prefix + "q_a_layernorm", 1e-6)
            q = self.linear(q, prefix + "q_b_proj")
        else:
            q = self.linear(x, prefix + "q_proj")
        q = q.reshape(self.heads, -1)
        q = np.concatenate([q[:, :plain], self.rotate(q[:, plain:], position)], -1)
        compressed = self.linear(x, prefix + "kv_a_proj_with_mqa")
        both = self.linear(self.norm(compressed[:latent], prefix + "kv_a_layernorm", 1e-6), prefix + "kv_b_proj")
        both = both.reshape(self.heads, -1)
        shared = np.tile(self.rotate(compressed[latent:], position), (self.heads, 1))
        return q, np.concatenate([both[:, :plain], shared], -1), both[:, plain:]

    def score_factor(self):
        rope = self.config.get("rope_scaling") or {}
        sharp = 0.1 * rope.get("mscale_all_dim", 0) * np.log(rope.get("factor", 1)) + 1
        return self.size**-0.5 * sharp**2

    def chosen(self, logits, block):
        c, biased, groups = self.config, self.kind == "deepseek_v3", self.config["n_group"]
        if biased:
            scores = 1 / (1 + np.exp(-logits))
            compared = scores + self.get(block + ".gate.e_score_correction_bias")
        else:
            compared = scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        if c["topk_method"] != "greedy":
            per_group = np.sort(compared.reshape(groups, -1), -1)
            kept = np.argsort(-per_group[:, -2 if biased else -1 :].sum(-1), kind="stable")[: c["topk_group"]]
            outside = ~np.isin(np.arange(self.experts) // (self.experts // groups), kept)
            compared = np.where(outside, -np.inf, compared)
        best = np.argsort(-compared, kind="stable")[: c["num_experts_per_tok"]]
        weights = scores[best] / (scores[best].sum() if c["norm_topk_prob"] else 1)
        return best, weights * c["routed_scaling_factor"]

    def feed_forward(self, x, layer):
        block = f"model.layers.{layer}.mlp"
        if not self.sparse(layer):
            return self.mlp(x, block)
        y = sum(w * self.mlp(x, f"{block}.experts.{e}") for e, w in zip(*self.chosen(self.linear(x, block + ".gate"), block)))
        return y + self.mlp(x, block + ".shared_experts") if self.config["n_shared_experts"] else y


class GptOss(Checkpoint):
    """Sinks, windows by layer, biases everywhere, and experts whose gate and up take turns."""

    def has_biases(self):
        return self.config.get("attention_bias", True)

    def make_attention(self, prefix, h):
        super().make_attention(prefix, h)
        self.make(prefix + "sinks", self.heads)

    def make_experts(self, layer, h, inner):
        self.make(layer + "mlp.router.weight", self.experts, h)
        self.make(layer + "mlp.router.bias", self.experts)
        for name, n, k in [("gate_up", 2 * inner, h), ("down", h, inner)]:
            self.make_stack(layer + f"mlp.experts.{name}_proj", n, k)
            self.make(layer + f"mlp.experts.{name}_proj_bias", self.experts, n)

    def make_stack(self, name, n, k):
        if "quantization_config" not in self.config:
            return self.make(name, self.experts, k, n)
        # 32 numbers of a row share an exponent; the first of two is the lower half of a byte.
        self.tensors[name + "_blocks"] = self.random.integers(0, 256, (self.experts, n, k // 32, 16), np.uint8)
        self.tensors[name + "_scales"] = self.random.integers(122, 127, (self.experts, n, k // 32), np.uint8)

    def expert(self, name, e):
        """The matrix [outputs, inputs] of a stack."""
        if name in self.tensors:
            return self.get(name)[e].T
        blocks, scales = self.tensors[name + "_blocks"][e], self.tensors[name + "_scales"][e]
        values = E2M1[np.stack([blocks & 15, blocks >> 4], -1)].reshape(*blocks.shape[:2], 32)
        return (values * 2.0 ** (scales.astype(np.float64) - 127)[..., None]).reshape(len(blocks), -1)

    def window(self, layer):
        types = self.config.get("layer_types") or ["sliding_attention", "full_attention"] * self.config["num_hidden_layers"]
        return self.config["sliding_window"] if types[layer] == "sliding_attention" else None

    def sink(self, prefix, head, shift):
        return np.exp(self.get(prefix + "sinks")[head] - shift)

    def feed_forward(self, x, layer):
        block = f"model.layers.{layer}.mlp."
        logits = self.linear(x, block + "router")
        best = np.argsort(-logits, kind="stable")[: self.config["num_experts_per_tok"]]
        weights = np.exp(logits[best] - logits.max())
        return sum(w * self.mlp_of(x, block + "experts.", e) for e, w in zip(best, weights / weights.sum()))

    def mlp_of(self, x, prefix, e):
        limit, alpha = self.config.get("swiglu_limit", 7.0), self.config.get("swiglu_alpha", 1.702)
        both = self.rounded(self.expert(prefix + "gate_up_proj", e) @ x + self.get(prefix + "gate_up_proj_bias")[e])
        gate, up = np.minimum(both[::2], limit), np.clip(both[1::2], -limit, limit)
        inner = (up + 1) * gate / (1 + np.exp(-alpha * gate))
        return self.rounded(self.expert(prefix + "down_proj", e) @ self.rounded(inner) + self.get(prefix + "down_proj_bias")[e])


class PhiMoE(Checkpoint):
    """Norms and attention with biases; SparseMixer."""

    def make(self, name, *shape):
        super().make(name, *shape)
        if "norm" in name or "self_attn" in name or name == "lm_head.weight":
            super().make(name.removesuffix("weight") + "bias", shape[0])

    def norm(self, x, name, epsilon=None):
        x = x - x.mean(-1, keepdims=True)
        return super().norm(x, name, epsilon) + self.get(name + ".bias")

    def chosen(self, logits, block):
        best, weights, rest = [], [], logits.copy()
        for _ in range(2):
            best.append(int(np.argmax(rest)))
            top = rest[best[-1]]
            near = (top - logits) / np.maximum(np.abs(logits), top) <= 2 * self.config["router_jitter_noise"]
            weights.append(1 / np.exp(rest - top)[near].sum())
            rest[best[-1]] = -np.inf
        return best, weights


def in_fp8(checkpoint, block, scales="float32"):
    """The tensors with the matrices of projections and experts as 8-bit floats with a scale for each block, which the
    checkpoint has from now on, too."""
    stored, (rows, columns) = {}, block
    for name, tensor in checkpoint.tensors.items():
        if tensor.ndim != 2 or not ("_proj" in name or ".experts." in name):
            stored[name] = tensor
            continue
        n, k = tensor.shape
        padded = np.zeros((-(-n // rows) * rows, -(-k // columns) * columns), np.float32)
        padded[:n, :k] = tensor
        padded = padded.reshape(-1, rows, padded.shape[1] // columns, columns)
        scale = (np.abs(padded).max((1, 3), keepdims=True) / 448).astype(dtype(scales)).astype(np.float32)
        values = (padded / scale).clip(-448, 448).astype(dtype("float8_e4m3fn"))
        whole = (values.astype(np.float32) * scale).reshape(padded.shape[0] * rows, -1)[:n, :k]
        checkpoint.tensors[name] = whole.astype(tensor.dtype)
        stored[name] = values.reshape(padded.shape[0] * rows, -1)[:n, :k]
        stored[name + "_scale_inv"] = scale[:, 0, :, 0].astype(dtype(scales))
    return stored


def checkpoint_of(config, seed=0):
    kinds = {"deepseek_v2": DeepSeek, "deepseek_v3": DeepSeek, "phimoe": PhiMoE, "gpt_oss": GptOss}
    return kinds.get(config["model_type"], Checkpoint)(config, seed)
