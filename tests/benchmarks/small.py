"""What many small files cost: the same rows as one file, as many files of one batch, and as many batches of one file each.

    python -m tests.benchmarks.small FILES ROWS [--ways whole files batches] [--out FILE]

Each way takes the rows in from the inbox (receive, stage, judge, commit) in a process of its own. CPU seconds of all steps are compared, because
they do not depend on what else the machine does; wall seconds stand beside.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.job.run import DATASET, DATE, JOB, SOURCE

WAYS = ("whole", "files", "batches")
_PARTED = "{property: uscc, value: 11640000MB1Y00011H}"


def lay_out(root: Path, files: int, rows: int, way: str) -> None:
    """A project, and a lake with the rows in its inbox."""
    from tests.support import project

    contract = (JOB / "contract.yaml").read_text("utf-8")
    if way == "batches":
        contract = contract.replace(_PARTED, _PARTED + ", {property: part_pattern, value: '(\\d{4})'}")
    made = project(root / "project", population__register=contract)
    (made.expectations / "population").mkdir()
    shutil.copy(JOB / "rules.yaml", made.expectations / "population" / "register.yaml")
    whole = root / "data" / "person_gb18030.csv"
    subprocess.run([sys.executable, "-m", "tests.benchmarks.job.data", str(files * rows), str(root / "data")], check=True, stdout=subprocess.DEVNULL)
    inbox = root / "lake" / "inbox" / DATASET / SOURCE / DATE
    inbox.mkdir(parents=True)
    if way == "whole":
        shutil.move(whole, inbox / "0001.csv")
        return
    with open(whole, "rb") as read:
        header = read.readline()
        for number in range(1, files + 1):
            with open(inbox / f"{number:04d}.csv", "wb") as out:
                out.write(header)
                out.writelines(line for line, _ in zip(read, range(rows)))
    whole.unlink()


def take_in(root: Path) -> dict[str, Any]:
    """All steps in this process; seconds of CPU and of wall by step, and what was accepted."""
    os.environ |= {"LAKE_HOME": str(root / "lake"), "LAKE_PROJECT": str(root / "project"), "LAKE_SETTLE_SECONDS": "0"}
    from pipelines import steps
    from pipelines.desk import Desk
    from pipelines.gate import suite
    from pipelines.semantics import reference
    from pipelines.settings import Lake
    from pipelines.sql import connect

    suite.great_expectations()
    desk = Desk.open()
    with connect() as con:
        reference.ready(con, desk.project, Lake.open(root / "lake").staging)
    found: dict[str, Any] = {"cpu": {}, "wall": {}}
    keys = None
    for step in ("receive", "stage", "judge", "commit"):
        wall, cpu = time.perf_counter(), time.process_time()
        done = getattr(steps, step)(DATASET, *([keys] if keys is not None else []))
        found["wall"][step], found["cpu"][step] = round(time.perf_counter() - wall, 3), round(time.process_time() - cpu, 3)
        keys = done
    return found | {"rows": done["accepted"] + done["quarantined"], "batches": done["batches"]}


def main() -> None:
    """Take the rows in every way, and print what each costs against one file."""
    asked = argparse.ArgumentParser()
    asked.add_argument("files", type=int)
    asked.add_argument("rows", type=int)
    asked.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    asked.add_argument("--out", type=Path)
    asked.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.here:
        print(json.dumps(take_in(given.here)))
        return
    found: dict[str, Any] = {"submissions": given.files, "rows": given.rows}
    for way in given.ways:
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder), given.files, given.rows, way)
            said = subprocess.run([sys.executable, "-m", "tests.benchmarks.small", "1", "1", "--here", folder], check=True, capture_output=True, text=True).stdout
        found[way] = json.loads(said.splitlines()[-1])
        cpu = sum(found[way]["cpu"].values())
        beside = f"  {cpu / sum(found['whole']['cpu'].values()):5.2f} × one file" if "whole" in found else ""
        print(f"{way:8} {cpu:7.1f} s CPU {sum(found[way]['wall'].values()):7.1f} s wall{beside}  CPU by step: {found[way]['cpu']}", flush=True)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
