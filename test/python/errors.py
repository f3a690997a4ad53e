# What is wrong is said by an exception of the right kind, and nothing is broken after it.
# (Sanitized models load into sanitized programs only.)
# UNSUPPORTED: sanitizer
# REQUIRES: python-numpy
# RUN: %python %s %moe_obj/unittests/Runtime/Models
import os
import shutil
import sys
import tempfile
import unittest

import numpy as np

import moe_mlir

MODELS = sys.argv.pop()


def inputs(**changed):
    given = {
        "x": np.ones((2, 3, 4), np.float32),
        "ids": np.zeros((2, 3), np.int64),
        "mask": np.ones(3, bool),
        "past": np.zeros((2, 2, 5, 3), np.float32),
    }
    given.update(changed)
    return {name: array for name, array in given.items() if array is not None}


class Errors(unittest.TestCase):
    def setUp(self):
        self.model = moe_mlir.Model(os.path.join(MODELS, "decoder.so"))
        self.addCleanup(self.model.close)

    def check(self, kind, text, function, *arguments, **keywords):
        with self.assertRaises(kind) as caught:
            function(*arguments, **keywords)
        self.assertRegex(str(caught.exception), text)
        self.assertNotIn("\n", str(caught.exception))
        self.assertIsInstance(caught.exception, moe_mlir.MoEError)
        return caught.exception

    def test_inputs(self):
        def wrong(text, **changed):
            error = self.check(moe_mlir.InputError, text, self.model.run, inputs(**changed))
            self.assertIsInstance(error, ValueError)

        wrong("input 'mask' is missing", mask=None)
        wrong("takes no input 'z'; it takes x, ids, mask, past", z=np.ones(1))
        wrong("input 'x' .*f64.*f32|input 'x' .*f32.*f64", x=np.ones((2, 3, 4)))
        wrong("input 'ids' .*i64.*i32|input 'ids' .*i32.*i64", ids=np.zeros((2, 3), np.int32))
        wrong("input 'ids' .*rank", ids=np.zeros(3, np.int64))
        wrong(r"input 'x' has shape \[2, 3, 3\], expected \[batch, seq, 4\]", x=np.ones((2, 3, 3), np.float32))
        wrong("seq", mask=np.ones(7, bool))
        wrong("input 'x' has element type complex64, expected float32", x=np.ones((2, 3, 4), np.complex64))
        wrong("input 'x' has element type object, expected float32", x=np.array([object()]))
        wrong("input 'ids' cannot become an array of int64: holds float64", ids=[[0.5, 1, 2]] * 2)
        wrong("input 'ids' cannot become an array of int64", ids=[[2**70, 0, 0]] * 2)
        wrong("input 'ids' cannot become an array of int64", ids=[[1], [2, 3]])
        wrong("input 'ids' cannot become an array of int64", ids="text")
        self.check(moe_mlir.InputError, "expects 4 inputs .x, ids, mask, past., got 1", self.model.run, np.ones(1))
        self.check(moe_mlir.InputError, "has no output 'z'; it has y, present", self.model.run, inputs(), outputs=["z"])
        self.assertEqual(self.model.run(inputs())["y"].shape, (2, 3, 4))

    def test_nodes(self):
        session = self.model.session(threads=2)
        text = "^node '.*' \\(.*\\): expects .* 100, got 123$"
        error = self.check(moe_mlir.NodeError, text, session.run, inputs(ids=np.full((2, 3), 123)))
        self.assertEqual(error.status, 7)
        self.check(moe_mlir.NodeError, "^node .*-5", session.run, inputs(ids=np.full((2, 3), -5)))
        self.check(moe_mlir.OutOfMemoryError, "memory", session.run, inputs(ids=np.full((2, 3), 77)))
        session.run(inputs())
        counters = session.counters()
        self.assertEqual((counters.runs, counters.failed_runs), (1, 3))

    def test_arguments(self):
        self.check(moe_mlir.InputError, "at least one thread, got 0", self.model.session, 0)
        self.check(moe_mlir.InputError, "at least one thread, got -1", self.model.session, -1)
        self.check(moe_mlir.InputError, "capacity of at least 1, got 0", self.model.cache, 0)
        echo = moe_mlir.Model(os.path.join(MODELS, "echo.so"))
        self.check(moe_mlir.MoEError, "no past/present pairs", echo.cache, 4)
        cache = moe_mlir.Model(os.path.join(MODELS, "counter.so")).cache(4)
        self.check(moe_mlir.InputError, "at most the cache's 0, got 1", cache.truncate, 1)
        self.check(moe_mlir.MoEError, "cache", self.model.session().run_with_cache, cache, inputs(past=None))
        self.check(moe_mlir.InputError, "takes no input 'past'", self.model.session().run_with_cache,
                   self.model.cache(9), inputs())

    def test_closed(self):
        session, cache = self.model.session(), self.model.cache(4)
        for thing in (session, cache, self.model):
            thing.close()
            thing.close()
        self.check(moe_mlir.MoEError, "the session is closed", session.run, inputs())
        self.check(moe_mlir.MoEError, "the session is closed", session.counters)
        self.check(moe_mlir.MoEError, "the cache is closed", len, cache)
        self.check(moe_mlir.MoEError, "the model is closed", self.model.run, inputs())
        self.check(moe_mlir.MoEError, "the model is closed", self.model.session)

    def test_open(self):
        def refuse(text, path, **options):
            self.check(moe_mlir.LoadError, text, moe_mlir.Model, path, **options)

        decoder = os.path.join(MODELS, "decoder.so")
        refuse("cannot open '/nowhere/model.so': no such file", "/nowhere/model.so")
        refuse("weights", decoder, weights=os.path.join(MODELS, "other.weights"))
        refuse("none.weights", decoder, weights=os.path.join(MODELS, "none.weights"))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.so")
            with open(path, "w") as file:
                file.write("text")
            refuse("cannot load '.*model.so': ", path)
            shutil.copy(decoder, path)
            os.truncate(path, 6000)
            refuse("model.so' is truncated: it has 6000 bytes, its segments need", path)
            shutil.copy(decoder, path)
            refuse("model.weights", path)
            with open(os.path.join(MODELS, "decoder.weights"), "rb") as file:
                data = file.read()
            weights = os.path.join(folder, "model.weights")
            with open(weights, "wb") as file:
                file.write(data[:-8])
            refuse("size|bytes|short", path)
            # One wrong byte of a weight shows only to who reads everything.
            at = data.rindex(np.array([1, 2, 3, 4], np.float32).tobytes())
            with open(weights, "wb") as file:
                file.write(data[:at] + b"\1" + data[at + 1 :])
            moe_mlir.Model(path).close()
            refuse("hash|differ", path, verify=True)
        import _ctypes

        refuse("is not a compiled model: it has no function moe_get_api", _ctypes.__file__)


if __name__ == "__main__":
    unittest.main()
