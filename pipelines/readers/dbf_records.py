"""dBASE and FoxPro tables. Part of the extractor (see `spool`).

The file must hold as many records as its header says. Numbers keep their digits, dates become ISO, a logical value stays the
letter it is. Deleted records are blank.
"""
from __future__ import annotations

import mmap
import os
import struct
from datetime import date
from pathlib import Path
from typing import Any

from dbfread import DBF, FieldParser, MissingMemoFile
from marks import DAMAGE, private_use
from spool import Refused, Spool, is_trouble

_CODE_PAGES = {0x4D: "gb18030", 0x7A: "gb18030", 0x4F: "big5hkscs", 0x78: "big5hkscs"}      # others are what Western programs leave
_CODECS = {"gb18030": "gb18030", "big5": "big5hkscs", "utf-8": "utf-8"}
_READ = "CNFDLMIYTB0"
_FOXPRO = (0x30, 0x31, 0x32)
_MAX_TAIL = 1 << 16


class Texts(FieldParser):
    """Cells as text; bytes that are no character become DAMAGE."""

    def field_type_supported(self, field_type: str) -> bool:
        return field_type in _READ

    def parse(self, field: Any, data: bytes) -> str:
        return getattr(self, f"text{field.type}", self.plain)(data)

    def plain(self, data: bytes) -> str:
        return self.decode(data.strip(b" \0"))

    def decode(self, data: bytes) -> str:
        text = data.decode(self.encoding, "lake.mark")
        if text.isascii() or max(text) < "\ue000":
            return text
        text, repairs = private_use(text)
        self.table.repairs += repairs
        return text

    def textC(self, data: bytes) -> str:
        return self.decode(data.rstrip(b" \0"))

    def textD(self, data: bytes) -> str:
        text = self.plain(data)
        try:
            return "" if not text.strip("0") else date(int(text[:4]), int(text[4:6]), int(text[6:])).isoformat()
        except ValueError:
            return text      # what stands there is judged later, as any text

    def textL(self, data: bytes) -> str:
        return self.plain(data).replace("?", "")

    def textM(self, data: bytes) -> str:
        return self.decode(bytes(self.get_memo(self._parse_memo_index(data)) or b""))

    def textI(self, data: bytes) -> str:
        return str(self.parseI(None, data))

    def textY(self, data: bytes) -> str:
        return str(self.parseY(None, data))

    def textT(self, data: bytes) -> str:
        found = self.parseT(None, data)
        return found.isoformat(" ", "seconds") if found else ""

    def textB(self, data: bytes) -> str:
        found = struct.unpack("<d", data)[0]
        return str(int(found)) if found.is_integer() and abs(found) < 10**15 else f"{found:.15g}"


class Table(DBF):
    """A table whose file is opened by the caller's encoding."""

    def __init__(self, name: str, encoding: str) -> None:
        self.repairs = 0
        super().__init__(name, encoding=encoding, ignorecase=False, parserclass=Texts, char_decode_errors="lake.mark",
                         recfactory=lambda items: [value for _, value in items])

    def _get_memofilename(self) -> str | None:
        """The library takes a FoxPro number of type B for a memo."""
        return super()._get_memofilename() if any(field.type == "M" for field in self.fields) else None


def extract(order: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    """Write the records of `order['path']`; see `extractor`."""
    path = Path(order["path"])
    os.chdir(path.parent)      # the library looks for the memo file by a pattern, in which a folder's name would count too
    try:
        flags = _flags(Table(path.name, "latin-1"), path.stat().st_size)
        encoding, told = _encoding(path.name, order["encoding"])
        table = Table(path.name, encoding)
        shown = [i for i, field in enumerate(table.fields) if field.type != "0"]      # 0: FoxPro's own column of NULL marks
        with Spool(out / "0.parquet", [table.field_names[i] for i in shown]) as spool:
            for line, record in zip((line for line, flag in enumerate(flags, 1) if flag == 0x20), table):
                spool.take(line, [record[i] for i in shown])
    except MissingMemoFile:
        raise Refused("dbf", "Its memo file is missing: ask for both files in one zip.") from None
    except (ValueError, LookupError, struct.error, OSError, TypeError, OverflowError) as error:
        if is_trouble(error):
            raise
        raise Refused("dbf") from None
    return [spool.facts | {"lines": len(flags), "blank": flags.count(b"*"), "encoding": encoding, "repairs": table.repairs,
                           "evidence": f"{encoding}, {told}; dBASE version {table.header.dbversion:#04x}"}]


def _flags(table: Table, size: int) -> bytes:
    """The first byte of every record, after checking that the file holds the records its header counts and no others."""
    head, width, count = table.header.headerlen, table.header.recordlen, table.header.numrecords
    version = table.header.dbversion
    if sum(field.length for field in table.fields) + 1 != width or any(f.type == "B" and (f.length != 8 or version not in _FOXPRO)
                                                                       for f in table.fields):
        raise Refused("dbf", "Its fields do not fill its records.")
    if table.memofilename and table.memofilename.lower().endswith(".dbt") and version != 0x83:
        raise Refused("dbf", "Its memo file is of a kind that is not read.")
    end = head + width * count
    if size < end:
        raise Refused("dbf", f"Its header counts {count:,} records, it holds {max(0, size - head) // width:,}.")
    with open(table.filename, "rb") as file:
        file.seek(end)
        if file.read(_MAX_TAIL).strip(b"\x1a\0") or size - end > _MAX_TAIL:
            raise Refused("dbf", f"It goes on behind the {count:,} records its header counts.")
        if not count:
            return b""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            flags = content[head:end:width]
    if flags.strip(b" *"):
        raise Refused("dbf", "It holds a record that is neither kept nor deleted.")
    return flags


def _encoding(name: str, declared: str) -> tuple[str, str]:
    """(codec, how it is known): the declared one, the header's if Chinese, UTF-8 when ten texts for each that is not are, else GB 18030."""
    if declared in _CODECS:
        return _CODECS[declared], "declared"
    plain = Table(name, "latin-1")
    if plain.header.language_driver in _CODE_PAGES:
        return _CODE_PAGES[plain.header.language_driver], "by its code page"
    right = wrong = 0
    texts = [i for i, field in enumerate(plain.fields) if field.type == "C"]
    for record in Table(name, "utf-8"):
        for i in texts:
            if not record[i].isascii():
                wrong += DAMAGE in record[i]
                right += DAMAGE not in record[i]
    return ("utf-8" if right and right >= 10 * wrong else "gb18030"), "by its texts"
