# Importing costs neither memory nor time for the weights: their files are
# sparse here, and bigger than what the process may allocate; and the time per
# node is constant.
# REQUIRES: python-onnx
# (AddressSanitizer's shadow is larger than any limit on memory.)
# UNSUPPORTED: sanitizer
# RUN: %python %s moe-translate %t

import os
import re
import resource
import shutil
import subprocess
import sys
import time

import onnx
from onnx import helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "Inputs"))
from models import F32, array, external, model, value, varint

TOOL, ROOT = sys.argv[1:]
GIB = 1 << 30
LIMIT_KIB = 100 * 1024


def key(number):
    return varint(number << 3 | 2)


def skeleton(count, width, rows):
    """A chain of `count` matrix multiplications, without the weights w0, w1, ..."""
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"mm{i}") for i in range(count)]
    return model(nodes, [value("x0", ["n", rows])], [value(f"x{count}", ["n", width])])


def write_inline(path, count, rows, width):
    """Weights of zeros as raw_data inside the model file, which has holes there."""
    size = 4 * rows * width
    found = skeleton(count, width, rows)
    graph = found.graph.SerializeToString()
    found.ClearField("graph")
    head = found.SerializeToString()
    tensors = []
    for i in range(count):
        tensor = onnx.TensorProto(name=f"w{i}", dims=[rows, width], data_type=F32).SerializeToString()
        tensors.append(tensor + key(9) + varint(size))
    total = len(graph) + sum(len(key(5) + varint(len(t) + size)) + len(t) + size for t in tensors)
    with open(path, "wb") as file:
        file.write(head + key(7) + varint(total) + graph)
        for tensor in tensors:
            file.write(key(5) + varint(len(tensor) + size) + tensor)
            file.seek(size, os.SEEK_CUR)
        file.truncate()


def write_external(path, count, rows, width):
    found = skeleton(count, width, rows)
    size = 4 * rows * width
    for i in range(count):
        found.graph.initializer.append(
            external(f"w{i}", [rows, width], location="weights.bin", offset=i * size, length=size))
    with open(path, "wb") as file:
        file.write(found.SerializeToString())
    with open(os.path.join(os.path.dirname(path), "weights.bin"), "wb") as file:
        file.truncate(count * size)


def write_nodes(path, count):
    """A long chain, with a constant, a subgraph and metadata now and then."""
    nodes = []
    for i in range(count):
        nodes.append(helper.make_node("Add", [f"x{i}", "c"], [f"x{i + 1}"], name=f"add{i}"))
        nodes[-1].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File model.py, line 1\n" * 20)
        nodes[-1].metadata_props.add(key="namespace", value=f"model.layers.{i}")
    found = model(nodes, [value("x0", ["n", 4])], [value(f"x{count}", ["n", 4])], [array("c", [1.0])], [("", 17)])
    with open(path, "wb") as file:
        file.write(found.SerializeToString())


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(name, path, limit_kib):
    """Bounds the peak anonymous memory, sampled, of one import; its output and CPU time."""
    output = path + ".mlir"
    start = cpu_seconds()
    process = subprocess.Popen([TOOL, "--import-onnx", path, "-o", output])
    peak = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                found = re.search(r"RssAnon:\s+(\d+)", status.read())
            peak = max(peak, int(found.group(1)) if found else 0)
        except OSError:
            pass
        time.sleep(0.002)
    seconds = cpu_seconds() - start
    assert process.returncode == 0, name
    print(f"{name}: file {os.path.getsize(path) / GIB:.2f} GiB, peak RssAnon {peak / 1024:.0f} MiB, {seconds:.2f} s of CPU", flush=True)
    assert peak < limit_kib, name
    with open(output) as text:
        found = text.read()
    os.remove(output)
    return found, seconds


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    os.makedirs(ROOT)
    path = os.path.join(ROOT, "model.onnx")

    write_inline(path, 7, 8192, 8192)  # 7 x 256 MiB
    text, _ = measure("inline", path, LIMIT_KIB)
    assert text.count("length = 268435456 : i64") == 7

    write_external(path, 8, 16384, 16384)  # 8 x 1 GiB
    text, _ = measure("external", path, LIMIT_KIB)
    assert text.count("length = 1073741824 : i64") == 8

    times = []
    for count in (12_500, 100_000):
        write_nodes(path, count)
        text, seconds = measure(f"{count} nodes", path, 2 * GIB // 1024)
        assert text.count('onnx.node "Add"') == count and " opset 20 " in text
        times.append(seconds)
    # Eight times the nodes: quadratic work would cost 64 times the time.
    assert times[1] < 24 * max(times[0], 0.2), times
    shutil.rmtree(ROOT)


main()
