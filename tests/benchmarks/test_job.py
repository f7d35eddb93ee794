"""The benchmark job is right before it is fast: product and script against the truth of a small input, and a wrong result is told."""
from __future__ import annotations

import json
import re

import pytest
import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.desk import Desk
from tests.benchmarks import report
from tests.benchmarks.job import compare, data, limit, run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    data.make(3_000, folder)
    return folder


def _result(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_script_does_the_job(made, tmp_path, capsys):
    limit.main(made / "person_gb18030.csv", tmp_path)
    found = _result(capsys)
    assert compare.wrong(made, tmp_path, found) == []
    assert compare.wrong(made, tmp_path, found | {"accepted": found["accepted"] - 1}) == [f"accepted {found['accepted'] - 1} instead of {found['accepted']}"]


def test_the_product_does_the_job_and_the_ledger_tells_the_seconds_of_every_step(made, tmp_path, capsys, monkeypatch):
    for name, value in {"LAKE_HOME": tmp_path / "lake", "LAKE_PROJECT": tmp_path / "project", "LAKE_SETTLE_SECONDS": "0"}.items():
        monkeypatch.setenv(name, str(value))
    run.prepare(made / "person_gb18030.csv", tmp_path)
    run.ingest(tmp_path, publish=False)
    run.results(tmp_path)
    assert compare.wrong(made, tmp_path / "results", _result(capsys)) == []
    took = {r["step"]: r["seconds"] for r in Desk.open().ledger.rows(sa.select(tables.steps.c.step, tables.steps.c.seconds))}
    assert took.keys() == {"receive", "stage", "judge", "commit", "derive"} and all(s >= 0 for s in took.values())


def test_the_page_shows_what_the_runs_left(tmp_path):
    """`make bench-report` was run after the last figures came."""
    page = report.PAGE.read_text("utf-8")
    assert page.partition(report.BEGIN)[2].partition(report.END)[0].strip().splitlines() == "\n".join(report.figures_of_page()).strip().splitlines()
    report.draw(report.figures(), tmp_path / "cost.svg", tmp_path / "steps.svg")
    for drawn, kept in ((tmp_path / "cost.svg", report.COST), (tmp_path / "steps.svg", report.SHARES)):      # what is drawn, not how wide a machine's letters are
        assert re.findall('aria-label="([^"]+)"', drawn.read_text("utf-8")) == re.findall('aria-label="([^"]+)"', kept.read_text("utf-8")) != []
