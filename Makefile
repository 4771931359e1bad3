# Short names for the commands that the README and .ci/run spell out.
.PHONY: help install run demo test lint format types check docs bench image ci clean

help:     ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile

install:  ## the package, editable, with what tests and lint need
	pip install --editable '.[test,lint]'

run:      ## the proxy, with config/proxy.yaml
	resilience-proxy run

demo:     ## the order service in trouble, with the proxy and without
	resilience-proxy demo

test:     ## the whole suite
	pytest

lint:     ## ruff, without changing anything
	ruff check .
	ruff format --check .

format:   ## ruff, changing what it can
	ruff check --fix .
	ruff format .

types:    ## mypy
	mypy --strict proxy

check:    ## the configuration files that come with it
	for file in config/proxy.yaml config/examples/*.yaml; do resilience-proxy check $$file || exit 1; done

docs:     ## write docs/configuration.md anew from the description of the keys
	python -m tests.documents.reference

bench:    ## beside its peers, about five minutes (docs/benchmarks.md)
	python -m tests.bench --quick

image:    ## the container image
	docker build --tag resilience-proxy .

ci:       ## what has to hold before a change is taken
	bash .ci/run

clean:    ## what builds and tools leave behind
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
