"""The two lists of a pack: rows read from landing by address, their words, and the files they are written to."""
from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from pipelines import landing, readers
from pipelines.batch import key_of
from pipelines.compiler import Plan
from pipelines.desk import Desk
from pipelines.feedback import tickets, words, workbook
from pipelines.feedback.columns import ACTION, FIELDS, FILE, ORIGINAL, PLACE, REMEDY, RULES, TICKET, shown, union
from pipelines.feedback.corrections import Corrections
from pipelines.mapping import spellings
from pipelines.readers import heading
from pipelines.settings import Project
from pipelines.sql import name, text, texts

WARNED = 100_000     # rows of the second list; a rule that more rows fail is a matter for a talk, not for a list
_BOM = b"\xef\xbb\xbf"
_FORMULA = r"^['=+@\t\r-]|[0-9]{12}"


def gather(con: duckdb.DuckDBPyConnection, desk: Desk, plan: Plan, row: dict[str, Any], given: Path | None, scratch: Path) -> tuple[int, int]:
    """Fill the table `pack` with the rows that go back; returns how many are to be corrected and how many only warn.

    Args:
        given: the tickets of the batch, None where it has none.
        scratch: an existing folder.
    """
    if given is None:
        return 0, 0
    con.execute(f"CREATE TABLE ticket AS SELECT * FROM read_parquet({text(given)}) WHERE kind IN ({text(tickets.REJECT)}, {text(tickets.WARN)}) "
                f"QUALIFY kind = {text(tickets.REJECT)} OR row_number() OVER (PARTITION BY kind ORDER BY _file, _ordinal) <= {WARNED}")
    manifest = landing.read_manifest(landing.folder(desk.lake, row["batch_id"], row["revision"]))
    source = plan.dataset.source(row["source"])
    units = readers.units(manifest, source, scratch, [[heading.key(s) for s in of] for of in spellings(plan.dataset, source).values()])
    wanted = {f for f, in con.execute("SELECT DISTINCT _file FROM ticket").fetchall()}
    own = union(unit.header for unit in units if unit.number in wanted)
    con.execute("CREATE TABLE pack(_file INTEGER, _ordinal BIGINT, kind VARCHAR, rules VARCHAR[], file VARCHAR, place VARCHAR, original VARCHAR, cells VARCHAR[])")
    con.execute("CREATE TABLE own AS SELECT unnest($1::VARCHAR[]) AS name", [own])
    corrections = Corrections(con, manifest, scratch)
    for unit in (u for u in units if u.number in wanted):
        _add_unit(con, unit, corrections, own, _file_name(manifest, unit))
    return tuple(con.execute(f"SELECT count(*) FILTER (kind = {text(tickets.REJECT)}), count(*) FILTER (kind = {text(tickets.WARN)}) FROM pack").fetchone())


def _file_name(manifest: landing.Manifest, unit: readers.Unit) -> str:
    """What the department calls the file: this is the one place where its own name for it may be seen."""
    submitted = next(f.name for f in manifest.files if f.number == unit.file)
    return submitted + (f"（压缩包内第{unit.member_number}个文件）" if unit.member_number else "")


def _add_unit(con: duckdb.DuckDBPyConnection, unit: readers.Unit, corrections: Corrections, own: list[str], file: str) -> None:
    ordinals = [n for n, in con.execute(f"SELECT _ordinal FROM ticket WHERE _file = {unit.number}").fetchall()]
    raw = readers.raw_table(con)
    reading = readers.raw_unit(con, unit, ordinals, corrections.read)
    names = shown(unit.header)
    cells = ", ".join(f"cells[{names.index(column) + 1}]" if column in names else "''" for column in own)
    con.execute(f"""
        INSERT INTO pack SELECT t._file, t._ordinal, t.kind, t.rules, $file, {_place(unit, reading)}, CASE WHEN r.problem IS NOT NULL THEN r.cells[1] END,
            CASE WHEN r.problem IS NULL THEN list_transform([{cells}]::VARCHAR[], lambda c: coalesce(c, '')) ELSE {texts('' for _ in own)}::VARCHAR[] END
        FROM ticket t LEFT JOIN {raw} r USING (_file, _ordinal) WHERE t._file = {unit.number}""", {"file": file})


def _place(unit: readers.Unit, reading: readers.Reading) -> str:
    """SQL of where a department finds a record: the line of its text file, the row of its sheet, else the record's number."""
    if unit.member is not None:
        return f"{text(f'工作表“{unit.member}”第')} || (_ordinal + {unit.header_row}) || '行'"
    if unit.text and (reading.by == "lines" or not (reading.inner_line_ends or reading.blank)):
        return f"'第' || (_ordinal + {unit.header_lines + unit.header_blank}) || '行'"
    return "'第' || _ordinal || '条记录'"


def write(con: duckdb.DuckDBPyConnection, folder: Path, stem: str, project: Project, plan: Plan, row: dict[str, Any], notes: Sequence[tuple[str, str]]) -> str:
    """Write the workbook and the CSV files of the gathered rows.

    Args:
        stem: the end of the files' names.
        row: the batch's ledger row.
        notes: the sheet 填报说明.

    Returns:
        The SHA-256 of the rows.
    """
    said = words.of(plan, project)
    con.execute("CREATE TABLE said(rule VARCHAR, fields VARCHAR, says VARCHAR, remedy VARCHAR)")
    con.executemany("INSERT INTO said VALUES (?, ?, ?, ?)", [(w.rule, w.fields, w.says, w.remedy) for w in said])
    own = [n for n, in con.execute("SELECT name FROM own").fetchall()]
    key, sheets = key_of(row["batch_id"], row["revision"]), []
    kinds = {kind for kind, in con.execute("SELECT DISTINCT kind FROM pack").fetchall()}
    for kind, title, prefix in ((tickets.REJECT, "待更正", "反馈"), (tickets.WARN, "提示", "提示")):
        if kind in kinds:
            header, select = _select(con, kind, key, own)
            _csv(con, header, select, folder / f"{prefix}_{stem}.csv")
            sheets.append((title, header, _rows(con, header, select)))
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.csv")):
        digest.update(file.read_bytes())
    workbook.write(folder / f"反馈_{stem}.xlsx", row["batch_date"], notes, sheets)
    return digest.hexdigest()


def _select(con: duckdb.DuckDBPyConnection, kind: str, key: str, own: list[str]) -> tuple[list[str], str]:
    """The header of one list and the SELECT of its rows, ordered by address."""
    unread = con.execute("SELECT count(*) FROM pack WHERE kind = $1 AND original IS NOT NULL", [kind]).fetchone()[0]
    header = [TICKET, ACTION, FILE, PLACE, FIELDS, RULES, REMEDY, *([ORIGINAL] if unread else []), *own]

    def told(of: str) -> str:
        return f"array_to_string(list_distinct(list_transform(rules, lambda r: coalesce({of}[r], r))), '；')"

    values = [f"{text(key)} || '#' || _file || ':' || _ordinal", "''", "file", "place", told("fields"), told("says"), told("remedy"),
              *(["original"] if unread else []), *(f"cells[{i}]" for i in range(1, len(own) + 1))]
    columns = ", ".join(f"{value} AS {name(column)}" for value, column in zip(values, header))
    by_rule = ", ".join(f"map(list(rule ORDER BY rule), list({column} ORDER BY rule)) AS {column}" for column in ("fields", "says", "remedy"))
    return header, f"SELECT {columns} FROM pack CROSS JOIN (SELECT {by_rule} FROM said) WHERE kind = {text(kind)} ORDER BY _file, _ordinal"


def guarded(column: str) -> str:
    """SQL of a cell that Excel takes as text in a CSV file: a quote mark in front of formulas and of long numbers; `reading.load` takes it off."""
    return f"CASE WHEN regexp_matches({column}, {text(_FORMULA)}) THEN '''' || {column} ELSE {column} END"


def _csv(con: duckdb.DuckDBPyConnection, header: list[str], select: str, path: Path) -> None:
    cells = ", ".join(f"{guarded(name(c))} AS {name(c)}" for c in header)
    body = path.with_suffix(".body")
    con.execute(f"COPY (SELECT {cells} FROM ({select})) TO {text(body)} (FORMAT csv, HEADER, FORCE_QUOTE *)")
    with open(path, "wb") as out, open(body, "rb") as rows:
        out.write(_BOM)
        shutil.copyfileobj(rows, out, 1 << 20)
    body.unlink()


def _rows(con: duckdb.DuckDBPyConnection, header: list[str], select: str) -> Iterator[tuple[str | None, ...]]:
    """The rows for the workbook, where a cell is text as it is; a quote mark in front is doubled, because one is taken off when it returns."""
    cells = ", ".join(f"CASE WHEN starts_with({name(c)}, '''') THEN '''' || {name(c)} ELSE {name(c)} END" for c in header)
    found = con.cursor().execute(f"SELECT {cells} FROM ({select})")
    while some := found.fetchmany(2_000):
        yield from some
