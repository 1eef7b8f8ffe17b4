# The developer's whole interface. Each target sets up what it needs by itself; CONTRIBUTING.md lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Values of variables reach a command through the environment, where no shell reads them and none is an option.
.PHONY: run test bench gpu board check pull verify lint format clean

run: $(VENV)/.ready
	$(BIN)/grokbench run --tasks div_mod47-0.6 random_mod23-0.5 --agents mlp transformer --seeds 0-2 --out runs
	$(BIN)/grokbench score runs | tee runs/table.txt
	$(BIN)/grokbench plot runs

test: $(VENV)/.ready
	$(BIN)/pytest -n 2 --dist loadgroup

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.speed

# Everything on a machine with CUDA and its own torch: make gpu [LIMIT=seconds] [OUT=folder] [WHEELS=folder]. Sets up no environment.
gpu:
	$(PYTHON) -m tools.gpu $(if $(LIMIT),--limit="$$LIMIT") $(if $(OUT),--out="$$OUT") $(if $(WHEELS),--wheels="$$WHEELS")

board: $(VENV)/.ready
	$(BIN)/grokbench board

check: $(VENV)/.ready
	$(BIN)/grokbench check

# Check the entry that a pull request brings, as CI does: make pull BASE=… HEAD=…
pull: $(VENV)/.ready
	$(BIN)/grokbench pull --base="$$BASE" --head="$$HEAD" $(if $(OUT),--out="$$OUT") $(if $(TAKE),--take="$$TAKE")

# Run some of an entry's runs again, in a sandbox: make verify ENTRY=… SALT=… RUNS=2
verify: $(VENV)/.ready
	$(BIN)/grokbench verify "$$ENTRY" --salt="$$SALT" $(if $(RUNS),--runs="$$RUNS") $(if $(CONTAINER),--container="$$CONTAINER") $(if $(LIMIT),--seconds="$$LIMIT") $(if $(TRUSTED),--no-sandbox)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "grokbench needs Python 3.11 to 3.13; choose one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
