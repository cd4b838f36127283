# Two commands do everything on a fresh machine: `make study` and `make test`. Both fill .venv first.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := analysis benchmarks imagesets metrics models searchspaces study tests

.PHONY: setup study test test-long lint format clean

setup: .venv/.installed

.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "latentsweep needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet --requirement requirements.txt
	@touch $@

# The first study: search, confirm, export, draw, report. Called again it goes on where it was interrupted, or shows the table.
RUN := runs/quickstart
study: setup
	@if [ -e $(RUN) ]; then $(BIN)/python -m study resume quickstart; else $(BIN)/python -m study run quickstart; fi \
		|| [ $$? = 3 ] # some trials failed: the others are worth showing
	@[ -e $(RUN)/confirm.parquet ] || $(BIN)/python -m study confirm quickstart
	@[ -e $(RUN)/best ] || $(BIN)/python -m study export quickstart --out $(RUN)/best
	@[ -e $(RUN)/figures ] || $(BIN)/python -m analysis figures quickstart
	@[ -e $(RUN)/report.html ] || $(BIN)/python -m analysis report quickstart
	@$(BIN)/python -m analysis table quickstart
	@echo; echo "report: $(RUN)/report.html    figures: $(RUN)/figures    best model: $(RUN)/best    everything else: $(RUN)"

test: setup
	$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Kills, outages and other cases of minutes each; with PostgreSQL and `ray[default]` where they are installed.
test-long: setup
	$(BIN)/python -m pytest -q -m "long and not alone" --numprocesses 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -q -m "long and alone"

lint: setup
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
