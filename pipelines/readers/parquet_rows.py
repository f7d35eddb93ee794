"""Parquet files: DuckDB reads them in place, every column as text.

Dates and times are ISO (instants in local time), nested values JSON text, NULL is ''. A whole number kept as a floating-point
one loses its '.0'; where its digits are no longer certain it is shown as 1.10105E+17, which no identifier check accepts.
"""
from __future__ import annotations

from pathlib import Path

import duckdb

from pipelines.readers import heading
from pipelines.readers.heading import Spelled
from pipelines.readers.model import MAX_COLUMNS, Member, ReadRefused, Unit
from pipelines.sql import connect, text
from pipelines.trouble import let_pass

MAX_ROWS = 500_000_000      # a few bytes can claim any number of equal rows
_CERTAIN = {"DOUBLE": 10**15, "FLOAT": 2**24}      # whole numbers below keep all their digits


def unit(number: int, member: Member, path: Path, spelled: Spelled) -> Unit:
    """What a Parquet file's footer says of it.

    Raises:
        ReadRefused: parquet, columns.
    """
    try:
        with connect() as con:
            schema = con.execute(f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({text(path)})").fetchall()
            rows = con.execute(f"SELECT num_rows FROM parquet_file_metadata({text(path)})").fetchone()[0]
            header = tuple(_top(schema))
            if len(header) > MAX_COLUMNS:
                raise ReadRefused("columns", f"{member.name} is wider than {MAX_COLUMNS:,} columns.")
            con.execute(f"DESCRIBE {_columns(con, path)}")
    except duckdb.Error as error:
        let_pass(error)
        raise broken(member.name) from None
    if not 0 <= rows <= MAX_ROWS or not header:
        raise ReadRefused("parquet", f"{member.name} claims {rows:,} rows and {len(header):,} columns; at most {MAX_ROWS:,} rows are read.")
    return Unit(number=number, file=member.file, member_number=member.number, form="parquet", header=header, path=path, lines=rows, blank=0,
                header_lines=0, header_row=0, evidence=f"parquet; its columns name {heading.known(header, spelled)} columns of the contract")


def relation(con: duckdb.DuckDBPyConnection, unit: Unit) -> str:
    """A subquery of the unit's rows: c0…, _line.

    Raises:
        ReadRefused: parquet.
    """
    try:
        return f"({_columns(con, unit.path)})"
    except duckdb.Error as error:
        let_pass(error)
        raise broken(unit.name.capitalize()) from None


def broken(what: str) -> ReadRefused:
    """The refusal of a file that cannot be read as Parquet."""
    return ReadRefused("parquet", f"{what} is a Parquet file that is broken, cut or encrypted. Ask for it again.")


def _top(schema: list[tuple[str, int]]) -> list[str]:
    """The names of the columns: the children of the root, whose own children follow each of them."""
    names, pending = [], []
    for name, children in schema[1:]:
        if not pending:
            names.append(name)
        else:
            pending[-1] -= 1
        pending.append(children)
        while pending and not pending[-1]:
            pending.pop()
    return names


def _columns(con: duckdb.DuckDBPyConnection, path: Path) -> str:
    """SELECT of all columns as text."""
    source = f"read_parquet({text(path)}, binary_as_string = true, file_row_number = true)"
    types = [row[1] for row in con.execute(f"DESCRIBE FROM {source}").fetchall()][:-1]
    names = ", ".join(f"p{i}" for i in range(len(types)))
    cells = ", ".join(f"coalesce({_text(f'p{i}', kind)}, '') AS c{i}" for i, kind in enumerate(types))
    return f"SELECT {cells}, _row + 1 AS _line FROM {source} AS _file({names}, _row)"


def _text(column: str, kind: str) -> str:
    """A column as text, by its type."""
    if kind in _CERTAIN:
        whole = f"isfinite({column}) AND {column} = trunc({column})"
        return (f"CASE WHEN {whole} AND abs({column}) < {_CERTAIN[kind]} THEN {column}::BIGINT::VARCHAR "
                f"WHEN {whole} THEN printf('%.5E', {column}::DOUBLE) ELSE {column}::VARCHAR END")
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"({column} AT TIME ZONE current_setting('TimeZone'))::VARCHAR"
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
        return f"to_json({column})::VARCHAR"
    return f"{column}::VARCHAR"
