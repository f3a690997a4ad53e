# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ort_worker.py <model.onnx> <threads> <hidden> <cpu,cpu,...>: times a layer in onnxruntime.

Speaks the protocol of model_worker.cpp."""

import json
import os
import sys
import time

import numpy as np
import onnxruntime as ort


def open_session(path, threads, cpus):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    # Threads but the first, which is this one; processors count from 1 there.
    if threads > 1:
        options.add_session_config_entry(
            "session.intra_op_thread_affinities", ";".join(str(c + 1) for c in cpus[1:threads])
        )
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    os.sched_setaffinity(0, {cpus[0]})
    return session


class Layer:
    """A session with its input and output bound to memory that stays: nothing is copied or allocated for them."""

    def __init__(self, session, hidden):
        self.session, self.hidden = session, hidden
        self.files, self.bindings, self.next = {}, {}, {}

    def inputs(self, path, tokens):
        if path not in self.files:
            data = np.fromfile(path, np.float32).reshape(-1, tokens, self.hidden)
            output = np.empty((tokens, self.hidden), np.float32)
            bindings = []
            for x in data:
                binding = self.session.io_binding()
                for bind, name, tensor in ((binding.bind_input, "x", x), (binding.bind_output, "y", output)):
                    bind(name, "cpu", 0, np.float32, tensor.shape, tensor.ctypes.data)
                bindings.append(binding)
            self.files[path] = data, output, bindings
        return self.files[path]

    def check(self, path, tokens, out):
        data, output, bindings = self.inputs(path, tokens)
        self.session.run_with_iobinding(bindings[0])
        output.tofile(out)
        return {}

    def time(self, path, tokens, runs, seconds):
        data, output, bindings = self.inputs(path, tokens)
        at = self.next.get(path, 0)
        for _ in range(2):
            self.session.run_with_iobinding(bindings[at % len(data)])
            at += 1
        times, total = [], 0.0
        while len(times) < runs or total < seconds:
            begin = time.perf_counter()
            self.session.run_with_iobinding(bindings[at % len(data)])
            times.append(time.perf_counter() - begin)
            total += times[-1]
            at += 1
        self.next[path] = at
        return {"times": [t * 1e3 for t in times]}


def main():
    path, threads, hidden, cpus = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    layer = Layer(open_session(path, threads, [int(c) for c in cpus.split(",")]), hidden)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        what, inputs, tokens, *rest = line.split()
        try:
            if what == "check":
                reply = layer.check(inputs, int(tokens), *rest)
            else:
                reply = layer.time(inputs, int(tokens), int(rest[0]), float(rest[1]))
        except Exception as error:
            reply = {"error": str(error).splitlines()[0]}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
