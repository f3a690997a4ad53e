"""Trains the example model on Shakespeare and compares it with a 5-gram model of the same text.

    python train.py --checkpoint checkpoint.pt

continues from the checkpoint where there is one, and afterwards evaluates the model on the held-out
plays: bits per character, and the load of every expert. The result goes to metrics.json.

The learning rate rises for a moment, stays, and falls linearly to 0 over the last quarter. A run can
therefore be shortened while it is in the flat part: stop it and start it again with fewer --steps.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

import ngram
from model import HERE, build_model
from shakespeare import HELD_OUT, PACKAGE, VOCABULARY, decode, encode, load_tokens

CONTEXT = 256
BATCH = 8
SCORED_FROM = CONTEXT // 2 + 1
SEED = 0
LEARNING_RATE = 2e-3
WARMUP_STEPS = 100
DECAY_SHARE = 0.25
NGRAM_ORDER = 5
PROMPT = "ANTONIO.\nWhat news"


def learning_rate(step, steps):
    return LEARNING_RATE * min(1, (step + 1) / WARMUP_STEPS, (steps - step) / (DECAY_SHARE * steps))


def make_batch(tokens, step):
    """Random windows that depend on the step only, so that a resumed run sees the same data."""
    starts = np.random.default_rng([SEED, step]).integers(len(tokens) - CONTEXT, size=BATCH)
    windows = torch.from_numpy(np.stack([tokens[start : start + CONTEXT + 1] for start in starts]))
    return windows[:, :-1], windows[:, 1:]


def balance_loss(config, router_logits):
    """The load-balancing loss of each layer, added up (transformers itself pools the layers)."""
    experts, k = config.num_local_experts, config.num_experts_per_tok
    return sum(load_balancing_loss_func((logits,), experts, k) for logits in router_logits)


def train(model, tokens, steps, path):
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.1, fused=True)
    done, seconds = 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done, seconds = state["step"], state["seconds"]

    model.train()
    previous, losses = time.monotonic(), []
    for step in range(done, steps):
        inputs, targets = make_batch(tokens, step)
        output = model(inputs, use_cache=False, output_router_logits=True)
        loss = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
        balance = balance_loss(model.config, output.router_logits)
        (loss + model.config.router_aux_loss_coef * balance).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.step()
        optimizer.zero_grad()

        losses.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            seconds += time.monotonic() - previous
            previous = time.monotonic()
            bits = np.mean(losses) / math.log(2)
            print(f"step {step + 1}/{steps}: {bits:.3f} bits per character, {seconds:.0f} s", flush=True)
            losses = []
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state | {"step": step + 1, "seconds": seconds}, path.with_suffix(".new"))
            path.with_suffix(".new").rename(path)
    return seconds


@torch.no_grad()
def evaluate(model, tokens):
    """Returns the bits of each scored token, and how often each layer chose each expert for one.

    Windows overlap by half and score their second half: all tokens from SCORED_FROM on, up to the
    last whole window.
    """
    model.eval()
    config = model.config
    bits = []
    load = torch.zeros(config.num_hidden_layers, config.num_local_experts, dtype=torch.int64)
    for windows in torch.from_numpy(tokens).unfold(0, CONTEXT + 1, CONTEXT // 2).split(BATCH):
        output = model(windows[:, :-1], use_cache=False, output_router_logits=True)
        logits, targets = output.logits[:, SCORED_FROM - 1 :], windows[:, SCORED_FROM:]
        bits.append(F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none"))
        for layer, router in enumerate(output.router_logits):
            router = router.view(len(windows), CONTEXT, -1)[:, SCORED_FROM - 1 :]
            chosen = router.topk(config.num_experts_per_tok).indices
            load[layer] += torch.bincount(chosen.flatten(), minlength=config.num_local_experts)
    return torch.cat(bits).numpy() / math.log(2), load.numpy()


def sample(model, prompt, length):
    torch.manual_seed(SEED)
    inputs = torch.from_numpy(encode(prompt))[None]
    tokens = model.generate(inputs, max_new_tokens=length, do_sample=True, temperature=0.7, top_k=0)
    return decode(tokens[0].tolist())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="written every 100 steps")
    parser.add_argument("--steps", type=int, default=4000, help="optimizer steps (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (%(default)s)")
    parser.add_argument("--metrics", type=Path, default=HERE / "metrics.json", help="(%(default)s)")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    training, held_out = load_tokens()
    print(f"{len(training)} characters for training, {len(held_out)} held out", flush=True)

    model = build_model(attention="sdpa", experts="grouped_mm", seed=SEED)
    seconds = train(model, training, args.steps, args.checkpoint)

    bits, load = evaluate(model, held_out)
    score = float(bits.mean())
    scored = held_out[SCORED_FROM - (NGRAM_ORDER - 1) : SCORED_FROM + len(bits)]
    baseline = ngram.bits_per_character(training, scored, NGRAM_ORDER, len(VOCABULARY))
    relative = load / load.mean(axis=1, keepdims=True)
    print(f"bits per character: model {score:.3f}, {NGRAM_ORDER}-gram {baseline:.3f}")
    for layer, row in enumerate(relative):
        print(f"layer {layer}, load / mean load:", *(f"{value:.2f}" for value in row))
    text = sample(model, PROMPT, 230)
    print(text)
    metrics = {
        "text": PACKAGE,
        "held_out": HELD_OUT,
        "characters": {"training": len(training), "held_out": len(held_out), "scored": len(bits)},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": args.steps,
        "characters_seen": args.steps * BATCH * CONTEXT,
        "seconds": round(seconds),
        "bits_per_character": {"model": round(score, 4), "5-gram": round(baseline, 4)},
        "expert_load_over_mean": relative.round(3).tolist(),
        "busiest_expert_over_mean": relative.max(axis=1).round(3).tolist(),
        "sample": {"prompt": PROMPT, "temperature": 0.7, "text": text},
    }
    args.metrics.write_text(json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    main()
