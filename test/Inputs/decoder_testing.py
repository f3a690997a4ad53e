"""Checks compiled Hugging Face folders against decoder_reference."""

import json
import os
import subprocess
import sys
import unittest

import moe_mlir
import numpy as np
from decoder_reference import checkpoint_of, in_fp8
from safetensors_files import save_folder

ROOT = sys.argv.pop()
TOOL = sys.argv.pop()

COMMON = dict(vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              intermediate_size=20, rms_norm_eps=1e-5, hidden_act="silu", num_experts_per_tok=2, rope_theta=10000.0,
              tie_word_embeddings=False, torch_dtype="float32", bos_token_id=1, use_cache=True, sliding_window=None)  # fmt: skip
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
UNKNOWN = "keys that this compiler does not know, and that might change the result: "


class DecoderCase(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.join(ROOT, self._testMethodName)
        os.makedirs(self.folder)

    def save(self, config, tensors, shards=1):
        save_folder(self.folder, tensors, shards)
        with open(os.path.join(self.folder, "config.json"), "w") as file:
            json.dump(config, file)

    def compile(self, *options):
        return subprocess.run([TOOL, self.folder, "-o", os.path.join(self.folder, "out"), *options], capture_output=True, text=True)

    def check(self, config, sparse, shards=1, fp8_scales=None):
        checkpoint = checkpoint_of(config)
        tensors = checkpoint.tensors
        if fp8_scales:
            tensors = in_fp8(checkpoint, config["quantization_config"]["weight_block_size"], fp8_scales)
        self.save(config, tensors, shards)
        done = self.compile("--remarks")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        model = moe_mlir.Model(os.path.join(self.folder, "out.so"))
        self.assertEqual(len(model.expert_layers), sparse)
        session = model.session(2)
        ids = np.random.default_rng(1).integers(0, config["vocab_size"], (2, 7))
        # A sequence that begins later than the other: its padding is not looked at.
        kept = np.array([[1] * 7, [0, 0, 1, 1, 1, 1, 1]])

        def expected(**how):
            return np.array([checkpoint.logits(row, **how) for row in ids]), checkpoint.logits(ids[1], kept[1], **how)[2:]

        def error(got, want):
            return np.abs(got.astype(np.float64) - want).max()

        want, padded = expected()
        limit = 1e-5 * max(1, np.abs(want).max())
        if config["torch_dtype"] != "float32":
            # How much layers amplify the rounding of 16 bits depends on the weights. Another order of roundings gives
            # an error of the same size: of 21 models, 0.5 to 2 times as large.
            limit = 3 * max(map(error, expected(rounds=True), (want, padded)))

        def near(got, want, what):
            self.assertLessEqual(error(got, want), limit, what)

        for pieces in ([7], [3, 1, 1, 2], [1] * 7):
            cache, begin = model.cache(16), 0
            for piece in pieces:
                end = begin + piece
                feeds = {"input_ids": ids[:, begin:end], "attention_mask": np.ones((2, end), np.int64)}
                got = session.run_with_cache(cache, feeds, outputs=["logits"])["logits"]
                near(got, want[:, begin:end], f"{begin} to {end} of {pieces}")
                begin = end
        got = session.run_with_cache(model.cache(8), {"input_ids": ids, "attention_mask": kept}, outputs=["logits"])["logits"]
        near(got[1, 2:], padded, "padding")
        near(got[0], want[0], "beside padding")

    def refuse(self, config, expected, tensors=None, *options):
        # A configuration is judged before any tensor is looked for.
        self.save(config, {"x": np.zeros(1, np.float32)} if tensors is None else tensors)
        done = self.compile(*options)
        self.assertEqual(done.returncode, 1)
        where = os.path.join(self.folder, "config.json")
        self.assertEqual(done.stderr.splitlines(), [f"{where}: error: {line}" for line in expected])

    @classmethod
    def add(cls, models):
        """`models`: (name, config, number of sparse layers)."""
        for name, config, sparse in models:
            setattr(cls, f"test_{name}", lambda self, config=config, sparse=sparse: self.check(config, sparse))
