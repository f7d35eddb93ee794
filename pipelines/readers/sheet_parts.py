"""An xlsx workbook read part by part, so that its size does not matter. Part of the extractor (see `spool`).

calamine holds a sheet as a whole, and one stray cell far away makes it hold every cell between. So the sheet's XML is cut
between rows, each part becomes a small workbook in memory with the styles and the strings it uses, and calamine reads these:
what a cell says is the same in both ways. A workbook that is written in an unusual way raises `Unusual` and is read whole.
"""
from __future__ import annotations

import io
import mmap
import posixpath
import re
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from cells import cell
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from python_calamine import CalamineWorkbook
from spool import Refused

PART = 8 << 20              # bytes of XML
CELLS = 4_000_000           # of the rectangle a part spans
MAX_ROW, MAX_COLUMN = 1 << 20, 1 << 14
MAX_HEAD = 16 << 20         # bytes before the first row
_REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DATA = re.compile(rb"<((?:[\w.-]+:)?)sheetData(?:\s[^>]*)?(/?)>")
_SHEET = re.compile(rb"<((?:[\w.-]+:)?worksheet)\s")
_ENCODING = re.compile(rb"""<\?xml[^>]*\sencoding\s*=\s*["']([\w-]+)""")
_ROW = re.compile(rb"<(?:[\w.-]+:)?row(?=[\s/>])([^>]*)>")
_ROW_NUMBER = re.compile(rb"""\sr\s*=\s*["'](\d+)["']""")
_WIDE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]{2,})\d""")      # a cell right of column Z
_SHARED = (b't="s"', b"t='s'")
_SPACED = re.compile(rb"\st(?:\s+=|=\s)")
_INDEX = re.compile(rb"""(<(?:[\w.-]+:)?c\s(?:[^>]*\s)?t=["']s["'][^>]*(?<!/)>\s*(?:<(?:[\w.-]+:)?f[\s>/][^<]*(?:</(?:[\w.-]+:)?f>\s*)?)?<(?:[\w.-]+:)?v>)(\d+)""")
_STRING = re.compile(rb"<(?:[\w.-]+:)?si(?=[\s/>])")
_STRINGS = re.compile(rb"<((?:[\w.-]+:)?sst)[\s>]")


class Unusual(Exception):
    """The workbook is not written as Excel, WPS and the common libraries write it."""


class Parts:
    """A workbook that is read part by part; a context manager. `sheets` are (name, visible)."""

    def __init__(self, path: str, scratch: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            self._book()
            self._strings = _Strings(self._zip, self._shared, scratch) if self._shared else None
        except (zipfile.BadZipFile, KeyError, ParseError, DefusedXmlException, ValueError, RuntimeError):
            raise Unusual from None

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: Any) -> None:
        self._zip.close()

    def _book(self) -> None:
        """Read the workbook's list of sheets and where its parts lie."""
        targets, kinds = {}, {}
        for relation in fromstring(self._zip.read("xl/_rels/workbook.xml.rels")):
            target = posixpath.normpath(posixpath.join("/xl", relation.get("Target", ""))).lstrip("/")
            targets[relation.get("Id")] = target
            kinds.setdefault(relation.get("Type", "").rpartition("/")[2], target)
        root = fromstring(self._zip.read("xl/workbook.xml"))
        space = root.tag.rpartition("}")[0] + "}"
        dates = root.find(f"{space}workbookPr")
        self._from_1904 = dates is not None and dates.get("date1904") in ("1", "true")
        found = [(s.get("name"), s.get("state", "visible") == "visible", targets.get(next((v for k, v in s.items() if k.endswith("}id")), None)))
                 for s in root.iterfind(f"{space}sheets/{space}sheet")]
        found = [s for s in found if s[2] and "chartsheet" not in s[2] and "dialogsheet" not in s[2]]
        self.sheets, self._parts = [s[:2] for s in found], {s[0]: s[2] for s in found}
        if not found or len(self._parts) < len(found):
            raise Unusual
        self._shared = kinds.get("sharedStrings")
        self._styles = self._zip.read(kinds["styles"]) if "styles" in kinds else None

    def rows(self, name: str) -> Iterator[tuple[int, list[str]]]:
        """(row from 1, cells) of the rows of a sheet that hold something."""
        before = 0
        try:
            for head, rows, tail in self._cuts(self._parts[name]):
                numbers, rows = _numbered(rows, before)
                if numbers:
                    before = numbers[-1]
                    yield from self._read(head, rows, tail, numbers)
        except (zipfile.BadZipFile, EOFError, zlib.error, IndexError, RuntimeError):
            raise Refused("office") from None

    def _cuts(self, part: str) -> Iterator[tuple[bytes, bytes, bytes]]:
        """(XML before the rows, whole rows, XML that closes it) of each part of a sheet."""
        with self._zip.open(part) as file:
            buffer = file.read(PART)
            while not (start := _DATA.search(buffer)):
                more = file.read(PART)
                if not more or len(buffer) > MAX_HEAD:
                    raise Unusual
                buffer += more
            head, prefix = buffer[:start.end()], start[1]
            if start[2]:
                return
            sheet, encoding = _SHEET.search(head), _ENCODING.search(head)
            if not sheet or (encoding and encoding[1].lower() not in (b"utf-8", b"us-ascii")):
                raise Unusual
            end, close = b"</" + prefix + b"row>", b"</" + prefix + b"sheetData>"
            tail = close + b"</" + sheet[1] + b">"
            buffer = buffer[start.end():]
            while (stop := buffer.find(close)) < 0:
                cut = buffer.rfind(end) + len(end)
                if cut >= len(end):
                    yield head, buffer[:cut], tail
                    buffer = buffer[cut:]
                more = file.read(PART)
                if not more:
                    raise Refused("office")
                buffer += more
            yield head, buffer[:stop], tail
            while file.read(PART):      # to its end, where the checksum is compared
                pass

    def _read(self, head: bytes, rows: bytes, tail: bytes, numbers: list[int]) -> Iterator[tuple[int, list[str]]]:
        """What calamine reads in a part; one that spans too many cells is halved."""
        if (numbers[-1] - numbers[0] + 1) * _columns(rows) > CELLS and len(numbers) > 1:
            starts = [m.start() for m in _ROW.finditer(rows)]
            half = len(starts) // 2
            for piece, held in ((rows[:starts[half]], numbers[:half]), (rows[starts[half]:], numbers[half:])):
                yield from self._read(head, _numbered(piece, held[0] - 1)[1], tail, held)
            return
        rows, strings = self._strings.localise(rows) if self._strings else (rows, None)
        sheet = CalamineWorkbook.from_filelike(self._workbook(head + rows + tail, strings)).get_sheet_by_index(0)
        if sheet.start:
            top, left = sheet.start
            if top + 1 < numbers[0] or sheet.end[0] >= numbers[-1]:
                raise Refused("office")
            for number, row in enumerate(sheet.to_python(), top + 1):
                yield number, [""] * left + [value if type(value) is str else cell(value) for value in row]

    def _workbook(self, sheet: bytes, strings: bytes | None) -> io.BytesIO:
        """A workbook of one sheet."""
        out = io.BytesIO()
        parts = {"worksheet": ("sheet1.xml", sheet), "styles": ("styles.xml", self._styles), "sharedStrings": ("sharedStrings.xml", strings)}
        held = {kind: part for kind, part in parts.items() if part[1] is not None}
        with zipfile.ZipFile(out, "w") as made:
            made.writestr("[Content_Types].xml", f'<Types xmlns="{_PACKAGE}/content-types"/>')
            made.writestr("_rels/.rels", _relations({"officeDocument": "xl/workbook.xml"}))
            made.writestr("xl/_rels/workbook.xml.rels", _relations({kind: name for kind, (name, _) in held.items()}))
            made.writestr("xl/workbook.xml", f'<workbook xmlns="{_MAIN}" xmlns:r="{_REL}"><workbookPr date1904="{int(self._from_1904)}"/>'
                                             '<sheets><sheet name="s" sheetId="1" r:id="worksheet"/></sheets></workbook>')
            for name, content in held.values():
                made.writestr(f"xl/{name}", content)
        out.seek(0)
        return out


class _Strings:
    """The strings that cells share, on disk, found by number."""

    def __init__(self, book: zipfile.ZipFile, part: str, scratch: Path) -> None:
        path = scratch / "strings.xml"
        with book.open(part) as source, open(path, "wb") as out:
            while block := source.read(PART):
                out.write(block)
        with open(path, "rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        path.unlink()
        root = _STRINGS.search(self._text, 0, 1 << 16)
        self._starts = array("Q", (m.start() for m in _STRING.finditer(self._text)))
        if not root:
            raise Unusual
        self._close = b"</" + root[1] + b">"
        self._starts.append(max(self._text.rfind(self._close), self._starts[-1] if self._starts else 0))
        self._head = self._text[:self._starts[0]]

    def localise(self, rows: bytes) -> tuple[bytes, bytes]:
        """(the rows with their strings numbered anew, the XML of these strings).

        Raises:
            Unusual: a cell that shares a string does not say which one in the usual way.
            IndexError: there is no string of this number.
        """
        places: dict[bytes, int] = {}

        def place(found: re.Match[bytes]) -> bytes:
            return found[1] + b"%d" % places.setdefault(found[2], len(places))

        said = sum(map(rows.count, _SHARED))
        rows, changed = _INDEX.subn(place, rows) if said else (rows, 0)
        if changed != said or _SPACED.search(rows):
            raise Unusual
        return rows, self._head + b"".join(map(self._string, map(int, places))) + self._close

    def _string(self, number: int) -> bytes:
        return self._text[self._starts[number]:self._starts[number + 1]]


def _relations(targets: dict[str, str]) -> str:
    return f'<Relationships xmlns="{_PACKAGE}/relationships">' + "".join(
        f'<Relationship Id="{kind}" Type="{_REL}/{kind}" Target="{target}"/>' for kind, target in targets.items()) + "</Relationships>"


def _numbered(rows: bytes, before: int) -> tuple[list[int], bytes]:
    """(the numbers of the rows, the rows with a number on the first).

    Raises:
        Refused: the numbers do not ascend, so that one row would hide another.
    """
    numbers: list[int] = []
    for tag in _ROW.finditer(rows):
        said = _ROW_NUMBER.search(tag[1])
        number = int(said[1]) if said else (numbers[-1] if numbers else before) + 1
        if not numbers and not said:
            rows = rows[:tag.start(1)] + b' r="%d"' % number + rows[tag.start(1):]
        if number <= (numbers[-1] if numbers else before) or number > MAX_ROW:
            raise Refused("office")
        numbers.append(number)
    return numbers, rows


def _columns(rows: bytes) -> int:
    """Columns up to the last that a cell names, at least those of one letter."""
    most = 26
    for name in set(_WIDE.findall(rows)):
        at = 0
        for letter in name.upper():
            at = at * 26 + letter - 64
        most = max(most, at)
    if most > MAX_COLUMN:
        raise Refused("office")
    return most
