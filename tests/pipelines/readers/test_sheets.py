"""Sheets: cells as the sheet shows them, headers wherever they stand, and large workbooks read in parts."""
from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from typing import Any

import openpyxl
import pandas as pd
import pytest
import xlwt
from hypothesis import given, strategies as st

from pipelines import readers
from pipelines.readers import extracted, forms
from pipelines.readers.cells import cell
from tests.corpus import books
from tests.corpus.boxes import zipped
from tests.pipelines.readers import child

HEADER = ["证件号码", "日期", "金额"]
SPELLED = [[h] for h in HEADER]
SHEET, RELS = "xl/worksheets/sheet1.xml", "xl/_rels/workbook.xml.rels"
MAIN = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
STRINGS = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"


def book(*sheets) -> bytes:
    """A workbook of (name, rows[, state])."""
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows, *state in sheets:
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
        sheet.sheet_state = state[0] if state else "visible"
    return saved(made)


def saved(made: Any) -> bytes:
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def repacked(content: bytes, name: str, old: bytes, new: bytes) -> bytes:
    """The package with something replaced in one of its parts."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        parts = {n: package.read(n) for n in package.namelist()}
    assert old in parts[name]
    return zipped(parts | {name: parts[name].replace(old, new)})


def shared(content: bytes) -> bytes:
    """The workbook as Excel writes it, where openpyxl keeps texts in their cells: equal texts are one shared string."""
    strings: dict[bytes, int] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        parts = {n: package.read(n) for n in package.namelist()}
    for name in [n for n in parts if n.startswith("xl/worksheets/sheet")]:
        parts[name] = re.sub(rb't="inlineStr"><is>(.*?)</is>', lambda m: b't="s"><v>%d</v>' % strings.setdefault(m[1], len(strings)), parts[name], flags=re.DOTALL)
    parts["xl/sharedStrings.xml"] = b"<sst xmlns=\"" + MAIN + b'">' + b"".join(b"<si>%s</si>\n" % text for text in strings) + b"</sst>"
    return zipped(parts | {RELS: parts[RELS].replace(b"</Relationships>", b'<Relationship Id="strings" Type="' + STRINGS + b'" Target="/xl/sharedStrings.xml"/></Relationships>')})


@pytest.mark.parametrize("value, shown", [
    ("0012", "0012"), (1.0, "1"), (-0.0, "0"), (1.5, "1.5"), (0.1 + 0.2, "0.3"), (1e-7, "0.0000001"), (123456789012345.0, "123456789012345"),
    (1.10105194912310e17, "1.10105E+17"), (1e15, "1E+15"), (-2.5, "-2.5"), (float("nan"), ""), (float("inf"), ""), (True, "TRUE"), (dt.date(2020, 1, 2), "2020-01-02"),
    (dt.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02 03:04:05"), (dt.time(3, 4), "03:04:00"), (dt.timedelta(hours=30), "30:00:00"), (None, "")])
def test_cells_are_text_as_the_sheet_shows_them(value, shown):
    assert cell(value) == shown


def test_titles_blank_and_wide_rows_and_the_rows_after_them(bench):
    rows = [["某某单位名单"], [], HEADER, ["0012", dt.date(2020, 1, 2), 110105194912310021], [], ["x", None, 1.5, "extra"], ["y"], [" ", None], HEADER]
    got = bench.read(book(("表", rows)), format="xlsx", spelled=SPELLED)
    assert got.unit.header == tuple(HEADER)
    assert got.rows == [(1, "0012", "2020-01-02", "1.10105E+17"), (4, "y", "", "")]
    assert got.reading.rejects == [(3, "width"), (6, "repeat")]
    r = got.reading
    assert (r.lines, r.header, r.blank, r.records, r.unparseable, r.by) == (9, 3, 2, 2, 2, "lines")
    assert (got.unit.form, got.unit.header_row, got.unit.evidence) == ("xlsx", 3, "xlsx; sheet 1 of 1; header in row 3 names 3 columns of the contract")


@pytest.mark.parametrize("form", forms.BOOKS)
def test_the_header_is_the_row_that_names_columns(bench, form):
    rows = [["名单", None, None], ["单位：万元", "二〇二〇", None], ["人员", "其他", None], ["证件号码", None, None], [None, "日期", "金额"], ["1", "2", "3"]]
    out = io.BytesIO()
    if form == "xls":
        made = xlwt.Workbook()
        sheet = made.add_sheet("a")
        for r, row in enumerate(rows):
            for c, value in enumerate(row):
                if value:
                    sheet.write(r, c, value)
        out.write(saved(made))
    else:
        pd.DataFrame(rows).to_excel(out, header=False, index=False, engine={"xlsx": "openpyxl", "ods": "odf"}[form])
    got = bench.read(out.getvalue(), format=form, spelled=SPELLED)
    assert (got.unit.header, got.unit.header_row, got.unit.header_lines) == (tuple(HEADER), 5, 5)
    assert got.rows == [(1, "1", "2", "3")]


def test_sheets_with_the_same_header_go_on_and_others_do_not_count(bench):
    content = book(("说明", [["填", "表"]]), ("隐藏", [HEADER, ["h"]], "hidden"), ("空", []), ("一", [["名单"], HEADER, ["1"]]), ("不同", [HEADER[:2], ["x"]]),
                   ("二", [HEADER[::-1], ["2"]]))
    got = bench.read_all(content, format="xlsx", spelled=SPELLED)
    assert [(g.unit.number, g.unit.member, g.unit.header, g.cells[0][0]) for g in got] == [(1, "一", tuple(HEADER), "1"), (2, "二", tuple(HEADER[::-1]), "2")]
    assert got[0].unit.evidence == "xlsx; sheet 4 of 6; 2 other visible sheets with text are not read; header in row 2 names 3 columns of the contract"
    [named] = bench.read_all(content, format="xlsx", sheet="隐藏")
    assert named.cells == [["h", "", ""]] and "隐藏" not in repr(named.unit)
    assert bench.refused(content, format="xlsx", sheet="无") == "sheet"


def test_a_sheet_without_header_takes_the_contracts(bench):
    got = bench.read(book(("一", [["a", "b", "c"], ["d"], [1, 2, 3, 4]])), format="xlsx", header=tuple(HEADER))
    assert got.rows == [(1, "a", "b", "c"), (2, "d", "", "")] and got.reading.rejects == [(3, "width")]
    assert (got.unit.header_lines, got.unit.header_row) == (0, 0)


def test_one_column_and_raw_rows(bench):
    manifest, source, scratch = bench.land(book(("一", [["号码"], ["a"], [None], ["b"]])), format="xlsx")
    table = readers.raw_rows(bench.con, manifest, source, [(1, 3)], scratch)
    assert bench.con.execute(f"FROM {table}").fetchall() == [(1, 3, ["b"], None)]


def test_trailers_count_the_records(bench):
    rows = [HEADER, ["1"], ["2", None, None, "wide"], []]
    got = bench.read(book(("一", [*rows, ["合计", None, 2], []])), format="xlsx", trailer=r"^合计,,(\d+)$")
    assert (got.reading.trailer, got.reading.records, got.reading.rejects, got.unit.expected) == (1, 1, [(2, "width")], 2)
    assert bench.refused(book(("一", [*rows, ["合计", None, 3]])), format="xlsx", trailer=r"^合计,,(\d+)$") == "row_count"
    assert bench.refused(book(("一", rows)), format="xlsx", trailer=r"^合计,,(\d+)$") == "trailer"
    for counts, code in (((1, 1), None), ((None, 2), None), ((None, 3), "row_count"), ((1, 2), "row_count"), ((1, None), "trailer")):
        content = book(*((str(i), [HEADER, ["x"], *([["合计", count]] if count else [])]) for i, count in enumerate(counts)))
        if code:
            assert bench.refused(content, format="xlsx", trailer=r"合计,(\d+)") == code
        else:
            assert [g.reading.records for g in bench.read_all(content, format="xlsx", trailer=r"合计,(\d+)")] == [1, 1]


def test_a_package_that_unpacks_too_far_is_refused(bench, monkeypatch):
    monkeypatch.setattr(extracted.archives, "FREE_RATIO", 1 << 20)
    monkeypatch.setattr(extracted.archives, "MAX_RATIO", 2)
    assert bench.refused(repacked(book(("一", [HEADER])), "docProps/app.xml", b"<", b" " * (2 << 20) + b"<"), format="xlsx") == "archive"


@pytest.mark.parametrize("content, code", [(b"", "empty"), (b"not a workbook", "form"), (b"PK\x03\x04 broken", "archive"),
                                           (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "form"), (book(("空", [])), "sheet"),
                                           (zipped({"xl/workbook.xml": b"<x/>"}), "office"), (books.xls_with_password(), "password"), (books.xlsx_with_password(), "password"),
                                           (book(("一", [["c"] * 10_001])), "columns")])
def test_what_is_no_workbook_is_refused(bench, content, code):
    assert bench.refused(content, format="xlsx") == code


def test_a_sheet_of_17_billion_cells_costs_only_its_row(bench):
    made = openpyxl.Workbook()
    for place, value in (("A1", "a"), ("B1", "b"), ("A2", "1"), ("XFD1048576", "x"), ("AA3", None)):
        made.active[place] = value
    got = bench.read(saved(made), format="xlsx")
    assert got.rows == [(1, "1", "")] and got.reading.rejects == [(1_048_575, "width")] and got.reading.blank == 1_048_573


KINDS = [1, 1.5, 0.1 + 0.2, 110105194912310021, 1e20, -3, True, False, "文本", "  两端 ", "a\nb", "=1+1", "x_x000D_y", "<&>\"'", 't="s"', dt.date(2020, 1, 2),
         dt.datetime(2020, 1, 2, 3, 4, 5), dt.datetime(1900, 1, 1), dt.time(3, 4, 5), dt.timedelta(hours=30, seconds=5), "#N/A", None, "长" * 300]


def many_kinds() -> bytes:
    """Every kind of cell under every kind of number format, with gaps between rows and columns."""
    made = openpyxl.Workbook()
    sheet = made.active
    sheet.append(["h", "值"])
    number = 2
    for value in KINDS:
        for format_ in ("General", "0.00%", "yyyy-mm-dd", 'yyyy"年"m"月"d"日"', "[h]:mm:ss", "[$-804]aaaa;@", "0.00E+00", "@", "mm:ss.0", "[Red]0;[Blue]-0"):
            sheet.cell(number, 1, format_)
            placed = sheet.cell(number, 2 + number % 3)
            placed.value = value
            if value == "#N/A":
                placed.data_type = "e"
            if not isinstance(value, (str, bool)) and not (format_ == "[h]:mm:ss" and value in (1e20, 110105194912310021)):      # no time is that long
                placed.number_format = format_
            number += 1 + (number % 7 == 0)
    return saved(made)


INLINE = (b'<row r="400"><c r="A400" t="inlineStr"><is><r><t>a</t></r><r><t xml:space="preserve"> b</t></r><rPh sb="0" eb="1"><t>ph</t></rPh></is></c>'
          b'<c t="str"><f>A1</f><v>cached</v></c><c><f>1+1</f><v>2</v></c><c t="b"><f>1=1</f><v>1</v></c><c t="d"><v>2020-01-02</v></c></row>'
          b'<row/><row><c><v>7</v></c></row><row r="500" hidden="1"><c r="C500"/><c r="D500" s="0"><v>8</v></c></row></sheetData>')


@pytest.mark.parametrize("part, cells", [(8 << 20, 4_000_000), (500, 4_000_000), (3_000, 60)])
def test_a_workbook_in_parts_says_what_calamine_says_of_the_whole(tmp_path, monkeypatch, part, cells):
    monkeypatch.setattr(child.modules().sheet_parts, "PART", part)
    monkeypatch.setattr(child.modules().sheet_parts, "CELLS", cells)
    plain = repacked(many_kinds(), SHEET, b"</sheetData>", INLINE)
    for content in (plain, shared(plain), repacked(shared(plain), "xl/workbook.xml", b"<workbookPr />", b'<workbookPr date1904="1"/>')):
        path = tmp_path / "book"
        path.write_bytes(content)
        whole = [(n, child.modules().sheets.filled(row)) for n, row in child.modules().sheets.Whole(str(path), "xlsx", tmp_path).rows("Sheet") if child.modules().sheets.filled(row)]
        with child.modules().sheet_parts.Parts(str(path), tmp_path) as parts:
            found = [(n, child.modules().sheets.filled(row)) for n, row in parts.rows("Sheet") if child.modules().sheets.filled(row)]
        assert found == whole and len(found) > 200
        assert dict(found)[400] == ["a b", "cached", "2", "TRUE", "2020-01-02"] and dict(found)[402] == ["7"] and dict(found)[500] == ["", "", "", "8"]
        assert "1.10105E+17" in {row[-1] for _, row in found}


@pytest.mark.parametrize("old, new", [(b'<row r="2"', b'<row r="1"'), (b'<row r="3"', b'<row r="2"'), (b'<row r="3"', b'<row r="1048577"'), (b'r="B2"', b'r="B7"'),
                                      (b'r="B2"', b'r="XFE2"'), (b"<v>1</v>", b"<v>99</v>"), (b"</sheetData>", b"")])
def test_rows_that_would_hide_others_and_broken_sheets_are_refused(bench, old, new):
    assert bench.refused(repacked(shared(book(("一", [["a", "b"], ["c", "d"], ["e", "f"]]))), SHEET, old, new), format="xlsx") == "office"


def test_prefixed_elements_wrong_dimensions_and_rows_without_numbers(bench):
    content = shared(book(("一", [["a", "b"], ["c", "d"], ["e", None]])))
    rows = [(1, "c", "d"), (2, "e", "")]
    for old, new in ((b'ref="A1:B3"', b'ref="A1:A1"'), (b'<row r="3"', b"<row"), (b' r="B2"', b""), (b'r="2"', b'spans="1:2" r="2"'), (b't="s"', b"t='s'"), (b't="s"', b't = "s"')):
        assert bench.read(repacked(content, SHEET, old, new), format="xlsx").rows == rows
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        parts = {n: package.read(n) for n in package.namelist()}
    for name in (SHEET, "xl/sharedStrings.xml"):
        parts[name] = re.sub(rb"<(/?)(?=\w)", rb"<\1x:", parts[name]).replace(b"xmlns=", b"xmlns:x=")
    assert bench.read(zipped(parts), format="xlsx").rows == rows


def test_tabs_and_line_breaks_in_ods_stay(bench):
    out = io.BytesIO()
    pd.DataFrame([["a", "b"], ["x@y", "1"]]).to_excel(out, header=False, index=False, engine="odf")
    content = repacked(out.getvalue(), "content.xml", b' office:string-value="x@y"', b"")
    for element, shown in ((b"<text:tab/>", "\t"), (b"<text:line-break/>", "\n"), (b'<text:s text:c="2"/>', "  ")):
        assert bench.read(repacked(content, "content.xml", b"@", element), format="ods").rows == [(1, f"x{shown}y", "1")]


@child.FEW
@given(child.TABLES, st.booleans())
def test_xlsx_written_is_xlsx_read(tmp_path_factory, rows, in_common):
    header = ["甲", "乙", "丙", "丁"][:len(rows[0])]
    made = openpyxl.Workbook()
    for r, row in enumerate([header, *rows], 1):
        for c, value in enumerate(row, 1):
            if value:
                made.active.cell(r, c).value = value
                made.active.cell(r, c).data_type = "s"
    [(named, found, facts)] = child.extract(child.modules().sheets, tmp_path_factory.mktemp("x"), (shared if in_common else lambda c: c)(saved(made)), "xlsx", spelled=[[h] for h in header])
    kept = [row for row in rows if any(v.strip() for v in row) and row != header]
    assert named == header
    assert [child.modules().sheets.filled(r) for r in found] == [child.modules().sheets.filled(r) for r in kept]
    assert facts["lines"] == 1 + facts["blank"] + facts["records"] + len(facts["rejects"])
