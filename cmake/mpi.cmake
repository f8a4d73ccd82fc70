# import_mpi_wheel(<package> <version> <library>)
# Installs an MPI wheel into the build folder and imports it as the target MPI::<package>.
# <library> is the file with a version: lib/libmpi.so in the wheels is a linker script.
function(import_mpi_wheel package version library)
  set(prefix ${CMAKE_BINARY_DIR}/mpi/${package}-${version})
  if(NOT EXISTS ${prefix})
    message(STATUS "Fetching ${package} ${version}")
    execute_process(
      COMMAND ${Python_EXECUTABLE} -m pip install --quiet --disable-pip-version-check --no-user
              --no-deps --ignore-installed --only-binary :all: --no-warn-script-location
              --prefix ${prefix}.part ${package}==${version}
      RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR "pip could not install ${package}==${version} into the build folder; "
                          "with an MPI of your own set BSBPOOL_MPI=mpicc, without MPI none")
    endif()
    file(RENAME ${prefix}.part ${prefix}) # so that an interrupted download is not used
  endif()
  # A Debian system Python installs below <prefix>/local.
  find_path(headers mpi.h REQUIRED NO_CACHE NO_DEFAULT_PATH
            PATHS ${prefix}/include ${prefix}/local/include)
  find_file(libmpi ${library} REQUIRED NO_CACHE NO_DEFAULT_PATH
            PATHS ${prefix}/lib ${prefix}/local/lib)
  add_library(MPI::${package} SHARED IMPORTED)
  set_target_properties(MPI::${package} PROPERTIES IMPORTED_LOCATION ${libmpi}
                        INTERFACE_INCLUDE_DIRECTORIES ${headers})
endfunction()

# add_mpi_module(<name> <target>)
# Builds comm/mpi/transport.pyx against the MPI <target> as bsbpool._core.<name>. CMake gives it no
# RPATH: at run time it must resolve to the libmpi that mpi4py has loaded, never to a second one. The
# libraries that a wheel's libmpi needs in turn may be missing here, hence --allow-shlib-undefined.
# The source has no .pxd of its own: Cython would look for <name>.pxd.
function(add_mpi_module name target)
  cythonize(c_file ${name} ${name}=comm/mpi/transport)
  python_add_library(${name} MODULE WITH_SOABI ${c_file})
  target_link_libraries(${name} PRIVATE module_options ${target})
  target_link_options(${name} PRIVATE -Wl,--allow-shlib-undefined)
  set_target_properties(${name} PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "")
  install(TARGETS ${name} LIBRARY DESTINATION bsbpool/_core COMPONENT core)
  install(FILES src/_core/comm/mpi/transport.pyi DESTINATION bsbpool/_core RENAME ${name}.pyi
          COMPONENT core OPTIONAL)
endfunction()
