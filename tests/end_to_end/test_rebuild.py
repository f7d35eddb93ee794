"""Replaying landing under a changed contract: a new type, a new rule, and a contract that old batches do not pass."""
from __future__ import annotations

import shutil

import duckdb
import pytest

from pipelines import base, catalogue, steps
from pipelines.rebuild import rebuild
from pipelines.settings import WrongUse
from tests.support import HEADER, RESIDENCE, Kept, desk, resident_id, small_project, write_csv

DATASET, CONTRACT = "population.residence", RESIDENCE.replace("LOAD", "upsert")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    root = tmp_path_factory.mktemp("rebuild")
    made = desk(root, small_project(root / "project", population__residence=CONTRACT))
    for date, numbers in (("2026-10-01", range(1, 11)), ("2026-11-01", range(6, 16))):
        rows = [(resident_id(n), "赵一", "1990-01-01", "640104", str(n), "") for n in numbers]
        _take(made, root, date, rows)
    steps.release(made)
    return Kept(made)


@pytest.fixture
def at(kept):
    made = kept.again()
    (made.project.contracts / "population/residence.yaml").write_text(CONTRACT, encoding="utf-8")
    shutil.rmtree(made.project.expectations / "population", ignore_errors=True)
    return made


def _take(made, tmp_path, date: str, rows: list[tuple]) -> list[str]:
    steps.submit(DATASET, [write_csv(tmp_path / f"out/{date}/640100.csv", HEADER, rows)], "police", date, desk=made)
    keys = steps.receive(DATASET, desk=made)
    passed = steps.judge(DATASET, steps.stage(DATASET, keys, made), made)
    if passed:
        steps.commit(DATASET, passed, made)
    return passed


def _change(made, old: str, new: str) -> None:
    path = made.project.contracts / "population/residence.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _statuses(made) -> list[tuple]:
    rows = steps.derive(made, made.plan(DATASET)).rows
    return duckdb.sql(f"SELECT typeof(status), count(*), sum(try_cast(status AS INTEGER)) FROM '{rows}' GROUP BY ALL").fetchall()


def _schema(made) -> str:
    return str(catalogue.iceberg(made.lake).load_table(("population", "residence")).schema())


def test_a_changed_type_asks_for_a_rebuild_and_the_rebuild_gives_it(at, tmp_path):
    assert _statuses(at) == [("VARCHAR", 15, 120)]
    _change(at, "description: State, semanticType: text", "description: State, semanticType: integer")
    with pytest.raises(WrongUse, match="rebuild population.residence"):
        _take(at, tmp_path, "2026-12-01", [(resident_id(20), "赵一", "1990-01-01", "640104", "20", "")])
    assert at.ledger.batch(f"{DATASET}~police~640100~2026-12-01~1")["state"] == "received"
    assert rebuild(DATASET, at) == {"batches": 2, "current_rows": 15}
    assert _statuses(at) == [("BIGINT", 15, 120)]
    keys = steps.receive(DATASET, desk=at)
    steps.commit(DATASET, steps.judge(DATASET, steps.stage(DATASET, keys, at), at), at)
    assert _statuses(at) == [("BIGINT", 16, 140)]
    assert steps.release(at)["release_id"] == 2


def test_a_type_that_changes_before_anything_is_accepted_needs_no_rebuild(tmp_path):
    made = desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    assert base.field_ids(made.lake, made.plan(DATASET))["status"] == 5
    _change(made, "description: State, semanticType: text", "description: State, semanticType: integer")
    assert base.field_ids(made.lake, made.plan(DATASET))["status"] > 5
    assert "status: optional long" in _schema(made)


def test_a_new_rule_reaches_what_was_accepted_before(at):
    (at.project.expectations / "population").mkdir()
    (at.project.expectations / "population/residence.yaml").write_text(
        '- {rule: status_small, zh: 状态小, en: status is small, holds: "try_cast(status AS INTEGER) < 15", indicator: "0104", severity: reject,'
        ' at_least: 0.5, owner: 公安局, reason: 试验, must_fail: {status: "15"}, must_pass: {status: "1"}}\n', encoding="utf-8")
    rebuild(DATASET, at)
    assert _statuses(at) == [("VARCHAR", 14, 105)]
    row = at.ledger.batch(f"{DATASET}~police~640100~2026-11-01~1")
    assert (row["accepted"], row["quarantined"]) == (9, 1)


def test_rebuilding_under_the_same_contract_changes_no_row_and_leaves_no_orphan(at):
    before = _statuses(at)
    assert rebuild(DATASET, at) == rebuild(DATASET, at) == {"batches": 2, "current_rows": 15}
    assert _statuses(at) == before
    assert len(list((at.lake.base / DATASET / "data").iterdir())) == 4      # of the newest snapshot, and of the one that the kept release stands on
    assert [p.name for p in at.lake.staging.iterdir() if not p.name.startswith(".")] == []


def test_a_contract_that_accepted_batches_do_not_pass_changes_nothing(at):
    schema, before = _schema(at), base.state(at.lake, at.plan(DATASET)).segments
    _change(at, "description: State, semanticType: text, classification: internal}",
            "description: State, semanticType: date, classification: internal, required: true}")
    with pytest.raises(WrongUse, match="status"):
        rebuild(DATASET, at)
    assert _schema(at) == schema
    _change(at, "description: State, semanticType: date, classification: internal, required: true}",
            "description: State, semanticType: text, classification: internal}")
    assert base.state(at.lake, at.plan(DATASET)).segments == before
    assert [p.name for p in at.lake.staging.iterdir() if not p.name.startswith(".")] == []
