"""seeds.py TARGET FOLDER: writes the first inputs of a fuzzer, and words.dict where words help."""

import json
import os
import re
import struct
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MOST = 64 << 10  # what is larger makes each run slow


def put(folder, name, content):
    if len(content) <= MOST:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)


def put_words(folder, words):
    with open(os.path.join(folder, "words.dict"), "w") as file:
        file.writelines(f'"{word}"\n' for word in sorted(words) if len(word) < 60 and not set(word) & set('"\\'))


def models(folder):
    """The importer's models and those of the sparse forms, and each hostile one that is small."""
    sys.path[:0] = [os.path.join(ROOT, "test/Import/ONNX/Inputs"), os.path.join(ROOT, "test/Inputs")]
    import hostile_cases
    import hostile_operators  # noqa: F401
    import models as small
    import sparse_models

    for name in ("graph", "constants", "subgraphs", "functions", "versions", "types", "defaults", "contrib", "definitions"):
        put(folder, name, getattr(small, name)(folder).SerializeToString())
    decoder = sparse_models.Decoder(layers=1, vocab=5, hidden=8, heads=2, kv_heads=1, depth=4, inter=4, experts=3)
    put(folder, "decoder", decoder.graph().model().SerializeToString())
    for case in hostile_cases.CASES:
        put(folder, case.name, case.write(folder).SerializeToString())


def layers(folder):
    """The same, and sparse layers: each form of experts, each router, and each layout of the weights."""
    models(folder)
    import moe_forms as forms
    import numpy as np
    import sparse_models

    layouts = [dict(parts="halves", layout="gemm", bias=True), dict(parts="interleaved", activation="gelu"), dict(shared=True),
               dict(parts="none", layout="transpose", activation="relu"), dict(stacked=True, bias=True)]  # fmt: skip
    routers = [*forms.ROUTERS, *forms.LIMITED_ROUTERS]
    # In this order forms that are large with 8 experts meet the routers that need no more than 3.
    for i, form in enumerate(([*forms.EXPERTS][::-1] * 2)[:11]):
        layout, router = dict(layouts[i % len(layouts)]), routers[i % len(routers)]
        if form in ("all", "broadcast", "grouped"):
            layout.pop("layout", None)
        graph = sparse_models.Graph()
        graph.input("x", ["batch", "sequence", 3])
        count = 8 if router in forms.LIMITED_ROUTERS else 3
        y, _ = forms.add_layer(graph, np.random.default_rng(i), 3, 2, count, k=2, router=router, form=form, **layout)
        graph.output("y", y, ["batch", "sequence", 3])
        put(folder, f"{form}_{i}", graph.model().SerializeToString())


def modules(folder):
    """The MLIR of the tests, split where they are."""
    count, words = 0, set()
    for where in ("Dialect", "Conversion"):
        for base, _, files in os.walk(os.path.join(ROOT, "test", where)):
            for name in sorted(files):
                if not name.endswith(".mlir"):
                    continue
                with open(os.path.join(base, name), encoding="utf-8") as file:
                    text = file.read()
                for part in text.split("// -----"):
                    part = "".join(line + "\n" for line in part.splitlines() if not line.lstrip().startswith("//"))
                    put(folder, f"{count:04}", part.encode())
                    words.update(re.findall(r"[a-z_]+\.[a-z_.]+|[a-z_]{3,}|tensor<[^>]*>|[a-z]*[0-9]+", part))
                    count += 1
    put_words(folder, words)


def runtime(folder):
    """A descriptor and a weight file, as Descriptor.h and WeightFormat.h in include/moe/Runtime lay them out."""
    strings = b"\0name\0avx2\0x\0tokens\0node\0Op\0message\0"
    at = lambda text: strings.index(b"\0" + text) + 1
    dims = struct.pack("<qII", -1, at(b"tokens"), 0) + struct.pack("<qII", 8, 0, 0)
    tables = [
        (1, struct.pack("<IiII", at(b"x"), 1, 2, 0)),  # inputs
        (1, struct.pack("<IiII", at(b"name"), 1, 2, 0)),  # outputs
        (2, dims),
        (1, struct.pack("<IIII", 0, 0, 0, 0)),  # caches
        (1, struct.pack("<IIIIQ", at(b"name"), 8, 2, 0, 4096)),  # expert layers
        (1, struct.pack("<IIII", at(b"node"), at(b"Op"), at(b"message"), 0)),  # sites
        (1, struct.pack("<II", at(b"node"), 0)),  # regions
        (1, struct.pack("<II", at(b"node"), at(b"name"))),  # metadata
        (len(strings), strings),
    ]
    size = 8 + 4 + 4 + 3 * 8 + 2 * 4 + len(tables) * 8
    header, body = b"", b""
    for count, content in tables:
        header += struct.pack("<II", size + len(body), count)
        body += content + bytes(-len(content) % 8)
    head = struct.pack("<8sIIQQQII", b"MOEDESC", 1, size, size + len(body), 1 << 20, 7, at(b"name"), at(b"avx2"))
    put(folder, "descriptor", head + header + body)

    names = b"first\0second\0"
    data = bytes(range(256)) * 2
    table = struct.pack("<QQQQ", 0, 256, 0, 0) + struct.pack("<QQQQ", 256, 256, 0, 6)
    where = 4096 + len(data)
    total = where + len(table) + len(names)
    header = struct.pack("<8sIIQQQQQQQQ", b"MOEWGHT", 1, 80, total, len(data), 2, where, where + len(table), len(names), 0, 0)
    put(folder, "weights", header.ljust(4096, b"\0") + data + table + names)


def safetensors(folder):
    """Files of each type, with empty tensors and scalars, and each thing that a reader refuses."""

    def file(entries, data=None, length=None, metadata=None):
        """A file of [name, dtype, shape, begin, end], or of any text as header."""
        text = entries
        if not isinstance(entries, str):
            header = {"__metadata__": metadata} if metadata else {}
            for name, dtype, shape, begin, end in entries:
                header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
            text = json.dumps(header)
            data = bytes(max([entry[4] for entry in entries], default=0)) if data is None else data
        text = text.encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + (data or b"")

    bits = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
            "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
            "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}  # fmt: skip
    one = ["w", "F32", [2, 3], 0, 24]
    put(folder, "empty", file([]))
    put(folder, "padded", file(json.dumps({}) + " " * 30))
    put(folder, "metadata", file([one], metadata={"format": "pt", "\u00e9": "\\"}))
    put(folder, "layer", file([["a.weight", "BF16", [2, 2], 0, 8], ["a.bias", "F32", [], 8, 12], ["none", "I64", [0, 7], 12, 12]]))
    put(folder, "experts", file([[f"experts.{i}.w{j}", "F8_E4M3", [4, 1, 2], 24 * i + 8 * j, 24 * i + 8 * j + 8]
                                 for i in range(4) for j in range(3)]))  # fmt: skip
    for name, size in bits.items():
        put(folder, "type_" + name, file([["w", name, [4, 2], 0, size]]))
    for name, content in {
        "gap": file([one, ["v", "U8", [1], 25, 26]]),
        "overlap": file([one, ["v", "U8", [1], 23, 24]]),
        "reversed": file([["w", "U8", [1], 2, 1]], data=b"12"),
        "behind": file([one], data=bytes(30)),
        "short": file([one], data=bytes(3)),
        "wrap": file([["w", "F32", [2**32, 2**32], 0, 0]]),
        "half": file([["w", "F4", [3], 0, 1]]),
        "negative": file([["w", "U8", [-1], 0, 1]]),
        "float": file('{"w":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1e0]}}', b"1"),
        "huge": file("{}", length=1 << 62),
        "twice": file('{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"),
        "deep": file("[" * 50),
        "unknown": file('{"w":{"dtype":"U9","shape":[1],"data_offsets":[0,1],"more":{}}}', b"1"),
        "text": file(chr(0xFFFD) + "{"),
    }.items():
        put(folder, name, content)
    put_words(folder, {*bits, "dtype", "shape", "data_offsets", "__metadata__", "18446744073709551615", "9223372036854775808"})


def ptx(folder):
    inputs = os.path.join(ROOT, "test/Simulator/Inputs")
    words = set()
    for name in sorted(os.listdir(inputs)):
        if name.endswith(".ptx"):
            with open(os.path.join(inputs, name), "rb") as file:
                content = file.read()
            words.update(re.findall(rb"[.%]?[a-z_][a-z_0-9.:]{2,30}", content))
            put(folder, name, content)
            # The prologue with a few instructions each: small inputs are mutated fastest.
            lines = content.split(b"\n")
            body = next((i for i, line in enumerate(lines) if line.startswith(b"{")), 0) + 1
            for start in range(body, len(lines), 40):
                put(folder, f"{name}.{start}", b"\n".join(lines[:body] + lines[start : start + 40] + [b"ret;", b"}"]))
    put_words(folder, {word.decode() for word in words})


if __name__ == "__main__":
    target, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    {"import": models, "raise": layers, "module": modules, "runtime": runtime, "safetensors": safetensors, "ptx": ptx}[target](folder)
