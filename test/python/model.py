# The package on hand-written models: signature, arrays in and out, caches, counters.
# (Sanitized models load into sanitized programs only.)
# UNSUPPORTED: sanitizer
# REQUIRES: python-numpy
# RUN: %python %s %moe_obj/unittests/Runtime/Models
import gc
import os
import shutil
import sys
import tempfile
import unittest

import numpy as np

import moe_mlir
from moe_mlir import arrays

MODELS = sys.argv.pop()
WEIGHTS = np.array([1, 2, 3, 4], np.float32)


def decoder_case(batch=2, seq=3, past=5, seed=0):
    """Inputs of the decoder model and what it answers, see DecoderModel.c."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((batch, seq, 4)).astype(np.float32)
    ids = random.integers(0, 50, (batch, seq))
    mask = np.arange(seq) % 2 == 0
    old = random.standard_normal((batch, 2, past, 3)).astype(np.float32)
    new = np.stack([x[..., :3], 2 * x[..., :3]], 1)
    inputs = {"x": x, "ids": ids, "mask": mask, "past": old}
    outputs = {
        "y": x * WEIGHTS + ids[..., None].astype(np.float32),
        "present": np.concatenate([old, new], 2),
        "picked": ids[:, mask].reshape(-1),
    }
    return inputs, outputs


class Base(unittest.TestCase):
    def open(self, name, **options):
        model = moe_mlir.Model(os.path.join(MODELS, name + ".so"), **options)
        self.addCleanup(model.close)
        return model

    def check(self, got, expected):
        self.assertEqual(list(got), list(expected))
        for name, want in expected.items():
            self.assertEqual(got[name].dtype, want.dtype, name)
            np.testing.assert_array_equal(got[name], want, name)


class Signature(Base):
    def test_values(self):
        model = self.open("decoder")
        self.assertEqual(model.name, "decoder")
        self.assertEqual(model.inputs[0], moe_mlir.ValueInfo("x", "float32", ("batch", "seq", 4)))
        self.assertEqual([info.name for info in model.inputs], ["x", "ids", "mask", "past"])
        self.assertEqual([info.dtype for info in model.inputs], ["float32", "int64", "bool", "float32"])
        self.assertEqual(model.outputs[2], moe_mlir.ValueInfo("picked", "int64", (None,)))
        self.assertEqual(model.weights_bytes, os.path.getsize(os.path.join(MODELS, "decoder.weights")))
        self.assertTrue(os.path.samefile(model.weights_path, os.path.join(MODELS, "decoder.weights")))

    def test_layers_and_caches(self):
        model = self.open("decoder")
        (layer,) = model.expert_layers
        self.assertEqual((layer.name, layer.num_experts), ("layers.0.mlp", 4))
        self.assertEqual(model.cache_bindings, (moe_mlir.CacheBinding("past", "present", 2),))
        self.assertEqual(self.open("echo").cache_bindings, ())


class Run(Base):
    def test_by_name_and_by_position(self):
        model = self.open("decoder", threads=2)
        inputs, outputs = decoder_case()
        self.check(model.run(inputs), outputs)
        self.check(dict(zip(outputs, model.run(*inputs.values()))), outputs)
        self.check(model.run(inputs, outputs=["picked"]), {"picked": outputs["picked"]})
        self.check(model.run(inputs, outputs="y"), {"y": outputs["y"]})
        # No element at all, and again something.
        for case in (decoder_case(seq=0, past=0), decoder_case(1, 1, 0), decoder_case(3, 40, 7)):
            self.check(model.run(case[0]), case[1])

    def test_outputs_are_the_callers(self):
        session = self.open("decoder").session()
        first, second = decoder_case(seed=1), decoder_case(seed=2)
        got = session.run(first[0])
        session.run(second[0])
        session.close()
        self.check(got, first[1])
        self.assertTrue(all(array.flags.owndata and array.flags.writeable for array in got.values()))

    def test_layouts(self):
        model = self.open("decoder")
        inputs, outputs = decoder_case()
        wide = np.zeros((2, 6, 4), np.float32)
        wide[:, ::2] = inputs["x"]
        packed = np.zeros(2 * 3 * 4 * 4 + 1, np.uint8)
        misaligned = packed[1:].view(np.float32).reshape(2, 3, 4)
        misaligned[...] = inputs["x"]
        self.assertFalse(misaligned.flags.aligned)
        for x in (
            np.asfortranarray(inputs["x"]),
            wide[:, ::2],
            inputs["x"][:, ::-1].copy()[:, ::-1],
            inputs["x"].astype(">f4"),
            misaligned,
            inputs["x"].tolist(),
        ):
            self.check(model.run({**inputs, "x": x}), outputs)
        broadcast = np.broadcast_to(np.int64(7), (2, 3))
        want = inputs["x"] * WEIGHTS + np.float32(7)
        np.testing.assert_array_equal(model.run({**inputs, "ids": broadcast})["y"], want)

    def test_no_copy_of_inputs(self):
        for array in (np.ones((3, 4), np.float32), np.ones((4, 3), np.float32).T, np.ones((3, 8), np.float32)[:, ::2]):
            same, tensor = arrays.as_input(array, "float32", "x")
            self.assertIs(same, array)
            self.assertEqual(tensor.data, array.ctypes.data)

    def test_every_dtype(self):
        # The echo model returns its inputs.
        model = self.open("echo")
        given = {}
        for info in model.inputs:
            if info.dtype == "bfloat16":
                try:
                    import ml_dtypes  # noqa: F401
                except ImportError:
                    self.skipTest("needs ml_dtypes")
            shape = [size if isinstance(size, int) else 5 for size in info.shape]
            given[info.name] = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(arrays.numpy_dtype(info.dtype))
        got = model.run(*given.values())
        for info, array, want in zip(model.outputs, got, given.values()):
            self.assertEqual(array.dtype, want.dtype, info)
            np.testing.assert_array_equal(array, want)

    def test_counters(self):
        session = self.open("decoder").session(threads=2)
        self.assertEqual(session.threads, 2)
        inputs, _ = decoder_case()
        for _ in range(3):
            session.run(inputs)
        counters = session.counters()
        self.assertEqual((counters.runs, counters.failed_runs, counters.expert_rows), (3, 0, 36))
        (load,) = session.expert_loads()
        self.assertEqual((load.shape, load.dtype, load.sum()), ((4,), np.int64, 36))
        session.reset_counters()
        self.assertEqual(session.counters().runs, 0)
        self.assertEqual(session.expert_loads()[0].sum(), 0)
        session.trim()
        self.assertEqual(session.counters().arena_bytes, 0)

    def test_profile(self):
        model = self.open("decoder")
        session, seen = model.session(), []
        session.set_profile(lambda region, begin: seen.append((region, begin)))
        gc.collect()  # the session keeps the callback
        session.run(decoder_case()[0])
        self.assertEqual(sorted({region for region, _ in seen}), sorted(model.regions))
        self.assertEqual(sum(begin for _, begin in seen) * 2, len(seen))
        count = len(seen)
        session.set_profile(None)
        session.run(decoder_case()[0])
        self.assertEqual(len(seen), count)


class Cache(Base):
    def test_decoding(self):
        model = self.open("counter")
        session, cache = model.session(), model.cache(8)
        self.assertEqual((len(cache), cache.capacity, bool(cache)), (0, 8, True))
        self.assertEqual(cache.tensors(), {})
        # Each token is the sum of all before it, modulo 10.
        (logits,) = session.run_with_cache(cache, np.array([[1, 2]]))
        tokens = [int(logits[0, -1].argmax())]
        while len(tokens) < 5:
            got = session.run_with_cache(cache, {"input_ids": np.array([tokens[-1:]])})
            self.assertEqual(list(got), ["logits"])
            tokens.append(int(got["logits"][0, -1].argmax()))
        self.assertEqual(tokens, [3, 6, 2, 4, 8])
        self.assertEqual(len(cache), 6)
        (past,) = cache.tensors().values()
        np.testing.assert_array_equal(past, [[1, 2, 3, 6, 2, 4]])

        # Back to the prompt and on with another session.
        cache.truncate(2)
        other = model.session()
        name = model.cache_bindings[0].output
        got = other.run_with_cache(cache, {"input_ids": [[3]]}, outputs=["logits", name])
        self.assertEqual(got["logits"][0, -1].argmax(), 6)
        np.testing.assert_array_equal(got[name], [[1, 2, 3]])
        cache.reset()
        session.run_with_cache(cache, [[1], [2], [3]])
        np.testing.assert_array_equal(cache.tensors()["past"], [[1], [2], [3]])

    def test_full(self):
        model = self.open("counter")
        session, cache = model.session(), model.cache(3)
        session.run_with_cache(cache, [[1, 2]])
        with self.assertRaises(moe_mlir.CacheCapacityError):
            session.run_with_cache(cache, [[1, 2]])
        self.assertEqual(len(cache), 2)
        (logits,) = session.run_with_cache(cache, [[3]])
        self.assertEqual(logits[0, -1].argmax(), 6)


class Lifetime(Base):
    def test_any_order(self):
        model = moe_mlir.Model(os.path.join(MODELS, "counter.so"))
        session, cache = model.session(), model.cache(4)
        model.close()
        model.close()
        session.run_with_cache(cache, [[1]])
        del model
        gc.collect()
        session.run_with_cache(cache, [[1]])
        session.close()
        self.assertEqual(len(cache), 2)
        cache.close()
        with moe_mlir.Model(os.path.join(MODELS, "counter.so")) as model:
            self.assertEqual(model.name, "counter")

    def test_unloaded_with_the_last_handle(self):
        def loaded(path):
            with open("/proc/self/maps") as maps:
                return path in maps.read()

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.so")
            shutil.copy(os.path.join(MODELS, "counter.so"), path)
            model = moe_mlir.Model(path)
            session = model.session()
            del model
            gc.collect()
            self.assertTrue(loaded(path))
            del session
            gc.collect()
            self.assertFalse(loaded(path))
            # What is at the path now is another model.
            os.remove(path)
            shutil.copy(os.path.join(MODELS, "echo.so"), path)
            self.assertEqual(moe_mlir.Model(path).name, "echo")


if __name__ == "__main__":
    unittest.main()
