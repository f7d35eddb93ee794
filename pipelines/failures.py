"""What may be said about an exception, and whether trying again can help.

Messages of DuckDB, pandas and the file system quote data: cell values, SQL with literals, file names of departments.
Only `WrongUse`, which this project words itself, is passed on; trouble of the machine is put in words (`trouble`); of
anything else the class and the place are told.
"""
from __future__ import annotations

import os
import traceback
from pathlib import Path

from pipelines import trouble
from pipelines.settings import Later, LockLost, WrongUse

_HERE = Path(__file__).resolve().parent
_FRAMES = 3


def tell(error: BaseException) -> str:
    """A message about `error` that holds no submitted value and no file name of a department."""
    if isinstance(error, (WrongUse, LockLost)):
        return str(error)
    reason = f" ({os.strerror(error.errno)})" if isinstance(error, OSError) and error.errno else ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _HERE in Path(f.filename).parents]
    places = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames[-_FRAMES:]))
    where = f"{type(error).__name__}{reason} at {places or 'no place in pipelines/'}"
    kind = trouble.of(error)
    return f"{trouble.message(kind)} ({where})" if kind else f"{where}. Its text is withheld: it may quote data."


def may_pass(error: BaseException) -> bool:
    """True for trouble outside the data (disk, memory, locks, two processes at once, a source that is away), where a retry can help."""
    import duckdb
    from pyiceberg.exceptions import CommitFailedException
    from sqlalchemy.exc import IntegrityError, OperationalError

    # IntegrityError: another process entered the same namespace or table at the same moment.
    return bool(trouble.of(error)) or isinstance(error, (Later, LockLost, OSError, duckdb.OperationalError, OperationalError, IntegrityError, CommitFailedException))
