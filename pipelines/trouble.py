"""Trouble of the machine, told apart from faults of the data: full, read-only and broken disks, memory, connections.

What is recognised here is never a reason to refuse or hold a batch: whoever turns an exception into words about the
data calls `let_pass` first. The words of engines are searched, never passed on: they may quote data.
"""
from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipelines.settings import lake_home

FULL, READ_ONLY, BROKEN, MEMORY, HANDLES, CONNECTION, LOCKED = "full", "read_only", "broken", "memory", "handles", "connection", "locked"
ERRNOS = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EROFS: READ_ONLY, errno.EIO: BROKEN, errno.ENOMEM: MEMORY, errno.EMFILE: HANDLES,
          errno.ENFILE: HANDLES}
_WORDS = {
    "max_temp_directory_size": FULL, "no space left on device": FULL, "disk quota exceeded": FULL, "database or disk is full": FULL,
    "read-only file system": READ_ONLY, "attempt to write a readonly database": READ_ONLY, "input/output error": BROKEN, "disk i/o error": BROKEN,
    "unable to open database file": BROKEN, "out of memory error": MEMORY, "cannot allocate memory": MEMORY, "too many open files": HANDLES,
    "database is locked": LOCKED, "server closed the connection": CONNECTION, "connection refused": CONNECTION,
    "could not connect to server": CONNECTION, "terminating connection": CONNECTION}
_AGAIN = "Nothing was decided about any batch because of it, and readers see what they saw; then run the same command again."
_MESSAGES = {
    FULL: "The disk is full: {disks}. Free space on it or make it larger. " + _AGAIN,
    READ_ONLY: "The disk is read-only: {disks}. Find out why (dmesg, mount), and mount it for writing. " + _AGAIN,
    BROKEN: "The disk cannot be read or written: {disks}. Look at its health, its mount and the rights of this account. " + _AGAIN,
    MEMORY: "Memory ran out: this process may use {memory} MB. Give it more (LAKE_MEMORY=4GB), or less than the machine has free when "
            "the machine itself ran out; fewer processes at a time help too. " + _AGAIN,
    HANDLES: "Too many files are open on this machine. Raise the limit (ulimit -n). " + _AGAIN,
    CONNECTION: "The database that holds catalogue and ledger cannot be reached. Look whether it runs. " + _AGAIN,
    LOCKED: "Another process kept the ledger locked for too long. Wait for it, or stop it. " + _AGAIN,
}
_SMALL = 1 << 20


class MachineTrouble(Exception):
    """Trouble of the machine that an engine told in words only, or that ended a child process. `kind`: one of the words above."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def of(error: BaseException) -> str | None:
    """What is wrong with the machine, None when nothing shows that it is."""
    from pipelines.settings import WrongUse

    if isinstance(error, WrongUse):
        return None
    return next(filter(None, map(_kind, _chain(error))), None)


def let_pass(error: BaseException) -> None:
    """Raise `error` again if the machine is to blame: call it before saying anything about the data."""
    if of(error):
        raise error


def in_words(text: str) -> str | None:
    """What is wrong with the machine by the words of an engine."""
    lower = text.lower()
    return next((kind for words, kind in _WORDS.items() if words in lower), None)


def message(kind: str) -> str:
    """What is wrong, where, and what to do."""
    from pipelines.sql import process_mb

    disks = list(_disks())
    if kind == BROKEN and any(read_only for _, read_only, _ in disks):
        kind = READ_ONLY      # SQLite cannot open its journal and does not say why
    elif kind == BROKEN and any(short for _, _, short in disks):
        kind = FULL
    return _MESSAGES[kind].format(disks="; ".join(words for words, _, _ in disks), memory=process_mb() if kind == MEMORY else 0)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from or during."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _kind(error: BaseException) -> str | None:
    import duckdb
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, MachineTrouble):
        return error.kind
    if isinstance(error, OSError):
        return ERRNOS.get(error.errno)
    if isinstance(error, duckdb.OutOfMemoryException):
        return in_words(str(error)) or MEMORY
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, DBAPIError):
        return CONNECTION if error.connection_invalidated else _kind(error.orig) if isinstance(error.orig, duckdb.Error) else in_words(str(error.orig))
    if isinstance(error, (duckdb.OperationalError, duckdb.FatalException, duckdb.InternalException, sqlite3.OperationalError)):
        return in_words(str(error))
    return None


def _disks() -> Iterator[tuple[str, bool, bool]]:
    """The disks of the lake and of temporary files: (in words, is it read-only, is it nearly full)."""
    told: set[int] = set()
    for what, path in (("the lake", lake_home()), ("temporary files", Path(tempfile.gettempdir()))):
        place = next(p for p in (path, *path.absolute().parents) if p.exists()).resolve()
        device = place.stat().st_dev
        if device in told:
            continue
        told.add(device)
        mount = next((p for p in (place, *place.parents) if p.is_mount()), place)
        found = os.statvfs(place)
        free, files = found.f_bavail * found.f_frsize, found.f_files and not found.f_favail
        words = f"{_size(free)} of {_size(found.f_blocks * found.f_frsize)} free on {mount}, which holds {what}"
        yield words + (" and can take no more files" if files else ""), bool(found.f_flag & os.ST_RDONLY), free < _SMALL or bool(files)


def _size(number: int) -> str:
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if number >= factor:
            return f"{number / factor:,.1f} {unit}"
    return f"{number} bytes"
