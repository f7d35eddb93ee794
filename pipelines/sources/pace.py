"""How gently a source is read: rows per second, connections at once, hours of the day.

These read the clock, because they say when something is done, never what is done.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

from pipelines.locks import writer
from pipelines.settings import Lake, Later, WrongUse
from pipelines.sources.declaration import Database

LOCAL = ZoneInfo("Asia/Shanghai")
WAIT_SECONDS = 600
_POLL_SECONDS = 1.0


class Throttle:
    """Keeps the average since the first row at or below `rate` rows a second."""

    def __init__(self, rate: int, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic):
        self._rate, self._sleep, self._clock = rate, sleep, clock
        self._since, self._rows = clock(), 0

    def took(self, rows: int) -> None:
        """Wait as long as `rows` more rows need; time that was spent otherwise is not caught up for."""
        self._rows += rows
        ahead = self._rows / self._rate - (self._clock() - self._since)
        if ahead > 0:
            self._sleep(ahead)
        else:
            self._since, self._rows = self._clock(), 0


def must_be_open(database: Database, now: datetime | None = None) -> None:
    """Nothing when the source may be read now.

    Raises:
        Later: it may not; the message says from when.
    """
    if database.window is None:
        return
    opens, closes = database.window.split("-")
    at = (now or datetime.now(LOCAL)).strftime("%H:%M")
    inside = opens <= at < closes if opens < closes else at >= opens or at < closes
    if not inside:
        raise Later(f"{database.connection} may be read from {opens} to {closes} (Asia/Shanghai), and it is {at}. What was read is kept; "
                    f"run the extraction again from {opens} on.")


@contextmanager
def slots(lake: Lake, database: Database, wait: float = WAIT_SECONDS) -> Iterator[bool]:
    """Hold one of the connections that the source admits; yields True when a second one was free and is held too.

    Raises:
        Later: all are in use for `wait` seconds.
    """
    end = time.monotonic() + wait
    with ExitStack() as held:
        while not _take(held, lake, database):
            if time.monotonic() > end:
                raise Later(f"{database.connection} admits {database.connections} connections, and all have been in use for {wait:.0f} s. "
                            "Run the extraction again when another one has ended.")
            time.sleep(_POLL_SECONDS)
        yield _take(held, lake, database)


def _take(held: ExitStack, lake: Lake, database: Database) -> bool:
    """True when a free connection was found and is now held."""
    for number in range(1, database.connections + 1):
        try:
            held.enter_context(writer(lake, f"source-{database.connection}-{number}", wait=0))
        except WrongUse:
            continue
        return True
    return False
