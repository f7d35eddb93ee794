"""Text of one record a line: the unit, the strict read by records, and the balance that decides whether it may be trusted.

DuckDB's strict reader loses rows without a word when a quote is not closed, so its result counts only when the lines
counted from the bytes close: lines = header + trailer + blank + records + line ends inside values, with nothing
rejected. Anything else is read again by lines (`lines.py`), as are fixed widths and backslash escapes.
"""
from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from pipelines.readers import dialect, heading, lines
from pipelines.readers.decode import Decoded, without_last_line
from pipelines.readers.heading import Spelled
from pipelines.readers.marks import FILLER
from pipelines.readers.model import MAX_LINE, Member, Reading, ReadRefused, Unit
from pipelines.sql import text, texts

HEAD_BYTES = 1 << 20
TAIL_BYTES = 1 << 16
SMALL = 8 << 20      # bytes of a file whose planning costs more than its rows


def unit(number: int, member: Member, decoded: Decoded, source: Any, spelled: Spelled, scratch: Path) -> Unit:
    """What is known about a text file before its rows are read.

    Args:
        number: the unit's number in the batch.
        member: the file.
        decoded: its text.
        source: the `contract.Source` that sent it.
        spelled: the accepted spellings of the contract's columns.
        scratch: where a copy without the trailer may be written.

    Raises:
        ReadRefused: header, columns, delimiter, trailer.
    """
    head, whole = _head(decoded.path)
    if not whole and len(head) < heading.ROWS:
        raise ReadRefused("columns", f"{member.name}: the first lines are longer than 1 MB. Is it a table?")
    found = (_fixed if source.widths else dialect.find)(head, source, spelled, member.name)
    counts, written = decoded.counts, found.dialect
    made = Unit(
        number=number, file=member.file, member_number=member.number, form="fixed" if source.widths else "delimited",
        header=found.header, path=decoded.path, lines=counts.lines, blank=counts.blank,
        header_lines=found.physical - found.empty, header_blank=found.empty, header_row=found.records, skip=found.records,
        trailer=int(counts.substitute), delimiter=written.delimiter, quote=written.quote, escape=written.escape, widths=source.widths,
        line_end=decoded.line_end, quotes=counts.quotes if written.quote == '"' else counts.bytes if written.quote else 0,
        ended=counts.ended or counts.substitute, encoding=decoded.encoding, repairs=decoded.repairs,
        damaged=decoded.damaged, nuls=counts.nuls, evidence=f"{said(decoded)}; {found.evidence}")
    return _cut_trailer(made, decoded, source.trailer, scratch) if source.trailer else made


def said(decoded: Decoded) -> str:
    """What a file's bytes were, in words."""
    return decoded.encoding + (f", once read as {decoded.mojibake} and repaired" if decoded.mojibake else "")


def _head(path: Path) -> tuple[list[str], bool]:
    """The first physical lines with their ends, and whether all of them are whole."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES + 1)
    found = list(islice(io.StringIO(head[:HEAD_BYTES].decode("utf-8-sig", "ignore"), newline=""), dialect.SAMPLE_LINES))
    cut = len(head) > HEAD_BYTES and len(found) < dialect.SAMPLE_LINES
    return (found[:-1] if cut else found), not cut


def _fixed(head: list[str], source: Any, spelled: Spelled, what: str) -> dialect.Found:
    """The header of a fixed-width file: the contract's, or the line that names the most columns."""
    plain = dialect.Dialect("", "", "")
    said = f"fixed width, {len(source.widths)} columns"
    if source.header:
        return dialect.Found(plain, source.header, 0, 0, 0, f"{said}; the contract gives the header")
    rows = [[line.rstrip("\r\n")[a:b].replace(FILLER, "").strip() for a, b in bounds(source.widths)] for line in head[:heading.ROWS]]
    found = heading.find(rows, spelled)
    if found is None or (spelled and not found.known) or found.doubtful is not None:
        raise ReadRefused("header", f"{what}: no header of the declared widths among the first lines. Declare header: when there is none.")
    empty = sum(not line.strip("\r\n") for line in head[:found.row + 1])
    return dialect.Found(plain, found.cells, found.row + 1, found.row + 1, empty,
                         f"{said}; header in row {found.row + 1} names {found.known} columns of the contract")


def bounds(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    """(start, end) of fixed-width cells, from 0."""
    ends = [sum(widths[:i + 1]) for i in range(len(widths))]
    return [(end - width, end) for end, width in zip(ends, widths)]


def _cut_trailer(made: Unit, decoded: Decoded, pattern: str, scratch: Path) -> Unit:
    """The unit without its last row, which says how many records there are."""
    size = decoded.path.stat().st_size
    with open(decoded.path, "rb") as file:
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read()
    body = tail.rstrip(b"\r\n\x1a")
    start = max(body.rfind(b"\n"), body.rfind(b"\r")) + 1
    found = re.search(pattern, body[start:].decode("utf-8", "ignore").replace(FILLER, ""))
    if found is None or not (found[1] or "").strip().isdecimal():
        raise ReadRefused("trailer", f"File {made.file}: its last row is not the declared trailer; the file is cut, or was written otherwise.")
    after = len(re.findall(rb"\r\n|\r|\n", tail[len(body):].rstrip(b"\x1a")))      # the trailer's own line end, then blank lines
    blank = max(0, after - 1)
    kept = without_last_line(decoded, size - len(tail) + start, scratch)
    return replace(made, path=kept.path, trailer=made.trailer + 1 + blank, blank=made.blank - blank, expected=int(found[1]), ended=True,
                   evidence=f"{made.evidence}; the last row counts {int(found[1]):,} records")


def read(con: duckdb.DuckDBPyConnection, unit: Unit, select: Callable[..., str], table: str) -> Reading:
    """Create `table` from `unit` by records, or by lines when that cannot be trusted; see `readers.read`."""
    if by_records(unit):
        try:
            _create(con, unit, select, table)
        except duckdb.InvalidInputException:      # its text quotes the line; the read by lines says what is wrong
            con.execute(f"DROP TABLE IF EXISTS {table}")
        else:
            reading = balance(con, unit, con.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
            if reading:
                return reading
            con.execute(f"DROP TABLE {table}")
    return lines.read(con, unit, select, table)


def by_records(unit: Unit) -> bool:
    """Whether the strict reader may try a unit."""
    return not (unit.damaged or unit.nuls or unit.widths or len(unit.header) == 1 or unit.escape != unit.quote)


def keeps_order(con: duckdb.DuckDBPyConnection, statement: str) -> bool:
    """Whether a CREATE TABLE AS puts rows where its source has them.

    Reading by several threads keeps their order only when the plan writes by batches: a join or a window gives rows back in any order.
    """
    return "BATCH_CREATE_TABLE_AS" in con.execute(f"EXPLAIN {statement}").fetchall()[0][1]


def _create(con: duckdb.DuckDBPyConnection, unit: Unit, select: Callable[..., str], table: str) -> None:
    """Create `table` in one pass where DuckDB keeps the order of the rows, so that their places tell their ordinals; else the texts are kept first.

    So are those of small files: asking for the plan costs as much as making it, 0.4 s for a wide contract.
    """
    create(con, table, select(scan(unit)), unit.path.stat().st_size, scan(unit), select("(SELECT *, rowid + 1 AS _at FROM _lake_text)", "_at"))


def create(con: duckdb.DuckDBPyConnection, table: str, select: str, size: int, texts: str, select_texts: str) -> None:
    """Create `table` in one pass where DuckDB keeps the order of the rows, else by way of their texts.

    Args:
        select: over the files themselves.
        size: of the files in bytes; small ones always go by way of their texts.
        texts: the scan that the table `_lake_text` is made of.
        select_texts: over that table.
    """
    if size > SMALL and keeps_order(con, statement := f"CREATE TABLE {table} AS {select}"):
        con.execute(statement)
        return
    try:
        con.execute(f"CREATE TABLE _lake_text AS FROM {texts}")
        con.execute(f"CREATE TABLE {table} AS {select_texts}")
    finally:
        con.execute("DROP TABLE IF EXISTS _lake_text")


def scan(unit: Unit, paths: list[Path] | None = None) -> str:
    """The strict read of the unit's records as VARCHAR columns c0…

    Args:
        paths: of files that are written like it, in place of its own.
    """
    columns = [f"c{i}" for i in range(len(unit.header))]
    typed = ", ".join(f"{c}: 'VARCHAR'" for c in columns)
    return (f"read_csv({texts(paths) if paths else text(unit.path)}, auto_detect = false, header = false, skip = {unit.skip}, strict_mode = true, "
            f"delim = {text(unit.delimiter)}, quote = {text(unit.quote)}, escape = {text(unit.quote)}, "
            f"max_line_size = {MAX_LINE}, columns = {{{typed}}}, force_not_null = {texts(columns)})")


def balance(con: duckdb.DuckDBPyConnection, unit: Unit, records: int) -> Reading | None:
    """The line balance of a read by records, or None when it does not close or looks like swallowed rows."""
    left = unit.lines - unit.trailer - unit.header_lines - unit.blank - records
    inner = inner_blank = swallowed = 0
    if left and unit.quotes:
        try:
            inner, inner_blank, swallowed = con.execute(_inner_lines(unit)).fetchone()
        except duckdb.InvalidInputException:      # among other files an open quote may lose rows without a word
            return None
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
            SELECT unnest(list_filter([{cells}], lambda v: contains(v, chr(10)) OR contains(v, chr(13)))) AS v FROM {scan(unit)}),
        flat AS (SELECT replace(replace(v, chr(13) || chr(10), chr(10)), chr(13), chr(10)) AS v FROM long),
        split AS (SELECT v, string_split(v, chr(10)) AS pieces FROM flat)
        SELECT coalesce(sum(len(pieces) - 1), 0)::BIGINT,
            coalesce(sum(length(v) - length(regexp_replace(v, '\n\n+', chr(10), 'g'))), 0)::BIGINT,
            count(*) FILTER (len(pieces) > {lines.MAX_JOINED} OR {lines.rows_inside("pieces[2:-2]", unit)})
        FROM split"""
