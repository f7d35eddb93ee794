"""Where landing writes before it renames: `landing/.incoming/`, one folder per copy, swept when its maker is dead.

A folder is locked as long as the process that made it lives; a lock tells a dead process from a slow one, a clock does not.
"""
from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.settings import Lake


@contextmanager
def own_folder(lake: Lake) -> Iterator[Path]:
    """A new folder under `.incoming/`; removed at the end, unless it was renamed."""
    incoming = _incoming(lake)
    incoming.mkdir(exist_ok=True)
    while True:
        work = incoming / uuid.uuid4().hex
        work.mkdir()
        if (handle := _locked(work, fcntl.LOCK_EX)) is not None:
            break      # else somebody swept it before it was locked
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(handle)


def sweep(lake: Lake) -> None:
    """Remove the folders that no living process holds."""
    for left in _incoming(lake).glob("*"):
        if (handle := _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(handle)


def _incoming(lake: Lake) -> Path:
    return lake.landing / ".incoming"


def _locked(folder: Path, how: int) -> int | None:
    """A handle that holds the lock of a folder, None when the folder is gone or another process holds it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, how)
        if folder.exists():
            return handle
    except BlockingIOError:
        pass
    os.close(handle)
    return None
