# What the build pins and takes from the distribution; what it takes from PyPI is
# in utils/requirements.txt. utils/setup reads this file too: keep each entry a
# plain set(NAME "value") with the value on one line.
set(MOE_LLVM_MAJOR 22)
set(MOE_APT_COMPILER "clang-22 lld-22 llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools libomp-22-dev liblld-22-dev libclang-rt-22-dev g++")
set(MOE_APT_LIBRARIES "libprotobuf-dev protobuf-compiler libgtest-dev zlib1g-dev libzstd-dev libicu-dev nlohmann-json3-dev")
set(MOE_APT_TOOLS "ninja-build ccache git ca-certificates python3 python3-venv python3-dev")

file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/../utils/requirements.txt" moe_onnx_pin REGEX "^onnx==")
string(REGEX REPLACE "^onnx==([0-9.]+).*" "\\1" MOE_ONNX_VERSION "${moe_onnx_pin}")
