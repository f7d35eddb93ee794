"""Forms that are no text: sheets, JSON, XML and dBASE records become all-text Parquet files in scratch; Parquet is read as it is.

The extraction runs in a child process with bounded memory and time (`extractor.py`), because a file of a few kilobytes can
claim a sheet of 17 billion cells and abort its reader. Its rows take the place of physical lines; a record's `_line` is its
place: the sheet row less the rows up to the header, the record of a list, the line of JSON lines.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from pipelines.readers import archives, forms, heading, parquet_rows
from pipelines.readers.heading import Spelled
from pipelines.readers.model import MAX_REJECTS, Member, Reading, ReadRefused, Unit
from pipelines.sql import memory_mb, text
from pipelines.trouble import MEMORY, MachineTrouble, let_pass

MAX_SECONDS = 1_800
MIN_MB = 1_024              # address space, of which 345 MB are reserved before the first record
# One allocator, few arenas: what Arrow's own reserves is 1 GB of address space.
_CHILD = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}
_TROUBLE = 100              # the child's exit code less the error number, when the machine failed it (`extractor.py`)
# What DuckDB raises for reasons other than the file.
_OURS = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)
_MESSAGES = {
    "password": "is protected by a password. Ask for it without one.",
    "office": "cannot be opened as a spreadsheet: it is broken or cut. Ask for it again.",
    "sheet": "has no sheet of the declared name that holds a table, or none at all.",
    "columns": "is wider than 10,000 columns, or their names are longer than 1 MB.",
    "unparseable": f"has more than {MAX_REJECTS:,} records that cannot be taken.",
    "header": "has no header where one can be: ask for it in the first row of the table.",
    "json": "is JSON that is broken, cut or nested too deeply. Ask for it again.",
    "xml": "is XML that is broken, cut or nested too deeply. Ask for it again.",
    "entity": "is XML with a document type or entities, which are not read. Ask for it without.",
    "record_path": "does not hold one list of records. Declare record_path, the dotted path of the list.",
    "dbf": "is a dBASE table that is broken, cut or of a kind that is not read. Ask for it again.",
    "form": "is of a form that is not read. Ask for xlsx.",
    "memory": "needs too much memory. Ask for text files.",
}


def units(first: int, member: Member, form: str, path: Path, source: Any, spelled: Spelled, scratch: Path) -> list[Unit]:
    """The tables of one file.

    Args:
        first: the number of the first unit.
        member: the file.
        form: xlsx, xls, ods, json, jsonl, xml, dbf or parquet.
        path: UTF-8 text for JSON and XML, in which DAMAGE stands for bytes that are no character; else the file itself.
        source: the `contract.Source` that sent it.
        spelled: the accepted spellings of the contract's columns.
        scratch: folder for the Parquet files.

    Raises:
        ReadRefused: any code of `_MESSAGES`; archive (an office package that unpacks too far), parquet, trailer, row_count.
    """
    if form == "parquet":
        return [parquet_rows.unit(first, member, path, spelled)]
    if form in ("xlsx", "ods"):
        _bound(member, path)
    tables = _extract(member, form, path, source, spelled, scratch / f"{first:04d}")
    if source.trailer and form in forms.BOOKS:
        _check_trailers(member, tables)
    return [_unit(number, member, form, table, spelled) for number, table in enumerate(tables, first)]


def read(con: duckdb.DuckDBPyConnection, unit: Unit, select: Callable[..., str], table: str) -> Reading:
    """Create `table` from a unit; see `readers.read`."""
    parquet = unit.form == "parquet"
    rows = parquet_rows.relation(con, unit) if parquet else f"read_parquet({text(unit.path)})"
    try:
        con.execute(f"CREATE TABLE {table} AS {select(rows, '_line')}")
    except duckdb.Error as error:      # its text may quote a value
        let_pass(error)
        if not parquet or isinstance(error, _OURS):
            raise
        raise parquet_rows.broken(unit.name.capitalize()) from None
    records = con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    reading = Reading(records, unit.header_lines, unit.blank, unit.trailer, 0, len(unit.rejects), unit.lines, "lines", list(unit.rejects))
    if not reading.closes:
        con.execute(f"DROP TABLE {table}")
        raise ReadRefused("conservation", f"{unit.name.capitalize()}: {unit.lines:,} rows extracted, {records:,} loaded, "
                                          f"{unit.blank:,} blank, {len(unit.rejects):,} unparseable.")
    return reading


def _unit(number: int, member: Member, form: str, table: dict[str, Any], spelled: Spelled) -> Unit:
    evidence = table["evidence"]
    if form not in forms.BOOKS:
        evidence += f"; its fields name {heading.known(table['header'], spelled)} columns of the contract"
    return Unit(number=number, file=member.file, member_number=member.number, form=form, header=tuple(table["header"]),
                path=Path(table["path"]), lines=table["lines"], blank=table["blank"], header_lines=table.get("header_lines", 0),
                header_row=table.get("header_row", 0), trailer=int(table.get("counted") is not None), expected=table.get("counted"),
                member=table.get("name"), encoding=table.get("encoding", "utf-8"), repairs=table.get("repairs", 0),
                evidence=f"{form}; {evidence}", rejects=tuple(map(tuple, table["rejects"])))


def _check_trailers(member: Member, tables: list[dict[str, Any]]) -> None:
    """Every sheet has a trailer, or the last one has it for all."""
    *others, last = tables
    if last["counted"] is None or len({t["counted"] is None for t in others}) > 1:
        raise ReadRefused("trailer", f"{member.name}: its last row is not the declared trailer; the file is cut, or was written otherwise.")
    if others and others[0]["counted"] is None:
        found = sum(t["records"] + len(t["rejects"]) for t in tables)
        if last["counted"] != found:
            raise ReadRefused("row_count", f"{member.name}: its trailer counts {last['counted']:,} records, its sheets hold {found:,}.")
        last["counted"] = last["records"] + len(last["rejects"])


def _bound(member: Member, path: Path) -> None:
    """Refuse an office package that says it unpacks too far. What it does not say, the child's bounds stop."""
    with forms.wary(path) as file, zipfile.ZipFile(file) as package:
        unpacked = sum(m.file_size for m in package.infolist())
    if unpacked > min(archives.MAX_UNPACKED, max(archives.FREE_RATIO, archives.MAX_RATIO * path.stat().st_size)):
        raise ReadRefused("archive", f"{member.name} unpacks to {unpacked:,} bytes, {unpacked // path.stat().st_size:,} times its size.")


def _extract(member: Member, form: str, path: Path, source: Any, spelled: Spelled, out: Path) -> list[dict[str, Any]]:
    """Run the extractor in a child process and read its answer.

    Raises:
        ReadRefused: the document is to blame, or the bounds it may not exceed.
        OSError, MachineTrouble: the machine is: its disk, or its memory, for which the kernel ended the child.
    """
    out.mkdir(exist_ok=True)
    order = {"form": form, "path": str(path.resolve()), "out": str(out.resolve()), "sheet": source.sheet, "header": list(source.header),
             "record_path": source.record_path, "trailer": source.trailer, "encoding": source.encoding,
             "spelled": [list(column) for column in spelled], "memory_mb": max(MIN_MB, memory_mb()), "seconds": MAX_SECONDS}
    child = subprocess.run([sys.executable, str(Path(__file__).with_name("extractor.py"))], input=json.dumps(order).encode(),
                           env=os.environ | _CHILD, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if child.returncode > _TROUBLE:
        raise OSError(child.returncode - _TROUBLE, os.strerror(child.returncode - _TROUBLE))
    if child.returncode in (-signal.SIGKILL, -signal.SIGTERM):
        raise MachineTrouble(MEMORY)
    answer = out / "answer.json"
    if child.returncode or not answer.exists():
        raise ReadRefused("memory", f"{member.name} could not be extracted: it needs more than {order['memory_mb']:,} MB or "
                                    f"{MAX_SECONDS // 60} minutes of processor time, or it breaks the extractor. Ask for text files.")
    found = json.loads(answer.read_text(encoding="utf-8"))
    if "refused" in found:
        raise ReadRefused(found["refused"], f"{member.name} {_MESSAGES[found['refused']]} {found['said']}".rstrip())
    return found["tables"]
