# A Mixtral-like decoder, node by node as torch.onnx.export(dynamo=True) writes it: its sparse layers are recognised, and
# one compiled binary is right for every batch, length and past, against float64 and onnxruntime.
# REQUIRES: python-onnx, python-numpy, python-onnxruntime
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import logging
import os
import re
import subprocess
import sys
import unittest

import numpy as np
import onnxruntime
from sparse_models import Decoder

import moe_mlir

FOLDER = sys.argv.pop()

# batch, seq, past
SHAPES = [(1, 1, 0), (1, 2, 0), (1, 17, 0), (1, 128, 0), (3, 9, 0), (1, 1, 17), (2, 1, 40), (2, 5, 3), (4, 33, 1)]
VARIANTS = {
    # What Mixtral and Qwen3-MoE do, and Qwen2-MoE and OLMoE, which do not renormalise.
    "renormalized": (dict(seed=1), 20),
    "plain_opset18": (dict(seed=2, renormalize=False, experts=7, k=3, hidden=24, inter=21), 18),
    "one_expert": (dict(seed=3, k=1, layers=1, kv_heads=4), 20),
}


def error(got, want):
    """The largest difference, relative to max(1, max |want|)."""
    assert got.shape == want.shape
    return float(np.abs(got - want).max(initial=0) / max(1.0, np.abs(want).max(initial=0)))


class Decoding(unittest.TestCase):
    def check(self, name):
        options, opset = VARIANTS[name]
        decoder, random = Decoder(**options), np.random.default_rng(0)
        path = decoder.graph().save(os.path.join(FOLDER, name + ".onnx"), opset)
        with self.assertNoLogs("moe_mlir", logging.INFO):  # no remark: all of it is recognised
            library = moe_mlir.compile(path, remarks=True)
        text = moe_mlir.compile(path, compile_to="raise").read_text()
        for op in ("moe.route", "moe.dispatch", "moe.combine"):
            self.assertEqual(len(re.findall(rf"= {op} ", text)), decoder.layers, op)
        self.assertNotIn("onnx.node", text)

        model = moe_mlir.Model(library, threads=2)
        self.assertEqual([(l.num_experts, l.top_k) for l in model.expert_layers], [(decoder.experts, decoder.k)] * decoder.layers)
        peer = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        worst = [0.0, 0.0]
        for batch, seq, past in SHAPES:
            inputs = {"input_ids": random.integers(0, decoder.vocab, (batch, seq)), **decoder.past(batch, past, random)}
            session = model.session(2)
            outputs = session.run(inputs)
            for layer, load in zip(model.expert_layers, session.expert_loads()):
                self.assertEqual(load.sum(), batch * seq * decoder.k, layer)
            names = list(outputs)
            theirs = dict(zip(names, peer.run(names, inputs)))
            for key, want in decoder.run(inputs).items():
                found = error(outputs[key], want), error(outputs[key], theirs[key])
                worst = np.maximum(worst, found)
                self.assertLessEqual(found[0], 1e-5, f"{key} of batch {batch}, seq {seq}, past {past}: float64")
                self.assertLessEqual(found[1], 1e-5, f"{key} of batch {batch}, seq {seq}, past {past}: onnxruntime")
            for threads in (1, 3):
                again = model.session(threads).run(inputs)
                self.assertEqual([array.tobytes() for array in again.values()], [array.tobytes() for array in outputs.values()])
        print(f"{name}: {worst[0]:.1e} from float64, {worst[1]:.1e} from onnxruntime", file=sys.stderr)
        return decoder, model

    def test_renormalized(self):
        decoder, model = self.check("renormalized")
        self.check_cache(decoder, model)
        self.check_errors(decoder, model)
        self.check_moe_run(decoder)

    def test_plain_opset18(self):
        self.check("plain_opset18")

    def test_one_expert(self):
        self.check("one_expert")

    def check_cache(self, decoder, model):
        """Steps with the cache give what one run of everything gives."""
        self.assertEqual(len(model.cache_bindings), 2 * decoder.layers)
        ids = np.random.default_rng(5).integers(0, decoder.vocab, (2, 23))
        whole = model.run({"input_ids": ids, **decoder.past(2, 0, np.random.default_rng(0))})
        session, cache = model.session(2), model.cache(23)
        parts = [session.run_with_cache(cache, ids[:, a:b])[0] for a, b in ((0, 11), (11, 12), (12, 13), (13, 20), (20, 23))]
        self.assertLessEqual(error(np.concatenate(parts, 1), whole["logits"]), 1e-5)
        for name, held in cache.tensors().items():
            self.assertLessEqual(error(held, whole[name.replace("past_key_values", "present")]), 1e-5)
        with self.assertRaises(moe_mlir.CacheCapacityError):
            session.run_with_cache(cache, ids[:, :1])

    def check_errors(self, decoder, model):
        past = decoder.past(1, 2, np.random.default_rng(0))
        with self.assertRaisesRegex(moe_mlir.NodeError, r"^node '.*' \(Gather\): .*50"):
            model.run({"input_ids": np.array([[1, 50]]), **past})
        with self.assertRaisesRegex(moe_mlir.InputError, "'past'"):
            model.run({"input_ids": np.array([[1]]), **past, "past_key_values.1.key": np.zeros((1, 2, 3, 8), np.float32)})
        with self.assertRaisesRegex(moe_mlir.InputError, "input 'input_ids' has .*i32"):
            model.run({"input_ids": np.array([[1]], np.int32), **past})
        self.assertEqual(model.run({"input_ids": np.array([[1]]), **past})["logits"].shape, (1, 1, 50))

    def check_moe_run(self, decoder):
        random, arguments = np.random.default_rng(9), []
        for i, (batch, seq, past) in enumerate(SHAPES):
            inputs = {"input_ids": random.integers(0, decoder.vocab, (batch, seq)), **decoder.past(batch, past, random)}
            case = {"in:" + name: array for name, array in inputs.items()}
            case |= {"out:" + name: array.astype(np.float32) for name, array in decoder.run(inputs).items()}
            path = os.path.join(FOLDER, f"case{i}.npz")
            np.savez(path, **case)
            arguments += ["--inputs", path, "--expected-outputs", path]
        library = os.path.join(FOLDER, "renormalized.so")
        done = subprocess.run(["moe-run", library, *arguments, "--tolerance=1e-5", "--stats"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertEqual(done.stdout.count("[SUCCESS]"), len(SHAPES) * (1 + len(decoder.caches)))


if __name__ == "__main__":
    unittest.main()
