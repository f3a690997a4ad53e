# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""decoder_worker.py moe|llama <model> <threads> <vocabulary> <positions>: a decoder that answers lines of

    logits <in.npy> <out.npy>     of every position of a text, as f32, at once and with the last one as a step
    prefill <tokens>              seconds for a prompt of so many tokens
    decode <tokens> <steps>       seconds of each of so many steps after such a prompt

with lines of JSON."""

import json
import os
import sys
import time

import numpy as np


class Compiled:
    def __init__(self, path, threads, vocabulary, positions):
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python"))
        import moe_mlir

        self.model = moe_mlir.Model(path)
        self.session = self.model.session(threads)
        self.cache = self.model.cache(positions)

    def reset(self):
        self.past = 0
        self.cache.reset()

    def run(self, ids, want_logits=False):
        mask = np.ones((1, self.past + len(ids)), np.int64)
        inputs = {"input_ids": ids.reshape(1, -1), "attention_mask": mask}
        results = self.session.run_with_cache(self.cache, inputs, outputs=["logits"] if want_logits else [])
        self.past += len(ids)
        return results["logits"][0].astype(np.float32) if want_logits else None


class Llama:
    def __init__(self, path, threads, vocabulary, positions):
        import llama_cpp

        self.api, self.vocabulary = llama_cpp, vocabulary
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"llama.cpp does not load '{path}'")
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = -(-positions // 256) * 256
        options.n_threads = options.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        self.batch = llama_cpp.llama_batch_init(options.n_batch, 0, 1)

    def reset(self):
        self.past = 0
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)

    def run(self, ids, want_logits=False):
        batch = self.batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = int(token)
            batch.pos[i] = self.past + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = want_logits or i + 1 == len(ids)
        status = self.api.llama_decode(self.context, batch)
        if status:
            raise RuntimeError(f"llama_decode returned {status}")
        self.past += len(ids)
        # It may still be at work until its results are asked for.
        last = self.api.llama_get_logits_ith(self.context, -1)
        if want_logits:
            rows = [self.api.llama_get_logits_ith(self.context, i) for i in range(len(ids))]
            return np.stack([np.ctypeslib.as_array(row, (self.vocabulary,)) for row in rows])
        return last[0]


class Worker:
    def __init__(self, decoder, vocabulary):
        self.decoder, self.random, self.vocabulary = decoder, np.random.default_rng(5), vocabulary

    def ids(self, count):
        return self.random.integers(0, self.vocabulary, count)

    def timed(self, ids):
        begin = time.perf_counter()
        self.decoder.run(ids)
        return time.perf_counter() - begin

    def logits(self, source, target):
        ids = np.load(source)
        self.decoder.reset()
        together = self.decoder.run(ids, want_logits=True)
        self.decoder.reset()
        self.decoder.run(ids[:-1])
        np.save(target, np.concatenate([together, self.decoder.run(ids[-1:], want_logits=True)]))
        return {}

    def prefill(self, tokens):
        self.decoder.reset()
        return {"seconds": [self.timed(self.ids(int(tokens)))]}

    def decode(self, tokens, steps):
        self.decoder.reset()
        self.decoder.run(self.ids(int(tokens)))
        return {"seconds": [self.timed(self.ids(1)) for _ in range(int(steps))]}


def main():
    kind, path, *sizes = sys.argv[1:]
    threads, vocabulary, positions = map(int, sizes)
    decoder = {"moe": Compiled, "llama": Llama}[kind](path, threads, vocabulary, positions)
    worker = Worker(decoder, vocabulary)
    # Libraries may write to standard output; replies must not mix with that.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        what, *arguments = line.split()
        try:
            reply = getattr(worker, what)(*arguments)
        except Exception as error:
            reply = {"error": str(error).splitlines()[0]}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
