# Cython sees the sources as the package that they become: <build>/bsbpool/_core links to src/_core,
# and Cython runs in <build>. So `from bsbpool._core.scheduling.graph cimport ...` finds graph.pxd,
# tracebacks name `bsbpool/_core/scheduling/graph.pyx`, and the paths in the depfiles are relative to
# <build>.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bsbpool)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/_core ${CMAKE_BINARY_DIR}/bsbpool/_core SYMBOLIC)

# The options of Cython for every module; a .pyx file repeats no directive. The modules take Cython's
# own helper functions, such as those of memoryviews, from the module _shared: as copies in each module
# they were 40 % of the code that the C compiler had to read and optimize.
set(CYTHON_FLAGS
    -X language_level=3 -X boundscheck=False -X wraparound=False
    -X cdivision=True -X initializedcheck=False
    --shared bsbpool._core._shared)

# The start of the command for _shared.
set(CYTHONIZE_SHARED -m cython -X language_level=3 --module-name bsbpool._core._shared)

# Where the C files are, or will be; cmake/generated.cmake sets it to another folder.
set(C_FILES ${CMAKE_BINARY_DIR})

# How many groups of modules Cython translates in a process each; they run at the same time.
set(CYTHON_GROUPS 4)

# After an update of Cython all C files are written anew.
execute_process(COMMAND ${Python_EXECUTABLE} -c "import Cython.Shadow; print(Cython.Shadow.__file__, end='')"
                OUTPUT_VARIABLE CYTHON_FILE ERROR_QUIET) # C files of the sdist need no Cython

# The C options of every module. Cython generates helper functions that are not always used.
add_library(module_options INTERFACE)
target_include_directories(module_options INTERFACE ${CMAKE_SOURCE_DIR}/src/_core)
# -O2 in place of CMake's -O3, which takes a third more time and saves no instruction per job.
target_compile_options(module_options INTERFACE -Wall -Wno-unused-function $<$<CONFIG:Release>:-O2>
                       ${BSBPOOL_C_OPTIONS})
if(BSBPOOL_SANITIZE)
  target_compile_options(module_options INTERFACE -fsanitize=${BSBPOOL_SANITIZE})
  target_link_options(module_options INTERFACE -fsanitize=${BSBPOOL_SANITIZE})
endif()
if(BSBPOOL_LINETRACE)
  list(APPEND CYTHON_FLAGS -X linetrace=True)
  target_compile_definitions(module_options INTERFACE CYTHON_TRACE=1 CYTHON_TRACE_NOGIL=1)
endif()

# cythonize(<variable> <group> <module>=<source>...)
# Translates src/_core/<source>.pyx as bsbpool._core.<module>, unless the sdist has the C files; sets
# <variable> to them.
function(cythonize variable group)
  set(c_files)
  set(pairs)
  set(sources)
  foreach(pair IN LISTS ARGN)
    string(REGEX MATCH "^(.+)=(.+)$" _ ${pair})
    list(APPEND c_files ${C_FILES}/${CMAKE_MATCH_1}.c)
    list(APPEND pairs ${CMAKE_MATCH_1}=bsbpool/_core/${CMAKE_MATCH_2}.pyx)
    list(APPEND sources ${CMAKE_SOURCE_DIR}/src/_core/${CMAKE_MATCH_2}.pyx)
  endforeach()
  set(${variable} ${c_files} PARENT_SCOPE)
  if(USE_GENERATED)
    return()
  endif()
  add_custom_command(
    OUTPUT ${c_files}
    COMMAND Python::Interpreter ${CMAKE_SOURCE_DIR}/cmake/cythonize.py ${group} ${CYTHON_FLAGS} -I .
            -- ${pairs}
    DEPENDS ${CMAKE_SOURCE_DIR}/cmake/cythonize.py ${CYTHON_FILE} ${sources}
    DEPFILE ${CMAKE_BINARY_DIR}/${group}.d
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
    COMMENT "Cythonizing ${group}"
    VERBATIM)
endfunction()

# cythonize_shared(<variable>)
# Writes the C file of bsbpool._core._shared; sets <variable> to it.
function(cythonize_shared variable)
  set(c_file ${C_FILES}/_shared.c)
  set(${variable} ${c_file} PARENT_SCOPE)
  if(USE_GENERATED)
    return()
  endif()
  add_custom_command(
    OUTPUT ${c_file}
    COMMAND Python::Interpreter ${CYTHONIZE_SHARED} --generate-shared=${c_file}
    DEPENDS ${CMAKE_SOURCE_DIR}/cmake/cython.cmake ${CYTHON_FILE}
    COMMENT "Cythonizing _shared"
    VERBATIM)
endfunction()

# optimize_less(<module>...)
# Compiles modules, given as <package>/<module>, with -O1 in release builds.
function(optimize_less)
  foreach(source IN LISTS ARGN)
    string(REPLACE "/" "." module ${source})
    set_source_files_properties(${C_FILES}/${module}.c PROPERTIES
                                COMPILE_OPTIONS $<$<CONFIG:Release>:-O1>)
  endforeach()
endfunction()

# add_library_of(<name> <component> <module>...)
# Builds modules, given as <package>/<module>, into one shared library bsbpool/_core/<name>, and
# installs it with an install component. `bsbpool._core.__init__` finds the modules there.
function(add_library_of name component)
  foreach(source IN LISTS ARGN)
    string(REPLACE "/" "." module ${source})
    math(EXPR number "(0${number} + 1) % ${CYTHON_GROUPS}")
    list(APPEND group_${number} ${module}=${source})
  endforeach()
  set(c_files)
  math(EXPR last "${CYTHON_GROUPS} - 1")
  foreach(number RANGE ${last})
    cythonize(c_files_of_group ${name}_${number} ${group_${number}})
    list(APPEND c_files ${c_files_of_group})
  endforeach()
  python_add_library(${name} MODULE WITH_SOABI ${c_files})
  target_link_libraries(${name} PRIVATE module_options)
  install(TARGETS ${name} LIBRARY DESTINATION bsbpool/_core COMPONENT ${component})
endfunction()
