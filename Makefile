# The main targets are `make paper` and `make test`; `make help` lists all.
.DEFAULT_GOAL := help
.PHONY: help paper test lint check reproduce query models data dictionary lab lab-test bench proof clean environment
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# Single-threaded linear algebra and a fixed hash seed give the same bytes on every run.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export VECLIB_MAXIMUM_THREADS := 1
export PYTHONHASHSEED := 0
export TZ := UTC
# Before 3.13, Python decodes this folder's path in .venv with the encoding of the locale.
ifneq ($(filter C POSIX,$(LC_ALL)),)
export LC_ALL := C.UTF-8
endif
# The release date, for programs that write a date into their output.
export SOURCE_DATE_EPOCH := 1795996800

# The environment: an active conda environment made from environment.yml; on Binder that of the image (repo2docker sets
# NB_PYTHON_PREFIX to its folder); otherwise .venv, built from the lock.
ifneq ($(and $(CONDA_DEFAULT_ENV),$(filter deepvalues $(NB_PYTHON_PREFIX),$(CONDA_DEFAULT_ENV))),)
PY := $(or $(NB_PYTHON_PREFIX),$(CONDA_PREFIX))/bin/python
ENVIRONMENT :=
else
PY := .venv/bin/python
ENVIRONMENT := .venv/installed
endif
# Quoted, as the folder's name may contain a space.
RUN := "$(PY)"
DEEPVALUES := $(RUN) -m deepvalues

# The first sufficiently new Python on the path; only needed to create .venv.
PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

WRITABLE := test -w . || { echo "This folder can't be written to, and everything is built in it. Copy it to a folder of your own, and run make there." >&2; exit 1; }
# Replaces pip's output by a progress count (on a terminal) and its errors; keeps its exit status.
COUNTED := awk -v all="$$(grep -c == requirements.lock)" -v shown="$$(test -t 2 && echo 1)" '\
	/^(Collecting|Requirement already)/ { if (shown) printf "\r%d of about %d packages", ++n, all > "/dev/stderr" } \
	/^(ERROR|error|WARNING)/ { print > "/dev/stderr" } \
	/^status [0-9]+$$/ { if (n) print "" > "/dev/stderr"; exit $$2 }'
# Notebooks that run at the same time; each needs up to 1.1 gigabytes of memory.
JOBS ?= 2

SOURCE := src/deepvalues
PACKAGE := $(wildcard $(SOURCE)/*.py $(SOURCE)/*/*.py $(SOURCE)/*/*/*.py $(SOURCE)/*/*/*/*.py)
NOTEBOOKS := $(patsubst notebooks/%.ipynb,build/%,$(wildcard notebooks/0*.ipynb))

help:  ## list the targets
	@echo "make paper [JOBS=2]"
	@echo "              run the notebooks on the recorded answers, JOBS at a time, and render the paper: paper/_site/"
	@echo "make -j paper PAPERMILL='srun papermill'"
	@echo "              the same, running each notebook with that command, such as on a cluster"
	@echo "make test [ALL=1]"
	@echo "              style, types and tests (minutes); ALL=1 adds the slow tests"
	@echo "make reproduce [ENCODER=1] [OPEN=1]"
	@echo "              in a copy, with another processor's arithmetic: ask all local models again, rebuild"
	@echo "              all results, compare with git (minutes); OPEN=1 also asks open models for 100 answers again"
	@echo "make query MODELS='NAME …' [STUDY=dvb] [SET=standard] [OPTIONS='--paper --dry-run']"
	@echo "              ask models for what their records lack (paid endpoints cost money)"
	@echo "make models   fetch the weights of the open models (1.7 GB), and install the server that serves them"
	@echo "make data     fetch the released data sets, which we may not redistribute, and verify them"
	@echo "make lab [OPTIONS='--no-browser --port 8899']"
	@echo "              open the notebooks in JupyterLab; make lab-test runs them all there (minutes)"
	@echo "make dictionary"
	@echo "              check that every data file and column is described, and write data/README.md"
	@echo "make check    check bank, design and manuscript sources"
	@echo "make bench    compare the query engine with other clients, on loopback (minutes)"
	@echo "make proof    try the exports in the programs that they are for, each in its own environment (network, minutes)"
	@echo "make clean    remove what can be rebuilt; records and results stay"

.venv/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found on the path. Install it, or name it: make paper PYTHON=/path/to/python3" >&2; exit 1; }
	@version=$$("$(PYTHON)" --version 2>&1) && case "$$version" in Python\ *) ;; *) false;; esac || { echo "PYTHON=$(PYTHON) does not run as a Python; name one of version 3.11 or newer: make paper PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "PYTHON=$(PYTHON) is $$("$(PYTHON)" --version 2>&1); 3.11 or newer is needed: make paper PYTHON=/path/to/python3" >&2; exit 1; }
	@$(WRITABLE)
	@echo "== environment: .venv with $$("$(PYTHON)" --version) and the packages of requirements.lock (about 1.4 GB; minutes)"
	@"$(PYTHON)" -m venv .venv || { echo "Python's venv module is incomplete; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@{ .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes --only-binary :all: -r requirements.lock 2>&1; echo "status $$?"; } | $(COUNTED)
	@.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

environment: $(ENVIRONMENT)

# Order: items, then answers, then statistics. The language models in 8 come after the check of the instrument in 5.
$(filter-out build/01% build/02%,$(NOTEBOOKS)): $(filter build/02%,$(NOTEBOOKS))
$(filter build/02%,$(NOTEBOOKS)): $(filter build/01%,$(NOTEBOOKS))
build/04_what_moves_the_dvgr: build/03_deep_values
build/08_language_models: | build/05_instrument_and_stimuli

# All other dependencies of a notebook: `deepvalues notebook` writes them next to the notebook's stamp, based on the
# declarations in its first cell.
-include $(wildcard build/*.d)

# Why a target is rebuilt, for the progress messages.
CAUSE = $(firstword $(filter-out build/%,$?) $?)
WHY = $(if $(wildcard $@),: $(CAUSE) $(if $(wildcard $(CAUSE)),has changed,is missing))

$(NOTEBOOKS): build/%: notebooks/%.ipynb $(wildcard $(SOURCE)/paper/execute.py) | $(ENVIRONMENT)
	@echo "== notebook $*$(WHY)"
	@mkdir -p build
	@$(DEEPVALUES) notebook $*
	@touch build/changed

# The answer browser: a page with every recorded answer.
build/answers: $(filter build/02%,$(NOTEBOOKS)) $(wildcard $(SOURCE)/browser/*.py $(SOURCE)/browser/*/*) build/answers/index.html
	@echo "== answer browser$(WHY)"
	@$(DEEPVALUES) browser --out build/answers
	@touch $@ build/changed

# The report cards: a page and a PDF for each language model with recorded answers.
build/cards: $(filter build/02%,$(NOTEBOOKS)) $(PACKAGE) $(wildcard paper/card/* paper/plain/style.css) build/cards/index.html
	@echo "== report cards$(WHY)"
	@$(DEEPVALUES) cards --out build/cards
	@touch $@ build/changed

# Outputs of the recipes below, without a recipe of their own: make treats a deleted one as changed.
LISTS := data/results/manifest.json paper/_variables.yml
PAGES := paper/_site/index.html paper/_site/index.pdf build/status
$(LISTS) $(PAGES) build/answers/index.html build/cards/index.html:

# Separate from the paper, whose text can change without them.
build/lists: $(NOTEBOOKS) $(LISTS) requirements.lock data/dictionary.yml CITATION.cff pyproject.toml $(PACKAGE) $(wildcard $(SOURCE)/paper/*.md $(SOURCE)/paper/*.json)
	@echo "== numbers, manifest, dictionary$(WHY)"
	@$(DEEPVALUES) variables
	@$(DEEPVALUES) manifest
	@$(DEEPVALUES) dictionary
	@touch $@

build/paper: build/lists build/answers build/cards $(PAGES) paper/index.qmd paper/_quarto.yml paper/references.bib $(wildcard paper/plain/* paper/fonts/* paper/*.css paper/*.scss paper/*.lua paper/*.typ)
	@echo "== paper$(WHY)"
	@$(DEEPVALUES) check
	@$(DEEPVALUES) render
	@$(DEEPVALUES) record status > build/status
	@touch $@ build/changed

paper: $(ENVIRONMENT)  ## the paper
	@$(WRITABLE)
	@$(MAKE) --silent --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j $(JOBS)) build/paper
	@if [ -e build/changed ]; then rm build/changed; echo "Done."; else echo "Nothing has changed since the last time."; fi
	@echo "The paper is in paper/_site/: index.html and index.pdf."
	@cat build/status

reproduce: $(ENVIRONMENT)
	@$(DEEPVALUES) reproduce $(if $(ENCODER),--encoder) $(if $(OPEN),--open)

lint: $(ENVIRONMENT)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

test: lint  ## style, types and tests; ALL=1 adds the slow tests
	@$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(if $(ALL),,-m "not slow")
	@$(if $(ALL),,echo "The slow tests were left out; make test ALL=1 runs them, too.")

check: $(ENVIRONMENT)
	@$(DEEPVALUES) check

query: $(ENVIRONMENT)
	@test -n "$(MODELS)" || { echo "Name the models: make query MODELS='gpt-4.1-nano-2025-04-14' (deepvalues models lists them)" >&2; exit 2; }
	@$(DEEPVALUES) query $(if $(STUDY),--study $(STUDY)) $(if $(SET),--set $(SET)) $(foreach model,$(MODELS),--model $(model)) $(OPTIONS)

models: $(ENVIRONMENT)
	@$(RUN) -m pip install --disable-pip-version-check --quiet --only-binary xllamacpp --no-build-isolation --editable ".[open]"
	@$(DEEPVALUES) models --fetch

data: $(ENVIRONMENT)
	@$(DEEPVALUES) data

lab: $(ENVIRONMENT)
	@$(RUN) -m jupyterlab notebooks $(OPTIONS)

lab-test: $(ENVIRONMENT)
	@DEEPVALUES_LAB=all $(RUN) -m pytest tests/paper/test_jupyterlab.py

dictionary: $(ENVIRONMENT)
	@$(DEEPVALUES) dictionary

bench: $(ENVIRONMENT)
	@$(RUN) benchmarks/bench.py

proof: $(ENVIRONMENT)
	@$(RUN) benchmarks/proof.py $(OPTIONS)

clean:
	rm -rf build paper/_site paper/.quarto data/derived .pytest_cache .mypy_cache .ruff_cache .hypothesis
