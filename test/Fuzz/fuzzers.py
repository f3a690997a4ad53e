# A few seconds of each fuzzer over its seeds (utils/fuzz runs them for longer): none finds anything, and the report of
# what the inputs reach names the library.
# REQUIRES: fuzzers, python-onnx, python-numpy
# RUN: rm -rf %t && %python %s %moe_src %moe_fuzzers %t
import os
import re
import subprocess
import sys

source, fuzzers, folder = sys.argv[1:]
SECONDS = 8
bad = False
for target in ("import", "raise", "module", "runtime", "safetensors", "ptx"):
    program = os.path.join(fuzzers, "fuzz-" + target)
    seeds, corpus = os.path.join(folder, "seeds", target), os.path.join(folder, "corpus", target)
    os.makedirs(corpus)
    subprocess.run([sys.executable, os.path.join(source, "fuzz/seeds.py"), target, seeds], check=True)
    words = os.path.join(seeds, "words.dict")
    command = [program, corpus, seeds, f"-max_total_time={SECONDS}", "-timeout=60", "-rss_limit_mb=2048", "-print_final_stats=1",
               f"-artifact_prefix={folder}/{target}-", "-max_len=65536"]
    done = subprocess.run(command + ([f"-dict={words}"] if os.path.exists(words) else []), capture_output=True, text=True, errors="replace")
    runs = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
    print(f"{target}: {runs and runs.group(1)} runs, status {done.returncode}")
    if done.returncode:
        print(done.stderr[-6000:])
        bad = True
report = os.path.join(folder, "safetensors.coverage")
with open(report, "w") as file:
    command = [os.path.join(fuzzers, "fuzz-safetensors"), os.path.join(folder, "corpus/safetensors"), "-runs=0", "-print_coverage=1"]
    subprocess.run(command, stderr=file, check=True)
table = subprocess.run([sys.executable, os.path.join(source, "fuzz/coverage.py"), source, report], check=True, capture_output=True, text=True).stdout
print(table)
called = re.search(r"^lib/Import/Safetensors +(\d+) of +(\d+)", table, re.M)
bad |= not called or called[1] != called[2]
sys.exit(bad)
