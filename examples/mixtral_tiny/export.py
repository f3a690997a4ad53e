"""Exports the trained model to ONNX and checks the file against torch.

    python export.py --checkpoint checkpoint.pt

writes model.onnx (weights inside), cases/*.npz and prompt.json next to this script. The graph is what
torch's ordinary exporter writes for transformers' MixtralForCausalLM; only the stack traces of the
exporting machine are taken out of its metadata.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import DynamicCache

from model import HERE, build_model
from shakespeare import decode, encode

TOLERANCE = 2e-4  # float32, four layers; logits are of the order of 10

# The cases kept as test vectors: name -> (batch, sequence length, past length).
CASES = {"prefill": (1, 17, 0), "decode": (1, 1, 17), "batch": (2, 5, 3)}
# Further shapes that are only checked here.
SHAPES = [(1, 1, 0), (1, 2, 1), (3, 1, 40), (2, 64, 0), (4, 9, 130)]

TEXT = """Friends, Romans, countrymen, lend me your ears;
I come to bury Caesar, not to praise him.
The evil that men do lives after them;
The good is oft interred with their bones;
"""
PROMPT = "ANTONIO.\nWhat news"
GREEDY_LENGTH = 120


class DecoderStep(torch.nn.Module):
    """One step of generation with the key-value cache as plain tensors."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, past_key_values):
        cache = DynamicCache(past_key_values)
        logits = self.model(input_ids, past_key_values=cache, use_cache=True).logits
        return logits, [(layer.keys, layer.values) for layer in cache.layers]


def empty_cache(config, batch):
    empty = torch.zeros(batch, config.num_key_value_heads, 0, config.head_dim)
    return [(empty, empty)] * config.num_hidden_layers


def cache_names(prefix, layers):
    return [f"{prefix}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


def export(step, path):
    config = step.model.config
    layers = config.num_hidden_layers
    batch, seq, past = (torch.export.Dim(name) for name in ("batch", "seq", "past"))
    cache_dims = {0: batch, 2: past}
    # Dimensions of the example must be distinct and above 1 (torch.export specializes 0 and 1), and
    # its tensors distinct objects (one tensor used twice becomes one graph input used twice).
    input_ids = torch.zeros(3, 5, dtype=torch.int64)
    cached = lambda: torch.zeros(3, config.num_key_value_heads, 7, config.head_dim)
    program = torch.onnx.export(
        step,
        (input_ids, [(cached(), cached()) for _ in range(layers)]),
        dynamo=True,
        opset_version=20,
        input_names=["input_ids", *cache_names("past_key_values", layers)],
        output_names=["logits", *cache_names("present", layers)],
        dynamic_shapes={
            "input_ids": {0: batch, 1: seq},
            "past_key_values": [(cache_dims, cache_dims) for _ in range(layers)],
        },
    )
    for node in program.model.graph:
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    program.save(path, external_data=False)


def text_tokens(batch, length):
    """Rows of real text, each beginning at another character."""
    return torch.from_numpy(np.stack([encode(TEXT[7 * row : 7 * row + length]) for row in range(batch)]))


def make_case(step, tokens, past_length):
    """Runs torch on `tokens`; the first `past_length` columns only serve to fill the cache."""
    config = step.model.config
    cache = empty_cache(config, tokens.shape[0])
    with torch.no_grad():
        if past_length:
            _, cache = step(tokens[:, :past_length], cache)
        logits, present = step(tokens[:, past_length:], cache)
    flat = lambda pairs: [tensor.numpy() for pair in pairs for tensor in pair]
    names = cache_names("", config.num_hidden_layers)
    inputs = {"input_ids": tokens[:, past_length:].numpy()}
    inputs |= {f"past_key_values{name}": value for name, value in zip(names, flat(cache))}
    outputs = {"logits": logits.numpy()}
    outputs |= {f"present{name}": value for name, value in zip(names, flat(present))}
    return inputs, outputs


def largest_error(session, inputs, expected):
    got = session.run(list(expected), inputs)
    for name, value, want in zip(expected, got, expected.values()):
        assert value.shape == want.shape, f"{name}: {value.shape} instead of {want.shape}"
    return max(np.abs(value - want).max() for value, want in zip(got, expected.values()))


def decode_greedily(session, config, prompt, length):
    """Generates token by token; returns the new tokens and the logits that led to each."""
    cache = [tensor.numpy() for pair in empty_cache(config, 1) for tensor in pair]
    names = cache_names("past_key_values", config.num_hidden_layers)
    tokens, steps, feed = [], [], prompt
    for _ in range(length):
        logits, *cache = session.run(None, {"input_ids": feed} | dict(zip(names, cache)))
        steps.append(logits[0, -1])
        tokens.append(int(steps[-1].argmax()))
        feed = np.array([tokens[-1:]])
    return tokens, np.stack(steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="what train.py wrote (default: random weights)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for what is written")
    args = parser.parse_args()

    model = build_model(attention="eager", experts="batched_mm")
    if args.checkpoint:
        model.load_state_dict(torch.load(args.checkpoint, weights_only=True)["model"])
    step = DecoderStep(model).eval()
    (args.out / "cases").mkdir(parents=True, exist_ok=True)
    path = args.out / "model.onnx"
    export(step, path)
    session = onnxruntime.InferenceSession(path)

    named = [(name, shape) for name, shape in CASES.items()] + [(None, shape) for shape in SHAPES]
    for name, (batch, seq, past) in named:
        inputs, outputs = make_case(step, text_tokens(batch, past + seq), past)
        error = largest_error(session, inputs, outputs)
        print(f"batch {batch}, seq {seq}, past {past}: largest difference from torch {error:.1e}")
        assert error < TOLERANCE
        if name:
            arrays = {f"in:{key}": value for key, value in inputs.items()}
            arrays |= {f"out:{key}": value for key, value in outputs.items()}
            np.savez(args.out / "cases" / f"{name}.npz", **arrays)

    prompt = encode(PROMPT)
    tokens, logits = decode_greedily(session, model.config, prompt[None], GREEDY_LENGTH)
    whole = torch.from_numpy(np.append(prompt, tokens[:-1]))[None]
    with torch.no_grad():
        expected = model(whole).logits[0, len(prompt) - 1 :].numpy()
    error = np.abs(logits - expected).max()
    print(f"{len(tokens)} decoded tokens against one pass of torch: largest difference {error:.1e}")
    assert error < TOLERANCE
    continuation = {"prompt": PROMPT, "greedy": decode(tokens)}
    (args.out / "prompt.json").write_text(json.dumps(continuation, indent=2) + "\n")


if __name__ == "__main__":
    main()
