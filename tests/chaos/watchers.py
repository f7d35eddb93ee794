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

CHANGES = f"{A}_changes"
PAUSE_SECONDS = 0.4      # readers leave the cores to those who are to die


def watch(home: Path, out: Path, stop: Path, seed: int) -> None:
    """Read until `stop` exists or who started this is gone; one JSON line per change and one at the end."""
    dice, passes, held, last, errors, parent = random.Random(seed), 0, 0, None, [], os.getppid()
    with open(out, "w") as lines:
        while not stop.exists() and os.getppid() == parent:
            hold, known = dice.uniform(0.5, 3) if dice.random() < 0.15 else 0.0, _withdrawals(home)
            try:
                seen, moved = _look(home, hold)
                held += moved
            except Exception as error:
                if isinstance(error, duckdb.Error) and _exchanging(known, _withdrawals(home)):
                    time.sleep(PAUSE_SECONDS)
                    continue      # a query that reads a file in the instant of its exchange fails, and is asked again
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
    path, known = home / "lake.duckdb", _withdrawals(home)
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
        cut = _cut(first["counts"], second["counts"]) and second["digests"][1] == first["digests"][1] and _exchanging(known, _withdrawals(home))
        if second != first and not cut:
            moved = [f"{v} {n} → {second['counts'].get(v)}" for v, n in first["counts"].items() if n != second["counts"].get(v)]
            raise AssertionError(f"release {release}: it changed under an open connection: {', '.join(moved) or 'no count'}; digests {first['digests']} → {second['digests']}")
        return [release, first["digests"]], bool(hold) and os.stat(path).st_ino != before


def _rows(manifest: dict[str, Any]) -> dict[str, int]:
    return {v: r["rows"] for v, r in manifest["relations"].items()}


def _cut(before: dict[str, int], after: dict[str, int]) -> bool:
    """What a withdrawal does: fewer rows of one dataset, of what changed in it, and of its quarantine, nothing else.

    Between the exchanges of the two files that are compared, the one record that leaves the newer one first counts as a change.
    """
    differ = {v for v in before if before[v] != after.get(v)}
    if before.keys() != after.keys() or not differ <= {A, CHANGES, "governance.quarantine"}:
        return False
    return all(after[v] < before[v] or (v == CHANGES and after[v] == before[v] + 1) for v in differ)


def _withdrawing(home: Path, manifest: Path, told: dict[str, Any]) -> bool:
    """A withdrawal is on its way or has died there, or has just ended."""
    return "entered" in _withdrawals(home).values() or json.loads(manifest.read_text()) != told


def _exchanging(before: dict[int, str], after: dict[int, str]) -> bool:
    """Were files exchanged between two looks at the withdrawals, or may they have been?"""
    return before != after or "entered" in after.values()


def _withdrawals(home: Path) -> dict[int, str]:
    """The state of each withdrawal."""
    with closing(sqlite3.connect(f"file:{home / 'catalog.db'}?mode=ro", uri=True)) as ledger:
        return dict(ledger.execute("SELECT id, state FROM ledger_withdrawals").fetchall())


def _read(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    views = [r[0] for r in con.execute("SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE NOT internal").fetchall()]
    counts = {v: con.execute(f"SELECT count(*) FROM {'.'.join(chr(34) + p + chr(34) for p in v.split('.', 1))}").fetchone()[0] for v in views}
    return {"counts": counts, "digests": [digest(con, d) for d in DATASETS]}
