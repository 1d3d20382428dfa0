# Generates C with protoc-c, and one descriptor set for server reflection. Generated code is
# built, never committed.
find_program(PROTOC_C protoc-c REQUIRED)
find_path(WELL_KNOWN_PROTO_DIR google/protobuf/timestamp.proto PATHS /usr/include REQUIRED)

# sy_proto(target FILES...): FILES relative to proto/ or to the well-known types' folder.
function(sy_proto target)
  set(out ${CMAKE_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${out})
  set(generated)
  foreach(file ${ARGN})
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem ${file})
    if(EXISTS ${CMAKE_SOURCE_DIR}/proto/${file})
      set(path ${CMAKE_SOURCE_DIR}/proto/${file})
    else()
      set(path ${WELL_KNOWN_PROTO_DIR}/${file})
    endif()
    add_custom_command(
      OUTPUT ${out}/${stem}.c ${out}/${stem}.h
      COMMAND ${PROTOC_C} -I${CMAKE_SOURCE_DIR}/proto -I${WELL_KNOWN_PROTO_DIR} --c_out=${out} ${path}
      DEPENDS ${path}
      COMMENT "proto ${file}")
    list(APPEND generated ${out}/${stem}.c ${out}/${stem}.h)
  endforeach()
  add_library(${target} STATIC ${generated})
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C)
endfunction()
