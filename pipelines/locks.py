"""One writer per dataset, held by command line and task alike; a process that dies frees what it held.

With a SQLite catalogue, one machine writes: an OS lock on `locks/<name>.lock`. With PostgreSQL, several may: a
session's advisory lock there, on a connection of its own (no transaction pooler between). A lock lost with its
connection is noticed by `confirm`, before anything is made visible.
"""
from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from pipelines import catalogue
from pipelines.settings import SQLITE, Lake, LockLost, WrongUse

WAIT_SECONDS = 600
_POLL_SECONDS = 0.2
_held: dict[tuple[str, str], sa.Connection] = {}


class Busy(WrongUse):
    """Another writer holds the lock."""


@contextmanager
def writer(lake: Lake, name: str, wait: float | None = None, local: bool = False) -> Iterator[None]:
    """Hold the writer's lock called `name`.

    Args:
        wait: seconds to wait for another writer (default WAIT_SECONDS).
        local: the OS lock, although the setting names PostgreSQL.

    Raises:
        Busy: another writer still holds it after `wait` seconds.
    """
    held = _file(lake, name) if local or lake.catalogue == SQLITE else _session(lake, name)
    with _patiently(held, name, WAIT_SECONDS if wait is None else wait):
        yield


def confirm(lake: Lake) -> None:
    """Raise LockLost when a lock that this process holds over the lake is gone; OS locks are never lost."""
    for (home, name), con in list(_held.items()):
        if home == str(lake.home):
            try:
                con.execute(sa.text("SELECT 1"))
            except sa.exc.DBAPIError:
                raise LockLost(f"The connection that held the writer's lock {name} was ended. Nothing was made visible. Run the command again.") from None


@contextmanager
def _patiently(attempts: Iterator[bool], name: str, wait: float) -> Iterator[None]:
    """Take the lock that `attempts` tries for, and let it go at the end."""
    end = time.monotonic() + wait
    try:
        while not next(attempts):
            if time.monotonic() > end:
                raise Busy(f"{name}: another process has been writing for {wait:.0f} s. Wait for it, or stop it.")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        attempts.close()


def _file(lake: Lake, name: str) -> Iterator[bool]:
    """Try for the OS lock, again at every step; closing frees it."""
    with open(lake.locks / f"{name}.lock", "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True


def _session(lake: Lake, name: str) -> Iterator[bool]:
    """Try for the advisory lock, again at every step; closing frees it."""
    key = int.from_bytes(hashlib.sha256(f"{lake.schema}/{name}".encode()).digest()[:8], "big", signed=True)
    con = catalogue.engine(lake).execution_options(isolation_level="AUTOCOMMIT").connect()
    con.detach()     # never back into the pool: closing it ends the session and its lock
    try:
        while not con.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar_one():
            yield False
        _held[str(lake.home), name] = con
        yield True
    finally:
        if _held.get((str(lake.home), name)) is con:
            del _held[str(lake.home), name]
        con.close()
