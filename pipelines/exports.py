"""导出: the answer of one query on the published database as a CSV or XLSX file, with a purpose and a row limit; and the log of all that left the lake.

The query sees the shown release and nothing else: no other file, no setting, no second statement. The ledger says who, when, what for, how
many rows and which views and columns were read; the text of the query may hold a value, so it is kept nowhere. It is logged before
the file appears. A text that a spreadsheet would take for a formula is preceded by an apostrophe.
"""
from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import durable, ledger_tables as tables, lineage, release, themes
from pipelines.desk import Desk
from pipelines.ledger import now, today
from pipelines.settings import WrongUse
from pipelines.sql import connect, name, texts
from pipelines.trouble import let_pass

MOST = 1_000_000      # a sheet holds 1,048,576
FORMS = (".csv", ".xlsx")
_FORMULA = r"^[\s　]*[=+\-@＝＋－＠\t\r\n]"
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "FLOAT", "DOUBLE", "UTINYINT", "USMALLINT", "UINTEGER")
_BATCH = 10_000


def export(query: str, to: Path, purpose: str, by: str, rows: int, desk: Desk | None = None) -> dict[str, Any]:
    """Write the answer of a query to a new file.

    Args:
        query: one SELECT over `lake.duckdb`.
        to: a file that is not there yet, ending in .csv or .xlsx.
        purpose, by: what for and who; both stand in the ledger and in governance.exports.
        rows: more than so many refuse the export; nothing is written then.

    Returns:
        The ledger's row.

    Raises:
        WrongUse: anything is missing, the query is refused, or it yields too many rows.
    """
    desk = desk or Desk.open()
    require(by, purpose)
    if to.suffix.lower() not in FORMS:
        raise WrongUse(f"--to must end in {' or '.join(FORMS)}, not {to.suffix!r}.")
    if to.exists():
        raise WrongUse(f"{to} exists. Name a new file; nothing was written.")
    if not 1 <= rows <= MOST:
        raise WrongUse(f"--rows must be between 1 and {MOST:,}.")
    with _confined(desk) as con:
        shown = release.shown_release(desk.ledger)
        views = _views(query)
        count = _collect(con, query, rows)
        beside = to.with_name(f".{to.name}.part")
        try:
            (_write_csv if to.suffix.lower() == ".csv" else _write_xlsx)(con, beside)
            row = note(desk, to.suffix.lower()[1:], by, purpose, count, views, shown, _columns_read(con, query))
            durable.replace(beside, to)
        finally:
            beside.unlink(missing_ok=True)
    return row


def require(by: str, purpose: str) -> None:
    """Raise WrongUse unless somebody is named and a purpose given."""
    for flag, value in (("--purpose", purpose), ("--by", by)):
        if not value.strip():
            raise WrongUse(f"An export needs {flag}. It stands in the ledger and in governance.exports, so the purpose names no person of the data.")


def note(desk: Desk, form: str, by: str, purpose: str, rows: int, views: Iterable[str], release_id: int | None, columns: str | None = None) -> dict[str, Any]:
    """Enter in the ledger what leaves the lake as a file; returns the row.

    Args:
        form: `csv`, `xlsx` or `portable`.
        views: what it was made from, as schema.name.
        columns: the columns that were read, where that is fewer than all of these views.
    """
    row = {"exported_at": now(), "exported_by": by, "purpose": purpose, "form": form, "rows": rows, "views": ", ".join(sorted(views)) or None,
           "columns": columns, "release_id": release_id}
    with desk.ledger.transaction() as ledger:
        row["id"] = ledger.execute(tables.exports.insert().values(**row)).inserted_primary_key[0]
    return row


def listing(desk: Desk) -> list[dict[str, Any]]:
    """Every export, the newest first."""
    return desk.ledger.rows(sa.select(tables.exports).order_by(tables.exports.c.id.desc()))


def _confined(desk: Desk) -> duckdb.DuckDBPyConnection:
    """The shown release, opened so that a query can read its files and nothing else."""
    if not desk.lake.database.exists():
        raise WrongUse("Nothing is published yet. Run: python -m pipelines release")
    manifest = {m["release_id"]: m for m in release.kept(desk.lake)}[release.shown_release(desk.ledger)]
    con = connect(desk.lake.database, temp=desk.lake.staging, read_only=True)
    files = sorted({str(desk.lake.releases / f["path"]) for r in manifest["relations"].values() for f in (*r["files"], *r.get("superseded", ()))})
    con.execute(f"SET allowed_paths = {texts(files)}; SET enable_external_access = false; SET lock_configuration = true")
    return con


def _views(query: str) -> list[str]:
    """The relations a query reads, all of them published views.

    Raises:
        WrongUse: it is no single SELECT, or the engine refuses it; its words are not quoted, because they quote the query.
    """
    try:
        statements = duckdb.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise WrongUse("Give one SELECT; nothing was written.")
        return sorted(themes.reads(query))
    except duckdb.Error as error:
        raise _refused(error) from None


def _refused(error: duckdb.Error) -> WrongUse:
    let_pass(error)
    why = "it reads a file or a setting that is not part of the release" if isinstance(error, duckdb.PermissionException) else type(error).__name__
    return WrongUse(f"The query was refused ({why}); nothing was written. Try it first: python -m pipelines query SQL")


def _collect(con: duckdb.DuckDBPyConnection, query: str, rows: int) -> int:
    """Keep the answer as `exported`, texts made harmless; returns its rows."""
    try:
        con.execute(f"CREATE TEMP TABLE answer AS SELECT * FROM ({query.strip().rstrip(';')}\n) LIMIT {rows + 1}")
        count = con.execute("SELECT count(*) FROM answer").fetchone()[0]
    except duckdb.Error as error:
        raise _refused(error) from None
    if count > rows:
        raise WrongUse(f"The query yields more than the {rows:,} rows of --rows; nothing was written. Narrow it, or ask for more rows if the purpose needs them.")
    cells = []
    for column, kind in con.execute("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'answer' ORDER BY column_index").fetchall():
        text = f"{name(column)}::VARCHAR"
        harmless = text if kind in (*_NUMBERS, "BIGINT", "DATE", "BOOLEAN") or kind.startswith(("DECIMAL", "TIMESTAMP")) else (
            f"CASE WHEN regexp_matches({text}, '{_FORMULA}') THEN '''' || {text} ELSE {text} END")
        cells.append(f"{name(column) if kind in _NUMBERS else harmless} AS {name(column)}")
    con.execute(f"CREATE TEMP VIEW exported AS SELECT {', '.join(cells)} FROM answer")
    return count


def _header(con: duckdb.DuckDBPyConnection) -> list[str]:
    import re

    return [f"'{c[0]}" if re.match(_FORMULA, c[0]) else c[0] for c in con.execute("FROM exported LIMIT 0").description]


def _batches(con: duckdb.DuckDBPyConnection) -> Iterator[list[tuple]]:
    found = con.execute("FROM exported")
    while batch := found.fetchmany(_BATCH):
        yield batch


def _write_csv(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """UTF-8 with a mark, which Excel needs to read Chinese."""
    header = _header(con)
    with open(path, "x", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        for batch in _batches(con):
            writer.writerows(batch)


def _write_xlsx(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """One sheet; texts are texts, so that no digit is rounded away and nothing is computed."""
    from datetime import datetime

    import xlsxwriter

    header = _header(con)
    with xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent), "strings_to_formulas": False, "strings_to_urls": False}) as book:
        book.set_properties({"created": datetime.fromisoformat(today())})
        sheet, plain = book.add_worksheet("export"), book.add_format({"num_format": "@"})
        for column, cell in enumerate(header):
            sheet.write_string(0, column, cell)
        number = 0
        for batch in _batches(con):
            for row in batch:
                number += 1
                for column, cell in enumerate(row):
                    if isinstance(cell, str):
                        sheet.write_string(number, column, cell[:32_000], plain)
                    elif cell is not None:
                        sheet.write_number(number, column, cell)


def _columns_read(con: duckdb.DuckDBPyConnection, query: str) -> str | None:
    """The columns a query reads in any clause; None where it cannot be followed, which the views then stand for."""
    known: dict[str, list[str]] = {}
    for view, column in con.execute("SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns() WHERE NOT internal AND schema_name <> 'main'").fetchall():
        known.setdefault(view, []).append(column)
    try:
        return ", ".join(sorted({f"{e.source_view}.{e.source_column}" for e in lineage.edges(query, known)})) or None
    except lineage.Unresolved:
        return None
