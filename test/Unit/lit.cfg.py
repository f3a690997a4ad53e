# Runs the GoogleTest programs of unittests/ along with the other tests.

import os

import lit.formats

config.name = "MoE-MLIR-Unit"
config.suffixes = []
config.test_source_root = os.path.join(config.moe_obj_root, "unittests", "bin")
config.test_exec_root = config.test_source_root
config.test_format = lit.formats.GoogleTest("", "Tests")
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
