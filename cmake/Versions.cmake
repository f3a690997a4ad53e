# Every version the build pins, in one place. `utils/setup` reads this file too:
# keep each entry a plain set(NAME value) on one line.
set(MOE_LLVM_MAJOR 22)
set(MOE_ONNX_VERSION 1.23.2)
