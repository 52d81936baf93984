# Every target needs only a Python >= 3.11; the virtual environment is made on first use. `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help demo test check images wheels compose-demo compose-down tour cluster-test bench docs k8s format lock clean
SHELL := /bin/bash
VENV := .venv
RUN := $(VENV)/bin/python
export PYTHON
SIDECARS := $(subst _,-,$(patsubst sidecars/%/sidecar.toml,%,$(wildcard sidecars/*/sidecar.toml)))
JOBS ?= 3 # test processes: most tests wait for something, so more than there are cores

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.stamp ## half a minute: an app writes, its log is shipped, things break, nothing is lost
	@$(RUN) -m sidecars.devstack demo

test: $(VENV)/.stamp $(patsubst requirements/%.txt,.cache/venv-%/.stamp,$(filter-out requirements/dev.txt,$(wildcard requirements/*.txt))) ## all tests (PYTEST_ARGS="-k word" for some), with real servers where they can be had
	@scripts/servers
	@scripts/engine && QUICK=1 images/build || { \
	  test "$$SIDECARS_REQUIRE_SERVERS" != 1 && echo "going on without images: the tests in tests/pods that need them are skipped"; }
	@# Not on somebody's cluster: that is what cluster-test is for. A test process that dies is named, not started again for ever.
	@env -u KUBECONFIG $(RUN) -m pytest tests --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(PYTEST_ARGS)

check: $(VENV)/.stamp ## ruff, mypy --strict, import contracts
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports --no-logo

images: $(VENV)/.stamp ## an image per sidecar, measured against the bars (BASE=IMAGE, QUICK=1: not measured)
	@images/build

wheels: $(VENV)/.stamp ## what the images install, so that `docker build` needs no network
	@images/wheels

compose-demo: $(VENV)/.stamp ## a pod on this laptop (Docker Compose): the app, its sidecars, Elasticsearch; stays up
	@scripts/engine
	@QUICK=1 images/build
	@$(RUN) -m sidecars.devstack compose up

compose-down: $(VENV)/.stamp ## stop it again, the app first
	@$(RUN) -m sidecars.devstack compose down

tour: $(VENV)/.stamp ## a scripted tour of that pod: requests, reloads, a refusal, kills, the end; nothing is lost
	@scripts/engine
	@QUICK=1 images/build
	@$(RUN) -m sidecars.devstack tour

cluster-test: $(VENV)/.stamp ## the pods' life on the cluster of KUBECONFIG, with images from SIDECAR_IMAGE_PREFIX
	@$(RUN) -m pytest tests/cluster $(PYTEST_ARGS)

bench: $(VENV)/.stamp ## benchmarks side by side with a peer; prints figures, judges nothing
	@scripts/servers bench
	@$(RUN) -m tests.bench

docs: $(VENV)/.stamp ## write docs/reference and the tables of the documents from the declarations
	@$(RUN) -m scripts.docs

k8s: $(VENV)/.stamp ## write the components of k8s/ from the declarations
	@$(RUN) -m scripts.k8s

format: $(VENV)/.stamp ## let ruff mend and format the code
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --custom-compile-command "make lock"
lock: $(VENV)/.stamp ## pin the newest versions, with hashes, for every platform and Python
	$(LOCK) requirements/manifests.in -o requirements/manifests.txt
	$(LOCK) --all-extras pyproject.toml requirements/dev.in -o requirements/dev.txt
	for name in $(SIDECARS); do \
	  $(LOCK) --extra $$name --constraint requirements/dev.txt pyproject.toml -o requirements/$$name.txt || exit 1; done

clean: ## remove everything that was made here
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp: requirements/dev.txt pyproject.toml scripts/bootstrap
	@scripts/bootstrap $(VENV) requirements/dev.txt editable

# What a sidecar's image installs and nothing more: memory is measured in it (tests/rules/test_memory.py).
.cache/venv-%/.stamp: requirements/%.txt scripts/bootstrap
	@scripts/bootstrap .cache/venv-$* $<
