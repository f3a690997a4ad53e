"""Writes inputs of the hand-written decoder model, with what it should answer."""

import sys

import numpy as np

folder = sys.argv[1]
random = np.random.default_rng(0)


def decoder(batch, seq, past):
    x = random.standard_normal((batch, seq, 4)).astype(np.float32)
    ids = random.integers(0, 50, (batch, seq))
    mask = np.arange(seq) % 2 == 0
    old = random.standard_normal((batch, 2, past, 3)).astype(np.float32)
    weights = np.array([1, 2, 3, 4], np.float32)
    new = np.stack([x[..., :3], 2 * x[..., :3]], 1)
    inputs = {"x": x, "ids": ids, "mask": mask, "past": old}
    outputs = {
        "y": x * weights + ids[..., None].astype(np.float32),
        "present": np.concatenate([old, new], 2),
        "picked": ids[:, mask].reshape(-1),
    }
    return inputs, outputs


def save(name, inputs, outputs):
    arrays = {"in:" + k: v for k, v in inputs.items()}
    arrays.update({"out:" + k: v for k, v in outputs.items()})
    np.savez_compressed(f"{folder}/{name}.npz", **arrays)


inputs, outputs = decoder(2, 3, 5)
save("case", inputs, outputs)
save("single", *decoder(1, 1, 0))
np.savez(f"{folder}/plain.npz", **inputs)
np.save(f"{folder}/x.npy", np.asfortranarray(inputs["x"]))
np.save(f"{folder}/y.npy", outputs["y"])

save("wrong", inputs, dict(outputs, y=outputs["y"] + (np.arange(24) == 7).reshape(2, 3, 4)))
save("renamed", {("z" if k == "x" else k): v for k, v in inputs.items()}, {})
save("missing", {k: v for k, v in inputs.items() if k != "mask"}, {})
save("dtype", dict(inputs, ids=inputs["ids"].astype(np.int32)), {})
save("rank", dict(inputs, ids=inputs["ids"][0]), {})
save("static", dict(inputs, x=inputs["x"][..., :3]), {})
save("symbol", dict(inputs, mask=np.ones(7, bool)), {})
save("range", dict(inputs, ids=inputs["ids"] + 200), {})
np.save(f"{folder}/big_endian.npy", inputs["x"].astype(">f4"))
open(f"{folder}/truncated.npz", "wb").write(open(f"{folder}/case.npz", "rb").read()[:-40])
