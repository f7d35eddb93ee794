"""Readers: processes that open lake.duckdb again and again while others die, and note what they saw.

A pass opens the file, reads every view twice on one connection and compares: with itself, with the counts of the
manifest of its release, and both datasets with each other through the digest of their rows.
"""
from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from tests.chaos.content import digest
from tests.chaos.world import DATASETS, A

PAUSE_SECONDS = 0.4      # readers leave the cores to those who are to die


def watch(home: Path, out: Path, stop: Path, seed: int) -> None:
    """Read until `stop` exists or who started this is gone; one JSON line per change and one at the end."""
    dice, passes, held, last, errors, parent = random.Random(seed), 0, 0, None, [], os.getppid()
    with open(out, "w") as lines:
        while not stop.exists() and os.getppid() == parent:
            hold = dice.uniform(0.5, 3) if dice.random() < 0.15 else 0.0
            try:
                seen, moved = _look(home, hold)
                held += moved
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}"[:500])
                break
            passes += 1
            if seen != last:
                lines.write(json.dumps({"seen": seen}) + "\n")
            last = seen
            time.sleep(PAUSE_SECONDS)
        lines.write(json.dumps({"passes": passes, "held": held, "errors": errors}) + "\n")


def _look(home: Path, hold: float) -> tuple[list[Any], bool]:
    """[release, digests of the datasets] of one connection, and whether a new file came while it was open."""
    path = home / "lake.duckdb"
    with duckdb.connect(str(path), read_only=True) as con:
        con.execute("SET threads = 1")
        before = os.stat(path).st_ino
        first = _read(con)
        release = con.execute("SELECT max(release_id) FROM governance.releases WHERE state = 'published'").fetchone()[0]
        manifest = home / "releases" / f"r{release:06d}" / "manifest.json"
        told = json.loads(manifest.read_text()) if manifest.exists() else None      # an old one may be removed meanwhile
        shown = {v: n for v, n in first["counts"].items() if told is None or v in _rows(told)}      # views over views are in no manifest
        if told and _rows(told) != shown and not (_cut(_rows(told), shown) and _withdrawing(home, manifest, told)):
            raise AssertionError(f"release {release}: counts differ from its manifest")
        pinned = dict(con.execute("SELECT dataset, version FROM governance.release_datasets WHERE release_id = ?", [release]).fetchall())
        if told and pinned != {d: told["relations"][d]["version"] for d in DATASETS}:
            raise AssertionError(f"release {release}: it shows other versions than its manifest")
        time.sleep(hold)
        second = _read(con)
        if second != first and not (_cut(first["counts"], second["counts"]) and second["digests"][1] == first["digests"][1]):
            moved = [f"{v} {n} → {second['counts'].get(v)}" for v, n in first["counts"].items() if n != second["counts"].get(v)]
            raise AssertionError(f"release {release}: it changed under an open connection: {', '.join(moved) or 'no count'}; digests {first['digests']} → {second['digests']}")
        return [release, first["digests"]], bool(hold) and os.stat(path).st_ino != before


def _rows(manifest: dict[str, Any]) -> dict[str, int]:
    return {v: r["rows"] for v, r in manifest["relations"].items()}


def _cut(before: dict[str, int], after: dict[str, int]) -> bool:
    """What a withdrawal does: fewer rows of one dataset, of what changed in it, and of its quarantine, nothing else."""
    differ = {v for v in before if before[v] != after.get(v)}
    return before.keys() == after.keys() and differ <= {A, f"{A}_changes", "governance.quarantine"} and all(after[v] < before[v] for v in differ)


def _withdrawing(home: Path, manifest: Path, told: dict[str, Any]) -> bool:
    """A withdrawal is on its way or has died there, or has just ended."""
    with closing(sqlite3.connect(f"file:{home / 'catalog.db'}?mode=ro", uri=True)) as ledger:
        waiting = ledger.execute("SELECT count(*) FROM ledger_withdrawals WHERE state = 'entered'").fetchone()[0]
    return bool(waiting) or json.loads(manifest.read_text()) != told


def _read(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    views = [r[0] for r in con.execute("SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE NOT internal").fetchall()]
    counts = {v: con.execute(f"SELECT count(*) FROM {'.'.join(chr(34) + p + chr(34) for p in v.split('.', 1))}").fetchone()[0] for v in views}
    return {"counts": counts, "digests": [digest(con, d) for d in DATASETS]}
