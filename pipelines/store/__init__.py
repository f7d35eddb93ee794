"""对象存储: a lake whose `LAKE_HOME` is `s3://bucket/prefix` is kept there; steps work in a local folder (`LAKE_WORK`) that follows it.

<prefix>/head.json             which state the lake is in and who may change it; the only object that decides anything (`head`)
<prefix>/states/<n>-<mark>     a state: every file of the lake → object, SHA-256; JSON
<prefix>/landing … releases    files that are written once, at the place that they have in the lake
<prefix>/objects/ab/<sha256>   the others: catalogue and ledger, reports, databases
<prefix>/lake.duckdb, releases/r…/lake.duckdb   what analysts open: views over s3:// addresses (`opened`)
A command works in a session: claim, bring the folder in step, work, put what is new, then the head. A death before the head leaves the state before;
the folder has what was done, and the next session here puts it. What no state names is removed by whoever claims after a death.
"""
from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pipelines.settings import WrongUse, lake_home, lake_store

_POLL_SECONDS = 0.5


@contextmanager
def session(looks: bool = False) -> Iterator[None]:
    """Work on the lake of LAKE_HOME: around every command and task that opens it. Without an object store there is nothing to do.

    What was done is put into the store when the block ends, also by an error; several processes of one machine may be in sessions at once.

    Args:
        looks: nothing is changed: brings the folder in step if no process of this machine is at work, and claims nothing.

    Raises:
        Later: another machine is at work, or the store is away.
        WrongUse: the store cannot be used, or this folder cannot follow it.
    """
    url = lake_store()
    if not url:
        yield
        return
    from pipelines.store import publishing
    from pipelines.store.bucket import Bucket
    from pipelines.store.folder import Folder

    bucket, folder = Bucket(url), Folder(lake_home())
    with open(folder.own / "session.lock", "w") as lock:
        if looks:
            if _alone(lock):
                publishing.follow(bucket, folder)
                fcntl.flock(lock, fcntl.LOCK_UN)
            yield
            return
        while True:
            first = _alone(lock)
            if first:
                publishing.open_up(bucket, folder)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if first or publishing.is_open(bucket, folder):
                break
            fcntl.flock(lock, fcntl.LOCK_UN)
            time.sleep(_POLL_SECONDS)      # another machine took over from those at work here: they will notice
        try:
            yield
        except Exception:
            with suppress(Exception):      # what went wrong first is what has to be told
                _end(bucket, folder, lock)
            raise
        else:
            _end(bucket, folder, lock)


def must_be_empty() -> None:
    """What a whole backup is restored to.

    Raises:
        WrongUse: there is a lake in the object store already.
    """
    if lake_store():
        from pipelines.store import head
        from pipelines.store.bucket import Bucket

        if head.read(Bucket(lake_store())):
            raise WrongUse(f"There is a lake at {lake_store()}. Remove what is below this prefix, or move it away, before a whole backup is restored there; nothing was changed.")


def _alone(lock: Any) -> bool:
    """Take the lock of the folder for this process only, if nobody has it."""
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _end(bucket: Any, folder: Any, lock: Any) -> None:
    """Put what was done; the last process gives the claim back."""
    from pipelines.store import publishing

    publishing.publish(bucket, folder)
    if _alone(lock):
        publishing.give_back(bucket, folder)
