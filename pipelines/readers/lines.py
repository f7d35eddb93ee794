"""Reading delimited text by physical lines, when it cannot be read by records.

Every line is taken alone; one whose quote stays open is joined with the lines down to the next odd quote, when that
gives a row of the right width. Good rows go through the caller's SELECT with `_line`, bad ones are listed with their
reason. Works in temporary tables `_lake_*` of the connection, which are gone afterwards.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb

from pipelines.readers.dialect import ESCAPE
from pipelines.readers.marks import DAMAGE, FILLER, SEPARATOR
from pipelines.readers.model import MAX_LINE, MAX_REJECTS, Reading, ReadRefused, Unit
from pipelines.sql import text

MAX_JOINED = 100       # physical lines of one record
_TABLES = ("_lake_record", "_lake_joined", "_lake_line")
_MACROS = ("_lake_cells", "_lake_fits", "_lake_field", "_lake_bare")


def read(con: duckdb.DuckDBPyConnection, unit: Unit, select: Callable[..., str], table: str) -> Reading:
    """Create `table` from the good rows of `unit`; see `readers.read`.

    Raises:
        ReadRefused: conservation, unparseable.
    """
    with records(con, unit) as found:
        bad = con.execute(f"SELECT coalesce(sum(last_line - first_line + 1), 0)::BIGINT FROM {found} WHERE reason <> 'blank'").fetchone()[0]
        if bad > MAX_REJECTS:
            raise ReadRefused("unparseable", f"{unit.name}: {bad:,} of {unit.lines:,} lines cannot be parsed; "
                                             f"at most {MAX_REJECTS:,} are listed. Check delimiter, quote and encoding.")
        cells = ", ".join(f"cells[{i + 1}] AS c{i}" for i in range(len(unit.header)))
        con.execute(f"CREATE TABLE {table} AS " + select(
            f"(SELECT {cells}, ordinal AS _line FROM {found} WHERE reason IS NULL)", "_line"))
        good, inner, blank = con.execute(f"""
            SELECT count(*) FILTER (reason IS NULL), coalesce(sum(last_line - first_line) FILTER (reason IS NULL), 0)::BIGINT,
                count(*) FILTER (reason = 'blank') FROM {found}""").fetchone()
        rejects = con.execute(f"SELECT ordinal, reason FROM {found} WHERE reason <> 'blank' ORDER BY ordinal").fetchall()
        spans = dict(con.execute(f"SELECT ordinal, last_line - first_line + 1 FROM {found} WHERE reason <> 'blank' AND last_line > first_line").fetchall())
    made = con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    reading = Reading(good, unit.header_lines, blank + unit.header_blank, unit.trailer, inner, bad, unit.lines, "lines", rejects, spans)
    if not reading.closes or made != good:
        con.execute(f"DROP TABLE {table}")
        raise ReadRefused("conservation", f"{unit.name} closes neither by records nor by lines: {unit.lines:,} lines, "
                                          f"{good:,} rows found, {made:,} loaded, {bad:,} unparseable lines, {blank:,} blank.")
    return reading


@contextmanager
def records(con: duckdb.DuckDBPyConnection, unit: Unit) -> Iterator[str]:
    """The name of a table (ordinal, first_line, last_line, text, cells, reason) of the unit's records.

    `reason` is NULL for a good row, 'blank', or why it cannot be parsed; `cells` is NULL unless the row is good.
    """
    try:
        for statement in _statements(unit):
            con.execute(statement)
        yield "_lake_record"
    finally:
        for name in _TABLES:
            con.execute(f"DROP TABLE IF EXISTS temp.{name}")
        for name in _MACROS:
            con.execute(f"DROP MACRO IF EXISTS {name}")


def rows_inside(pieces: str, unit: Unit, alike: str | None = None) -> str:
    """SQL BOOLEAN: half or more of the lines in the list `pieces`, all from inside one record, look like rows of the unit.

    One such line is enough from three columns on; lines of prose often hold a single comma, so two columns need five.

    Args:
        pieces: SQL list of lines.
        unit: whose rows they may be.
        alike: SQL BOOLEAN over `l`, one line; by default it holds as many delimiters as a row.
    """
    width, delimiter = len(unit.header), unit.delimiter
    if width == 1:
        return "false"
    alike = alike or f"length(l) - length(replace(l, {text(delimiter)}, '')) = {(width - 1) * len(delimiter)}"
    return f"len(list_filter({pieces}, lambda l: {alike})) * 2 >= greatest(len({pieces}), {2 if width > 2 else 10})"


def _statements(unit: Unit) -> list[str]:
    """The statements that make `_lake_record`."""
    begin = unit.header_lines + unit.header_blank
    load = (f"CREATE TEMP TABLE _lake_line AS SELECT c0 AS text FROM read_csv({text(unit.path)}, auto_detect = false, "
            f"header = false, strict_mode = true, delim = {text(SEPARATOR)}, quote = '', escape = '', "
            f"max_line_size = {MAX_LINE}, columns = {{c0: 'VARCHAR'}}, force_not_null = ['c0'])")
    quote = text(unit.quote)
    quoted = f"contains(line, {quote})" if unit.quote and unit.quotes else "false"
    joined = f"""
        CREATE TEMP TABLE _lake_joined AS
        WITH odd AS (
            SELECT rowid AS line, text FROM _lake_line WHERE rowid >= {begin} AND {quoted.replace("line", "text")}
                AND (length(_lake_bare(text)) - length(replace(_lake_bare(text), {quote}, ''))) % 2 = 1),
        pair AS (
            SELECT line AS first, next AS last FROM (SELECT *, lead(line) OVER (ORDER BY line) AS next FROM odd)
            WHERE next - line < {MAX_JOINED} AND _lake_cells(text) IS NULL),
        piece AS (SELECT *, unnest(range(first, last + 1)) AS line FROM pair),
        whole AS (
            SELECT first, last, list(text ORDER BY line) AS pieces
            FROM piece JOIN _lake_line ON _lake_line.rowid = line GROUP BY ALL),
        valid AS (
            SELECT first, last, array_to_string(pieces, {text(unit.line_end)}) AS text FROM whole
            WHERE NOT {rows_inside("pieces[2:-2]", unit, "coalesce(_lake_fits(_lake_cells(l)), false)")}
                AND _lake_fits(_lake_cells(array_to_string(pieces, {text(unit.line_end)})))),
        chained AS (SELECT *, first IS DISTINCT FROM lag(last) OVER (ORDER BY first) AS starts FROM valid),
        chain AS (SELECT *, count(*) FILTER (starts) OVER (ORDER BY first) AS number FROM chained)
        SELECT first, last, text FROM chain QUALIFY row_number() OVER (PARTITION BY number ORDER BY first) % 2 = 1"""
    records = f"""
        CREATE TEMP TABLE _lake_record AS
        WITH inside AS (SELECT unnest(range(first, last + 1)) AS line FROM _lake_joined),
        single AS (
            SELECT rowid AS first, rowid AS last, text FROM _lake_line
            WHERE rowid >= {begin} AND rowid NOT IN (FROM inside)),
        split AS (
            SELECT *, _lake_cells(text) AS cells FROM (FROM single UNION ALL FROM _lake_joined)),
        judged AS (
            SELECT *, CASE
                WHEN trim(text) = '' THEN 'blank'
                WHEN contains(text, chr(0)) THEN 'nul'
                WHEN contains(text, {text(DAMAGE)}) THEN 'encoding'
                WHEN coalesce(_lake_fits(cells), false) THEN NULL
                WHEN last = {unit.lines - unit.trailer - 1} AND NOT {str(unit.ended).lower()} THEN 'cut'
                WHEN cells IS NULL THEN '{"width" if unit.widths else "quote"}'
                ELSE 'width' END AS reason
            FROM split)
        SELECT first - {begin} + 1 AS ordinal, first + 1 AS first_line, last + 1 AS last_line, text,
            CASE WHEN reason IS NULL THEN cells[1:{len(unit.header)}] END AS cells, reason
        FROM judged"""
    return [load, *_macros(unit, quoted), joined, records]


def _macros(unit: Unit, quoted: str) -> list[str]:
    """Macros that split one line and judge its width.

    `_lake_cells(line)` is NULL when the quotes are wrong; a delimiter of several characters becomes one first.
    `_lake_bare(line)` is the line without escaped characters, for counting its quotes.
    """
    escaped = unit.escape == ESCAPE
    bare = f"regexp_replace(line, {text('(?s)' + ESCAPE * 2 + '.')}, '', 'g')" if escaped else "line"
    cells = _fixed(unit.widths) if unit.widths else _escaped(unit) if escaped else _quoted(unit, quoted) if unit.quote else [
        f"CREATE OR REPLACE TEMP MACRO _lake_cells(line) AS string_split(line, {text(unit.delimiter)})"]
    return [f"CREATE OR REPLACE TEMP MACRO _lake_bare(line) AS {bare}", *cells, _fits(len(unit.header))]


def _fixed(widths: tuple[int, ...]) -> list[str]:
    """Cells at fixed positions; only the last one may be short. A FILLER at a cell's start means that a character was cut."""
    total, start, pieces = sum(widths), 1, []
    for width in widths:
        pieces.append(f"substr(line, {start}, {width})")
        start += width
    return [f"""CREATE OR REPLACE TEMP MACRO _lake_cells(line) AS
        CASE WHEN length(line) > {total - widths[-1]} AND trim(substr(line, {total + 1})) = ''
            AND NOT list_bool_or(list_transform([{", ".join(pieces)}], lambda p: starts_with(p, {text(FILLER)})))
        THEN list_transform([{", ".join(pieces)}], lambda p: trim(replace(p, {text(FILLER)}, ''), ' ')) END"""]


def _quoted(unit: Unit, quoted: str) -> list[str]:
    """RFC 4180, blanks around quoted fields allowed."""
    quote, one, back, mark = unit.quote, *_single(unit)
    d, q = _class(mark), _class(quote)
    field = f"[{d}](?: *[{q}](?:[^{q}]|[{q}][{q}])*[{q}] *| *[^ {d}{q}][^{d}]*| *)"
    return [
        f"""CREATE OR REPLACE TEMP MACRO _lake_field(value) AS
            CASE WHEN starts_with(ltrim(value), {text(quote)})
                THEN replace(trim(value)[2:-2], {text(quote * 2)}, {text(quote)}) ELSE value END""",
        _split(field, mark, one, back, f"NOT {quoted}", unit)]


def _escaped(unit: Unit) -> list[str]:
    """A backslash takes the meaning from the character after it, inside quotes and outside; a cell `\\N` stays as it is."""
    quote, one, back, mark = unit.quote, *_single(unit)
    d, e = _class(mark), ESCAPE * 2
    q = _class(quote) if quote else ""
    inside = f" *[{q}](?:[^{q}{e}]|{e}.)*[{q}] *|" if quote else ""
    blank = f" *(?:[^ {d}{q}{e}]|{e}.)(?:[^{d}{e}]|{e}.)*| *" if quote else f"(?:[^{d}{e}]|{e}.)*"
    opened = f"CASE WHEN starts_with(ltrim(value), {text(quote)}) THEN trim(value)[2:-2] ELSE value END" if quote else "value"
    return [
        f"""CREATE OR REPLACE TEMP MACRO _lake_field(value) AS
            CASE WHEN value = {text(ESCAPE + 'N')} THEN value ELSE regexp_replace({opened}, {text(f'(?s){e}(.)')}, {text(ESCAPE + '1')}, 'g') END""",
        _split(f"(?s)[{d}](?:{inside}{blank})", mark, one, back, "false", unit)]


def _single(unit: Unit) -> tuple[str, str, str]:
    """SQL of a line whose delimiter is one character, of a field with its own delimiter again, and that character."""
    if len(unit.delimiter) == 1:
        return "line", "value", unit.delimiter
    return (f"replace(line, {text(unit.delimiter)}, {text(SEPARATOR)})", f"replace(value, {text(SEPARATOR)}, {text(unit.delimiter)})", SEPARATOR)


def _split(field: str, mark: str, one: str, back: str, plain: str, unit: Unit) -> str:
    found = f"regexp_extract_all({text(mark)} || {one}, {text(field)})"
    return f"""CREATE OR REPLACE TEMP MACRO _lake_cells(line) AS
        CASE WHEN {plain} THEN string_split(line, {text(unit.delimiter)})
            WHEN array_to_string({found}, '') = {text(mark)} || {one}
            THEN list_transform({found}, lambda f: {back.replace('value', '_lake_field(substr(f, 2))')}) END"""


def _fits(width: int) -> str:
    return (f"CREATE OR REPLACE TEMP MACRO _lake_fits(cells) AS len(cells) = {width} "
            f"OR (len(cells) > {width} AND array_to_string(cells[{width + 1}:], '') = '')")


def _class(character: str) -> str:
    """`character` inside a bracket expression."""
    return re.escape(character) if character in r"\]^-[" else character
