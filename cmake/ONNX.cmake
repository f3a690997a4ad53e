# moe::onnx: the ONNX C++ library (checker, inliner, version converter, shape
# inference) with its protobuf messages. utils/build-onnx builds it outside of the
# build folder, once for all configurations and checkouts that name its place.
#
# Exceptions cross its interface: only libraries marked EXCEPTIONS link it.
option(MOE_ENABLE_ONNX "Build what reads ONNX models" ON)
if(DEFINED ENV{MOE_THIRD_PARTY_DIR})
  set(moe_third_party "$ENV{MOE_THIRD_PARTY_DIR}")
else()
  set(moe_third_party "${CMAKE_SOURCE_DIR}/build/third_party")
endif()
set(MOE_THIRD_PARTY_DIR "${moe_third_party}" CACHE PATH
  "Folder that utils/build-onnx installs into")
if(NOT MOE_ENABLE_ONNX)
  return()
endif()

set(moe_onnx_prefix "${MOE_THIRD_PARTY_DIR}/onnx-install")
set(moe_onnx_stamp "")
if(EXISTS "${moe_onnx_prefix}/moe-stamp")
  file(READ "${moe_onnx_prefix}/moe-stamp" moe_onnx_stamp)
endif()
if(NOT moe_onnx_stamp MATCHES "^onnx ${MOE_ONNX_VERSION} ")
  message(FATAL_ERROR
    "the ONNX ${MOE_ONNX_VERSION} library is not in ${MOE_THIRD_PARTY_DIR}: run utils/setup, "
    "or pass -DMOE_THIRD_PARTY_DIR=<folder that utils/build-onnx filled>, "
    "or -DMOE_ENABLE_ONNX=OFF to build without the importer")
endif()

# The static library, so that an installed tool needs no protobuf of its own.
find_library(MOE_PROTOBUF_LIBRARY NAMES libprotobuf.a protobuf)
find_path(MOE_PROTOBUF_INCLUDE_DIR google/protobuf/message.h)
if(NOT MOE_PROTOBUF_LIBRARY OR NOT MOE_PROTOBUF_INCLUDE_DIR)
  message(FATAL_ERROR "protobuf was not found: install libprotobuf-dev (utils/setup does it)")
endif()
include(MoEONNXTarget)
message(STATUS "ONNX ${MOE_ONNX_VERSION}: ${moe_onnx_prefix}")
