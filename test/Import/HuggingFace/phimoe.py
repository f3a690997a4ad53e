# PhiMoE: SparseMixer, norms with means and biases, LongRoPE.
# REQUIRES: python-onnx, python-numpy, python-ml_dtypes
# RUN: rm -rf %t && mkdir -p %t && %python %s moe-compile %t

import os
import unittest

import moe_mlir
import numpy as np
from decoder_reference import checkpoint_of
from decoder_testing import COMMON, DecoderCase

LONGROPE = dict(type="longrope", short_factor=[1.0, 1.1, 1.3], long_factor=[1.5, 2.0, 4.0], short_mscale=1.2,
                long_mscale=1.4, original_max_position_embeddings=16)  # fmt: skip
# A threshold that some experts are within, and others are not.
PHI = dict(COMMON, model_type="phimoe", num_local_experts=6, router_jitter_noise=0.2, input_jitter_noise=0.01,
           attention_bias=True, lm_head_bias=True, max_position_embeddings=64, rope_scaling=LONGROPE)  # fmt: skip


class PhiMoE(DecoderCase):
    def test_short(self):
        self.check(dict(PHI, sliding_window=4), 2)

    def test_long(self):
        """Positions beyond the original length have other frequencies, for all of a run."""
        rope = {**LONGROPE, "original_max_position_embeddings": 6}
        del rope["short_mscale"], rope["long_mscale"]
        config = dict(PHI, rope_scaling=rope)
        checkpoint = checkpoint_of(config)
        self.save(config, checkpoint.tensors)
        done = self.compile()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        model = moe_mlir.Model(os.path.join(self.folder, "out.so"))
        session = model.session(2)
        for length in (6, 7):
            ids = np.random.default_rng(1).integers(0, config["vocab_size"], (1, length))
            feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            got = session.run_with_cache(model.cache(8), feeds, outputs=["logits"])["logits"][0]
            want = checkpoint.logits(ids[0])
            self.assertLessEqual(np.abs(got - want).max(), 1e-5 * max(1, np.abs(want).max()), length)

    def test_route(self):
        self.save(PHI, checkpoint_of(PHI).tensors)
        done = self.compile("--compile-to=raise")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(os.path.join(self.folder, "out")) as file:
            routes = [line for line in file if "= moe.route" in line]
        self.assertEqual(len(routes), 2)
        for route in routes:
            self.assertIn("k = 2 : i64, mixer_threshold = 4.000000e-01 : f32, score = #moe.score<sparse_mixer>", route)

    def test_refused(self):
        def rope(**changes):
            return dict(PHI, rope_scaling={**LONGROPE, **changes})

        for config, expected in [
            (dict(PHI, num_experts_per_tok=3), "key 'num_experts_per_tok' expects 2"),
            (rope(long_factor=[1.0, 2.0]), "key 'rope_scaling.long_factor' expects 3 numbers above 0"),
            (rope(short_factor=[1.0, 2.0, 0.0]), "key 'rope_scaling.short_factor' expects 3 numbers above 0"),
            (rope(short_factor=None), "key 'rope_scaling.short_factor' expects 3 numbers above 0"),
            (rope(short_mscale="x"), "key 'rope_scaling.short_mscale' expects a number above 0"),
            (dict(PHI, router_jitter_noise=-0.1), "key 'router_jitter_noise' expects a number from 0"),
            (rope(original_max_position_embeddings=None),
             "key 'original_max_position_embeddings' expects a whole number from 2 to 2147483647"),
        ]:  # fmt: skip
            self.refuse(config, [expected])
        tensors = checkpoint_of(PHI).tensors
        name = "model.layers.1.input_layernorm.bias"
        self.refuse(PHI, [f"tensor '{name}' is missing"], {n: t for n, t in tensors.items() if n != name})


unittest.main(argv=["phimoe"])
