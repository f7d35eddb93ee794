"""Delimited text: the header, the strict read by records, and the balance that decides whether it may be trusted.

DuckDB's strict reader loses rows without a word when a quote is not closed, so its result counts only when the lines
counted from the bytes close: lines = header + trailer + blank + records + line ends inside values, with nothing
rejected. Anything else is read again by lines (`lines.py`).
"""
from __future__ import annotations

import csv
import io
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from pipelines.readers import lines
from pipelines.readers.decode import SEPARATOR, decode
from pipelines.readers.model import MAX_COLUMNS, MAX_LINE, Reading, ReadRefused, Unit
from pipelines.sql import text, texts

HEADER_BYTES = 1 << 20
HEADER_LINES = 20


def unit(number: int, file: Any, path: Path, source: Any, scratch: Path) -> Unit:
    """Decode one landing file and read its header.

    Args:
        number: the unit's number in the batch.
        file: its `landing.File`.
        path: where it lies.
        source: the `contract.Source` that sent it.
        scratch: folder for a decoded copy.

    Raises:
        ReadRefused: see `decode.decode`; header, columns, delimiter.
    """
    what = f"File {file.number}"
    if not 0 < len(source.delimiter.encode()) <= 4 or len(source.quote) > 1 or source.quote == source.delimiter:
        raise ReadRefused("delimiter", f"{what}: a delimiter has 1 to 4 bytes, a quote at most 1 character, and they differ.")
    found = decode(path, file.sha256, file.counts, source.encoding, scratch / f"{number:04d}.txt", what)
    cells, records, physical, empty = _header(found.path, source.delimiter, source.quote, what)
    counts = file.counts
    return Unit(
        number=number, file=file.number, header=cells, path=found.path, lines=counts.lines, blank=counts.blank,
        header_lines=physical - empty, header_blank=empty, skip=records, trailer=int(counts.substitute),
        delimiter=source.delimiter, quote=source.quote, line_end=found.line_end,
        quotes=counts.quotes if source.quote == '"' else counts.bytes if source.quote else 0,
        ended=counts.ended or counts.substitute, encoding=found.encoding, repairs=found.repairs,
        damaged=found.damaged, nuls=counts.nuls)


def read(con: duckdb.DuckDBPyConnection, unit: Unit, select: Callable[..., str], table: str) -> Reading:
    """Create `table` from `unit` by records, or by lines when that cannot be trusted; see `readers.read`."""
    if not (unit.damaged or unit.nuls or len(unit.header) == 1):
        try:
            con.execute(f"CREATE TABLE {table} AS {select(_scan(unit))}")
        except duckdb.InvalidInputException:      # its text quotes the line; the read by lines says what is wrong
            con.execute(f"DROP TABLE IF EXISTS {table}")
        else:
            reading = _balance(con, unit, table)
            if reading:
                return reading
            con.execute(f"DROP TABLE {table}")
    return lines.read(con, unit, select, table)


def _scan(unit: Unit) -> str:
    """The strict read of the unit's records as VARCHAR columns c0…"""
    columns = [f"c{i}" for i in range(len(unit.header))]
    typed = ", ".join(f"{c}: 'VARCHAR'" for c in columns)
    return (f"read_csv({text(unit.path)}, auto_detect = false, header = false, skip = {unit.skip}, strict_mode = true, "
            f"delim = {text(unit.delimiter)}, quote = {text(unit.quote)}, escape = {text(unit.quote)}, "
            f"max_line_size = {MAX_LINE}, columns = {{{typed}}}, force_not_null = {texts(columns)})")


def _balance(con: duckdb.DuckDBPyConnection, unit: Unit, table: str) -> Reading | None:
    """The line balance of a read by records, or None when it does not close or looks like swallowed rows."""
    records = con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    left = unit.lines - unit.trailer - unit.header_lines - unit.blank - records
    inner = inner_blank = swallowed = 0
    if left and unit.quotes:
        inner, inner_blank, swallowed = con.execute(_inner_lines(unit)).fetchone()
    if left != inner - inner_blank or swallowed:
        return None
    return Reading(records, unit.header_lines, unit.blank - inner_blank, unit.trailer, inner, 0, unit.lines, "records", [])


def _inner_lines(unit: Unit) -> str:
    """SELECT line ends inside values, empty lines inside values, and values that look like swallowed rows.

    A quote left open in one row and another closed far below give a well-formed record; its value then holds rows.
    """
    cells = ", ".join(f"c{i}" for i in range(len(unit.header)))
    return f"""
        WITH long AS (
            SELECT unnest(list_filter([{cells}], lambda v: contains(v, chr(10)) OR contains(v, chr(13)))) AS v FROM {_scan(unit)}),
        flat AS (SELECT replace(replace(v, chr(13) || chr(10), chr(10)), chr(13), chr(10)) AS v FROM long),
        split AS (SELECT v, string_split(v, chr(10)) AS pieces FROM flat)
        SELECT coalesce(sum(len(pieces) - 1), 0)::BIGINT,
            coalesce(sum(length(v) - length(regexp_replace(v, '\n\n+', chr(10), 'g'))), 0)::BIGINT,
            count(*) FILTER (len(pieces) > {lines.MAX_JOINED} OR {lines.rows_inside("pieces[2:-2]", unit)})
        FROM split"""


def _header(path: Path, delimiter: str, quote: str, what: str) -> tuple[tuple[str, ...], int, int, int]:
    """(cells, records to skip, physical lines to skip, empty lines among these)."""
    with open(path, "rb") as file:
        head = file.read(HEADER_BYTES + 1)
    physical = list(islice(io.StringIO(head[:HEADER_BYTES].decode("utf-8-sig", "ignore"), newline=""), HEADER_LINES))
    reader = csv.reader((line.replace(delimiter, SEPARATOR) for line in physical), delimiter=SEPARATOR, strict=True,
                        quotechar=quote or None, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE)
    cells: list[str] = []
    records = 0
    try:
        for cells in reader:
            records += 1
            if cells:
                break
    except csv.Error:
        raise ReadRefused("header", f"{what}: the header cannot be parsed: a quote in it is not closed, or is followed "
                                    "by text.") from None
    used = physical[:reader.line_num]
    if not cells:
        raise ReadRefused("header", f"{what}: no header among the first {len(used)} lines.")
    if len(cells) > MAX_COLUMNS or (len(head) > HEADER_BYTES and len(used) == len(physical) < HEADER_LINES):
        raise ReadRefused("columns", f"{what}: the header is wider than {MAX_COLUMNS:,} columns or longer than 1 MB. "
                                     "Is the delimiter right?")
    empty = sum(not line.strip("\r\n") for line in used)
    return tuple(c.replace(SEPARATOR, delimiter) for c in cells), records, len(used), empty
