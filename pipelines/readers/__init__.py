"""Reading landing: every file of a batch becomes units of VARCHAR columns whose lines are all accounted for.

units() opens archives, tells each file's form by its content, decodes text (`decode`, `delimited`) or extracts sheets and
records (`extracted`) into scratch; read() runs the caller's SELECT over a unit by records or, when the lines do not
close, by lines (`lines`). Nothing is written outside scratch and the connection. What cannot be accounted for raises
`ReadRefused` with a code and counts, never values.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb

from pipelines.contract import Source
from pipelines.landing import Manifest
from pipelines.readers import archives, delimited, extracted, forms, lines, together as many
from pipelines.readers.decode import decode, head
from pipelines.readers.heading import Spelled
from pipelines.readers.model import Member, Reading, ReadRefused, Unit

__all__ = ["Reading", "ReadRefused", "Unit", "raw_rows", "raw_table", "raw_unit", "read", "together", "units"]

_TEXT, _BOOK, _JSON = {"delimited"}, {"xlsx", "xls", "ods"}, {"json", "jsonl"}
# What a declared format admits; `auto` admits every form.
ADMITTED = {"csv": _TEXT, "txt": _TEXT, "fixed": {"fixed"}, "xlsx": _BOOK, "xls": _BOOK, "ods": _BOOK, "json": _JSON, "jsonl": _JSON,
            "xml": {"xml"}, "dbf": {"dbf"}, "parquet": {"parquet"}}


def units(manifest: Manifest, source: Source, scratch: Path, spelled: Spelled = ()) -> list[Unit]:
    """The tables of a batch, numbered in the order of its files, archive members and sheets.

    Args:
        manifest: the batch in landing.
        source: how its sender writes files.
        scratch: an existing folder for decoded copies; it must outlive the reading.
        spelled: the accepted spellings of the contract's columns, by which a header is known.

    Raises:
        ReadRefused: a file is empty, changed, not of an admitted form, or has no usable header.
    """
    found: list[Unit] = []
    for file in manifest.files:
        path = manifest.folder / file.stored
        for member in archives.members(file.number, path, file.sha256, file.counts, scratch):
            found += _member_units(len(found) + 1, member, source, spelled, scratch)
    return found


def _member_units(first: int, member: Member, source: Source, spelled: Spelled, scratch: Path) -> list[Unit]:
    """The tables of one file, by its form."""
    form = forms.binary(member.path, member.name)
    if form is None:
        form = "fixed" if source.widths else forms.of_text(head(member.path))
    if form not in ADMITTED.get(source.format, {form}) or form == "html":
        raise ReadRefused("form", f"{member.name} is {form}, which the contract does not admit: format {source.format}. "
                                  "Declare format: auto to take every form, or ask for the declared one.")
    if form in ("delimited", "fixed"):
        copy = scratch / f"{first:04d}.txt"
        return [delimited.unit(first, member, decode(member, source.encoding, copy, fill=form == "fixed"), source, spelled, copy)]
    if form not in ("json", "jsonl", "xml"):
        return extracted.units(first, member, form, member.path, source, spelled, scratch)
    text = decode(member, source.encoding, scratch / f"{first:04d}.txt", lined=form == "jsonl")
    return [replace(unit, encoding=text.encoding, repairs=text.repairs, damaged=text.damaged, evidence=f"{delimited.said(text)}; {unit.evidence}")
            for unit in extracted.units(first, member, form, text.path, source, spelled, scratch)]


def read(con: duckdb.DuckDBPyConnection, unit: Unit, select: Callable[..., str], table: str) -> Reading:
    """Create `table` from `unit` and account for every line.

    Args:
        con: a connection; `preserve_insertion_order` is on during the read and as before after it.
        unit: from `units`.
        select: called as `select(from_sql)` when the record's ordinal is rowid + 1 of the table, and as
            `select(from_sql, ordinal_sql)` when it is a value of `from_sql`. `from_sql` has VARCHAR columns c0, c1, …;
            an absent cell is '', never NULL. The statement must keep one row per record in order: projections only.
        table: name of the table to create, quoted where needed.

    Raises:
        ReadRefused: the lines close neither by records nor by lines, or the trailer counts other records.
    """
    with _in_order(con):
        reading = (delimited if unit.text else extracted).read(con, unit, select, table)
    if unit.expected is not None and unit.expected != reading.found:
        raise ReadRefused("row_count", f"{unit.name}: its trailer counts {unit.expected:,} records, it holds {reading.found:,}. "
                                       "The file is incomplete, or was joined from several.")
    return reading


def together(con: duckdb.DuckDBPyConnection, found: Iterable[Unit], selects: Mapping[int, Callable[..., str]]) -> Iterator[many.Together]:
    """Read small text files that are written alike by one statement per kind; what is in no `Together` is left for `read`.

    Args:
        selects: unit number → `select` of `read`. Units with one header have equal ones.
    """
    for number, group in enumerate(many.groups(found)):
        with _in_order(con):
            made = many.read(con, group, selects[group[0].number], f"group_{number}")
        yield from made


@contextmanager
def _in_order(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Rows keep their order while this is open."""
    before = con.execute("SELECT current_setting('preserve_insertion_order')").fetchone()[0]
    con.execute("SET preserve_insertion_order = true")
    try:
        yield
    finally:
        con.execute(f"SET preserve_insertion_order = {str(before).lower()}")


def raw_rows(con: duckdb.DuckDBPyConnection, manifest: Manifest, source: Source, addresses: Iterable[tuple[int, int]],
             scratch: Path, spelled: Spelled = ()) -> str:
    """What a department submitted at some addresses, for the file that goes back to it.

    Args:
        addresses: (`_file`, `_ordinal`) pairs, of parsed rows and of unparseable lines alike.

    Returns:
        The name of a temporary table (_file INTEGER, _ordinal BIGINT, cells VARCHAR[] in the order of the unit's
        header, problem VARCHAR): an unparseable line has its text as the only cell and its reason as `problem`.
    """
    wanted: dict[int, list[int]] = {}
    for file, ordinal in addresses:
        wanted.setdefault(file, []).append(ordinal)
    raw_table(con)
    for unit in units(manifest, source, scratch, spelled):
        if unit.number in wanted:
            raw_unit(con, unit, wanted[unit.number])
    return "_lake_raw"


def raw_table(con: duckdb.DuckDBPyConnection) -> str:
    """Make the empty table that `raw_unit` fills; returns its name."""
    con.execute("CREATE OR REPLACE TEMP TABLE _lake_raw(_file INTEGER, _ordinal BIGINT, cells VARCHAR[], problem VARCHAR)")
    return "_lake_raw"


def raw_unit(con: duckdb.DuckDBPyConnection, unit: Unit, ordinals: list[int], read: Callable[..., Reading] = read) -> Reading:
    """Add what was submitted at some ordinals of one unit to the table of `raw_rows`.

    Args:
        read: `read`, or another function of its kind, such as one that puts returned rows in.
    """
    cells = ", ".join(f"c{i}" for i in range(len(unit.header)))
    con.execute("CREATE OR REPLACE TEMP TABLE _lake_wanted AS SELECT unnest($1::BIGINT[]) AS wanted", [ordinals])
    reading = read(con, unit, lambda rows, ordinal="row_number() OVER ()": f"""
        SELECT _at, CASE WHEN _at IN (SELECT wanted FROM _lake_wanted) THEN [{cells}] END AS cells FROM (SELECT *, {ordinal} AS _at FROM {rows})""",
                   "_lake_cells_read")
    con.execute(f"INSERT INTO _lake_raw SELECT {unit.number}, _at, cells, NULL FROM _lake_cells_read WHERE cells IS NOT NULL")
    con.execute("DROP TABLE _lake_cells_read; DROP TABLE _lake_wanted")
    if reading.rejects and unit.text:
        with lines.records(con, unit) as found:
            con.execute(f"INSERT INTO _lake_raw SELECT $unit, ordinal, [text], reason FROM {found} "
                        "WHERE reason <> 'blank' AND ordinal IN (SELECT unnest($ordinals::BIGINT[]))",
                        {"unit": unit.number, "ordinals": sorted(set(ordinals) & {ordinal for ordinal, _ in reading.rejects})})
    return reading
