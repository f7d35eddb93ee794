"""Workbooks: lists of sheets → bytes. A cell is what openpyxl or xlwt takes: text, number, date, formula, None."""
from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import openpyxl
import xlwt
from xlwt.CompoundDoc import XlsDoc

from tests.corpus.boxes import zipped

Rows = Sequence[Sequence[Any]]


def xlsx(header: Sequence[str], rows: Rows) -> bytes:
    """One sheet with a header."""
    return book(("人员", [header, *rows]))


def book(*sheets: tuple[str, Rows] | tuple[str, Rows, str]) -> bytes:
    """An xlsx workbook; a sheet is (name, rows) or (name, rows, 'hidden'). Text that begins with '=' stays text unless
    its cell is a `Formula`."""
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows, *state in sheets:
        sheet = made.create_sheet(name)
        sheet.sheet_state = state[0] if state else "visible"
        for number, row in enumerate(rows, 1):
            for column, value in enumerate(row, 1):
                if value not in (None, ""):
                    cell = sheet.cell(number, column)
                    cell.value = value.text if isinstance(value, Formula) else value
                    if isinstance(value, str):
                        cell.data_type = "s"
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


class Formula:
    """A formula without a stored result, as programs write it."""

    def __init__(self, text: str) -> None:
        self.text = text


def xls(header: Sequence[str], rows: Rows) -> bytes:
    """One sheet with a header, in the binary format of Excel 97."""
    made = xlwt.Workbook(encoding="utf-8")
    sheet = made.add_sheet("人员")
    for number, row in enumerate([header, *rows]):
        for column, value in enumerate(row):
            if value not in (None, ""):
                sheet.write(number, column, value)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


_ODS_SPACES = " ".join(f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
                       for short, name in (("office", "office"), ("table", "table"), ("text", "text")))


def ods(header: Sequence[str], rows: Rows) -> bytes:
    """One sheet with a header, as LibreOffice stores it: one paragraph per line of a cell."""
    return _ods(_ods_rows([header, *rows]))


def ods_of_repeats(header: Sequence[str], rows: Rows) -> bytes:
    """The same, and below it a cell that says it stands for a million rows of 16,000 columns."""
    repeated = '<table:table-row table:number-rows-repeated="1000000"><table:table-cell office:value-type="string" table:number-columns-repeated="16000">'
    return _ods(_ods_rows([header, *rows]) + repeated + "<text:p>x</text:p></table:table-cell></table:table-row>")


def _ods_rows(rows: Rows) -> str:
    return "".join("<table:table-row>" + "".join(_ods_cell(c) for c in row) + "</table:table-row>" for row in rows)


def _ods(body: str) -> bytes:
    content = (f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_ODS_SPACES} office:version="1.2"><office:body>'
               f'<office:spreadsheet><table:table table:name="人员">{body}</table:table></office:spreadsheet></office:body>'
               "</office:document-content>")
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = ('<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
                f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>')
    return zipped({"mimetype": kind.encode(), "content.xml": content.encode(), "META-INF/manifest.xml": manifest.encode()})


def _ods_cell(value: Any) -> str:
    if value in (None, ""):
        return "<table:table-cell/>"
    if isinstance(value, (int, float)):
        return f'<table:table-cell office:value-type="float" office:value="{value}"><text:p>{value}</text:p></table:table-cell>'
    lines = "".join(f"<text:p>{_ods_text(line)}</text:p>" for line in value.split("\n"))
    return f'<table:table-cell office:value-type="string">{lines}</table:table-cell>'


def _ods_text(line: str) -> str:
    """Runs of spaces and tabs are elements of their own, else they count as one space."""
    return escape(line).replace("\t", "<text:tab/>").replace("  ", ' <text:s/>')


def with_password(biff: bytes) -> bytes:
    """The stream of an xls workbook with the record that says it is encrypted (FILEPASS, after the first BOF)."""
    first = 4 + int.from_bytes(biff[2:4], "little")
    return biff[:first] + b"\x2f\x00\x06\x00\x01\x00\x01\x00\x01\x00" + biff[first:]


def xls_with_password() -> bytes:
    """An xls workbook that Excel asks a password for."""
    made = xlwt.Workbook()
    made.add_sheet("a").write(0, 0, "a")
    return _compound(with_password(made.get_biff_data()))


def xlsx_with_password() -> bytes:
    """An xlsx workbook that Excel asks a password for: a compound file whose stream is called EncryptedPackage."""
    content = _compound(bytes(5000))
    name = "Workbook".encode("utf-16-le")
    at = content.index(name.ljust(64, b"\0"))
    new = "EncryptedPackage".encode("utf-16-le")
    return content[:at] + new.ljust(64, b"\0") + (len(new) + 2).to_bytes(2, "little") + content[at + 66:]


def _compound(stream: bytes) -> bytes:
    """An OLE compound file with one stream called Workbook."""
    out = io.BytesIO()
    XlsDoc().save(out, stream)
    return out.getvalue()
