"""Office files (xlsx, xls, ods): every sheet becomes an all-text Parquet file in scratch.

The extraction runs in a child process with bounded memory and time (`sheets.py`), because a file of a few kilobytes can
claim a sheet of 17 billion cells and abort its reader. The extractor's rows take the place of physical lines; records
carry `_line`, the sheet row less the rows up to the header, so that a department finds the row again.
"""
from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from pipelines.readers.model import Reading, ReadRefused, Unit
from pipelines.sql import memory_mb, text

MAX_UNPACKED = 4 << 30      # bytes of all members of one workbook
MAX_SECONDS = 1_800
MIN_MB = 2_048             # address space, of which the extractor touches a part: 100,000 rows of 9 cells fill 200 MB
_MESSAGES = {
    "password": "is protected by a password. Ask for it without one.",
    "office": "cannot be opened as a spreadsheet.",
    "sheet": "has no sheet of the declared name that holds a table.",
    "columns": "has a sheet wider than 10,000 columns.",
    "unparseable": "has too many rows that are wider than the header.",
}


def units(first: int, file: Any, path: Path, source: Any, scratch: Path) -> list[Unit]:
    """The sheets of one landing file: the declared one, or the first visible one that holds a table and those after
    it with the same header (tables cut at Excel's row limit go on in further sheets).

    Args:
        first: the number of the first unit.
        file: its `landing.File`.
        path: where it lies.
        source: the `contract.Source` that sent it.
        scratch: folder for the Parquet files.

    Raises:
        ReadRefused: changed, empty, archive, office, password, sheet, columns, unparseable, memory.
    """
    what = f"File {file.number}"
    _refuse(path, file, what)
    sheets = _extract(path, source.sheet, scratch / f"{first:04d}", what)
    return [Unit(number=number, file=file.number, header=tuple(s["header"]), path=Path(s["path"]), lines=s["rows"],
                 blank=s["blank"], header_lines=s["header_rows"], member=s["name"], office=True,
                 encoding=path.suffix[1:], rejects=tuple(map(tuple, s["rejects"])))
            for number, s in enumerate(sheets, first)]


def read(con: duckdb.DuckDBPyConnection, unit: Unit, select: Callable[..., str], table: str) -> Reading:
    """Create `table` from a sheet; see `readers.read`."""
    con.execute(f"CREATE TABLE {table} AS {select(f'read_parquet({text(unit.path)})', '_line')}")
    records = con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    reading = Reading(records, unit.header_lines, unit.blank, 0, 0, len(unit.rejects), unit.lines, "lines", list(unit.rejects))
    if not reading.closes:
        con.execute(f"DROP TABLE {table}")
        raise ReadRefused("conservation", f"{unit.name}: {unit.lines:,} rows extracted, {records:,} loaded, "
                                          f"{unit.blank:,} blank, {len(unit.rejects):,} unparseable.")
    return reading


def _refuse(path: Path, file: Any, what: str) -> None:
    if not file.counts.bytes:
        raise ReadRefused("empty", f"{what} is empty (0 bytes). Ask the department to send it again.")
    with open(path, "rb") as handle:
        if hashlib.file_digest(handle, "sha256").hexdigest() != file.sha256:
            raise ReadRefused("changed", f"{what} in landing is not the file that was received: its hash differs.")
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(m.file_size for m in archive.infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            raise ReadRefused("archive", f"{what} is a broken archive.") from None
        if unpacked > MAX_UNPACKED:
            raise ReadRefused("archive", f"{what} unpacks to {unpacked:,} bytes; the limit is {MAX_UNPACKED:,}.")


def _extract(path: Path, sheet: str | None, out: Path, what: str) -> list[dict[str, Any]]:
    """Run the extractor in a child process and read its answer."""
    out.mkdir(exist_ok=True)
    order = {"path": str(path), "sheet": sheet, "out": str(out), "memory_mb": max(MIN_MB, memory_mb()), "seconds": MAX_SECONDS}
    child = subprocess.run([sys.executable, str(Path(__file__).with_name("sheets.py")), json.dumps(order)],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    answer = out / "answer.json"
    if child.returncode or not answer.exists():
        raise ReadRefused("memory", f"{what} could not be extracted: it needs more than {order['memory_mb']:,} MB or "
                                    f"{MAX_SECONDS // 60} minutes of processor time, or it breaks the extractor. Ask for text files.")
    found = json.loads(answer.read_text(encoding="utf-8"))
    if "refused" in found:
        raise ReadRefused(found["refused"], f"{what} {_MESSAGES[found['refused']]}")
    return found["sheets"]
