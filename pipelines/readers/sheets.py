"""Sheets of xlsx, xls and ods workbooks. Part of the extractor (see `spool`).

The sheet to read is the declared one, else the visible one whose header names the most columns of the contract; later visible
sheets with that header go on where it ends. The rows up to the header belong to it. A record's line is its sheet row less
those rows, so that a department finds it again.
"""
from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import heading
from cells import cell, filled
from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum
from sheet_parts import Parts, Unusual
from spool import Refused, Spool

Rows = Iterator[tuple[int, list[str]]]      # (row of the sheet from 1, its cells); rows without cells are left out


@dataclass(frozen=True)
class Sheet:
    """A sheet that is read: its place in the workbook from 1, its header, and the row in which that stands (0: nowhere).

    `doubtful`: as in `heading.Heading`.
    """

    place: int
    name: str
    header: tuple[str, ...]
    row: int
    known: int
    doubtful: int | None = None


class Whole:
    """A workbook that calamine holds in memory."""

    def __init__(self, path: str, form: str, scratch: Path) -> None:
        if form == "xls":      # by its name's ending, which calamine believes: only then it tells that a password is missing
            named = scratch / "book.xls"
            named.symlink_to(path)
            self._book = CalamineWorkbook.from_path(named)
        else:
            self._book = CalamineWorkbook.from_filelike((_with_breaks(path) if form == "ods" else None) or open(path, "rb"))
        self.sheets = [(s.name, s.visible == SheetVisibleEnum.Visible) for s in self._book.sheets_metadata
                       if s.typ in (SheetTypeEnum.WorkSheet, SheetTypeEnum.MacroSheet)]

    def rows(self, name: str) -> Rows:
        """The rows of one sheet."""
        sheet = self._book.get_sheet_by_name(name)
        left = [""] * (sheet.start[1] if sheet.start else 0)
        for number, row in enumerate(sheet.iter_rows(), 1):
            yield number, left + [cell(value) for value in row]


def extract(order: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    """Write the sheets of `order['path']`; see `extractor`. An xlsx is read in parts, unless it is written in an unusual way."""
    try:
        if order["form"] == "xlsx":
            try:
                with Parts(order["path"], out) as book:
                    return _tables(book, order, out)
            except Unusual:
                pass
        return _tables(Whole(order["path"], order["form"], out), order, out)
    except PasswordError:
        raise Refused("password") from None
    except (CalamineError, OverflowError, zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError):
        raise Refused("office") from None


def _with_breaks(path: str) -> io.BytesIO | None:
    """An ods workbook in which tabs and line breaks inside a paragraph are characters: calamine drops their elements."""
    with zipfile.ZipFile(path) as book:
        content = book.read("content.xml")
        broken = re.sub(rb"<text:(tab|line-break)\b[^>]*/>", lambda m: b"&#9;" if m[1] == b"tab" else b"&#10;", content)
        if broken == content:
            return None
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as made:
            for name in {"mimetype", "META-INF/manifest.xml"} & set(book.namelist()):
                made.writestr(name, book.read(name))
            made.writestr("content.xml", broken)
    out.seek(0)
    return out


def _tables(book: Any, order: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    sheets, others = _choose(book, order)
    if not sheets:
        raise Refused("sheet")
    found = [_write(book.rows(sheet.name), sheet, order["trailer"], out / f"{index}.parquet") for index, sheet in enumerate(sheets)]
    for sheet, table in zip(sheets, found):
        where = f"header in row {sheet.row} names {sheet.known} columns of the contract" if sheet.row else "the contract gives the header"
        left = f"; {others} other visible sheets with text are not read" if others else ""
        table |= {"name": sheet.name, "header_row": sheet.row, "evidence": f"sheet {sheet.place} of {len(book.sheets)}{left}; {where}"}
    return found


def _choose(book: Any, order: dict[str, Any]) -> tuple[list[Sheet], int]:
    """(the sheets to read, how many others are visible and not empty)."""
    found = [_sheet(book, place, name, order) for place, (name, visible) in enumerate(book.sheets, 1)
             if (visible if order["sheet"] is None else name == order["sheet"])]
    found = [sheet for sheet in found if sheet]
    if not found or order["header"]:
        return found, 0
    best = max(found, key=lambda s: s.known)
    kept = [s for s in found if s.place >= best.place and (_alike(s, best) or s.known == best.known > 0)]
    for sheet in kept:
        if sheet.doubtful is not None:
            raise Refused("header", f"Row {sheet.doubtful + 1} stands above the header in row {sheet.row} and looks like a record.")
    return kept, len(found) - len(kept)


def _alike(one: Sheet, other: Sheet) -> bool:
    return list(map(heading.key, one.header)) == list(map(heading.key, other.header))


def _sheet(book: Any, place: int, name: str, order: dict[str, Any]) -> Sheet | None:
    """The sheet with its header; None when it is empty."""
    rows = book.rows(name)
    if order["header"]:
        return Sheet(place, name, tuple(order["header"]), 0, 0) if any(filled(row) for _, row in rows) else None
    first: list[list[str]] = [[] for _ in range(heading.ROWS)]
    for number, row in takewhile(lambda r: r[0] <= heading.ROWS, rows):
        first[number - 1] = row
    width = max(map(len, first))
    found = heading.find([row + [""] * (width - len(row)) for row in first], order["spelled"])
    return Sheet(place, name, tuple(filled(list(found.cells))), found.row + 1, found.known, found.doubtful) if found else None


def _write(rows: Rows, sheet: Sheet, trailer: str | None, path: Path) -> dict[str, Any]:
    """Write one sheet's records. Empty rows are blank; rows wider than the header, and the header again, are rejects."""
    header, last, held = list(sheet.header), sheet.row, None
    with Spool(path, header) as spool:
        for number, row in rows:
            kept = filled(row) if number > sheet.row else []
            if not kept:
                continue
            last = number
            if trailer:
                held, kept, number = (kept, number), *(held or ([], 0))
            if kept == header and len(header) > 1:
                spool.reject(number - sheet.row, "repeat")
            elif kept:
                spool.take(number - sheet.row, kept)
        counted = re.search(trailer, ",".join(held[0])) if held else None
        if held and not (counted and (counted[1] or "").strip().isdecimal()):
            spool.take(held[1] - sheet.row, held[0])
            counted = None
    facts = spool.facts
    taken = facts["records"] + len(facts["rejects"]) + (counted is not None)
    return facts | {"lines": last, "header_lines": sheet.row, "blank": last - sheet.row - taken,
                    "counted": int(counted[1]) if counted else None}
