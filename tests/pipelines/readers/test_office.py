"""Office files: cells as the sheet shows them, sheets as units, hostile workbooks refused."""
from __future__ import annotations

import datetime as dt
import io
import zipfile

import openpyxl
import pytest

from pipelines import readers
from pipelines.readers import office
from pipelines.readers.sheets import cell

HEADER = ["证件号码", "日期", "金额"]


def book(*sheets) -> bytes:
    """A workbook of (name, rows[, state])."""
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows, *state in sheets:
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
        sheet.sheet_state = state[0] if state else "visible"
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


@pytest.mark.parametrize("value, shown", [
    ("0012", "0012"), (1.0, "1"), (-0.0, "0"), (1.5, "1.5"), (0.1 + 0.2, "0.3"), (1e-7, "0.0000001"), (123456789012345.0, "123456789012345"),
    (1.10105194912310e17, "1.10105E+17"), (1e15, "1E+15"), (True, "TRUE"), (dt.date(2020, 1, 2), "2020-01-02"),
    (dt.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02 03:04:05"), (dt.time(3, 4), "03:04:00"), (dt.timedelta(hours=30), "30:00:00"), (None, "")])
def test_cells_are_text_as_the_sheet_shows_them(value, shown):
    assert cell(value) == shown


def test_titles_blank_and_wide_rows_and_the_rows_after_them(bench):
    rows = [["某某单位名单"], [], HEADER, ["0012", dt.date(2020, 1, 2), 110105194912310021], [], ["x", None, 1.5, "extra"], ["y"], [" ", None]]
    got = bench.read(book(("表", rows)), format="xlsx")
    assert got.unit.header == tuple(HEADER)
    assert got.rows == [(1, "0012", "2020-01-02", "1.10105E+17"), (4, "y", "", "")]
    assert got.reading.rejects == [(3, "width")]
    r = got.reading
    assert (r.lines, r.header, r.blank, r.records, r.unparseable, r.by) == (8, 3, 2, 2, 1, "lines")


def test_sheets_with_the_same_header_go_on_and_others_do_not_count(bench):
    content = book(("隐藏", [HEADER, ["h"]], "hidden"), ("空", []), ("一", [HEADER, ["1"]]), ("说明", [["说", "明"]]), ("二", [HEADER, ["2"]]))
    got = bench.read_all(content, format="xlsx")
    assert [(g.unit.number, g.unit.member, g.cells[0][0]) for g in got] == [(1, "一", "1"), (2, "二", "2")]
    [named] = bench.read_all(content, format="xlsx", sheet="隐藏")
    assert named.cells == [["h", "", ""]] and "隐藏" not in repr(named.unit)
    assert bench.refused(content, format="xlsx", sheet="无") == "sheet"


def test_one_column_and_raw_rows(bench):
    manifest, source, scratch = bench.land(book(("一", [["号码"], ["a"], [None], ["b"]])), format="xlsx")
    table = readers.raw_rows(bench.con, manifest, source, [(1, 3)], scratch)
    assert bench.con.execute(f"FROM {table}").fetchall() == [(1, 3, ["b"], None)]


@pytest.mark.parametrize("content, code", [(b"", "empty"), (b"not a workbook", "office"), (b"PK\x03\x04 broken", "office"),
                                           (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "office"), (book(("空", [])), "sheet")])
def test_what_is_no_workbook_is_refused(bench, content, code):
    assert bench.refused(content, format="xlsx") == code


def test_a_sheet_of_17_billion_cells_is_refused(bench):
    made = openpyxl.Workbook()
    made.active["A1"], made.active["XFD1048576"] = "a", "b"
    out = io.BytesIO()
    made.save(out)
    assert bench.refused(out.getvalue(), format="xlsx") == "memory"


def test_an_archive_that_unpacks_too_far_is_refused(bench, monkeypatch):
    monkeypatch.setattr(office, "MAX_UNPACKED", 1 << 20)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (2 << 20))
    assert bench.refused(out.getvalue(), format="xlsx") == "archive"
