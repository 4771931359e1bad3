# Short names for the commands that the README and .ci/run spell out.
.PHONY: constraints simulation churn floods stalls crowd help install run demo test long thorough fuzz lint format types check docs bench chaos soak connections helm podlife image imagetest ci clean

help:     ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile

install:  ## the package, editable, with the dependencies of tests and lint
	pip install --editable '.[test,lint]'

run:      ## the proxy, with config/proxy.yaml
	resilience-proxy run

demo:     ## the order service with failing dependencies, with and without the proxy
	resilience-proxy demo

test:     ## the whole suite, except the long tests
	pytest

long:     ## the tests that take more than a second or two
	pytest -n 2 -m 'long and not alone'
	pytest -n 0 -m 'long and alone'

thorough: ## the tests with generated cases, twenty times as many cases
	HYPOTHESIS_PROFILE=thorough pytest tests/property tests/fuzz

fuzz:     ## 15 minutes for each side of the data plane (docs/fuzzing.md)
	python -m tests.fuzz client
	python -m tests.fuzz hpack
	python -m tests.fuzz http2
	python -m tests.fuzz http2-upstream
	python -m tests.fuzz upstream

lint:     ## ruff, without changing anything
	ruff check .
	ruff format --check .

format:   ## ruff, changing what it can
	ruff check --fix .
	ruff format .

types:    ## mypy
	mypy --strict proxy

check:    ## the shipped configuration files
	for file in config/proxy.yaml config/examples/*.yaml; do resilience-proxy check $$file || exit 1; done

docs:     ## generate tables in docs/ and helm/, and the dashboard
	python -m tests.documents.reference
	python -m tests.documents.settings
	python -m tests.documents.sidecar_settings
	python -m tests.helm.chart_readme
	python -m tests.helm.dashboard

bench:    ## beside its peers, about five minutes (docs/benchmarks.md)
	python -m tests.bench --quick

helm:     ## the charts: lint, render, validate, checkov (needs helm; docs/kubernetes.md)
	pytest tests/helm
	python -m tests.helm.checkov

chaos:    ## random faults for a minute, and clients that misbehave: complete bodies or errors
	python -m tests.chaos

simulation: ## a million exchanges with faults on both sides, in memory and in virtual time
	python -m tests.simulation

floods:   ## how long a client waits while another one floods the process
	python -m tests.bench.floods

stalls:   ## how long orders and questions of the admin API hold up the event loop
	python -m tests.bench.stalls

crowd:    ## one client among 10,000 hostile connections, beside nginx
	python -m tests.bench.crowd

churn:    ## memory while 100,000 connections of each kind come and go
	python -m tests.bench.churn

soak:     ## five minutes of mixed traffic: does memory grow?
	python -m tests.bench.soak

connections: ## resident memory with 10,000 idle client connections
	python -m tests.bench.connections

podlife:  ## rolling updates of pods with real processes, about five minutes
	python -m tests.podlife --rollovers 10

constraints: ## renew .ci/constraints.txt, the image's packages by hash (a minute)
	python -m venv .fuzz/pip-tools && .fuzz/pip-tools/bin/pip install --quiet pip-tools
	.fuzz/pip-tools/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe \
	    --all-build-deps --strip-extras --no-header --no-annotate --no-emit-index-url \
	    --no-emit-trusted-host --no-emit-find-links --output-file .fuzz/constraints.txt pyproject.toml
	{ head -n 1 .ci/constraints.txt; cat .fuzz/constraints.txt; } > .fuzz/renewed.txt
	mv .fuzz/renewed.txt .ci/constraints.txt

image:    ## the container image
	docker build --tag resilience-proxy .

imagetest: ## the image's build and start without an engine (as root)
	pytest -n 0 tests/image

ci:       ## everything that must pass before a change is taken
	bash .ci/run

clean:    ## remove what builds and tools leave behind
	rm -rf build dist *.egg-info .fuzz .pytest_cache .mypy_cache .ruff_cache .hypothesis
