# make run | test | up | clean (and lint, lock). Needs Python 3.11; everything else is installed into .venv.
PYTHON ?= python3.11
PERSONS ?= 20000
SEED ?= 1
PORT ?= 8080
LAKE := $(or $(LAKE_HOME),lake)
LAKE_PYTHON := .venv/bin/python
INSTALLED := .venv/installed
SAMPLE := $(LAKE)/sample-$(PERSONS)-$(SEED)

.PHONY: run test lint up clean lock

run: $(INSTALLED) $(SAMPLE)
	@status=0; $(LAKE_PYTHON) -m pipelines.scheduler run || status=$$?; \
	[ $$status -le 1 ] || exit $$status; \
	$(LAKE_PYTHON) -m pipelines status && $(LAKE_PYTHON) -m pipelines.examples && exit $$status

test: $(INSTALLED) lint
	$(LAKE_PYTHON) -m pytest $(ARGS)

lint: $(INSTALLED)
	.venv/bin/ruff check .

up: $(INSTALLED)
	$(LAKE_PYTHON) -m pipelines.scheduler up --port $(PORT)

# A lake that holds more than the sample is data: it is never removed here.
clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if ls lake/sample-* >/dev/null 2>&1; then rm -rf lake; elif [ -e lake ]; then echo "lake/ was not made by 'make run': kept"; fi

lock:
	rm -rf .venv && $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement requirements.in
	{ echo "# The lock of requirements.in, made by 'make lock' (CPython 3.11, Linux x86_64)."; .venv/bin/pip freeze; } > requirements.txt
	touch $(INSTALLED)

# Byte code is compiled at once: without it every start of Airflow compiles about 1,000 modules again.
$(INSTALLED): requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(LAKE_PYTHON) -m compileall -q .venv/lib
	touch $@

$(SAMPLE): | $(INSTALLED)
	$(LAKE_PYTHON) -m pipelines sample --persons $(PERSONS) --seed $(SEED)
	@touch $@
