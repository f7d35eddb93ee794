"""A range of batch dates brought to today's contract: what is replayed, taken in and judged again, and what stays."""
from __future__ import annotations

import hashlib
import json

import duckdb
import pytest

from pipelines import base, gate, ledger_tables as tables, rebuild, steps
from pipelines.backfill import backfill
from pipelines.cli import main
from pipelines.settings import WrongUse
from tests.support import HEADER, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET = "population.residence"
SMALL = ('- {rule: status_small, zh: 状态小, en: status is small, holds: "try_cast(status AS INTEGER) < 15", indicator: "0104", severity: reject,'
         ' at_least: 0.5, owner: 公安局, reason: 试验, must_fail: {status: "15"}, must_pass: {status: "1"}}\n')


def _rows(*numbers: int, broken: str = "") -> list[tuple]:
    return [(resident_id(n) + broken, "赵一", "1990-01-01", "640104", str(n), "") for n in numbers]


def _batch(date: str) -> str:
    return f"{DATASET}~police~640100~{date}~1"


@pytest.fixture
def at(tmp_path, monkeypatch):
    made = desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    monkeypatch.setenv("LAKE_HOME", str(made.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(made.project.root))
    return made


def _take(at, tmp_path, **sent: list[tuple]) -> None:
    """Ingest these batches (m0901 = 2026-09-01)."""
    for day, rows in sent.items():
        date = f"2026-{day[1:3]}-{day[3:]}"
        steps.submit(DATASET, [write_csv(tmp_path / f"out/{date}/640100.csv", HEADER, rows)], "police", date, desk=at)
    keys = steps.receive(DATASET, desk=at)
    passed = steps.judge(DATASET, steps.stage(DATASET, keys, at), at)
    if passed:
        steps.commit(DATASET, passed, at)


@pytest.fixture
def open_gate(monkeypatch):
    """Every batch passes: what the gate says is not what these tests are about, and asking it takes half a second."""
    monkeypatch.setattr(gate, "judge_some", lambda _, batches: [gate.Verdict("accept", [], []) for _ in batches])


def _declare(at, rule: str) -> None:
    (at.project.expectations / "population").mkdir(exist_ok=True)
    (at.project.expectations / "population/residence.yaml").write_text(rule, encoding="utf-8")


def _traces(at, date: str) -> dict[str, str]:
    """Every file of the lake that a batch date has, but Great Expectations' own pages, and what the ledger says of it."""
    files = {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in at.lake.home.rglob("*")
             if p.is_file() and f"~{date}~" in str(p) and at.lake.reports / "gx" not in p.parents}
    return files | {"ledger": json.dumps(at.ledger.batch(_batch(date)))}


def _statuses(at) -> tuple:
    rows = steps.derive(at, at.plan(DATASET)).rows
    return duckdb.sql(f"SELECT any_value(typeof(status)), count(*), sum(status::INTEGER)::INTEGER FROM '{rows}'").fetchone()


def test_a_range_comes_to_todays_contract_and_the_rest_is_not_touched(at, tmp_path, capsys):
    _take(at, tmp_path, m0901=_rows(1, 2, 16), m1001=_rows(*range(6, 16)), m1002=_rows(17, 18), m1005=_rows(3, 4, broken="0"), m1101=_rows(19, 14))
    write_csv(at.lake.inbox / DATASET / "police" / "2026-10-08" / "640100.csv", HEADER, _rows(5))
    write_csv(at.lake.inbox / DATASET / "police" / "2026-12-08" / "640100.csv", HEADER, _rows(20))
    _declare(at, SMALL)
    with at.ledger.transaction() as con:
        con.execute(tables.closings.insert().values(dataset=DATASET, month="2026-11", closed_at="2026-12-05T00:00:00Z", reason="月报"))
    before = {date: _traces(at, date) for date in ("2026-09-01", "2026-10-02", "2026-11-01")}
    assert len(before["2026-09-01"]) >= 4
    command = ["backfill", DATASET, "--from", "2026-10-01", "--to", "2026-11-30"]
    assert main(command) == 1
    said = capsys.readouterr().out
    days = [line.partition(":") for line in said.splitlines() if line.startswith("2026-")]
    assert [(day, did.strip()) for day, _, did in days] == [
        ("2026-10-01", "1 replayed"), ("2026-10-02", "1 kept"), ("2026-10-05", "1 held"), ("2026-10-08", "1 accepted"), ("2026-11-01", "1 kept")]
    assert "2 of 2 rows (100.0 %) fail status_small" in said and f"reopen 2026-11 {DATASET}" in said
    assert not any(resident_id(n) in said for n in range(1, 21))
    assert {date: _traces(at, date) for date in before} == before
    replayed = at.ledger.batch(_batch("2026-10-01"))
    assert (replayed["accepted"], replayed["quarantined"]) == (9, 1)
    assert _statuses(at) == ("VARCHAR", 16, sum({1, 2, 16, *range(6, 15), 17, 18, 19, 5, 14}))
    assert (at.lake.inbox / DATASET / "police" / "2026-12-08" / "640100.csv").exists()
    assert [p.name for p in at.lake.staging.iterdir() if p.name.startswith(_batch("2026-10-0")[:-4]) and "10-05" not in p.name] == []
    assert main(["backfill", DATASET, "--from", "2026-10-08", "--to", "2026-10-08", "--json"]) == 0
    assert [b["outcome"] for b in json.loads(capsys.readouterr().out)["batches"]] == ["unchanged"]


def test_what_was_held_is_judged_again_though_the_contract_is_the_same(at, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(gate, "judge_some", lambda _, batches: [gate.Verdict("hold", ["the gate did not finish"], []) for _ in batches])
        _take(at, tmp_path, m1001=_rows(1, 2))
    assert steps.receive(DATASET, desk=at) == []
    done = backfill(DATASET, "2026-10-01", "2026-10-01", at)
    assert [(b["outcome"], b["reason"]) for b in done["batches"]] == [("accepted", None)] and done["current_rows"] == 2
    assert backfill(DATASET, "2026-10-02", "2026-10-31", at) == {"batches": [], "left": [], "current_rows": 2}
    for first, last, says in (("2026-10-02", "2026-10-01", "is after"), ("2026-10", "2026-11-01", "YYYY-MM-DD")):
        with pytest.raises(WrongUse, match=says):
            backfill(DATASET, first, last, at)


def test_a_changed_type_needs_all_batches(at, tmp_path, open_gate):
    _take(at, tmp_path, m1001=_rows(1, 2), m1101=_rows(2, 3))
    path = at.project.contracts / "population/residence.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("description: State, semanticType: text", "description: State, semanticType: integer"), encoding="utf-8")
    with pytest.raises(WrongUse, match="status, which needs every accepted batch; 1 would be left out. Run: python -m pipelines rebuild"):
        backfill(DATASET, "2026-11-01", "2026-11-30", at)
    assert [b["outcome"] for b in backfill(DATASET, "2026-10-01", "2026-11-30", at)["batches"]] == ["replayed", "replayed"]
    assert _statuses(at) == ("BIGINT", 3, 6)


def test_a_death_leaves_the_old_rows_or_the_new_and_the_next_one_finishes(at, tmp_path, open_gate, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*_args, **_options):
        raise Killed

    _take(at, tmp_path, m1001=_rows(1, 2, 15), m1002=_rows(3, 16, 4), m1101=_rows(5))
    old = base.state(at.lake, at.plan(DATASET)).segments
    _declare(at, SMALL)
    for where, what, rows in ((base, "_move", 7), (rebuild, "record_results", 5)):
        with monkeypatch.context() as patch:
            patch.setattr(where, what, die)
            with pytest.raises(Killed):
                backfill(DATASET, "2026-10-01", "2026-10-31", at)
        assert sum(v.rows for v in base.state(at.lake, at.plan(DATASET)).segments.values()) == rows
    assert [b["outcome"] for b in backfill(DATASET, "2026-10-01", "2026-10-31", at)["batches"]] == ["replayed", "replayed"]
    new = base.state(at.lake, at.plan(DATASET)).segments
    assert new[_batch("2026-11-01")] == old[_batch("2026-11-01")] and _statuses(at) == ("VARCHAR", 5, 15)
    assert len(list((at.lake.base / DATASET / "data").iterdir())) == 3
    assert [p.name for p in at.lake.staging.iterdir() if not p.name.startswith(".")] == []
