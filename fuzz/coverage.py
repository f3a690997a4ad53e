"""coverage.py ROOT REPORT: what a corpus reaches, folder by folder. REPORT is what libFuzzer prints with -print_coverage.

Edges are those of the optimised code: what is inlined from headers counts where it was inlined, with its paths that cannot
be reached from there, and so do the sanitizers' checks. 100 % is therefore out of reach; functions never called and
folders far below others are what to look for."""

import collections
import os
import re
import sys

LINE = re.compile(r"(?:UN)?COVERED_FUNC: hits: (\d+) edges: (\d+)/(\d+) .* (/\S+):\d+$")


def main(root, report):
    folders = collections.defaultdict(lambda: [0, 0, 0, 0])
    with open(report, encoding="utf-8", errors="replace") as file:
        for line in file:
            found = LINE.match(line.rstrip())
            if not found:
                continue
            hits, reached, edges = (int(number) for number in found.groups()[:3])
            path = os.path.relpath(os.path.normpath(found[4]), root)
            if not path.startswith(("lib/", "include/")):
                continue
            for folder in (os.path.dirname(path), "all"):
                counts = folders[folder]
                counts[0] += hits > 0
                counts[1] += 1
                counts[2] += reached
                counts[3] += edges
    if not folders:
        sys.exit("no function of the project in the report: is llvm-symbolizer installed?")
    width = max(map(len, folders))
    print(f"{'folder':{width}}  functions         edges")
    for folder in sorted(folders, key=lambda name: (name == "all", name)):
        called, functions, reached, edges = folders[folder]
        print(f"{folder:{width}}  {called:5} of {functions:5}  {reached:6} of {edges:6}  {100 * reached / edges:3.0f} %")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), sys.argv[2])
