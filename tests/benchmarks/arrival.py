"""How long a file is under way: from the mark that says it is complete to its rows in lake.duckdb, with Airflow's scheduler running.

    python -m tests.benchmarks.arrival [PERSONS] [--times 3] [--out FILE]

Persons, with all contracts and views of this project. The largest file of a sample comes again and again, other persons each time, under the next batch date; nothing is triggered by hand.
Where the time goes is told by Airflow (tasks) and by the ledger (steps).
"""
from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import psutil
import sqlalchemy as sa

from pipelines import ledger_tables as tables, scheduler
from pipelines.airflow_parts import Parts
from pipelines.airflow_session import Session
from pipelines.desk import Desk
from pipelines.sample import generate
from pipelines.settings import Lake, Project
from tests.support import REPOSITORY

DATASET = "population.person"
WAIT_SECONDS = 300


def state(at: Desk) -> tuple[int, int] | None:
    """What tells one published database from the next."""
    try:
        found = at.lake.database.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def seen(at: Desk) -> int:
    """Persons that an analyst sees now."""
    if not at.lake.database.exists():
        return 0
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        return con.execute("SELECT count(*) FROM population.person").fetchone()[0]


def processor(parts: Parts) -> dict[str, float]:
    """CPU seconds of every part of Airflow since its start, those of the tasks apart from their scheduler."""
    found = {}
    for part, process in parts._running.items():
        own = psutil.Process(process.pid)
        below = sum(sum(one.cpu_times()) for one in own.children(recursive=True) if one.is_running())
        ended = own.cpu_times()
        found[part] = ended.user + ended.system
        found["tasks" if part == "scheduler" else part] = (0 if part == "scheduler" else found[part]) + below + ended.children_user + ended.children_system
    return found


def follow(at: Desk, session: Session, dropped: float, before: int) -> dict[str, Any]:
    """Wait for the next release that shows other rows than `before`, and tell what happened since."""
    began, shown, published = processor(session._parts), state(at), 0.0
    while not published:
        if state(at) != shown and seen(at) != before:      # opening a database ten times a second would take a core from what is measured
            published = time.time()
        elif time.time() > dropped + WAIT_SECONDS:
            raise SystemExit("nothing was published")
        time.sleep(0.1)
    used = processor(session._parts)
    found = session.api.get("/dags/~/dagRuns/~/taskInstances", limit=1000, start_date_gte=datetime.fromtimestamp(dropped).astimezone().isoformat())["task_instances"]
    starts = {t["id"]: datetime.fromisoformat(t["start_date"]).timestamp() - dropped for t in found if t["start_date"]}
    since = sorted((starts[t["id"]], f"{t['dag_id']} {t['task_id']}", (t["duration"] or 0) if t["end_date"] else published - dropped - starts[t["id"]]) for t in found if t["id"] in starts)
    s = tables.steps
    steps = at.ledger.rows(sa.select(s).where(s.c.started_at >= datetime.fromtimestamp(dropped, UTC).isoformat(timespec="seconds")).order_by(s.c.id))
    return {"rows": seen(at), "seconds": round(published - dropped, 1), "load": round(os.getloadavg()[0], 1),
            "cpu": {part: round(used[part] - began[part], 1) for part in used},
            "tasks": [{"task": name, "after": round(start, 1), "seconds": round(taken, 1)} for start, name, taken in since],
            "steps": {f"{one['step']} {one['subject']}".partition("~")[0]: one["seconds"] for one in steps}}


def main() -> None:
    """Drop files and print how long each was under way."""
    asked = argparse.ArgumentParser()
    asked.add_argument("persons", type=int, nargs="?", default=46_000, help="of the sample whose largest file is taken")
    asked.add_argument("--times", type=int, default=3)
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        at = Desk(Project(REPOSITORY), Lake.open(Path(folder) / "lake"))
        os.environ["LAKE_SETTLE_SECONDS"] = "3600"      # only the mark tells
        runs = []
        with Parts(at.lake, at.project, triggerer=True) as parts:
            scheduler.prepare(at.lake, at.project)
            session = Session(parts, [DATASET], lambda _: None)
            for number in range(given.times):
                aside = Path(folder) / f"sent-{number}"
                generate(aside, given.persons, number + 1, date(2026, 11, number + 1), truth=Path(folder) / f"truth-{number}", project=at.project)
                file = max((aside / DATASET).rglob("*.csv"), key=lambda f: f.stat().st_size)
                place = at.lake.inbox / file.parent.relative_to(aside)
                place.mkdir(parents=True, exist_ok=True)
                file.rename(place / file.name)
                before = seen(at)
                (place / ".done").touch()
                runs.append(follow(at, session, time.time(), before))
                print(f"{runs[-1]['rows']:,} rows: {runs[-1]['seconds']} s from complete to published", flush=True)
                for one in runs[-1]["tasks"]:
                    print(f"  {one['after']:6.1f} s  {one['seconds']:5.1f} s  {one['task']}", flush=True)
                for what in ("steps", "cpu"):
                    print(f"  {what}: " + ", ".join(f"{name} {seconds}" for name, seconds in runs[-1][what].items()), flush=True)
        if given.out:
            given.out.write_text(json.dumps({"runs": runs, "load": round(os.getloadavg()[1], 1)}, indent=1))


if __name__ == "__main__":
    main()
