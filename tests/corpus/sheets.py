"""Workbooks: several and hidden sheets, empty rows, formulas, numbers that Excel changed, and files that are no workbook."""
from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from tests.corpus import books
from tests.corpus.books import Formula, book
from tests.corpus.forms import BOOKS, FORMS, HEADER
from tests.corpus.model import SECRET, Bad, Case, Row, loaded, refused, row, table

BIRTH = 32874      # the day number Excel keeps for 1990-01-01, counted from 1899-12-30


def _book(fault: str, sheets: Sequence[Any], good: Sequence[Row], bad: Sequence[Bad] = (), source: dict[str, Any] | None = None, **counts: int) -> Case:
    return loaded("xlsx", fault, lambda: {f"{SECRET}.xlsx": book(*sheets)}, good, bad, source, **counts)


def _several_sheets() -> Iterator[Case]:
    rows = table()
    first, second = ("一", [HEADER, *rows[:3]]), ("二", [HEADER, *rows[3:]])
    yield _book("sheets_go_on", [first, second], rows, records=6)
    yield _book("sheets_that_are_none", [("密", [HEADER, row(9)], "hidden"), ("空", []), first, ("说明", [["填表说明"], ["一人一行"]]), second], rows)
    yield _book("hidden_sheet_declared", [("别的", [HEADER, row(9)]), ("人员", [HEADER, *rows], "hidden")], rows, source={"sheet": "人员"})
    yield refused("xlsx", "sheet_declared_missing", lambda: {"a.xlsx": book(first)}, "sheet", {"sheet": "人员"})
    yield refused("xlsx", "no_sheet_with_rows", lambda: {"a.xlsx": book(("空", []))}, "sheet")


def _rows() -> Iterator[Case]:
    rows = table()
    yield _book("empty_rows", [("一", [HEADER, *rows[:2], [], [], [" ", None, " "], *rows[2:]])], rows, blank=3)
    yield _book("wide_and_short_rows", [("一", [HEADER, *rows[:2], [*rows[2], "多"], rows[3][:4], *rows[4:]])], [*rows[:2], row(4, status=""), *rows[4:]], [(3, ("line.width",))])
    yield _book("further_down_and_right", [("一", [[], [], [], ["", "", *HEADER], *[["", "", *r] for r in rows]])], rows)
    yield _book("header_again", [("一", [HEADER, *rows[:3], HEADER, *rows[3:]])], rows, [(4, ("line.repeat",))])
    for form in BOOKS[1:]:
        sent = [*rows[:2], ("",) * 6, (*rows[2], "多"), *rows[3:]]
        yield loaded(form.name, "empty_and_wide_rows", form.file(HEADER, sent), [*rows[:2], *rows[3:]], [(4, ("line.width",))], blank=1)


def _numbers() -> Iterator[Case]:
    """What Excel does to numbers and dates; repaired only where nothing was lost."""
    rows = table(9)

    def changed(*cells: tuple[int, int, Any]) -> list[Any]:
        """The sheet with some cells (row from 1, column, value) replaced."""
        new = {(number, column): value for number, column, value in cells}
        return [HEADER, *([new.get((n, i), c) for i, c in enumerate(r)] for n, r in enumerate(rows, 1))]

    dates = changed((1, 2, dt.date(1990, 1, 1)), (2, 2, dt.datetime(1990, 1, 1, 12, 30)), (3, 2, BIRTH), (4, 3, 640104), (5, 4, True), (6, 4, 0.1 + 0.2),
                    (7, 4, 7), (8, 4, Formula("=1+1")), (9, 4, Formula("=cmd|'/c calc'!A1")))
    shown = {5: "TRUE", 6: "0.3", 7: "7", 8: "", 9: ""}
    yield _book("typed_cells", [("一", dates)], [row(n, status=shown.get(n, "有效")) for n in range(1, 10)])
    lost = changed((2, 0, int(rows[1][0])), (5, 0, "6.40104E+17"), (7, 0, rows[6][0][:15] + "000"))
    yield _book("lost_digits", [("一", lost)], [r for n, r in enumerate(rows, 1) if n not in (2, 5, 7)],
                [(2, ("id_number.format",)), (5, ("id_number.format",)), (7, ("id_number.checksum",))])
    sent = [(("6.40104E+17" if n == 1 else rows[2][0][:15] + "000" if n == 3 else "'" + r[0] if n == 4 else r[0].lower()), r[1], str(BIRTH), *r[3:]) for n, r in enumerate(rows, 1)]
    yield loaded("csv", "saved_by_excel", FORMS["csv"].file(HEADER, sent), [rows[1], *rows[3:]], [(1, ("id_number.format",)), (3, ("id_number.checksum",))])


def _no_workbooks() -> Iterator[Case]:
    html = f"<html><body><table><tr><td>公民身份号码</td></tr><tr><td>{SECRET}</td></tr></table></body></html>".encode()
    for kind in ("xlsx", "xls"):
        made = getattr(books, f"{kind}_with_password")
        yield refused(kind, "password", lambda m=made, k=kind: {f"a.{k}": m()}, "password")
        yield refused(kind, "html", lambda k=kind: {f"a.{k}": html}, "form")
        yield refused(kind, "html_declared", lambda k=kind: {f"a.{k}": html}, "form", {"format": kind})
        yield refused(kind, "half", lambda k=kind: {f"a.{k}": (b := FORMS[k].write(HEADER, table()))[:len(b) // 2]}, "archive" if kind == "xlsx" else "form")
    yield refused("ods", "cells_repeated_16_billion_times", lambda: {"a.ods": books.ods_of_repeats(HEADER, table())}, "office")
    yield refused("ods", "half", lambda: {"a.ods": FORMS["ods"].write(HEADER, table())[:500]}, "archive")
    yield refused("xls", "compound_of_nothing", lambda: {"a.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4000)}, "form")
    yield refused("xlsx", "declared_csv", FORMS["xlsx"].file(HEADER, table()), "form", {"format": "csv"})
    yield refused("csv", "declared_xlsx", FORMS["csv"].file(HEADER, table()), "form", {"format": "xlsx"})
    yield loaded("xls", "named_xlsx", lambda: {"a.xlsx": FORMS["xls"].write(HEADER, table())}, table())
    yield loaded("csv", "named_xls", lambda: {"a.xls": FORMS["tsv"].write(HEADER, table())}, table())


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _several_sheets()
    yield from _rows()
    yield from _numbers()
    yield from _no_workbooks()
