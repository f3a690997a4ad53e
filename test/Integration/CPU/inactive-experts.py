# The weights of experts without a token are never read: of the mapped weight file only the chosen experts' pages become
# resident, and the runtime's counters say the same.
# REQUIRES: python-onnx, python-numpy
# RUN: rm -rf %t && mkdir -p %t && %python %s %t
import os
import sys
import unittest

import moe_reference
import numpy as np
from sparse_models import Graph, add_moe, random_moe, row_error

import moe_mlir

FOLDER = sys.argv.pop()
EXPERTS, K, WIDTH, INTER = 64, 4, 256, 192
EXPERT_BYTES = 3 * WIDTH * INTER * 4  # 576 KiB
# Per run of an expert's pages the system may map neighbours that it has in memory anyway ("fault-around", 64 KiB), at
# both ends; FC1 and FC3 may lie in one run or in two. The table and header of the file come on top.
SLACK = 3 * 2 * (64 << 10)


def resident(path):
    """Bytes of `path` that are mapped and present in this process."""
    total, inside = 0, False
    with open("/proc/self/smaps") as maps:
        for line in maps:
            first = line.split(maxsplit=5)
            if "-" in first[0] and not first[0].endswith(":"):
                inside = len(first) == 6 and first[5].strip() == path
            elif inside and line.startswith("Rss:"):
                total += int(first[1]) << 10
    return total


class InactiveExperts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        random = np.random.default_rng(0)
        cls.weights = random_moe(random, WIDTH, INTER, EXPERTS, third=True)
        cls.attributes = {"k": K, "activation_type": "silu", "normalize_routing_weights": 1}
        graph = Graph()
        x, logits = graph.input("x", ["tokens", WIDTH]), graph.input("logits", ["tokens", EXPERTS])
        graph.output("y", add_moe(graph, x, logits, cls.weights, name="moe", **cls.attributes), ["tokens", WIDTH])
        cls.library = moe_mlir.compile(graph.save(os.path.join(FOLDER, "experts.onnx")))

    def run_on(self, session, *chosen):
        """Runs one token per list of experts, and checks the result."""
        random = np.random.default_rng(len(chosen))
        logits = np.zeros((len(chosen), EXPERTS), np.float32)
        for row, experts in zip(logits, chosen):
            row[experts] = 5 + random.random(len(experts))
        x = random.standard_normal((len(chosen), WIDTH)).astype(np.float32)
        (y,) = session.run(x, logits)
        self.assertLessEqual(row_error(y, moe_reference.contrib_moe(x, logits, *self.weights, **self.attributes)), 1e-5)

    def test_pages(self):
        # Opened anew, nothing is mapped yet but what opening reads.
        model = moe_mlir.Model(self.library)
        path = os.path.realpath(model.weights_path)
        self.assertGreaterEqual(model.weights_bytes, EXPERTS * EXPERT_BYTES)
        session = model.session(threads=2)
        before = resident(path)
        self.assertLess(before, EXPERT_BYTES)

        def added(*chosen):
            start = resident(path)
            self.run_on(session, *chosen)
            return resident(path) - start

        first = added([3, 17, 40, 63])
        self.assertGreaterEqual(first, K * EXPERT_BYTES - before)
        self.assertLessEqual(first, K * (EXPERT_BYTES + SLACK))
        # The same experts again: nothing new. Two of them and two others: two more.
        self.assertEqual(added([3, 17, 40, 63]), 0)
        second = added([3, 17, 20, 50])
        self.assertGreaterEqual(second, 2 * EXPERT_BYTES - 2 * SLACK)
        self.assertLessEqual(second, 2 * (EXPERT_BYTES + SLACK))
        # 40 tokens, all for four experts: as much as one token.
        third = added(*[[8, 9, 30, 31]] * 40)
        self.assertLessEqual(third, 4 * (EXPERT_BYTES + SLACK))
        # No token, no expert.
        self.assertEqual(added(), 0)
        # In the end all of it can be resident: the measure measures.
        self.run_on(session, *[[e, e + 1, e + 2, e + 3] for e in range(0, EXPERTS, 4)])
        self.assertGreaterEqual(resident(path), EXPERTS * EXPERT_BYTES)

    def test_counters(self):
        model = moe_mlir.Model(self.library)
        (layer,) = model.expert_layers
        self.assertEqual((layer.num_experts, layer.top_k), (EXPERTS, K))
        # Panels are padded to whole vectors, by far less than an expert.
        self.assertGreaterEqual(layer.bytes_per_expert, EXPERT_BYTES)
        self.assertLess(layer.bytes_per_expert, 1.1 * EXPERT_BYTES)
        session = model.session(threads=1)
        for tokens, experts in (([[3, 17, 40, 63]], 4), ([[0, 1, 2, 3]] * 30, 4), ([[0, 1, 2, 3], [2, 3, 4, 5]], 6), ([], 0)):
            session.reset_counters()
            self.run_on(session, *tokens)
            counters = session.counters()
            self.assertEqual(counters.expert_rows, K * len(tokens))
            self.assertEqual(counters.active_experts, experts)
            self.assertEqual(counters.active_expert_bytes, experts * layer.bytes_per_expert)
            (load,) = session.expert_loads()
            np.testing.assert_array_equal(load, np.bincount(np.ravel(tokens).astype(int), minlength=EXPERTS))


if __name__ == "__main__":
    unittest.main()
