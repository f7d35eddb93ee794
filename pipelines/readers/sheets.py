"""The program that extracts sheets; `office.py` runs it in a child process. Imports nothing of the project.

Its one argument is JSON: path, sheet, out, memory_mb, seconds. It writes out/<n>.parquet (c0…, _line) per sheet and
out/answer.json, whole, at the end: {"sheets": […]} or {"refused": code}.
"""
from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

BATCH = 20_000
MAX_COLUMNS = 10_000
MAX_REJECTS = 200_000
_DIGITS = 10**15        # a spreadsheet keeps 15 digits and shows longer numbers rounded


class Refused(Exception):
    """Its text is the code."""


def cell(value: Any) -> str:
    """A cell as text: what the sheet shows, dates in ISO form, no thousands separators."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return number(float(value))
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return value.isoformat("seconds")
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    return ""


def number(value: float) -> str:
    """A number as a sheet shows it: at most 15 digits; longer ones as 1.10105E+17, which no identifier check accepts."""
    if abs(value) >= _DIGITS:
        mantissa, exponent = f"{value:.5E}".split("E")
        return f"{mantissa.rstrip('0').rstrip('.')}E{exponent}"
    shown = format(Decimal(f"{value:.15g}"), "f")
    return "0" if shown == "-0" else shown


def tables(path: str, wanted: str | None) -> Iterator[tuple[str, list[str], int, Iterator[list[str]]]]:
    """(sheet name, header, rows up to the header, rows after it) of every sheet to read.

    Leading rows of a single cell above a wider row are titles and belong to the header.
    """
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetVisibleEnum

    try:
        book = CalamineWorkbook.from_path(path)
        first: list[str] | None = None
        for sheet in book.sheets_metadata:
            if sheet.name == wanted or (wanted is None and sheet.visible == SheetVisibleEnum.Visible):
                rows = ([cell(v) for v in row] for row in book.get_sheet_by_name(sheet.name).iter_rows())
                header, used, rest = _header(rows)
                if header and first in (None, header):
                    first = header
                    yield sheet.name, header, used, rest
    except PasswordError:
        raise Refused("password") from None
    except CalamineError:
        raise Refused("office") from None


def _header(rows: Iterator[list[str]]) -> tuple[list[str], int, Iterator[list[str]]]:
    """(header cells, rows up to and with it, the rows after it)."""
    title: list[str] = []
    held: list[list[str]] = []
    for used, row in enumerate(rows, 1):
        row = _cut(row)
        filled = sum(map(bool, row))
        if filled > 1:
            return row, used, rows
        held.append(row)
        title = title or row
        if used > 20:
            break
    at = next((i for i, row in enumerate(held) if row), len(held))
    return title, at + 1, chain(held[at + 1:], rows)


def _cut(row: list[str]) -> list[str]:
    """The row without empty cells at its end."""
    width = len(row)
    while width and not row[width - 1].strip():
        width -= 1
    return row[:width]


def write(out: Path, index: int, header: list[str], rows: Iterator[list[str]]) -> dict[str, Any]:
    """Write one sheet's records; returns its counts. Empty rows are blank, rows wider than the header are rejects."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    width, path = len(header), out / f"{index}.parquet"
    if width > MAX_COLUMNS:
        raise Refused("columns")
    schema = pa.schema([(f"c{i}", pa.string()) for i in range(width)] + [("_line", pa.int64())])
    blank, rejects, total = 0, [], 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        records: list[tuple[str, ...]] = []
        lines: list[int] = []

        def flush() -> None:
            columns = zip(*records) if records else [()] * width
            writer.write_batch(pa.record_batch([pa.array(c, pa.string()) for c in columns] + [pa.array(lines, pa.int64())], schema))
            records.clear()
            lines.clear()

        for total, row in enumerate(rows, 1):
            kept = _cut(row)
            if not kept:
                blank += 1
            elif len(kept) > width:
                rejects.append((total, "width"))
                if len(rejects) > MAX_REJECTS:
                    raise Refused("unparseable")
            else:
                records.append(tuple((row + [""] * width)[:width]))
                lines.append(total)
            if len(records) == BATCH:
                flush()
        flush()
    return {"path": str(path), "header": header, "after": total, "blank": blank, "rejects": rejects}


def main(order: dict[str, Any]) -> None:
    """Extract and write the answer."""
    memory = order["memory_mb"] << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (order["seconds"], order["seconds"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = Path(order["out"])
    try:
        sheets = []
        for index, (name, header, used, rest) in enumerate(tables(order["path"], order["sheet"])):
            found = write(out, index, header, rest)
            sheets.append(found | {"name": name, "header_rows": used, "rows": used + found.pop("after")})
        answer: dict[str, Any] = {"sheets": sheets} if sheets else {"refused": "sheet"}
    except Refused as refused:
        answer = {"refused": str(refused)}
    beside = out / "answer.part"
    beside.write_text(json.dumps(answer, ensure_ascii=False), encoding="utf-8")
    os.replace(beside, out / "answer.json")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
