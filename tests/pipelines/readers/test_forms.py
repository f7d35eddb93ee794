"""Forms are told by content: names are ignored, and a header that looks like something else stays a header."""
from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.readers import ReadRefused, forms
from tests.corpus import books, documents, hostile
from tests.corpus.boxes import zipped

TABLE = (("a", "b"), [("1", "2")])


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": ["1"]}), out)
    return out.getvalue()


@pytest.mark.parametrize("content, form", [
    (books.xlsx(*TABLE), "xlsx"), (books.xls(*TABLE), "xls"), (books.ods(*TABLE), "ods"), (documents.dbf(*TABLE), "dbf"), (parquet(), "parquet"),
    (zipped({"xl/workbook.bin": b"x"}), "xlsx"), (documents.dbf(*TABLE)[:100], "dbf"), (parquet()[:-20], "parquet"),
    (books.xls_with_password(), "xls"), (zipped({"a.csv": b"a"}), None), (b"PK\x03\x04", None)])
def test_binary_forms(tmp_path, content, form):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert forms.binary(path) == form


@pytest.mark.parametrize("text", [
    "MZ,BM\n汉族,1\n", "BM\n1\n", "PAR1,PAR2\n", "GIF,PDF\n", "BZh1,x\n", "picture.WEBP\n", "\x03\x01,x\n", "0,1,2\n", "C\n", "%,a\n", "{a},b\n", "II,MM\n", "{rtf}\n"])
def test_headers_that_begin_like_binaries_are_text(tmp_path, text):
    path = tmp_path / "a"
    for encoding in ("utf-8", "gb18030", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding) * 40)
        assert forms.binary(path) is None


@pytest.mark.parametrize("name", [name for name in hostile.NO_TABLES if "html" not in name])
def test_what_holds_no_table_is_refused_by_its_kind(tmp_path, name):
    path = tmp_path / "a.csv"
    path.write_bytes(hostile.NO_TABLES[name])
    with pytest.raises(ReadRefused) as refused:
        forms.binary(path, "File 3")
    assert refused.value.code == "form" and str(refused.value).startswith("File 3 is a")


@pytest.mark.parametrize("content, code", [
    (books.xlsx_with_password(), "password"), (zipped({"word/document.xml": b"x"}), "form"), (zipped({"OFD.xml": b"x"}), "form"),
    (zipped({"mimetype": b"application/vnd.oasis.opendocument.text"}), "form"), (b"BM" + (64).to_bytes(4, "little") + bytes(58), "form"),
    (b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0", "form")])
def test_packages_and_programs_are_refused(tmp_path, content, code):
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)
    with pytest.raises(ReadRefused) as refused:
        forms.binary(path)
    assert refused.value.code == code


def test_names_in_the_text_of_a_compound_file_are_not_its_directory(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(books.xls(("说明",), [("EncryptedPackage",), ("WordDocument",)]))
    assert forms.binary(path) == "xls"


@pytest.mark.parametrize("head, form", [
    ('{"a": 1}\n{"a": 2}\n', "jsonl"), ('\ufeff{"a": 1}', "jsonl"), ('\n\n{"a": 1}\n\n', "jsonl"), ('{"a": 1}\n\n{"a', "jsonl"), ('{"a": {"b": [1]}}', "jsonl"),
    ('{"a": 1\n{"a": 2}\n', "jsonl"), ('{"a": "' + "x" * 70_000, "jsonl"), ('{"a": 1}\nx', "json"), ('{\n"a": 1}', "json"), ('{"a":\n{"b": [{}]}}', "json"),
    ('{"code": 0, "data": {"rows": [{"a": 1}]}}', "json"), ('{"rows": []}', "json"), ('{"code": 0, "rows": [{"a": "' + "x" * 70_000, "json"),
    ('[{"a": 1}, {"a"', "json"), ("[]", "json"), ("[ 1, 2]", "json"), ('["a"]', "json"), ("[" * 1000, "json"), ("[编号],姓名\n", "delimited"), ("[编号]\n1\n", "delimited"),
    ("[1],[2]\n3,4\n", "delimited"), ("{编号},姓名\n", "delimited"), ('{"a",b\n', "delimited"),
    ('<?xml version="1.0"?><a/>', "xml"), ("<!DOCTYPE a><a/>", "xml"), ("<data><row/></data>", "xml"), ("<data>\n  <row>", "xml"), ('<数据 xmlns="u">\r\n<行>', "xml"), ("<a/>", "xml"),
    ("<!-- c --><a><b>", "xml"), ("<编号>,姓名\n", "delimited"), ("<编号>\t<姓名>\n", "delimited"), ("<编号> <姓名>\n", "delimited"), ("<5,>5\n", "delimited"), ("<编号>\n1\n", "delimited"),
    ("<html><table>", "html"), ("  <!DOCTYPE HTML PUBLIC>", "html"), ('<?xml version="1.0"?><html xmlns="x">', "html"), ("<table border=1>", "html"), ("MIME-Version: 1.0\n", "html"),
    ("<headline>,x\n", "delimited"), ("", "delimited"), ("a,b\n", "delimited")])
def test_forms_of_text(head, form):
    assert forms.of_text(head) == form


def test_a_document_of_any_layout_is_json():
    records = [{"a": 1, "b": {"c": [2]}}, {"a": "x\ny"}]
    for layout in ({}, {"indent": 1}, {"indent": "\t"}, {"separators": (",", ":")}):
        assert forms.of_text(json.dumps(records, **layout)) == "json"
        assert forms.of_text(json.dumps({"data": records}, **layout)) == "json"
