"""XML: one list of records, whatever nests in them; entities, broken and unclear documents are refused."""
from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import given

from tests.pipelines.readers import child


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


@child.FEW
@given(child.TABLES)
def test_xml_written_is_xml_read(tmp_path_factory, rows):
    names = ["甲", "乙", "c", "d-1.x"][:len(rows[0])]
    body = "".join("<r>" + "".join(f"<{n}>{escape(v)}</{n}>" for n, v in zip(names, row)) + "</r>" for row in rows)
    [(header, found, _)] = child.extract(child.modules().xml_records, tmp_path_factory.mktemp("x"), f"<d>{body}</d>".encode(), "xml", record_path="d.r")
    assert (header, found) == (names, rows)
