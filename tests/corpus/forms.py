"""Every form in which a table may arrive: how it is written, and what a contract must say about it.

A `Form` writes a header and rows of text into bytes. `source` gives the contract's keys for that header, `fits` says
which cells the form can hold at all.
"""
from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.corpus import books, boxes, documents
from tests.corpus.model import HEADER, SECRET

Cells = Sequence[str]
WIDTHS = {"公民身份号码": 18, "姓名": 30, "csrq": 10, "居住地区划": 10, "状态": 40, "操作": 20}      # bytes in GBK
MULTI = "|!|"


@dataclass(frozen=True)
class Form:
    """One form. `rare`: it can carry four-byte characters; `named`: the file itself names its columns; `wraps`: it is
    another form with something around it."""

    name: str
    extension: str
    write: Callable[[Cells, Sequence[Cells]], bytes]
    source: Callable[[Cells], dict[str, Any]] = lambda header: {}
    fits: Callable[[str], bool] = lambda cell: True
    rare: bool = True
    named: bool = True
    wraps: bool = False

    def file(self, header: Cells, rows: Sequence[Cells]) -> Callable[[], dict[str, bytes]]:
        """A batch of one file with this table."""
        return lambda: {f"{SECRET}{self.extension}": self.write(header, rows)}


def delimited(delimiter: str = ",", end: str = "\r\n", **dialect: Any) -> Callable[[Cells, Sequence[Cells]], str]:
    """A writer of delimited text by Python's csv module."""

    def write(header: Cells, rows: Sequence[Cells]) -> str:
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter, lineterminator=end, **dialect).writerows([header, *rows] if header else rows)
        return out.getvalue()

    return write


def encoded(write: Callable[[Cells, Sequence[Cells]], str], encoding: str = "utf-8") -> Callable[[Cells, Sequence[Cells]], bytes]:
    """A writer of bytes made of a writer of text."""
    return lambda header, rows: write(header, rows).encode(encoding)


def by_hand(delimiter: str, quote: str = "", end: str = "\n") -> Callable[[Cells, Sequence[Cells]], str]:
    """A writer for delimiters the csv module does not take: a cell that needs it is quoted, quotes in it are doubled."""

    def cell(value: str) -> str:
        needs = quote and any(c in value for c in (delimiter, quote, "\n", "\r"))
        return quote + value.replace(quote, quote * 2) + quote if needs else value

    return lambda header, rows: "".join(delimiter.join(map(cell, r)) + end for r in [header, *rows])


def fixed(header: Cells, rows: Sequence[Cells], named: bool = True) -> bytes:
    """Cells padded to WIDTHS bytes of GBK; a column the residence dataset does not know has 20."""
    widths = fixed_widths(header)
    lines = [header, *rows] if named else rows
    return b"".join(b"".join(c.encode("gbk").ljust(w) for c, w in zip(line, widths)) + b"\r\n" for line in lines)


def fixed_widths(header: Cells) -> tuple[int, ...]:
    """The widths of these columns."""
    return tuple(max(WIDTHS.get(cell, 20), len(cell.encode("gbk"))) for cell in header)


def _one_line(*banned: str) -> Callable[[str], bool]:
    return lambda cell: not any(b in cell for b in ("\n", "\r", *banned))


def _fits_fixed(cell: str) -> bool:
    return cell == cell.strip(" ") and len(cell.encode("gbk", "replace")) <= 30 and "\n" not in cell and "\r" not in cell


QUOTED = {"quoting": csv.QUOTE_ALL}
TEXT = (
    Form("csv", ".csv", encoded(delimited())),
    Form("tsv", ".tsv", encoded(delimited("\t", "\n"))),
    Form("pipe", ".txt", encoded(delimited("|", "\n"))),
    Form("semicolon", ".csv", encoded(delimited(";"))),
    Form("ctrl_a", ".dat", encoded(delimited("\x01", "\n"))),
    Form("multi", ".txt", encoded(by_hand(MULTI, '"')), lambda h: {"delimiter": MULTI}),
    Form("single_quote", ".csv", encoded(delimited(quotechar="'", **QUOTED)), lambda h: {"quote": "'"}),
    Form("backslash", ".csv", encoded(delimited(escapechar="\\", doublequote=False, **QUOTED)), lambda h: {"escape": "\\"}),
    Form("no_quote", ".txt", encoded(by_hand("\t")), lambda h: {"quote": "", "delimiter": "\t"}, _one_line("\t")),
    Form("headerless", ".csv", encoded(lambda h, r: delimited()((), r)), lambda h: {"header": tuple(h)}, named=False),
    Form("fixed", ".txt", fixed, lambda h: {"format": "fixed", "widths": fixed_widths(h)}, _fits_fixed, rare=False),
    Form("fixed_headerless", ".txt", lambda h, r: fixed(h, r, named=False), rare=False, named=False, wraps=True, fits=_fits_fixed,
         source=lambda h: {"format": "fixed", "widths": fixed_widths(h), "header": tuple(h)}),
)
BOOKS = (
    Form("xlsx", ".xlsx", books.xlsx),
    Form("xls", ".xls", books.xls),
    Form("ods", ".ods", books.ods),
)
RECORDS = (
    Form("jsonl", ".jsonl", documents.jsonl),
    Form("json", ".json", documents.json_array),
    Form("json_nested", ".json", documents.json_nested, lambda h: {"record_path": "data.records"}, wraps=True),
    Form("xml", ".xml", documents.xml),
    Form("dbf", ".dbf", documents.dbf, documents.dbf_source, _fits_fixed, rare=False),
    Form("parquet", ".parquet", documents.parquet),
)
_CSV, _XLSX = TEXT[0], BOOKS[0]
BOXED = tuple(
    Form(f"{inner.name}.{kind}", f".{kind}", lambda h, r, inner=inner, box=box: box({f"数据/{SECRET}{inner.extension}": inner.write(h, r)}), wraps=True)
    for inner in (_CSV, _XLSX) for kind, box in boxes.BOXES.items())
FORMS = {form.name: form for form in (*TEXT, *BOOKS, *RECORDS, *BOXED)}
__all__ = ["BOOKS", "FORMS", "HEADER", "MULTI", "Form", "by_hand", "delimited", "encoded", "fixed", "fixed_widths"]
