# Helpers that keep the CMakeLists.txt of a folder to a few lines.

# Everything that TableGen writes; each library waits for it.
add_custom_target(moe-headers)
add_custom_target(moe-doc)

# moe_add_subdirectories(<folder>...): the parts of the design's tree that exist.
function(moe_add_subdirectories)
  foreach(folder IN LISTS ARGN)
    if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/CMakeLists.txt")
      add_subdirectory(${folder})
    endif()
  endforeach()
endfunction()

# moe_tablegen(<target> <td> <output> <mlir-tblgen flag>...)
# <td> and <output> are relative to include/: "moe/Dialect/MoE/IR/MoEOps.td".
function(moe_tablegen target td output)
  set(out "${CMAKE_BINARY_DIR}/include/${output}")
  get_filename_component(folder "${out}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  add_custom_command(OUTPUT "${out}"
    COMMAND ${MOE_MLIR_TBLGEN} ${ARGN} "${CMAKE_SOURCE_DIR}/include/${td}"
      "-I${CMAKE_SOURCE_DIR}/include" "-I${MLIR_INCLUDE_DIRS}"
      --write-if-changed -o "${out}" -d "${out}.d"
    COMMAND ${CMAKE_COMMAND} -E touch_nocreate "${out}"
    DEPENDS "${CMAKE_SOURCE_DIR}/include/${td}" ${MOE_MLIR_TBLGEN}
    DEPFILE "${out}.d"
    COMMENT "TableGen ${output}" VERBATIM)
  set_property(GLOBAL APPEND PROPERTY MOE_TABLEGEN_OUT_${target} "${out}")
endfunction()

# moe_tablegen_target(<target>): closes a group of moe_tablegen calls.
function(moe_tablegen_target target)
  get_property(outputs GLOBAL PROPERTY MOE_TABLEGEN_OUT_${target})
  add_custom_target(${target} DEPENDS ${outputs})
  add_dependencies(moe-headers ${target})
endfunction()

# moe_add_dialect_td(<td> DIALECT <mnemonic> [TYPES] [ATTRS] [ENUMS] [INTERFACES])
# For moe/Dialect/MoE/IR/MoEOps.td writes next to it, in the build tree,
#   MoEOps.{h,cpp}.inc  MoEOpsDialect.{h,cpp}.inc
#   and, as asked for,  MoEOpsTypes  MoEOpsAttrs  MoEOpsEnums  MoEOpsInterfaces
# plus the dialect's documentation docs/Dialects/<mnemonic>.md (target moe-doc).
function(moe_add_dialect_td td)
  cmake_parse_arguments(ARG "TYPES;ATTRS;ENUMS;INTERFACES" "DIALECT" "" ${ARGN})
  string(REGEX REPLACE "\\.td$" "" stem "${td}")
  get_filename_component(name "${stem}" NAME)
  set(target ${name}IncGen)
  moe_tablegen(${target} ${td} ${stem}.h.inc -gen-op-decls --dialect=${ARG_DIALECT})
  moe_tablegen(${target} ${td} ${stem}.cpp.inc -gen-op-defs --dialect=${ARG_DIALECT})
  moe_tablegen(${target} ${td} ${stem}Dialect.h.inc -gen-dialect-decls --dialect=${ARG_DIALECT})
  moe_tablegen(${target} ${td} ${stem}Dialect.cpp.inc -gen-dialect-defs --dialect=${ARG_DIALECT})
  if(ARG_TYPES)
    moe_tablegen(${target} ${td} ${stem}Types.h.inc -gen-typedef-decls --typedefs-dialect=${ARG_DIALECT})
    moe_tablegen(${target} ${td} ${stem}Types.cpp.inc -gen-typedef-defs --typedefs-dialect=${ARG_DIALECT})
  endif()
  if(ARG_ATTRS)
    moe_tablegen(${target} ${td} ${stem}Attrs.h.inc -gen-attrdef-decls --attrdefs-dialect=${ARG_DIALECT})
    moe_tablegen(${target} ${td} ${stem}Attrs.cpp.inc -gen-attrdef-defs --attrdefs-dialect=${ARG_DIALECT})
  endif()
  if(ARG_ENUMS)
    moe_tablegen(${target} ${td} ${stem}Enums.h.inc -gen-enum-decls)
    moe_tablegen(${target} ${td} ${stem}Enums.cpp.inc -gen-enum-defs)
  endif()
  if(ARG_INTERFACES)
    moe_tablegen(${target} ${td} ${stem}Interfaces.h.inc -gen-op-interface-decls)
    moe_tablegen(${target} ${td} ${stem}Interfaces.cpp.inc -gen-op-interface-defs)
  endif()
  moe_tablegen_target(${target})

  set(doc "${CMAKE_BINARY_DIR}/docs/Dialects/${ARG_DIALECT}.md")
  file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/docs/Dialects")
  add_custom_command(OUTPUT "${doc}"
    COMMAND ${MOE_MLIR_TBLGEN} -gen-dialect-doc --dialect=${ARG_DIALECT}
      "${CMAKE_SOURCE_DIR}/include/${td}"
      "-I${CMAKE_SOURCE_DIR}/include" "-I${MLIR_INCLUDE_DIRS}" -o "${doc}"
    DEPENDS "${CMAKE_SOURCE_DIR}/include/${td}" ${target}
    COMMENT "Documentation of dialect ${ARG_DIALECT}" VERBATIM)
  add_custom_target(${name}Doc DEPENDS "${doc}")
  add_dependencies(moe-doc ${name}Doc)
endfunction()

# moe_add_passes_td(<td> <name>): Passes.td -> Passes.h.inc; <name> is the group,
# so that registration is register<name>Passes(). The folder's path names the target.
function(moe_add_passes_td td name)
  string(REGEX REPLACE "\\.td$" "" stem "${td}")
  string(MAKE_C_IDENTIFIER "${stem}" id)
  set(target ${id}_IncGen)
  moe_tablegen(${target} ${td} ${stem}.h.inc -gen-pass-decls --name=${name})
  moe_tablegen_target(${target})
  get_filename_component(file "${stem}" NAME)
  set(doc "${CMAKE_BINARY_DIR}/docs/Passes/${name}.md")
  file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/docs/Passes")
  add_custom_command(OUTPUT "${doc}"
    COMMAND ${MOE_MLIR_TBLGEN} -gen-pass-doc "${CMAKE_SOURCE_DIR}/include/${td}"
      "-I${CMAKE_SOURCE_DIR}/include" "-I${MLIR_INCLUDE_DIRS}" -o "${doc}"
    DEPENDS "${CMAKE_SOURCE_DIR}/include/${td}" ${target}
    COMMENT "Documentation of passes ${name}" VERBATIM)
  add_custom_target(${id}_Doc DEPENDS "${doc}")
  add_dependencies(moe-doc ${id}_Doc)
endfunction()

function(_moe_target_options target exceptions pch)
  if(exceptions)
    # The precompiled header was made without exceptions and cannot be shared.
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fexceptions>)
  else()
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions> $<$<COMPILE_LANGUAGE:CXX>:-fno-rtti>)
    if(MOE_PCH AND pch)
      target_precompile_headers(${target} REUSE_FROM moe_pch)
    endif()
  endif()
  add_dependencies(${target} moe-headers)
endfunction()

# moe_add_library(<name> <source>... [LINK <target>...] [PRIVATE_LINK <target>...]
#                 [EXCEPTIONS] [NO_PCH] [NO_INSTALL])
# A static library over libMLIR. EXCEPTIONS is for the wrapper of the ONNX library.
function(moe_add_library name)
  cmake_parse_arguments(ARG "EXCEPTIONS;NO_PCH;NO_INSTALL" "" "LINK;PRIVATE_LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} MLIR LLVM PRIVATE ${ARG_PRIVATE_LINK})
  target_include_directories(${name} INTERFACE
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  set(pch ON)
  if(ARG_NO_PCH)
    set(pch OFF)
  endif()
  _moe_target_options(${name} "${ARG_EXCEPTIONS}" ${pch})
  if(NOT ARG_NO_INSTALL)
    set_property(GLOBAL APPEND PROPERTY MOE_INSTALL_TARGETS ${name})
  endif()
endfunction()

# moe_add_tool(<name> <source>... [LINK <target>...]): an executable in bin/.
function(moe_add_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} MLIR LLVM)
  _moe_target_options(${name} OFF ON)
  set_property(GLOBAL APPEND PROPERTY MOE_TOOLS ${name})
endfunction()

# moe_add_unittest(<name> <source>... [LINK <target>...] [EXCEPTIONS])
# A GoogleTest program that `check-moe` runs; its name ends in "Tests".
add_custom_target(MoEUnitTests)
function(moe_add_unittest name)
  cmake_parse_arguments(ARG "EXCEPTIONS" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} MLIR LLVM GTest::gtest_main)
  # lit looks for programs by their suffix below unittests/.
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/unittests/bin")
  _moe_target_options(${name} "${ARG_EXCEPTIONS}" ON)
  add_dependencies(MoEUnitTests ${name})
endfunction()

if(MOE_PCH)
  add_library(moe_pch OBJECT "${CMAKE_SOURCE_DIR}/cmake/Precompiled.cpp")
  target_compile_options(moe_pch PRIVATE -fno-exceptions -fno-rtti)
  target_precompile_headers(moe_pch PRIVATE "${CMAKE_SOURCE_DIR}/cmake/Precompiled.h")
endif()
