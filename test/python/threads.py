# Sessions of several Python threads run side by side; one session or cache serves one thread at a time.
# (Sanitized models load into sanitized programs only.)
# UNSUPPORTED: sanitizer
# REQUIRES: python-numpy
# RUN: %python %s %moe_obj/unittests/Runtime/Models
import os
import sys
import threading
import unittest

import numpy as np

import moe_mlir

MODELS = sys.argv.pop()


def in_threads(count, work):
    """Runs work(i) in `count` threads, all of them started together; raises what one of them raised."""
    barrier, failures = threading.Barrier(count), []

    def body(i):
        try:
            barrier.wait()
            work(i)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Threads(unittest.TestCase):
    def setUp(self):
        self.model = moe_mlir.Model(os.path.join(MODELS, "counter.so"))
        self.addCleanup(self.model.close)

    def check(self, logits, ids):
        expected = np.eye(10, dtype=np.float32)[np.cumsum(ids, axis=1) % 10]
        np.testing.assert_array_equal(logits, expected)

    def test_a_session_each(self):
        def work(i):
            random = np.random.default_rng(i)
            with self.model.session(threads=1) as session, self.model.cache(64) as cache:
                for _ in range(50):
                    ids = random.integers(0, 10, (2, 9))
                    cache.reset()
                    first = session.run_with_cache(cache, ids[:, :4])[0]
                    self.check(np.concatenate([first, session.run_with_cache(cache, ids[:, 4:])[0]], 1), ids)

        in_threads(4, work)

    def test_run_of_the_model(self):
        def work(i):
            random = np.random.default_rng(i)
            for _ in range(50):
                ids = random.integers(0, 10, (2, 1 + i))
                self.check(self.model.run(ids, np.zeros((2, 0), np.float32))[0], ids)

        in_threads(4, work)

    def test_one_session_is_busy(self):
        session, cache = self.model.session(), self.model.cache(4096)
        ids, none = np.ones((4, 1000), np.int64), np.zeros((4, 0), np.float32)
        done = [0, 0]

        def work(_):
            for _ in range(100):
                try:
                    self.check(session.run(ids, none)[0], ids)
                    done[0] += 1
                except moe_mlir.BusyError as error:
                    self.assertEqual(str(error), "the session is in use by another thread")
                    done[1] += 1

        in_threads(2, work)
        self.assertEqual(sum(done), 200)
        self.assertGreater(done[0], 0)
        session.run_with_cache(cache, ids)

    def test_busy_for_sure(self):
        # The callback runs inside of the run, so that another thread can be let in there.
        decoder = moe_mlir.Model(os.path.join(MODELS, "decoder.so"))
        session, errors = decoder.session(), []

        def intrude(region, begin):
            def work():
                try:
                    session.counters()
                except moe_mlir.BusyError as error:
                    errors.append(str(error))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

        session.set_profile(intrude)
        x = np.ones((1, 1, 4), np.float32)
        session.run(x, [[1]], [True], np.zeros((1, 2, 0, 3), np.float32))
        self.assertGreaterEqual(len(errors), 2)
        self.assertEqual(set(errors), {"the session is in use by another thread"})


if __name__ == "__main__":
    unittest.main()
