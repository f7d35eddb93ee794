"""The real DAGs through Airflow's own scheduler: accepted, held, released, noticed by themselves, and nothing twice."""
from __future__ import annotations

import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import duckdb
import pytest

from pipelines import scheduler, steps
from pipelines.airflow_parts import Parts
from pipelines.airflow_session import Session
from pipelines.settings import PRIVATE
from pipelines.status import status, why
from tests.support import HEADER, RESIDENCE, desk, project, resident_id, write_csv

DATASET, OTHER = "population.residence", "population.lodging"
GOOD = [(resident_id(n), "赵一一", "1990-01-01", "640104", "有效", "") for n in range(1, 21)]
BAD = [(f"64010419900101{n:04d}", "赵一一", "1990-01-01", "640104", "有效", "") for n in range(1, 21)]
LATER = [(resident_id(n), "赵一一", "1990-01-01", "640104", "有效", "") for n in range(21, 31)]
BY_HAND, BY_ITSELF, STUCK = ("2026-10-01", "2026-11-01"), "2026-12-01", "2026-12-02"
WAIT_SECONDS, SETTLE_SECONDS, QUIET_SECONDS = 120, 3600, 8


def _submit(at, folder: Path, date: str, rows: list[tuple]) -> None:
    steps.submit(DATASET, [write_csv(folder / date / "640100.csv", HEADER, rows)], "police", date, desk=at)


def _drop(at, date: str, rows: list[tuple], name: str = "640100.csv") -> Path:
    return write_csv(at.lake.inbox / DATASET / "police" / date / name, HEADER, rows)


def _seen(at) -> int:
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        return con.execute("SELECT count(*) FROM population.residence").fetchone()[0]


class Watched(Session):
    """A session that also drops files after its own runs, and triggers nothing for them."""

    def ingest(self, wanted):
        finished = super().ingest(wanted)
        self._pages_ask_who_is_there()
        self._drop_and_wait(self.at)
        return finished

    def _pages_ask_who_is_there(self) -> None:
        """The quality officer's pages in Airflow's menu, and nothing beside them. This session knows everybody; tests/pipelines/test_airflow_plugin.py asks as a stranger."""
        self.api.get("/version")
        page = f"{self.api._base}/lake/index.html"

        def asked(address: str, **headers: str) -> tuple[int, bytes]:
            try:
                with self.api._open(urllib.request.Request(address, headers=headers)) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as refused:
                return refused.code, refused.read()

        known = {"Authorization": f"Bearer {self.api._token}"}
        status, content = asked(page, **known)
        assert status == 200 and "数据质量总览".encode() in content
        for outside in ("../lake.json", "%2e%2e/lake.json", "..%2flake.json", "nothing.html"):
            assert asked(f"{self.api._base}/lake/{outside}", **known)[0] == 404, outside
        views = [v for plugin in self.api.get("/plugins")["plugins"] for v in plugin["external_views"]]
        assert [v["href"] for v in views] == ["/lake/index.html", "/lake/dictionary/index.html"]

    def _drop_and_wait(self, at) -> None:
        assert _seen(at) == 20
        file = _drop(at, BY_ITSELF, LATER)
        whole = file.read_bytes()
        file.write_bytes(whole[:200])
        time.sleep(QUIET_SECONDS)
        assert self._states("inbox") == [], "a half-written file starts nothing"
        file.write_bytes(whole)
        file.with_name(".done").touch()
        self._until("the arrival to be released", lambda: _seen(at) == 30, WAIT_SECONDS)
        _drop(at, BY_ITSELF, LATER, "640100 again.csv").with_name(".done").touch()
        _drop(at, STUCK, LATER, "no part.csv").with_name(".done").touch()
        ingest = f"ingest.{DATASET}"
        self._until("the same bytes to be taken in again, and one file to stay",
                    lambda: "failed" in self._states("inbox") and self._states(ingest, BY_ITSELF)[1:] == ["success"], WAIT_SECONDS)
        time.sleep(QUIET_SECONDS)
        assert set(self._states("inbox")) == {"success", "failed"} and self._states("inbox")[0] == "success"
        assert self._states(ingest, BY_ITSELF) == ["success"] * 2, "nothing is told twice"
        assert self._states(ingest, STUCK) == self._states(f"ingest.{OTHER}") == []
        assert self.api.get("/eventLogs", event="missing partition key")["event_logs"] == []

    def _states(self, dag: str, key: str | None = None) -> list[str]:
        """How the runs of a DAG ended or stand, oldest first."""
        return [r["state"] for r in self.api.get(f"/dags/{dag}/dagRuns", order_by="run_after")["dag_runs"] if r["partition_key"] == key]


@pytest.mark.airflow
def test_batches_go_through_the_scheduler_and_a_held_one_stays_out(tmp_path, capsys, monkeypatch):
    contract = RESIDENCE.replace("LOAD", "upsert")
    at = desk(tmp_path, project(tmp_path / "project", population__residence=contract, population__lodging=contract.replace("residence", "lodging")))
    monkeypatch.setenv("LAKE_SETTLE_SECONDS", str(SETTLE_SECONDS))
    monkeypatch.setenv("LAKE_POLL_SECONDS", "1")
    monkeypatch.setattr(scheduler, "Parts", partial(Parts, triggerer=True))
    monkeypatch.setattr(scheduler, "Session", Watched)
    monkeypatch.setattr(Watched, "at", at, raising=False)
    for date, rows in zip(BY_HAND, (GOOD, BAD)):
        _submit(at, tmp_path / "sent", date, rows)
    assert scheduler.waiting(at) == [(DATASET, date) for date in BY_HAND]
    assert scheduler.conclude(scheduler.run(scheduler.waiting(at), at.lake, at.project, say=lambda _: None)) == 1
    said = capsys.readouterr().out
    assert "id_number.checksum" in said and "python -m pipelines why" in said
    found = status(at)
    mine = next(d for d in found["datasets"] if d["dataset"] == DATASET)
    assert (mine["accepted"], mine["held"]) == (10, 1)
    assert found["inbox"] == [{"dataset": DATASET, "code": "part", "files": 1}]
    story = why(f"{DATASET}~police~640100~{BY_HAND[1]}~1", at)
    assert story["batch"]["state"] == "held" and "--correct" in story["remedy"]
    assert at.ledger.batch(f"{DATASET}~police~640100~{BY_ITSELF}~2") is None, "the same bytes are no second batch"
    assert scheduler.waiting(at) == []
    assert steps.release(at) is None
    _no_value_in_what_others_can_read(at)


def _no_value_in_what_others_can_read(at) -> None:
    exposed = [p for p in at.lake.home.rglob("*") if p.is_file() and p.relative_to(at.lake.home).parts[0] not in (*PRIVATE, "inbox") and p.suffix != ".parquet"]
    assert {"airflow", "reports", "lake.duckdb"} <= {p.relative_to(at.lake.home).parts[0] for p in exposed}
    assert any(p.suffix == ".log" for p in exposed) and any(p.suffix == ".db" for p in exposed)
    values = [row[0].encode() for row in (*GOOD, *BAD, *LATER)] + ["赵一一".encode(), b"no part.csv"]
    leaks = {str(p.relative_to(at.lake.home)) for p in exposed if any(v in p.read_bytes() for v in values)}
    assert {p for p in leaks if not p.startswith("outbox/")} == set()
