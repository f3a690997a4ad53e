# Installation rules; see MoEMLIRConfig.cmake.in for what a prefix holds.
get_property(moe_tools GLOBAL PROPERTY MOE_TOOLS)
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
if(moe_tools)
  install(TARGETS ${moe_tools} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
