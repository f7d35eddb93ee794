"""Which runs `make run` starts, and with which exit code it ends."""
from __future__ import annotations

import pytest

from pipelines.airflow_session import Run
from pipelines.scheduler import conclude, waiting
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


def test_a_file_that_is_still_being_written_is_left_alone(at):
    _put(at, "police", "2026-11-01", ".640100.csv")
    assert waiting(at) == []


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
