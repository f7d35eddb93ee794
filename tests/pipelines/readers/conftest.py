"""Lands bytes and reads them back with an identity SELECT."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from pipelines import landing, readers
from pipelines.contract import Source
from pipelines.settings import Lake
from pipelines.sql import connect


@dataclass
class Read:
    """A unit, its reading, and its rows as (ordinal, cell, …), by ordinal."""

    unit: readers.Unit
    reading: readers.Reading
    rows: list[tuple]

    @property
    def cells(self) -> list[list[str]]:
        return [list(row[1:]) for row in self.rows]


class Bench:
    def __init__(self, root: Path) -> None:
        self.root, self.con, self.turn = root, connect(), 0

    def land(self, *contents: bytes, **options) -> tuple[landing.Manifest, Source, Path]:
        self.turn += 1
        source = Source("s", 0, "d", "u", options.pop("format", "csv"), **options)
        folder = self.root / str(self.turn)
        (folder / "scratch").mkdir(parents=True)
        files = []
        for number, content in enumerate(contents):
            files.append(folder / f"姓名{number}.csv")
            files[-1].write_bytes(content)
        lake = Lake.open(folder / "lake")
        [got] = landing.receive(lake, SimpleNamespace(id="a.b"), source, files, "2026-11-01")
        return landing.read_manifest(got.folder), source, folder / "scratch"

    def read_all(self, *contents: bytes, **options) -> list[Read]:
        spelled = options.pop("spelled", ())
        return [self.read_unit(unit) for unit in readers.units(*self.land(*contents, **options), spelled)]

    def read(self, content: bytes, **options) -> Read:
        [one] = self.read_all(content, **options)
        return one

    def read_unit(self, unit: readers.Unit) -> Read:
        cells = ", ".join(f"c{i}" for i in range(len(unit.header)))
        self.con.execute("DROP TABLE IF EXISTS t")
        reading = readers.read(self.con, unit, lambda rows, ordinal="NULL::BIGINT": f"SELECT {cells}, {ordinal} AS _line FROM {rows}", "t")
        assert reading.closes
        return Read(unit, reading, self.con.execute(f"SELECT coalesce(_line, rowid + 1), {cells} FROM t ORDER BY 1").fetchall())

    def refused(self, content: bytes, **options) -> str:
        with pytest.raises(readers.ReadRefused) as refused:
            self.read_all(content, **options)
        assert "姓名" not in str(refused.value)
        return refused.value.code


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("readers"))


@pytest.fixture
def con(bench) -> duckdb.DuckDBPyConnection:
    return bench.con
