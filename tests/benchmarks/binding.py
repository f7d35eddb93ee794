"""How long a reader waits before her query runs: opening `lake.duckdb` and binding every view, with many datasets of many files each.

`python -m tests.benchmarks.binding [DATASETS] [FILES]`: the project's contracts and as many made-up ones as it takes to have DATASETS of them (default 200), every
published file FILES times (default 64). Prints the slowest views, and what open + bind costs in processes of their own; and what the dictionary of it all costs. CPU is
judged, because other work on the machine only adds to the clock.
"""
from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from pipelines import compiler, database, release
from pipelines.contract import datasets
from pipelines.settings import Project
from pipelines.site import building
from pipelines.sql import name
from tests.support import REPOSITORY, RESIDENCE, desk, project

LIMIT_MS = 100
QUERIES = ("FROM population.person LIMIT 0", "SELECT count(*) FROM credit.legal_rep_defaulter WHERE uscc = 'x'", "FROM governance.dataset_scores LIMIT 0",
           "SELECT r.name, count(*) FROM population.person p JOIN reference.region r ON r.code = p.hukou_region_code GROUP BY ALL")
_READER = """
import sys, time, duckdb
cpu, wall = time.process_time(), time.perf_counter()
con = duckdb.connect(sys.argv[1], read_only=True)
opened = time.process_time()
con.execute("PREPARE bound AS " + sys.argv[2])
print(1e3 * (opened - cpu), 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall))
"""


def made(root: Path, count: int, files: int) -> tuple[Any, Path]:
    """A lake with `count` datasets and a database in which each has `files` files."""
    at = desk(root, _project(root / "project", count))
    plans = {d.id: compiler.plan(d, ()) for d in datasets(at.project)}
    assert release.publish(at.lake, at.project, plans, {}, at.ledger, "benchmark")
    manifest = json.loads((release.folder(at.lake, 1) / "manifest.json").read_text("utf-8"))
    for relation in (r for r in manifest["relations"].values() if r["kind"] == "dataset"):
        [file] = relation["files"]
        source = at.lake.releases / file["path"]
        relation["files"] = [file | {"path": str(source.with_name(f"part-{n:02}.parquet").relative_to(at.lake.releases))} for n in range(files)]
        for one in relation["files"]:
            shutil.copyfile(source, at.lake.releases / one["path"])
    many = root / "many.duckdb"
    database.build(manifest, at.lake, many)
    return at, many


def _project(root: Path, count: int) -> Project:
    own = Project(REPOSITORY)
    contracts = {f"{d.domain}__{d.id.partition('.')[2]}": (own.contracts / d.domain / f"{d.id.partition('.')[2]}.yaml").read_text("utf-8") for d in datasets(own)}
    contracts |= {f"population__made_{n:03}": RESIDENCE.replace("LOAD", "upsert").replace("residence", f"made_{n:03}") for n in range(count - len(contracts))}
    found = project(root, **contracts)
    for folder in (p for p in (REPOSITORY / "warehouse/views").iterdir() if p.name != "governance"):
        (root / "warehouse/views" / folder.name).symlink_to(folder)
    return found


def binding(path: Path) -> list[tuple[float, str]]:
    """Every view with the milliseconds of CPU its first bind takes in an open database, the slowest first."""
    found = []
    with duckdb.connect(str(path), read_only=True) as con:
        for schema, view in con.execute("SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            began = time.process_time()
            con.execute(f"PREPARE bound AS FROM {name(schema)}.{name(view)}")
            found.append((1e3 * (time.process_time() - began), f"{schema}.{view}"))
    return sorted(found, reverse=True)


def reader(path: Path, sql: str, times: int = 7) -> list[float]:
    """Milliseconds in new processes: CPU to open, CPU to open and bind, and both by the clock; the import of DuckDB is not counted."""
    said = [subprocess.run([sys.executable, "-c", _READER, str(path), sql], capture_output=True, text=True, check=True).stdout.split() for _ in range(times)]
    return [statistics.median(map(float, one)) for one in zip(*said, strict=True)]


def main(count: int = 200, files: int = 64) -> int:
    with tempfile.TemporaryDirectory() as folder:
        at, many = made(Path(folder), count, files)
        views = binding(many)
        print(f"{count} datasets of {files} files: lake.duckdb has {many.stat().st_size / 1e6:.1f} MB and {len(views)} views")
        print(f"bind: median {statistics.median(ms for ms, _ in views):.1f} ms; slowest " + ", ".join(f"{view} {ms:.1f} ms" for ms, view in views[:5]))
        waits = [reader(many, sql) for sql in QUERIES]
        for sql, (opened, bound, wall) in zip(QUERIES, waits, strict=True):
            print(f"open {opened:5.1f} ms, open and bind {bound:5.1f} ms ({wall:5.1f} ms by the clock): {sql}")
        for words in ("all pages", "nothing changed"):
            began = time.process_time()
            building.describe(at)
            print(f"dictionary, {words}: {time.process_time() - began:.2f} s of CPU")
        return int(max(views[0][0], *(bound for _, bound, _ in waits)) > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
