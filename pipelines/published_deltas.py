"""Published files of a large dataset that a few batches changed: the files there are, masked new rows beside them, and what those supersede.

releases/data/<dataset>/<version>-<masks>+<n>/ holds the n-th delta: rows.parquet and superseded.parquet; its facts.json names the folders before it.
Published rows lie otherwise than current ones, so the superseded ones are looked for by the published key, in one column. Every folder of a large
dataset has positions: a withdrawal enters a row there before its values go, so that nobody who reads meanwhile sees more than before or less.
"""
from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipelines import deltas, layout, parts
from pipelines.current import Current
from pipelines.parts import SUPERSEDED
from pipelines.sql import PARQUET, connect, name, text, texts

Entry = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """The files of one dataset: folders of its parts with their facts, the first part first."""

    folders: tuple[tuple[Path, Entry], ...]

    @property
    def files(self) -> list[Path]:
        """The files of rows, in the order that positions count."""
        return [folder / file for folder, facts in self.folders for file in facts["entries"]]

    @property
    def superseded(self) -> list[Path]:
        """The files of positions; none of a dataset that is small."""
        return [folder / SUPERSEDED for folder, facts in self.folders if "superseded" in facts]

    @property
    def columns(self) -> list[list[str]]:
        """(column, type) of its rows."""
        return self.folders[-1][1]["columns"]

    def listed(self, releases: Path) -> tuple[list[Entry], list[Entry]]:
        """The manifest's entries of its files of rows and of its files of positions."""
        places = [(str(folder.relative_to(releases)), facts) for folder, facts in self.folders]
        return ([{"path": f"{place}/{file}", **one} for place, facts in places for file, one in facts["entries"].items()],
                [{"path": f"{place}/{SUPERSEDED}", **facts["superseded"]} for place, facts in places if "superseded" in facts])


def read(folder: Path) -> Published | None:
    """What is published in a folder together with those before it; None unless all of it is there."""
    found = []
    while True:
        if not (folder / "facts.json").exists():
            return None
        facts = json.loads((folder / "facts.json").read_text())
        found.append((folder, facts))
        if not facts.get("before"):
            return Published(tuple(reversed(found)))
        folder = folder.with_name(facts["before"])


def known(home: Path, version: str) -> Published | None:
    """The files of a version that are there already, those of fewest parts first."""
    found = [p for p in (read(folder) for folder in [home / version, *home.glob(f"{version}+*")] if not folder.name.endswith(".part")) if p]
    return min(found, key=lambda p: len(p.folders), default=None)


def earlier(home: Path, state: Current | None, masks: str) -> tuple[Published, int] | None:
    """The nearest state that `state` stands on and that is published with the same masks, and its place in the chain; nothing for a small dataset.

    Where a withdrawal cut a file and was lifted since, the files do not hold what they should.
    """
    if state is None or state.facts["rows"] < layout.LARGE:
        return None
    there: dict[str, Published] = {}
    for folder in sorted(home.glob("*")):
        found = None if folder.name.endswith(".part") else read(folder)
        if found and found.folders[-1][1].get("masks") == masks and len(found.folders) <= deltas.MOST and not any(facts.get("cut") for _, facts in found.folders):
            current = found.folders[-1][1]["current"]
            if current not in there or len(found.folders) < len(there[current].folders):
                there[current] = found
    for place in reversed(range(len(state.chain) - 1)):
        version = state.chain[place].name.partition("+")[0]
        if version in there and there[version].superseded:
            return there[version], place
    return None


def write(con: duckdb.DuckDBPyConnection, select: str, order: str, record: str, state: Current, found: Published, place: int, work: Path) -> tuple[Path, Path]:
    """Write the rows that `state` has beyond what is published, masked, and the positions of the published rows that they supersede.

    Args:
        select: the masked columns and conditions, reading `{rows}`.
        order: the columns by which the rows lie.
        record: the published column that tells a record.
        found, place: what is published, and the place of its state in the chain of `state`.
    """
    start = place + 1
    rows = parts.select(state.files[start:], state.superseded[start:], first=start)
    con.execute(f"COPY ({select.replace('{rows}', f'({rows})')}{order}) TO {text(work / 'rows.parquet')} ({layout.options(layout.LARGE)})")
    gone = f"SELECT record FROM read_parquet({texts(state.superseded[place:])}) WHERE file < {start}"
    held = parts.select(found.files, found.superseded, f"{parts.HERE}, {name(record)} AS record")
    con.execute(f"COPY (SELECT file, pos FROM ({held}) WHERE record IN ({gone}) ORDER BY file, pos) TO {text(work / SUPERSEDED)} ({PARQUET})")
    return work / "rows.parquet", work / SUPERSEDED


def nothing_superseded(con: duckdb.DuckDBPyConnection, work: Path) -> Path:
    """An empty file of positions."""
    con.execute(f"COPY (SELECT 0::UBIGINT AS file, 0::BIGINT AS pos WHERE false) TO {text(work / SUPERSEDED)} ({PARQUET})")
    return work / SUPERSEDED


def rows(root: Path, files: Iterable[Entry], superseded: Iterable[Entry]) -> int:
    """How many rows are shown, by the manifest's entries of files of rows and of positions."""
    listed, total = [root / f["path"] for f in superseded if f["rows"]], sum(f["rows"] for f in files)
    if not listed:
        return total
    with connect() as con:
        return total - con.execute(f"SELECT count(*) FROM (SELECT DISTINCT file, pos FROM read_parquet({texts(listed)}))").fetchone()[0]
