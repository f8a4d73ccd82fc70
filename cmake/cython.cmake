# Cython sees the sources as the package that they become: <build>/bsbpool/_core links to src/_core,
# and Cython runs in <build>. So `from bsbpool._core.scheduling.graph cimport ...` finds graph.pxd,
# tracebacks name `bsbpool/_core/scheduling/graph.pyx`, and the paths in the depfiles are relative to
# <build>.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bsbpool)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/_core ${CMAKE_BINARY_DIR}/bsbpool/_core SYMBOLIC)

# The directives of every module; a .pyx file repeats none of them.
set(CYTHON_FLAGS
    -X language_level=3 -X boundscheck=False -X wraparound=False
    -X cdivision=True -X initializedcheck=False)

# The C options of every module. Cython generates helper functions that are not always used.
add_library(module_options INTERFACE)
target_include_directories(module_options INTERFACE ${CMAKE_SOURCE_DIR}/src/_core)
target_compile_options(module_options INTERFACE -Wall -Wno-unused-function ${BSBPOOL_C_OPTIONS})
if(BSBPOOL_SANITIZE)
  target_compile_options(module_options INTERFACE -fsanitize=${BSBPOOL_SANITIZE})
  target_link_options(module_options INTERFACE -fsanitize=${BSBPOOL_SANITIZE})
endif()
if(BSBPOOL_LINETRACE)
  list(APPEND CYTHON_FLAGS -X linetrace=True)
  target_compile_definitions(module_options INTERFACE CYTHON_TRACE=1 CYTHON_TRACE_NOGIL=1)
endif()

# cythonize(<variable> <module> <source>)
# Translates src/_core/<source>.pyx as bsbpool._core.<module>; sets <variable> to the C file.
function(cythonize variable module source)
  set(c_file ${CMAKE_BINARY_DIR}/${module}.c)
  add_custom_command(
    OUTPUT ${c_file}
    COMMAND Python::Interpreter -m cython ${CYTHON_FLAGS} --depfile -I .
            --module-name bsbpool._core.${module} -o ${module}.c bsbpool/_core/${source}.pyx
    DEPENDS ${CMAKE_SOURCE_DIR}/src/_core/${source}.pyx
    DEPFILE ${c_file}.dep
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
    COMMENT "Cythonizing bsbpool._core.${module}"
    VERBATIM)
  set(${variable} ${c_file} PARENT_SCOPE)
endfunction()

# add_library_of(<name> <component> <module>...)
# Builds modules, given as <package>/<module>, into one shared library bsbpool/_core/<name>, and
# installs it with an install component. `bsbpool._core.__init__` finds the modules there.
function(add_library_of name component)
  set(c_files)
  foreach(source IN LISTS ARGN)
    string(REPLACE "/" "." module ${source})
    cythonize(c_file ${module} ${source})
    list(APPEND c_files ${c_file})
  endforeach()
  python_add_library(${name} MODULE WITH_SOABI ${c_files})
  target_link_libraries(${name} PRIVATE module_options)
  install(TARGETS ${name} LIBRARY DESTINATION bsbpool/_core COMPONENT ${component})
endfunction()
