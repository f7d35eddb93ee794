"""Reading a returned pack: a table of text or a workbook with the column 回执, read like any other file of a department."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb

from pipelines import readers
from pipelines.contract import Source
from pipelines.feedback.columns import ACTION, DELETE_WORDS, SPELLED, TICKET
from pipelines.landing import File, Manifest
from pipelines.readers import heading
from pipelines.sql import text, texts

FORMS = ("delimited", "xlsx", "xls", "ods")
TABLE = "_lake_returned"
_ANY = Source(source="", rank=0, department="", uscc="", format="auto")
_ADDRESS = r"^\s*'?([^#\s']+)~r([0-9]{1,6})#([0-9]{1,9}):([0-9]{1,15})\s*$"


def units(manifest: Manifest, file: File, scratch: Path) -> list[readers.Unit]:
    """The tables of one file that have the column 回执; none where it is no returned pack.

    Args:
        manifest: of the batch; its folder holds the file.
        scratch: an existing folder that outlives the reading.

    Raises:
        readers.ReadRefused: the file cannot be read.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    found = readers.units(replace(manifest, files=(file,)), _ANY, scratch, SPELLED)
    return [unit for unit in found if unit.form in FORMS and heading.key(TICKET) in map(heading.key, unit.header)]


def make_table(con: duckdb.DuckDBPyConnection) -> None:
    """Make the empty table that `load` fills: one row per returned row.

    `place`: which correction; `line`: its row there; `cells`: header key → text. The address is NULL where there is no readable ticket.
    """
    con.execute(f"""CREATE OR REPLACE TEMP TABLE {TABLE}(place INTEGER, line BIGINT, batch_id VARCHAR, revision INTEGER, file INTEGER,
        ordinal BIGINT, cancelled BOOLEAN, cells MAP(VARCHAR, VARCHAR))""")


def load(con: duckdb.DuckDBPyConnection, place: int, found: list[readers.Unit]) -> int:
    """Add the rows of one returned file, but empty ones, to the table; returns how many of its rows cannot be read."""
    return sum(_load_unit(con, place, unit) for unit in found)


def _load_unit(con: duckdb.DuckDBPyConnection, place: int, unit: readers.Unit) -> int:
    keys = [heading.key(cell) for cell in unit.header]
    cells = {key: f"c{keys.index(key)}" for key in keys}
    # A quote mark in front keeps Excel from computing with a cell of the CSV: `lists.guarded` puts it there.
    bare = ", ".join(f"regexp_replace({c}, '^''', '')" for c in cells.values())
    ticket, action = cells[heading.key(TICKET)], cells.get(heading.key(ACTION), "''")
    plain = ", ".join(f"c{i}" for i in range(len(keys)))
    reading = readers.read(con, unit, lambda rows, ordinal="NULL::BIGINT": f"""
        SELECT {ordinal} AS _line, regexp_extract({ticket}, {text(_ADDRESS)}, ['batch', 'revision', 'file', 'record']) AS address,
            upper(trim({action})) IN {tuple(DELETE_WORDS)} AS cancelled, map({texts(cells)}, [{bare}]) AS cells, trim(concat({plain})) = '' AS blank
        FROM {rows}""", "_lake_returned_unit")
    con.execute(f"""
        INSERT INTO {TABLE} SELECT {place}, coalesce(_line, rowid + 1), nullif(address.batch, ''), TRY_CAST(address.revision AS INTEGER),
            TRY_CAST(address.file AS INTEGER), TRY_CAST(address.record AS BIGINT), cancelled, cells
        FROM _lake_returned_unit WHERE NOT blank""")
    con.execute("DROP TABLE _lake_returned_unit")
    return len(reading.rejects)
