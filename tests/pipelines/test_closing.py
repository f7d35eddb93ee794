"""A closed month: what arrives for it is held with the way on, its release outlives all others, re-opening undoes it."""
from __future__ import annotations

import json

import duckdb
import pytest

from pipelines import published, steps
from pipelines.batch import month
from pipelines.cli import main
from pipelines.closing import close, reopen
from pipelines.settings import WrongUse
from tests.support import HEADER, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET = "population.residence"
OCTOBER = f"{DATASET}~police~640100~2026-10-01~1"


def _rows(status: str, *numbers: int) -> list[tuple]:
    return [(resident_id(n), "赵一", "1990-01-01", "640104", status, "") for n in numbers]


def _submit(at, tmp_path, date: str, rows: list[tuple], **options) -> None:
    file = write_csv(tmp_path / f"out/{date}-{len(options)}{rows[0][4]}/640100.csv", HEADER, rows)
    steps.submit(DATASET, [file], "police", date, desk=at, **options)


def _ingest(at) -> list[str]:
    """What is said about the batches that wait."""
    keys = steps.receive(DATASET, desk=at)
    passed = steps.judge(DATASET, steps.stage(DATASET, keys, at), at)
    if passed:
        steps.commit(DATASET, passed, at)
    return steps.report(DATASET, keys, at)


def _statuses(at) -> list[tuple]:
    return duckdb.sql(f"SELECT id_number, status FROM '{steps.derive(at, at.plan(DATASET)).rows}' ORDER BY ALL").fetchall()


@pytest.fixture
def at(tmp_path):
    return desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))


def test_a_late_batch_is_held_and_re_opening_takes_it(at, tmp_path):
    _submit(at, tmp_path, "2026-10-01", _rows("旧", 1, 2))
    assert _ingest(at) == []
    before = _statuses(at)
    assert close("2026-10", reason="月报已报", desk=at) == {"month": "2026-10", "release_id": 1, "closed": [DATASET], "already": []}
    _submit(at, tmp_path, "2026-10-01", _rows("新", 1, 2), correct=True)
    _submit(at, tmp_path, "2026-11-01", _rows("下月", 3))
    closing = at.ledger.closing(DATASET, "2026-10")
    said, = _ingest(at)
    assert f"2026-10 of {DATASET} is closed since {closing['closed_at']}" in said
    assert f"python -m pipelines reopen 2026-10 {DATASET} --reason TEXT" in said and "under a batch date of that month" in said
    held = at.ledger.batch(OCTOBER, 2)
    assert (held["state"], held["decided_by"], held["records"]) == ("held", "closing", 2)
    assert _statuses(at) == [*before, (resident_id(3), "下月")]
    assert _ingest(at) == []
    assert reopen("2026-10", DATASET, reason="更正", desk=at)["waiting"] == [f"{OCTOBER}~r2"]
    assert [r["state"] for r in steps.undecided(at, at.plan(DATASET).dataset)] == ["staged"]
    assert _ingest(at) == []
    assert dict(_statuses(at)) == {resident_id(1): "新", resident_id(2): "新", resident_id(3): "下月"}
    assert close("2026-10", [DATASET], reason="更正后再报", desk=at)["release_id"] == 2
    con = duckdb.connect(str(at.lake.database), read_only=True)
    assert con.execute("SELECT month, reason, reopened_reason, release_id FROM governance.closings ORDER BY closed_at, release_id NULLS LAST").fetchall() == [
        ("2026-10", "月报已报", "更正", 1), ("2026-10", "更正后再报", None, None)]


def test_a_month_with_open_batches_is_closed_only_on_request(at, tmp_path):
    _submit(at, tmp_path, "2026-10-05", _rows("晚", 4))
    key, = steps.receive(DATASET, desk=at)
    assert steps.judge(DATASET, steps.stage(DATASET, [key], at), at) == [key]
    waiting = at.lake.inbox / DATASET / "police" / "2026-10-09"
    write_csv(waiting / "640100.csv", HEADER, _rows("待", 5))
    with pytest.raises(WrongUse, match="--anyway") as refused:
        close("2026-10", reason="月报", desk=at)
    assert f"{key.removesuffix('~r1')} is passed" in str(refused.value) and "files of 2026-10-09" in str(refused.value)
    assert at.ledger.closing(DATASET, "2026-10") is None
    assert close("2026-10", reason="月报", anyway=True, desk=at)["closed"] == [DATASET]
    assert steps.commit(DATASET, [key], at)["current_rows"] == 0, "what had passed the gate before the closing must not be committed after it"
    assert len(_ingest(at)) == 2
    assert _statuses(at) == []


def test_a_dead_close_is_finished_by_the_next(at, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(published, "restrict", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            close("2026-10", reason="月报", desk=at)
    assert at.ledger.closing(DATASET, "2026-10")["release_id"] is None
    assert close("2026-10", reason="月报", desk=at) == {"month": "2026-10", "release_id": 1, "closed": [], "already": [DATASET]}
    assert at.ledger.closing(DATASET, "2026-10")["release_id"] == 1
    assert close("2026-10", reason="月报", desk=at)["release_id"] is None


def test_wrong_words_are_told(at, monkeypatch, capsys):
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    for command, says in ((["close", "2026-13", "--reason", "x"], "YYYY-MM"), (["close", "2026-10", "--reason", " "], "--reason TEXT"),
                          (["close", "2026-10", "population.nobody", "--reason", "x"], "Contracts exist for"),
                          (["reopen", "2026-10", DATASET, "--reason", "x"], "Closed months: none")):
        assert main(command) == 2
        assert says in capsys.readouterr().err
    assert main(["close", "2026-10", "--reason", "月报", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["closed"] == [DATASET]
    assert main(["close", "2026-10", "--reason", "月报"]) == 0
    assert "was closed before" in capsys.readouterr().out
    assert main(["reopen", "2026-10", DATASET, "--reason", "更正"]) == 0
    assert "No batch was held" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["2026", "2026-1", "202610", "2026-10-01", "2026-W1", ""])
def test_a_month_is_written_in_one_way(text):
    with pytest.raises(WrongUse):
        month(text)
