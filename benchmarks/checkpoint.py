# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Hugging Face folders of type olmoe: written with random weights, read by name. Neither holds more than one tensor."""

import dataclasses
import json
import mmap
import os

import numpy as np

INDEX = "model.safetensors.index.json"


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The defaults are those of OLMoE-1B-7B."""

    layers: int = 16
    hidden: int = 2048
    ffn: int = 1024
    experts: int = 64
    k: int = 8
    heads: int = 16
    vocabulary: int = 50304

    def config(self):
        return {
            "architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "hidden_size": self.hidden,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads, "num_key_value_heads": self.heads,
            "intermediate_size": self.ffn, "num_experts": self.experts, "num_experts_per_tok": self.k,
            "norm_topk_prob": False, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
            "vocab_size": self.vocabulary, "max_position_embeddings": 4096, "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        }  # fmt: skip

    @staticmethod
    def of(folder):
        with open(f"{folder}/config.json") as file:
            c = json.load(file)
        keys = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_experts", "num_experts_per_tok",
                "num_attention_heads", "vocab_size")  # fmt: skip
        return Geometry(*(c[key] for key in keys))

    def tensors(self):
        """Name, shape and standard deviation (0: all ones) of each tensor."""
        h, f = self.hidden, self.ffn
        # Branches small beside the residual stream, as in trained models: rounding errors do not grow with the layers.
        branch = (2 * self.layers) ** -0.5
        yield "model.embed_tokens.weight", (self.vocabulary, h), 1.0
        for i in range(self.layers):
            layer = f"model.layers.{i}."
            for part in "qkvo":
                yield layer + f"self_attn.{part}_proj.weight", (h, h), h**-0.5 * (branch if part == "o" else 1)
            for norm in ("self_attn.q_norm", "self_attn.k_norm", "input_layernorm", "post_attention_layernorm"):
                yield layer + norm + ".weight", (h,), 0.0
            # Scores so far apart that rounding seldom chooses another expert.
            yield layer + "mlp.gate.weight", (self.experts, h), 4 * h**-0.5
            for e in range(self.experts):
                for part in ("gate", "up"):
                    yield layer + f"mlp.experts.{e}.{part}_proj.weight", (f, h), h**-0.5
                yield layer + f"mlp.experts.{e}.down_proj.weight", (h, f), 2 * f**-0.5 * branch
        yield "model.norm.weight", (h,), 0.0
        yield "lm_head.weight", (self.vocabulary, h), 3 * h**-0.5


class Normal:
    """bf16 from a normal distribution, as 16-bit words: quantiles by a table, because drawing 7e9 takes long. None is
    so small that an f16 could not hold it exactly."""

    def __init__(self):
        # The inverse of the distribution function, by interpolation in a table of the function itself.
        x = np.linspace(-5, 5, 200001)
        density = np.exp(-x * x / 2)
        self.quantiles = np.interp((np.arange(65536) + 0.5) / 65536, np.cumsum(density) / density.sum(), x)
        self.tables = {}

    def table(self, deviation):
        if deviation not in self.tables:
            values = (self.quantiles * deviation).astype(np.float32)
            values[np.abs(values) < 2.0**-16] = 0
            self.tables[deviation] = to_bf16(values)
        return self.tables[deviation]

    def draw(self, rng, count, deviation):
        if deviation == 0:
            return np.full(count, 0x3F80, np.uint16)
        return self.table(deviation)[rng.integers(0, 65536, count, np.uint16)]


def to_bf16(values):
    """The nearest bf16 (ties to even) of finite f32, as words."""
    bits = values.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def from_bf16(words):
    return (words.astype(np.uint32) << 16).view(np.float32)


def write_tokenizer(path, vocabulary):
    """Bytes are the first tokens, the others words that nothing merges to: enough to write what a model makes."""
    # GPT-2's letters for bytes.
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in shown}
    letters |= {byte: chr(256 + i) for i, byte in enumerate(b for b in range(256) if b not in letters)}
    words = [letters[byte] for byte in range(256)] + [f"Ġt{i}" for i in range(256, vocabulary)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": {word: i for i, word in enumerate(words)}, "merges": []},
    }  # fmt: skip
    with open(path, "w") as file:
        json.dump(tokenizer, file)


def write_folder(folder, geometry, shard_bytes=4 << 30):
    """The index comes last: a folder that has one is complete."""
    os.makedirs(folder, exist_ok=True)
    shards, size = [[]], 0
    for tensor in geometry.tensors():
        bytes_ = 2 * int(np.prod(tensor[1]))
        if size and size + bytes_ > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += bytes_
    normal, weight_map, total, number = Normal(), {}, 0, 0
    for index, tensors in enumerate(shards):
        name = f"model-{index + 1:05}-of-{len(shards):05}.safetensors"
        header, at = {"__metadata__": {"format": "pt"}}, 0
        for tensor, shape, _ in tensors:
            end = at + 2 * int(np.prod(shape))
            header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
            weight_map[tensor] = name
            at = end
        total += at
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(f"{folder}/{name}", "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for _, shape, deviation in tensors:
                count, rng = int(np.prod(shape)), np.random.default_rng([11, number])
                for begin in range(0, count, 1 << 24):
                    file.write(normal.draw(rng, min(1 << 24, count - begin), deviation))
                number += 1
    write_tokenizer(f"{folder}/tokenizer.json", geometry.vocabulary)
    with open(f"{folder}/config.json", "w") as file:
        json.dump(geometry.config(), file, indent=1)
    with open(f"{folder}/{INDEX}", "w") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file)


class Folder:
    """The tensors of a folder of bf16 safetensors."""

    def __init__(self, folder):
        self.geometry = Geometry.of(folder)
        self.files, self.where = {}, {}
        with open(f"{folder}/{INDEX}") as file:
            names = sorted(set(json.load(file)["weight_map"].values()))
        for name in names:
            with open(f"{folder}/{name}", "rb") as file:
                data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            length = int.from_bytes(data[:8], "little")
            for tensor, about in json.loads(data[8 : 8 + length]).items():
                if tensor != "__metadata__":
                    if about["dtype"] != "BF16":
                        raise SystemExit(f"{folder}/{name}: tensor '{tensor}' is of type {about['dtype']}, expects BF16")
                    self.where[tensor] = data, 8 + length + about["data_offsets"][0], about["shape"]

    def floats(self, name):
        data, offset, shape = self.where[name]
        return from_bf16(np.frombuffer(data, np.uint16, int(np.prod(shape)), offset)).reshape(shape)
