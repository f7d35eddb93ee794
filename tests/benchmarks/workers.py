"""What a second worker brings: eight batches of one dataset by one process and by two over the same lake path, one DuckDB thread each.

    python -m tests.benchmarks.workers [ROWS] [--batches 8] [--turns 1] [--out FILE]

ROWS a batch, one batch a date; each worker stages, judges and commits its share, batch by batch. What is derived (sorted) once when all is committed is timed apart.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.job.run import DATASET, JOB, SOURCE
from tests.support import project

# GX is imported, and the keys are known, before the clock starts: a worker of Airflow has both.
WORKER = """
import sys
from pipelines import steps
from pipelines.committing import commit_some
from pipelines.desk import Desk
from pipelines.gate import suite
from pipelines.locks import writer
from pipelines.batch import split_key
suite.great_expectations()
desk, dataset = Desk.open(), sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
for key in sys.argv[2:]:
    assert steps.judge(dataset, steps.stage(dataset, [key], desk), desk) == [key]
    with writer(desk.lake, dataset):
        commit_some(desk, desk.plan(dataset), [split_key(key)])
"""


def lay_out(root: Path, rows: int, batches: int) -> None:
    """A project and an inbox with the same rows under several dates, and them in landing."""
    made = project(root / "project", population__register=(JOB / "contract.yaml").read_text("utf-8"))
    (made.expectations / "population").mkdir()
    shutil.copy(JOB / "rules.yaml", made.expectations / "population" / "register.yaml")
    subprocess.run([sys.executable, "-m", "tests.benchmarks.job.data", str(rows), str(root / "data")], check=True, stdout=subprocess.DEVNULL)
    for day in range(1, batches + 1):
        place = root / "lake" / "inbox" / DATASET / SOURCE / f"2026-11-{day:02d}"
        place.mkdir(parents=True)
        with open(root / "data" / "person_gb18030.csv", "rb") as read, open(place / "persons.csv", "wb") as out:
            shutil.copyfileobj(read, out)
            out.write(b"\n" * day)      # other bytes, or it would be the same batch


def run(root: Path, workers: int, keys: list[str]) -> float:
    """Wall seconds of so many workers for all batches, over a fresh copy of the lake."""
    lake = root / "lake"
    kept = root / "kept"
    if not kept.exists():
        shutil.copytree(lake, kept)
    shutil.rmtree(lake)
    shutil.copytree(kept, lake)
    started = [subprocess.Popen([sys.executable, "-c", WORKER, DATASET, *keys[n::workers]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for n in range(workers)]
    for one in started:
        one.stdout.readline()
    clock = time.perf_counter()
    for one in started:
        one.stdin.write("go\n")
        one.stdin.flush()
    codes = [one.wait() for one in started]
    if any(codes):
        raise SystemExit(f"workers ended with {codes}")
    return time.perf_counter() - clock


def main() -> None:
    """Print seconds by number of workers and their ratio."""
    asked = argparse.ArgumentParser()
    asked.add_argument("rows", type=int, nargs="?", default=1_000_000)
    asked.add_argument("--batches", type=int, default=8)
    asked.add_argument("--turns", type=int, default=1)
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lay_out(root, given.rows, given.batches)
        os.environ |= {"LAKE_HOME": str(root / "lake"), "LAKE_PROJECT": str(root / "project"), "LAKE_SETTLE_SECONDS": "0", "LAKE_THREADS": "1", "LAKE_MEMORY": "2GB"}
        receive = f"from pipelines import steps; print(*steps.receive('{DATASET}'))"
        keys = subprocess.run([sys.executable, "-c", receive], check=True, capture_output=True, text=True).stdout.split()
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(given.turns):
            for workers in seconds:
                seconds[workers].append(round(run(root, workers, keys), 2))
                print(f"{workers} worker(s): {seconds[workers][-1]:.1f} s", flush=True)
    ratio = statistics.median(seconds[1]) / statistics.median(seconds[2])
    print(f"{given.batches} batches of {given.rows:,} rows: two workers are {ratio:.2f} × as fast as one")
    if given.out:
        given.out.write_text(json.dumps({"rows": given.rows, "batches": given.batches, "seconds": seconds, "ratio": round(ratio, 2)}, indent=1))


if __name__ == "__main__":
    main()
