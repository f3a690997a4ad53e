# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the benchmarks say about where they ran, and how their tables reach the documentation."""

import importlib.metadata
import os
import platform
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def add_file_options(parser, name, folder="<build>/benchmarks"):
    """Where the build lies, where a benchmark works, and where the figures of the table `name` go."""
    parser.add_argument("--build", default=f"{ROOT}/build", help="folder of the build")
    parser.add_argument("--dir", help=f"where models and what is compiled are kept ({folder})")
    parser.add_argument("--json", help=f"write all figures here (<dir>/{name}.json)")
    parser.add_argument("--markdown", nargs="?", const=f"{ROOT}/docs/Performance.md",
                        help="update the tables of this file (docs/Performance.md)")  # fmt: skip


def cpu_name():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def cache_bytes(level):
    folder = "/sys/devices/system/cpu/cpu0/cache"
    try:
        for index in sorted(os.listdir(folder)):
            at = f"{folder}/{index}"
            if index.startswith("index") and open(f"{at}/level").read().strip() == str(level):
                size = open(f"{at}/size").read().strip()
                return int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]]
    except OSError:
        pass
    return 0


def instruction_sets():
    with open("/proc/cpuinfo") as file:
        flags = next((line.split() for line in file if line.startswith("flags")), [])
    known = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"]
    return [flag for flag in known if flag in flags]


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit():
    try:
        run = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
        return run.stdout.strip() or None
    except OSError:
        return None


def environment(packages=("numpy", "onnx", "onnxruntime")):
    return {
        "commit": commit(),
        "cpu": cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "instruction_sets": instruction_sets(),
        "l3_bytes": cache_bytes(3),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def environment_line(env):
    cpu = f"{env['cpu']} ({', '.join(env['instruction_sets'])}; {env['l3_bytes'] >> 20} MiB L3), {env['cpus']} CPUs"
    packages = ", ".join(f"{name} {v}" for name, v in env["packages"].items() if v)
    return f"{cpu}, {env['system']}; {packages}; commit {env['commit']}"


def table(header, rows):
    """Markdown, aligned to be read as text too."""
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    line = lambda row: "| " + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))) + " |"
    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def add_plot_option(parser, name):
    parser.add_argument("--plot", nargs="?", const=f"{ROOT}/docs/plots/{name}.svg", metavar="FILE",
                        help=f"draw the figures into FILE (docs/plots/{name}.svg); needs matplotlib")  # fmt: skip


def check_plot(path):
    """Ends the program before anything is measured if plots cannot be drawn."""
    if path and not version("matplotlib"):
        raise SystemExit("--plot needs matplotlib: pip install matplotlib")


def plot(path, axes):
    """Draws `axes` beside each other, each a dictionary with the labels `x` and `y`, `lines` of name, xs, ys and
    the indices of points that stand for more than they show, and whether it is `logarithmic`."""
    import matplotlib

    matplotlib.use("Agg")
    # Text stays text, and the same figures make the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "moe", "font.size": 9})
    from matplotlib import pyplot

    figure, drawn = pyplot.subplots(1, len(axes), figsize=(5 * len(axes), 3.5))
    for axis, content in zip(drawn, axes):
        for name, xs, ys, at_least in content["lines"]:
            (line,) = axis.plot(xs, ys, "o-", label=name, markersize=4)
            for i in at_least:
                axis.annotate("more than ", (xs[i], ys[i]), ha="right", va="bottom", color=line.get_color())
        axis.set(xlabel=content["x"], ylabel=content["y"])
        if content.get("logarithmic"):
            axis.set(xscale="log", yscale="log")
            for scale in (axis.xaxis, axis.yaxis):
                scale.set_major_formatter("{x:,g}")
                scale.set_minor_formatter("")
        else:
            axis.set(xlim=(0, None), ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def image(path, text, document):
    """The plot as Markdown of `document`."""
    return f"\n\n![{text}]({os.path.relpath(path, os.path.dirname(os.path.abspath(document)))})" if path else ""


def update_markdown(path, name, text):
    """Replaces what lies between the markers of `name`."""
    with open(path) as file:
        document = file.read()
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if not pattern.search(document):
        raise SystemExit(f"{path}: no line '{begin}' followed by '{end}'")
    with open(path, "w") as file:
        file.write(pattern.sub(lambda _: f"{begin}\n{text.strip()}\n{end}", document))
