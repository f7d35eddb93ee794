"""Which runs `make run` starts, and with which exit code it ends."""
from __future__ import annotations

import pytest

from pipelines import prepared, staging
from pipelines.airflow_session import Run
from pipelines.scheduler import conclude, left, main, prepare, waiting
from tests.support import HEADER, RESIDENCE, desk, project, resident_id, write_csv


@pytest.fixture
def at(tmp_path):
    return desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))


def _put(at, source: str, day: str, name: str) -> None:
    write_csv(at.lake.inbox / "population.residence" / source / day / name, HEADER, [(resident_id(1), "赵一", "1990-01-01", "640104", "有效", "")])


def test_an_empty_inbox_starts_nothing(at):
    assert waiting(at) == []


def test_each_dataset_and_date_is_one_run_oldest_first(at):
    _put(at, "grid", "2026-11-01", "640100.csv")
    _put(at, "police", "2026-11-01", "640100.csv")
    _put(at, "police", "2026-10-01", "640100.csv")
    assert waiting(at) == [("population.residence", "2026-10-01"), ("population.residence", "2026-11-01")]


@pytest.mark.parametrize("name, seconds", [(".640100.csv", "0"), ("640100.csv.part", "0"), ("640100.csv", "60")])
def test_a_file_that_is_still_being_written_is_left_alone(at, monkeypatch, name, seconds):
    monkeypatch.setenv("LAKE_SETTLE_SECONDS", seconds)
    _put(at, "police", "2026-11-01", name)
    assert waiting(at) == []


def test_a_draft_is_not_run(at):
    _put(at, "police", "2026-11-01", "640100.csv")
    path = at.project.contracts / "population" / "residence.yaml"
    path.write_text(path.read_text().replace("status: active", "status: draft"))
    assert waiting(at) == []


@pytest.mark.parametrize("told, said", [([], 1), ([("population.residence", "2026-11-01")], 0)])
def test_what_must_stay_is_told_once_and_what_is_incomplete_is_no_fault(at, monkeypatch, told, said):
    _put(at, "police", "2026-11-01", "no part.csv")
    _put(at, "police", "2026-11-01", "640100.csv.part")
    stuck, unsettled = left(at, told)
    assert (len(stuck), len(unsettled)) == (said, 1)


def test_a_run_with_nothing_to_take_in_tells_what_must_stay(at, monkeypatch, capsys):
    _put(at, "police", "2026-11-01", "no part.csv")
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    monkeypatch.setattr("sys.argv", ["scheduler", "run"])
    assert main() == 1
    said = capsys.readouterr().out
    assert "Nothing in the inbox may be taken" in said and "[part]" in said and "no part.csv" not in said


def test_a_batch_that_an_interrupted_run_left_is_taken_up_again(at):
    at.ledger.add_batch(batch_id="population.residence~police~640100~2026-11-01~1", revision=1, dataset="population.residence",
                        source="police", part="640100", batch_date="2026-11-01", sequence=1)
    assert waiting(at) == [("population.residence", "2026-11-01")]


@pytest.mark.parametrize("runs, code", [
    ([Run("a", "d", "success"), Run("release", "release", "success")], 0),
    ([Run("a", "d", "success"), Run("b", "d", "failed", ("verdict",), ("held: 5 of 10 rows",))], 1),
    ([Run("b", "d", "failed", ("verdict",)), Run("release", "release", "failed", ("publish",))], 3),
])
def test_the_exit_code_tells_held_from_broken(runs, code, capsys):
    assert conclude(runs) == code
    assert all(m in capsys.readouterr().out for r in runs for m in r.messages)


def test_code_lists_are_ready_before_the_first_task_and_wrong_ones_stop_no_start(at, monkeypatch):
    monkeypatch.setattr(prepared, "_found", {})      # what this process made in other lakes
    prepare(at.lake, at.project)
    (made,) = at.lake.staging.glob(".lists-*.duckdb")
    state = made.stat().st_mtime_ns
    prepare(at.lake, at.project)
    assert made.stat().st_mtime_ns == state
    with staging.engine(at.lake, at.project, at.plan("population.residence")) as con:
        assert con.execute("SELECT code_name('sex', '1')").fetchone() == ("男",)
    assert made.stat().st_mtime_ns == state, "the first task makes nothing anew"
    at.project.reference.unlink()      # a link to those of this repository
    at.project.reference.mkdir()
    (at.project.reference / "lists.yaml").write_text("- {list: nowhere}\n")
    prepare(at.lake, at.project)
