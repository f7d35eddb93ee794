"""The torture corpus: whatever arrives, the run does not crash and no row is lost unnoticed.

Every case is received and staged; its outcome, its reason, the accepted rows and the quarantined addresses are compared
with what the case says, and both conservation equations must close. The cases run on two engines side by side.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

import duckdb
import pytest

from pipelines import steps
from tests.corpus import Case, cases
from tests.corpus.bench import DATASET, Bench, Outcome, write
from tests.corpus.extracting import warm
from tests.corpus.forms import FORMS
from tests.corpus.model import SECRET
from tests.corpus.traits import core
from tests.support import REPOSITORY, RESIDENCE, desk, project

CASES = cases()


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory) -> Iterator[dict[str, Future]]:
    """Case id → what came of it, for the cases that pytest selected."""
    wanted = [item.callspec.params["case"] for item in request.session.items if "case" in getattr(getattr(item, "callspec", None), "params", {})]
    with ExitStack() as stack:
        stack.enter_context(warm(2))
        benches: SimpleQueue[Bench] = SimpleQueue()
        for n in range(2):
            benches.put(Bench(tmp_path_factory.mktemp(f"corpus{n}"), stack))

        def run(case: Case) -> Outcome:
            bench = benches.get()
            try:
                return bench.stage(case)
            finally:
                benches.put(bench)

        pool = stack.enter_context(ThreadPoolExecutor(2))
        yield {case.id: pool.submit(run, case) for case in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_file_ends_as_expected(outcomes, case):
    got = outcomes[case.id].result()
    assert (got.outcome, got.code) == (case.outcome, case.code), got.message or got.bad
    assert SECRET not in got.message and "DROP TABLE" not in got.message and "<script" not in got.message
    if case.outcome == "refused":
        return
    assert (got.good, got.bad) == (list(case.good), list(case.bad))
    c = got.counts
    assert c["lines"] == sum(c[k] for k in ("header", "trailer", "blank", "records", "inner_line_ends", "unparseable"))
    assert c["records"] == sum(c[k] for k in ("accepted", "copies", "superseded", "quarantined", "deletes"))
    assert {k: c[k] for k in case.counts} == case.counts


def test_the_corpus_holds_every_form_with_every_core_fault():
    held = {(c.form, c.fault) for c in CASES}
    assert len(CASES) >= 300
    assert len(FORMS) >= 28
    for form in FORMS.values():
        assert not [t.__name__ for t in core(form) if (form.name, t.__name__) not in held], form.name


# Raised before a file is read (inbox), by a reader that loses a row, or by what takes gigabytes to build.
ELSEWHERE = {"address", "batch_date", "conservation", "link", "memory", "secrecy", "sha256", "unsettled"}


def test_every_reason_code_is_reached():
    source = "".join(p.read_text(encoding="utf-8") for p in sorted((REPOSITORY / "pipelines").rglob("*.py")))
    codes = set(re.findall(r'Refused\(\s*"(\w+)"', source)) | {"missing_column", "ambiguous_column"}
    assert len(codes) >= 24
    assert codes - ELSEWHERE == {c.code for c in CASES if c.code}
    reasons = {rule.removeprefix("line.") for c in CASES for _, rules in c.bad for rule in rules if rule.startswith("line.")}
    assert reasons == {"width", "quote", "encoding", "nul", "cut", "json", "repeat"}


END_TO_END = ("csv-clean", "xlsx-clean", "csv.zip-clean", "csv-damaged_gb18030", "csv-too_few_cells", "csv-no_rows",
              "pdf-as_csv", "zip-bomb", "csv-missing_required", "csv-blank_lines_only", "xml-billion_laughs")


def test_good_and_bad_batches_go_through_the_run_side_by_side(tmp_path):
    """One batch per case through submit, stage and judge: the good ones pass whatever the others hold."""
    contract = RESIDENCE.replace("LOAD", "upsert").replace("format: csv", "format: auto").replace("encoding: utf-8", "encoding: auto")
    contract = re.sub(r", \{property: part_pattern, value: [^}]*\\d\{4\}\)'\}", "", contract)
    at = desk(tmp_path, project(tmp_path / "project", population__residence=contract))
    chosen = [c for c in CASES if c.id in END_TO_END]
    assert len(chosen) == len(END_TO_END) and not any(c.source for c in chosen)
    keys = {}
    for case in chosen:
        files = write(tmp_path / "out" / case.id, case)
        [got] = steps.submit(DATASET, files, "police", "2026-11-01", desk=at, part=re.sub(r"\W", "-", case.id))
        keys[case.id] = steps.key_of(got.batch_id, got.revision)
    staged = steps.stage(DATASET, list(keys.values()), at)
    passed = steps.judge(DATASET, staged, at)
    rows = {case.id: at.ledger.batch(*steps.split_key(keys[case.id])) for case in chosen}
    for case in chosen:
        state = rows[case.id]["state"]
        want = {"refused": ("refused", "held")}.get(case.outcome, ("passed",) if case.good else ("held",))
        assert state in want, (case.id, state, rows[case.id]["reason"])
        assert (keys[case.id] in passed) == (state == "passed")
        assert SECRET not in str(rows[case.id])
    accepted = duckdb.sql(f"SELECT count(*) FROM '{at.lake.staging}/*/accepted/*.parquet'").fetchone()[0]
    assert accepted == sum(len(c.good) for c in chosen)
