"""Peak anonymous memory and time of compiling a model with large weights.

Writes a chain of sparse layers with random weights (by default 4 GB in external
data; --inline keeps them in the model file, up to protobuf's 2 GB), compiles it
while sampling the compiler's RssAnon, and prints the figures as one line of JSON
together with the bounds:

    anonymous memory <= 500 MB + 1.2 * the weights of the largest layer
    time             <= 2 * the time to copy the weight file + 10 s

    compile_memory.py --moe-compile build/bin/moe-compile [--gigabytes 4] [--inline]
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper

EXPERTS, HIDDEN, FFN = 8, 1024, 3584
LAYER_BYTES = 2 * EXPERTS * HIDDEN * FFN * 4


def random_bytes(count):
    """A block of finite floats, repeated: contents do not matter, sizes do."""
    block = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
    block = (block * 0.02).tobytes()
    while count > 0:
        yield block[:count]
        count -= len(block)


def make_model(folder, layers, inline):
    path = os.path.join(folder, "model.onnx")
    nodes, initializers, offset = [], [], 0
    data = None if inline else open(os.path.join(folder, "model.data"), "wb")

    def weight(name, shape, differ):
        nonlocal offset
        size = int(np.prod(shape)) * 4
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        payload = bytearray(b"".join(random_bytes(size)))
        # No two alike: equal weights would be stored once.
        payload[0:4] = np.float32(differ * 1e-3).tobytes()
        if inline:
            tensor.raw_data = bytes(payload)
        else:
            data.write(payload)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "model.data"), ("offset", offset), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
            offset += size
        initializers.append(tensor)
        return name

    value = "x"
    for i in range(layers):
        router = weight(f"router{i}", [HIDDEN, EXPERTS], 3 * i)
        fc1 = weight(f"fc1_{i}", [EXPERTS, FFN, HIDDEN], 3 * i + 1)
        fc2 = weight(f"fc2_{i}", [EXPERTS, HIDDEN, FFN], 3 * i + 2)
        nodes.append(helper.make_node("MatMul", [value, router], [f"logits{i}"], name=f"router_{i}"))
        result = "y" if i + 1 == layers else f"h{i}"
        nodes.append(
            helper.make_node(
                "MoE", [value, f"logits{i}", fc1, "", fc2], [result], name=f"moe_{i}",
                domain="com.microsoft", k=2, activation_type="relu", normalize_routing_weights=1,
            )
        )
        value = result
    graph = helper.make_graph(
        nodes, "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["tokens", HIDDEN])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["tokens", HIDDEN])],
        initializers,
    )
    model = helper.make_model(
        graph, ir_version=9,
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)],
    )
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
    if data:
        data.close()
    return path


def anonymous_bytes(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def compile_sampled(command):
    begin = time.monotonic()
    process = subprocess.Popen(command)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process.pid))
        time.sleep(0.01)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} failed")
    return peak, time.monotonic() - begin


def copy_seconds(path):
    copy = path + ".copy"
    begin = time.monotonic()
    shutil.copyfile(path, copy)
    seconds = time.monotonic() - begin
    os.remove(copy)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moe-compile", default="build/bin/moe-compile")
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--inline", action="store_true", help="weights in the model file (at most 1.9 GB)")
    parser.add_argument("--folder", help="where to work (default: a temporary folder)")
    arguments = parser.parse_args()
    layers = max(1, int(arguments.gigabytes * 1e9 // LAYER_BYTES))
    if arguments.inline:
        layers = min(layers, int(1.9e9 // LAYER_BYTES))

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        model = make_model(folder, layers, arguments.inline)
        output = os.path.join(folder, "out")
        peak, seconds = compile_sampled([arguments.moe_compile, model, "-o", output, "--time"])
        copy = copy_seconds(output + ".weights")
        result = {
            "layers": layers,
            "inline": arguments.inline,
            "weights_gb": round(os.path.getsize(output + ".weights") / 1e9, 3),
            "peak_anonymous_mb": round(peak / 1e6, 1),
            "peak_anonymous_limit_mb": round(500 + 1.2 * LAYER_BYTES / 1e6, 1),
            "compile_s": round(seconds, 2),
            "copy_s": round(copy, 2),
            "compile_limit_s": round(2 * copy + 10, 2),
        }
    result["within_limits"] = (
        result["peak_anonymous_mb"] <= result["peak_anonymous_limit_mb"]
        and result["compile_s"] <= result["compile_limit_s"]
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
