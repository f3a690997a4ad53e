# moe_mlir.compile runs moe-compile; its result can be opened and run.
# REQUIRES: python-numpy
# RUN: rm -rf %t && %python %moe_src/test/Driver/Inputs/make_scale.py %t && %python %s %t %moe_obj
import logging
import os
import shutil
import sys
import unittest
from pathlib import Path

import numpy as np

import moe_mlir

BUILD = Path(sys.argv.pop())
FOLDER = Path(sys.argv.pop())


class Compile(unittest.TestCase):
    def test_run(self):
        path = moe_mlir.compile(FOLDER / "scale.mlir", FOLDER / "native")
        self.assertEqual(path, FOLDER / "native.so")
        x = np.load(FOLDER / "x.npy")
        model = moe_mlir.Model(path)
        self.assertEqual(model.inputs, (moe_mlir.ValueInfo("x", "float32", ("n", 3)),))
        np.testing.assert_array_equal(model.run(x)[0], np.load(FOLDER / "y.npy"))
        # Compiled again under the same name, while the old one is in use.
        moe_mlir.compile(FOLDER / "scale.mlir", FOLDER / "native", target_cpu="x86-64-v3")
        np.testing.assert_array_equal(model.run(x[1:])[0], np.load(FOLDER / "y.npy")[1:])

    def test_changed_model_under_the_same_name(self):
        text = (FOLDER / "scale.mlir").read_text()
        x, models = np.ones((1, 3), np.float32), []
        for n, scale in enumerate(([1, 2, 3], [4, 5, 6], [7, 8, 9])):
            np.array(scale, np.float32).tofile(FOLDER / f"scale{n}.bin")
            (FOLDER / "changed.mlir").write_text(text.replace("scale.bin", f"scale{n}.bin").replace("arith.mulf", ["arith.mulf", "arith.addf", "arith.subf"][n]))
            models.append(moe_mlir.Model(moe_mlir.compile(FOLDER / "changed.mlir")))
        # The code of each, and the weights that were there when it was opened.
        for model, y in zip(models, ([1, 2, 3], [5, 6, 7], [-6, -7, -8])):
            np.testing.assert_array_equal(model.run(x)[0], [y])

    def test_default_output_and_options(self):
        path = moe_mlir.compile(str(FOLDER / "scale.mlir"), dump_phases=FOLDER / "phases")
        self.assertEqual(path, FOLDER / "scale.so")
        self.assertTrue(path.exists())
        self.assertGreater(len(os.listdir(FOLDER / "phases")), 4)
        assembly = moe_mlir.compile(FOLDER / "scale.mlir", FOLDER / "text", emit="asm")
        self.assertEqual(assembly, FOLDER / "text.s")
        self.assertIn("moe_compiled_main", assembly.read_text())
        module = moe_mlir.compile(FOLDER / "scale.mlir", compile_to="bufferize")
        self.assertEqual(module, FOLDER / "scale.bufferize.mlir")
        self.assertIn("memref", module.read_text())
        lowered = moe_mlir.compile(FOLDER / "scale.mlir", emit="mlir")
        self.assertEqual(lowered, FOLDER / "scale.lower.mlir")
        self.assertIn("llvm.func", lowered.read_text())
        lowered = moe_mlir.compile(FOLDER / "scale.mlir", FOLDER / "lowered.txt", emit="mlir")
        self.assertEqual((lowered, lowered.exists()), (FOLDER / "lowered.txt", True))
        library = moe_mlir.compile(FOLDER / "scale.mlir", FOLDER / "whole", compile_to="emit")
        self.assertEqual((library, library.exists()), (FOLDER / "whole.so", True))
        with self.assertLogs("moe_mlir", logging.INFO) as logs:
            moe_mlir.compile(FOLDER / "scale.mlir", time=True)
        self.assertIn("lower", logs.output[0])

    def test_names_like_options(self):
        previous = os.getcwd()
        os.chdir(FOLDER)
        try:
            shutil.copy("scale.mlir", "-m.mlir")
            self.assertEqual(moe_mlir.compile("-m.mlir", "-o"), Path("-o.so"))
            self.assertTrue(os.path.exists("./-o.so"))
        finally:
            os.chdir(previous)

    def test_errors(self):
        def refuse(text, *arguments, **options):
            with self.assertRaisesRegex(moe_mlir.CompileError, text):
                moe_mlir.compile(*arguments, **options)

        before = sorted(os.listdir(FOLDER))
        refuse("none.onnx: error: cannot be opened", FOLDER / "none.onnx")
        refuse("unknown target CPU 'i386x'", FOLDER / "scale.mlir", FOLDER / "bad", target_cpu="i386x")
        refuse("no_such_option|no-such-option", FOLDER / "scale.mlir", FOLDER / "bad", no_such_option=True)
        refuse("expects output to be a file name", FOLDER / "scale.mlir", "-", emit="asm")
        refuse("expects output to be a file name, got ''", FOLDER / "scale.mlir", "")
        refuse("expects emit to be one of lib, exe, .*, got 'all'", FOLDER / "scale.mlir", emit="all")
        refuse("cannot run '/nowhere/moe-compile': No such file", FOLDER / "scale.mlir", compiler="/nowhere/moe-compile")
        self.assertEqual(sorted(os.listdir(FOLDER)), before)

    def test_find(self):
        # Beside the package, wherever PATH leads; a variable goes before.
        self.assertEqual(moe_mlir.find_compiler(), BUILD / "bin" / "moe-compile")
        os.environ["MOE_COMPILE"] = "/some/other"
        self.addCleanup(os.environ.pop, "MOE_COMPILE")
        self.assertEqual(moe_mlir.find_compiler(), Path("/some/other"))


if __name__ == "__main__":
    unittest.main()
