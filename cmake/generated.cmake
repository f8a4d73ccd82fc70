# The sdist has the C files of the modules, in the folder generated, so that a build from it does
# without Cython, which takes nearly half of the CPU time. The file generated/sources has a digest of what they
# were made from; after a change of a source or of an option they are not used. All of them are used or
# none, since modules by different versions of Cython do not fit together.
set(GENERATED ${CMAKE_SOURCE_DIR}/generated)
file(GLOB_RECURSE CYTHON_SOURCES RELATIVE ${CMAKE_SOURCE_DIR} src/_core/*.pyx src/_core/*.pxd)

# digest_sources(<variable>)
# Sets <variable> to a digest of Cython's options and of the sources of all modules.
function(digest_sources variable)
  set(digests ${CYTHON_FLAGS})
  foreach(source IN LISTS CYTHON_SOURCES)
    file(SHA256 ${CMAKE_SOURCE_DIR}/${source} digest)
    list(APPEND digests ${source} ${digest})
  endforeach()
  string(SHA256 digest "${digests}")
  set(${variable} ${digest} PARENT_SCOPE)
endfunction()

# write_generated(<module>=<source>...)
# Writes the C files of modules and of _shared into the folder generated. They have no copies of the
# sources in comments, a third of their size.
function(write_generated)
  set(modules)
  foreach(pair IN LISTS ARGN)
    string(REGEX REPLACE "=(.+)$" "=bsbpool/_core/\\1.pyx" pair ${pair})
    list(APPEND modules ${pair})
  endforeach()
  file(REMOVE_RECURSE ${GENERATED})
  message(STATUS "Translating all modules to C, for the sdist")
  foreach(arguments
          "${CMAKE_SOURCE_DIR}/cmake/cythonize.py;sdist;${CYTHON_FLAGS};-X;emit_code_comments=False;-I;.;--;${modules}"
          "${CYTHONIZE_SHARED};--generate-shared=_shared.c")
    execute_process(COMMAND ${Python_EXECUTABLE} ${arguments} WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
                    RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR "Cython failed")
    endif()
  endforeach()
  file(GLOB c_files ${CMAKE_BINARY_DIR}/*.c)
  file(COPY ${c_files} DESTINATION ${GENERATED})
  digest_sources(digest)
  file(WRITE ${GENERATED}/sources ${digest}) # the last file: an interrupted step leaves none
endfunction()

# find_generated(<variable>)
# Sets <variable> to whether this is an unpacked sdist with C files of these sources and options.
function(find_generated variable)
  set(${variable} OFF PARENT_SCOPE)
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/PKG-INFO OR NOT EXISTS ${GENERATED}/sources)
    return() # in a checkout the folder may be of another Cython
  endif()
  # After a change of a source CMake comes here again.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CYTHON_SOURCES})
  file(READ ${GENERATED}/sources found)
  digest_sources(digest)
  if(found STREQUAL digest)
    message(STATUS "Using the C files in the folder generated")
    set(${variable} ON PARENT_SCOPE)
  else()
    message(STATUS "The C files in the folder generated have other sources or options: running Cython")
  endif()
endfunction()
