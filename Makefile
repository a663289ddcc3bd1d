# `make demo` and `make test` set up a virtual environment of their own and need nothing but Python 3.11+.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow test-kills test-mpi test-rank-faults test-torch test-browser test-neon fuzz bench-peers lint examples wheel clean

demo: $(VENV)/demo-ready
	$(BIN)/graphcnn train digits --epochs 15 --output runs/digits

test: $(VENV)/dev-ready
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test-slow: $(VENV)/dev-ready
	$(BIN)/python -m pytest -m "slow and not browser"

# Kills a training at random instants, and compares what others make of it with one that was never killed.
KILLS ?= 20
test-kills: $(VENV)/dev-ready
	rm -rf build/kills
	$(BIN)/python tests/training/kills.py $(KILLS) build/kills

# Ranks that mpiexec starts on this machine; MPI="-k faults" for a part
MPI ?=
test-mpi: $(VENV)/mpi-ready
	$(BIN)/python -m pytest -m mpi --numprocesses 4 --dist worksteal tests/distributed/mpi $(MPI)

# Kills, stops or breaks a rank at a random moment, and waits for all others to end.
TRIALS ?= 20
test-rank-faults: $(VENV)/mpi-ready
	$(BIN)/python tests/distributed/mpi/faults.py $(TRIALS)
	$(BIN)/python tests/distributed/mpi/faults.py $(TRIALS) 0 tests/distributed/mpi/trial_training.py

test-torch: $(VENV)/dev-ready
	$(BIN)/python -c "from importlib.metadata import version as of; of('torch'), of('torchvision'), of('onnxscript')" || $(BIN)/python -m pip install --quiet torch==2.13.0 torchvision==0.28.0 onnxscript
	$(BIN)/python -m pytest -m torch

# Needs Chromium and its driver: apt-get install chromium chromium-driver
test-browser: $(VENV)/dev-ready
	$(BIN)/python -c "import selenium" 2> /dev/null || $(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(BIN)/python -m pytest -m "browser and not slow" tests/browser

# Code for NEON, executed by an emulator: apt-get install qemu-user-static mmdebstrap debian-archive-keyring
# NEON="tests/native/test_winograd.py -k passes" for a part
NEON ?= tests/native tests/backends tests/op_db tests/test_random_networks.py
test-neon: $(VENV)/dev-ready build/neon/ready
	$(BIN)/python tests/neon/run.py --numprocesses auto --maxprocesses 4 --dist worksteal $(NEON)

build/neon/ready: pyproject.toml
	rm -rf build/neon && mkdir -p build/neon
	mmdebstrap --quiet --mode=chrootless --variant=extract --architectures=arm64 --include=python3,libstdc++6 \
		bookworm build/neon/system http://deb.debian.org/debian
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/neon .
	$(BIN)/python -m pip install --quiet --target build/neon/packages --python-version 3.11 --only-binary :all: \
		--platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
		"graphcnn[test] @ file://$(CURDIR)/$$(ls build/neon/*.whl)" llvmlite==$$($(BIN)/python -c "import llvmlite; print(llvmlite.__version__)")
	touch $@

# Each parser of files in turn, guided by coverage; FUZZ="--seconds 600 NPZ IDX" for a part
fuzz: $(VENV)/dev-ready
	$(BIN)/python -c "import atheris" 2> /dev/null || $(BIN)/python -m pip install --quiet atheris
	$(BIN)/python tests/fuzz/fuzz.py $(FUZZ)

# Against other frameworks, in an environment of their own; BENCH="--only lenet5 --random 20 --rounds 3"
bench-peers: $(VENV)/dev-ready build/peers/ready
	$(BIN)/python tests/bench/peers.py --peers build/peers/venv/bin/python $(BENCH)

build/peers/ready: Makefile
	$(PYTHON) -m venv build/peers/venv
	build/peers/venv/bin/python -m pip install --quiet torch==2.13.0 jax onnx onnxruntime openvino ncnn pnnx
	touch $@

lint: $(VENV)/dev-ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

examples: $(VENV)/dev-ready
	$(BIN)/python examples/digits.py > /dev/null
	$(BIN)/python examples/article.py
	$(BIN)/python examples/mnist.py
	$(BIN)/python examples/lecun1989.py
	$(BIN)/python examples/photographs.py
	mkdir -p build && $(BIN)/python examples/augmentation.py build/augmentation.png
	$(BIN)/python examples/cifar10.py
	$(BIN)/python examples/add_a_rule.py
	$(BIN)/python examples/add_a_pass.py
	$(BIN)/python examples/add_an_op.py
	$(BIN)/python examples/add_a_structural_op.py
	$(BIN)/python examples/add_a_layer.py
	$(BIN)/python examples/add_a_loss.py
	$(BIN)/python examples/add_an_optimizer.py
	$(BIN)/python examples/add_a_metric.py
	$(BIN)/python examples/save_and_load.py
	$(BIN)/python examples/c_backend.py
	mkdir -p build
	$(BIN)/graphcnn export digits --graph step --output build/step.onnx
	$(BIN)/python examples/train_in_onnxruntime.py build/step.onnx

# The wheel must work without the checkout: install it elsewhere and train.
wheel: $(VENV)/dev-ready
	rm -rf dist build
	$(BIN)/python -m build --quiet
	$(PYTHON) -m venv --clear build/venv
	build/venv/bin/python -m pip install --quiet dist/*.whl
	cd build && venv/bin/graphcnn backends && venv/bin/graphcnn train digits --epochs 2 --output wheel-run

$(VENV)/demo-ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev-ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(VENV)/mpi-ready: $(VENV)/dev-ready
	$(BIN)/python -c "from importlib.metadata import version as of; of('mpi4py'), of('mpich')" || $(BIN)/python -m pip install --quiet --editable '.[mpi]'
	touch $@

clean:
	rm -rf $(VENV) dist build runs
