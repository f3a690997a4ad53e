# How lit finds and runs the tests below this folder, which mirrors lib/.

import glob
import importlib.util
import os
import platform
import shutil
import subprocess

import lit.formats

config.name = "MoE-MLIR"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".py", ".test", ".c"]
config.excludes = ["Inputs", "Unit", "lit.cfg.py", "lit.site.cfg.py", "CMakeLists.txt"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.moe_obj_root, "test")

# A hung test must not eat the whole run; lit needs psutil to end one.
if importlib.util.find_spec("psutil"):
    config.maxIndividualTestTime = 600

# ---- What a RUN line may say ------------------------------------------------
path = os.pathsep.join(
    [config.moe_tools_dir, config.llvm_tools_dir, config.environment.get("PATH", "")]
)
config.environment["PATH"] = path
config.environment["PYTHONPATH"] = os.pathsep.join(
    [
        os.path.join(config.moe_obj_root, "python"),
        os.path.join(config.test_source_root, "Inputs"),
    ]
)
# Two tests run at once, and the machine may have two cores only.
config.environment["OMP_NUM_THREADS"] = "2"
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

# Tools that do not exist yet are left as they are: a test that needs one fails.
# FileCheck, not and count come from LLVM, by path: `not` must never be a stray.
tools = {
    name: config.moe_tools_dir
    for name in ("moe-opt", "moe-translate", "moe-compile", "moe-run", "moe-sim", "moe-lsp-server")
}
tools.update(
    {name: config.llvm_tools_dir for name in ("FileCheck", "not", "count", "split-file", "llvm-objdump", "llvm-readelf", "llvm-nm")}
)
for name, folder in tools.items():
    # A whole word, not a part of a path, a flag or an underscored name.
    pattern = r"(?<![\w/.%-])" + name + r"(?![\w/.-])"
    config.substitutions.append((pattern, os.path.join(folder, name)))

config.substitutions += [
    ("%python", '"%s"' % config.python),
    ("%cmake", config.cmake),
    ("%host_cc", config.host_cc),
    ("%host_cxx", config.host_cxx),
    ("%llvm_lib", os.path.join(os.path.dirname(config.llvm_tools_dir), "lib")),
    ("%moe_src", config.moe_src_root),
    ("%moe_obj", config.moe_obj_root),
]

# ---- What a REQUIRES line may say -------------------------------------------
config.available_features.add(platform.machine().lower().replace("amd64", "x86_64"))
if config.moe_sanitize:
    config.available_features.add("sanitizer")
    # Our code poisons what is free in the arenas (llvm::BumpPtrAllocator) that it shares with libMLIR, which has no
    # sanitizer and uses them without lifting that.
    options = config.environment.get("ASAN_OPTIONS")
    config.environment["ASAN_OPTIONS"] = ":".join(filter(None, ["allow_user_poisoning=0", options]))


# utils/fuzz --build makes them, in a build of their own.
fuzzers = os.path.join(config.moe_obj_root, "fuzzers/bin")
config.substitutions.append(("%moe_fuzzers", fuzzers))
if os.path.exists(os.path.join(fuzzers, "fuzz-raise")):
    config.available_features.add("fuzzers")


def cpu_flags():
    try:
        with open("/proc/cpuinfo") as info:
            for line in info:
                if line.startswith(("flags", "Features")):
                    return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()


for flag in cpu_flags() & {"avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16"}:
    config.available_features.add(flag)


# NVIDIA's assembler, as moe-compile looks for it.
wheel = os.path.join(config.moe_obj_root, "venv", "lib", "python3.*", "site-packages", "nvidia", "*", "bin", "ptxas")
if shutil.which("ptxas") or glob.glob(wheel) or os.path.exists("/usr/local/cuda/bin/ptxas"):
    config.available_features.add("ptxas")


def python_has(module, python=config.python):
    done = subprocess.run(
        [python, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec(%r) is None)" % module]
    )
    return done.returncode == 0


for module in ("numpy", "onnx", "onnxruntime", "ml_dtypes", "tokenizers"):
    if python_has(module):
        config.available_features.add("python-" + module)

# What examples/export_hf.py needs, in an environment of its own if MOE_TORCH_PYTHON names its interpreter.
torch_python = os.environ.get("MOE_TORCH_PYTHON") or config.python
config.substitutions.append(("%torch_python", '"%s"' % torch_python))
for module in ("torch", "transformers", "onnxscript"):
    if python_has(module, torch_python):
        config.available_features.add("python-" + module)
