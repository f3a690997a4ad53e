"""Exports families of transformers with examples/export_hf.py as its documentation says, small and with random weights;
compiles what comes out as it is, and compares it with torch.

    reexport.py FOLDER EXAMPLES FAMILY=LAYERS...     (a Python with torch and transformers; moe-compile and moe-run on PATH)

LAYERS is the number of sparse layers, all of which have to be recognised. Decoders are exported with a cache too, which then
has to give the logits of a whole text in three pieces."""

import os
import re
import subprocess
import sys

import numpy as np
import torch

FOLDER, EXAMPLES, *FAMILIES = sys.argv[1:]
sys.path.insert(0, EXAMPLES)
import export_hf  # noqa: E402

TOLERANCE = 1e-5
SHAPES = (1, 1), (2, 5), (3, 9)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def export(family, *options):
    """The path of the model without its suffix, and the model in torch."""
    stem = os.path.join(FOLDER, "-".join([family, *(o.strip("-") for o in options)]))
    sys.argv[1:] = ["--random", family, stem + ".onnx", *options]
    export_hf.main()
    return stem


def compiled(family, stem, layers):
    said = run("moe-compile", stem + ".onnx", "-o", stem, "--remarks")
    if said:
        sys.exit(f"{family}: the compiler says\n{said}")
    routes = len(re.findall(r"\bmoe\.route ", run("moe-compile", stem + ".onnx", "--compile-to=raise", "-o", "-")))
    if routes != layers:
        sys.exit(f"{family}: {routes} of {layers} sparse layers recognised")


def results(stem, inputs):
    np.savez(stem + "-in.npz", **inputs)
    run("moe-run", stem + ".so", "--inputs", stem + "-in.npz", "--outputs", stem + "-out.npz")
    with np.load(stem + "-out.npz") as file:
        return dict(file)


def compare(what, found, expected):
    if found.shape != expected.shape:
        sys.exit(f"{what}: shape {found.shape}, expected {expected.shape}")
    error = np.abs(found - expected).max() / max(1, np.abs(expected).max())
    if not error <= TOLERANCE:
        sys.exit(f"{what}: {error:.1e} from torch")


def tokens(shape, vocabulary):
    return np.random.default_rng(shape[1]).integers(3, vocabulary, shape)


def check(family, layers):
    arguments = export_hf.argparse.Namespace(model=family, random=True, dtype="float32", no_patches=False)
    model = export_hf.load(arguments)
    encoder = model.config.is_encoder_decoder
    stem = export(family)
    compiled(family, stem, layers)
    wrapped = (export_hf.EncoderDecoder if encoder else export_hf.Plain)(model)
    for shape in SHAPES:
        ids = tokens(shape, model.config.vocab_size)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if encoder:
            inputs["decoder_input_ids"] = ids[:, :4]
        with torch.no_grad():
            expected = wrapped(*map(torch.from_numpy, inputs.values())).numpy()
        compare(f"{family} {shape}", results(stem, inputs)["logits"], expected)
    if not encoder:
        stem = export(family, "--cache")
        compiled(family, stem, layers)
        in_pieces(family, stem, ids, expected)
        # The tokenizer of the example has as many tokens as the small models.
        tokenizer = os.path.join(EXAMPLES, "mixtral_tiny/tokenizer.json")
        prompt = ["--prompt", "Once upon a time", "--tokenizer", tokenizer, "--max-tokens", "4"]
        run("moe-run", stem + ".so", "--generate", *prompt)
    print(f"{family}: {layers} layers" + (", with and without a cache" if not encoder else ""))


def in_pieces(family, stem, ids, expected):
    """Tokens 0 to 4, 5, and the rest, through the cache."""
    signature = run("moe-run", stem + ".so", "--signature")
    past, at = {}, 0
    for name, dims in re.findall(r"input +(past_key_values\S+) +f32 +\[(.*)\]", signature):
        sizes = [len(ids) if i == 0 else int(dim) if dim.isdigit() else 0 for i, dim in enumerate(dims.split(", "))]
        past[name] = np.zeros(sizes, np.float32)
    for end in (5, 6, ids.shape[1]):
        mask = np.ones((len(ids), end), np.int64)
        made = results(stem, {"input_ids": ids[:, at:end], "attention_mask": mask, **past})
        compare(f"{family} with {at} tokens in the cache", made["logits"], expected[:, at:end])
        past = {name: made[name.replace("past_key_values", "present")] for name in past}
        at = end


for pair in FAMILIES:
    family, layers = pair.split("=")
    check(family, int(layers))
