"""The trigger that notices arrivals in the inbox. It runs in Airflow's triggerer and fires once per change, not per look.

What it has told it knows by state (inode, size, time), in memory only: a restarted triggerer tells once more what waits,
and a run that finds nothing to do ends at once. Its events hold dataset ids and batch dates.
"""
from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from pipelines import inbox
from pipelines.contract import dataset
from pipelines.deliveries import poll_seconds
from pipelines.failures import tell
from pipelines.settings import Lake, Project, WrongUse

REST = 9      # rest after a look, in lengths of that look: a thousand files on a slow share take long to look at
log = logging.getLogger("lake")


class Arrivals(BaseEventTrigger):
    """Fires with what `Watch.changes` gives. It looks every LAKE_POLL_SECONDS, and less often where looking would take more than a tenth of the time."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__name__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        watch = Watch()
        while True:
            began = time.monotonic()
            changes = await asyncio.to_thread(_changes, watch)
            taken = time.monotonic() - began
            if changes:
                yield TriggerEvent(changes)
            await asyncio.sleep(max(poll_seconds(), REST * taken))


def _changes(watch: Watch) -> dict[str, list[list[str]]] | None:
    """The changes since the last look; trouble is logged, and the next look tries again."""
    try:
        return watch.changes(Lake.open(), Project.open())
    except Exception as error:
        log.error("The inbox could not be looked at: %s", tell(error))
        return None


class Watch:
    """Looks at the inbox again and again and remembers what it has told."""

    def __init__(self) -> None:
        self._told: dict[str, dict[tuple, str]] = {}

    def changes(self, lake: Lake, project: Project) -> dict[str, list[list[str]]] | None:
        """What is new since the last look, or None.

        Returns:
            {"arrived": [[dataset, batch date], …], "troubled": [[dataset, batch date or ""], …]}; troubles also when they are gone.
        """
        arrived, troubled = set(), set()
        for folder in sorted(p for p in lake.inbox.iterdir() if not p.name.startswith(".")):
            found, told = self._look(lake, project, folder.name), self._told.get(folder.name, {})
            if found is None:
                continue
            self._told[folder.name] = found
            arrived |= {(folder.name, found[key]) for key in found.keys() - told.keys() if inbox.is_ready(key)}
            troubled |= {(folder.name, (found | told)[key]) for key in found.keys() ^ told.keys() if not inbox.is_ready(key)}
        changes = {"arrived": sorted(map(list, arrived)), "troubled": sorted(map(list, troubled))}
        return changes if arrived or troubled else None

    def _look(self, lake: Lake, project: Project, name: str) -> dict[tuple, str] | None:
        """What the inbox of one dataset holds; None when no active contract has this name."""
        try:
            found = dataset(name, project)
            return inbox.look(lake, found).fingerprints() if found.status == "active" else None
        except WrongUse:
            return None
        except OSError as error:
            log.error("%s", tell(error))
            return None
