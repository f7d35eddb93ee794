"""What many contracts cost: reading the DAGs, checking the project, and a release of all datasets.

    python -m tests.benchmarks.many [CONTRACTS] [--out FILE]

Every contract has the six columns of a register; each dataset has one small batch. `check` runs twice, because the second time it proves only what has changed.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import HEADER, REPOSITORY, RESIDENCE, project, resident_id, write_csv

PARSE = """
import time, runpy, sys
import airflow.sdk, airflow.providers.standard.decorators.python, airflow.providers.standard.decorators.short_circuit
started = time.perf_counter()
runpy.run_path(sys.argv[1] + "/dags/lake.py")
print(time.perf_counter() - started)
"""
RELEASE = """
import sys, time
from pipelines import steps
from pipelines.contract import datasets
from pipelines.desk import Desk
for found in datasets(Desk.open().project):
    accepted = steps.judge(found.id, steps.stage(found.id, steps.receive(found.id)))
    steps.commit(found.id, accepted)
started = time.perf_counter()
assert steps.release()["datasets"] == int(sys.argv[1])
print(time.perf_counter() - started)
"""
CHECK = """
import time
from pipelines import proofs
from pipelines.check import check
from pipelines.settings import Project
started, found = time.perf_counter(), Project.open()
check(found, proofs.Proofs(found, proofs.place(found)))
print(time.perf_counter() - started)
"""


def main() -> None:
    """Print the seconds of each."""
    asked = argparse.ArgumentParser()
    asked.add_argument("contracts", type=int, nargs="?", default=200)
    asked.add_argument("--parts", nargs="+", choices=("parse", "check", "release"), default=["parse", "check", "release"])
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    found: dict[str, float | int] = {"contracts": given.contracts}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = [f"register{n:03d}" for n in range(given.contracts)]
        made = project(root / "project", **{f"population__{name}": RESIDENCE.replace("LOAD", "upsert").replace("residence", name) for name in names})
        os.environ |= {"LAKE_HOME": str(root / "lake"), "LAKE_PROJECT": str(made.root), "PYTHONPATH": str(REPOSITORY), "LAKE_SETTLE_SECONDS": "0", "XDG_CACHE_HOME": str(root / "cache")}
        if "release" in given.parts:
            for name in names:
                rows = [(resident_id(n), "赵一一", "1990-01-01", "640104", "有效", "") for n in range(1, 30)]
                write_csv(root / "lake" / "inbox" / f"population.{name}" / "police" / "2026-11-01" / "640100.csv", HEADER, rows)
        commands = {"parse": [PARSE, str(REPOSITORY)], "check": [CHECK], "check again": [CHECK], "release": [RELEASE, str(given.contracts)]}
        for what, command in commands.items():
            if what.split()[0] in given.parts:
                said = subprocess.run([sys.executable, "-c", *command], check=True, capture_output=True, text=True).stdout
                found[what] = round(float(said.split()[-1]), 2)
                print(f"{what:12} {found[what]:8.2f} s for {given.contracts} contracts", flush=True)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
