"""Working places: folders `staging/.work-<dataset>-<n>` that one process has for itself, so that several can stage batches of one dataset at once.

A lock of its own stands for each. A process that dies frees the lock, and the next one that sweeps or works there removes what it left.
"""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipelines.locks import Busy, writer
from pipelines.settings import Lake

PLACES = 16      # processes at work on one dataset; another one waits


@contextmanager
def place(lake: Lake, dataset_id: str) -> Iterator[Path]:
    """An empty folder that no other process uses; it is removed at the end.

    Raises:
        Busy: all places stayed taken.
    """
    with ExitStack() as stack:
        found = next((n for n in range(PLACES) if _taken(stack, lake, dataset_id, n)), None)
        if found is None:
            stack.enter_context(writer(lake, _lock(dataset_id, 0)))
        folder = _folder(lake, dataset_id, found or 0)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(lake: Lake, dataset_id: str) -> None:
    """Remove what killed processes left in their places; those that are at work are left alone."""
    for number in range(PLACES):
        if _folder(lake, dataset_id, number).exists():
            with suppress(Busy), writer(lake, _lock(dataset_id, number), wait=0):
                shutil.rmtree(_folder(lake, dataset_id, number), ignore_errors=True)


def _taken(stack: ExitStack, lake: Lake, dataset_id: str, number: int) -> bool:
    try:
        stack.enter_context(writer(lake, _lock(dataset_id, number), wait=0))
    except Busy:
        return False
    return True


def _lock(dataset_id: str, number: int) -> str:
    return f"work-{dataset_id}-{number}"


def _folder(lake: Lake, dataset_id: str, number: int) -> Path:
    return lake.staging / f".work-{dataset_id}-{number}"
