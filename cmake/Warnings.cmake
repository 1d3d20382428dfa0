# Warning and sanitizer flags of our own code; generated code is compiled without the warnings.
add_compile_options(-fno-omit-frame-pointer -fstack-protector-strong)
add_compile_definitions(_GNU_SOURCE)
include_directories(${CMAKE_SOURCE_DIR})
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(CMAKE_C_FLAGS_RELEASE "-O2 -g1") # NDEBUG stays unset: assertions are part of the product
endif()
if(SY_SANITIZE)
  add_compile_options(-fsanitize=${SY_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SY_SANITIZE})
  if(CMAKE_C_COMPILER_ID MATCHES Clang AND SY_SANITIZE MATCHES address)
    add_compile_options(-fsanitize=fuzzer-no-link) # the fuzzers see which branches they take
    add_link_options(-fsanitize=fuzzer-no-link)
  endif()
endif()

set(SY_WARNINGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
    -Wwrite-strings -Wvla -Wundef -Wimplicit-fallthrough -Wformat=2
    -Wno-missing-field-initializers) # what is not named is zero: that is meant
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # Casts: clang warns about them in protobuf-c's INIT macros. Cut texts are meant: snprintf bounds them.
  list(APPEND SY_WARNINGS -Wcast-qual -Wno-format-truncation)
endif()
if(SY_WERROR)
  list(APPEND SY_WARNINGS -Werror)
endif()

# sy_library(name SOURCES... ) and sy_program(name SOURCES...): with our warnings.
function(sy_library name)
  add_library(${name} STATIC ${ARGN})
  target_compile_options(${name} PRIVATE ${SY_WARNINGS})
endfunction()
function(sy_program name)
  add_executable(${name} ${ARGN})
  target_compile_options(${name} PRIVATE ${SY_WARNINGS})
endfunction()

# Daemons allocate with jemalloc; sanitizers bring their own allocator.
function(sy_daemon name)
  sy_program(${name} ${ARGN})
  if(NOT SY_SANITIZE)
    target_link_libraries(${name} PRIVATE -Wl,--no-as-needed PkgConfig::JEMALLOC -Wl,--as-needed)
  endif()
endfunction()
