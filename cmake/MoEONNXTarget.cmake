# Defines moe::onnx from moe_onnx_prefix and MOE_PROTOBUF_*; also part of an
# installed prefix, where the importer's library links it.
find_package(Threads REQUIRED)
find_package(ZLIB QUIET)
if(NOT TARGET moe::onnx)
  add_library(moe::onnx STATIC IMPORTED GLOBAL)
  set_target_properties(moe::onnx PROPERTIES
    IMPORTED_LOCATION "${moe_onnx_prefix}/lib/libonnx.a"
    INTERFACE_COMPILE_DEFINITIONS "ONNX_ML=1;ONNX_NAMESPACE=onnx"
    INTERFACE_LINK_LIBRARIES "${MOE_PROTOBUF_LIBRARY};Threads::Threads")
  # No header of ours shows one of ONNX, so an installed prefix has none.
  if(EXISTS "${moe_onnx_prefix}/include")
    set_property(TARGET moe::onnx PROPERTY INTERFACE_INCLUDE_DIRECTORIES
      "${moe_onnx_prefix}/include" "${MOE_PROTOBUF_INCLUDE_DIR}")
  endif()
  if(TARGET ZLIB::ZLIB)
    set_property(TARGET moe::onnx APPEND PROPERTY INTERFACE_LINK_LIBRARIES ZLIB::ZLIB)
  endif()
endif()
