"""One writer per dataset: an OS lock on `locks/<name>.lock`, held by command line and task alike.

A process that dies frees its lock. Locks are advisory and local: they order the writers of one machine.
"""
from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.settings import Lake, WrongUse

WAIT_SECONDS = 600
_POLL_SECONDS = 0.2


@contextmanager
def writer(lake: Lake, name: str, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the writer's lock called `name`.

    Args:
        wait: seconds to wait for another writer.

    Raises:
        WrongUse: another writer still holds it after `wait` seconds.
    """
    path = lake.locks / f"{name}.lock"
    end = time.monotonic() + wait
    with open(path, "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise WrongUse(f"{name}: another process has been writing for {wait:.0f} s. Wait for it, or stop it.") from None
                time.sleep(_POLL_SECONDS)
        yield
