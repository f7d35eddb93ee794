"""JSON and JSON lines: all digits, every key, one list of records; what is no record is rejected, what is broken refused."""
from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipelines.readers import extracted
from tests.pipelines.readers import child


def test_a_child_that_needs_too_much_is_refused(bench, monkeypatch):
    monkeypatch.setattr(extracted, "memory_mb", lambda: 0)
    monkeypatch.setattr(extracted, "MIN_MB", 400)
    assert bench.refused(json.dumps([{"a": "x" * 100_000_000}]).encode(), format="json") == "memory"


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


def test_too_many_keys_and_too_many_bad_records_are_refused(bench, monkeypatch, tmp_path):
    many = [{f"k{n}": 1} for n in range(10_001)]
    assert bench.refused(json.dumps(many).encode(), format="json") == "columns"
    monkeypatch.setattr(child.modules().spool, "MAX_REJECTS", 3)
    with pytest.raises(child.modules().spool.Refused, match="unparseable"):
        child.extract(child.modules().json_records, tmp_path, b'[{"a": 1}' + b", 1" * 4 + b"]", "json")


VALUES = st.recursive(st.none() | st.booleans() | st.integers(-10**20, 10**20) | st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str) | child.WORDS,
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(child.WORDS, inner, max_size=3), max_leaves=5)


@child.FEW
@given(st.lists(st.dictionaries(child.WORDS, VALUES, min_size=1, max_size=4), min_size=1, max_size=5), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_written_is_json_read(tmp_path_factory, records, indent, ascii_only):
    def shown(value: Any) -> str:
        return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    keys = list(dict.fromkeys(k for r in records for k in r))
    expected = [[shown(r.get(k)) for k in keys] for r in records]
    root = tmp_path_factory.mktemp("j")
    whole = json.dumps({"n": 1, "数据": {"行": records}}, ensure_ascii=ascii_only, indent=indent)
    lined = "\n".join(json.dumps(r, ensure_ascii=ascii_only) for r in records)
    for content, form in ((whole, "json"), (lined, "jsonl")):
        [(header, rows, _)] = child.extract(child.modules().json_records, root, content.encode(), form, record_path="数据.行")
        assert (header, rows) == (keys, expected)
