"""Many small text files that are written alike, read by one statement: planning it costs more than reading a thousand rows.

DuckDB reads a list of files in its order and says of each record which file it is from; a record's ordinal is its place among those of its file. Each file
must account for all its lines, and for what its trailer counts, by itself, exactly as when it is read alone; one that does not, and any group that DuckDB
refuses, is read alone and says why there.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import duckdb

from pipelines.readers import delimited
from pipelines.readers.model import Reading, Unit

MOST = 1_000         # files of one statement
_FILE = 1 << 40      # `_line` of a record: the place of its file in the group times this, and its place in the table where that is known


@dataclass(frozen=True)
class Together:
    """What became of a group: the readings of the files that closed, and their records in `table` as `SELECT _file, _ordinal, …`."""

    readings: dict[int, Reading]
    table: str
    rows: str

def groups(units: Iterable[Unit]) -> list[list[Unit]]:
    """The units that may be read together, two or more of a kind, in their order."""
    alike: dict[tuple, list[Unit]] = defaultdict(list)
    for unit in units:
        if unit.form == "delimited" and delimited.by_records(unit) and unit.path.stat().st_size <= delimited.SMALL:
            alike[unit.header, unit.delimiter, unit.quote, unit.skip, unit.line_end].append(unit)
    return [many[at:at + MOST] for many in alike.values() for at in range(0, len(many), MOST) if len(many[at:at + MOST]) > 1]


def read(con: duckdb.DuckDBPyConnection, units: list[Unit], select: Callable[[str, str], str], table: str) -> list[Together]:
    """Create tables `table`_0, … from units of one group.

    Args:
        con: a connection on which `preserve_insertion_order` is set.
        units: one of `groups`.
        select: as for `readers.read`; called with the ordinal.
        table: what the names of the tables begin with.

    Returns:
        One or several `Together`. Units that are in none of them are to be read alone.
    """
    found: list[Together] = []
    waiting = [units]
    while waiting:
        group = waiting.pop()
        name = f"{table}_{len(found)}"
        try:
            _create(con, group, select, name)
        except duckdb.InvalidInputException:      # its text quotes the line; the halves tell which file it is
            con.execute(f"DROP TABLE IF EXISTS {name}")
            waiting += [half for half in (group[len(group) // 2:], group[:len(group) // 2]) if len(half) > 1]
        else:
            made = _account(con, group, name)
            if made:
                found.append(made)
    return found


def _create(con: duckdb.DuckDBPyConnection, units: list[Unit], select: Callable[[str, str], str], table: str) -> None:
    """Create `table`; its `_line` tells the file, and the place where rowid does not."""
    scan = delimited.scan(units[0], [unit.path for unit in units])
    delimited.create(con, table, select(f"(SELECT *, file_index::BIGINT * {_FILE} AS _at FROM {scan})", "_at"), sum(unit.path.stat().st_size for unit in units),
                     f"(SELECT *, file_index::BIGINT AS _of FROM {scan})", select(f"(SELECT *, _of * {_FILE} + rowid + 1 AS _at FROM _lake_text)", "_at"))


def _account(con: duckdb.DuckDBPyConnection, units: list[Unit], table: str) -> Together | None:
    """The line balance of every file; None when the places of the records are not one run per file, in the order of the files."""
    place = f"CASE WHEN _line % {_FILE} = 0 THEN rowid + 1 ELSE _line % {_FILE} END"
    seen = {file: (first, last, n) for file, first, last, n in con.execute(
        f"SELECT _line // {_FILE}, min({place}), max({place}), count(*) FROM {table} GROUP BY ALL").fetchall()}
    readings, before, end = {}, [0] * len(units), 0
    for at, unit in enumerate(units):
        first, last, records = seen.get(at, (end + 1, end, 0))
        if first != end + 1 or last != end + records:
            con.execute(f"DROP TABLE {table}")
            return None
        before[at], end = end, last
        reading = delimited.balance(con, unit, records)
        if reading and unit.expected in (None, reading.found):
            readings[unit.number] = reading
    if not readings:
        con.execute(f"DROP TABLE {table}")
        return None
    numbers = [unit.number for unit in units]
    left_out = [at for at, unit in enumerate(units) if unit.number not in readings]
    only = f" WHERE _line // {_FILE} NOT IN ({', '.join(map(str, left_out))})" if left_out else ""
    at = f"(_line // {_FILE} + 1)::BIGINT"
    return Together(readings, table, f"SELECT list_extract({numbers}, {at})::INTEGER AS _file, ({place}) - list_extract({before}::BIGINT[], {at}) AS _ordinal, "
                                     f"* EXCLUDE (_line) FROM {table}{only}")
