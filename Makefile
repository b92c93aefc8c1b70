# demo: two systems, end to end, and their table, on a machine with nothing but Python.   check: lint and types.
# test: the tests, in WORKERS processes at a time.
# bench: docs/performance.md, forty minutes on two cores. PARTS="loader packing": some of it; ASDKIT=FOLDER: a checkout beside which it is
# measured, ASDKIT_PYTHON: that has what it needs.   gpu: its part on one GPU, and docs/gpu.json, some minutes.
# results: docs/results.md, hours on two cores; resumes. PART=real, synthetic, machines or domains; RECORDINGS="DIR DIR": real sets.
# full-size: its last part, every config as it is on a set of DCASE 2020's size.
# soak: faults, again and again for an hour, and docs/reliability.md.

PYTHON ?= python3
SEED ?= 0
PART ?= all
WORKERS ?= 2
BIN := .venv/bin
# The demo's batch is divided by 1, 2, 4 or 8 GPUs; without any, two ranks share the CPU.
RANKS ?= $(shell $(BIN)/python -c "import torch; n = torch.cuda.device_count(); print(min(8, 1 << n.bit_length() - 1) if n else 2)")
FACTORY := data/demo/factory-$(SEED)
SHARDS := data/demo/shards-$(SEED)
RUN := runs/demo-$(SEED)

.PHONY: demo test check bench gpu results full-size soak clean

demo: $(SHARDS)/manifest.json .venv/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m asd.sweep --config configs/demo.yaml configs/demo_multi_branch.yaml --ranks $(RANKS) \
		--out $(RUN) data.shards=$(SHARDS)
	@echo "curves, ROC and score histograms: $(BIN)/tensorboard --logdir $(RUN)"

$(FACTORY): | .venv/.ready
	$(BIN)/python -m shards.synth --out $@ --seed $(SEED)
	@touch $@

$(SHARDS)/manifest.json: $(FACTORY) | .venv/.ready
	$(BIN)/python -m shards.pack --layout dcase2020 --source $(FACTORY) --out $(SHARDS) --overwrite
	@touch $@

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.ready
	$(BIN)/python -m benchmarks.speed $(if $(PARTS),--parts $(PARTS)) $(if $(ASDKIT),--asdkit $(ASDKIT)) \
		$(if $(ASDKIT_PYTHON),--asdkit-python $(ASDKIT_PYTHON))

gpu: .venv/.ready
	$(BIN)/python -m benchmarks.speed --parts gpu
	cp data/speed/gpu.json docs/gpu.json

results: .venv/.ready
	$(BIN)/python -m benchmarks.results --part $(PART) $(if $(RECORDINGS),--recordings $(RECORDINGS))

full-size: .venv/.ready
	$(BIN)/python -m benchmarks.full_size

soak: .venv/.dev
	$(BIN)/python -m benchmarks.soak

.venv/.ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -r requirements.txt
	$(BIN)/python -m asd.process.fit_torchaudio
	@touch $@

.venv/.dev: requirements-dev.txt requirements-weights.txt .venv/.ready
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	$(BIN)/python -m pip install -q --no-deps -r requirements-weights.txt
	@touch $@

clean:
	rm -rf .venv data/demo runs/demo-*
