"""Files as departments write them: CSV and TXT in GB18030 or UTF-8 (with byte-order mark), and workbooks.

DuckDB writes the text; Python re-encodes it in streams. A workbook is written as its XML, so that the same seed gives
the same bytes and a hundred thousand rows take a second.
"""
from __future__ import annotations

import codecs
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import duckdb

from pipelines import sql
from pipelines.contract import Source

CHUNK = 1 << 23
_MADE = (2026, 1, 1, 0, 0, 0)
_OFFICE = "http://schemas.openxmlformats.org"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_OFFICE}/package/2006/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
        '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
        '<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_OFFICE}/package/2006/relationships"><Relationship Id="r1" Target="xl/workbook.xml" '
        f'Type="{_OFFICE}/officeDocument/2006/relationships/officeDocument"/></Relationships>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_OFFICE}/package/2006/relationships"><Relationship Id="r1" '
        f'Target="worksheets/sheet1.xml" Type="{_OFFICE}/officeDocument/2006/relationships/worksheet"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_OFFICE}/spreadsheetml/2006/main" xmlns:r="{_OFFICE}/officeDocument/2006/relationships">'
        '<sheets><sheet name="{sheet}" sheetId="1" r:id="r1"/></sheets></workbook>',
}


def write(con: duckdb.DuckDBPyConnection, select: str, columns: list[str], header: list[str], source: Source, encoding: str,
          line_end: str, path: Path) -> None:
    """Write one file.

    Args:
        select: a SELECT giving the VARCHAR columns `columns` in file order.
        header: the cells of the first line, one per column.
        encoding: `gb18030`, `utf-8-sig` or `utf-8`; not used for workbooks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.format == "xlsx":
        return _workbook(con, select, columns, header, source.sheet or "Sheet1", path)
    beside = path.with_name(path.name + ".part")
    named = ", ".join(f"{sql.name(c)} AS {sql.name(h)}" for c, h in zip(columns, header))
    delimiter, quote, end = (sql.text(o) for o in (source.delimiter or ",", source.quote or '"', line_end.encode("unicode_escape").decode()))
    con.execute(f"COPY (SELECT {named} FROM ({select})) TO {sql.text(beside)} (FORMAT csv, HEADER true, DELIMITER {delimiter}, "
                f"QUOTE {quote}, NEW_LINE {end})")
    _encode(beside, path, encoding)
    beside.unlink()


def _encode(made: Path, path: Path, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoder = codecs.getincrementalencoder(encoding)()
    with made.open("rb") as source, path.open("wb") as target:
        while chunk := source.read(CHUNK):
            target.write(encoder.encode(decoder.decode(chunk)))


def _workbook(con: duckdb.DuckDBPyConnection, select: str, columns: list[str], header: list[str], sheet: str, path: Path) -> None:
    cells = " || ".join(f"coalesce('<c t=\"inlineStr\"><is><t xml:space=\"preserve\">' || replace(replace(replace({sql.name(c)}, "
                        f"'&', '&amp;'), '<', '&lt;'), '>', '&gt;') || '</t></is></c>', '<c/>')" for c in columns)
    head = "".join(f'<c t="inlineStr"><is><t>{escape(h)}</t></is></c>' for h in header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        for name, text in _PARTS.items():
            book.writestr(_entry(name), _XML + text.replace("{sheet}", escape(sheet)))
        with book.open(_entry("xl/worksheets/sheet1.xml"), "w") as out:
            out.write(f'{_XML}<worksheet xmlns="{_OFFICE}/spreadsheetml/2006/main"><sheetData><row>{head}</row>'.encode())
            found = con.execute(f"SELECT '<row>' || {cells} || '</row>' FROM ({select})")
            while rows := found.fetchmany(10_000):
                out.write("".join(r[0] for r in rows).encode())
            out.write(b"</sheetData></worksheet>")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_MADE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
