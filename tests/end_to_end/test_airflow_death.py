"""A task of Airflow killed in the middle: the scheduler tries it again, and the rows are those of an undisturbed run."""
from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import ledger_tables as tables, scheduler, steps
from pipelines.airflow_session import Session
from tests.support import HEADER, RESIDENCE, desk, project, resident_id, write_csv

DATASET, DATE, PERSONS, WAIT_SECONDS = "population.residence", "2026-10-01", 300, 240
PLACE = f".work-{DATASET}-0"      # where the first process that stages this dataset writes


def _holder(lock: Path) -> int | None:
    """The process that holds the lock of a file."""
    inode = str(lock.stat().st_ino) if lock.exists() else ""
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rsplit(":", 1)[-1] == inode:
            return int(words[4])
    return None


class Deadly(Session):
    """A session whose first staging task is killed while it writes."""

    at = None
    killed: list[int] = []

    def ingest(self, wanted):
        thread = threading.Thread(target=self._kill, daemon=True)
        thread.start()
        return super().ingest(wanted)

    def _kill(self) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end and not self.killed:
            if (self.at.lake.staging / PLACE / "made" / "0").exists() and (holder := _holder(self.at.lake.locks / f"{PLACE.removeprefix('.')}.lock")):
                os.kill(holder, signal.SIGKILL)
                self.killed.append(holder)
            time.sleep(0.005)


@pytest.mark.airflow
@pytest.mark.chaos
def test_a_task_killed_in_the_middle_is_tried_again_and_converges(tmp_path, monkeypatch):
    at = desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    monkeypatch.setattr(Deadly, "at", at)
    monkeypatch.setattr(scheduler, "Session", Deadly)
    rows = [(resident_id(n), "赵一", "1990-01-01", "640104", "有效", "") for n in range(1, PERSONS + 1)]
    steps.submit(DATASET, [write_csv(tmp_path / "640100.csv", HEADER, rows)], "police", DATE, desk=at)
    assert scheduler.conclude(scheduler.run(scheduler.waiting(at), at.lake, at.project, say=lambda _: None)) == 0
    assert len(Deadly.killed) == 1, "no task was killed"
    assert [r["state"] for r in at.ledger.rows(sa.select(tables.batches))] == ["accepted"]
    done = [r["outcome"] for r in at.ledger.rows(sa.select(tables.steps).where(tables.steps.c.step == "stage"))]
    assert done == ["done"], "the killed try could write no end"
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        assert con.execute(f"SELECT count(*), count(DISTINCT _key) FROM read_parquet('{steps.derive(at, at.plan(DATASET)).rows}')").fetchone() == (PERSONS, PERSONS)
        assert con.execute("SELECT count(*) FROM population.residence").fetchone() == (PERSONS,)
    assert list(at.lake.staging.glob("*~*")) == [] and not (at.lake.staging / PLACE).exists()
