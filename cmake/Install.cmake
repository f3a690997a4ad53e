# `cmake --install`: tools in bin/, libraries and a CMake package in lib/, headers
# in include/. The prefix may be moved; it needs LLVM's shared libraries only.
include(CMakePackageConfigHelpers)

get_property(moe_tools GLOBAL PROPERTY MOE_TOOLS)
get_property(moe_libraries GLOBAL PROPERTY MOE_INSTALL_TARGETS)
set(moe_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/MoEMLIR")

install(TARGETS ${moe_tools} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS ${moe_libraries} EXPORT MoEMLIRTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT MoEMLIRTargets DESTINATION ${moe_package_dir})

install(DIRECTORY "${CMAKE_SOURCE_DIR}/include/moe" "${CMAKE_BINARY_DIR}/include/moe"
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.td" PATTERN "*.inc")
install(FILES "${CMAKE_SOURCE_DIR}/LICENSE" DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The importer's library links the ONNX library, which is no part of any system.
if(TARGET moe::onnx)
  install(FILES "${moe_onnx_prefix}/lib/libonnx.a"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/moe/third_party/lib")
  install(FILES "${moe_onnx_prefix}/LICENSE"
    DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME LICENSE.onnx)
endif()

configure_package_config_file(
  "${CMAKE_SOURCE_DIR}/cmake/MoEMLIRConfig.cmake.in"
  "${CMAKE_BINARY_DIR}/cmake/MoEMLIRConfig.cmake"
  INSTALL_DESTINATION ${moe_package_dir}
  PATH_VARS CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file("${CMAKE_BINARY_DIR}/cmake/MoEMLIRConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
  "${CMAKE_BINARY_DIR}/cmake/MoEMLIRConfig.cmake"
  "${CMAKE_BINARY_DIR}/cmake/MoEMLIRConfigVersion.cmake"
  cmake/MoEONNXTarget.cmake
  DESTINATION ${moe_package_dir})
