"""Several workers over one lake: batches of one dataset are staged and judged at once, whoever is first, and each ends in base once."""
from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from os import environ

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import gate, ledger_tables as tables, staging, steps
from pipelines.batch import key_of, split_key
from pipelines.desk import Desk
from pipelines.keys import pseudonym_key
from pipelines.locks import writer
from tests.support import HEADER, REPOSITORY, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET, BATCHES = "population.residence", 3
WORKER = """
import sys
from pipelines.desk import Desk
from pipelines.keys import pseudonym_key
from tests.end_to_end.test_workers import work
work(Desk.open(), sys.argv[1:])
"""


def work(at, keys: list[str]) -> None:
    """What one worker does: every batch, step by step, as far as nobody else has done it."""
    for key in keys:
        accepted = steps.judge(DATASET, steps.stage(DATASET, [key], at), at)
        if accepted:
            steps.commit(DATASET, accepted, at)


def _lake(tmp_path):
    at = desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    pseudonym_key(at.lake)      # made once, by whoever is first; told by process
    keys = []
    for number in range(BATCHES):
        rows = [(resident_id(10 * number + n), "赵一一", "1990-01-01", "640104", f"第{number}批", "") for n in range(1, 16)]
        file = write_csv(tmp_path / f"sent/{number}/640100.csv", HEADER, rows)
        [one] = steps.submit(DATASET, [file], "police", f"2026-1{number % 2}-0{number + 1}", desk=at)
        keys.append(key_of(one.batch_id, one.revision))
    return at, keys


def _done_once(at) -> None:
    t = tables.batches
    assert {r["state"] for r in at.ledger.rows(sa.select(t.c.state).where(t.c.dataset == DATASET))} == {"accepted"}
    rows = duckdb.sql(f"SELECT count(*), count(DISTINCT id_number), count(DISTINCT status) FROM '{steps.derive(at, at.plan(DATASET)).rows}'").fetchone()
    assert rows == (10 * (BATCHES - 1) + 15, 10 * (BATCHES - 1) + 15, BATCHES)
    assert [p.name for p in at.lake.staging.iterdir() if p.name.startswith((".work", DATASET))] == []


def test_workers_that_take_the_same_batches_at_once(tmp_path):
    """Threads, each with a desk of its own: the locks are of open files and sessions, so they part threads as they part processes."""
    at, keys = _lake(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, Desk(at.project, at.lake), keys) for _ in range(2)]:
            done.result()
    _done_once(at)


@pytest.mark.long
def test_worker_processes(tmp_path):
    at, keys = _lake(tmp_path)
    variables = environ | {"LAKE_HOME": str(at.lake.home), "LAKE_PROJECT": str(at.project.root), "PYTHONPATH": str(REPOSITORY), "LAKE_THREADS": "1"}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, *order], env=variables, stderr=subprocess.PIPE, text=True) for order in (keys, keys[::-1])]
    told = [worker.communicate(timeout=240)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told
    _done_once(at)


def test_the_dataset_is_free_while_a_batch_is_staged_and_judged(tmp_path, monkeypatch):
    at, keys = _lake(tmp_path)
    free = []

    def watched(module, name):
        known = getattr(module, name)

        def work(*arguments):
            with writer(at.lake, DATASET, wait=0):
                free.append(name)
            return known(*arguments)
        monkeypatch.setattr(module, name, work)

    watched(staging, "make")
    watched(gate, "judge_some")
    assert steps.judge(DATASET, steps.stage(DATASET, keys[:1], at), at) == keys[:1]
    assert free == ["make", "judge_some"]


def test_what_another_worker_decided_meanwhile_stays(tmp_path, monkeypatch):
    """While one worker stages a batch, another one takes it all the way; while one judges, another stages it anew."""
    at, keys = _lake(tmp_path)
    known = staging.make

    def overtaken(*arguments):
        made = known(*arguments)
        monkeypatch.setattr(staging, "make", known)
        assert steps.commit(DATASET, steps.judge(DATASET, steps.stage(DATASET, keys[:1], at), at), at)["batches"] == 1
        return made

    monkeypatch.setattr(staging, "make", overtaken)
    assert steps.stage(DATASET, keys[:1], at) == []
    assert at.ledger.batch(*split_key(keys[0]))["state"] == "accepted" and not list(at.lake.staging.glob(f"{DATASET}~*"))

    judge = gate.judge_some

    def replaced(*arguments):
        monkeypatch.setattr(gate, "judge_some", judge)
        at.ledger.update_batch(*split_key(keys[1]), state="received")
        assert steps.stage(DATASET, keys[1:2], at) == keys[1:2]
        return [gate.Verdict("hold", ["the files were gone"], [], sound=False)]

    assert steps.stage(DATASET, keys[1:2], at) == keys[1:2]
    monkeypatch.setattr(gate, "judge_some", replaced)
    assert steps.judge(DATASET, keys[1:2], at) == []
    assert at.ledger.batch(*split_key(keys[1]))["state"] == "staged"
    assert steps.judge(DATASET, keys[1:2], at) == keys[1:2]
