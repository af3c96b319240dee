# make demo   set up, then do the main job: export, verify, run, benchmark
# make test   set up, then run the tests
# make check  lint, format and types, as CI runs them
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := cpu,openvino,tensorrt-rtx,rtsp,live,mqtt,webhook,export,eval,quantize,track,compare,fleet,loadgen,pipelines,train,test

# processes that share the tests; fixtures of a file stay in one of them
WORKERS := 2
.PHONY: env demo test slow exhaustive soak check clean

env: $(VENV)/.ready

# tensorrt-stubs as published are not Python in five lines (a parameter called `in`, defaults before none), and a variable
# in them takes the name of `bool` away.
STUBS := $(VENV)/stubs/tensorrt_bindings/tensorrt.pyi

# torch comes first and pinned: a plain `torch` would be replaced by whatever is newest.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "edgevision needs Python 3.10 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps --upgrade --target $(VENV)/stubs tensorrt-stubs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps trackers
	sed -i.published -e 's/, in: list/, in_: list/' -e '/def add_scale_nd/s/channel_axis: int/channel_axis: int = -1/' -e '/^bool: /d' $(STUBS)
	@touch $@

demo: env
	$(BIN)/edgevision demo

test: env
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

slow: env
	$(BIN)/python -m pytest -m slow --durations=15 $(SLOW)

# every combination of what the slow tests sample: about an hour
exhaustive: env
	$(BIN)/python -m pytest -m exhaustive --durations=15 $(SLOW)

# twenty minutes of cameras, whose memory must not grow
soak: env
	$(BIN)/python -m pytest -m soak

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist out
