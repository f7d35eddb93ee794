"""Runs batches through Airflow's own scheduler, from a script: `python -m pipelines.scheduler run | up`.

`run` starts Airflow over the lake, triggers one run per (dataset, batch date), waits for them and for the releases that
they fire, and stops Airflow. Every exit, Ctrl-C included, leaves no process. What an interrupted run left unfinished
is marked failed at the next start; its batches are taken up again by their own state in the ledger. `up` also starts
the triggerer, which notices arrivals in the inbox.
Exit codes: 0 done, 1 held by the gate or left in the inbox, 2 wrong use or contract, 3 a run or Airflow itself failed.
"""
from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import duckdb

from pipelines import show, steps, store
from pipelines.airflow_parts import AirflowFailed, Parts
from pipelines.airflow_session import Run, Session
from pipelines.contract import Dataset, datasets
from pipelines.deliveries import poll_seconds, settle_seconds
from pipelines.desk import Desk
from pipelines.ledger import Ledger
from pipelines.semantics import reference
from pipelines.settings import Lake, Project, WrongUse


def run(wanted: Sequence[tuple[str, str]], lake: Lake, project: Project, say: Callable[[str], None] = print) -> list[Run]:
    """Run (dataset, batch date) pairs, oldest date first, and the releases they fire, through a fresh Airflow.

    Raises:
        WrongUse: Airflow already runs over this lake.
        AirflowFailed: Airflow ended, stood still or answered with an error.
    """
    began = time.monotonic()

    def timed(text: str) -> None:
        say(f"[{time.monotonic() - began:6.1f} s] {text}")

    with Parts(lake, project) as parts:
        prepare(lake, project)
        session = Session(parts, {dataset for dataset, _ in wanted}, timed)
        timed(f"Airflow is up; {len(wanted)} runs")
        session.fail_leftovers()
        finished = session.ingest(sorted(wanted, key=lambda pair: pair[1]))
        timed("stopping Airflow")
    timed("done")
    return finished


def prepare(lake: Lake, project: Project) -> None:
    """Make what the first task would wait for, while Airflow starts: the code lists as DuckDB reads them. A list that is wrong stops who needs it."""
    with suppress(WrongUse, OSError, duckdb.Error):
        reference.prepare(project, lake.staging, Ledger(lake).added_codes())


def up(lake: Lake, project: Project, port: int) -> int:
    """Keep Airflow and its pages running over the lake until Ctrl-C or SIGTERM."""
    settle_seconds(), poll_seconds()      # a wrong setting ends here, not in a part
    with Parts(lake, project, port, triggerer=True) as parts:
        prepare(lake, project)
        Session(parts, (), print)
        print(f"Airflow: http://127.0.0.1:{port}  (this machine only, no password; Ctrl-C stops it)", flush=True)
        while True:
            parts.check()
            time.sleep(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.scheduler", description="The lake's DAGs, run by Airflow.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="take in what the inbox holds, publish, stop")
    one.add_argument("--dataset", help="only this dataset")
    one.add_argument("--batch-date", help="only this batch date")
    pages = commands.add_parser("up", help="Airflow and its pages until Ctrl-C")
    pages.add_argument("--port", type=int, default=8080)
    return parser.parse_args()


def main() -> int:
    """Run one command; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _arguments()
    try:
        with store.session():
            desk = Desk.open()
        return _run(options, desk) if options.command == "run" else up(desk.lake, desk.project, options.port)
    except WrongUse as error:
        print(error, file=sys.stderr)
        return 2
    except AirflowFailed as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def waiting(desk: Desk) -> list[tuple[str, str]]:
    """(dataset, batch date) of what may be taken from the inbox and of every batch that `receive` would take up again."""
    found = set()
    for dataset in _scheduled(desk):
        days = {row["batch_date"] for row in steps.undecided(desk, dataset)} | steps.inbox_dates(desk, dataset)
        found |= {(dataset.id, day) for day in days}
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


def _scheduled(desk: Desk) -> list[Dataset]:
    """The datasets that have a DAG."""
    return [dataset for dataset in datasets(desk.project) if dataset.status == "active"]


def _run(options: argparse.Namespace, desk: Desk) -> int:
    wanted = [(dataset, day) for dataset, day in waiting(desk)
              if options.dataset in (None, dataset) and options.batch_date in (None, day)]
    code = conclude(run(wanted, desk.lake, desk.project)) if wanted else 0
    stuck, unsettled = left(desk, wanted, options.dataset)
    if not wanted:
        empty = "Nothing in the inbox may be taken" if stuck or unsettled else "The inbox is empty"
        print(f"{empty} and no batch is undecided: nothing to take in.")
        print(show.released(steps.release(desk)))
    for message in (*stuck, *unsettled):
        print(message)
    return max(code, 1 if stuck else 0)


def left(desk: Desk, told: Sequence[tuple[str, str]], only: str | None = None) -> tuple[list[str], list[str]]:
    """What has to stay in the inbox, and what is not complete yet; of `told` runs the verdict has said the former."""
    stuck, unsettled = [], []
    for dataset in _scheduled(desk):
        if only in (None, dataset.id):
            found = steps.notice(dataset.id, desk)
            stuck += [message for day, message in found["left"] if (dataset.id, day) not in told]
            unsettled += found["unsettled"]
    return stuck, unsettled


def conclude(finished: list[Run]) -> int:
    """Print why runs failed; returns the exit code."""
    failed = [r for r in finished if r.state == "failed"]
    for one in failed:
        print(f"{one.dataset} {one.key}: {'held' if one.held else 'failed at ' + ', '.join(one.failed_tasks)}")
        for message in one.messages:
            print(f"  {message}")
    if not failed:
        return 0
    return 1 if all(r.held for r in failed) else 3


if __name__ == "__main__":
    sys.exit(main())
