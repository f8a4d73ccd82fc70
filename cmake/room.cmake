# Cython sees the rooms as the package that they become: <build>/bsbpool/_core links to src/_core,
# and Cython runs in <build>. So `from bsbpool._core.graph cimport ...` finds graph.pxd, tracebacks
# name `bsbpool/_core/graph.pyx`, and the paths in the depfiles are relative to <build>.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bsbpool)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/_core ${CMAKE_BINARY_DIR}/bsbpool/_core SYMBOLIC)

# The directives of every room; a .pyx file repeats none of them.
set(CYTHON_FLAGS
    -X language_level=3 -X boundscheck=False -X wraparound=False
    -X cdivision=True -X initializedcheck=False)

# The C options of every room. Cython leaves helper functions behind that nobody calls.
add_library(room_options INTERFACE)
target_include_directories(room_options INTERFACE ${CMAKE_SOURCE_DIR}/src/_core)
target_compile_options(room_options INTERFACE -Wall -Wno-unused-function ${BSBPOOL_C_OPTIONS})
if(BSBPOOL_SANITIZE)
  target_compile_options(room_options INTERFACE -fsanitize=${BSBPOOL_SANITIZE})
  target_link_options(room_options INTERFACE -fsanitize=${BSBPOOL_SANITIZE})
endif()
if(BSBPOOL_LINETRACE)
  list(APPEND CYTHON_FLAGS -X linetrace=True)
  target_compile_definitions(room_options INTERFACE CYTHON_TRACE=1 CYTHON_TRACE_NOGIL=1)
endif()

# add_room(<name> [<source>])
# Builds src/_core/<source>.pyx (by default <name>.pyx) as the module bsbpool._core.<name>.
function(add_room name)
  set(source ${name})
  if(ARGC GREATER 1)
    set(source ${ARGV1})
  endif()
  set(c_file ${CMAKE_BINARY_DIR}/${name}.c)
  add_custom_command(
    OUTPUT ${c_file}
    COMMAND Python::Interpreter -m cython ${CYTHON_FLAGS} --depfile -I .
            --module-name bsbpool._core.${name} -o ${name}.c bsbpool/_core/${source}.pyx
    DEPENDS ${CMAKE_SOURCE_DIR}/src/_core/${source}.pyx
    DEPFILE ${c_file}.dep
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
    COMMENT "Cythonizing bsbpool._core.${name}"
    VERBATIM)
  python_add_library(${name} MODULE WITH_SOABI ${c_file})
  target_link_libraries(${name} PRIVATE room_options)
  install(TARGETS ${name} LIBRARY DESTINATION bsbpool/_core)
endfunction()
