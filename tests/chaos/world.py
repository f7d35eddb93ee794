"""The small project of the chaos runs: two datasets, fed in generations that every row carries."""
from __future__ import annotations

import json
import random
from pathlib import Path

from pipelines.desk import Desk
from pipelines.settings import Lake, Project
from tests.support import HEADER, RESIDENCE, project, resident_id, write_csv

A, B = "population.residence", "population.lodging"
DATASETS = (A, B)
STREAMS = (("police", "640100"), ("police", "640200"), ("grid", "640100"))
PERSONS, WRONG = 120, ("6401041990010100000", "赵一", "1990-01-01", "640104")


def make(root: Path) -> Project:
    """The project: residence (by key) and lodging (snapshots, in any format)."""
    upsert, snapshot = RESIDENCE.replace("LOAD", "upsert"), RESIDENCE.replace("LOAD", "snapshot")
    lodging = snapshot.replace("population.residence", B).replace("name: residence", "name: lodging").replace("format: csv", "format: auto")
    return project(root, population__residence=upsert, population__lodging=lodging)


def desk(made: Project, home: Path) -> Desk:
    """A desk at a lake; each process makes its own."""
    return Desk(made, Lake.open(home))


def drop(home: Path, generation: int, seed: int, correct: bool) -> None:
    """Put the files of one generation into the inbox of a lake: the same bytes for the same generation and seed.

    Generation n of both datasets says `n` in every row; of a correction, `n` too, in place of what its date said.
    """
    dice = random.Random(f"{seed}-{generation}")
    source, part = STREAMS[generation % len(STREAMS)]
    for dataset in DATASETS:
        numbers = range(1, PERSONS + 1) if dataset == B else sorted(dice.sample(range(1, 900), PERSONS))
        rows = [(resident_id(n), "赵一", "1990-01-01", "640104", f"g{generation}", "") for n in numbers] + [(*WRONG, f"g{generation}", "")] * 2
        day = f"2026-{1 + generation // 28:02d}-{1 + generation % 28:02d}"
        for folder in ("", "更正") if correct else ("",):
            sent = rows[: PERSONS // 2] if folder else rows
            place = home / "inbox" / dataset / source / day / folder
            if dataset == B and generation % 3 == 0:      # through the extractor's child process
                place.mkdir(parents=True, exist_ok=True)
                text = json.dumps([dict(zip(HEADER, row)) for row in sent], ensure_ascii=False)
                (place / f"{part}.json").write_text(text, encoding="utf-8")
            else:
                write_csv(place / f"{part}.csv", HEADER, sent)
