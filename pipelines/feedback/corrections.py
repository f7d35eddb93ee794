"""Returned rows in the place of what was submitted, before anything is tested.

A returned row replaces the cells of the record at its address, column by column of the submitted header; a column that did not come
back keeps its cells. A line that could not be read becomes the record it should have been: one record less its physical lines
unparseable, so that both equations still close. A row marked 删除 stays a record and is counted as cancelled: it is neither tested nor kept.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb

from pipelines import readers
from pipelines.feedback import reading as returned_files
from pipelines.feedback.columns import shown
from pipelines.feedback.reading import TABLE
from pipelines.landing import Manifest
from pipelines.readers import heading
from pipelines.sql import text

_RAW = "_lake_corrected"


class Corrections:
    """The corrections of one batch, read once; `read` takes the place of `readers.read`.

    Attributes:
        corrected: records that were replaced, so far.
        cancelled: addresses (file, ordinal) of records that their sender took back, so far.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, manifest: Manifest, scratch: Path) -> None:
        """Read the corrections of a batch.

        Raises:
            readers.ReadRefused: one of them cannot be read.
        """
        self.corrected, self.cancelled = 0, []
        self._files: set[int] = set()
        if manifest.corrections:
            returned_files.make_table(con)
            for file in manifest.corrections:
                returned_files.load(con, file.number, returned_files.units(manifest, file, scratch / f"correction-{file.number}"))
            self._files = {n for n, in con.execute(f"SELECT DISTINCT file FROM {TABLE}").fetchall()}

    def concern(self, unit: readers.Unit) -> bool:
        """Whether rows of this unit came back."""
        return unit.number in self._files

    def read(self, con: duckdb.DuckDBPyConnection, unit: readers.Unit, select: Callable[..., str], table: str) -> readers.Reading:
        """Create `table` from a unit with the returned rows in their places; see `readers.read`.

        Raises:
            readers.ReadRefused: as `readers.read`; or a returned row has an address that the unit does not have.
        """
        if not self.concern(unit):
            return readers.read(con, unit, select, table)
        cells = [f"c{i}" for i in range(len(unit.header))]
        reading = readers.read(con, unit, lambda rows, ordinal="row_number() OVER ()": f"""
            SELECT {ordinal} AS _line, {', '.join(cells)}, false AS _cancelled FROM {rows}""", _RAW)
        revived = self._put_in(con, unit, reading, cells)
        con.execute(f"CREATE TABLE {table} AS " + select(f"(SELECT * EXCLUDE (_cancelled) FROM {_RAW} WHERE NOT _cancelled)", "_line"))
        gone = [n for n, in con.execute(f"SELECT _line FROM {_RAW} WHERE _cancelled ORDER BY ALL").fetchall()]
        self.cancelled += [(unit.number, n) for n in gone]
        self.corrected += con.execute(f"SELECT count(DISTINCT ordinal) FROM {TABLE} WHERE file = {unit.number}").fetchone()[0] - len(gone)
        con.execute(f"DROP TABLE {_RAW}")
        physical = sum(reading.spans.get(n, 1) for n in revived)
        return replace(reading, records=reading.records + len(revived), unparseable=reading.unparseable - physical,
                       inner_line_ends=reading.inner_line_ends + physical - len(revived), rejects=[r for r in reading.rejects if r[0] not in revived])

    def _put_in(self, con: duckdb.DuckDBPyConnection, unit: readers.Unit, reading: readers.Reading, cells: list[str]) -> set[int]:
        """Replace records by returned rows, correction by correction; returns the ordinals of unreadable lines that are records now."""
        keys = [text(heading.key(name)) for name in shown(unit.header)]
        rejects, revived = [n for n, _ in reading.rejects], set()
        for place, in con.execute(f"SELECT DISTINCT place FROM {TABLE} WHERE file = {unit.number} ORDER BY ALL").fetchall():
            mine = f"(SELECT * FROM {TABLE} WHERE place = {place} AND file = {unit.number})"
            given = con.execute(f"SELECT ordinal FROM {mine} ANTI JOIN {_RAW} ON _line = ordinal").fetchall()
            fresh = {n for n, in given}
            if not fresh <= set(rejects):
                raise readers.ReadRefused("address", f"{unit.name.capitalize()}: {len(fresh - set(rejects))} returned rows have addresses "
                                                        "that it does not have. Ask for the corrected rows again.")
            con.execute(f"INSERT INTO {_RAW} SELECT ordinal, {', '.join(chr(39) * 2 for _ in cells)}, false FROM {mine} ANTI JOIN {_RAW} ON _line = ordinal")
            sets = ", ".join(f"{c} = coalesce(r.cells[{key}], {_RAW}.{c})" for c, key in zip(cells, keys))
            con.execute(f"UPDATE {_RAW} SET {sets}, _cancelled = r.cancelled FROM {mine} AS r WHERE {_RAW}._line = r.ordinal")
            revived |= fresh
        return revived
