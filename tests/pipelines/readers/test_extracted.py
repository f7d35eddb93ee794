"""Extracted forms: cells as the sheet shows them, records with all their digits, hostile documents refused."""
from __future__ import annotations

import datetime as dt
import importlib
import io
import json
import re
import string
import struct
import sys
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.sax.saxutils import escape

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlwt
from hypothesis import given, settings, strategies as st

from pipelines import readers
from pipelines.readers import extracted, forms
from pipelines.readers.cells import cell
from tests.corpus.boxes import zipped
from tests.corpus.documents import dbf

HEADER = ["证件号码", "日期", "金额"]
SPELLED = [[h] for h in HEADER]
SHEET, RELS = "xl/worksheets/sheet1.xml", "xl/_rels/workbook.xml.rels"
MAIN = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
STRINGS = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None)


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


@pytest.fixture(scope="module")
def inside() -> Iterator[SimpleNamespace]:
    """The modules of the child program, in this process."""
    folder = str(Path(extracted.__file__).parent)
    sys.path.insert(0, folder)
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in ("sheets", "sheet_parts", "json_records", "dbf_records", "xml_records", "spool")})
    finally:
        sys.path.remove(folder)


def extract(module: Any, root: Path, content: bytes, form: str, **order: Any) -> list[tuple[list[str], list[list[str]], dict]]:
    """(header, rows, facts) of every table, without a child process."""
    root.mkdir(exist_ok=True)
    (root / "document").write_bytes(content)
    plain = {"form": form, "path": str(root / "document"), "sheet": None, "header": [], "record_path": None, "trailer": None, "encoding": "auto", "spelled": []}
    tables = module.extract(plain | order, root)
    return [(t["header"], [list(r.values())[:-1] for r in pq.read_table(t["path"]).to_pylist()], t) for t in tables]


# --- sheets ---------------------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("content, code", [(b"", "empty"), (b"not a workbook", "form"), (b"PK\x03\x04 broken", "archive"),
                                           (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "form"), (book(("空", [])), "sheet"),
                                           (zipped({"xl/workbook.xml": b"<x/>"}), "office"),
                                           (book(("一", [["c"] * 10_001])), "columns")])
def test_what_is_no_workbook_is_refused(bench, content, code):
    assert bench.refused(content, format="xlsx") == code


def test_a_package_that_unpacks_too_far_is_refused(bench, monkeypatch):
    monkeypatch.setattr(extracted.archives, "FREE_RATIO", 1 << 20)
    monkeypatch.setattr(extracted.archives, "MAX_RATIO", 2)
    assert bench.refused(repacked(book(("一", [HEADER])), "docProps/app.xml", b"<", b" " * (2 << 20) + b"<"), format="xlsx") == "archive"


def test_a_child_that_needs_too_much_is_refused(bench, monkeypatch):
    monkeypatch.setattr(extracted, "memory_mb", lambda: 0)
    monkeypatch.setattr(extracted, "MIN_MB", 400)
    assert bench.refused(json.dumps([{"a": "x" * 100_000_000}]).encode(), format="json") == "memory"


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
def test_a_workbook_in_parts_says_what_calamine_says_of_the_whole(inside, tmp_path, monkeypatch, part, cells):
    monkeypatch.setattr(inside.sheet_parts, "PART", part)
    monkeypatch.setattr(inside.sheet_parts, "CELLS", cells)
    plain = repacked(many_kinds(), SHEET, b"</sheetData>", INLINE)
    for content in (plain, shared(plain), repacked(shared(plain), "xl/workbook.xml", b"<workbookPr />", b'<workbookPr date1904="1"/>')):
        path = tmp_path / "book"
        path.write_bytes(content)
        whole = [(n, inside.sheets.filled(row)) for n, row in inside.sheets.Whole(str(path), "xlsx").rows("Sheet") if inside.sheets.filled(row)]
        with inside.sheet_parts.Parts(str(path), tmp_path) as parts:
            found = [(n, inside.sheets.filled(row)) for n, row in parts.rows("Sheet") if inside.sheets.filled(row)]
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


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\ufffe\uffff\U0010ffff\U0010fffe"), max_size=8)
TABLES = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(WORDS, min_size=width, max_size=width), min_size=1, max_size=6))


@FEW
@given(TABLES, st.booleans())
def test_xlsx_written_is_xlsx_read(inside, tmp_path_factory, rows, in_common):
    header = ["甲", "乙", "丙", "丁"][:len(rows[0])]
    made = openpyxl.Workbook()
    for r, row in enumerate([header, *rows], 1):
        for c, value in enumerate(row, 1):
            if value:
                made.active.cell(r, c).value = value
                made.active.cell(r, c).data_type = "s"
    [(named, found, facts)] = extract(inside.sheets, tmp_path_factory.mktemp("x"), (shared if in_common else lambda c: c)(saved(made)), "xlsx", spelled=[[h] for h in header])
    kept = [row for row in rows if any(v.strip() for v in row) and row != header]
    assert named == header
    assert [inside.sheets.filled(r) for r in found] == [inside.sheets.filled(r) for r in kept]
    assert facts["lines"] == 1 + facts["blank"] + facts["records"] + len(facts["rejects"])


# --- JSON -----------------------------------------------------------------------------------------------------------

def test_numbers_keep_their_digits_and_nested_values_are_text(bench):
    text = '[{"n": 110105194912310021, "d": 1.50, "e": 0.0000001, "x": -0.0, "big": 1e400, "t": true, "z": null, "o": {"键": [1, 2.50, "x"], "l": []}}, {"late": "y"}]'
    for content, form in ((text, "json"), (text[1:-1].replace("}, {", "}\n{"), "jsonl")):
        got = bench.read(content.encode(), format=form)
        assert got.unit.header == ("n", "d", "e", "x", "big", "t", "z", "o", "late") and got.unit.form == form
        assert got.rows[0][:5] == (1, "110105194912310021", "1.50", "0.0000001", "-0.0") and got.rows[0][5].lower().replace("+", "") == "1e400"
        assert got.rows[0][6:] == ("true", "", '{"键":[1,2.50,"x"],"l":[]}', "") and got.rows[1] == (2, *[""] * 8, "y")


@pytest.mark.parametrize("document, path, code", [
    ('{"code": 0, "data": {"rows": [{"a": "1"}]}, "ids": [1, 2]}', None, None), ('{"a": [{"a": "2"}], "b": {"c": [{"a": "1"}]}}', "b.c", None),
    ('{"a": [{"a": "2"}], "b": [{"a": "1"}]}', None, "record_path"), ('{"rows": [{"a": "1"}]}', "row", "record_path"), ('{"n": {"rows": [{"a": "1"}]}}', "n", "record_path"),
    ("[1, 2]", None, "record_path"), ('{"rows": []}', None, "header"), ("[]", None, "header"), ('{"rows": []}', "rows", "header"), ("[{}]", None, "header"),
    ('[[{"a": "1"}]]', None, "record_path")])
def test_the_list_of_records_is_declared_or_the_only_one(bench, document, path, code):
    if code:
        assert bench.refused(document.encode(), format="json", record_path=path) == code
    else:
        assert bench.read(document.encode(), format="json", record_path=path).rows == [(1, "1")]


def test_records_that_are_none_are_rejected_and_the_rest_is_read(bench):
    document = '[{"a": "1"}, 5, null, [], {"a": 1, "a": 2}, {"a": {"b": 1, "b": 2}}, {"a": "x\\u0000"}, {"b\\u0000": 1}, {"a": "张三李四王五赵六钱七�"}, {}, {"a": "2"}]'
    content = document.encode().replace("�".encode(), b"\xff")
    reasons = [(2, "json"), (3, "json"), (4, "json"), (5, "repeat"), (6, "repeat"), (7, "nul"), (8, "nul"), (9, "encoding")]
    got = bench.read(content, format="json")
    assert got.unit.header == ("a",) and got.rows == [(1, "1"), (10, ""), (11, "2")] and got.reading.rejects == reasons
    lined = b'{"a": "0"}\n' + re.sub(rb", (?=[{5n\[])", b"\n", content[1:-1])
    got = bench.read(lined, format="jsonl")
    assert got.unit.form == "jsonl" and got.rows == [(1, "0"), (2, "1"), (11, ""), (12, "2")] and got.reading.rejects == [(n + 1, reason) for n, reason in reasons]


def test_json_lines_count_every_line(bench):
    got = bench.read(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2,}\r\n{"a": NaN}\r\n{"a": 3}{"a": 4}\r\n{"a": "\\ud800"}\r\n  \r\n{"b": 5}\r\n{"a": "x', format="jsonl")
    assert got.rows == [(1, "1", ""), (8, "", "5")]
    assert got.reading.rejects == [(3, "json"), (4, "json"), (5, "json"), (6, "encoding"), (9, "cut")]
    assert (got.reading.lines, got.reading.blank) == (9, 2)


@pytest.mark.parametrize("content", [b'[{"a": 1}', b'[{"a": 1}, {"a"', b'[{"a": 1}] x', b'[{"a": 1},]', b'[{"a": 01}]', b'[{"a": NaN}]', b"[" * 100_000, b'[{"a": ' + b"[" * 600 + b"]" * 600 + b", "])
def test_broken_json_is_refused_whole(bench, content):
    assert bench.refused(content, format="json") == "json"


def test_too_many_keys_and_too_many_bad_records_are_refused(bench, inside, monkeypatch, tmp_path):
    many = [{f"k{n}": 1} for n in range(10_001)]
    assert bench.refused(json.dumps(many).encode(), format="json") == "columns"
    monkeypatch.setattr(inside.spool, "MAX_REJECTS", 3)
    with pytest.raises(inside.spool.Refused, match="unparseable"):
        extract(inside.json_records, tmp_path, b'[{"a": 1}' + b", 1" * 4 + b"]", "json")


VALUES = st.recursive(st.none() | st.booleans() | st.integers(-10**20, 10**20) | st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str) | WORDS,
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=5)


@FEW
@given(st.lists(st.dictionaries(WORDS, VALUES, min_size=1, max_size=4), min_size=1, max_size=5), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_written_is_json_read(inside, tmp_path_factory, records, indent, ascii_only):
    def shown(value: Any) -> str:
        return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    keys = list(dict.fromkeys(k for r in records for k in r))
    expected = [[shown(r.get(k)) for k in keys] for r in records]
    root = tmp_path_factory.mktemp("j")
    whole = json.dumps({"n": 1, "数据": {"行": records}}, ensure_ascii=ascii_only, indent=indent)
    lined = "\n".join(json.dumps(r, ensure_ascii=ascii_only) for r in records)
    for content, form in ((whole, "json"), (lined, "jsonl")):
        [(header, rows, _)] = extract(inside.json_records, root, content.encode(), form, record_path="数据.行")
        assert (header, rows) == (keys, expected)


# --- XML ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("document, path, header, rows", [
    ("<d><r><a>1</a><b>2</b></r><r><b>3</b></r></d>", None, ("a", "b"), [("1", "2"), ("", "3")]),
    ("<d><n>2</n><l><r><a>1</a></r><r><a/></r></l></d>", None, ("a",), [("1",), ("",)]),
    ('<d><r a="1" b="2"/><r a="3"><b>4</b></r></d>', None, ("a", "@b", "b"), [("1", "2", ""), ("3", "", "4")]),
    ("<d><l><r><a>1</a></r></l></d>", None, ("a",), [("1",)]), ("<d><r><a>1</a><b><c>2</c></b></r></d>", "d.r", ("a", "b.c"), [("1", "2")]),
    ("<d><r>1</r><r>2</r></d>", None, ("r",), [("1",), ("2",)]),
    ('<d><r><p>x<q k="1">y</q>z</p></r><r><p><q>v</q></p></r></d>', None, ("p", "p.q.k", "p.q"), [("xz", "1", "y"), ("", "", "v")]),
    ("<d><p><r><a>1</a></r></p><p><r><a>2</a></r><r><a>3</a></r></p></d>", "d.p.r", ("a",), [("1",), ("2",), ("3",)]),
    ('<x:d xmlns:x="u" xmlns="v"><x:r><a x:k="0">1</a></x:r><x:r><a> 2\n</a></x:r></x:d>', None, ("a.k", "a"), [("0", "1"), ("", " 2\n")]),
    ("<d><r><a><![CDATA[<&>]]>&lt;&#20013;</a></r><r><a>1<!-- c -->2</a></r></d>", None, ("a",), [("<&>&lt;中".replace("&lt;", "<"),), ("12",)])])
def test_xml_records(bench, document, path, header, rows):
    for text in (document, f'<?xml version="1.0" encoding="GB18030"?>\n{document}'):
        got = bench.read(text.encode(), format="xml", record_path=path)
        assert got.unit.header == header and got.cells == [list(r) for r in rows]


def test_fields_that_repeat_and_damaged_text_cost_their_record(bench):
    content = "<d><r><a>1</a><a>2</a></r><r><a>张三李四王五赵六钱七�</a></r><r><a>3</a></r><s/></d>".encode().replace("�".encode(), b"\xff")
    got = bench.read(content, format="xml")
    assert got.rows == [(3, "3")] and got.reading.rejects == [(1, "repeat"), (2, "encoding")]


@pytest.mark.parametrize("document, code", [
    ('<!DOCTYPE d [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><d><r><a>&b;</a></r></d>', "entity"), ('<!DOCTYPE d SYSTEM "file:///etc/passwd"><d><r/></d>', "entity"),
    ('<?xml version="1.0"?><!DOCTYPE d><d><r><a>1</a></r></d>', "entity"), ("<d><r><a>&e;</a></r></d>", "xml"), ("<d><r><a>1</a></r><r>", "xml"),
    ("<d><r><a>1</a></r></d><d/>", "xml"), ("<d><r><a>1</r></d>", "xml"), ("<d><r><a>1</a></r><r/><s/><s/></d>", "record_path"), ("<d>\n</d>", "header"),
    ("<d><a>1</a><b>2</b></d>", "record_path"), ("<d><r/><r/></d>", "header"), ("<d>" + "<r>" * 5_000 + "<a>1</a>" + "</r>" * 5_000 + "<r/></d>", "xml"),
    ('<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"><Styles/></Workbook>', "form")])
def test_hostile_broken_and_unclear_xml_is_refused(bench, document, code):
    assert bench.refused(document.encode(), format="xml") == code


@FEW
@given(TABLES)
def test_xml_written_is_xml_read(inside, tmp_path_factory, rows):
    names = ["甲", "乙", "c", "d-1.x"][:len(rows[0])]
    body = "".join("<r>" + "".join(f"<{n}>{escape(v)}</{n}>" for n, v in zip(names, row)) + "</r>" for row in rows)
    [(header, found, _)] = extract(inside.xml_records, tmp_path_factory.mktemp("x"), f"<d>{body}</d>".encode(), "xml", record_path="d.r")
    assert (header, found) == (names, rows)


# --- dBASE ----------------------------------------------------------------------------------------------------------

def table(fields: list[tuple[bytes, bytes, int]], rows: list[bytes], version: int = 3, driver: int = 0, count: int | None = None) -> bytes:
    """A table of (name, type, width) and raw records, deletion mark included."""
    described = b"".join(struct.pack("<11sc4xBB14x", name, kind, width, 0) for name, kind, width in fields)
    head = struct.pack("<B3BIHH17xB2x", version, 126, 11, 1, len(rows) if count is None else count, 33 + len(described), 1 + sum(f[2] for f in fields), driver)
    return head + described + b"\r" + b"".join(rows) + b"\x1a"


def test_every_kind_of_field(bench):
    fields = [(b"NAME", b"C", 8), (b"N", b"N", 10), (b"D", b"D", 8), (b"L", b"L", 1), (b"I", b"I", 4), (b"F", b"F", 6)]
    rows = [b" " + "张三".encode("gbk").ljust(8) + b"   0012.50" + b"20200102" + b"T" + struct.pack("<i", -7) + b"1.5000",
            b"*" + b"gone".ljust(8) + b" " * 10 + b" " * 8 + b"?" + bytes(4) + b" " * 6,
            b" " + bytes(8) + b"**********" + b"00000000" + b"?" + bytes(4) + bytes(6), b" " + b" x".ljust(8) + b"1".rjust(10) + b"20201399" + b"n" + bytes(4) + b"-1e3".rjust(6)]
    got = bench.read(table(fields, rows), format="dbf")
    assert got.unit.header == ("NAME", "N", "D", "L", "I", "F")
    assert got.rows == [(1, "张三", "0012.50", "2020-01-02", "T", "-7", "1.5000"), (3, "", "**********", "", "", "0", ""), (4, " x", "1", "20201399", "n", "0", "-1e3")]
    assert (got.reading.lines, got.reading.blank, got.reading.records, got.unit.encoding) == (4, 1, 3, "gb18030")


@pytest.mark.parametrize("encoding, driver, options, name", [
    ("gbk", 0x4D, {}, "gb18030"), ("gbk", 0, {}, "gb18030"), ("gbk", 0x03, {}, "gb18030"), ("gb18030", 0x7A, {}, "gb18030"), ("utf-8", 0, {}, "utf-8"), ("big5", 0x78, {}, "big5hkscs"),
    ("big5", 0, {"encoding": "big5"}, "big5hkscs"), ("utf-8", 0x4D, {"encoding": "utf-8"}, "utf-8")])
def test_encodings_of_tables(bench, encoding, driver, options, name):
    got = bench.read(dbf(("名", "地址"), [("張三", "銀川市"), ("李四", "a")], encoding, driver), format="dbf", **options)
    assert got.unit.header == ("名", "地址") and got.cells == [["張三", "銀川市"], ["李四", "a"]] and got.unit.encoding == name


def test_damaged_texts_cost_their_record_and_private_use_is_mapped(bench):
    whole = dbf(("N",), [("张三",), ("李四",), ("王五",)])
    got = bench.read(whole.replace("李四".encode("gbk"), b"\xfe\x59\xc0\xff"), format="dbf")
    assert got.cells == [["张三"], ["王五"]] and got.reading.rejects == [(2, "encoding")]
    got = bench.read(whole.replace("李四".encode("gbk"), b"\xfe\x59ab"), format="dbf")
    assert got.cells[1] == ["\u9fb4ab"] and got.unit.repairs == 1


def test_a_table_must_hold_the_records_it_counts(bench):
    whole = dbf(("N",), [("a",), ("b",), ("c",)])
    assert bench.read(whole[:-1], format="dbf").cells == bench.read(whole + bytes(100), format="dbf").cells == [["a"], ["b"], ["c"]]
    for content in (whole[:-3], whole[:68], whole + b" d", whole[:-1] + b" d\x1a", whole[:4] + b"\x02\0\0\0" + whole[8:], whole[:4] + b"\xff\xff\xff\xff" + whole[8:],
                    whole[:10] + b"\x09\0" + whole[12:], whole.replace(b" b", b"\x1ab"), whole[:43] + b"Q" + whole[44:]):
        assert bench.refused(content, format="dbf") == "dbf"


def test_memos_are_read_from_the_zip_and_missed_without(bench):
    memo = "很长的说明".encode("gbk")
    made = table([(b"N", b"C", 1), (b"M", b"M", 10)], [b" a" + b"1".rjust(10), b" b" + b" " * 10], version=0xF5, driver=0x4D)
    fpt = struct.pack(">LHH504x", 2, 0, 512) + struct.pack(">LL", 1, len(memo)) + memo
    assert bench.read(zipped({"x.dbf": made, "X.FPT": fpt}), format="dbf").cells == [["a", "很长的说明"], ["b", ""]]
    assert bench.refused(made, format="dbf") == "dbf" and bench.refused(zipped({"x.dbf": made, "x.fpt": fpt[:-3]}), format="dbf") == "dbf"


@FEW
@given(st.lists(st.tuples(st.text(st.sampled_from(string.printable[:95] + "张三李四，·"), max_size=6), st.integers(-10**9, 10**9), st.dates(), st.booleans()), max_size=6))
def test_dbf_written_is_dbf_read(inside, tmp_path_factory, rows):
    """Trailing blanks are padding and cannot be told from text."""
    fields = [(b"C", b"C", 12), (b"N", b"N", 11), (b"D", b"D", 8)]
    raw = [(b"*" if gone else b" ") + text.encode("gbk").ljust(12) + str(n).encode().rjust(11) + f"{day:%Y%m%d}".rjust(8, "0").encode() for text, n, day, gone in rows]
    [(_, found, facts)] = extract(inside.dbf_records, tmp_path_factory.mktemp("d"), table(fields, raw, driver=0x4D), "dbf")
    assert found == [[text.rstrip(" "), str(n), day.isoformat()] for text, n, day, gone in rows if not gone]
    assert (facts["lines"], facts["blank"]) == (len(rows), sum(r[3] for r in rows))


# --- Parquet --------------------------------------------------------------------------------------------------------

def parquet(columns: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def test_parquet_columns_become_text(bench):
    moment = dt.datetime(2020, 1, 2, 3, 4, 5)
    got = bench.read(parquet({
        "d": [1.0, 110105194912310021.0, 110105491231002.0, 0.5, None, -2.0], "f": pa.array([1.0, 2.0**24, 0.5, None, -1.0, 20200102.0], pa.float32()), "i": [2**60] * 6,
        "t": ["a", "", None, "x", "y", "z"], "b": pa.array([b"\xe5\xbc\xa0", b"", None, b"1", b"2", b"3"]), "day": [moment.date()] * 6, "ts": pa.array([moment] * 6, pa.timestamp("ms")),
        "tz": pa.array([moment] * 6, pa.timestamp("us", "UTC")), "l": [[1, 2], [], None, [3], [4], [5]], "s": [{"键": 1, "x": {"y": "z"}}] * 6, "bool": [True, False, None] * 2,
        "dec": pa.array([Decimal(1), Decimal(2), None, Decimal(3), Decimal(4), Decimal("5.5")], pa.decimal128(12, 2)), "select": ["'; DROP TABLE t; --"] * 6}), format="parquet")
    assert got.unit.header == ("d", "f", "i", "t", "b", "day", "ts", "tz", "l", "s", "bool", "dec", "select") and got.unit.form == "parquet"
    columns = list(zip(*got.rows))
    assert columns[:4] == [(1, 2, 3, 4, 5, 6), ("1", "1.10105E+17", "110105491231002", "0.5", "", "-2"), ("1", "1.67772E+07", "0.5", "", "-1", "2.02001E+07"), (str(2**60),) * 6]
    assert columns[4:6] == [("a", "", "", "x", "y", "z"), ("张", "", "", "1", "2", "3")]
    assert [c[0] for c in columns[6:9]] == ["2020-01-02", "2020-01-02 03:04:05", "2020-01-02 11:04:05"]
    assert columns[9][:3] == ("[1,2]", "[]", "") and columns[10][0] == '{"键":1,"x":{"y":"z"}}' and columns[11][:3] == ("true", "false", "") and columns[12][0] == "1.00"


def test_parquet_headers_keep_names_that_repeat_and_nested_ones_at_the_top(bench):
    twice = pa.Table.from_arrays([pa.array([{"a": 1}]), pa.array(["1"]), pa.array([[{"n": 1}]]), pa.array(["2"])], names=["s", "n", "l", "n"])
    out = io.BytesIO()
    pq.write_table(twice, out)
    got = bench.read(out.getvalue(), format="parquet")
    assert got.unit.header == ("s", "n", "l", "n") and got.rows == [(1, '{"a":1}', "1", '[{"n":1}]', "2")]


def test_broken_parquet_is_refused(bench):
    whole = parquet({"a": [f"值{n}" for n in range(5_000)]})
    for content in (whole[:-30], whole[:len(whole) // 2], whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:], whole[:100] + b"\xff" * 200 + whole[300:],
                    parquet({"a": pa.array([b"\xff\xfe"])})):
        assert bench.refused(content, format="parquet") == "parquet"
    assert bench.refused(parquet({f"c{n}": [1] for n in range(10_001)}), format="parquet") == "columns"
    assert bench.con.execute("SELECT 1").fetchone() == (1,)
