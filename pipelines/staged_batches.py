"""What is staged of batches: `staging/<batch_id>~r<revision>/`, each folder whole or not there; counts.json, written last, tells which is whole."""
from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import durable, places
from pipelines.batch import Key
from pipelines.locks import Busy, writer
from pipelines.settings import Lake


@dataclass(frozen=True)
class Staged:
    """The folder of a staged batch and its counts (the content of counts.json)."""

    folder: Path
    counts: dict[str, Any]


def folder(lake: Lake, batch_id: str, revision: int) -> Path:
    """Where a batch is staged."""
    return lake.staging / f"{batch_id}~r{revision}"


def settle(lake: Lake, made: Staged, batch_id: str, revision: int) -> Staged:
    """`settle_all` for one batch."""
    [settled] = settle_all(lake, {(batch_id, revision): made}).values()
    return settled


def settle_all(lake: Lake, made: Mapping[Key, Staged]) -> dict[Key, Staged]:
    """Give what `make` made of batches its place, instead of an earlier try. The caller holds the dataset's lock."""
    final = {key: folder(lake, *key) for key in made}
    for key, place in final.items():
        if place.exists():
            shutil.rmtree(_aside(made[key]), ignore_errors=True)
            place.rename(_aside(made[key]))      # whole or gone, whenever this is killed
    durable.replace_all((one.folder, final[key]) for key, one in made.items())
    for one in made.values():
        shutil.rmtree(_aside(one), ignore_errors=True)
    return {key: Staged(final[key], one.counts) for key, one in made.items()}


def _aside(made: Staged) -> Path:
    return made.folder.with_name(f"{made.folder.name}-before")


def sweep(lake: Lake, dataset_id: str, wanted: set[str]) -> None:
    """Remove what is staged of a dataset but the batches `wanted` (their keys), and what killed runs left. The caller holds its lock."""
    for left in lake.staging.glob(f"{dataset_id}~*"):
        if left.name not in wanted:
            shutil.rmtree(left)
    with suppress(Busy), writer(lake, judging(dataset_id), wait=0):
        for scratch in lake.staging.glob(f"{dataset_id}~*/.gate-*"):
            shutil.rmtree(scratch)
    places.sweep(lake, dataset_id)
    for work in (".fold", ".feedback"):
        shutil.rmtree(lake.staging / f"{work}-{dataset_id}", ignore_errors=True)


def judging(dataset_id: str) -> str:
    """The lock under which staged batches are judged."""
    return f"judge-{dataset_id}"


def mark(found: Staged) -> tuple[int, int] | None:
    """What tells one staging of a batch from another; None when it is gone."""
    try:
        known = (found.folder / "counts.json").stat()
    except FileNotFoundError:
        return None
    return known.st_ino, known.st_mtime_ns


def read(lake: Lake, batch_id: str, revision: int) -> Staged | None:
    """The staged batch, or None when it was not staged to the end."""
    found = folder(lake, batch_id, revision)
    if not (found / "counts.json").exists():
        return None
    return Staged(found, json.loads((found / "counts.json").read_text()))
