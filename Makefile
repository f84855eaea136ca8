# The whole study: make run. One page with its results: make report. All checks: make test. Each sets up .venv first, once.

PYTHON ?= python3
# Extra arguments for pip, for instance the index of a CPU-only or a CUDA build of torch.
PIP_ARGS ?=

# Options of run, report and partial: the profile, and others such as ARGS='--config seeds=3'.
PROFILE = local
ARGS =

# Commands that read the study go on with its settings, unless ARGS or an edited config name others.
STUDY := $(if $(filter --config% --directory% -d,$(ARGS)),,$(shell \
	test results/study.yaml -nt config/config.yaml && echo --configfile results/study.yaml))

BIN := .venv/bin
INSTALLED := .venv/installed
SNAKEMAKE = $(BIN)/snakemake --profile $(PROFILE) $(ARGS)

.PHONY: run test env check format partial status report bench

run: $(INSTALLED)
	$(SNAKEMAKE)

test: $(INSTALLED) check
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow and not slurm"

# Lint, format, types, spelling and schemas; no code of the study runs.
check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/check-jsonschema --schemafile workflow/schemas/config.schema.yaml config/*.yaml
	$(BIN)/check-jsonschema --check-metaschema workflow/schemas/config.schema.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

report: $(INSTALLED)
	$(SNAKEMAKE) $(STUDY)
	$(SNAKEMAKE) $(STUDY) --report results/report.html --report-stylesheet "$(CURDIR)/workflow/report/report.css"

# The report of the runs that are finished; the others are marked and not trained.
# Snakemake takes the last --config only, so missing_runs=show is inserted into the one in ARGS.
SHOW := --config missing_runs=show
partial: override ARGS := $(if $(filter --config,$(ARGS)),$(subst --config ,$(SHOW) ,$(ARGS)),$(ARGS) $(SHOW))
partial: report

# Where each run stands, also while they train in another terminal.
status:
	@test -x $(BIN)/python || { echo "There is no $(BIN)/python; set it up with: make env" >&2; exit 1; }
	@$(BIN)/python -m globals_heads status

# How fast it is: a training step, the default grid, growth with events and runs; results/bench/*.csv.
# BENCH=PATH takes the events of a packed file for the training step.
bench: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/training_step.py $(BENCH)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/benchmarks/grid.py
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/growth.py

env: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install $(PIP_ARGS) --editable '.[dev]'
	touch $@
