"""Runs moe-compile."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

from .errors import CompileError

logger = logging.getLogger("moe_mlir")

# What `--emit` adds to the output's name.
_SUFFIXES = {"lib": ".so", "exe": "", "obj": ".o", "asm": ".s", "llvm": ".ll", "mlir": ""}


def find_compiler() -> Path:
    """The moe-compile to use: $MOE_COMPILE, else the one of the build tree or the installed prefix that this package
    lies in, else the one on PATH. Raises CompileError when there is none."""
    if given := os.environ.get("MOE_COMPILE"):
        return Path(given)
    # <build>/python/moe_mlir and <prefix>/lib/python/moe_mlir both have a bin/ above them.
    for folder in list(Path(__file__).resolve().parents)[2:4]:
        candidate = folder / "bin" / "moe-compile"
        if os.access(candidate, os.X_OK):
            return candidate
    if found := shutil.which("moe-compile"):
        return Path(found)
    raise CompileError("cannot find moe-compile: expects it beside this package, on PATH or in MOE_COMPILE")


def compile(
    model: str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    target_cpu: str | None = None,
    emit: str = "lib",
    remarks: bool = False,
    compiler: str | os.PathLike | None = None,
    **options: str | bool | None,
) -> Path:
    """Compiles an ONNX model (or a module of an earlier phase) and returns the path of the result.

    output:      name of the results without suffix: `<output>.so`, `.weights`, `.h`, `.json`. Default: beside the
                 model, under its name. With `emit="mlir"` or the option `compile_to="<phase>"`, the file for the
                 module's text. Default: `<model>.<phase>.mlir`.
    target_cpu:  CPU to compile for (`native`, `x86-64-v3`, `znver4`, ...). Default: this machine's.
    emit:        `lib` (default), `exe`, `obj`, `asm`, `llvm` or `mlir`.
    remarks:     log why layers were not recognised, at level INFO of the logger `moe_mlir`.
    compiler:    the moe-compile to run instead of `find_compiler()`.
    options:     any other option of moe-compile, with underscores for dashes: `dump_phases="phases"`, `time=True`,
                 `messages="model.jsonl"` (all messages and remarks as JSON, one object per line).

    Raises CompileError with all that moe-compile said; no output files are left then.
    """
    if emit not in _SUFFIXES:
        raise CompileError(f"expects emit to be one of {', '.join(_SUFFIXES)}, got '{emit}'")
    model = os.fspath(model)
    phase = options.get("compile_to")
    if emit == "mlir" and phase in (None, "emit"):
        phase = "lower"
    elif phase == "emit":
        phase = None
    suffix = _SUFFIXES[emit] if phase is None else ""
    if output is not None and os.fspath(output) in ("", "-"):
        raise CompileError(f"expects output to be a file name, got '{output}'")
    if output is None:
        output = os.path.splitext(model)[0] + (f".{phase}.mlir" if phase is not None else "")
    output = os.fspath(output)
    options = {"emit": emit, "target_cpu": target_cpu, "remarks": remarks, **options}
    # A file "-x" is no option, and "-" is no standard input.
    files = [os.path.join(".", name) if name.startswith("-") else name for name in (model, output)]
    command = [os.fspath(compiler or find_compiler()), files[0], "-o", files[1]]
    for name, value in options.items():
        if value is True:
            command.append("--" + name.replace("_", "-"))
        elif value is not None and value is not False:
            command.append(f"--{name.replace('_', '-')}={value}")
    logger.debug("%s", command)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise CompileError(f"cannot run '{command[0]}': {error.strerror}") from None
    said = done.stderr.strip()
    if done.returncode < 0:
        raise CompileError(f"{said}\nmoe-compile was ended by signal {-done.returncode}".lstrip())
    if done.returncode:
        raise CompileError(said or f"moe-compile failed with exit status {done.returncode}")
    if said:
        logger.info("%s", said)
    return Path(output + suffix)
