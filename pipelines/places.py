"""Working places: folders `staging/.work-<dataset>-<n>` that one process has for itself, so that several can stage batches of one dataset at once.

A lock of its own stands for each. A process that dies frees the lock, and the next one that sweeps or works there removes what it left.
"""
from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipelines.locks import Busy, writer
from pipelines.settings import Lake


@contextmanager
def place(lake: Lake, dataset_id: str) -> Iterator[Path]:
    """An empty folder that no other process uses; it is removed at the end."""
    with ExitStack() as stack:
        for number in itertools.count():
            with suppress(Busy):
                stack.enter_context(writer(lake, _lock(dataset_id, number), wait=0))
                break
        folder = _folder(lake, dataset_id, number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(lake: Lake, dataset_id: str) -> None:
    """Remove what killed processes left in their places; those that are at work are left alone."""
    for left in lake.staging.glob(f".work-{dataset_id}-*"):
        with suppress(Busy), writer(lake, _lock(dataset_id, int(left.name.rpartition("-")[2])), wait=0):
            shutil.rmtree(left, ignore_errors=True)


def _lock(dataset_id: str, number: int) -> str:
    return f"work-{dataset_id}-{number}"


def _folder(lake: Lake, dataset_id: str, number: int) -> Path:
    return lake.staging / f".work-{dataset_id}-{number}"
