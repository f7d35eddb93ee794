"""A held batch through Airflow's own scheduler: asked about, released on its page, committed and published by itself."""
from __future__ import annotations

import time
from functools import partial

import pytest
import sqlalchemy as sa

from pipelines import ledger_tables, problems, scheduler, steps
from pipelines.airflow_parts import Parts
from pipelines.airflow_session import Session
from tests.pipelines.test_problems import CONTRACT, DATASET, DEPARTMENT, RULE, rows
from tests.support import HEADER, desk, project, write_csv

DAYS = ("2026-11-01", "2026-11-02")
WAIT_SECONDS = 120


class Officer(Session):
    """A session in which somebody answers what is asked."""

    def ingest(self, wanted):
        finished = super().ingest(wanted)
        self._until("both questions", lambda: len(self._asked()) == 2, WAIT_SECONDS)
        time.sleep(4)      # an answer within a second of the question confuses the scheduler
        for one in self._asked():
            instance, option = one["task_instance"], "放行 Release" if DAYS[0] in one["subject"] else "维持扣留 Hold"
            assert RULE in one["body"]
            self.api.patch(f"/dags/approvals/dagRuns/{instance['dag_run_id']}/taskInstances/decide/-1/hitlDetails",
                           {"chosen_options": [option], "params_input": {"reason": "部门已书面说明"}})
        batch = partial(self.at.ledger.batch, f"{DATASET}~police~640100~{DAYS[0]}~1")
        self._until("the released batch to be published", lambda: batch()["state"] == "accepted" and self.at.lake.database.exists() and self._ended("desk"), WAIT_SECONDS)
        return finished

    def _asked(self) -> list[dict]:
        return self.api.get("/dags/~/dagRuns/~/hitlDetails", response_received="false")["hitl_details"]

    def _ended(self, dag: str) -> bool:
        found = self.api.get(f"/dags/{dag}/dagRuns")["dag_runs"]
        return bool(found) and all(r["state"] == "success" for r in found)


@pytest.mark.airflow
@pytest.mark.long
def test_officers_answer_on_airflows_pages_and_the_batch_goes_on(tmp_path, monkeypatch):
    at = desk(tmp_path, project(tmp_path / "project", population__residence=CONTRACT))
    monkeypatch.setattr(scheduler, "Parts", Parts)
    monkeypatch.setattr(scheduler, "Session", Officer)
    monkeypatch.setattr(Officer, "at", at, raising=False)
    for day in DAYS:
        steps.submit(DATASET, [write_csv(tmp_path / day / "640100.csv", HEADER, rows(10, 10))], "police", day, desk=at)
    scheduler.run(scheduler.waiting(at), at.lake, at.project, say=lambda _: None)
    a = ledger_tables.approvals
    assert sorted((r["batch_id"].split("~")[3], r["decision"], r["reason"]) for r in at.ledger.rows(sa.select(a))) == [
        (DAYS[0], "release", "部门已书面说明"), (DAYS[1], "hold", "部门已书面说明")]
    assert all(r["decided_by"] for r in at.ledger.rows(sa.select(a)))
    assert at.ledger.batch(f"{DATASET}~police~640100~{DAYS[1]}~1")["state"] == "held"
    assert {(p["rule"], p["department"]) for p in problems.listing(at)} >= {(RULE, DEPARTMENT), ("batch.held", DEPARTMENT)}
