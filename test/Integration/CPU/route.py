# moe.route against numpy in float64: every attribute, sizes, types, special
# values.
#
# REQUIRES: python-numpy, python-ml_dtypes, x86_64
# RUN: %python %s %t

import itertools
import sys

import numpy as np
from compiled import DTYPES, compile, function, stored

DEFAULTS = dict(
    score="softmax", position="before_selection", bias=False, renormalize=False, eps=0.0, scale=1.0,
    tie="lowest_index", nan="largest", groups=1, kept=1, top=1, fill=None, weigh="score", threshold=None, floor=None,
)  # fmt: skip


def recipe(k, **changes):
    return {**DEFAULTS, "k": k, **changes}


def attributes(r):
    text = [f"k = {r['k']} : i64", f"score = #moe.score<{r['score']}>", f"position = #moe.position<{r['position']}>"]
    if r["renormalize"]:
        text += ["renormalize", f"renormalize_epsilon = {r['eps']:e} : f32"]
    text += [f"scale = {r['scale']:e} : f32", f"tie_break = #moe.tie_break<{r['tie']}>", f"nan = #moe.nan<{r['nan']}>"]
    text += [f"n_group = {r['groups']} : i64", f"topk_group = {r['kept']} : i64", f"group_top = {r['top']} : i64"]
    text += [f"weigh_by = #moe.weigh_by<{r['weigh']}>"]
    for name, value in (("group_fill", r["fill"]), ("mixer_threshold", r["threshold"]), ("renormalize_floor", r["floor"])):
        if value is not None:  # as its bits, for infinities
            text += [f"{name} = {np.float32(value).view(np.uint32):#010x} : f32"]
    return "{" + ", ".join(text) + "}"


def module(recipes, experts, dtype="f32"):
    logits, body, results = f"tensor<?x{experts}x{dtype}>", [], []
    for i, r in enumerate(recipes):
        weights, chosen = f"tensor<?x{r['k']}x{dtype}>", f"tensor<?x{r['k']}xi32>"
        bias = f" bias(%bias : tensor<{experts}xf32>)" if r["bias"] else ""
        body.append(f"  %out_w{i}, %out_e{i} = moe.route %logits{bias} {attributes(r)} : {logits} -> {weights}, {chosen}")
        results += [(f"w{i}", weights), (f"e{i}", chosen)]
    return function([("logits", logits), ("bias", f"tensor<{experts}xf32>")], results, "\n".join(body))


# ---- The definition, in float64 ---------------------------------------------


def score(x, kind):
    if kind in ("none", "sparse_mixer"):
        return x
    if kind == "sigmoid":
        return 1.0 / (1.0 + np.exp(-x))
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def order(values, r):
    """Indices of `values`, best first."""
    n = len(values)
    nan = np.isnan(values)
    key = np.where(nan, np.inf if r["nan"] == "largest" else -np.inf, values)
    above = np.where(nan, 1 if r["nan"] == "largest" else -1, 0)  # NaN beyond infinities
    ties = np.arange(n) if r["tie"] == "lowest_index" else -np.arange(n)
    return np.lexsort((ties, -key, -above))


def limit(values, r):
    """The values that experts are compared by, and which stand for choice."""
    allowed = np.arange(len(values))
    if r["groups"] > 1:
        parts = values.reshape(r["groups"], -1)
        with np.errstate(invalid="ignore"):
            sums = np.array([part[order(part, r)[: r["top"]]].sum() for part in parts])
        kept = np.sort(order(sums, r)[: r["kept"]])
        allowed = np.concatenate([np.arange(parts.shape[1]) + g * parts.shape[1] for g in kept])
        if r["fill"] is not None:
            filled = np.full(len(values), float(np.float32(r["fill"])))
            filled[allowed] = values[allowed]
            return filled, np.arange(len(values))
    return values, allowed


def select(values, r):
    values, allowed = limit(values, r)
    return allowed[order(values[allowed], r)[: r["k"]]]


def mixer_weights(s, experts, threshold):
    """The share of each choice among those that are left and near it."""
    left, weights = np.ones(len(s), bool), []
    for e in experts:
        far = (s[e] - s) / np.maximum(np.abs(s), s[e]) > np.float32(threshold)
        weights.append(1 / np.exp(s - s[e])[left & ~far].sum())
        left[e] = False
    return weights


def oracle(logits, bias, r, chosen=None):
    """Weights and experts; with `chosen`, the weights of that choice."""
    x = logits.astype(np.float64)
    before = r["position"] == "before_selection"
    s = score(x, r["score"]) if before else x
    values = s + bias if r["bias"] else s
    experts = np.array([select(v, r) for v in values], np.int32).reshape(len(x), r["k"])
    used = experts if chosen is None else chosen
    weighed = s
    if r["weigh"] == "compared":
        weighed = np.array([limit(v, r)[0] for v in values]).reshape(values.shape)
    w = np.take_along_axis(weighed, used, axis=1)
    if r["score"] == "sparse_mixer":
        w = np.array([mixer_weights(*row, r["threshold"]) for row in zip(x, used)]).reshape(w.shape)
    if not before and len(w):
        w = score(w, r["score"])
    if r["renormalize"]:
        total = w.sum(axis=1, keepdims=True) + np.float32(r["eps"])
        w = w / (total if r["floor"] is None else np.maximum(total, np.float32(r["floor"])))
    return w * np.float32(r["scale"]), experts, values


def check(outputs, i, logits, bias, r, dtype="f32", exact=False):
    weights, experts = outputs[f"w{i}"].astype(np.float64), outputs[f"e{i}"]
    where = f"{r} E={logits.shape[1]} T={len(logits)} {dtype}"
    with np.errstate(all="ignore"):
        expected, best, values = oracle(logits, bias, r, experts)
    assert experts.shape == best.shape and weights.shape == best.shape, where
    assert ((experts >= 0) & (experts < logits.shape[1])).all(), where
    for t in np.flatnonzero((experts != best).any(axis=1)):
        # Only what float32 cannot tell apart may be chosen differently.
        a, b = values[t][experts[t]], values[t][best[t]]
        close = not exact and r["groups"] == 1 and np.allclose(a, b, rtol=3e-6, atol=1e-37)
        assert close, f"{where}\nrow {t}: {experts[t]} for {best[t]}\n{values[t]}"
        assert len(set(experts[t])) == r["k"], where
    tolerance = {"f32": 2e-6, "f64": 2e-6, "f16": 1e-3, "bf16": 8e-3}[dtype]
    floor = {"f16": 6e-8}.get(dtype, 1e-37)
    scale = abs(r["scale"]) if r["score"] != "none" else 1.0
    with np.errstate(all="ignore"):
        expected = stored(expected, dtype).astype(np.float64)
        condition = 1.0
        if r["renormalize"]:  # a sum that cancels is as uncertain as its terms are large
            s = np.take_along_axis(values, experts, axis=1) if r["score"] == "none" else np.ones((len(values), 1))
            condition = np.abs(s).sum(axis=1, keepdims=True) / np.maximum(np.abs(s.sum(axis=1, keepdims=True)), 1e-30)
        error = np.abs(weights - expected) > tolerance * np.abs(expected) * condition + floor * max(scale, 1)
    error |= np.isnan(weights) != np.isnan(expected)
    error &= ~((weights == expected) | (np.isnan(weights) & np.isnan(expected)))
    assert not error.any(), f"{where}\n{weights[error][:5]}\n{expected[error][:5]}"


def run(folder, name, recipes, experts, inputs, dtype="f32", exact=False):
    model = compile(module(recipes, experts, dtype), folder, name)
    random = np.random.default_rng(experts)
    for logits in inputs(random):
        logits = stored(logits, dtype)
        bias = stored(random.choice([-0.5, 0.0, 0.25, 1.0], experts) if exact else random.standard_normal(experts), "f32")
        one, two = (model.run(threads, logits=logits, bias=bias) for threads in (1, 2))
        for key in one:
            assert one[key].tobytes() == two[key].tobytes(), f"{name} {key}: threads"
        if len(logits) > 2:  # a row alone gives the same bits
            alone = model.run(1, logits=logits[1:2], bias=bias)
            for key in alone:
                assert alone[key].tobytes() == one[key][1:2].tobytes(), f"{name} {key}: alone"
        for i, r in enumerate(recipes):
            check(one, i, logits, bias, r, dtype, exact)


def batches(experts, spread=2.0):
    def make(random):
        for tokens in (0, 1, 2, 17, 129):
            yield random.standard_normal((tokens, experts)) * spread

    return make


def main(folder):
    # Every score, position, bias and grouping; the others take turns.
    groupings = [dict(), dict(groups=4, kept=2, top=2), dict(groups=2, kept=1, top=1), dict(groups=8, kept=3, top=2)]
    others = itertools.cycle(
        dict(zip(("renormalize", "eps", "scale", "tie", "nan"), values))
        for values in itertools.product(
            *[[(False, 0.0), (True, 0.0), (True, 1e-3)], [1.0, 2.5], ["lowest_index", "highest_index"], ["largest", "smallest"]]
        )
        for values in [(*values[0], *values[1:])]
    )
    crossed = [
        recipe(4, score=s, position=p, bias=b, **g, **next(others))
        for s, p, b, g in itertools.product(
            ["softmax", "sigmoid", "none"], ["before_selection", "after_selection"], [False, True], groupings
        )
    ]
    run(folder, "attributes", crossed, 16, batches(16))

    # Exact ties, and values that no order knows: every tie-break and NaN rule.
    special = [
        recipe(3, score=s, position=p, tie=t, nan=n, bias=b, **g)
        for s, p, t, n, b, g in itertools.product(
            ["none", "sigmoid"], ["before_selection"], ["lowest_index", "highest_index"], ["largest", "smallest"],
            [False], [dict(), dict(groups=4, kept=2, top=2)],
        )
    ] + [recipe(3, position=p, tie=t, nan=n) for p in ("before_selection", "after_selection")
         for t, n in itertools.product(["lowest_index", "highest_index"], ["largest", "smallest"])]  # fmt: skip

    def odd(random):
        yield np.zeros((3, 16))
        yield random.integers(-2, 3, (129, 16)).astype(float)
        nan, inf = np.nan, np.inf
        rows = [[nan] * 16, [inf] * 16, [-inf] * 16, [nan] + [inf] * 15, [-inf] * 15 + [nan], [3e38] * 8 + [-3e38] * 8]
        yield np.array(rows)
        x = random.integers(-2, 3, (129, 16)).astype(float)
        for value in (nan, inf, -inf, 0.0, -0.0):
            x[random.random(x.shape) < 0.1] = value
        yield x

    # Experts of dropped groups that stand for choice with another value, and weights that are what was compared.
    special += [
        recipe(k, score=s, tie=t, nan=n, fill=fill, weigh=w, bias=w == "compared", groups=4, kept=kept, top=2)
        for (k, kept), fill, t, s, n, w in zip(
            itertools.cycle([(3, 2), (9, 2), (16, 3), (5, 1)]), [0.0, -np.inf, 0.25, np.inf, -1.0, -0.0, 0.0, -np.inf] * 2,
            itertools.cycle(["lowest_index", "highest_index", "lowest_index"]), itertools.cycle(["none"]),
            itertools.cycle(["largest", "smallest", "largest", "largest", "smallest"]), ["score"] * 8 + ["compared"] * 8)
    ]  # fmt: skip
    run(folder, "special", special, 16, odd, exact=True)

    # The same with other scores, where a choice may differ by rounding.
    run(folder, "fill", [
        recipe(k, score=s, bias=b, fill=f, weigh=w, groups=g, kept=1, top=t, renormalize=n, position=p)
        for k, s, b, f, w, (g, t), n, p in zip(
            itertools.cycle([1, 4, 15]), itertools.cycle(["sigmoid", "softmax"]), itertools.cycle([True, True, False]),
            itertools.cycle([0.0, -1.0, 0.5]), itertools.cycle(["score", "score", "compared"]), [(3, 2), (5, 3), (15, 1), (3, 5)] * 4,
            itertools.cycle([False, True]), itertools.cycle(["before_selection"] * 3 + ["after_selection"]))
    ], 15, batches(15))  # fmt: skip

    # A sum that is at least something: never, sometimes, always reached.
    run(folder, "floor", [recipe(k, score=s, renormalize=True, floor=f, eps=e, scale=2.5) for (k, s), f, e in itertools.product(
        [(1, "softmax"), (3, "sigmoid"), (2, "none")], [0.0, 0.6, 100.0], [0.0, 1e-3])], 7, batches(7))  # fmt: skip

    # SparseMixer: each threshold and k, values far apart, close, equal, of either sign.
    def near(random):
        for tokens in (0, 1, 17, 129):
            yield random.standard_normal((tokens, 13)) * 2
            yield 5 + random.standard_normal((tokens, 13)) / 16
            yield random.integers(-2, 3, (tokens, 13)).astype(float)
        yield np.zeros((3, 13))

    run(folder, "mixer", [recipe(k, score="sparse_mixer", threshold=t, renormalize=n)
                          for k, t, n in zip((1, 2, 2, 2, 5, 13, 2), (0.02, 0.02, 0.3, 0.0, 0.1, 0.51, 100.0), [False] * 6 + [True])],
        13, near)  # fmt: skip

    # Every k, and numbers of experts that are no power of two.
    for experts in (1, 2, 3, 8):
        ks = range(1, experts + 1)
        recipes = [recipe(k, renormalize=True) for k in ks] + [recipe(k, score="sigmoid", bias=True) for k in ks]
        run(folder, f"k_{experts}", recipes, experts, batches(experts))
    for experts, dtype in ((5, "f64"), (33, "f16"), (60, "bf16"), (128, "f32"), (64, "f64"), (16, "f16")):
        if dtype not in DTYPES:
            continue
        ks = sorted({1, 2, min(8, experts), experts})
        recipes = [recipe(k, score=s, position=p) for k in ks for s, p in
                   (("softmax", "before_selection"), ("softmax", "after_selection"), ("sigmoid", "before_selection"))]  # fmt: skip
        run(folder, f"many_{experts}_{dtype}", recipes, experts, batches(experts, 1.0), dtype)


main(sys.argv[1])
