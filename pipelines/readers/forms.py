"""Which form a file has, told by its content: never by its name, which its sender chose.

binary() knows files that are no text, of_text() the forms of text. What can hold no table is refused by kind (`form`).
"""
from __future__ import annotations

import io
import json
import mmap
import re
import zipfile
from pathlib import Path

from pipelines.readers.model import ReadRefused
from pipelines.trouble import let_pass

BOOKS = ("xlsx", "xls", "ods")
HEAD = 1 << 12
MAX_DIRECTORY = 1 << 26     # bytes a zip archive's list of members may have: 10,000 members need far less
_OPENED = "zip, gz, tar and 7z are opened"
_KINDS = tuple((re.compile(pattern, re.DOTALL), what) for pattern, what in (      # files that hold no table
    (rb"%PDF-", "a PDF document"), (rb"\{\\rtf", "an RTF document"), (rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF.{4}WEBP", "an image"),
    (rb"Rar!\x1a\x07", f"a RAR archive; {_OPENED}"), (rb"BZh[1-9]1AY&SY", f"a bzip2 archive; {_OPENED}"),
    (rb"\xfd7zXZ\0", f"an xz archive; {_OPENED}"), (rb"\x28\xb5\x2f\xfd", f"a zstd archive; {_OPENED}"),
    (rb"MSCF\0\0\0\0", f"a cabinet archive; {_OPENED}"), (rb"SQLite format 3\0", "a SQLite database"),
    (rb".{4}Standard (Jet|ACE) DB", "an Access database"), (rb"\x7fELF", "a program")))
_PACKAGES = (("word/document.xml", "a Word document"), ("ppt/presentation.xml", "a PowerPoint document"), ("ofd.xml", "an OFD document"))
_STREAMS = (("EncryptedPackage", "password"), ("Workbook", "xls"), ("Book", "xls"), ("WordDocument", "a Word document"),
            ("PowerPoint Document", "a PowerPoint document"))
_DBF = frozenset((0x02, 0x03, 0x04, 0x05, 0x30, 0x31, 0x32, 0x43, 0x63, 0x83, 0x8B, 0x8C, 0x8E, 0xCB, 0xE5, 0xF5, 0xFB))
_HTML = re.compile(r"<(!doctype\s+html|html|head|body|table|meta|style|script)\b|mime-version:", re.IGNORECASE)
_PROLOGUE = re.compile(r"(?:<\?.*?\?>|<!--.*?-->|\s)*", re.DOTALL)
_ELEMENT = re.compile(r"<[^\W\d][\w.:-]*(\s[^<>]*)?(/>\s*$|>(<|[ \t]*\r?\n\s*<))")
_LIST = re.compile(r":\s*\[\s*[{\]]")
_OBJECT = re.compile(r'\{\s*("(?:[^"\\]|\\.)*"\s*:|\}\s*$)', re.DOTALL)


class _Wary(io.FileIO):
    """A file whose readers may not take a large part of it at once, whatever the file tells them to."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("too large a part")
        return super().read(size)


def wary(path: Path) -> io.FileIO:
    """The file, open for a parser that trusts the sizes written in it."""
    return _Wary(path)


def package(path: Path) -> str | None:
    """What a zip file is when it is no archive: xlsx, ods, or the kind of document; None for an archive or no zip."""
    try:
        with wary(path) as file, zipfile.ZipFile(file) as archive:
            names = {name.replace("\\", "/").lstrip("/").lower() for name in archive.namelist()}
            if any(re.fullmatch(r"xl/workbook\d*\.(xml|bin)", name) for name in names):
                return "xlsx"
            if "mimetype" in names:
                with archive.open("mimetype") as member:
                    kind = member.read(200)
                if kind.startswith(b"application/vnd.oasis.opendocument."):
                    return "ods" if b"opendocument.spreadsheet" in kind else "an OpenDocument file that is no spreadsheet"
            return next((what for name, what in _PACKAGES if name in names), None)
    except Exception as error:      # a hostile zip makes zipfile raise whatever its bytes lead to; `archives` refuses it
        let_pass(error)
        return None


def binary(path: Path, what: str = "The file") -> str | None:
    """The form of a file that is no text: xlsx (also xlsb), xls, ods, parquet, dbf; None for text.

    Args:
        path: the file.
        what: how messages call it.

    Raises:
        ReadRefused: form (what it is, when it holds no table), password.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"PK"):
        found = package(path)
    elif head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        found = _compound(path)
    elif head.startswith(b"PAR1") and (b"\0" in head or _ends(path, b"PAR1")):
        found = "parquet"
    elif _is_dbf(head):
        found = "dbf"
    else:
        found = _kind(head, path)
    if found == "password":
        raise ReadRefused("password", f"{what} is protected by a password. Ask for it without one.")
    if found and " " in found:
        raise ReadRefused("form", f"{what} is {found}. Ask for a table: text, xlsx, xls, ods, json, xml, dbf or parquet.")
    return found


def of_text(head: str) -> str:
    """json, jsonl, xml, html or delimited: the form of a text by its first characters."""
    head = head.removeprefix("\ufeff").lstrip()
    if head.startswith("{") and _OBJECT.match(head):
        return _objects(head)
    if head.startswith("[") and _is_array(head[1:].lstrip()):
        return "json"
    body = head[_PROLOGUE.match(head).end():]
    if _HTML.match(body):
        return "html"
    return "xml" if head.startswith(("<?xml", "<!DOCTYPE")) or _ELEMENT.match(body) else "delimited"


def _objects(head: str) -> str:
    """jsonl when the first line is an object by itself and the next one begins another.

    A single line is a record, unless it is a document around a list.
    """
    first, ended, rest = head.partition("\n")
    rest = rest.lstrip()
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):      # a line of a document, or a record that is cut or damaged
        cut = not ended and not _LIST.search(first)
        return "jsonl" if cut or (rest.startswith("{") and not first.rstrip().endswith(("{", "[", ",", ":"))) else "json"
    return "jsonl" if rest.startswith("{") or not (rest or _holds_list(record)) else "json"


def _holds_list(value: object) -> bool:
    """Whether a list of objects, or an empty one, stands somewhere in objects."""
    if isinstance(value, dict):
        return any(map(_holds_list, value.values()))
    return isinstance(value, list) and (not value or isinstance(value[0], dict))


def _is_array(inside: str) -> bool:
    """Whether what follows a bracket goes on as a JSON array; the first header cell of a table may begin with one."""
    if inside.startswith(("{", "[")):
        return True
    try:
        _, end = (None, 0) if inside.startswith("]") else json.JSONDecoder().raw_decode(inside)
    except (ValueError, RecursionError):
        return False
    after = inside[end:].lstrip()
    return after.startswith(",") or after.rstrip() == "]"


def _kind(head: bytes, path: Path) -> str | None:
    """What a file is that holds no table, by its first bytes; only such as no text begins with."""
    for pattern, what in _KINDS:
        if pattern.match(head):
            return what
    if head.startswith(b"BM") and int.from_bytes(head[2:6], "little") == path.stat().st_size:
        return "an image"
    place = int.from_bytes(head[0x3C:0x40], "little")
    return "a program" if head.startswith(b"MZ") and head[place:place + 4] == b"PE\0\0" else None


def _ends(path: Path, magic: bytes) -> bool:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - len(magic)))
        return file.read() == magic


def _is_dbf(head: bytes) -> bool:
    """Whether the file begins like a dBASE table: version, date of change as bytes, two reserved zeros, end of fields."""
    if len(head) < 68 or head[0] not in _DBF or head[30:32] != b"\0\0":
        return False
    dated = (1 <= head[2] <= 12 and 1 <= head[3] <= 31) or head[1:4] == b"\0\0\0"
    size, record = int.from_bytes(head[8:10], "little"), int.from_bytes(head[10:12], "little")
    return dated and size >= 65 and record >= 2 and head[43:44].isalnum()


def _compound(path: Path) -> str:
    """What an OLE2 compound file holds, by the names in its directory: entries of 128 bytes, aligned, of type stream."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for name, what in _STREAMS:
            entry = name.encode("utf-16-le")
            sized = (len(entry) + 2).to_bytes(2, "little") + b"\x02"
            at = content.find(entry)
            while at >= 0:
                if at % 128 == 0 and content[at + 64:at + 67] == sized:
                    return what
                at = content.find(entry, at + 1)
    return "an OLE2 document that is no workbook"
