set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
# Installed tools find libMLIR where it was linked from, and our own libraries
# beside them wherever the prefix has been moved to.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

option(MOE_PCH "Precompile the MLIR headers" ON)
option(MOE_WERROR "Treat warnings as errors" OFF)
option(MOE_FUZZ "Build the fuzzers, bin/fuzz-*" OFF)
set(MOE_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined")

# -fPIC for everything, executables too: one precompiled header then serves all.
add_compile_options(-fPIC -Wall -Wextra)
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-unused-parameter>)
if(MOE_WERROR)
  add_compile_options(-Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # Without the time stamp ccache finds the same header again after a rebuild.
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>")
  add_compile_options(-fcolor-diagnostics)
else()
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-comment>
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized> -fdiagnostics-color)
endif()
if(MOE_SANITIZE)
  add_compile_options(-fsanitize=${MOE_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${MOE_SANITIZE})
  # libMLIR/libLLVM carry no type information for the vptr check.
  add_compile_options(-fno-sanitize=vptr,function)
endif()

if(MOE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link) # counts what is executed
endif()

find_program(MOE_LLD NAMES ld.lld-${MOE_LLVM_MAJOR} ld.lld
  HINTS "/usr/lib/llvm-${MOE_LLVM_MAJOR}/bin")
if(MOE_LLD)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    add_link_options(--ld-path=${MOE_LLD})
  else()
    add_link_options(-fuse-ld=lld)
  endif()
endif()
add_link_options(-Wl,--gc-sections)

separate_arguments(moe_llvm_definitions NATIVE_COMMAND "${LLVM_DEFINITIONS}")
add_compile_definitions(${moe_llvm_definitions})
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
include_directories("${CMAKE_SOURCE_DIR}/include" "${CMAKE_BINARY_DIR}/include")
