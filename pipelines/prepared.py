"""Databases that are costly to make and depend on text alone, made once: staging/.<kind>-<digest of what they were made of>.duckdb.

Made beside and renamed under a lock, so that an unfinished one is never used; those of an earlier state go when a new one is made.
"""
from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from pipelines import durable
from pipelines.sql import connect

_found: dict[tuple[str, str], Path] = {}      # (kind, state) → the file this process made or found, in whichever lake


def database(folder: Path, kind: str, made_of: list[Any], make: Callable[[duckdb.DuckDBPyConnection], None]) -> Path:
    """The file of this kind and state.

    Args:
        folder: where it is kept.
        made_of: everything that its content follows from, besides the engine's version.
        make: fills a new database.
    """
    state = hashlib.sha256(repr([duckdb.__version__, *made_of]).encode()).hexdigest()[:16]
    file = _found.get((kind, state))
    if file is None or not file.exists():
        file = _found[kind, state] = folder / f".{kind}-{state}.duckdb"
    if not file.exists():
        with open(folder / f".{kind}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():      # nor did another process make it meanwhile
                for left in folder.glob(f".{kind}-*"):
                    left.unlink()
                beside = file.with_name(f"{file.name}.part")
                with closing(connect(beside, alone=True)) as con:
                    make(con)
                durable.replace(beside, file)
    return file
