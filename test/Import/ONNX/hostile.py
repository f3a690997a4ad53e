# Damaged, hostile and merely wrong models, made by Inputs/hostile_*.py: the compiler ends each with one line on the
# error output that says what is wrong, with exit code 1, no other file, and little memory.
# REQUIRES: python-onnx
# RUN: %python %S/Inputs/write_hostile.py %t && %python %s %t
import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

FOLDER = sys.argv[1]
# Of the processor; the clock may run much faster on a machine that has other things to do.
SECONDS, PATIENCE, MIB = 30, 500, 200
# The address space of a sanitized program is its shadow's.
SANITIZED = bool(os.environ.get("ASAN_OPTIONS"))


def run(name, expected):
    """What is wrong with how the compiler takes the file, and the memory and time that it needed."""
    folder = os.path.join(FOLDER, name)
    path, before = os.path.join(folder, "model.onnx"), sorted(os.listdir(folder))
    log = folder + ".log"
    with open(log, "wb") as err:
        process = subprocess.Popen(["moe-compile", path, "-o", os.path.join(folder, "out")], stdout=err, stderr=err)
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = usage.ru_utime + usage.ru_stime
    with open(log, "rb") as file:
        raw = file.read()
    os.remove(log)
    problems = []
    code = process.returncode
    if seconds > SECONDS or code == -9:
        problems.append(f"takes more than {SECONDS} s")
    elif code != 1:
        problems.append("is accepted" if code == 0 else f"ends with status {code}")
    try:
        message = raw.decode()
    except UnicodeDecodeError:
        message = raw.decode(errors="replace")
        problems.append("is not answered in UTF-8")
    if code == 1:
        if message.count("\n") != 1 or not message.endswith("\n") or not message.startswith(path + ": error: "):
            problems.append("expects one line about the file")
        if re.search(r"[\x00-\x09\x0b-\x1f\x7f]", message):
            problems.append("expects no control characters")
        said = message[len(path) + len(": error: ") :]
        for part in expected:
            if part not in said:
                problems.append(f"expects '{part}'")
    if sorted(os.listdir(folder)) != before:
        problems.append("leaves files behind")
    memory = usage.ru_maxrss / 1024
    if memory > MIB and not SANITIZED:
        problems.append(f"takes {memory:.0f} MiB, expects at most {MIB}")
    return [f"{name}: {problem}: {message.strip()[:400]}" for problem in problems], memory, seconds


def main():
    with open(os.path.join(FOLDER, "expected.json")) as file:
        expected = json.load(file)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda item: run(*item), expected.items()))
    bad = [problem for problems, _, _ in results for problem in problems]
    print(*bad, sep="\n")
    memory, seconds = max(r[1] for r in results), max(r[2] for r in results)
    print(f"{len(results)} files, {sum(bool(r[0]) for r in results)} wrong, at most {memory:.0f} MiB and {seconds:.1f} s of CPU time")
    sys.exit(bool(bad) or len(results) < 500)


main()
