"""What judging costs: Great Expectations with the full suite of persons, as a share of the whole ingest of the same rows.

    python -m tests.benchmarks.judging 5000000

Invents that many persons with the usual defects, then takes them in step by step. Importing Great Expectations is timed first and stated
beside: an Airflow worker has it imported before its first task.
"""
from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from pipelines import steps
from pipelines.desk import Desk
from pipelines.gate import suite
from pipelines.sample import generate
from pipelines.settings import Lake
from tests.support import REPOSITORY, project

DATASET, DATE = "population.person", "2026-11-01"


def timed(name: str, seconds: dict[str, float], work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Do one step and note how long it took."""
    started = time.perf_counter()
    done = work(*arguments, **options)
    seconds[name] = time.perf_counter() - started
    return done


def main(rows: int) -> None:
    """Print the seconds of every step and the share of judging."""
    os.environ["LAKE_SETTLE_SECONDS"] = "0"
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        contract = (REPOSITORY / "warehouse" / "contracts" / "population" / "person.yaml").read_text("utf-8")
        made = project(root / "project", population__person=contract)
        (made.expectations / "population").mkdir()
        (made.expectations / "population" / "person.yaml").symlink_to(REPOSITORY / "expectations" / "population" / "person.yaml")
        at = Desk(made, Lake.open(root / "lake"))
        timed("(inventing the rows)", seconds, generate, at.lake.inbox, rows, 1, date.fromisoformat(DATE), truth=root / "truth", project=made)
        timed("(importing Great Expectations)", seconds, suite.great_expectations)
        received = timed("receive", seconds, steps.receive, DATASET, desk=at)
        staged = timed("stage", seconds, steps.stage, DATASET, received, at)
        passed = timed("judge", seconds, steps.judge, DATASET, staged, at)
        counts = timed("commit", seconds, steps.commit, DATASET, passed, at)
        rules = len(at.plan(DATASET).rules)
    whole = sum(s for name, s in seconds.items() if not name.startswith("("))
    for name, value in seconds.items():
        print(f"{name:32} {value:8.1f} s" + ("" if name.startswith("(") else f"  {value / whole:6.1%}"))
    print(f"{counts['accepted'] + counts['quarantined']:,} rows, {rules} rules, {len(passed)} batches: judging is {seconds['judge'] / whole:.1%} of {whole:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
