# base/version.h: what `--version` and the benchmarks print.
find_package(Git QUIET)
set(SY_COMMIT "unknown")
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} -C ${CMAKE_SOURCE_DIR} describe --always --dirty --abbrev=10
    OUTPUT_VARIABLE SY_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT SY_COMMIT)
  set(SY_COMMIT "unknown")
endif()
string(TOLOWER "${CMAKE_BUILD_TYPE}" SY_BUILD_TYPE)
configure_file(${CMAKE_SOURCE_DIR}/cmake/version.h.in ${CMAKE_BINARY_DIR}/generated/version.h @ONLY)
include_directories(SYSTEM ${CMAKE_BINARY_DIR}/generated)
