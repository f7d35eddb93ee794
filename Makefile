# make run | test | test-real | test-long | test-scale | test-chaos | test-postgresql | bench | bench-… (see below) | up | notebook | clean (and lint, lock). Needs Python 3.11; everything else is installed into .venv.
PYTHON ?= python3.11
PERSONS ?= 20000
SEED ?= 1
PORT ?= 8080
WORKERS ?= 3
LAKE := $(or $(LAKE_HOME),lake)
LAKE_PYTHON := .venv/bin/python
INSTALLED := .venv/installed
SAMPLE := $(LAKE)/sample-$(PERSONS)-$(SEED)

.PHONY: run test test-real test-long test-scale test-chaos test-postgresql bench bench-report bench-parts bench-reading bench-judging bench-binding bench-analyst \
        bench-small bench-arrival bench-workers bench-many bench-upsert lint up notebook clean lock

# Three questions an analyst asks: residents by county, pensions paid after death, what departments must mend.
export RESIDENTS := select r.name as county, count(*) as persons from population.person p join reference.region r \
  on r.code = p.hukou_region_code and r.is_current group by all order by persons desc, county limit 5
export LEADS := select benefit, count(*) as leads, sum(amount) as amount from population.benefit_after_death group by all order by benefit
export TO_MEND := select dataset, rule, sum(applicable) as applicable, sum(failed) as failed from governance.rule_results \
  join governance.batches using (batch_id, revision) where severity = 'reject' group by all order by failed desc, dataset, rule limit 5

run: $(INSTALLED) $(SAMPLE)
	@status=0; $(LAKE_PYTHON) -m pipelines.scheduler run || status=$$?; \
	if [ $$status -gt 1 ]; then exit $$status; fi; \
	echo; $(LAKE_PYTHON) -m pipelines status; \
	for sql in "$$RESIDENTS" "$$LEADS" "$$TO_MEND"; do \
	  echo; echo "$$sql;"; $(LAKE_PYTHON) -m pipelines query "$$sql" || exit; \
	done; exit $$status

test: $(INSTALLED)
	$(LAKE_PYTHON) -m pytest -n $(WORKERS) --no-loadscope-reorder $(ARGS)

# REAL names the folder with real public data, which is never part of this repository.
test-real: $(INSTALLED)
	LAKE_REAL_DATA=$(REAL) $(LAKE_PYTHON) -m pytest tests/real

# Ten million rows under 2 GB of memory, and tables of a million from real servers; about ten minutes and 6 GB of disk.
test-scale: $(INSTALLED)
	$(LAKE_PYTHON) -m pytest -m scale -s tests

# What takes half a minute and more a test: officers' answers in Airflow, catalogues that move, arrivals in every order.
test-long: $(INSTALLED)
	$(LAKE_PYTHON) -m pytest -m long tests

# KILLS deaths at random instants, about five seconds each; FIGURES names a file for the figures (docs/reliability.md is made from it).
test-chaos: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.chaos.run --kills $(or $(KILLS),200) --seed $(SEED) $(if $(FIGURES),--out $(FIGURES))
	$(LAKE_PYTHON) -m pytest -m chaos tests/end_to_end tests/chaos

# The way of the data from end to end once more, with ledger and catalogue on PostgreSQL.
test-postgresql: $(INSTALLED)
	LAKE_TEST_CATALOGUE=postgresql $(LAKE_PYTHON) -m pytest -n $(WORKERS) --no-loadscope-reorder tests/end_to_end tests/test_docs.py \
	  tests/pipelines/test_release.py tests/pipelines/test_inbox.py tests/pipelines/test_closing.py tests/pipelines/test_gate.py $(ARGS)

# The whole way of one list against a hand-written script, in turn; BENCH names a folder with another generator, script and comparison, PEERS other tools of it.
bench: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.benchmarks.job $(or $(ROWS),5000000) --turns $(or $(TURNS),3) $(if $(BENCH),--bench $(BENCH)) $(if $(PEERS),--peers $(PEERS)) \
	  --out $(or $(FIGURES),tests/benchmarks/results/$(if $(PEERS),peers,job)-$(or $(ROWS),5000000).json)

# docs/performance.md from the figures that stand in tests/benchmarks/results.
bench-report: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.benchmarks.report
	$(LAKE_PYTHON) -m tests.benchmarks.parts table

# CPU time of every part of the job, a row; docs/performance.md shows what this leaves in tests/benchmarks/results.
bench-parts: $(INSTALLED)
	LAKE_MEMORY=2GB $(LAKE_PYTHON) -m tests.benchmarks.parts $(or $(ROWS),1000000)

bench-reading: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.benchmarks.reading $(or $(ROWS),5000000)

bench-judging: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.benchmarks.judging $(or $(ROWS),5000000)

# Many small files and batches; from arrival to published; a second worker; many contracts.
bench-small: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.benchmarks.small $(or $(FILES),1000) 1000 --out $(or $(FIGURES),tests/benchmarks/results/small.json)

bench-arrival: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.benchmarks.arrival --out $(or $(FIGURES),tests/benchmarks/results/arrival.json)

bench-workers: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.benchmarks.workers $(or $(ROWS),1000000) --out $(or $(FIGURES),tests/benchmarks/results/workers.json)

bench-many: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.benchmarks.many $(or $(CONTRACTS),200) --out $(or $(FIGURES),tests/benchmarks/results/many.json)

# DATASETS of FILES files each: opening lake.duckdb and binding every view.
bench-binding: $(INSTALLED)
	$(LAKE_PYTHON) -m tests.benchmarks.binding $(or $(DATASETS),200) $(or $(FILES),64)

# What analysts wait for (docs/analyst_speed.md is made from its figures): 50,000,000 persons take an hour and 15 GB of disk.
FIGURES_OF_ANALYSTS := docs/analyst_speed.json
bench-analyst: $(INSTALLED)
	LAKE_MEMORY=4GB $(LAKE_PYTHON) -m tests.benchmarks.analyst run $(if $(filter file,$(origin PERSONS)),2000000,$(PERSONS)) $(or $(FIGURES),$(FIGURES_OF_ANALYSTS))
	$(LAKE_PYTHON) -m tests.benchmarks.analyst table $(or $(FIGURES),$(FIGURES_OF_ANALYSTS)) docs/analyst_speed.md

# A full load, then 1 % and 0.1 % of its persons again; 20,000,000 rows take half an hour and 30 GB of disk.
bench-upsert: $(INSTALLED)
	LAKE_MEMORY=4GB $(LAKE_PYTHON) -m tests.benchmarks.upsert $(or $(ROWS),20000000) --out $(or $(FIGURES),tests/benchmarks/results/upsert-$(or $(ROWS),20000000).json)

lint: $(INSTALLED)
	.venv/bin/ruff check .

up: $(INSTALLED)
	$(LAKE_PYTHON) -m pipelines.scheduler up --port $(PORT)

# Five analyses with charts over lake.duckdb; a copy of your own keeps the example as it is.
notebook: $(INSTALLED)
	.venv/bin/marimo edit --no-sandbox --skip-update-check --host 127.0.0.1 docs/notebook.py

# A lake that `make run` did not begin is data: it is kept.
clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if ls lake/sample-* >/dev/null 2>&1; then rm -rf lake; elif [ -e lake ]; then echo "lake/ was not made by 'make run': kept"; fi

lock:
	rm -rf .venv && $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement requirements.in
	{ echo "# The lock of requirements.in, made by 'make lock' (CPython 3.11, Linux x86_64)."; .venv/bin/pip freeze; } > requirements.txt
	touch $(INSTALLED)

# Byte code is compiled at once: without it every start of Airflow compiles about 1,000 modules again. (olefile2 is for Python 2.)
$(INSTALLED): requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(LAKE_PYTHON) -m compileall -q -x olefile2 .venv/lib
	$(LAKE_PYTHON) -m pipelines.site.assets || echo "installed without charts"
	touch $@

$(SAMPLE): | $(INSTALLED)
	$(LAKE_PYTHON) -m pipelines sample --persons $(PERSONS) --seed $(SEED)
	@touch $@
