"""What no row shows: columns sent against columns agreed, catalogue, grades, and whether the published view answers."""
from __future__ import annotations

import json

import pytest

from pipelines import checks, steps
from tests.pipelines.checks.conftest import DATASET, person, send
from tests.support import HEADER, write_csv


def found(at) -> dict[str, dict]:
    return {r["rule"]: r for r in checks.run(at) if r["kind"] == "conformity"}


def test_columns_are_compared_with_the_contract(lake, tmp_path):
    at = lake()
    send(at, tmp_path, "2026-11-01", [person(1)])
    whole = found(at)["columns_as_agreed"]
    assert (whole["applicable"], whole["failed"], whole["indicator"], whole["source"]) == (5, 0, "0102", "police")
    rows = [(*person(n)[:4], "", "") for n in (1, 2)]
    file = write_csv(tmp_path / "640100-less.csv", (*HEADER[:4], HEADER[5], "备注"), rows)
    steps.submit(DATASET, [file], "police", "2026-12-01", desk=at, part="640100")
    steps.commit(DATASET, steps.judge(DATASET, steps.stage(DATASET, steps.receive(DATASET, desk=at), at), at), at)
    less = found(at)["columns_as_agreed"]
    assert (less["applicable"], less["failed"], less["outcome"], less["as_of"]) == (6, 2, "fail", "2026-12-01")
    assert json.loads(less["detail"]) == {"absent": ["status"], "unread": 1}, "the header cell is not told: it may hold anything"


def test_a_view_that_does_not_answer_is_seen(lake, tmp_path):
    at = lake()
    send(at, tmp_path, "2026-11-01", [person(1)])
    assert "view_answers" not in found(at), "nothing is published yet"
    steps.release(at)
    assert (found(at)["view_answers"]["applicable"], found(at)["view_answers"]["failed"]) == (1, 0)
    for file in at.lake.releases.glob(f"data/{DATASET}/*/rows.parquet"):
        file.unlink()
    assert found(at)["view_answers"]["outcome"] == "fail"


@pytest.mark.parametrize(("rule", "indicator"), [("columns_are_catalogued", "0103"), ("columns_are_masked_as_graded", "0106")])
def test_catalogue_and_grades_are_measured(lake, tmp_path, rule, indicator):
    at = lake()
    send(at, tmp_path, "2026-11-01", [person(1)])
    one = found(at)[rule]
    assert (one["indicator"], one["applicable"], one["failed"]) == (indicator, 5, 0)
