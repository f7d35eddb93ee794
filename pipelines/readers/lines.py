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

from pipelines.readers.decode import DAMAGE, SEPARATOR
from pipelines.readers.model import MAX_LINE, MAX_REJECTS, Reading, ReadRefused, Unit
from pipelines.sql import text

MAX_JOINED = 100       # physical lines of one record
_TABLES = ("_lake_record", "_lake_joined", "_lake_line")
_MACROS = ("_lake_cells", "_lake_fits", "_lake_field")


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
    made = con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    reading = Reading(good, unit.header_lines, blank + unit.header_blank, unit.trailer, inner, bad, unit.lines, "lines", rejects)
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
                AND (length(text) - length(replace(text, {quote}, ''))) % 2 = 1),
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
                WHEN cells IS NULL THEN 'quote'
                ELSE 'width' END AS reason
            FROM split)
        SELECT first - {begin} + 1 AS ordinal, first + 1 AS first_line, last + 1 AS last_line, text,
            CASE WHEN reason IS NULL THEN cells[1:{len(unit.header)}] END AS cells, reason
        FROM judged"""
    return [load, *_macros(unit, quoted), joined, records]


def _macros(unit: Unit, quoted: str) -> list[str]:
    """Macros that split one line (RFC 4180, blanks around quoted fields allowed) and judge its width.

    `_lake_cells(line)` is NULL when the quotes are wrong; a delimiter of several characters becomes one first.
    Empty cells beyond the header are no cells: DuckDB's strict reader takes them so too.
    """
    several = len(unit.delimiter) > 1
    mark = SEPARATOR if several else unit.delimiter
    one = f"replace(line, {text(unit.delimiter)}, {text(mark)})" if several else "line"
    back = f"replace(value, {text(mark)}, {text(unit.delimiter)})" if several else "value"
    width, quote = len(unit.header), unit.quote
    if not quote:
        return [f"CREATE OR REPLACE TEMP MACRO _lake_cells(line) AS string_split(line, {text(unit.delimiter)})",
                _fits(width)]
    d, q = _class(mark), _class(quote)
    field = f"[{d}](?: *[{q}](?:[^{q}]|[{q}][{q}])*[{q}] *| *[^ {d}{q}][^{d}]*| *)"
    return [
        f"""CREATE OR REPLACE TEMP MACRO _lake_field(value) AS
            CASE WHEN starts_with(ltrim(value), {text(quote)})
                THEN replace(trim(value)[2:-2], {text(quote * 2)}, {text(quote)}) ELSE value END""",
        f"""CREATE OR REPLACE TEMP MACRO _lake_cells(line) AS
            CASE WHEN NOT {quoted} THEN string_split(line, {text(unit.delimiter)})
                WHEN array_to_string(regexp_extract_all({text(mark)} || {one}, {text(field)}), '') = {text(mark)} || {one}
                THEN list_transform(regexp_extract_all({text(mark)} || {one}, {text(field)}),
                    lambda f: {back.replace('value', '_lake_field(substr(f, 2))')}) END""",
        _fits(width)]


def _fits(width: int) -> str:
    return (f"CREATE OR REPLACE TEMP MACRO _lake_fits(cells) AS len(cells) = {width} "
            f"OR (len(cells) > {width} AND array_to_string(cells[{width + 1}:], '') = '')")


def _class(character: str) -> str:
    """`character` inside a bracket expression."""
    return re.escape(character) if character in r"\]^-[" else character
