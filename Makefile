# Two commands on a bare machine: `make demo` and `make test`. Each sets up .venv when it is missing.
PYTHON ?= python3
BIN = .venv/bin
# One torch thread a process: two busy processes with two threads each are many times slower.
export OMP_NUM_THREADS = 1

.PHONY: demo test slow lint setup clean
demo: setup
	$(BIN)/expunge demo

test: setup
	$(BIN)/pytest -n 2 -m "not slow"

slow: setup
	$(BIN)/pytest -n 2 --dist loadfile -m slow

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

setup: .venv/ready
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch --editable '.[dev]'
	@if $(BIN)/pip list 2>/dev/null | grep -i torchvision; then echo "torchvision breaks a CPU torch: remove it"; exit 1; fi
	touch $@

clean:
	rm -rf .venv expunge-demo
