"""write_hostile.py FOLDER: writes FOLDER/NAME/model.onnx for each hostile model, and FOLDER/expected.json, which gives
the parts of each message."""

import json
import os
import shutil
import sys

import hostile_cases
import hostile_files  # noqa: F401
import hostile_graphs  # noqa: F401
import hostile_operators  # noqa: F401
import hostile_wire  # noqa: F401

folder = sys.argv[1]
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)
expected = {}
for case in hostile_cases.CASES:
    assert case.name not in expected, case.name
    case.make(os.path.join(folder, case.name))
    expected[case.name] = [case.expected] if isinstance(case.expected, str) else case.expected
with open(os.path.join(folder, "expected.json"), "w") as file:
    json.dump(expected, file)
