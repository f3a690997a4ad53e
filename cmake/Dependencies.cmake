# LLVM and MLIR come from the distribution as shared libraries: an out-of-tree
# dialect links in seconds that way.
# (Its version file accepts only an equal major.minor, hence the check by hand.)
find_package(MLIR QUIET CONFIG
  HINTS "/usr/lib/llvm-${MOE_LLVM_MAJOR}/lib/cmake/mlir")
if(NOT MLIR_FOUND OR NOT LLVM_VERSION_MAJOR EQUAL MOE_LLVM_MAJOR)
  message(FATAL_ERROR
    "MLIR ${MOE_LLVM_MAJOR} is required, found '${LLVM_PACKAGE_VERSION}': install libmlir-${MOE_LLVM_MAJOR}-dev "
    "and mlir-${MOE_LLVM_MAJOR}-tools (utils/setup does it), or pass "
    "-DMLIR_DIR=<prefix>/lib/cmake/mlir")
endif()
if(NOT TARGET MLIR OR NOT TARGET LLVM)
  message(FATAL_ERROR
    "${MLIR_DIR} has no shared libMLIR/libLLVM: an LLVM built with "
    "LLVM_BUILD_LLVM_DYLIB=ON and MLIR_BUILD_MLIR_C_DYLIB=ON is required")
endif()
message(STATUS "MLIR ${LLVM_PACKAGE_VERSION}: ${MLIR_DIR}")

find_program(MOE_MLIR_TBLGEN mlir-tblgen REQUIRED
  HINTS "${LLVM_TOOLS_BINARY_DIR}" NO_DEFAULT_PATH)

# The virtual environment of utils/setup first, then whatever Python is active.
if(NOT Python3_EXECUTABLE AND EXISTS "${CMAKE_SOURCE_DIR}/build/venv/bin/python3")
  set(Python3_EXECUTABLE "${CMAKE_SOURCE_DIR}/build/venv/bin/python3")
endif()
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)

find_package(GTest QUIET)
find_package(Threads REQUIRED)
